import jax.numpy as jnp
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.tasks import DelayedMatch, Trials


def by_hand(first, second, delay):
    """One noise-free trial, `delay` in steps, all in milliseconds: 100 fixation, 500 each stimulus, 1000 response."""
    inputs, targets, mask = np.zeros((255, 2)), np.zeros((255, 1)), np.zeros(255)
    again = 600 + 20 * delay
    for k in range(255):
        ms = 20 * k
        if 100 <= ms < 600:
            inputs[k, int(first)] = 1
        if again <= ms < again + 500:
            inputs[k, int(second)] = 1
        if again + 500 <= ms < again + 1500:
            targets[k, 0] = 1 if first == second else -1
            mask[k] = 1
    return inputs, targets, mask


def delays_of(trials):
    return np.asarray(trials.mask).argmax(1) - (5 + 25 + 25)


def test_trials_are_those_written_out_by_hand(getkey):
    trials = DelayedMatch(input_noise=0.0).trials(getkey(), 8)
    for i, ((first, second), delay) in enumerate(zip(np.asarray(trials.theta), delays_of(trials), strict=True)):
        inputs, targets, mask = by_hand(first, second, delay)
        np.testing.assert_array_equal(trials.inputs[i], inputs)
        np.testing.assert_array_equal(trials.targets[i], targets)
        np.testing.assert_array_equal(trials.mask[i], mask)


def test_delays_are_uniform_over_their_range(getkey):
    task = DelayedMatch(fixation_steps=1, stimulus_steps=1, response_steps=1, longest_delay_steps=34, input_noise=0.0)
    trials = task.trials(getkey(), 2000)
    counts = np.bincount(np.asarray(trials.mask).argmax(1) - 3, minlength=35)[25:]
    assert counts.sum() == 2000
    # 5 standard deviations of a binomial count of 2000 draws over 10 delays
    assert np.abs(counts - 200).max() < 5 * np.sqrt(2000 * 0.1 * 0.9)


def test_pairs_are_balanced(getkey):
    theta = np.asarray(DelayedMatch(input_noise=0.0).trials(getkey(), 40).theta, int)
    np.testing.assert_array_equal(np.bincount(2 * theta[:, 0] + theta[:, 1]), [10] * 4)


def test_phases_and_the_manifold_have_the_published_timing():
    task = DelayedMatch()
    assert (task.steps, task.duration) == (255, 51.0)
    phases = task.phases(delay=60)
    assert list(phases) == ["fixation", "stimulus 1", "delay", "stimulus 2", "response"]
    # rounding of products of a step count and 0.2
    np.testing.assert_allclose(list(phases.values()), [(0, 1), (1, 6), (6, 18), (18, 23), (23, 33)], atol=1e-12)
    manifold = task.manifold(delay=60)
    # the same
    assert manifold.jump_times == pytest.approx((1, 6, 18, 23), abs=1e-12)
    assert [(c.name, c.low, c.high) for c in manifold.coordinates] == [("stimulus_1", 0, 1), ("stimulus_2", 0, 1)]
    np.testing.assert_array_equal(manifold.inputs_at(jnp.array([0.25, 1.0]), time=2.0), [0.75, 0.25])
    np.testing.assert_array_equal(manifold.inputs_at(jnp.array([0.25, 1.0]), time=20.0), [0.0, 1.0])
    assert task.phases() == task.phases(delay=150)


def test_only_the_later_half_of_the_response_window_counts():
    task = DelayedMatch(response_steps=4)
    trials = Trials(jnp.zeros((2, 6, 2)), jnp.ones((2, 6, 1)), jnp.array([[0.0, 1, 1, 1, 1, 0]] * 2))
    outputs = jnp.array([[-9.0, -9, -9, 2, -1, -9], [9, 9, 9, -2, 1, 9]])[:, :, None]
    np.testing.assert_array_equal(task.correct(outputs, trials), [True, False])


@pytest.mark.parametrize(
    "name", ["fixation_steps", "stimulus_steps", "shortest_delay_steps", "longest_delay_steps", "response_steps"]
)
@pytest.mark.parametrize("value", [0, -1])
def test_lengths_must_be_positive(name, value):
    with pytest.raises(InputError, match=f"`{name}` must be a whole number of at least 1"):
        DelayedMatch(**{name: value})


def test_delays_must_be_in_order():
    with pytest.raises(InputError, match="must not exceed `longest_delay_steps`; got 30 and 20"):
        DelayedMatch(shortest_delay_steps=30, longest_delay_steps=20)


@pytest.mark.parametrize("delay", [24, 151, 0])
def test_a_delay_outside_the_range_is_refused(delay):
    with pytest.raises(InputError, match="`delay` must"):
        DelayedMatch().manifold(delay=delay)
