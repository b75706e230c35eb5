r"""Recall without end: the loss per step as $T\to\infty$, the best readout, and how much of the past a state holds."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_shape
from recurvature._precision import cast
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.linear_loss import Target, impulse_target, offsets
from recurvature.lenses.superposition.models import Weights, check_delay, directions
from recurvature.lenses.superposition.statistics import Statistics, importances

JAEGER = Citation(
    "jaeger2002",
    "Jaeger (2002). Short term memory in echo state networks. GMD Report 152.",
    "https://doi.org/10.24406/publica-fhg-291107",
)

_DOUBLINGS = 64
"""Twice as many steps each time: 2⁶⁴ steps bring any spectral radius that float64 tells from 1 to rest."""


@jax.jit
def lyapunov(recurrent: Float[Array, "n n"], drive: Float[Array, "n n"]) -> Float[Array, "n n"]:
    r"""The solution of $P = W_hPW_h^\top + Q$ by doubling, $P = \sum_sW_h^sQW_h^{s\top}$ (docs eq. S.9).

    Differentiable in both. The spectral radius must be below 1 (`check_stable`); the number of doublings is fixed.
    """

    def double(pair: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        total, power = pair
        return (total + power @ total @ power.T, power @ power), None

    return jax.lax.scan(double, (drive, recurrent), None, length=_DOUBLINGS)[0][0]


def check_stable(recurrent: Float[Array, "n n"]) -> float:
    """The spectral radius. Raises `InputError` unless it is below 1, where a stationary state exists."""
    radius = float(np.abs(np.linalg.eigvals(np.asarray(recurrent))).max())
    if not radius < 1:
        raise InputError(
            f"`recurrent` has spectral radius {radius:.6g}; a stationary loss needs one below 1. "
            "Over finitely many steps use `expected_loss`."
        )
    return radius


@eqx.filter_jit
def state_moments(weights: Weights, statistics: Statistics) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    r"""Mean $r = (1-W_h)^{-1}W_xm$ and covariance $P$ of the stationary state (docs eq. S.9)."""
    check_shape("mean", statistics.mean, (weights.inputs.shape[1],))
    identity = jnp.eye(weights.recurrent.shape[0], dtype=weights.recurrent.dtype)
    mean = jnp.linalg.solve(identity - weights.recurrent, weights.inputs @ statistics.mean)
    return mean, lyapunov(weights.recurrent, weights.inputs @ statistics.covariance @ weights.inputs.T)


def stationary_loss(
    weights: Weights,
    statistics: Statistics,
    target: Target,
    *,
    importance: float | Float[Array, " o"] = 1.0,
    bias: Float[Array, " o"] | None = None,
) -> Float[Array, ""]:
    r"""The expected loss per step as $T\to\infty$ (docs eq. S.10); differentiable in the weights and the `bias`.

    `target` is a delay, or the impulse response (age, output, feature) that is wanted, 0 at all older ages (docs eq.
    S.66). Finite trials cost $TL_\infty + c + O(T\rho^T)$. Raises `InputError` unless the spectral radius is below 1;
    inside a transformation, where it is not known yet, nothing is checked: see `check_stable`.
    """
    if not isinstance(weights.recurrent, jax.core.Tracer):
        check_stable(weights.recurrent)
    outputs, (_, features) = weights.readout.shape[0], weights.inputs.shape
    wanted = wanted_response(target, outputs, features, weights.inputs.dtype)
    weight = importances(importance, outputs, weights.inputs.dtype)
    statistics = cast(statistics, weights.inputs.dtype)
    return _stationary_loss(weights, statistics, wanted, weight, offsets(bias, weight))


def wanted_response(target: Target, outputs: int, features: int, dtype: Any) -> Float[Array, "age o d"]:
    """The impulse response that is wanted, up to its last age."""
    if isinstance(target, int):
        check_delay(target)
        return impulse_target(target, (target + 1, outputs, features), dtype)
    check_shape("target", target, (None, outputs, features))
    return jnp.asarray(target, dtype)


@eqx.filter_jit
def _stationary_loss(
    weights: Weights,
    statistics: Statistics,
    wanted: Float[Array, "age o d"],
    weight: Float[Array, " o"],
    bias: Float[Array, " o"],
) -> Float[Array, ""]:
    w = directions(weights.recurrent, weights.inputs, wanted.shape[0])
    mean, covariance = state_moments(weights, statistics)
    sigma, readout = statistics.covariance, weights.readout
    asked = jnp.einsum("sod,de,soe->o", wanted, sigma, wanted)
    crossed = jnp.einsum("on,snd,de,soe->o", readout, w, sigma, wanted)
    spread = asked - 2 * crossed + jnp.einsum("on,nm,om->o", readout, covariance, readout)
    offset = wanted.sum(0) @ statistics.mean - readout @ mean - bias
    return (spread + offset**2) @ weight


def optimal_readout(
    recurrent: Float[Array, "n n"], inputs: Float[Array, "n d"], statistics: Statistics, target: Target
) -> Weights:
    r"""The weights with the readout of least stationary loss, $w_i = M^+b_i$ (docs eq. S.11).

    $M = Ehh^\top$ and $b_i = E[h\,y_i]$; directions in which the state never moves are left out. `target` is a delay or
    an impulse response, as in `stationary_loss`.
    """
    check_stable(recurrent)
    statistics = cast(statistics, inputs.dtype)
    outputs = inputs.shape[1] if isinstance(target, int) else np.shape(target)[1]
    wanted = wanted_response(target, outputs, inputs.shape[1], inputs.dtype)
    blank = Weights(recurrent, inputs, jnp.zeros((outputs, recurrent.shape[0]), inputs.dtype))
    mean, covariance = state_moments(blank, statistics)
    w = directions(recurrent, inputs, wanted.shape[0])
    seen = jnp.einsum("snd,de,soe->no", w, statistics.covariance, wanted)
    seen = seen + jnp.outer(mean, wanted.sum(0) @ statistics.mean)
    readout = jnp.linalg.lstsq(covariance + jnp.outer(mean, mean), seen)[0].T
    return Weights(recurrent, inputs, readout)


class MemoryCapacity(AbstractResult):
    r"""How much of each past feature a linear readout of the state can recover from white input (docs eq. S.12).

    `capacity` is $\mathrm{MC}_{s,j} = w_{s,j}^\top P^{-1}w_{s,j}$, between 0 and 1; its sum over all ages and features
    is the `rank` of the directions, at most the number of units. `remainder` is what the ages left out still hold.
    """

    citations: ClassVar[tuple[Citation, ...]] = (JAEGER,)

    age: Float[Values, " age"]
    capacity: Float[Values, "age d"]
    rank: int
    remainder: float


def memory_capacity(recurrent: Float[Array, "n n"], inputs: Float[Array, "n d"], *, ages: int = 20) -> MemoryCapacity:
    """The memory capacity of a linear recurrence for white input; depends on no choice of state coordinates.

    Raises `InputError` unless the spectral radius is below 1.
    """
    check_count(ages=ages)
    balanced, rank = balanced_directions(recurrent, inputs, ages)
    capacity = (balanced**2).sum(1)
    return MemoryCapacity(np.arange(ages, dtype=float), capacity, rank, float(rank - capacity.sum()))


def balanced_directions(
    recurrent: Float[Array, "n n"], inputs: Float[Array, "n d"], ages: int
) -> tuple[Float[np.ndarray, "age k d"], int]:
    r"""Directions in coordinates in which white input makes the state white, $P^{-1/2}w_s$; and the rank of $P$.

    Two networks that differ by a transformation of their states have the same ones up to a rotation (docs eq. S.13).
    """
    check_stable(recurrent)
    factor = _covariance_factor(np.asarray(recurrent, float), np.asarray(inputs, float))
    left, values, _ = np.linalg.svd(factor)
    # the covariance is known from its square root, so that directions down to eps of the largest are told from rounding
    rank = int((values > len(factor) * np.finfo(float).eps * values[0]).sum()) if values[0] > 0 else 0
    whiten = left[:, :rank].T / values[:rank, None]
    w = np.asarray(directions(recurrent, inputs, ages), float)
    return np.einsum("kn,snd->skd", whiten, w), rank


def _covariance_factor(
    recurrent: Float[np.ndarray, "n n"], inputs: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "n n"]:
    r"""A square root $F$ of $P = FF^\top$ by doubling of the Krylov matrix, compressed by QR: nothing is squared."""
    n = len(recurrent)
    factor, power = inputs, recurrent
    for _ in range(_DOUBLINGS):
        wide = np.concatenate([factor, power @ factor], axis=1)
        factor = np.asarray(np.linalg.qr(wide.T, mode="r")).T if wide.shape[1] > n else wide
        power = power @ power
        if np.abs(power).max(initial=0) == 0:
            break
    return np.pad(factor, ((0, 0), (0, max(0, n - factor.shape[1]))))[:, :n]
