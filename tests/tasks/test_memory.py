import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.tasks import WorkingMemory

DELAYS = (0.5, 1.5, 2.5, 3.5)


def by_hand(first, second, delay):
    """One trial in tenths of tau: items at 0 and 10, go at 20 + delay, reports at 30 and 40 + delay, each for 5."""
    inputs, targets, mask = np.zeros((125, 3)), np.zeros((125, 2)), np.zeros(125)
    delay = round(10 * delay)
    quiet = [k for k in range(125) if k < 20 + delay or 50 + delay <= k < 90 + delay]
    for k in range(125):
        for start, angle in ((0, first), (10, second)):
            if start <= k < start + 5:
                inputs[k, :2] = np.cos(angle), np.sin(angle)
            if 30 + delay + start <= k < 35 + delay + start:
                targets[k] = np.cos(angle), np.sin(angle)
                mask[k] = 1
        if 20 + delay <= k < 25 + delay:
            inputs[k, 2] = 1
        if k in quiet:
            mask[k] = 10 / len(quiet)
    return inputs, targets, mask


def delays_of(trials):
    return np.asarray(trials.inputs[:, :, 2]).argmax(1) / 10 - 2


def test_trials_are_those_written_out_by_hand(getkey):
    trials = WorkingMemory().trials(getkey(), 8)
    for i, ((first, second), delay) in enumerate(zip(np.asarray(trials.theta), delays_of(trials), strict=True)):
        inputs, targets, mask = by_hand(first, second, delay)
        # cos and sin in float32
        np.testing.assert_allclose(trials.inputs[i], inputs, atol=3e-7)
        # the same
        np.testing.assert_allclose(trials.targets[i], targets, atol=3e-7)
        # one quotient in float32
        np.testing.assert_allclose(trials.mask[i], mask, rtol=3e-7)


def test_the_weighted_loss_is_the_sum_of_the_two_window_averages(getkey):
    trials = WorkingMemory().trials(getkey(), 8)
    error = np.random.default_rng(0).normal(size=(8, 125))
    mask = np.asarray(trials.mask, float)
    response = np.asarray((trials.targets != 0).any(-1))
    quiet = (mask > 0) & ~response
    for e, m, r, q in zip(error, mask, response, quiet, strict=True):
        # weights are float32
        np.testing.assert_allclose(
            np.average(e**2, weights=m), (np.mean(e[r] ** 2) + np.mean(e[q] ** 2)) / 2, rtol=1e-6
        )


def test_pairs_and_delays_are_balanced_and_trials_are_turned_as_a_whole(getkey):
    trials = WorkingMemory().trials(getkey(), 288)
    delay = np.round(delays_of(trials), 6)
    theta = np.asarray(trials.theta, float)
    apart = (theta[:, 1] - theta[:, 0]) / (2 * np.pi / 6)
    # angles up to 2π in float32, in units of a sixth of a turn
    np.testing.assert_allclose(apart, np.round(apart), atol=2e-6)
    seen = np.bincount(np.searchsorted(DELAYS, delay) * 6 + np.round(apart).astype(int) % 6)
    # 6 pairs share each difference of angles, and each of 144 conditions occurs twice
    np.testing.assert_array_equal(seen, [12] * 24)
    turn = theta[:, 0] % (2 * np.pi / 6)
    # a mean of 288 uniform draws: 4 standard errors
    assert abs(turn.mean() / (2 * np.pi / 6) - 0.5) < 4 / np.sqrt(12 * 288)
    assert len(np.unique(turn)) > 280


@pytest.mark.parametrize("delay", DELAYS)
def test_phases_and_the_manifold_have_the_published_timing(delay):
    task = WorkingMemory()
    assert (task.steps, task.duration) == (125, 12.5)
    wanted = {
        "item 1": (0, 0.5),
        "item 2": (1, 1.5),
        "delay": (2, 2 + delay),
        "go": (2 + delay, 2.5 + delay),
        "response 1": (3 + delay, 3.5 + delay),
        "response 2": (4 + delay, 4.5 + delay),
        "quiet": (5 + delay, 9 + delay),
    }
    assert task.phases(delay=delay) == wanted
    assert list(task.phases(delay=delay)) == list(wanted)
    assert task.manifold(delay=delay).jump_times == (0, 0.5, 1, 1.5, 2 + delay, 2.5 + delay)
    assert [(c.name, c.periodic) for c in task.manifold().coordinates] == [("item_1", True), ("item_2", True)]


def test_right_is_both_items_to_within_half_the_spacing(getkey):
    task = WorkingMemory(delays=(0.5,))
    trials = task.trials(getkey(), 50)
    response = (trials.targets != 0).any(-1)
    first = response & (jnp.cumsum(response, axis=1) <= 5)

    def turned(degrees):
        a = np.deg2rad(degrees)
        return trials.targets @ jnp.asarray([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]], jnp.float32)

    assert task.correct(0.2 * turned(29), trials).all()
    assert task.correct(turned(-29), trials).all()
    assert not task.correct(turned(31), trials).any()
    assert not task.correct(jnp.where(first[:, :, None], trials.targets, turned(31)), trials).any()
    assert not task.correct(jnp.where(first[:, :, None], turned(31), trials.targets), trials).any()


def test_other_sizes_keep_the_order_of_things(getkey):
    task = WorkingMemory(dt=0.05, pulse=0.3, gap=0.2, delays=(0.7,), quiet=1.0, angles=4)
    trials = task.trials(getkey(), 16)
    assert task.steps == 5 * 10 + 14 + 20
    assert np.asarray(trials.inputs[:, :, 2]).argmax(1).tolist() == [20 + 14] * 16
    assert np.asarray((trials.targets != 0).any(-1)).argmax(1).tolist() == [30 + 14] * 16


@pytest.mark.parametrize("name", ["pulse", "gap", "quiet"])
@pytest.mark.parametrize("value", [0.0, -0.5, 0.55, float("nan")])
def test_durations_must_be_positive_and_on_the_step_grid(name, value):
    with pytest.raises(InputError, match=f"`{name}` must be"):
        dataclasses.replace(WorkingMemory(), **{name: value})


@pytest.mark.parametrize("delays", [(), (0.5, 0.0), (0.25,), (-1.0,)])
def test_delays_must_be_positive_and_on_the_step_grid(delays):
    with pytest.raises(InputError, match="`delays` must"):
        WorkingMemory(delays=delays)


@pytest.mark.parametrize("angles", [0, 1, -6])
def test_there_must_be_angles_to_tell_apart(angles):
    with pytest.raises(InputError, match="`angles` must be"):
        WorkingMemory(angles=angles)


def test_a_delay_that_the_task_does_not_have_is_refused():
    with pytest.raises(InputError, match="`delay` must be one of the task's delays"):
        WorkingMemory().manifold(delay=1.0)
