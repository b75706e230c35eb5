"""The dimension theorem and the metric theorem, each by a route that the library does not take."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature import measures, warping
from recurvature.app.claims import Measured
from recurvature.systems import FunctionInputs, Network, sample_inputs, simulate, torus

from .networks import Lab, decision_task, decisions, memories, memory_task

STEP = 1e-4
"""Half the distance between neighbours, in coordinates, where a derivative is held against a difference."""


def metric_by_adjoint(
    network: Network, manifold: Any, theta: Float[np.ndarray, " m"], steps: int
) -> Float[Array, "i j"]:
    r"""$G$ after `steps` steps by the adjoint equation: $\lambda\leftarrow f_x^\top\lambda$ back from the identity.

    Every step adds $\lambda^\top f_u\,\partial_\theta u$ to the tangents. Shares no code with the forward route.
    """
    system, start = network.system, jnp.asarray(theta)
    drive = lambda point: sample_inputs(manifold, point[None], dt=system.dt, steps=steps)[0]  # type: ignore[attr-defined]  # noqa: E731
    inputs, inputs_along = drive(start), jax.jacrev(drive)(start)
    states = jax.lax.scan(lambda x, u: (system.step(x, u), x), network.x0, inputs)[1]  # type: ignore[attr-defined]

    def back(carry: tuple[Array, Array], at_step: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
        covectors, tangents = carry
        x, u, along = at_step
        by_state, by_input = jax.jacrev(system.step, argnums=(0, 1))(x, u)  # type: ignore[attr-defined]
        return (covectors @ by_state, tangents + covectors @ by_input @ along), None

    n = len(network.x0)
    empty = (jnp.eye(n), jnp.zeros((n, len(theta))))
    tangents = jax.lax.scan(back, empty, (states, inputs, inputs_along), reverse=True)[0][1]
    return tangents.T @ tangents


def forward_equals_adjoint(lab: Lab) -> Measured:
    """The metric of the library beside that of the adjoint equation, at random points of two tasks."""
    rng = np.random.default_rng(lab.settings.seed)
    decision, memory = decision_task(lab), memory_task(lab)
    cases = [
        (decisions(lab)[0], decision.manifold(context=0), decision.duration),
        (memories(lab)[0], memory.manifold(), memory.phases()["go"][0]),
    ]
    errors = [error for case in cases for error in _adjoint_errors(*case, rng)]
    return Measured({"largest_relative_difference": max(errors)}, {"differences": errors})


def _adjoint_errors(network: Network, manifold: Any, duration: float, rng: Any) -> list[float]:
    low, high = ([getattr(c, end) for c in manifold.coordinates] for end in ("low", "high"))
    theta = rng.uniform(low, high, (3, manifold.dimension))
    field = warping.metric(network, manifold, points=theta, duration=duration)
    steps = len(np.asarray(field.time))
    adjoint = jax.jit(lambda point: metric_by_adjoint(network, manifold, point, steps))
    pairs = [(np.asarray(field.metric)[-1, k], np.asarray(adjoint(point))) for k, point in enumerate(theta)]
    return [float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs]


def metric_measures_distance(lab: Lab) -> Measured:
    """Squared distances of neighbouring states beside what the metric says, along random directions."""
    rng = np.random.default_rng(lab.settings.seed)
    network, task = memories(lab)[0], memory_task(lab)
    manifold, duration = task.manifold(), task.phases()["go"][0]
    theta = rng.uniform(0, 2 * np.pi, (8, 2))
    along = rng.normal(size=(8, 2))
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    metric = np.asarray(warping.metric(network, manifold, points=theta, duration=duration).metric)[-1]
    ends = [_states(network, manifold, theta + sign * STEP * along, duration)[:, -1] for sign in (1, -1)]
    squared = ((ends[0] - ends[1]) ** 2).sum(-1) / (2 * STEP) ** 2
    said = np.einsum("pi,pij,pj->p", along, metric, along)
    return Measured({"largest_relative_difference": float(np.abs(squared / said - 1).max())})


def _states(network: Network, manifold: Any, theta: np.ndarray, duration: float) -> np.ndarray:
    """States (point, time, n) by simulation alone."""
    dt = network.system.dt  # type: ignore[attr-defined]
    inputs = sample_inputs(manifold, jnp.asarray(theta), dt=dt, steps=round(duration / dt))
    return np.asarray(simulate(network, inputs).states)


def states_fill_few_dimensions(lab: Lab) -> Measured:
    """Dimension of the states of the memory task: of random angles at one time, and over the delay."""
    rng = np.random.default_rng(lab.settings.seed)
    task = memory_task(lab)
    start, stop = task.phases()["delay"]
    theta = rng.uniform(0, 2 * np.pi, (lab.settings.cloud, 2))
    rows: dict[str, list[float]] = {"one_time": [], "all_times": [], "linear": [], "rank": []}
    for network in memories(lab):
        states = _states(network, task.manifold(), theta, stop)
        one = states[:, -1]
        several = states[np.arange(len(states)), rng.integers(round(start / task.dt), states.shape[1], len(states))]
        rows["one_time"].append(float(measures.two_nn(one).slope[-1]))
        rows["all_times"].append(float(measures.two_nn(several).slope[-1]))
        rows["linear"].append(float(measures.variance_dimension(several)))
        check = warping.dimension_check(network, task.manifold(), points=lab.settings.points, duration=task.duration)
        rows["rank"].append(float(np.asarray(check.rank).max()))
    return Measured(
        {
            "largest_dimension_at_one_time": max(rows["one_time"]),
            "largest_dimension_over_time": max(rows["all_times"]),
            "largest_rank_over_time": max(rows["rank"]),
            "smallest_linear_dimension": min(rows["linear"]),
        },
        rows,
    )


def functions_are_counted(lab: Lab) -> Measured:
    """Three inputs that wander in time: functions of one parameter, and functions of no few parameters."""
    rng = np.random.default_rng(lab.settings.seed)
    a, b = (jnp.asarray(rng.normal(size=(3, 4))) for _ in range(2))

    def inputs(time: Array, theta: Array) -> Array:
        phases = theta + jnp.arange(1, 5) * time
        return jnp.tanh(a @ jnp.sin(phases) + b @ jnp.cos(2 * phases))

    manifold = FunctionInputs(torus("angle"), inputs, ())
    theta = rng.uniform(0, 2 * np.pi, (lab.settings.cloud, 1))
    dt, steps = lab.settings.memory.dt, round(10 / lab.settings.memory.dt)
    drive = np.asarray(sample_inputs(manifold, jnp.asarray(theta), dt=dt, steps=steps))
    free = np.tanh(rng.normal(size=drive.shape))
    when = rng.integers(steps // 2, steps, len(theta))
    counted = lambda given: [_dimension(network, given, when) for network in memories(lab)]  # noqa: E731
    seen = {"one_parameter": counted(drive), "no_few_parameters": counted(free)}
    return Measured(
        {
            "dimensions_spanned_by_inputs": float(np.linalg.matrix_rank(drive.reshape(-1, 3) - drive.mean((0, 1)))),
            "largest_dimension_of_states": max(seen["one_parameter"]),
            "smallest_dimension_without_manifold": min(seen["no_few_parameters"]),
        },
        seen,
    )


def _dimension(network: Network, inputs: np.ndarray, when: np.ndarray) -> float:
    """Of the states of every trial, each at a time of its own."""
    states = np.asarray(simulate(network, jnp.asarray(inputs)).states)
    return float(measures.two_nn(states[np.arange(len(states)), when]).slope[-1])
