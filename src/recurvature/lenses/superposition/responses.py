r"""Feature directions of any network: how its state answers to past inputs, through the tangents of a rollout.

Past inputs are coordinates of an input manifold, one pulse for each age and feature. The tangents of the state along
them are the feature directions, and their Gram matrix is the metric of that manifold (docs eq. S.27).
"""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_kind, check_positive, check_shape
from recurvature._precision import cast, float_dtype
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.geometry import Geometry, geometry_of
from recurvature.lenses.superposition.masks import MaskRadii
from recurvature.systems.base import AbstractFlow, AbstractMap, Network
from recurvature.systems.inputs import Box, Coordinate, PulsedInputs
from recurvature.systems.simulate import step_times
from recurvature.systems.tangent import Rows, lift, propagate, propagate_flow, start_rows
from recurvature.tasks.recall import SUPERPOSITION


class _Pulses(eqx.Module):
    """The inputs of all steps from coordinates of which the youngest inputs are the first."""

    features: int = eqx.field(static=True)

    def __call__(self, theta: Float[Array, " m"]) -> Float[Array, "pulse d"]:
        return theta.reshape(-1, self.features)[::-1]


class FeatureDirections(AbstractResult):
    r"""The response of a state to the inputs of its past, to first order and to pulses of finite size.

    `direction` is $\partial x/\partial u_{t-s,j}$, averaged over the input histories it was taken around, and `spread`
    their relative spread: 0 for a linear recurrence. `homogeneity` compares the response to one pulse of each of
    `amplitude`, divided by it, with `direction` at rest: relative difference. `additivity` compares the response to
    two pulses at once with the sum of both, relative to the sum: the largest over pairs with the oldest input.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    age: Float[Values, " age"] = eqx.field(metadata={"units": "steps"})
    direction: Float[Values, "age n d"]
    projection: Float[Values, "age o d"]
    """The same of the outputs."""
    spread: Float[Values, "age d"]
    amplitude: Float[Values, " amplitude"]
    homogeneity: Float[Values, "amplitude age d"]
    pulse: Float[Values, "amplitude age o d"]
    """Outputs after one pulse of each amplitude, less those at rest, divided by the amplitude."""
    additivity: Float[Values, " amplitude"]
    histories: Float[Values, "point age o d"]
    """`projection` about each history alone; a single one, rest, if none were given."""
    dt: float
    dtype: str

    @property
    def gram(self) -> Float[np.ndarray, "direction other"]:
        r"""$w_s\cdot w_r$ of all ages and features (age first): the metric of the manifold of past inputs."""
        columns = np.moveaxis(np.asarray(self.direction), 1, 0).reshape(self.direction.shape[1], -1)
        return columns.T @ columns

    def by_history(self, delay: int) -> "ByHistory":
        """The order parameter and the sharpness about each history alone, where `geometry` has those of their mean."""
        direction = np.asarray(self.direction)
        each = [geometry_of(one, direction, delay) for one in np.asarray(self.histories)]
        return ByHistory(*(np.stack([np.asarray(getattr(one, name)) for one in each]) for name in ByHistory._fields))

    def geometry(self, delay: int, *, amplitude: float | None = None, masks: MaskRadii | None = None) -> Geometry:
        """The geometry of the directions; with `amplitude`, that of the projections of pulses of this size.

        `masks` are those of a relu recurrence (`mask_radii`), to be kept with it.
        """
        if amplitude is None:
            return geometry_of(np.asarray(self.projection), np.asarray(self.direction), delay, masks=masks)
        found = np.flatnonzero(np.asarray(self.amplitude) == amplitude)
        if not len(found):
            raise InputError(f"`amplitude` must be one of {np.asarray(self.amplitude).tolist()}; got {amplitude}.")
        return geometry_of(np.asarray(self.pulse)[found[0]], np.asarray(self.direction), delay, masks=masks)


class ByHistory(NamedTuple):
    """Measures of the projections about each history."""

    order_parameter: Float[np.ndarray, "point o"]
    sharpness: Float[np.ndarray, "point o"]


def past_inputs(features: int, ages: int, *, dt: float = 1.0) -> PulsedInputs:
    r"""The manifold of the last `ages` inputs: coordinates $u_{t-s,j}$ from -1 to 1, the youngest first (age, feature).

    Each is a pulse of length `dt`; the state after all of them is the one at time `ages` · `dt`.
    """
    check_count(features=features, ages=ages)
    check_positive(dt=dt)
    names = [f"age_{s}" + (f"_{j + 1}" if features > 1 else "") for s in range(ages) for j in range(features)]
    windows = tuple((t * dt, (t + 1) * dt) for t in range(ages))
    return PulsedInputs(Box(tuple(Coordinate(name, -1.0, 1.0) for name in names)), _Pulses(features), windows)


def feature_directions(
    network: Network,
    *,
    ages: int = 10,
    around: Float[Any, "point age d"] | None = None,
    amplitudes: tuple[float, ...] = (-1.0, 0.5, 1.0, 2.0),
    dt: float | None = None,
) -> FeatureDirections:
    r"""The feature directions of any network: map or flow, linear or not, with its readout.

    **Arguments**

    - `ages`: how many past inputs, age 0 the latest.
    - `around`: histories of inputs (the youngest first) about which the tangents are taken; by default none, rest. The
      state before them is the network's `x0`.
    - `amplitudes`: sizes of finite pulses at rest, to be held against the tangents.
    - `dt`: how long an input lasts; needed for a flow, and otherwise the step of the map.

    Where `homogeneity`, `additivity` or `spread` are not small, no single set of directions describes the network.
    Raises `InputError` on arguments that do not fit.
    """
    check_kind("network", network, Network, "pass a network, as `recurvature.io.load` gives")
    if not amplitudes or not all(np.isfinite(a) and a != 0 for a in amplitudes):
        raise InputError(f"`amplitudes` must be finite numbers other than 0; got {amplitudes}.")
    features, dtype = network.system.input_size, float_dtype(network)
    check_count(ages=ages)
    step, shape = duration(network, dt), (ages, features)
    manifold = cast(past_inputs(features, ages, dt=step), dtype)
    if around is not None:
        check_shape("around", around, (None, ages, features))
    pulses = [_pulses(network, manifold, size, dtype) for size in amplitudes]
    states, outputs = pulses[0].at_rest
    if around is not None:
        points = jnp.asarray(around, dtype).reshape(-1, ages * features)
        (_, states), (_, outputs) = _tangents(network, manifold, points)
    return FeatureDirections(
        age=np.arange(ages, dtype=float),
        direction=_by_age(states.mean(1), shape),
        projection=_by_age(outputs.mean(1), shape),
        spread=_relative(states - states.mean(1, keepdims=True), states.mean(1)).reshape(shape),
        amplitude=np.asarray(amplitudes, float),
        homogeneity=np.stack([one.homogeneity.reshape(shape) for one in pulses]),
        pulse=np.stack([_by_age(one.outputs, shape) for one in pulses]),
        additivity=np.array([one.additivity for one in pulses]),
        histories=np.stack([_by_age(outputs[:, i], shape) for i in range(outputs.shape[1])]),
        dt=step,
        dtype=str(dtype),
    )


def duration(network: Network, dt: float | None) -> float:
    """How long one input lasts: the step of a map, `dt` for a flow."""
    if isinstance(network.system, AbstractMap):
        if dt is not None and dt != network.system.dt:
            raise InputError(f"`dt` of a map is its step, {network.system.dt}; got {dt}. Leave it out.")
        return network.system.dt
    if dt is None:
        raise InputError("`network` is a flow: pass `dt`, how long one input lasts.")
    check_positive(dt=dt)
    return dt


Seen = Float[Array, "c b o"]
Pair = tuple[np.ndarray, np.ndarray]


def _tangents(network: Network, manifold: PulsedInputs, theta: Float[Array, "b m"]) -> tuple[Pair, Pair]:
    """Value (b, n) and tangents (m, b, n) of the last state, and the same of the outputs."""
    rows, seen = (np.asarray(part) for part in last_rows(network, manifold, theta))
    return (rows[0], rows[1:]), (seen[0], seen[1:])


@eqx.filter_jit
def last_rows(
    network: Network, manifold: PulsedInputs, theta: Float[Array, "b m"], *, order: int = 1
) -> tuple[Rows, Seen]:
    """The last state with its derivatives in all past inputs, and the outputs with theirs (`systems.tangent`)."""
    system, m = network.system, theta.shape[1]
    start, end = start_rows(network.x0, theta, order), manifold.windows[-1][1]
    last = lambda frame: frame.rows  # noqa: E731
    if isinstance(system, AbstractFlow):
        times = jnp.asarray([end], theta.dtype)
        rows = propagate_flow(system, manifold, theta, start, times, last, order=order)[0][-1]
    else:
        assert isinstance(system, AbstractMap)
        times = jnp.asarray(step_times(manifold, system.dt, len(manifold.windows) + 1), theta.dtype)
        rows = propagate(system, manifold, theta, start, times, last, order=order)[-1]
    return rows, lift(network.outputs, m, order, rows)


class _Pulse(NamedTuple):
    at_rest: tuple[Float[np.ndarray, "m 1 n"], Float[np.ndarray, "m 1 o"]]
    homogeneity: Float[np.ndarray, " m"]
    outputs: Float[np.ndarray, "m o"]
    additivity: float


def _pulses(network: Network, manifold: PulsedInputs, size: float, dtype: Any) -> _Pulse:
    """Rest, every single pulse of one size at rest, and each together with the last feature of the oldest age."""
    m = manifold.dimension
    single, rest = size * np.eye(m), np.zeros((1, m))
    theta = np.concatenate([rest, single, single[:-1] + single[-1]])
    (states, slopes), (outputs, seen) = _tangents(network, manifold, jnp.asarray(theta, dtype))
    moved = states[1:] - states[0]
    alone, both = moved[:m], moved[m:]
    sums = alone[:-1] + alone[-1]
    additivity = _relative((both - sums)[:, None], sums).max(initial=0.0)
    homogeneity = _relative((alone / size - slopes[:, 0])[:, None], slopes[:, 0])
    answers = (outputs[1 : m + 1] - outputs[0]) / size
    return _Pulse((slopes[:, :1], seen[:, :1]), homogeneity, answers, float(additivity))


def _relative(difference: Float[np.ndarray, "m b n"], against: Float[np.ndarray, "m n"]) -> Float[np.ndarray, " m"]:
    """Root mean square length of differences over the length of what they are held against; 0 where both are 0."""
    length = np.sqrt((difference**2).sum(-1).mean(-1))
    scale = np.linalg.norm(against, axis=-1)
    return np.divide(length, scale, out=np.where(length > 0, np.inf, 0.0), where=scale > 0)


def _by_age(vectors: Float[np.ndarray, "m n"], shape: tuple[int, int]) -> Float[np.ndarray, "age n d"]:
    return np.asarray(vectors).reshape(*shape, -1).swapaxes(1, 2)
