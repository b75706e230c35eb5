"""What drives a system: manifolds of input functions, one function of time for each point of a chart.

A domain is a chart with named coordinates; a manifold puts an input function on every point of a domain and declares
the times at which those functions jump, so that solvers can step onto them. Windows are half-open: on from the first
time, off from the second.
"""

import abc
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_index, check_shape, unknown

TWO_PI = 2 * math.pi


@dataclasses.dataclass(frozen=True)
class Coordinate:
    """One named coordinate of a chart, its range, and whether its ends are the same point."""

    name: str
    low: float
    high: float
    periodic: bool = False
    units: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"coordinate `{self.name}` needs finite low < high; got low={self.low}, high={self.high}.")

    def grid(self, count: int) -> np.ndarray:
        """`count` even points; a periodic coordinate leaves out the duplicate end."""
        if count < 1:
            raise InputError(f"`points` must be at least 1 along every coordinate; got {count} for `{self.name}`.")
        if count == 1 and not self.periodic:
            return np.array([(self.low + self.high) / 2])
        return np.linspace(self.low, self.high, count, endpoint=not self.periodic)


def chart_fields(coordinates: Sequence[Coordinate]) -> dict[str, Any]:
    """What a result says of the coordinates of its points: fields `coordinates`, `units` and `periodic`."""
    return {
        "coordinates": tuple(c.name for c in coordinates),
        "units": tuple(c.units for c in coordinates),
        "periodic": tuple(c.periodic for c in coordinates),
    }


def coordinate_number(names: Sequence[str], which: int | str, argument: str = "coordinate") -> int:
    """The number of a coordinate that `argument` gives by number or name."""
    if isinstance(which, str):
        if which not in names:
            raise unknown("coordinate", which, names)
        return names.index(which)
    check_index(argument, which, len(names))
    return which


class AbstractDomain(eqx.Module):
    """A chart: named coordinates, and the shape that they parametrise."""

    # A field or a property of the final class; type checkers are told the read-only half of that.
    if TYPE_CHECKING:

        @property
        def coordinates(self) -> tuple[Coordinate, ...]: ...  # noqa: D102

    else:
        coordinates: eqx.AbstractVar[tuple[Coordinate, ...]]

    def __check_init__(self) -> None:
        names = [c.name for c in self.coordinates]
        if not names or len(set(names)) < len(names):
            raise InputError(f"a domain needs one or more coordinates of different names; got {names}.")

    @abc.abstractmethod
    def embed(self, theta: Float[Array, " m"]) -> Float[Array, " d"]:
        """The point of the shape, in its usual Euclidean embedding."""

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return len(self.coordinates)

    def __mul__(self, other: "AbstractDomain") -> "Product":
        """The product of two domains."""
        return Product((self, other))


class Box(AbstractDomain):
    """A box of intervals; it embeds as its coordinates."""

    coordinates: tuple[Coordinate, ...] = eqx.field(static=True)

    def embed(self, theta: Float[Array, " m"]) -> Float[Array, " d"]:
        """The coordinates themselves."""
        return theta


class Torus(AbstractDomain):
    """A product of circles; each angle embeds as (cos, sin). One angle is a circle."""

    coordinates: tuple[Coordinate, ...] = eqx.field(static=True)

    def embed(self, theta: Float[Array, " m"]) -> Float[Array, " d"]:
        """(cos, sin) of each angle in turn."""
        return jnp.stack([jnp.cos(theta), jnp.sin(theta)], axis=-1).reshape(-1)


class Sphere(AbstractDomain):
    """The unit sphere in polar angle (0 to π) and azimuth; the poles are singular points of the chart."""

    coordinates: tuple[Coordinate, ...] = eqx.field(static=True)

    def embed(self, theta: Float[Array, " m"]) -> Float[Array, " d"]:
        """(sin θ cos φ, sin θ sin φ, cos θ)."""
        polar, azimuth = theta[0], theta[1]
        return jnp.stack([jnp.sin(polar) * jnp.cos(azimuth), jnp.sin(polar) * jnp.sin(azimuth), jnp.cos(polar)])


class Product(AbstractDomain):
    """Several domains side by side; it embeds as their embeddings joined."""

    factors: tuple[AbstractDomain, ...]

    @property
    def coordinates(self) -> tuple[Coordinate, ...]:
        """The coordinates of all factors in turn."""
        return tuple(c for factor in self.factors for c in factor.coordinates)

    def embed(self, theta: Float[Array, " m"]) -> Float[Array, " d"]:
        """The factors' embeddings, joined."""
        ends = np.cumsum([factor.dimension for factor in self.factors])[:-1]
        parts = jnp.split(theta, ends)
        return jnp.concatenate([factor.embed(part) for factor, part in zip(self.factors, parts, strict=True)])


def interval(name: str, low: float = -1.0, high: float = 1.0, *, units: str = "") -> Box:
    """An interval."""
    return Box((Coordinate(name, low, high, units=units),))


def box(**ranges: tuple[float, float]) -> Box:
    """A box with one named interval to each keyword."""
    return Box(tuple(Coordinate(name, low, high) for name, (low, high) in ranges.items()))


def circle(name: str = "angle") -> Torus:
    """A circle."""
    return torus(name)


def torus(*names: str) -> Torus:
    """A torus with one named angle (0 to 2π, radians) to each argument."""
    return Torus(tuple(Coordinate(name, 0.0, TWO_PI, periodic=True, units="rad") for name in names))


def sphere(polar: str = "polar", azimuth: str = "azimuth") -> Sphere:
    """The unit sphere."""
    return Sphere((Coordinate(polar, 0.0, math.pi, units="rad"), Coordinate(azimuth, 0.0, TWO_PI, True, "rad")))


class AbstractInputManifold(eqx.Module):
    """A domain with an input function on every point; `jump_times` says when those functions jump (none: empty)."""

    # A field or a property of the final class; type checkers are told the read-only half of that.
    if TYPE_CHECKING:

        @property
        def domain(self) -> AbstractDomain: ...  # noqa: D102

        @property
        def jump_times(self) -> tuple[float, ...]: ...  # noqa: D102

    else:
        domain: eqx.AbstractVar[AbstractDomain]
        jump_times: eqx.AbstractVar[tuple[float, ...]]

    @abc.abstractmethod
    def inputs(self, time: Float[Array, ""], theta: Float[Array, " m"]) -> Float[Array, " d"]:
        r"""$u(t;\theta)$, continuous from the right."""

    @property
    def coordinates(self) -> tuple[Coordinate, ...]:
        """The coordinates of the domain."""
        return self.domain.coordinates

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        return self.domain.dimension

    def inputs_at(self, theta: float | Float[Array, " m"], time: float = 0.0) -> Float[Array, " d"]:
        """The input at one point of the chart (a number is taken for every coordinate) and one time."""
        return self.inputs(jnp.asarray(float(time)), jnp.broadcast_to(jnp.asarray(theta, float), (self.dimension,)))

    def grid(self, points: int | tuple[int, ...]) -> Float[np.ndarray, "point m"]:
        """Even points of the chart, one row each, the last coordinate running fastest."""
        counts = grid_shape(self, points)
        axes = [c.grid(n) for c, n in zip(self.coordinates, counts, strict=True)]
        return np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=-1)


def grid_shape(manifold: AbstractInputManifold, points: int | np.integer | tuple[int, ...]) -> tuple[int, ...]:
    """Points along every coordinate; a single number serves all."""
    counts = (int(points),) * manifold.dimension if isinstance(points, int | np.integer) else points
    if len(counts) != manifold.dimension:
        raise InputError(f"`points` needs one count for each of {manifold.dimension} coordinates; got {counts}.")
    if not all(isinstance(count, int | np.integer) for count in counts):
        raise InputError(f"`points` needs whole numbers, one for each coordinate; got {counts}.")
    return counts


Encode = Callable[[Float[Array, " m"]], Float[Array, "..."]]


class AbstractSeparableInputs(AbstractInputManifold):
    r"""Inputs $u(t;\theta) = \sum_k a_k(t)\,p_k(\theta)$: what depends on $\theta$ is made once for all times."""

    @abc.abstractmethod
    def parts(self, theta: Float[Array, " m"]) -> Float[Array, "part d"]:
        r"""The vectors $p_k(\theta)$."""

    @abc.abstractmethod
    def amplitudes(self, time: Float[Array, ""]) -> Float[Array, " part"]:
        r"""The amplitudes $a_k(t)$, continuous from the right."""

    def inputs(self, time: Float[Array, ""], theta: Float[Array, " m"]) -> Float[Array, " d"]:
        """The sum of all parts."""
        parts = self.parts(theta)
        return self.amplitudes(time).astype(parts.dtype) @ parts


class ConstantInputs(AbstractSeparableInputs):
    r"""Inputs that do not change: $u(t;\theta) = $ `encode(θ)`, by default the embedding of the domain."""

    domain: AbstractDomain
    encode: Encode | None = None
    jump_times: tuple[float, ...] = eqx.field(static=True, default=())

    def parts(self, theta: Float[Array, " m"]) -> Float[Array, "part d"]:
        """`encode(theta)`."""
        return (self.domain.embed(theta) if self.encode is None else self.encode(theta))[None]

    def amplitudes(self, time: Float[Array, ""]) -> Float[Array, " part"]:
        """1 at every time."""
        return jnp.ones_like(time)[None]


class PulsedInputs(AbstractSeparableInputs):
    """A sum of pulses, each a vector that is on in its own window: `encode(θ)` has shape (pulse, inputs)."""

    domain: AbstractDomain
    encode: Encode
    windows: tuple[tuple[float, float], ...] = eqx.field(static=True)

    def __check_init__(self) -> None:
        for start, stop in self.windows:
            if not start < stop:
                raise InputError(f"`windows` need start < stop; got ({start}, {stop}).")

    @property
    def jump_times(self) -> tuple[float, ...]:
        """Every start and stop."""
        return tuple(sorted({edge for window in self.windows for edge in window}))

    def parts(self, theta: Float[Array, " m"]) -> Float[Array, "part d"]:
        """The pulses."""
        pulses = self.encode(theta)
        check_shape("encode(theta)", pulses, (len(self.windows), None))
        return pulses

    def amplitudes(self, time: Float[Array, ""]) -> Float[Array, " part"]:
        """1 for the pulses that are on, else 0."""
        start, stop = jnp.asarray(self.windows, time.dtype).T
        return ((time >= start) & (time < stop)).astype(time.dtype)


class FunctionInputs(AbstractInputManifold):
    """Any function `function(time, theta)`; say when it jumps."""

    domain: AbstractDomain
    function: Callable[[Float[Array, ""], Float[Array, " m"]], Float[Array, " d"]]
    jump_times: tuple[float, ...] = eqx.field(static=True)

    def inputs(self, time: Float[Array, ""], theta: Float[Array, " m"]) -> Float[Array, " d"]:
        """`function(time, theta)`."""
        return self.function(time, theta)
