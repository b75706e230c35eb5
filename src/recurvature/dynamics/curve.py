r"""A curve of fixed points in states and one parameter, and the equations that single out its special points."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recurvature._precision import cast
from recurvature.dynamics.rate import AbstractLatentRate, AbstractRate, Rate, latent_rate, system_of
from recurvature.systems.base import AbstractSystem

Scalar = Float[Array, ""]
Vector = Callable[[Float[Array, " k"]], Float[Array, " k"]]


class Family(eqx.Module):
    """A rate of change for every value of a parameter: an input channel, a path of inputs, or a family of systems."""

    system: AbstractSystem | Callable[[Scalar], Any]
    inputs: Float[Array, " d"] | Callable[[Scalar], Float[Array, " d"]]
    channel: int | None = eqx.field(static=True)
    latent: bool = eqx.field(static=True)

    def full(self, value: Scalar) -> Rate:
        """The rate of the full state."""
        given = self.system if isinstance(self.system, AbstractSystem) else self.system(value)
        inputs = jnp.asarray(self.inputs(value) if callable(self.inputs) else self.inputs, value.dtype)
        if self.channel is not None:
            inputs = inputs.at[self.channel].set(value)
        return Rate(cast(system_of(given), value.dtype), inputs)

    def at(self, value: Scalar) -> AbstractRate:
        """The rate in the variables that are followed: the latent ones of a low-rank network."""
        full = self.full(value)
        return (latent_rate(full) if self.latent else None) or full


class AbstractPath(AbstractRate):
    r"""Equations in $y = (z/a, (s-s_0)/w)$ and perhaps more unknowns, on a curve of fixed points (docs eq. D.14)."""

    curve: eqx.AbstractVar["Curve"]

    @abc.abstractmethod
    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """Zero where they are met."""


class Curve(eqx.Module):
    r"""$g(z, s)$ and its derivatives in scaled unknowns: k equations in k + 1 unknowns (docs eq. D.14)."""

    family: Family
    unit: Float[Array, ""]
    """The size of state that counts as 1."""
    low: Float[Array, ""]
    width: Float[Array, ""]

    @property
    def is_latent(self) -> bool:
        """Whether latent variables are followed."""
        return isinstance(self.family.at(self.low), AbstractLatentRate)

    def state(self, y: Float[Array, " k1"]) -> Float[Array, " k"]:
        """The variables that are followed."""
        return self.unit * y[:-1]

    def value(self, y: Float[Array, " k1"]) -> Scalar:
        """The parameter."""
        return self.low + self.width * y[-1]

    def rate(self, y: Float[Array, " k1"]) -> Float[Array, " k"]:
        """The rate of change."""
        return self.family.at(self.value(y))(self.state(y))

    def in_state(self, y: Float[Array, " k1"]) -> Float[Array, "k k"]:
        """Its Jacobian in the variables, unscaled."""
        return self.family.at(self.value(y)).jacobian(self.state(y))

    def derivative(self, y: Float[Array, " k1"]) -> Float[Array, "k k1"]:
        """Its derivative in the scaled unknowns."""
        state, value = self.state(y), self.value(y)
        along = jax.jvp(lambda s: self.family.at(s)(state), (value,), (self.width,))[1]
        return jnp.concatenate([self.unit * self.in_state(y), along[:, None]], 1)


class Corrector(AbstractPath):
    r"""$g = 0$ in the plane through a predicted place across a direction $t$ (docs eq. D.14)."""

    curve: Curve
    predicted: Float[Array, " k1"]
    across: Float[Array, " k1"]

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """The rate, and the distance from the plane."""
        return jnp.concatenate([self.curve.rate(x), (self.across @ (x - self.predicted))[None]])

    def jacobian(self, x: Float[Array, " n"]) -> Float[Array, "n n"]:
        """The derivative of the rate above the direction."""
        return jnp.concatenate([self.curve.derivative(x), self.across[None]])


class Critical(AbstractPath):
    r"""$g = 0$, $\partial g\,v = \nu v$, $|v| = 1$ with a given real $\nu$: folds and period doublings (eq. D.16)."""

    curve: Curve
    eigenvalue: Float[Array, ""]

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """Unknowns: place, vector."""
        k = len(x) // 2
        y, v = x[: k + 1], x[k + 1 :]
        across = self.curve.in_state(y) @ v - self.eigenvalue * v
        return jnp.concatenate([self.curve.rate(y), across, (v @ v - 1)[None]])

    def jacobian(self, x: Float[Array, " n"]) -> Float[Array, "n n"]:
        """Forward derivatives."""
        return jax.jacfwd(self)(x)


class Oscillating(AbstractPath):
    r"""$g = 0$, $\partial g\,v = \nu v$ with $\nu = i\omega$ (flow) or $(e^{i\omega}-1)/h$ (map): Hopf (eq. D.16).

    The complex vector is fixed by $c\cdot v = 1$ with a real reference $c$.
    """

    curve: Curve
    reference: Float[Array, " k"]
    step: Float[Array, ""]
    """The step h of a map; 0 for a flow."""

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """Unknowns: place, real and imaginary part of the vector, frequency."""
        k = (len(x) - 2) // 3
        y, p, q, omega = x[: k + 1], x[k + 1 : 2 * k + 1], x[2 * k + 1 : 3 * k + 1], x[-1]
        h = jnp.where(self.step > 0, self.step, 1.0)
        growth = jnp.where(self.step > 0, (jnp.cos(omega) - 1) / h, 0.0)
        turn = jnp.where(self.step > 0, jnp.sin(omega) / h, omega)
        matrix = self.curve.in_state(y)
        parts = [
            self.curve.rate(y),
            matrix @ p - growth * p + turn * q,
            matrix @ q - growth * q - turn * p,
            jnp.stack([self.reference @ p - 1, self.reference @ q]),
        ]
        return jnp.concatenate(parts)

    def jacobian(self, x: Float[Array, " n"]) -> Float[Array, "n n"]:
        """Forward derivatives."""
        return jax.jacfwd(self)(x)


class Branching(AbstractPath):
    r"""$g + \beta\psi = 0$, $\psi^\top\partial g = 0$, $|\psi| = 1$: where two curves cross (docs eq. D.17).

    With $\partial g$ the derivative in all k + 1 unknowns; $\beta$ is zero at a crossing.
    """

    curve: Curve

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        r"""Unknowns: place, $\beta$, $\psi$."""
        k = len(x) // 2 - 1
        y, beta, psi = x[: k + 1], x[k + 1], x[k + 2 :]
        parts = [self.curve.rate(y) + beta * psi, psi @ self.curve.derivative(y), (psi @ psi - 1)[None]]
        return jnp.concatenate(parts)

    def jacobian(self, x: Float[Array, " n"]) -> Float[Array, "n n"]:
        """Forward derivatives."""
        return jax.jacfwd(self)(x)


@eqx.filter_jit
def bending(
    curve: Curve, y: Float[Any, " k1"], psi: Float[Any, " k"], one: Float[Any, " k1"], two: Float[Any, " k1"]
) -> tuple[Scalar, Scalar]:
    r"""$\psi\cdot\partial^2 g[p, q]$ and $\psi\cdot\partial^2 g[q, q]$ (docs eq. D.17)."""
    place, p, q = jnp.asarray(y), jnp.asarray(one), jnp.asarray(two)
    slope = lambda at: psi @ jax.jvp(curve.rate, (at,), (q,))[1]  # noqa: E731
    return jax.jvp(slope, (place,), (p,))[1], jax.jvp(slope, (place,), (q,))[1]


@eqx.filter_jit
def second_derivatives(
    curve: Curve, y: Float[Array, " k1"], one: Float[Array, "row k"], two: Float[Array, "row k"]
) -> Float[Array, "row k"]:
    r"""$\partial_z^2g[u, v]$ for rows $u$ of `one` and $v$ of `two`, at one value of the parameter (docs eq. D.18)."""
    rate, state = curve.family.at(curve.value(y)), curve.state(y)
    return jax.vmap(lambda u, v: _along(_along(rate, u), v)(state))(one, two)


@eqx.filter_jit
def third_derivatives(
    curve: Curve,
    y: Float[Array, " k1"],
    one: Float[Array, "row k"],
    two: Float[Array, "row k"],
    three: Float[Array, "row k"],
) -> Float[Array, "row k"]:
    r"""$\partial_z^3g[u, v, w]$ for rows of the three (docs eq. D.18)."""
    rate, state = curve.family.at(curve.value(y)), curve.state(y)
    return jax.vmap(lambda u, v, w: _along(_along(_along(rate, u), v), w)(state))(one, two, three)


def _along(function: Vector, u: Float[Array, " k"]) -> Vector:
    """The derivative along a direction, as a function of the state again."""
    return lambda z: jax.jvp(function, (z,), (u,))[1]
