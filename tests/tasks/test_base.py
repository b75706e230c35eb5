import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.tasks import ContextDecision, DelayedMatch, RandomDots, Recall, Trials, WorkingMemory


def test_accuracy_leaves_out_trials_without_an_answer():
    trials = Trials(jnp.zeros((4, 1, 4)), jnp.array([1.0, -1, 1, 0])[:, None, None], jnp.ones((4, 1)))
    outputs = jnp.array([0.3, -2.0, -1.0, 0.0])[:, None, None]
    # two of the three trials that have an answer
    assert ContextDecision(steps=1).accuracy(outputs, trials) == 2 / 3


def test_accuracy_needs_a_trial_with_an_answer():
    trials = Trials(jnp.zeros((2, 1, 4)), jnp.zeros((2, 1, 1)), jnp.ones((2, 1)))
    with pytest.raises(InputError, match="no trial with an answer"):
        ContextDecision(steps=1).accuracy(jnp.zeros((2, 1, 1)), trials)


def test_input_noise_is_white_of_the_asked_size_and_has_its_own_stream(getkey):
    key = getkey()
    noisy, clean = (ContextDecision(input_noise=std).trials(key, 400) for std in (0.05, 0.0))
    np.testing.assert_array_equal(noisy.theta, clean.theta)
    np.testing.assert_array_equal(noisy.targets, clean.targets)
    noise = np.asarray(noisy.inputs - clean.inputs, float)
    # 4 standard errors of a standard deviation over 400 × 50 × 4 independent draws
    assert abs(noise.std() / 0.05 - 1) < 4 / np.sqrt(2 * noise.size)
    # 4 standard errors of their mean
    assert abs(noise.mean()) < 4 * 0.05 / np.sqrt(noise.size)
    for one, other in ((noise[:, 1:], noise[:, :-1]), (noise[..., 1:], noise[..., :-1]), (noise[1:], noise[:-1])):
        # 4 standard errors of a correlation: between steps, channels, trials
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(one.size)


# between them these two draw permutations, whole numbers, uniform and normal numbers
@pytest.mark.parametrize("kind", [DelayedMatch, WorkingMemory])
def test_trials_do_not_depend_on_the_number_type_of_the_process(kind, getkey):
    task, key = kind(), getkey()
    double = task.trials(key, 8)
    with jax.enable_x64(False):
        single = task.trials(key, 8)
    for a, b in zip(jax.tree.leaves(double), jax.tree.leaves(single), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", [*rc.tasks.TASKS.values(), lambda: Recall(features=2, delay_steps=(1, 3))])
def test_every_channel_has_a_name_of_its_own(kind):
    task = kind()
    for names, count in ((task.input_names, task.input_size), (task.output_names, task.output_size)):
        assert len(set(names)) == len(names) == count
        assert all(names)


@pytest.mark.parametrize("std", [-0.1, float("nan"), float("inf")])
def test_noise_that_is_no_standard_deviation_is_refused(std):
    with pytest.raises(InputError, match="`input_noise` must be a finite number of at least 0"):
        RandomDots(input_noise=std)


@pytest.mark.parametrize("dt", [0.0, -0.1, float("nan")])
@pytest.mark.parametrize("kind", rc.tasks.TASKS.values())
def test_steps_must_last(kind, dt):
    with pytest.raises(InputError, match="`dt` must be a finite number greater than 0"):
        dataclasses.replace(kind(), dt=dt)


@pytest.mark.parametrize("n", [0, -3])
def test_a_batch_has_a_whole_number_of_trials(n, getkey):
    with pytest.raises(InputError, match="`n` must be a whole number of at least 1"):
        RandomDots().trials(getkey(), n)
