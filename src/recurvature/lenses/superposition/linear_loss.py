r"""The expected loss of a linear recurrence with a linear readout over finitely many steps: exact, and in its terms.

Everything follows from the projections $A_s$ (age, output, feature), one age for each step: `projections(weights, T)`.
"""

from typing import Any, ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_choice, check_shape
from recurvature._precision import cast
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.models import check_delay
from recurvature.lenses.superposition.statistics import Statistics, importances
from recurvature.tasks.recall import SUPERPOSITION

Convention = Literal["square", "benefit"]
Target = int | Float[Any, "age o d"]
"""A delay, or the impulse response that outputs should have to features."""

PARTS = ("temporal", "spatial", "spatiotemporal")
"""Interference by other ages of the same feature, by other features of the same age, by both at once."""


class LossTerms(AbstractResult):
    r"""The expected square error of each output, summed over the steps of a trial, in its terms (docs eq. S.6).

    All are weighted by importance. `projection` and `composition` hold the parts `PARTS` along their last axis.
    `correlation` is what features that are correlated within a step add; 0 where they are independent.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    task: Float[Values, " o"]
    mean: Float[Values, " o"]
    projection: Float[Values, "o part"]
    composition: Float[Values, "o part"]
    correlation: Float[Values, " o"]
    constant: Float[Values, " o"]
    """What the target alone costs, where `convention` leaves it out of `task`."""
    silence: Float[Values, " o"]
    """The loss of an output of 0."""
    steps: int
    delay: int
    convention: str

    @property
    def total(self) -> float:
        """The loss of all outputs."""
        terms = (self.task, self.mean, self.projection, self.composition, self.correlation, self.constant)
        return float(sum(np.asarray(term).sum() for term in terms))

    @property
    def normalised(self) -> float:
        """`total` over the loss of silent outputs."""
        return self.total / float(np.asarray(self.silence).sum())


def impulse_target(target: Target, shape: tuple[int, ...], dtype: Any) -> Float[Array, "age o d"]:
    r"""The impulse response $\tau_s$ wanted of projections of this shape: for a delay, 1 at age k (docs eq. S.5)."""
    ages, outputs, features = shape
    if isinstance(target, int):
        check_delay(target, ages)
        if outputs != features:
            raise InputError(f"recall needs as many outputs as features; got {outputs} and {features}.")
        return jnp.zeros(shape, dtype).at[target].set(jnp.eye(outputs, dtype=dtype))
    check_shape("target", target, shape)
    return jnp.asarray(target, dtype)


def expected_loss(
    projections: Float[Array, "age o d"],
    statistics: Statistics,
    target: Target,
    *,
    importance: float | Float[Array, " o"] = 1.0,
    bias: Float[Array, " o"] | None = None,
) -> Float[Array, ""]:
    r"""$E\sum_{t\le T}\sum_iI_i(y_{t,i} - \hat y_{t,i})^2$ of independent steps, T = ages (docs eq. S.5).

    With $D_s = A_s - \tau_s$ it is
    $\sum_s(T-s)\,\mathrm{tr}(I D_s\Sigma D_s^\top) + \sum_t\lVert I^{1/2}(b + \sum_{s<t}D_sm)\rVert^2$.
    Differentiable in the projections; `target` is a delay or an impulse response (age, output, feature), `bias` b.
    """
    wanted, statistics = impulse_target(target, projections.shape, projections.dtype), _like(statistics, projections)
    weight = importances(importance, projections.shape[1], projections.dtype)
    return _second_order(projections - wanted, statistics, weight, offsets(bias, weight))


def offsets(bias: Float[Any, " o"] | None, weight: Float[Array, " o"]) -> Float[Array, " o"]:
    """A bias for each output that has a `weight`, 0 unless given."""
    if bias is None:
        return jnp.zeros_like(weight)
    check_shape("bias", bias, weight.shape)
    return jnp.asarray(bias, weight.dtype)


@eqx.filter_jit
def _second_order(
    difference: Float[Array, "age o d"], statistics: Statistics, weight: Float[Array, " o"], bias: Float[Array, " o"]
) -> Float[Array, ""]:
    spread = jnp.einsum("sod,de,soe->so", difference, statistics.covariance, difference)
    drift = (jnp.cumsum(difference @ statistics.mean, axis=0) + bias[None]) ** 2
    return (_counts(difference) @ spread + drift.sum(0)) @ weight


def correlated_loss(
    projections: Float[Array, "age o d"],
    correlation: Float[Array, "lag d d"],
    target: Target,
    *,
    importance: float | Float[Array, " o"] = 1.0,
) -> Float[Array, ""]:
    r"""The expected loss for features with $C(\tau) = E[x_tx_{t-\tau}^\top]$, means included, of any stationary kind.

    `correlation` holds lags 0 to T - 1 (docs eq. S.8). T² o d² operations.
    """
    ages, outputs, features = projections.shape
    check_shape("correlation", correlation, (ages, features, features))
    difference = projections - impulse_target(target, projections.shape, projections.dtype)
    lag = np.arange(ages)[None, :] - np.arange(ages)[:, None]
    late = (lag < 0)[:, :, None, None]
    between = jnp.where(late, correlation[-lag * (lag < 0)].swapaxes(2, 3), correlation[lag * (lag > 0)])
    count = ages - np.maximum(*np.indices((ages, ages)))
    weight = importances(importance, outputs, projections.dtype)
    return jnp.einsum("o,sr,sod,srde,roe->", weight, jnp.asarray(count, weight.dtype), difference, between, difference)


def _like(statistics: Statistics, projections: Float[Array, "age o d"]) -> Statistics:
    check_shape("mean", statistics.mean, (projections.shape[2],))
    return cast(statistics, projections.dtype)


def _counts(projections: Float[Array, "age o d"]) -> Float[Array, " age"]:
    """In how many of the steps a feature of each age exists, T - s."""
    ages = projections.shape[0]
    return jnp.asarray(ages - np.arange(ages), projections.dtype)


def loss_terms(
    projections: Float[Array, "age o d"],
    statistics: Statistics,
    delay: int,
    *,
    importance: float | Float[Array, " o"] = 1.0,
    convention: Convention = "square",
) -> LossTerms:
    r"""The expected loss of k-delay recall in four terms: task, mean, projection and composition (docs eq. S.6).

    `convention="square"` makes the task term $(T-k)I_iq_i(1-A_k[i,i])^2$; `"benefit"` makes it
    $(T-k)I_iq_i(A_k[i,i]^2-2A_k[i,i])$ and keeps $(T-k)I_iq_i$ as `constant`. Their totals are equal.

    Raises `InputError` where the delay leaves nothing to recall (k ≥ T, the number of ages).
    """
    check_choice("convention", convention, ("square", "benefit"))
    target = impulse_target(delay, projections.shape, projections.dtype)
    weight = importances(importance, projections.shape[1], projections.dtype)
    return _loss_terms(projections, projections - target, _like(statistics, projections), weight, delay, convention)


@eqx.filter_jit
def _loss_terms(
    projections: Float[Array, "age o d"],
    difference: Float[Array, "age o d"],
    statistics: Statistics,
    weight: Float[Array, " o"],
    delay: int,
    convention: Convention,
) -> LossTerms:
    kept, ages = jnp.diagonal(projections[delay]), projections.shape[0]
    silence = (ages - delay) * weight * statistics.square
    square, benefit = silence * (1 - kept) ** 2, silence * (kept**2 - 2 * kept)
    return LossTerms(
        task=square if convention == "square" else benefit,
        mean=weight * _mean_correction(projections, statistics.mean, delay),
        projection=weight[:, None] * _projection(projections, statistics.square, delay),
        composition=weight[:, None] * _composition(projections, statistics.mean, delay),
        correlation=weight * _correlation(difference, statistics.covariance),
        constant=jnp.zeros_like(silence) if convention == "square" else silence,
        silence=silence,
        steps=ages,
        delay=delay,
        convention=convention,
    )


def _own(projections: Float[Array, "age o d"]) -> Float[Array, "age o"]:
    """The projection of each output's own feature."""
    return jnp.diagonal(projections, axis1=1, axis2=2)


def _mean_correction(projections: Float[Array, "age o d"], mean: Float[Array, " d"], delay: int) -> Float[Array, " o"]:
    ages = projections.shape[0]
    count = jnp.asarray(ages - np.maximum(np.arange(ages), delay), projections.dtype)
    recalled = (ages - delay) * mean * _own(projections)[delay]
    return -2 * mean * (count @ (projections @ mean) - recalled)


def _projection(projections: Float[Array, "age o d"], square: Float[Array, " d"], delay: int) -> Float[Array, "o part"]:
    outputs = projections.shape[1]
    cost = _counts(projections)[:, None, None] * square[None, None, :] * projections**2
    cost = cost.at[delay, jnp.arange(outputs), jnp.arange(outputs)].set(0.0)
    own, all_ = _own(cost), cost.sum(2)
    temporal, spatial = own.sum(0), all_[delay]
    return jnp.stack([temporal, spatial, all_.sum(0) - temporal - spatial], axis=-1)


def _composition(projections: Float[Array, "age o d"], mean: Float[Array, " d"], delay: int) -> Float[Array, "o part"]:
    """Products of the means of two different directions: a square of sums over time, less the squares themselves."""
    parts = projections * mean[None, None, :]
    counts, own = _counts(projections), _own(parts)
    whole = (jnp.cumsum(parts.sum(2), axis=0) ** 2).sum(0) - counts @ (parts**2).sum(2)
    temporal = (jnp.cumsum(own, axis=0) ** 2).sum(0) - counts @ own**2
    spatial = counts[delay] * (parts[delay].sum(1) ** 2 - (parts[delay] ** 2).sum(1))
    return jnp.stack([temporal, spatial, whole - temporal - spatial], axis=-1)


def _correlation(difference: Float[Array, "age o d"], covariance: Float[Array, "d d"]) -> Float[Array, " o"]:
    between = covariance - jnp.diag(jnp.diagonal(covariance))
    return _counts(difference) @ jnp.einsum("sod,de,soe->so", difference, between, difference)
