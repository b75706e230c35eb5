r"""What the features are: their amplitudes, how often they are there, and the moments that losses need."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_shape
from recurvature._keys import PRNGKey, stream


class AbstractAmplitude(eqx.Module):
    """The distribution of a feature that is there, U."""

    @property
    @abc.abstractmethod
    def mean(self) -> float:
        """E U."""

    @property
    @abc.abstractmethod
    def squares(self) -> tuple[float, float]:
        r"""$E U_+^2$ and $E U_-^2$: the share of positive and of negative amplitudes in E U²."""

    @abc.abstractmethod
    def quantile(self, chance: Float[Array, "..."]) -> Float[Array, "..."]:
        """The amplitude that a share `chance` (0 to 1) of all is at most: uniform numbers become draws."""

    @property
    def square(self) -> float:
        """E U²."""
        return sum(self.squares)

    def sample(self, key: PRNGKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Independent draws."""
        return self.quantile(jr.uniform(key, shape))


class Uniform(AbstractAmplitude):
    """U uniform between `low` and `high`, by default 0 and 1."""

    low: float = eqx.field(static=True, default=0.0)
    high: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise InputError(f"a uniform amplitude needs finite low < high; got {self.low} and {self.high}.")

    @property
    def mean(self) -> float:
        """The middle."""
        return (self.low + self.high) / 2

    @property
    def squares(self) -> tuple[float, float]:
        """Integrals of the square on either side of 0."""
        cubes = [(max(s * self.high, 0.0) ** 3, max(s * self.low, 0.0) ** 3) for s in (1, -1)]
        return tuple(abs(a - b) / 3 / (self.high - self.low) for a, b in cubes)  # type: ignore[return-value]

    def quantile(self, chance: Float[Array, "..."]) -> Float[Array, "..."]:
        """A straight line from `low` to `high`."""
        return self.low + (self.high - self.low) * chance


class Levels(AbstractAmplitude):
    """U one of a few `values`, with equal chances: what can be enumerated."""

    values: tuple[float, ...] = eqx.field(static=True, default=(1.0,))

    def __check_init__(self) -> None:
        if not self.values or not np.isfinite(self.values).all():
            raise InputError(f"`values` must hold one or more finite amplitudes; got {self.values}.")

    @property
    def mean(self) -> float:
        """The average level."""
        return float(np.mean(self.values))

    @property
    def squares(self) -> tuple[float, float]:
        """Averages over the levels."""
        levels = np.asarray(self.values)
        return tuple(float(np.mean(np.maximum(s * levels, 0) ** 2)) for s in (1, -1))  # type: ignore[return-value]

    def quantile(self, chance: Float[Array, "..."]) -> Float[Array, "..."]:
        """Each level, in the order of `values`, for an equal share."""
        which = jnp.floor(chance * len(self.values)).astype(int)
        return jnp.asarray(self.values, chance.dtype)[jnp.clip(which, 0, len(self.values) - 1)]


class Statistics(eqx.Module):
    r"""Mean (d,) and covariance (d, d) of the features of one step; steps are independent of each other."""

    mean: Float[Array, " d"]
    covariance: Float[Array, "d d"]

    def __check_init__(self) -> None:
        check_shape("covariance", self.covariance, (self.mean.shape[0],) * 2)

    @property
    def square(self) -> Float[Array, " d"]:
        """$q_j = E x_j^2$."""
        return jnp.diagonal(self.covariance) + self.mean**2


def sparse(
    density: float,
    features: int = 1,
    *,
    amplitude: AbstractAmplitude | None = None,
    shared_gate: bool = False,
) -> Statistics:
    r"""The moments of $x_j = B_jU_j$ with $B_j = 1$ of chance `density`, for each feature or for all together.

    $m = p\,EU$ and $q = p\,EU^2$; a shared gate makes the covariance of two features $p(1-p)(EU)^2$ (docs eq. S.4).
    `amplitude` is `Uniform()`, from 0 to 1, unless given. Raises `InputError` unless 0 < density ≤ 1, and on
    amplitudes without finite moments.
    """
    check_density(density)
    check_count(features=features)
    u = amplitude_with_moments(amplitude)
    between = density * (1 - density) * u.mean**2 if shared_gate else 0.0
    covariance = np.full((features, features), between)
    np.fill_diagonal(covariance, density * u.square - (density * u.mean) ** 2)
    return Statistics(jnp.asarray(np.full(features, density * u.mean)), jnp.asarray(covariance))


def white(features: int = 1) -> Statistics:
    """Features of mean 0 and variance 1, uncorrelated."""
    check_count(features=features)
    return Statistics(jnp.zeros(features), jnp.eye(features))


def amplitude_with_moments(amplitude: AbstractAmplitude | None) -> AbstractAmplitude:
    """`amplitude`, `Uniform()` for none. Raises `InputError` unless EU and EU² are finite and EU² is above 0."""
    if amplitude is None:
        return Uniform()
    if not (np.isfinite([amplitude.mean, *amplitude.squares]).all() and amplitude.square > 0):
        raise InputError(
            f"`amplitude` needs a finite mean and a finite square above 0; {type(amplitude).__name__} has mean "
            f"{amplitude.mean:g} and square {amplitude.square:g}. Losses are averages of squares: bound the amplitudes."
        )
    return amplitude


def check_density(density: float) -> None:
    """Raise unless `density` is a chance greater than 0."""
    if not 0 < density <= 1:
        raise InputError(f"`density` must lie in (0, 1]; got {density!r}.")


def check_memory(memory: float) -> None:
    """Raise unless `memory` is a correlation of a gate from step to step."""
    if not 0 <= memory < 1:
        raise InputError(f"`memory` of a gate must lie in [0, 1); got {memory!r}. Independent gates have 0.")


def importances(importance: float | Float[Array, " o"], outputs: int, dtype: Any = float) -> Float[Array, " o"]:
    """A weight for each output, from one number or one for each. Raises `InputError` on any below 0."""
    values = np.asarray(importance, float)
    if values.shape not in ((), (outputs,)) or not (np.isfinite(values) & (values >= 0)).all():
        raise InputError(f"`importance` must be 1 or {outputs} finite numbers of at least 0; got {importance}.")
    return jnp.asarray(np.broadcast_to(values, (outputs,)), dtype)


def gated(
    key: PRNGKey,
    shape: tuple[int, int],
    density: Float[Array, ""],
    amplitude: AbstractAmplitude,
    dtype: Any = float,
) -> Float[Array, "trial gate"]:
    r"""Gated amplitudes of trials that hold at least one, for use inside a compiled program (docs eq. S.19).

    The index of the first open gate comes from the geometric distribution cut at the last gate, the gates after it are
    open with chance `density`. One number from 0 to 1 is drawn for every gate: below the density the gate is open, and
    what it is in proportion to the density decides on the amplitude.
    """
    trials, gates = shape
    p = density.astype(dtype)
    drawn = jr.uniform(stream(key, "gates"), shape, dtype)
    # at a density of 1 the logarithm is minus infinity, and the first gate is the first open one
    chance = -jnp.expm1(gates * jnp.log1p(-p))
    start = jnp.log1p(-jr.uniform(stream(key, "first"), (trials,), dtype) * chance) / jnp.log1p(-p)
    first = jnp.clip(jnp.floor(start), 0, gates - 1).astype(jnp.int32)[:, None]
    index = jnp.arange(gates, dtype=jnp.int32)[None, :]
    share = jnp.where(index == first, drawn, drawn / p)
    open_ = (index == first) | ((index > first) & (drawn < p))
    return jnp.where(open_, amplitude.quantile(share).astype(dtype), jnp.zeros((), dtype))


def some_feature(density: float | Float[Array, ""], gates: int) -> Float[Array, ""]:
    """The chance that at least one of so many gates is open."""
    return -jnp.expm1(gates * jnp.log1p(-jnp.asarray(density, float)))
