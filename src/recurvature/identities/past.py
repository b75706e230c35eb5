r"""Superposition is warping: scalar products of feature directions are the metric of the manifold of past inputs."""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_kind, check_positive, check_shape
from recurvature._precision import require_float64
from recurvature._result import AbstractResult, Citation, Values
from recurvature.identities.agreement import difference, tolerance_of, verdict
from recurvature.lenses.superposition import feature_directions, trajectory_directions
from recurvature.lenses.warping import metric
from recurvature.lenses.warping.metric import WARPING
from recurvature.systems.base import AbstractMap, Network
from recurvature.systems.past import PastInputs
from recurvature.systems.simulate import simulate, simulate_flow
from recurvature.systems.tangent import ATOL, RTOL
from recurvature.tasks.recall import SUPERPOSITION


class PastMetric(AbstractResult):
    r"""The Gram matrix of feature directions beside the metric of past inputs (docs eq. I.1).

    `gram` is $w_\alpha\cdot w_\beta$ of the superposition lens, `metric` is $\partial_\alpha x\cdot\partial_\beta x$ of
    the warping lens. Rows and columns run over ages, the youngest first, then over inputs.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION, WARPING)

    gram: Float[Values, "direction other"]
    metric: Float[Values, "direction other"]
    ages: int
    features: int
    error: float
    """The largest difference over the largest entry."""
    tolerance: float
    status: int
    """`identities.STATUS`."""


def past_inputs(
    network: Network, inputs: Float[Any, "time d"], *, ages: int = 4, dt: float | None = None
) -> PastMetric:
    r"""$w_s\cdot w_r = G_{sr}$ for any system, at the end of a course of inputs (docs eq. I.1).

    Of a map, one side pushes past inputs through Jacobians of its own trajectory, $W_s = J_tW_{s-1}$, from the state
    before the last `ages` inputs; the other carries tangents from the network's `x0` through the whole course. Of a
    flow, inputs are held for `dt` each, and both sides are solved for, from these two starts.

    Raises `InputError` on shapes that do not fit, on flows without `dt`, and `ValueError` unless in float64.
    """
    course = checked_course(network, inputs, ages)
    step = length_of_step(network, dt)
    manifold = PastInputs(course, ages, step)
    origin = np.zeros((1, manifold.dimension))
    warped = metric(network, manifold, points=origin, duration=manifold.duration, reference="coordinates", samples=1)
    directions = _directions(network, course, ages, step)
    columns = np.moveaxis(directions, 1, 0).reshape(directions.shape[1], -1)
    gram, found = columns.T @ columns, np.asarray(warped.metric)[-1, 0]
    tolerance = tolerance_of(network)
    error = difference(gram, found)
    return PastMetric(gram, found, ages, course.shape[1], error, tolerance, verdict(error, tolerance))


def checked_course(network: Network, inputs: Float[Any, "time d"], ages: int) -> Float[Array, "time d"]:
    """The inputs as an array. Raises unless the network is in float64 and the course has as many steps as ages."""
    check_kind("network", network, Network, "pass a network, as `recurvature.io.load` gives")
    require_float64(x0=network.x0)
    check_count(ages=ages)
    check_shape("inputs", inputs, (None, network.system.input_size))
    if ages > len(inputs):
        raise InputError(f"`ages` must be at most the number of steps, {len(inputs)}; got {ages}.")
    return jnp.asarray(inputs, network.x0.dtype)


def length_of_step(network: Network, dt: float | None) -> float:
    """The step of a map, or how long a flow is to hold an input."""
    if isinstance(network.system, AbstractMap):
        return network.system.dt
    if dt is None:
        raise InputError("`network` is a flow: pass `dt`, how long one input lasts.")
    check_positive(dt=dt)
    return dt


def state_before(network: Network, course: Float[Array, "time d"], ages: int, dt: float) -> Network:
    """The network at the state in which the last `ages` inputs find it."""
    steps = len(course) - ages
    if not steps:
        return network
    if isinstance(network.system, AbstractMap):
        state = simulate(network, course[None, :steps]).states[0, -1]
    else:
        manifold = PastInputs(course[:steps], 1, dt)
        here = jnp.zeros((1, manifold.dimension), course.dtype)
        times = np.array([manifold.duration])
        state = simulate_flow(network, manifold, here, times, rtol=RTOL, atol=ATOL).states[0, -1]
    return Network(network.system, network.readout, jnp.asarray(state))


def _directions(network: Network, course: Float[Array, "time d"], ages: int, dt: float) -> np.ndarray:
    """The feature directions (age, n, d) at the end of the course, by the superposition lens."""
    before, last = state_before(network, course, ages, dt), course[-ages:]
    if isinstance(network.system, AbstractMap):
        return np.asarray(trajectory_directions(before, last[None], ages=ages).direction)
    around = last[::-1][None]
    return np.asarray(feature_directions(before, ages=ages, around=around, amplitudes=(1.0,), dt=dt).direction)
