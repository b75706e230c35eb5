"""The difference of two remembered angles, and the recipe of both memory tasks."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.systems import Euler, LeakyCurrent
from recurvature.tasks import MemorySubtraction, WorkingMemory


def by_hand(first, second, delay):
    """One trial in tenths of tau: items at 0 and 10, go at 20 + delay, the difference at 30 + delay, each for 5."""
    inputs, targets, mask = np.zeros((115, 3)), np.zeros((115, 2)), np.zeros(115)
    delay = round(10 * delay)
    for start, angle in ((0, first), (10, second)):
        inputs[start : start + 5, :2] = np.cos(angle), np.sin(angle)
    inputs[20 + delay : 25 + delay, 2] = 1
    targets[30 + delay : 35 + delay] = np.cos(first - second), np.sin(first - second)
    quiet = [*range(20 + delay), *range(40 + delay, 80 + delay)]
    mask[30 + delay : 35 + delay] = 1
    mask[quiet] = 5 / len(quiet)
    return inputs, targets, mask


def test_trials_are_those_written_out_by_hand(getkey):
    task = MemorySubtraction()
    trials = task.trials(getkey(), 8)
    assert (task.steps, task.duration) == (115, 11.5)
    delays = np.asarray(trials.inputs[:, :, 2]).argmax(1) / 10 - 2
    for i, ((first, second), delay) in enumerate(zip(np.asarray(trials.theta), delays, strict=True)):
        inputs, targets, mask = by_hand(first, second, delay)
        # cos and sin in float32, of a difference of angles up to 2π
        np.testing.assert_allclose(trials.inputs[i], inputs, atol=3e-7)
        np.testing.assert_allclose(trials.targets[i], targets, atol=2e-6)
        # one quotient in float32
        np.testing.assert_allclose(trials.mask[i], mask, rtol=3e-7)


def test_differences_fill_the_circle(getkey):
    theta = np.asarray(MemorySubtraction().trials(getkey(), 288).theta, float)
    difference = np.sort(np.mod(theta[:, 0] - theta[:, 1], 2 * np.pi))
    # of 288 uniform angles the largest gap is above ten times the mean with a chance of 288 e^-10, which is 0.013
    assert np.diff(difference, append=difference[0] + 2 * np.pi).max() < 10 * 2 * np.pi / 288


@pytest.mark.parametrize("delay", [0.5, 3.5])
def test_phases_end_one_response_earlier_than_in_working_memory(delay):
    phases, longer = (task.phases(delay=delay) for task in (MemorySubtraction(), WorkingMemory()))
    shared = ("item 1", "item 2", "delay", "go")
    assert {name: phases[name] for name in shared} == {name: longer[name] for name in shared}
    assert phases["response"] == longer["response 1"]
    assert phases["quiet"] == (4 + delay, 8 + delay)


def test_right_is_the_difference_to_within_half_the_spacing(getkey):
    task = MemorySubtraction(delays=(0.5,))
    trials = task.trials(getkey(), 50)

    def turned(degrees):
        c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        return trials.targets @ np.asarray([[c, s], [-s, c]], np.float32)

    assert task.correct(0.2 * turned(29), trials).all()
    assert not task.correct(turned(31), trials).any()


def test_durations_are_checked_as_in_working_memory():
    with pytest.raises(InputError, match="`pulse` must be a whole number of steps"):
        dataclasses.replace(MemorySubtraction(), pulse=0.55)


@pytest.mark.parametrize(
    ("task", "gain", "training"),
    [
        (WorkingMemory(), 0.5, {"steps": 3000, "batch": 144, "learning_rate": 5e-3, "clip_norm": None}),
        (MemorySubtraction(dt=0.05), 1.2, {"steps": 1500, "batch": 144, "learning_rate": 2e-3, "clip_norm": 1.0}),
    ],
)
def test_recipes_are_those_that_are_documented(task, gain, training, getkey):
    recipe = task.recipe()
    assert recipe.training == training
    network: Any = recipe.network(getkey())
    assert isinstance(network.system, Euler)
    assert isinstance(network.system.flow, LeakyCurrent)
    assert (network.system.dt, network.system.flow.tau, network.system.flow.phi) == (task.dt, 1.0, "tanh")
    assert not network.x0.any()
    assert not network.system.flow.bias.any()
    flow: Any = network.system.flow
    weights = np.asarray(flow.connectivity.weight)
    assert weights.shape == (100, 100)
    # the spread of 10⁴ normal numbers of spread gain / sqrt(N): 4 standard errors
    assert abs(weights.std() / (gain / 10) - 1) < 4 / np.sqrt(2 * 1e4)
