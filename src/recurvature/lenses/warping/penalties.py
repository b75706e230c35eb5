r"""Constraints on the metric that training can obey: a metric ratio, or a whole metric field (docs eq. W.56–W.62).

A constraint is a function of a network that `training.Penalty` takes. It is a module: its numbers (points, the wanted
ratio, the target field) are arrays, so that runs which differ in them alone share one compiled program; its form (what
is averaged, in which space, when) is static and stands in the spec and the history of every run that obeyed it.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_choice, check_kind, check_positive, check_shape
from recurvature._precision import cast, float_dtype
from recurvature._result import Values
from recurvature.lenses.warping.field import SPACES, Space, check_network, observe, points_of
from recurvature.systems.base import AbstractMap, Network
from recurvature.systems.inputs import AbstractInputManifold, coordinate_number
from recurvature.systems.simulate import check_times, step_times, steps_for
from recurvature.systems.tangent import Drive, Rows, advance, gram_factor, input_rows, pairs, start_rows, tangents

Average = Literal["pointwise", "means"]
Entries = Literal["diagonal", "all"]
Condition = tuple[AbstractInputManifold, int | str, int | str]
"""A manifold, its relevant coordinate and its irrelevant one (by name or number)."""


class Sites(eqx.Module):
    r"""Where, when and in which space a constraint looks at the metric, and the $\epsilon$ of $G + \epsilon I$."""

    manifolds: tuple[AbstractInputManifold, ...]
    theta: Float[Values, "point m"]
    epsilon: Float[Values, ""]
    """In the units of the metric, space²/coordinate²."""
    grid: tuple[int, ...] = eqx.field(static=True)
    """Points along each coordinate; empty when the points form no grid."""
    times: tuple[float, ...] = eqx.field(static=True)
    space: Space = eqx.field(static=True)

    def factors(self, network: Network) -> Float[Array, "time condition point entry"]:
        r"""Packed upper factors $R$ with $R^\top R = G + \epsilon I$ (docs eq. W.56), differentiable in the network.

        A map is looked at after the steps nearest to `times`. Raises `InputError` on a network that is no map, or does
        not take the inputs of the manifolds.
        """
        return _factors(self, network)

    def metric(self, network: Network) -> Float[Array, "time condition point i j"]:
        r"""$G + \epsilon I$ itself."""
        upper = unpacked(self.factors(network), self.dimension)
        return jnp.einsum("...ki,...kj->...ij", upper, upper)

    @property
    def dimension(self) -> int:
        """Number of coordinates, m."""
        return self.theta.shape[1]


@eqx.filter_jit
def _factors(sites: Sites, network: Network) -> Float[Array, "time condition point entry"]:
    for manifold in sites.manifolds:
        check_network(network, manifold, sites.space)
    system = network.system
    if not isinstance(system, AbstractMap):
        raise InputError("`network` has a flow, which a penalty cannot follow. Wrap it as Euler(flow, dt).")
    dtype, dt, m = float_dtype(network), system.dt, sites.dimension
    steps = [steps_for(time, dt) for time in sites.times]
    reads = np.stack([step_times(manifold, dt, steps[-1]) for manifold in sites.manifolds], 1)
    manifolds, theta = cast(sites.manifolds, dtype), jnp.asarray(sites.theta, dtype)
    rows = start_rows(network.x0, jnp.concatenate([theta] * len(manifolds)), 1)

    def body(rows: Rows, times: Float[Array, " condition"]) -> tuple[Rows, None]:
        drive = [input_rows(each, times[k], theta, 1) for k, each in enumerate(manifolds)]
        return _recomputed_advance(system, rows, Drive(jnp.concatenate(drive, 1)), m), None

    seen = []
    for before, after in itertools.pairwise((0, *steps)):
        rows = jax.lax.scan(body, rows, jnp.asarray(reads[before:after], dtype))[0]
        seen.append(_factor(tangents(observe(network, rows, sites.space, m), m), sites.epsilon))
    return jnp.stack(seen).reshape(len(steps), len(manifolds), len(theta), -1)


# As in training: a backward pass redoes what is elementwise, and keeps the matrix products of a step.
def _recomputed_advance(system: AbstractMap, rows: Rows, drive: Drive, m: int) -> Rows:
    step = lambda system, rows, drive: advance(system, rows, drive, m, 1)[0]  # noqa: E731
    policy = jax.checkpoint_policies.dots_saveable
    return eqx.filter_checkpoint(step, prevent_cse=False, policy=policy)(system, rows, drive)


def _factor(vectors: Float[Array, "m b k"], epsilon: Float[Values, ""]) -> Float[Array, "b entry"]:
    r"""The factor of $G + \epsilon I$: that of the vectors with $\sqrt\epsilon$ times a unit vector joined to each."""
    m, b, _ = vectors.shape
    floor = jnp.sqrt(jnp.asarray(epsilon, vectors.dtype)) * jnp.eye(m, dtype=vectors.dtype)
    return gram_factor(jnp.concatenate([vectors, jnp.broadcast_to(floor[:, None], (m, b, m))], -1))


def unpacked(entries: Float[Array, "*batch entry"], m: int) -> Float[Array, "*batch i j"]:
    """The upper triangular matrices with these entries."""
    return jnp.zeros((*entries.shape[:-1], m, m), entries.dtype).at[..., *np.triu_indices(m)].set(entries)


def log_lengths(factors: Float[Array, "*batch entry"], m: int) -> Float[Array, "*batch m"]:
    r"""$\log(G_{ii} + \epsilon)$ of every coordinate: columns of a factor have the lengths of the tangents."""
    of = pairs(m)
    squares = [sum(factors[..., of.index((k, i))] ** 2 for k in range(i + 1)) for i in range(m)]
    return jnp.log(jnp.stack([jnp.asarray(square) for square in squares], -1))


class RatioConstraint(eqx.Module):
    r"""$\langle(\log\rho - \log c)^2\rangle$ over times and conditions, $\rho = G_\mathrm{rel}/G_\mathrm{irr}$.

    `average="pointwise"`: of the ratio at every point (docs eq. W.57). `"means"`: of the ratio of the means over points
    (docs eq. W.58). They are different constraints: neither implies the other.
    """

    sites: Sites
    c: Float[Values, ""]
    average: Average = eqx.field(static=True)
    relevant: tuple[str, ...] = eqx.field(static=True)
    """The coordinate above the line, for each manifold."""
    irrelevant: tuple[str, ...] = eqx.field(static=True)

    def log_ratios(self, network: Network) -> Float[Array, "time condition ratio"]:
        r"""$\log\rho$: one for each point, or one of means."""
        lengths = log_lengths(self.sites.factors(network), self.sites.dimension)
        if self.average == "means":
            lengths = jax.nn.logsumexp(lengths, axis=-2, keepdims=True)
        number = [each.name for each in self.sites.manifolds[0].coordinates].index
        each = enumerate(zip(map(number, self.relevant), map(number, self.irrelevant), strict=True))
        return jnp.stack([lengths[:, k, :, above] - lengths[:, k, :, below] for k, (above, below) in each], 1)

    @eqx.filter_jit
    def __call__(self, network: Network, trials: Any = None, states: Any = None, outputs: Any = None) -> Array:
        """The value of the constraint, a scalar; trials and activity play no part."""
        del trials, states, outputs
        ratios = self.log_ratios(network)
        return jnp.mean((ratios - jnp.log(jnp.asarray(self.c, ratios.dtype))) ** 2)


class FieldConstraint(eqx.Module):
    r"""How far the metric is from a target field, as a mean of squared logarithms over times, conditions and points.

    `entries="diagonal"`: $\frac1m\sum_i\log^2(G_{ii}/G^*_{ii})$ (docs eq. W.59). `"all"`: the squared affine-invariant
    distance of the matrices over m (docs eq. W.60), which no change of coordinates alters. Both of $G + \epsilon I$,
    also in the target; they agree where neither has coupled coordinates.
    """

    sites: Sites
    target: Float[Values, "time condition point i j"]
    """The target with its $\\epsilon$."""
    inverse_factor: Float[Values, "time condition point i j"]
    r"""$R_*^{-1}$ of the target."""
    entries: Entries = eqx.field(static=True)

    @eqx.filter_jit
    def __call__(self, network: Network, trials: Any = None, states: Any = None, outputs: Any = None) -> Array:
        """The value of the constraint, a scalar; trials and activity play no part."""
        del trials, states, outputs
        factors, m = self.sites.factors(network), self.sites.dimension
        if self.entries == "diagonal":
            wanted = jnp.diagonal(jnp.asarray(self.target, factors.dtype), axis1=-2, axis2=-1)
            return jnp.mean((log_lengths(factors, m) - jnp.log(wanted)) ** 2)
        relative = unpacked(factors, m) @ jnp.asarray(self.inverse_factor, factors.dtype)
        return jnp.mean(square_log_stretches(relative)) / m


@jax.custom_jvp
def square_log_stretches(matrix: Float[Array, "*batch i j"]) -> Float[Array, "*batch"]:
    r"""$\sum_a(2\log\sigma_a)^2$ over singular values: for $RR_*^{-1}$ the squared affine-invariant distance.

    Its derivative $8\log\sigma_a/\sigma_a\;u_a^\top dM\,v_a$ is smooth where singular values meet, and that of each
    singular value is not: so it is given here.
    """
    return jnp.sum((2 * jnp.log(jnp.linalg.svd(matrix, compute_uv=False))) ** 2, -1)


@square_log_stretches.defjvp
def _square_log_stretches_jvp(primals: tuple[Array], along: tuple[Array]) -> tuple[Array, Array]:
    left, values, right = jnp.linalg.svd(primals[0])
    moved = jnp.einsum("...ia,...ij,...aj->...a", left, along[0], right)
    logs = jnp.log(values)
    return jnp.sum((2 * logs) ** 2, -1), jnp.sum(8 * logs / values * moved, -1)


def ratio_constraint(
    conditions: Sequence[Condition],
    *,
    times: Sequence[float],
    points: int | tuple[int, ...] | Float[Any, "point m"],
    average: Average,
    space: Space,
    epsilon: float,
    c: float = 1.0,
) -> RatioConstraint:
    r"""The constraint $\rho = c$ on the metric ratio $(G_{aa}+\epsilon)/(G_{bb}+\epsilon)$ (docs eq. W.57, W.58).

    - `conditions`: (manifold, relevant, irrelevant) for each context, coordinates by name or number.
    - `times`: increasing, in the unit of `tau`. `points`: as of `metric`, the same for all conditions. A grid that
      leaves out a decision boundary leaves the constraint blind to it.
    - `average`: `pointwise` or `means`; `space`: `state`, `rates` or `readout`. Neither has a default: "the ratio is
      held at c" says nothing without them.
    - `epsilon`: added to the metric's diagonal, in its units; 0 is allowed, and undefined where nothing has moved.
    """
    check_choice("average", average, ("pointwise", "means"))
    check_positive(c=c)
    for condition in conditions:
        check_kind("conditions", condition, Sequence, "pass a list of (manifold, relevant, irrelevant)")
    manifolds = [manifold for manifold, _, _ in conditions]
    sites = _sites(manifolds, times=times, points=points, space=space, epsilon=epsilon)
    names = [each.name for each in manifolds[0].coordinates]
    relevant = tuple(names[coordinate_number(names, above, "relevant")] for _, above, _ in conditions)
    irrelevant = tuple(names[coordinate_number(names, below, "irrelevant")] for _, _, below in conditions)
    if any(a == b for a, b in zip(relevant, irrelevant, strict=True)):
        raise InputError("`conditions` need two different coordinates each: a ratio to itself is always 1.")
    return RatioConstraint(sites, np.asarray(c, np.float64), average, relevant, irrelevant)


def field_constraint(
    manifolds: Sequence[AbstractInputManifold],
    target: Network | Float[Any, "time condition point i j"],
    *,
    times: Sequence[float],
    points: int | tuple[int, ...] | Float[Any, "point m"],
    entries: Entries,
    space: Space,
    epsilon: float,
) -> FieldConstraint:
    r"""The constraint that the metric be a target's, at every point, time and condition (docs eq. W.59, W.60).

    `target`: a network, whose metric at the same sites is taken, or metrics (without $\epsilon$) of shape (time,
    condition, point, m, m). `entries`: `diagonal` or `all`. The rest as of `ratio_constraint`.
    """
    check_choice("entries", entries, ("diagonal", "all"))
    sites = _sites(manifolds, times=times, points=points, space=space, epsilon=epsilon)
    m = sites.dimension
    if isinstance(target, Network):
        factor = np.asarray(unpacked(sites.factors(target), m), np.float64)
    else:
        check_shape("target", target, (len(sites.times), len(sites.manifolds), len(sites.theta), m, m))
        factor = _upper_cholesky(np.asarray(target, np.float64) + float(sites.epsilon) * np.eye(m))
    if not (np.isfinite(factor).all() and (np.diagonal(factor, axis1=-2, axis2=-1) > 0).all()):
        raise InputError(
            "`target` is singular or not finite at some site, so that nothing can be compared with it: pass a larger "
            "`epsilon`, or leave such points and times out."
        )
    wanted = np.swapaxes(factor, -1, -2) @ factor
    return FieldConstraint(sites, wanted, np.linalg.inv(factor), entries)


def _upper_cholesky(metrics: Float[np.ndarray, "*batch i j"]) -> Float[np.ndarray, "*batch i j"]:
    """Upper factors; NaN if one of the metrics has none."""
    try:
        return np.swapaxes(np.linalg.cholesky(metrics), -1, -2)
    except np.linalg.LinAlgError:
        return np.full_like(metrics, np.nan)


def _sites(
    manifolds: Sequence[AbstractInputManifold],
    *,
    times: Sequence[float],
    points: int | tuple[int, ...] | Float[Any, "point m"],
    space: Space,
    epsilon: float,
) -> Sites:
    check_choice("space", space, SPACES)
    check_kind("times", times, (Sequence, np.ndarray), "pass a list or tuple, if only of one time")
    when = tuple(float(time) for time in times)
    check_times(np.asarray(when))
    if not 0 <= epsilon < math.inf:
        raise InputError(f"`epsilon` must be finite and at least 0; got {epsilon!r}.")
    if not manifolds or len({tuple(manifold.coordinates) for manifold in manifolds}) > 1:
        raise InputError("a constraint needs one or more manifolds, all with the same coordinates.")
    grid = points_of(manifolds[0], points)
    return Sites(tuple(manifolds), grid.theta, np.asarray(epsilon, np.float64), grid.shape, when, space)
