r"""The flow of a system in a plane through its state space, and the nullclines of that flow."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_positive, check_shape
from recurvature._result import AbstractResult, Citation, Values
from recurvature.dynamics.fixed_points import SUSSILLO
from recurvature.dynamics.rate import AbstractRate, latent_rate, rate_of
from recurvature.dynamics.starts import latent_of
from recurvature.systems.base import AbstractSystem, Network

Range = tuple[float | int, float | int]


class FlowField(AbstractResult):
    r"""The rate of change on a grid of a plane, in the plane's own coordinates (docs eq. D.12).

    Point (a, b) of the grid is the state `origin + horizontal[a] * axes[0] + vertical[b] * axes[1]`. `velocity` is the
    part of the rate inside the plane, `leaving` the share of the rate's length outside of it: where that is not
    small, the arrows are shadows, and crossings of nullclines are no fixed points. Nullclines are line segments along
    which one component of `velocity` vanishes, interpolated linearly within the cells of the grid.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUSSILLO,)

    horizontal: Float[Values, " horizontal"]
    vertical: Float[Values, " vertical"]
    velocity: Float[Values, "horizontal vertical i"] = eqx.field(
        metadata={"units": "coordinate/tau or coordinate/step"}
    )
    leaving: Float[Values, "horizontal vertical"]
    no_horizontal: Float[Values, "segment end i"]
    """Where the first coordinate rests: segments with two ends, two coordinates each."""
    no_vertical: Float[Values, "piece end i"]
    """Where the second coordinate rests."""
    origin: Float[Values, " n"]
    axes: Float[Values, "i n"]
    inputs: Float[Values, " d"]
    plane: str


class FlowLine(AbstractResult):
    """The rate of the one latent variable of a network of rank 1, on a grid (docs eq. D.12)."""

    citations: ClassVar[tuple[Citation, ...]] = (SUSSILLO,)

    value: Float[Values, " value"]
    velocity: Float[Values, " value"] = eqx.field(metadata={"units": "coordinate/tau or coordinate/step"})
    inputs: Float[Values, " d"]


class Plane(NamedTuple):
    """A plane through state space: an origin and two axes, which need be neither orthogonal nor of length one."""

    origin: Float[np.ndarray, " n"]
    axes: Float[np.ndarray, "i n"]
    name: str


def principal_plane(states: Float[Any, "point n"]) -> Plane:
    """The plane of most variance: the mean of states and their first two principal axes (largest entry positive)."""
    points = np.asarray(states).reshape(-1, np.shape(states)[-1])
    if len(points) < 3 or points.shape[1] < 2:
        raise InputError(f"`states` must hold at least 3 states of 2 numbers or more; got {points.shape}.")
    mean = points.mean(0)
    axes = np.linalg.svd(points - mean, full_matrices=False)[2][:2]
    signs = np.sign(np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1))
    return Plane(mean, axes * signs, "principal")


def flow_field(
    network: Network | AbstractSystem,
    inputs: Any = None,
    *,
    plane: Plane | tuple[Any, Any] | str = "latent",
    extent: tuple[Range, Range] = ((-1.0, 1.0), (-1.0, 1.0)),
    points: int = 21,
) -> FlowField:
    """The flow in a plane under one constant input (None: zero), on a grid of `points` × `points`, with nullclines.

    `plane` is `principal_plane(states)`, a pair (origin (n,), axes (2, n)), or `"latent"`: the latent variables of a
    low-rank network with two of them at rest, where nothing leaves the plane. `extent` gives the range of both
    coordinates. Raises `InputError` on arguments that do not fit.
    """
    rate = rate_of(network, inputs)
    dtype = rate.inputs.dtype
    chosen, field = _plane_and_field(rate, plane, dtype)
    (left, right), (low, high) = extent
    check_positive(width=float(right - left), height=float(high - low))
    if points < 2:
        raise InputError(f"`points` must be at least 2; got {points}.")
    horizontal, vertical = np.linspace(left, right, points, dtype=dtype), np.linspace(low, high, points, dtype=dtype)
    grid = np.stack(np.meshgrid(horizontal, vertical, indexing="ij"), -1)
    states = chosen.origin + grid.reshape(-1, 2) @ chosen.axes
    change = np.asarray(_rates(field, states.astype(dtype)))
    within = change @ np.linalg.pinv(chosen.axes)
    outside, size = np.linalg.norm(change - within @ chosen.axes, axis=1), np.linalg.norm(change, axis=1)
    velocity = within.reshape(points, points, 2).astype(dtype)
    return FlowField(
        horizontal=horizontal,
        vertical=vertical,
        velocity=velocity,
        leaving=(outside / np.where(size > 0, size, 1)).reshape(points, points),
        no_horizontal=zero_segments(velocity[..., 0], horizontal, vertical),
        no_vertical=zero_segments(velocity[..., 1], horizontal, vertical),
        origin=chosen.origin,
        axes=chosen.axes,
        inputs=np.asarray(rate.inputs),
        plane=chosen.name,
    )


def flow_line(
    network: Network | AbstractSystem, inputs: Any = None, *, extent: Range = (-1.0, 1.0), points: int = 101
) -> FlowLine:
    """The rate of the one latent variable of a leaky network of rank 1 at rest, under one input (None: zero).

    Raises `InputError` on any other network and on arguments that do not fit.
    """
    rate = rate_of(network, inputs)
    latent = latent_rate(rate)
    if latent is None or latent.size != 1:
        raise InputError("`network` must be a low-rank network of rank 1; of others see `flow_field`.")
    check_positive(width=float(extent[1] - extent[0]))
    if points < 2:
        raise InputError(f"`points` must be at least 2; got {points}.")
    value = np.linspace(*extent, points, dtype=rate.inputs.dtype)
    return FlowLine(value, np.asarray(_rates(latent, value[:, None]))[:, 0], np.asarray(rate.inputs))


def plane_coordinates(
    network: Network | AbstractSystem, field: FlowField, states: Float[Any, "point n"]
) -> Float[np.ndarray, "point i"]:
    """Where states stand in the plane of a flow field: their latent variables, or their least-squares coordinates."""
    rate = rate_of(network, field.inputs)
    rows = np.asarray(states, rate.inputs.dtype)
    check_shape("states", rows, (None, rate.system.state_size))
    latent = latent_rate(rate) if field.plane == "latent" else None
    if latent is not None:
        return latent_of(latent, rate, rows)
    check_shape("field.origin", field.origin, (rate.system.state_size,))
    return (rows - np.asarray(field.origin)) @ np.linalg.pinv(np.asarray(field.axes))


def _plane_and_field(rate: Any, plane: Any, dtype: Any) -> tuple[Plane, AbstractRate]:
    if isinstance(plane, str):
        latent = latent_rate(rate)
        if plane != "latent" or latent is None or latent.size != 2:
            raise InputError(
                f"`plane={plane!r}` needs a low-rank network of rank 2 and the name 'latent'; "
                "pass `principal_plane(states)` or (origin, axes)."
            )
        return Plane(np.zeros(2, dtype), np.eye(2, dtype=dtype), "latent"), latent
    chosen = plane if isinstance(plane, Plane) else Plane(plane[0], plane[1], "given")
    chosen = Plane(np.asarray(chosen.origin, dtype), np.asarray(chosen.axes, dtype), chosen.name)
    check_shape("origin", chosen.origin, (rate.system.state_size,))
    check_shape("axes", chosen.axes, (2, rate.system.state_size))
    if np.linalg.matrix_rank(chosen.axes) < 2:
        raise InputError("`axes` must be two independent vectors.")
    return chosen, rate


@eqx.filter_jit
def _rates(rate: AbstractRate, states: Float[Any, "point n"]) -> Float[Array, "point n"]:
    return jax.vmap(rate)(jnp.asarray(states))


def zero_segments(
    values: Float[np.ndarray, "a b"], horizontal: Float[np.ndarray, " a"], vertical: Float[np.ndarray, " b"]
) -> Float[np.ndarray, "segment end i"]:
    """Where values on a grid vanish, as line segments within cells (marching squares, linear along edges).

    A cell crossed twice (its diagonal corners of one sign each) is joined edge to next edge around it.
    """
    up = values > 0
    mixed = up[:-1, :-1] + 0 + up[1:, :-1] + up[1:, 1:] + up[:-1, 1:]
    segments = []
    for a, b in np.argwhere((mixed > 0) & (mixed < 4)):
        corners = [(a, b), (a + 1, b), (a + 1, b + 1), (a, b + 1)]
        ends = []
        for (a0, b0), (a1, b1) in zip(corners, corners[1:] + corners[:1], strict=True):
            if up[a0, b0] != up[a1, b1]:
                share = values[a0, b0] / (values[a0, b0] - values[a1, b1])
                start, stop = np.array([horizontal[a0], vertical[b0]]), np.array([horizontal[a1], vertical[b1]])
                ends.append(start + share * (stop - start))
        segments += [ends[k : k + 2] for k in range(0, len(ends), 2)]
    return np.array(segments, values.dtype).reshape(-1, 2, 2)
