"""Fields over an input manifold: blocks of points streamed through a network, what is emitted gathered over time."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from recurvature._errors import InputError, check_choice, check_count, check_kind, check_positive, check_shape
from recurvature._precision import cast, float_dtype
from recurvature._progress import Progress, Report
from recurvature.systems.base import AbstractFlow, AbstractMap, Network
from recurvature.systems.inputs import AbstractInputManifold, Coordinate, grid_shape
from recurvature.systems.simulate import check_times, step_times, steps_for
from recurvature.systems.tangent import Frame, Rows, lift, n_rows, propagate, propagate_flow, start_rows, tangents

Space = Literal["state", "rates", "readout"]
SPACES = ("state", "rates", "readout")
Initial = Callable[[Float[Array, " m"]], Float[Array, " n"]]


@runtime_checkable
class Emitter(Protocol):
    """What a lens wants of each frame: a module, so that equal requests share one compiled program."""

    def __call__(self, network: Network, frame: Frame, /) -> Any:
        """Arrays with the points of the block as first axis."""
        ...


class Grid(NamedTuple):
    """Points of a manifold as rows of coordinates; `shape` is empty when they form no grid."""

    theta: Float[np.ndarray, "point m"]
    shape: tuple[int, ...]
    coordinates: tuple[Coordinate, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the coordinates."""
        return tuple(c.name for c in self.coordinates)


class Course(NamedTuple):
    """How a field is computed: for how long, and in what portions."""

    duration: float
    samples: int = 50
    """Even times at which a flow is sampled; a map is sampled at every step."""
    block: int | None = None
    """Points at work at once; None chooses."""
    initial: Initial | None = None
    """The state at time 0 as a function of the coordinates; None is the network's `x0`."""


class Field(NamedTuple):
    """What was emitted, leaves of shape (time, point, …), at `time`; `solved` is False where a flow solve failed."""

    time: Float[np.ndarray, " time"]
    values: Any
    solved: Bool[np.ndarray, " point"]


def points_of(manifold: AbstractInputManifold, points: int | tuple[int, ...] | Float[Any, "point m"]) -> Grid:
    """A grid of points (a count for each coordinate, or one for all), or the given rows of coordinates."""
    if isinstance(points, int | np.integer | tuple):
        shape = grid_shape(manifold, points)
        return Grid(manifold.grid(shape), shape, manifold.coordinates)
    theta = np.asarray(points, float)
    check_shape("points", theta, (None, manifold.dimension))
    if not len(theta) or not np.isfinite(theta).all():
        raise InputError("`points` must hold at least one row of finite coordinates.")
    return Grid(theta, (), manifold.coordinates)


def observe(network: Network, rows: Rows, space: Space, m: int, order: int = 1) -> Float[Array, "c b k"]:
    """The rows of a state seen as state, as rates, or through the readout."""
    if space == "state":
        return rows
    return lift(network.system.rates if space == "rates" else network.outputs, m, order, rows)


def observed_tangents(network: Network, frame: Frame, space: Space) -> Float[Array, "m b k"]:
    """The first derivatives in a space."""
    m = frame.drive.shape[0] - 1
    return tangents(observe(network, frame.rows, space, m), m)


def check_network(network: Network, manifold: AbstractInputManifold, space: str = "state") -> None:
    """Raise unless the network takes the inputs of the manifold and `space` is one of the three."""
    check_kind("network", network, Network, "pass a systems.Network (of a fit, its `.network`)")
    check_kind("manifold", manifold, AbstractInputManifold, "pass an input manifold (of a task, task.manifold(...))")
    check_choice("space", space, SPACES)
    given = jax.eval_shape(manifold.inputs, jnp.zeros(()), jnp.zeros(manifold.dimension)).shape
    if given != (network.system.input_size,):
        raise InputError(
            f"`manifold` gives inputs of shape {given}, but the network takes {network.system.input_size} input(s)."
        )


def instants_of(network: Network, duration: float, samples: int) -> Float[np.ndarray, " times"]:
    """The instants from 0 to `duration`: every step of a map, `samples` even times of a flow."""
    check_positive(duration=duration)
    if isinstance(network.system, AbstractMap):
        return np.arange(steps_for(duration, network.system.dt) + 1) * network.system.dt
    check_count(samples=samples)
    return np.linspace(0.0, duration, samples + 1)


def stream(
    network: Network,
    manifold: AbstractInputManifold,
    theta: Float[np.ndarray, "point m"],
    emitter: Emitter,
    course: Course,
    *,
    report: Report,
    task: str = "tangents",
    order: int = 1,
    rates: bool = False,
) -> Field:
    """Push blocks of points through the network and gather what `emitter` gives, in the network's number type.

    `order` 2 carries second derivatives as well; `rates` is for emitters that read `frame.rate`.

    Memory: about four times `rows · block · N` floats at work (`rows` is 1 + m, with second derivatives m(m + 1)/2
    more), plus what is emitted. `block` defaults to what fits a core's cache (on an accelerator: a few hundred
    megabytes), which is also the fastest.
    """
    dtype = float_dtype(network)
    instants = instants_of(network, course.duration, course.samples)
    if isinstance(network.system, AbstractMap):
        instants = step_times(manifold, network.system.dt, len(instants))
    else:
        check_times(instants[1:])
    count, m = theta.shape
    block = min(count, course.block or _block_size(n_rows(m, order) * network.system.state_size * dtype.itemsize))
    check_count(block=block)
    # as many blocks, but of one size
    block = -(-count // -(-count // block))
    gathered: Any = None
    solved = np.ones(count, bool)
    times = jnp.asarray(instants, dtype)
    for start in range(0, count, block):
        chunk = theta[start : start + block]
        # the last block is filled up with copies of its last point: one shape, one compilation
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], block - len(chunk), 0)])
        values, good = _block(
            network, manifold, jnp.asarray(padded, dtype), times, emitter, course.initial, order, rates
        )
        gathered = _fill(gathered, values, count, slice(start, start + len(chunk)))
        solved[start : start + len(chunk)] = bool(good)
        report(Progress(task, start + len(chunk), count))
    return Field(instants[1:], gathered, solved)


def _fill(gathered: Any, values: Any, count: int, place: slice) -> Any:
    """Write a block's (time, b, …) arrays into their (time, point, …) places, made once at the first block."""
    if gathered is None:
        gathered = jax.tree.map(lambda v: np.empty((v.shape[0], count, *v.shape[2:]), v.dtype), values)

    def write(whole: np.ndarray, part: Array) -> np.ndarray:
        whole[:, place] = np.asarray(part)[:, : place.stop - place.start]
        return whole

    return jax.tree.map(write, gathered, values)


def _block_size(bytes_per_point: int) -> int:
    """Points that make the products of one step large enough to be fast and small enough to stay in a core's cache."""
    if jax.default_backend() != "cpu":
        return max(16, int(2.5e8 / bytes_per_point))
    return max(16, min(max(128, int(2e5 / bytes_per_point)), int(7e5 / bytes_per_point)))


@eqx.filter_jit
def _block(
    network: Network,
    manifold: AbstractInputManifold,
    theta: Float[Array, "b m"],
    times: Float[Array, " times"],
    emitter: Emitter,
    initial: Initial | None,
    order: int = 1,
    rates: bool = False,
) -> tuple[Any, Bool[Array, ""]]:
    system, manifold = network.system, cast(manifold, theta.dtype)
    start = start_rows(network.x0 if initial is None else initial, theta, order)
    emit = lambda frame: emitter(network, frame)  # noqa: E731
    if isinstance(system, AbstractFlow):
        return propagate_flow(system, manifold, theta, start, times[1:], emit, order=order)
    assert isinstance(system, AbstractMap)
    return propagate(system, manifold, theta, start, times, emit, order=order, rates=rates), jnp.asarray(True)
