r"""The loss of a linear network that imitates a filter on sums of sinusoids: its transfer function at a few places."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError
from recurvature.lenses.overlaps.layout import Layout
from recurvature.lenses.overlaps.losses import FilterLoss
from recurvature.lenses.overlaps.response import StateSpace, transfer_of


class SinusoidLoss(eqx.Module):
    r"""The mean squared error, over a long time, on $x(t) = \sum_ka_k\cos(\omega_kt+\varphi_k)$ (docs eq. O.60).

    $L = \tfrac12\sum_ka_k^2\lVert H(i\omega_k)-H^*(i\omega_k)\rVert^2$, whatever the phases. Every input has the same
    sinusoids, and errors are summed over outputs and inputs, one input at a time.

    - `target`: a `StateSpace` in continuous time, stable; for networks in steps of `dt` it is sampled at them.
    - `frequencies`: $\omega_k$ in radians per time constant, positive, all different, below $\pi$/`dt`.
    - `amplitudes`: $a_k$, of each frequency.

    Called with overlaps it gives a number, infinite where the recurrence is unstable.
    """

    filter: FilterLoss
    frequencies: Float[Array, " frequency"]
    amplitudes: Float[Array, " frequency"]

    def __init__(
        self,
        target: StateSpace,
        layout: Layout,
        frequencies: Sequence[float] | Float[Any, " frequency"],
        amplitudes: Sequence[float] | Float[Any, " frequency"],
        dt: float | None = None,
    ):
        self.filter = FilterLoss(target, layout, dt)
        at, size = np.asarray(frequencies, float), np.asarray(amplitudes, float)
        if at.ndim != 1 or at.shape != size.shape or not (np.isfinite(at).all() and np.isfinite(size).all()):
            raise InputError("`frequencies` and `amplitudes` must be two rows of as many finite numbers.")
        most = np.inf if dt is None else np.pi / dt
        # a constant and the fastest alternation have twice the power, and equal frequencies interfere
        if (at <= 0).any() or (at >= most).any() or len(np.unique(at)) < len(at):
            raise InputError(f"`frequencies` must be all different, above 0 and below {most:.4g}; got {at.tolist()}.")
        dtype = self.filter.target.transition.dtype
        self.frequencies, self.amplitudes = jnp.asarray(at, dtype), jnp.asarray(size, dtype)

    @eqx.filter_jit
    def __call__(self, overlaps: Float[Array, "a a"]) -> Float[Array, ""]:
        """The loss."""
        error, dt = self.filter.error_system(overlaps), self.filter.dt
        w = self.frequencies
        at = jax.lax.complex(jnp.zeros_like(w), w) if dt is None else jax.lax.complex(jnp.cos(dt * w), jnp.sin(dt * w))
        response = transfer_of(error, at, dt)
        power = jnp.sum(response.real**2 + response.imag**2, axis=(1, 2))
        value = jnp.sum(self.amplitudes**2 * power) / 2
        return jnp.where(self.filter.stable(error.transition), value, jnp.inf)
