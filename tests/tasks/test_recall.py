"""Delayed recall: what a trial holds, what the gates draw, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.systems import sample_inputs
from recurvature.tasks import Recall


@pytest.mark.parametrize("k", [0, 4])
def test_targets_are_the_features_of_k_steps_ago(k, getkey):
    task = Recall(steps=6, delay_steps=(k,), features=2, density=0.6, low=-1.0, importance=(1.0, 0.25))
    trials = task.trials(getkey(), 5)
    x, targets = np.asarray(trials.inputs), np.asarray(trials.targets)
    assert (targets[:, :k] == 0).all()
    # one product by 1 or by 1/2: exact
    np.testing.assert_array_equal(targets[:, k:], x[:, : 6 - k] * np.array([1, 0.5], np.float32))
    np.testing.assert_array_equal(np.asarray(trials.theta).reshape(5, 6, 2), x)


def test_importance_is_the_weight_of_a_feature_in_the_square_error(getkey):
    weights = np.array([1.0, 0.3])
    task = Recall(steps=5, delay_steps=(1,), features=2, importance=(1.0, 0.3))
    plain = Recall(steps=5, delay_steps=(1,), features=2)
    key = getkey()
    targets, unscaled = np.asarray(task.trials(key, 4).targets, float), np.asarray(plain.trials(key, 4).targets, float)
    guess = np.full_like(unscaled, 0.4)
    # square roots in float32
    np.testing.assert_allclose(
        ((targets - np.sqrt(weights) * guess) ** 2).sum(-1), ((unscaled - guess) ** 2) @ weights, rtol=1e-6
    )


@pytest.mark.parametrize("shared", [False, True])
def test_gates_open_with_the_density_alone_or_together(shared, getkey):
    task = Recall(features=3, density=0.3, shared_gate=shared)
    there = np.asarray(task.trials(getkey(), 400).inputs) != 0
    gates = there[..., 0] if shared else there
    # 4 standard errors of a Bernoulli mean
    assert abs(gates.mean() - 0.3) < 4 * np.sqrt(0.21 / gates.size)
    together = (there == there[..., :1]).all(-1).mean()
    # of independent gates all three agree with chance 0.3³ + 0.7³ = 0.37: ten standard errors below
    assert together == 1 if shared else together < 0.5


def test_random_delays_are_cued_and_balanced(getkey):
    task = Recall(steps=8, delay_steps=(1, 3), features=1)
    trials = task.trials(getkey(), 10)
    assert (task.input_size, task.output_size) == (2 + 1, 1)
    cue = np.asarray(trials.inputs)[:, :, 1:]
    assert (cue == cue[:, :1]).all()
    which = cue[:, 0].argmax(1)
    assert np.bincount(which).tolist() == [5, 5]
    for i, k in enumerate(np.array([1, 3])[which]):
        np.testing.assert_array_equal(trials.targets[i, k:, 0], trials.inputs[i, : 8 - k, 0])
        manifold = task.manifold(delay=int(k))
        sampled = sample_inputs(manifold, jnp.asarray(trials.theta)[i][None], dt=1.0, steps=8)[0]
        # sums of a number and of zeros
        np.testing.assert_allclose(sampled, trials.inputs[i], rtol=1e-7)
    assert task.phases(delay=3) == {"filling": (0.0, 3.0), "recall": (3.0, 8.0)}
    assert task.manifold(delay=3).coordinates[-1].name == "x_8"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delay_steps": (17,)}, "`delay_steps` must be whole numbers from 0 to `steps` - 1 = 16; got 17"),
        ({"delay_steps": (1, 1)}, "`delay_steps` must hold one or more different delays"),
        ({"density": 0.0}, r"`density` must lie in \(0, 1\]; got 0.0"),
        ({"low": 1.0}, "amplitudes need finite `low` < `high`; got 1.0 and 1.0"),
        ({"features": 3, "importance": (1.0, 2.0)}, "`importance` must hold 1 or 3 finite numbers of at least 0"),
    ],
)
def test_what_makes_no_task_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        Recall(**options)


def test_a_view_of_a_delay_that_the_task_lacks_is_refused():
    with pytest.raises(InputError, match="`delay` must be one of 3; got 2"):
        Recall().manifold(delay=2)
