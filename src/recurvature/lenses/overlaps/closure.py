r"""How far nonlinear units are from the Gaussian closure: whether what the effective network says may be trusted."""

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_count, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.coordinates import OVERLAPS
from recurvature.lenses.overlaps.descent import loss_and_gradient
from recurvature.lenses.overlaps.losses import DataLoss
from recurvature.lenses.overlaps.record import Learning, recover
from recurvature.lenses.overlaps.span import outside_span
from recurvature.lenses.overlaps.status import NON_FINITE, NOT_GAUSSIAN, OK
from recurvature.lenses.overlaps.units import trajectory
from recurvature.systems.activations import activation
from recurvature.systems.gaussian import mean_slope


class Closure(AbstractResult):
    r"""Tests of the assumption that the weights are jointly Gaussian over units, at one or more times of learning.

    The rows $\theta_i$ of $\Theta$ enter as a sample of N. Kurtoses are in excess of the Gaussian 3, about zero, and
    vanish for Gaussian weights; `row_kurtosis` is Mardia's, $3(\langle d^4\rangle/[P(P+2)] - 1)$ with $d^2 =
    \theta^\top S^{-1}\theta$. Defects compare all units with the effective network along the network's own states
    (docs eq. O.33). `energy_ratio` is $N\lVert\nabla_\Theta L\rVert^2/(4\,\mathrm{tr}\,\Gamma S\Gamma)$: 1 where the
    overlaps close, and as far above 1 as the gradient has components that no overlap sees; `outside` is their share.

    `status` is `not_gaussian` where a defect exceeds `largest_defect` = 3/√N or a kurtosis `largest_kurtosis` = 0.3, or
    three standard errors $\sqrt{24/N}$ of a Gaussian sample where that is more. `ok` is no promise: the overlaps of a
    network that learns leave the closure at first order in time, and larger N does not cure that (docs eq. O.32).
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
    projections: int = 16,
    learning: Learning | None = None,
) -> Closure:
    r"""How Gaussian the weights of a network are, and what the effective network gets wrong on the data of `loss`.

    **Arguments**

    - `theta`: vectors (N, P) of a network (`stacked(network).theta`), or (step, N, P) along learning
      (`descend_units`).
    - `loss`: the data and the nonlinearity; a batch of trials that stands for the task.
    - `key`: for the directions of `projections` random projections.
    - `learning`: of a network that begins at `theta`: it is then looked at with the weights of every record of it.
    """
    check_count(projections=projections)
    path = np.asarray(theta)
    if learning is not None:
        path = np.stack([np.asarray(recover(path, learning, at)) for at in range(len(learning.count))])
    path = path[None] if path.ndim == 2 else path
    check_shape("theta", path, (None, None, loss.layout.size))
    if path.shape[1] <= loss.layout.size:
        raise InputError(f"{path.shape[1]} units are no sample of {loss.layout.size} weights each; take more units.")
    directions = jr.normal(stream(key, "projections"), (projections, loss.layout.size), path.dtype)
    return gathered([compared(jnp.asarray(vectors), loss, directions) for vectors in path], loss)


def gathered(seen: Sequence[dict[str, Array]], loss: DataLoss, *, gaussian: bool = False) -> Closure:
    """What `compared` found at several networks of as many units, with verdicts; `loss` says what the vectors are.

    Of units that are `gaussian` because they were drawn so, no kurtosis is too large.
    """
    found = {name: np.stack([np.asarray(each[name]) for each in seen]) for name in seen[0] if name != "unseen"}
    units = seen[0]["unseen"].shape[0]
    largest_defect = 3 / np.sqrt(units)
    largest_kurtosis = np.inf if gaussian else max(0.3, 3 * np.sqrt(24 / units))
    return Closure(
        status=_verdicts(found, largest_defect, largest_kurtosis),
        columns=loss.layout.columns,
        units=units,
        phi=loss.phi,
        largest_defect=float(largest_defect),
        largest_kurtosis=float(largest_kurtosis),
        **found,
    )


def _verdicts(found: dict[str, np.ndarray], largest_defect: float, largest_kurtosis: float) -> Int[np.ndarray, " step"]:
    curved = np.column_stack([found["kurtosis"], found["projection_kurtosis"], found["row_kurtosis"]])
    wrong = np.maximum(found["closure_defect"], found["gain_defect"]) > largest_defect
    broken = wrong | (np.abs(curved) > largest_kurtosis).any(1)
    finite = np.isfinite(np.column_stack([curved, *(found[k] for k in found if k != "kurtosis")])).all(1)
    return np.where(finite, np.where(broken, NOT_GAUSSIAN, OK), NON_FINITE).astype(np.int8)


@eqx.filter_jit
def compared(theta: Float[Array, "n a"], loss: DataLoss, directions: Float[Array, "direction a"]) -> dict[str, Array]:
    """Every test at one network, and `unseen`: what of the gradient of all units is no combination of their vectors."""
    s = theta.T @ theta / jnp.asarray(theta.shape[0], theta.dtype)
    return _moments(theta, s, directions) | _defects(theta, s, loss) | _energies(theta, s, loss)


def _moments(theta: Array, s: Array, directions: Array) -> dict[str, Array]:
    projected = excess_kurtosis(theta @ directions.T)
    return {
        "kurtosis": excess_kurtosis(theta),
        "projection_kurtosis": projected[jnp.argmax(jnp.abs(projected))],
        "row_kurtosis": row_kurtosis(theta, s),
    }


def excess_kurtosis(samples: Float[Array, "n a"]) -> Float[Array, " a"]:
    r"""$\langle x^4\rangle/\langle x^2\rangle^2 - 3$ of every column, about zero; 0 of a column that vanishes."""
    square = jnp.mean(samples**2, axis=0)
    fourth = jnp.mean(samples**4, axis=0)
    return jnp.where(square > 0, fourth / jnp.where(square > 0, square, 1) ** 2 - 3, 0)


def row_kurtosis(theta: Float[Array, "n a"], overlaps: Float[Array, "a a"]) -> Float[Array, ""]:
    """Mardia's kurtosis of the rows about zero, scaled so that it is the excess kurtosis where there is one column."""
    values, axes = jnp.linalg.eigh(overlaps)
    # what rounding leaves of a zero eigenvalue
    kept = values > overlaps.shape[0] * jnp.finfo(values.dtype).eps * values[-1]
    scale = jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, values, 1)), 0)
    distance = jnp.sum((theta @ (axes * scale[None])) ** 2, axis=1)
    rank = jnp.sum(kept).astype(values.dtype)
    return 3 * (jnp.mean(distance**2) / (rank * (rank + 2)) - 1)


def _defects(theta: Array, s: Array, loss: DataLoss) -> dict[str, Array]:
    """What all units read and how steep they are on average, against the effective network, at the same states."""
    layout, split = loss.layout, loss.layout.split
    latent = trajectory(theta, layout, loss.inputs, loss.dt, loss.phi)
    phi = activation(loss.phi)
    h = latent @ theta[:, split:].T
    rates, slopes = jax.jvp(phi, (h,), (jnp.ones_like(h),))
    read = rates @ theta[:, :split] / jnp.asarray(theta.shape[0], theta.dtype)
    gain = mean_slope(loss.phi)(jnp.einsum("...i,ij,...j->...", latent, s[split:, split:], latent))
    expected = gain[..., None] * (latent @ s[:split, split:].T)
    error, size = (jnp.max(jnp.linalg.norm(x, axis=-1)) for x in (read - expected, expected))
    return {
        "closure_defect": error / size,
        "gain_defect": jnp.max(jnp.abs(jnp.mean(slopes, axis=-1) / gain - 1)),
    }


def _energies(theta: Array, s: Array, loss: DataLoss) -> dict[str, Array]:
    """The gradient of all units against that of the effective network (docs eq. O.31 and O.32)."""
    units = jnp.asarray(theta.shape[0], theta.dtype)
    value, gradient = jax.value_and_grad(loss.of_units)(theta)
    force = units * gradient
    predicted, gamma = loss_and_gradient(loss, s)
    velocity = (theta.T @ force + force.T @ theta) / units
    expected = 2 * (gamma @ s + s @ gamma)
    outside = outside_span(force, theta)
    return {
        "velocity_defect": jnp.linalg.norm(velocity - expected) / jnp.linalg.norm(expected),
        "energy_ratio": jnp.sum(force**2) / units / (4 * jnp.trace(gamma @ s @ gamma)),
        "outside": jnp.linalg.norm(outside) / jnp.linalg.norm(force),
        "unseen": outside,
        "loss": value,
        "predicted_loss": predicted,
    }
