r"""How far nonlinear units are from the Gaussian closure: whether what the effective network says may be trusted."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import scipy.special
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_count, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.coordinates import OVERLAPS
from recurvature.lenses.overlaps.losses import DataLoss
from recurvature.lenses.overlaps.record import Learning, recover
from recurvature.lenses.overlaps.span import outside_span
from recurvature.lenses.overlaps.status import NON_FINITE, NOT_GAUSSIAN, OK
from recurvature.lenses.overlaps.units import trajectory
from recurvature.systems.activations import activation
from recurvature.systems.gaussian import mean_slope

DIRECTIONS = 16
"""Projections of the weights that are tested."""
Mean = Callable[[Array], Array]
"""Means over the units of every population."""


class Closure(AbstractResult):
    r"""Tests of the assumption that the weights are jointly Gaussian over units, at one or more times of learning.

    The rows $\theta_i$ of $\Theta$ enter as a sample of N. Kurtoses are in excess of the Gaussian 3, about zero, and
    vanish for Gaussian weights; `row_kurtosis` is Mardia's, $3(\langle d^4\rangle/[P(P+2)] - 1)$ with $d^2 =
    \theta^\top S^{-1}\theta$. Defects compare all units with the effective network along the network's own states
    (docs eq. O.33). `energy_ratio` is $N\lVert\nabla_\Theta L\rVert^2/(4\,\mathrm{tr}\,\Gamma S\Gamma)$: 1 where the
    overlaps close, and as far above 1 as the gradient has components that no overlap sees; `outside` is their share.

    Of several populations the Gaussian is that of each: `kurtosis` and `gain_defect` are the furthest of all of them.

    `status` is `not_gaussian` where a defect exceeds `largest_defect` = 3/√N, or three times the error that sampling
    makes in it where that is more (`closure_error`, `gain_error`, docs eq. O.62), or a kurtosis `largest_kurtosis` =
    0.3, or what a Gaussian sample exceeds once in a hundred where that is more (docs eq. O.63); N is that of the
    smallest population. `ok` is no promise: the overlaps of a network that learns leave the closure at first order in
    time, and larger N does not cure that (docs eq. O.32).
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    kurtosis: Float[Values, "step a"]
    projection_kurtosis: Float[Values, " step"] = eqx.field(
        metadata={"long_name": "largest excess kurtosis of random projections of the rows, with its sign"}
    )
    row_kurtosis: Float[Values, " step"]
    closure_defect: Float[Values, " step"] = eqx.field(
        metadata={"long_name": "largest error of what is read from the rates, of the largest that is read"}
    )
    gain_defect: Float[Values, " step"] = eqx.field(metadata={"long_name": "largest relative error of the mean slope"})
    closure_error: Float[Values, " step"] = eqx.field(metadata={"long_name": "standard error of the closure defect"})
    gain_error: Float[Values, " step"] = eqx.field(metadata={"long_name": "standard error of the gain defect"})
    velocity_defect: Float[Values, " step"] = eqx.field(
        metadata={"long_name": "relative error of the velocity of the overlaps"}
    )
    energy_ratio: Float[Values, " step"]
    outside: Float[Values, " step"] = eqx.field(
        metadata={"long_name": "share of the gradient's norm outside the span of the vectors"}
    )
    loss: Float[Values, " step"]
    predicted_loss: Float[Values, " step"] = eqx.field(metadata={"long_name": "loss of the effective network"})
    status: Int[Values, " step"]
    columns: tuple[str, ...]
    units: int
    phi: str
    largest_defect: float
    largest_kurtosis: float

    @property
    def largest(self) -> Float[np.ndarray, " step"]:
        """The kurtosis furthest from 0 of all there are, with its sign."""
        every = np.column_stack([self.kurtosis, self.projection_kurtosis, self.row_kurtosis])
        return np.take_along_axis(every, np.abs(every).argmax(1)[:, None], 1)[:, 0]

    @property
    def trusted(self) -> bool:
        """Whether no test fails at any time."""
        return bool((np.asarray(self.status) == OK).all())


def closure(
    theta: Float[Any, "*step n a"],
    loss: DataLoss,
    *,
    key: PRNGKey,
    projections: int = DIRECTIONS,
    learning: Learning | None = None,
    populations: Int[Any, " n"] | None = None,
) -> Closure:
    r"""How Gaussian the weights of a network are, and what the effective network gets wrong on the data of `loss`.

    **Arguments**

    - `theta`: vectors (N, P) of a network (`stacked(network).theta`), or (step, N, P) along learning
      (`descend_units`).
    - `loss`: the data and the nonlinearity; a batch of trials that stands for the task.
    - `key`: for the directions of `projections` random projections.
    - `learning`: of a network that begins at `theta`: it is then looked at with the weights of every record of it.
    - `populations`: the number 0, 1, … of the population of every unit, where weights are a mixture (docs eq. O.48).
    """
    check_count(projections=projections)
    path = np.asarray(theta)
    if learning is not None:
        path = np.stack([np.asarray(recover(path, learning, at)) for at in range(len(learning.count))])
    path = path[None] if path.ndim == 2 else path
    check_shape("theta", path, (None, None, loss.layout.size))
    group = np.zeros(path.shape[1], int) if populations is None else np.asarray(populations)
    check_shape("populations", group, (path.shape[1],))
    sizes = np.bincount(group)
    if sizes.min() <= loss.layout.size:
        raise InputError(f"{sizes.min()} units are no sample of {loss.layout.size} weights each; take more units.")
    directions = jr.normal(stream(key, "projections"), (projections, loss.layout.size), path.dtype)
    mixture = Mixture.of(group, sizes / len(group), path.dtype)
    seen = [compared(jnp.asarray(vectors), loss, directions, mixture) for vectors in path]
    return gathered(seen, loss, mixture, projections=projections)


class Mixture(eqx.Module):
    """Which unit is of which population, as what it counts for in the means of each, and the shares of populations."""

    member: Float[Array, "n population"]
    fractions: Float[Array, " population"]

    @classmethod
    def of(cls, group: Int[np.ndarray, " n"], fractions: Float[np.ndarray, " population"], dtype: Any) -> "Mixture":
        """From the number of every unit's population."""
        member = (group[:, None] == np.arange(len(fractions))).astype(dtype)
        return cls(jnp.asarray(member / member.sum(0)), jnp.asarray(fractions, dtype))

    @property
    def units(self) -> int:
        """Units of the smallest population."""
        return int((np.asarray(self.member) > 0).sum(0).min())

    @property
    def weights(self) -> Float[Array, " n"]:
        """What a unit counts for in the network; of one population 1/N."""
        return self.member @ self.fractions

    def mean(self, values: Float[Array, "n *rest"]) -> Float[Array, "population *rest"]:
        """Means over the units of every population."""
        return jnp.tensordot(self.member, values, axes=(0, 0))

    def overlaps(self, left: Float[Array, "n a"], right: Float[Array, "n b"]) -> Float[Array, "population a b"]:
        """Scalar products within every population."""
        return jnp.einsum("np,na,nb->pab", self.member, left, right)

    def network(self, theta: Float[Array, "n a"], split: int) -> Float[Array, "n a"]:
        """Vectors of equal units that do what these do, each with its weight: those that read are longer or shorter."""
        scale = self.weights[:, None] * jnp.asarray(len(theta), theta.dtype)
        return jnp.concatenate([theta[:, :split] * scale, theta[:, split:]], axis=1)

    def apart(self, theta: Float[Array, "n a"]) -> Float[Array, "n b"]:
        """The vectors with a column for every population, zero at the units of others: each has a span of its own."""
        inside = (self.member > 0).astype(theta.dtype)
        return (inside[:, :, None] * theta[:, None, :]).reshape(len(theta), -1)


def gathered(
    seen: Sequence[dict[str, Array]], loss: DataLoss, mixture: Mixture, *, projections: int, gaussian: bool = False
) -> Closure:
    """What `compared` found at several networks of the same units, with verdicts; `loss` says what the vectors are.

    Of units that are `gaussian` because they were drawn so, no kurtosis is too large.
    """
    found = {name: np.stack([np.asarray(each[name]) for each in seen]) for name in seen[0] if name != "unseen"}
    units, every = mixture.units, len(mixture.fractions) * (loss.layout.size + projections)
    largest_kurtosis = np.inf if gaussian else max(0.3, kurtosis_of_chance(units, every))
    return Closure(
        status=_verdicts(found, 3 / np.sqrt(units), largest_kurtosis),
        columns=loss.layout.columns,
        units=len(mixture.member),
        phi=loss.phi,
        largest_defect=float(3 / np.sqrt(units)),
        largest_kurtosis=float(largest_kurtosis),
        **found,
    )


def kurtosis_of_chance(units: int, columns: int) -> float:
    r"""What the largest excess kurtosis of so many Gaussian columns of `units` exceeds once in a hundred (O.63).

    The kurtosis of a Gaussian sample has the standard deviation $\sqrt{24/N}$ and the skewness $\sqrt{216/N}$.
    """
    chance = -float(scipy.special.ndtri(0.01 / columns / 2))
    return float((chance + (chance**2 - 1) / 6 * np.sqrt(216 / units)) * np.sqrt(24 / units))


def _verdicts(found: dict[str, np.ndarray], largest_defect: float, largest_kurtosis: float) -> Int[np.ndarray, " step"]:
    curved = np.column_stack([found["kurtosis"], found["projection_kurtosis"], found["row_kurtosis"]])
    limits = {name: np.maximum(largest_defect, 3 * found[f"{name}_error"]) for name in ("closure", "gain")}
    wrong = np.any([found[f"{name}_defect"] > limit for name, limit in limits.items()], axis=0)
    broken = wrong | (np.abs(curved) > largest_kurtosis).any(1)
    finite = np.isfinite(np.column_stack([curved, *(found[k] for k in found if k != "kurtosis")])).all(1)
    return np.where(finite, np.where(broken, NOT_GAUSSIAN, OK), NON_FINITE).astype(np.int8)


@eqx.filter_jit
def compared(
    theta: Float[Array, "n a"], loss: DataLoss, directions: Float[Array, "direction a"], mixture: Mixture
) -> dict[str, Array]:
    """Every test at one network, and `unseen`: what of the gradient of all units is no combination of their vectors."""
    s = mixture.overlaps(theta, theta)
    return (
        _moments(theta, s, directions, mixture) | _defects(theta, s, loss, mixture) | _energies(theta, s, loss, mixture)
    )


def _moments(theta: Array, s: Array, directions: Array, mixture: Mixture) -> dict[str, Array]:
    return {
        "kurtosis": _furthest(excess_kurtosis(theta, mixture.mean)),
        "projection_kurtosis": _furthest(excess_kurtosis(theta @ directions.T, mixture.mean).reshape(-1)),
        "row_kurtosis": _furthest(row_kurtosis(theta, s, mixture.mean)),
    }


def _furthest(values: Float[Array, "k *rest"]) -> Float[Array, "*rest"]:
    """Of all along the first axis the one furthest from 0, with its sign."""
    return jnp.take_along_axis(values, jnp.argmax(jnp.abs(values), axis=0, keepdims=True), axis=0)[0]


def excess_kurtosis(samples: Float[Array, "n a"], mean: Mean) -> Float[Array, "population a"]:
    r"""$\langle x^4\rangle/\langle x^2\rangle^2 - 3$ of every column, about zero; 0 of a column that vanishes."""
    square, fourth = mean(samples**2), mean(samples**4)
    return jnp.where(square > 0, fourth / jnp.where(square > 0, square, 1) ** 2 - 3, 0)


def row_kurtosis(
    theta: Float[Array, "n a"], overlaps: Float[Array, "population a a"], mean: Mean
) -> Float[Array, " population"]:
    """Mardia's kurtosis of the rows about zero, scaled so that it is the excess kurtosis where there is one column."""
    values, axes = jnp.linalg.eigh(overlaps)
    # what rounding leaves of a zero eigenvalue
    kept = values > overlaps.shape[1] * jnp.finfo(values.dtype).eps * values[:, -1:]
    scale = jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, values, 1)), 0)
    distance = jnp.sum(jnp.einsum("na,pab->npb", theta, axes * scale[:, None]) ** 2, axis=2)
    rank = jnp.sum(kept, axis=1).astype(values.dtype)
    return 3 * (jnp.diagonal(mean(distance**2)) / (rank * (rank + 2)) - 1)


def _defects(theta: Array, s: Array, loss: DataLoss, mixture: Mixture) -> dict[str, Array]:
    """What all units read and how steep they are on average, against the effective network, at the same states.

    And how far either would be off if rows were Gaussian, because they are a sample (docs eq. O.62).
    """
    layout, split = loss.layout, loss.layout.split
    latent = trajectory(mixture.network(theta, split), layout, loss.inputs, loss.dt, loss.phi)
    latent = latent.reshape(-1, latent.shape[-1])
    phi, slope = activation(loss.phi), mean_slope(loss.phi)
    h = theta[:, split:] @ latent.T
    rates, slopes = jax.jvp(phi, (h,), (jnp.ones_like(h),))
    variance = jnp.einsum("ti,pij,tj->pt", latent, s[:, split:, split:], latent)
    gain, bend = jax.jvp(slope, (variance,), (jnp.ones_like(variance),))
    linear = jnp.einsum("paj,tj->pat", s[:, :split, split:], latent)
    # of every unit, at the gain of its own population
    inside, weights, reads = (mixture.member > 0).astype(theta.dtype), mixture.weights[:, None], theta[:, :split]
    off, wide = rates - inside @ gain * h, inside @ bend * (h**2 - inside @ variance)
    read = (weights * reads).T @ off
    size = jnp.max(jnp.linalg.norm(jnp.einsum("p,pt,pat->at", mixture.fractions, gain, linear), axis=0))
    each = [
        jnp.sum((weights * (reads[:, k, None] * off - inside @ linear[:, k] * wide)) ** 2, axis=0) for k in range(split)
    ]
    steep = slopes - inside @ gain
    spread = jnp.sqrt((mixture.member**2).T @ (steep - wide) ** 2) / gain
    return {
        "closure_defect": jnp.max(jnp.linalg.norm(read, axis=0)) / size,
        "closure_error": jnp.sqrt(jnp.max(sum(each))) / size,
        "gain_defect": jnp.max(jnp.abs(mixture.member.T @ steep / gain)),
        "gain_error": jnp.max(spread),
    }


def _energies(theta: Array, s: Array, loss: DataLoss, mixture: Mixture) -> dict[str, Array]:
    """The gradient of all units against that of the effective network (docs eq. O.31 and O.32)."""
    shares, split = mixture.fractions[:, None, None], loss.layout.split
    value, gradient = jax.value_and_grad(lambda x: loss.of_units(mixture.network(x, split)))(theta)
    force = gradient / mixture.weights[:, None]
    predicted, by_overlaps = jax.value_and_grad(loss.of_populations)(s, mixture.fractions)
    gamma = (by_overlaps + jnp.swapaxes(by_overlaps, 1, 2)) / (2 * shares)
    velocity = mixture.overlaps(theta, force)
    expected = 2 * gamma @ s
    velocity, expected = (x + jnp.swapaxes(x, 1, 2) for x in (velocity, expected))
    outside = outside_span(force, mixture.apart(theta))
    size = lambda x: jnp.sqrt(jnp.sum(mixture.weights[:, None] * x**2))  # noqa: E731
    return {
        "velocity_defect": jnp.sqrt(jnp.sum(shares * (velocity - expected) ** 2) / jnp.sum(shares * expected**2)),
        "energy_ratio": size(force) ** 2 / jnp.sum(4 * shares * gamma * jnp.swapaxes(s @ gamma, 1, 2)),
        "outside": size(outside) / size(force),
        "unseen": outside,
        "loss": value,
        "predicted_loss": predicted,
    }
