r"""Expected losses under a rectified readout where many ages contribute: their sum is taken to be normal.

The feature that is due is kept as it is, and so is the moment at which it is not there; everything else that is read
out beside it has a mean and a variance, and nothing more (docs eq. S.20, S.76).
"""

import equinox as eqx
import jax.numpy as jnp
import jax.scipy.stats
import numpy as np
from jaxtyping import Array, Float

from recurvature.lenses.superposition.convolution import amplitude_nodes
from recurvature.lenses.superposition.linear_loss import impulse_target
from recurvature.lenses.superposition.statistics import (
    AbstractAmplitude,
    amplitude_with_moments,
    importances,
    sparse,
)


def rectified_normal(mean: Float[Array, "*shape"], std: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""$E[Z]_+^2 = (\mu^2+\sigma^2)\Phi(\mu/\sigma) + \mu\sigma\varphi(\mu/\sigma)$ of a normal Z (docs eq. S.20).

    What many small projections together cost: the closure by their mean and standard deviation (> 0).
    """
    return _rectified(mean, std)[1]


def _rectified(
    mean: Float[Array, "*shape"], std: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """The first two moments of the positive part of a normal number."""
    ratio = mean / std
    below, density = jax.scipy.stats.norm.cdf(ratio), jax.scipy.stats.norm.pdf(ratio)
    return mean * below + std * density, (mean**2 + std**2) * below + mean * std * density


def normal_loss(
    projections: Float[Array, "age o d"],
    delay: int,
    density: float,
    *,
    amplitude: AbstractAmplitude | None = None,
    importance: float | Float[Array, " o"] = 1.0,
) -> Float[Array, " time"]:
    r"""The expected loss of k-delay recall under a relu readout at every step of a trial, T = ages (docs eq. S.76).

    Its sum is the loss of a trial, its last entry that of a step of an endless one. Features have gates of their own;
    there may be several. Exact where nothing is clipped, good where many small projections add up, and off where few
    large ones do: at small densities, by as much as the loss. There `rectified_loss` (one feature), `order_one` and
    `order_two`, or `sampled_loss` are right. `amplitude` is `Uniform()` from 0 to 1 unless given, or any `Uniform` or
    `Levels`. Differentiable.

    Raises `InputError` where the delay leaves nothing to recall, or outputs and features differ in number.
    """
    u = amplitude_with_moments(amplitude)
    target, statistics = impulse_target(delay, projections.shape, projections.dtype), sparse(density, amplitude=u)
    values, chances = amplitude_nodes(u)
    # open with the values of the amplitude, or closed
    nodes = jnp.asarray([np.append(values, 0.0), np.append(density * chances, 1 - density)], projections.dtype)
    moments = jnp.stack([statistics.mean[0], statistics.covariance[0, 0]]).astype(projections.dtype)
    weight = importances(importance, projections.shape[1], projections.dtype)
    return _normal_loss(projections, target, moments, nodes, weight, delay)


@eqx.filter_jit
def _normal_loss(
    projections: Float[Array, "age o d"],
    target: Float[Array, "age o d"],
    moments: Float[Array, " two"],
    nodes: Float[Array, "two node"],
    weight: Float[Array, " o"],
    delay: int,
) -> Float[Array, " time"]:
    others = jnp.where(target > 0, 0, projections)
    mean = moments[0] * jnp.cumsum(others.sum(2), axis=0)
    spread = moments[1] * jnp.cumsum((others**2).sum(2), axis=0)
    # a spread of nothing is one far below what is read out; its root has a slope
    std = jnp.sqrt(spread + jnp.finfo(spread.dtype).tiny ** 0.5)
    due = jnp.diagonal(projections[delay])[None, :, None] * nodes[0][None, None, :]
    x = jnp.broadcast_to(nodes[0], (*mean.shape, nodes.shape[1]))
    # before there is a target there is nothing of its age either
    there = (jnp.arange(len(projections)) >= delay)[:, None, None]
    x, seen = jnp.where(there, x, 0), jnp.where(there, due, 0) + mean[:, :, None]
    first, second = _rectified(seen, jnp.broadcast_to(std[:, :, None], seen.shape))
    return (x**2 - 2 * x * first + second) @ nodes[1] @ weight
