"""The settings of the experiment, and the trained networks that several claims share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import optax

import recurvature as rc
from recurvature import warping
from recurvature.app.laboratory import Lab as AnyLab
from recurvature.io.specs import Count, Positive, Spec
from recurvature.systems import Network
from recurvature.tasks.base import AbstractTask
from recurvature.training import seed_keys


class Training(Spec):
    """How the networks of one task are trained."""

    units: Count
    dt: Positive
    steps: Count
    learning_rate: Positive
    seeds: Count
    batch: Count = 64
    gain: Positive = 0.5


class Settings(Spec):
    """The table `quick` or `full` of spec.toml."""

    seed: int
    decision: Training
    memory: Training
    subtraction: Training
    causal: Training
    activations: Training
    learned: Positive
    """Error without noise below which a network counts as having learned; that of a linear decision is 0.165."""
    reaching: Training
    """`units` are modes of the state space."""
    neurons: Count
    """Synthetic units that are decoded."""
    recording_noise: Positive
    """Noise on recorded counts in training, in standard deviations of a unit: against learning by heart."""
    points: Count
    """Points along every coordinate of a metric field; odd, so that a boundary in the middle is one of them."""
    cloud: Count
    """Random points of a cloud whose dimension is estimated."""
    homology: Count
    """Points along every coordinate of a sample whose holes are counted."""
    curvature: Count
    """Points along every coordinate of a field of curvature."""


Lab = AnyLab[Settings]

EVIDENCE = (("evidence_1", "evidence_2"), ("evidence_2", "evidence_1"))
"""Of each context: the relevant coordinate, then the irrelevant one."""


def decision_task(lab: Lab) -> rc.tasks.ContextDecision:
    """Context-dependent decision, T = 10."""
    dt = lab.settings.decision.dt
    return rc.tasks.ContextDecision(dt=dt, steps=round(10 / dt))


def memory_task(lab: Lab) -> rc.tasks.WorkingMemory:
    """Two-item working memory."""
    return rc.tasks.WorkingMemory(dt=lab.settings.memory.dt)


def subtraction_task(lab: Lab) -> rc.tasks.MemorySubtraction:
    """Report the difference of two remembered angles."""
    return rc.tasks.MemorySubtraction(dt=lab.settings.subtraction.dt)


def maker(task: AbstractTask, how: Training, phi: str = "tanh") -> Callable[[Any], Network]:
    """A function from a key to a new network for a task."""
    sizes: dict[str, Any] = {"inputs": task.input_size, "outputs": task.output_size, "dt": task.dt}
    return lambda key: rc.systems.leaky_current(how.units, key=key, gain=how.gain, phi=phi, **sizes)


def trained(lab: Lab, name: str, task: AbstractTask, how: Training, phi: str = "tanh") -> list[Network]:
    """Networks of every seed, in float64."""
    schedule = optax.cosine_decay_schedule(how.learning_rate, how.steps)
    fitted = lab.fit_ensemble(
        name, maker(task, how, phi), task, seeds=how.seeds, steps=how.steps, batch=how.batch, learning_rate=schedule
    )
    return lab.members(fitted)


def untrained(lab: Lab, task: AbstractTask, how: Training) -> list[Network]:
    """The same networks before training."""
    make = maker(task, how)
    return [rc.cast(make(seed_keys(lab.key, seed)[0]), float) for seed in range(how.seeds)]


def decisions(lab: Lab) -> list[Network]:
    """Networks that decide by context."""
    return trained(lab, "decision", decision_task(lab), lab.settings.decision)


def memories(lab: Lab) -> list[Network]:
    """Networks that remember two angles."""
    return trained(lab, "memory", memory_task(lab), lab.settings.memory)


def differences(lab: Lab) -> list[Network]:
    """Networks that subtract."""
    return trained(lab, "subtraction", subtraction_task(lab), lab.settings.subtraction)


def decision_metrics(lab: Lab, *, before_training: bool = False) -> list[tuple[warping.Metric, warping.Metric]]:
    """Of every seed: the state metric over the evidence in either context."""
    task = decision_task(lab)

    def compute() -> list[tuple[warping.Metric, warping.Metric]]:
        networks = untrained(lab, task, lab.settings.decision) if before_training else decisions(lab)
        look = lambda network, context: warping.metric(  # noqa: E731
            network, task.manifold(context=context), points=lab.settings.points, duration=task.duration
        )
        return [(look(network, 0), look(network, 1)) for network in networks]

    return lab.once(f"decision metrics {before_training}", compute)


def memory_metrics(lab: Lab) -> list[warping.Metric]:
    """Of every seed: the state metric over the torus, with the longest delay."""
    task = memory_task(lab)
    look = lambda network: warping.metric(network, task.manifold(), points=lab.settings.points, duration=task.duration)  # noqa: E731
    return lab.once("memory metrics", lambda: [look(network) for network in memories(lab)])


def at(time: Any, moment: float) -> int:
    """The index of the sample nearest to a time."""
    return int(np.abs(np.asarray(time) - moment).argmin())
