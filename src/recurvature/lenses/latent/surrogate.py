r"""The field of a latent unit as a Chebyshev series: many neurons are summed once a node, not once a step.

$F(\kappa) = \mathbf N\phi(M\kappa + W_\mathrm{in}u + b)$ is analytic in $\kappa$, so its interpolant at Chebyshev nodes
converges geometrically (docs eq. L.50). Inputs take a few levels, each with a series of its own.
"""

import functools
import itertools
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_count, check_positive
from recurvature._keys import PRNGKey, stream
from recurvature._precision import require_float64
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.rollout import Columns, LatentTrajectory, columns, encoded, in_lanes, step_share
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import LatentUnit
from recurvature.systems.simulate import NON_FINITE, OK

LEFT_DOMAIN = 2
SURROGATE_STATUS = ("ok", "non-finite", "left the domain")
"""What the numbers in the status of a trajectory mean; a series says nothing outside the box that it is for."""
TOLERANCE_MET, TOLERANCE_MISSED = range(2)
SERIES_STATUS = ("tolerance met", "tolerance missed")
SIZES = (16, 32, 64, 96, 128)
"""Nodes along every variable that are tried, one after the other."""
ODD = ("tanh", "erf", "identity")


class Surrogate(AbstractResult):
    r"""Chebyshev coefficients of $F(\kappa)$ in $|\kappa_k|\le$ `reach`, for every input level (docs eq. L.50).

    `error` is the largest difference to the neurons themselves at random $\kappa$ in the box, relative to the largest
    component of the field there: it was measured, at points that no coefficient has seen.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    coefficients: Float[Values, "level k i"] | Float[Values, "level k i j"]
    levels: Float[Values, "level d"] = eqx.field(metadata={"long_name": "inputs"})
    error: Float[Values, " level"] = eqx.field(metadata={"long_name": "relative to the largest field"})
    status: Int[Values, " level"]
    reach: float
    nodes: int
    dt: float
    alpha: float
    neurons: int
    odd: bool
    """Whether half of the sums were left out because the field is odd."""
    statuses: tuple[str, ...] = SERIES_STATUS


def surrogate(
    unit: LatentUnit,
    *,
    key: PRNGKey,
    levels: Float[Any, "level d"] | None = None,
    reach: float = 1.5,
    nodes: int | None = None,
    tolerance: float = 1e-9,
    checks: int = 16,
) -> Surrogate:
    r"""A Chebyshev series of the field of a unit of one or two variables, for every level of its input.

    **Arguments**

    - `levels`: the inputs that occur, one row each; None is the one level of no input.
    - `reach`: the box is $[-\mathrm{reach}, \mathrm{reach}]^K$; trajectories that leave it say so.
    - `nodes`: along every variable; None tries 16, 32, 64, 96 and 128 until `tolerance` is met at `checks` random
      points. $\mathrm{nodes}^K$ sums over all neurons a level, half of them where $F$ is odd.

    Needs float64. Raises `InputError` for three variables or more, where the series costs more than it saves.
    """
    alpha, weights = step_share(unit), columns(unit)
    require_float64(unit=weights.encoding)
    check_positive(reach=reach, tolerance=tolerance)
    check_count(checks=checks, **({} if nodes is None else {"nodes": nodes}))
    rank, channels = unit.connectivity.rank, unit.flow.input_size
    if rank > 2:
        raise InputError(f"a series of {rank} variables needs nodes^{rank} sums: use `rollout`; at most 2 here.")
    given = np.zeros((1, channels)) if levels is None else np.asarray(levels, np.float64)
    if given.ndim != 2 or given.shape[1] != channels:
        raise InputError(f"`levels` must have shape (level, {channels}); got {given.shape}.")
    probes = np.asarray(jax.random.uniform(stream(key, "probes"), (checks, rank), float, -reach, reach))
    truth = np.stack([np.asarray(_field(weights, jnp.asarray(probes), u)) for u in jnp.asarray(given)])
    undriven = not np.asarray(weights.bias).any() and not given.any()
    odd = unit.flow.phi in ODD and undriven
    for count in SIZES if nodes is None else (nodes,):
        series = np.stack([_series(weights, u, count, rank, reach, odd) for u in jnp.asarray(given)])
        guess = np.stack([[_evaluate(c, x / reach) for x in jnp.asarray(probes)] for c in jnp.asarray(series)])
        error = np.abs(guess - truth).max((1, 2)) / np.maximum(np.abs(truth).max((1, 2)), np.finfo(float).tiny)
        if (error <= tolerance).all():
            break
    status = np.where(error <= tolerance, TOLERANCE_MET, TOLERANCE_MISSED).astype(np.int8)
    return Surrogate(
        series, given, error, status, float(reach), count, float(unit.dt or 0), alpha, unit.connectivity.size, odd
    )


def surrogate_rollout(
    series: Surrogate, level: Int[Any, "trial time"], start: Float[Any, "trial k"]
) -> LatentTrajectory:
    r"""Latent variables from `start` under the input `series.levels[level]`, at the cost of a series a step.

    Trials that leave the box have the status `left the domain`; their numbers from there on mean nothing.
    """
    which, kappa = np.asarray(level), jnp.asarray(start, float)
    rank = np.asarray(series.coefficients).shape[1]
    if which.ndim != 2 or kappa.shape != (len(which), rank) or not np.issubdtype(which.dtype, np.integer):
        raise InputError(
            f"`level` must be integers (trial, time), `start` (trial, {rank}); got {which.shape}, {kappa.shape}."
        )
    if which.size and (which.min() < 0 or which.max() >= len(np.asarray(series.levels))):
        raise InputError(f"`level` must name one of {len(np.asarray(series.levels))} levels; got {which.max()}.")
    coefficients = jnp.asarray(series.coefficients)
    found = np.asarray(_follow(coefficients, jnp.asarray(which), kappa, series.reach, series.alpha))
    inside = (np.abs(found) <= series.reach).all((1, 2)) & (np.abs(np.asarray(kappa)) <= series.reach).all(1)
    status = np.where(np.isfinite(found).all((1, 2)), np.where(inside, OK, LEFT_DOMAIN), NON_FINITE).astype(np.int8)
    time = (np.arange(which.shape[1]) + 1) * series.dt
    return LatentTrajectory(time, found, status, series.neurons, "chebyshev series", SURROGATE_STATUS)


@jax.jit
def _field(weights: Columns, kappa: Float[Array, "point k"], u: Float[Array, " d"]) -> Float[Array, "point k"]:
    blocks = in_lanes(weights)
    return jax.lax.map(lambda one: encoded(blocks, one, u, "native"), kappa)


def _series(
    weights: Columns, u: Float[Array, " d"], nodes: int, rank: int, reach: float, odd: bool
) -> Float[np.ndarray, "k ..."]:
    """Coefficients from the field at the nodes; of an odd field only half of them are summed."""
    angles = np.pi * (np.arange(nodes) + 0.5) / nodes
    grid = np.array(list(itertools.product(np.cos(angles), repeat=rank)))
    # a grid that is turned over runs backwards: the second half is the first one with other signs
    kept = grid[: -(-len(grid) // 2)] if odd else grid
    values = np.asarray(_field(weights, jnp.asarray(reach * kept), u))
    if odd:
        values = np.concatenate([values, -values[: len(grid) - len(kept)][::-1]])
    table = values.T.reshape(rank, *[nodes] * rank)
    cosines = np.cos(np.outer(np.arange(nodes), angles)) * 2 / nodes
    cosines[0] /= 2
    for _ in range(rank):
        # the axis in front goes to the back: after `rank` of them they stand as they stood
        table = np.moveaxis(table, 1, -1) @ cosines.T
    return table


def _evaluate(series: Float[Array, "k ..."], x: Float[Array, " k"]) -> Float[Array, " k"]:
    r"""$\sum_i c_i T_i(x)$, $T_i(x) = \cos(i\arccos x)$."""
    for value in x:
        waves = jnp.cos(jnp.arange(series.shape[1], dtype=x.dtype) * jnp.arccos(jnp.clip(value, -1, 1)))
        series = jnp.tensordot(series, waves, axes=(1, 0))
    return series


@functools.partial(jax.jit, static_argnames=("reach", "alpha"))
def _follow(
    coefficients: Float[Array, "level k ..."],
    level: Int[Array, "trial time"],
    start: Float[Array, "trial k"],
    reach: float,
    alpha: float,
) -> Float[Array, "trial time k"]:
    def step(kappa: Array, which: Array) -> tuple[Array, Array]:
        kappa = (1 - alpha) * kappa + alpha * _evaluate(coefficients[which], kappa / reach)
        return kappa, kappa

    return jax.vmap(lambda path, kappa: jax.lax.scan(step, kappa, path)[1])(level, start)
