"""The flip-flop: targets are the last pulse's sign, pulses come as asked, and a score is of signs alone."""

import jax.numpy as jnp
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.systems import sample_inputs
from recurvature.tasks import FlipFlop

LONG = FlipFlop(bits=1, dt=0.025, steps=800, pulse=0.5, gaps=(4.0, 10.0), settle=2.0, level=0.5)


def last_signs(inputs: np.ndarray) -> np.ndarray:
    """The sign of the last input that was not 0, step by step and channel by channel."""
    signs = np.zeros_like(inputs)
    for t in range(inputs.shape[1]):
        before = signs[:, t - 1] if t else np.zeros_like(signs[:, 0])
        signs[:, t] = np.where(inputs[:, t] != 0, np.sign(inputs[:, t]), before)
    return signs


@pytest.mark.parametrize("task", [FlipFlop(steps=30, amplitude=2.0, level=0.5), LONG], ids=["chance", "gaps"])
def test_targets_are_the_sign_of_the_last_pulse(task, getkey):
    trials = task.trials(getkey(), 20)
    inputs = np.asarray(trials.inputs)
    assert set(np.unique(inputs)) == {-task.amplitude, 0.0, task.amplitude}
    np.testing.assert_array_equal(trials.targets, task.level * last_signs(inputs))
    np.testing.assert_array_equal(np.asarray(trials.theta).reshape(inputs.shape), inputs)


def test_pulses_come_with_their_chance_in_each_channel(getkey):
    inputs = np.asarray(FlipFlop(bits=2, chance=0.1).trials(getkey(), 200).inputs)
    # 4 standard errors of a Bernoulli mean over 20 000 steps
    np.testing.assert_allclose((inputs != 0).mean((0, 1)), 0.1, atol=4 * np.sqrt(0.09 / 20_000))
    both = (inputs != 0).all(-1).mean()
    # the same: channels are independent
    assert abs(both - 0.01) < 4 * np.sqrt(0.0099 / 20_000)
    signs = np.sign(inputs[inputs != 0])
    # the same: about 4000 fair signs
    assert abs(signs.mean()) < 4 / np.sqrt(len(signs))


def test_gaps_lie_in_their_range_and_pulses_last_as_said(getkey):
    inputs = np.asarray(LONG.trials(getkey(), 40).inputs)[:, :, 0]
    first, gaps = [], []
    for trial in inputs:
        edges = np.flatnonzero(np.diff((np.concatenate([[0], trial, [0]]) != 0).astype(int)))
        starts, stops = edges[::2], edges[1::2]
        # the last pulse may be cut off by the end of the trial
        assert set(stops[:-1] - starts[:-1]) <= {20}
        first.append(starts[0])
        gaps += list(starts[1:] - stops[:-1])
    assert min(gaps) >= 160
    assert max(gaps) <= 400
    # even draws of 60 or so numbers reach into the outer fifths of the range but with chance 2 · 0.8^60
    assert min(gaps) < 208
    assert max(gaps) > 352
    assert 0 <= min(first) < 32 < 128 < max(first) <= 160


def test_steps_weigh_nothing_before_the_first_pulse_and_while_outputs_settle(getkey):
    trials = LONG.trials(getkey(), 10)
    inputs, mask = np.asarray(trials.inputs)[:, :, 0], np.asarray(trials.mask)
    for trial, weights in zip(inputs, mask, strict=True):
        onsets = np.flatnonzero((trial != 0) & (np.concatenate([[0], trial[:-1]]) == 0))
        since = np.arange(800)[:, None] - onsets[None, :]
        settled = (np.arange(800) >= onsets[0]) & ~((since >= 0) & (since < 80)).any(1)
        np.testing.assert_array_equal(weights, settled.astype(np.float32))


def test_bits_not_set_yet_do_not_count_as_wrong(getkey):
    task = FlipFlop(bits=2, steps=4)
    trials = task.trials(getkey(), 3)
    inputs = np.zeros((3, 4, 2), np.float32)
    inputs[:, 1, 0] = 1
    trials = type(trials)(jnp.asarray(inputs), jnp.asarray(last_signs(inputs)), trials.mask.at[:].set(1.0))
    # trial 0 is right from step 2 on, trial 1 to the last step but one, trial 2 never; the second bit says anything
    first_bit = [[-1, -1, 1, 1], [9, 0.1, 0.1, -1], [-1, -1, -1, -1]]
    outputs = jnp.stack([jnp.asarray(first_bit), jnp.full((3, 4), -3.0)], -1)
    assert task.correct(outputs, trials).tolist() == [True, False, False]
    assert task.held(outputs, trials).tolist() == [0.75, 0.75, 0.25]
    assert task.accuracy(outputs, trials) == 1 / 3


def test_a_view_holds_one_pulse_to_each_of_its_channels():
    task = FlipFlop(steps=40)
    manifold = task.manifold(channels=(2, 0))
    assert [c.name for c in manifold.coordinates] == ["pulse_3", "pulse_1"]
    inputs = np.asarray(sample_inputs(manifold, jnp.asarray([[0.5, -1.0]]), dt=task.dt, steps=40))[0]
    expected = np.zeros((40, 3))
    expected[10, 2], expected[30, 0] = 0.5, -1.0
    np.testing.assert_array_equal(inputs, expected)
    assert task.phases(channels=(2, 0)) == {"pulse 3": (5.0, 5.5), "pulse 1": (15.0, 15.5)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chance": 1.0}, "`chance` of a pulse at a step must lie between 0 and 1; got 1.0"),
        ({"pulse": 0.3}, "`pulse` must be a whole number of steps of dt=0.5; got 0.3"),
        ({"gaps": (4.0, 2.0)}, r"`gaps` must be a pair \(shortest, longest\)"),
        ({"gaps": (60.0, 70.0)}, "`steps` = 100 may end before the first pulse: pass at least 121"),
        ({"level": 0.0}, "`level` must be a finite number greater than 0"),
    ],
)
def test_what_makes_no_task_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        FlipFlop(**options)


@pytest.mark.parametrize("channels", [(), (0, 0), (3,)])
def test_a_view_of_channels_that_are_not_there_is_refused(channels):
    with pytest.raises(InputError, match="`channels` must"):
        FlipFlop().manifold(channels=channels)
