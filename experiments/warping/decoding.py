"""Decoding of reaches by a state-space network: direction and speed, synthetic units and recorded ones."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.stats

import recurvature as rc
from recurvature import warping
from recurvature.app.claims import Measured
from recurvature.systems import Network, simulate
from recurvature.tasks import explained
from recurvature.tasks.base import AbstractTask

from .networks import Lab
from .theorems import metric_by_adjoint

RECORDING = "recordings/reaching_monkey_m.mat"
REACHES = (16, 7)
"""Directions and speeds at which the metric is taken."""


def _synthetic(lab: Lab) -> rc.tasks.Reaching:
    return rc.tasks.Reaching(dt=lab.settings.reaching.dt, units=lab.settings.neurons)


def _recorded(lab: Lab) -> tuple[Any, Any]:
    """The task of the first part of a recording, and the same on the bins held out."""
    assert lab.data is not None
    recording = rc.io.read_recording(lab.data / RECORDING, activity="Ytr", polar="Xtr", labels="Ttr", periods="seams")
    early, late = recording.split(0.75)
    task = rc.tasks.from_recording(early, input_noise=lab.settings.recording_noise)
    return task, task.on(late)


def _decoders(lab: Lab, name: str, task: AbstractTask, batch: int) -> list[Network]:
    """State-space networks trained to decode, of every seed."""
    how = lab.settings.reaching
    make = lambda key: rc.systems.state_space(  # noqa: E731
        how.units, inputs=task.input_size, outputs=2, key=key, dt=task.dt
    )
    fitted = lab.fit_ensemble(
        name,
        make,
        task,
        seeds=how.seeds,
        steps=how.steps,
        batch=batch,
        learning_rate=optax.cosine_decay_schedule(how.learning_rate, how.steps),
    )
    return lab.members(fitted)


def _speeds(network: Network, task: Any) -> dict[str, float]:
    """How the metric along time and along direction, averaged over the movement, go with the speed of the reach."""
    start, stop = task.phases()["movement"]
    extended = warping.extended_metric(network, task.manifold(), points=REACHES, duration=stop)
    moving = np.asarray(extended.time) > start + task.dt / 2
    entries = np.asarray(extended.metric)[moving].mean(0).reshape(*REACHES, 3, 3)
    speeds = np.asarray(extended.theta)[: REACHES[1], 1]
    along, across = entries[..., 2, 2], entries[..., 0, 0]
    return {
        "fastest_over_slowest": float((along[:, -1] / along[:, 0]).min()),
        "correlation": min(float(scipy.stats.spearmanr(speeds, row).statistic) for row in along),
        "direction_fastest_over_slowest": float(np.median(across[:, -1] / across[:, 0])),
    }


def _measured(rows: list[dict[str, float]], scores: list[float]) -> Measured:
    return Measured(
        {
            "smallest_correlation_with_speed": min(row["correlation"] for row in rows),
            "smallest_ratio_of_fastest_to_slowest": min(row["fastest_over_slowest"] for row in rows),
            "smallest_share_of_velocity_explained": min(scores),
        },
        {"by_seed": rows, "explained": scores},
    )


def faster_is_farther_for_synthetic_units(lab: Lab) -> Measured:
    """The squared speed of the state over a reach, against the speed of the reach: cosine-tuned units."""
    task = _synthetic(lab)
    networks = _decoders(lab, "reaching", task, lab.settings.reaching.batch)
    trials = task.trials(rc.stream(lab.key, "test reaches"), 200)
    scores = [explained(jnp.asarray(simulate(network, trials.inputs).outputs), trials) for network in networks]
    return _measured([_speeds(network, task) for network in networks], scores)


def faster_is_farther_for_recorded_units(lab: Lab) -> Measured:
    """The same for recorded units; the velocity explained is that of periods held out."""
    task, held_out = _recorded(lab)
    networks = _decoders(lab, re.sub(r"\W", "-", RECORDING), task, len(task.counts))
    trials = held_out.everything()
    scores = [explained(jnp.asarray(simulate(network, trials.inputs).outputs), trials) for network in networks]
    return _measured([_speeds(network, task) for network in networks], scores)


def theory_holds_for_state_spaces(lab: Lab) -> Measured:
    """Both theorems, and the circle of directions, on a state-space network."""
    task = _synthetic(lab)
    network = _decoders(lab, "reaching", task, lab.settings.reaching.batch)[0]
    manifold, stop = task.manifold(), sum(task.phases()["movement"]) / 2
    theta = manifold.grid((4, 2))
    field = warping.metric(network, manifold, points=theta, duration=stop)
    steps = len(np.asarray(field.time))
    adjoint = jax.jit(lambda point: metric_by_adjoint(network, manifold, point, steps))
    pairs = [(np.asarray(field.metric)[-1, k], np.asarray(adjoint(point))) for k, point in enumerate(theta)]
    check = warping.dimension_check(network, manifold, points=(12, 5), duration=task.duration)
    ring = np.stack([np.linspace(0, 2 * np.pi, 100, endpoint=False), np.full(100, task.fastest)], -1)
    surface = warping.immersion(network, manifold, time=stop)
    shape = warping.topology(surface, points=ring, distances="euclidean", degrees=1)
    return Measured(
        {
            "largest_relative_difference": max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs),
            "largest_rank": float(np.asarray(check.rank).max()),
            "loops_at_one_speed": float(np.asarray(shape.betti)[1]),
        },
        {"shape_at_one_speed": shape.shape},
        {"topology": shape, "dimension": check},
    )
