r"""Inputs that last: features with a memory of their own, and the exact stationary loss of recalling them.

A stationary input with $C(\tau) = V\,1[\tau=0] + S\varphi^{|\tau|} + mm^\top$ is a white part and a first-order
autoregression; with the state of the autoregression appended the loss stays a Lyapunov solve (docs eq. S.67, S.68).
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_shape
from recurvature._precision import cast
from recurvature.lenses.superposition.models import Weights, check_delay
from recurvature.lenses.superposition.stationary import check_stable, lyapunov, state_moments, stationary_loss
from recurvature.lenses.superposition.statistics import (
    AbstractAmplitude,
    Statistics,
    amplitude_with_moments,
    check_density,
    check_memory,
    importances,
)


class Persistent(eqx.Module):
    r"""Mean (d,), covariances (d, d) of the white and of the lasting part, and the memory $\varphi$ of the latter."""

    mean: Float[Array, " d"]
    white: Float[Array, "d d"]
    slow: Float[Array, "d d"]
    memory: float = eqx.field(static=True)

    def __check_init__(self) -> None:
        d = self.mean.shape[0]
        check_shape("white", self.white, (d, d))
        check_shape("slow", self.slow, (d, d))
        if not -1 < self.memory < 1:
            raise InputError(f"`memory` must lie between -1 and 1; got {self.memory!r}. White inputs have 0.")

    @property
    def instant(self) -> Statistics:
        """The moments of one step, without those between steps."""
        return Statistics(self.mean, self.white + self.slow)

    def correlation(self, lags: int) -> Float[Array, "lag d d"]:
        r"""$C(\tau) = E[x_tx_{t-\tau}^\top]$ for lags from 0 on, as `correlated_loss` takes it."""
        check_count(lags=lags)
        decay = jnp.asarray(self.memory ** np.arange(lags), self.mean.dtype)
        lasting = jnp.einsum("l,de->lde", decay, self.slow) + jnp.outer(self.mean, self.mean)[None]
        return lasting.at[0].add(self.white)


def autoregressive(memory: float, features: int = 1) -> Persistent:
    r"""Features of mean 0 and variance 1 with $x_t = \varphi x_{t-1} + $ noise, independent of each other."""
    check_count(features=features)
    return Persistent(jnp.zeros(features), jnp.zeros((features, features)), jnp.eye(features), memory)


def persistent_gates(
    density: float, memory: float, features: int = 1, *, amplitude: AbstractAmplitude | None = None
) -> Persistent:
    r"""Sparse features that come in bursts: $x_j=B_jU_j$ with a Markov gate and a new amplitude at every step.

    A gate is open with chance p = `density`, and its correlation from step to step is `memory`: a burst lasts
    $1/((1-p)(1-\varphi))$ steps on average. A memory of 0 gives the independent gates of `sparse`. Amplitudes are
    `Uniform()` unless given. Raises `InputError` on a memory that is not in [0, 1).
    """
    check_density(density)
    check_count(features=features)
    check_memory(memory)
    u, unit = amplitude_with_moments(amplitude), jnp.eye(features)
    variance = u.square - u.mean**2
    slow = density * (1 - density) * u.mean**2
    return Persistent(jnp.full(features, density * u.mean), density * variance * unit, slow * unit, memory)


def persistent_loss(
    weights: Weights, inputs: Persistent, delay: int, *, importance: float | Float[Array, " o"] = 1.0
) -> Float[Array, ""]:
    r"""The expected loss per step of recall of lasting inputs as $T\to\infty$, exactly (docs eq. S.68).

    Differentiable in the weights. The limit of the increments of `correlated_loss`. Needs a spectral radius below 1.
    """
    check_delay(delay)
    inputs = cast(inputs, weights.inputs.dtype)
    fast = stationary_loss(weights, Statistics(inputs.mean, inputs.white), delay, importance=importance)
    weight = importances(importance, weights.readout.shape[0], weights.inputs.dtype)
    return fast + _slow_loss(weights, inputs, delay, weight)


@eqx.filter_jit
def _slow_loss(weights: Weights, inputs: Persistent, delay: int, weight: Float[Array, " o"]) -> Float[Array, ""]:
    together, covariance = _with_inputs(weights, inputs)
    n = weights.recurrent.shape[0]
    # the state now against the input of k steps ago
    crossed = (jnp.linalg.matrix_power(together, delay) @ covariance[:, n:])[:n]
    spread = weights.readout @ covariance[:n, :n] @ weights.readout.T
    both = inputs.slow - weights.readout @ crossed - crossed.T @ weights.readout.T + spread
    return jnp.diagonal(both) @ weight


def _with_inputs(weights: Weights, inputs: Persistent) -> tuple[Float[Array, "nd nd"], Float[Array, "nd nd"]]:
    """The recurrence of state and lasting input together, and their stationary covariance."""
    n, d = weights.inputs.shape
    unit = jnp.eye(d, dtype=weights.inputs.dtype)
    upper = jnp.concatenate([weights.recurrent, inputs.memory * weights.inputs], axis=1)
    lower = jnp.concatenate([jnp.zeros((d, n), unit.dtype), inputs.memory * unit], axis=1)
    together, driven = jnp.concatenate([upper, lower]), jnp.concatenate([weights.inputs, unit])
    noise = (1 - inputs.memory**2) * inputs.slow
    return together, lyapunov(together, driven @ noise @ driven.T)


def persistent_readout(
    recurrent: Float[Array, "n n"], inputs: Float[Array, "n d"], lasting: Persistent, delay: int
) -> Weights:
    r"""The weights with the readout of least `persistent_loss`: normal equations over both parts (docs eq. S.69)."""
    check_delay(delay)
    check_stable(recurrent)
    lasting = cast(lasting, inputs.dtype)
    n, d = inputs.shape
    blank = Weights(recurrent, inputs, jnp.zeros((d, n), inputs.dtype))
    mean, white = state_moments(blank, Statistics(lasting.mean, lasting.white))
    together, slow = _with_inputs(blank, lasting)
    recalled = jnp.linalg.matrix_power(recurrent, delay) @ inputs
    crossed = (jnp.linalg.matrix_power(together, delay) @ slow[:, n:])[:n]
    seen = recalled @ lasting.white + crossed + jnp.outer(mean, lasting.mean)
    readout = jnp.linalg.lstsq(white + slow[:n, :n] + jnp.outer(mean, mean), seen)[0].T
    return Weights(recurrent, inputs, readout)
