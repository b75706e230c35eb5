import jax.numpy as jnp
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.tasks import RandomDots, Trials


def by_hand(coherence):
    """One noise-free trial in milliseconds: fixation to 100, stimulus to 900, delay to 1200, response to 1500."""
    inputs, targets, mask = np.zeros((75, 1)), np.zeros((75, 1)), np.zeros(75)
    for k in range(75):
        ms = 20 * k
        if 100 <= ms < 900:
            inputs[k, 0] = coherence * 3.2 / 100
        if 1200 <= ms < 1500:
            targets[k, 0] = 1 if coherence > 0 else -1
            mask[k] = 1
    return inputs, targets, mask


def test_trials_are_those_written_out_by_hand(getkey):
    trials = RandomDots(input_noise=0.0).trials(getkey(), 10)
    assert trials.inputs.shape == (10, 75, 1)
    for i, coherence in enumerate(np.asarray(trials.theta)[:, 0]):
        inputs, targets, mask = by_hand(coherence)
        # one product in float32
        np.testing.assert_allclose(trials.inputs[i], inputs, rtol=2e-7)
        np.testing.assert_array_equal(trials.targets[i], targets)
        np.testing.assert_array_equal(trials.mask[i], mask)


def test_every_signed_coherence_is_equally_frequent(getkey):
    values, counts = np.unique(np.asarray(RandomDots(input_noise=0.0).trials(getkey(), 30).theta), return_counts=True)
    assert values.tolist() == [-16, -8, -4, -2, -1, 1, 2, 4, 8, 16]
    assert set(counts) == {3}


def test_phases_and_the_manifold_have_the_published_timing():
    task = RandomDots()
    assert list(task.phases()) == ["fixation", "stimulus", "delay", "response"]
    # rounding of products of a step count and 0.2
    np.testing.assert_allclose(list(task.phases().values()), [(0, 1), (1, 9), (9, 12), (12, 15)], atol=1e-12)
    assert (task.steps, task.duration) == (75, 15.0)
    (coordinate,) = task.manifold().coordinates
    assert (coordinate.name, coordinate.low, coordinate.high, coordinate.units) == ("coherence", -16.0, 16.0, "%")
    assert task.manifold().jump_times == (1.0, 9.0)


def test_only_the_average_over_the_response_window_counts():
    task = RandomDots(fixation_steps=1, stimulus_steps=1, delay_steps=1, response_steps=2)
    trials = Trials(jnp.zeros((2, 5, 1)), jnp.ones((2, 5, 1)), jnp.array([[0.0, 0, 0, 1, 1]] * 2))
    outputs = jnp.array([[-9.0, -9, -9, 2, -1], [9, 9, 9, -2, 1]])[:, :, None]
    np.testing.assert_array_equal(task.correct(outputs, trials), [True, False])


@pytest.mark.parametrize("name", ["fixation_steps", "stimulus_steps", "delay_steps", "response_steps"])
@pytest.mark.parametrize("value", [0, -1])
def test_lengths_must_be_whole_and_positive(name, value):
    with pytest.raises(InputError, match=f"`{name}` must be a whole number of at least 1"):
        RandomDots(**{name: value})


@pytest.mark.parametrize("coherences", [(), (0.0,), (4.0, -4.0), (float("nan"),)])
def test_coherences_must_be_positive_numbers(coherences):
    with pytest.raises(InputError, match="`coherences` must"):
        RandomDots(coherences=coherences)


def test_the_strength_must_be_positive():
    with pytest.raises(InputError, match="`strength` must be"):
        RandomDots(strength=0.0)
