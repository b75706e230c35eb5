"""The settings of the experiment, and what its parts have in common: layouts, losses, starts."""

from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

import recurvature as rc
from recurvature import overlaps as ov
from recurvature.app.laboratory import Lab as AnyLab
from recurvature.io.specs import Count, Positive, Spec

RANK1, RANK2 = ov.Layout(1, 1, 1), ov.Layout(1, 2, 1)
A, B = 0.2, 0.4
"""Decay rates of the filters of the two tasks; both have the amplitude 1."""


class Linear(Spec):
    """Networks of linear units."""

    units: Count
    dt: Positive
    duration: Positive
    rate: Positive
    steps: Count
    first_steps: Count
    return_steps: Count
    """Of the first phase of the sequence of tasks, and of those after it."""
    compared: Count
    """Steps in which all units are trained beside the overlaps, for the filter and for the oscillator."""
    oscillator_rate: Positive
    oscillator_steps: Count


class Noise(Spec):
    """The last phase of the sequence: noise on targets."""

    std: Positive
    rate: Positive
    steps: Count
    seeds: Count


class Adam(Spec):
    """The sequence of tasks by Adam."""

    units: Count
    rate: Positive
    steps: Count


class Closure(Spec):
    """How the nonlinear theory is held against networks of several sizes."""

    units: tuple[Count, ...]
    draws: tuple[Count, ...]
    """Networks of each size."""
    rate: Positive
    steps: Count
    trials: Count
    steps_of_a_trial: Count


class FlipFlop(Spec):
    """The flip-flop of the paper."""

    units: Count
    draws: Count
    """Networks that are trained beside the theory."""
    dt: Positive
    duration: Positive
    batch: Count
    rate: Positive
    large_rate: Positive
    adam_rate: Positive
    steps: Count


class Histories(Spec):
    """A or B, then C."""

    runs: Count
    dt: Positive
    steps_of_a_trial: Count
    batch: Count
    rate: Positive
    steps: Count
    last_rate: Positive
    last_steps: Count
    noise: Positive
    """Standard deviation of the error of measurement."""


class Settings(Spec):
    """The table `quick` or `full` of spec.toml."""

    seed: int
    linear: Linear
    noise: Noise
    adam: Adam
    closure: Closure
    flipflop: FlipFlop
    histories: Histories


Lab = AnyLab[Settings]


def filter_loss(lab: Lab, rate: float, input: Any = "impulse") -> ov.FilterLoss:
    """The loss of the filter of amplitude 1 that decays at `rate`."""
    how = lab.settings.linear
    return ov.FilterLoss(ov.exponential(1.0, rate), RANK1, how.dt, how.duration, input)


def oscillator_loss(lab: Lab) -> ov.FilterLoss:
    """The loss of the damped oscillator of the paper."""
    how = lab.settings.linear
    return ov.FilterLoss(ov.damped_oscillator(0.3, 2.0), RANK2, how.dt, how.duration)


def filter_task(lab: Lab, rate: float = A, input: str = "impulse") -> rc.tasks.ExponentialFilter:
    """The filter of amplitude 1 that decays at `rate`, as a task."""
    how = lab.settings.linear
    return rc.tasks.ExponentialFilter(dt=how.dt, steps=round(how.duration / how.dt), rate=rate, input=input)


def oscillator_task(lab: Lab) -> rc.tasks.DampedOscillator:
    """The damped oscillator as a task."""
    how = lab.settings.linear
    return rc.tasks.DampedOscillator(dt=how.dt, steps=round(how.duration / how.dt))


def on_impulses(task: rc.tasks.AbstractFilter, layout: ov.Layout) -> ov.DataLoss:
    """An impulse, and the kernel on the grid as data. Its mean square is the closed-form loss over the duration."""
    impulse = np.zeros((1, task.steps, 1))
    impulse[0, 0, 0] = 1 / task.dt
    target = task.kernel(np.arange(task.steps) * task.dt)[None, :, None]
    return ov.DataLoss(jnp.asarray(impulse), jnp.asarray(target), layout, task.dt)


def random_vectors(lab: Lab, layout: ov.Layout, units: int, name: str) -> Float[Array, "n a"]:
    r"""Independent Gaussian vectors, each of length $\sqrt N$: overlaps of about $1/\sqrt N$."""
    draw = jr.normal(rc.stream(lab.key, name), (units, layout.size), float)
    return draw * np.sqrt(units) / jnp.linalg.norm(draw, axis=0, keepdims=True)


def overlaps_of(theta: Any) -> Float[np.ndarray, "a a"]:
    """The overlap matrix of vectors."""
    vectors = np.asarray(theta)
    return vectors.T @ vectors / len(vectors)


def two_networks(lab: Lab) -> dict[str, Float[np.ndarray, "a a"]]:
    r"""Networks 1 and 2 of the paper: equal visible overlaps; in the second u·u = 2.048 and m·u = 0.8."""
    first = overlaps_of(random_vectors(lab, RANK1, lab.settings.linear.units, "network 1"))
    second = first.copy()
    changed = {"u·u": 2.048, "m·u": 0.8}
    for name, value in changed.items():
        i, j = RANK1.position(name)
        second[i, j] = second[j, i] = value
    return {"network 1": first, "network 2": second}


def named(matrix: Any, layout: ov.Layout = RANK1) -> dict[str, float]:
    """Overlaps by name, ready for JSON."""
    return dict(zip(layout.names, ov.to_pairs(np.asarray(matrix, float), layout).tolist(), strict=True))
