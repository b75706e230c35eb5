import jax.numpy as jnp
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.tasks import ContextDecision, Trials


def by_hand(first, second, context):
    """One noise-free trial as theory and words have it: 10 time constants of steps of 0.2."""
    inputs, targets, mask = np.zeros((50, 4)), np.zeros((50, 1)), np.zeros(50)
    for k in range(50):
        inputs[k, 0], inputs[k, 1] = first, second
        inputs[k, 2 + context] = 1
        evidence = (first, second)[context]
        targets[k, 0] = 1 if evidence > 0 else -1 if evidence < 0 else 0
        mask[k] = 1 if k == 49 else 0
    return inputs, targets, mask


def context_of(trials):
    return np.asarray(trials.inputs[:, 0, 2:]).argmax(-1)


def test_trials_are_those_written_out_by_hand(getkey):
    trials = ContextDecision(input_noise=0.0).trials(getkey(), 242)
    for i, ((first, second), context) in enumerate(zip(np.asarray(trials.theta), context_of(trials), strict=True)):
        inputs, targets, mask = by_hand(first, second, context)
        np.testing.assert_array_equal(trials.inputs[i], inputs.astype(np.float32))
        np.testing.assert_array_equal(trials.targets[i], targets)
        np.testing.assert_array_equal(trials.mask[i], mask)


def test_evidence_is_even_and_exactly_zero_in_the_middle():
    evidence = ContextDecision().evidence
    # a few roundings of numbers of order 0.2
    np.testing.assert_allclose(evidence, np.linspace(-0.2, 0.2, 11), atol=1e-16)
    assert evidence[5] == 0
    np.testing.assert_array_equal(evidence, -evidence[::-1])


@pytest.mark.parametrize(("n", "counts"), [(484, {2}), (100, {0, 1})])
def test_trials_are_balanced_over_242_conditions(getkey, n, counts):
    trials = ContextDecision(input_noise=0.0).trials(getkey(), n)
    levels = np.searchsorted(ContextDecision().evidence + 0.02, np.asarray(trials.theta))
    context = np.asarray(trials.inputs[:, :, 2:]).mean(1).argmax(-1)
    seen = np.bincount(np.ravel_multi_index((*levels.T, context), (11, 11, 2)), minlength=242)
    assert set(seen) == counts


def test_right_is_the_side_and_zero_evidence_wants_an_answer_nearer_to_zero():
    targets = jnp.array([1.0, 1, -1, -1, 0, 0, 1])[:, None, None] * jnp.ones((7, 3, 1))
    trials = Trials(jnp.zeros((7, 3, 4)), targets, jnp.array([[0.0, 0, 1]] * 7))
    last = jnp.array([0.1, -0.1, -3, 0.0, 0.4, -0.6, jnp.nan])
    outputs = jnp.stack([-last, -last, last], axis=1)[:, :, None]
    right = ContextDecision(steps=3).correct(outputs, trials)
    np.testing.assert_array_equal(right, [True, False, True, False, True, False, False])


@pytest.mark.parametrize("context", [0, 1])
def test_the_manifold_is_the_box_of_evidences_in_one_context(context):
    manifold = ContextDecision().manifold(context=context)
    assert [(c.name, c.low, c.high) for c in manifold.coordinates] == [
        ("evidence_1", -0.2, 0.2),
        ("evidence_2", -0.2, 0.2),
    ]
    cue = [[1, 0], [0, 1]][context]
    np.testing.assert_array_equal(manifold.inputs_at(jnp.array([0.1, -0.2])), [0.1, -0.2, *cue])
    assert manifold.jump_times == ()


def test_sizes():
    task = ContextDecision()
    assert (task.steps, task.dt, task.duration) == (50, 0.2, 10.0)
    assert task.phases(context=1) == {"stimulus": (0.0, 10.0), "response": (49 * 0.2, 10.0)}


@pytest.mark.parametrize("bad", [{"steps": 0}, {"levels": 0}, {"levels": 1}, {"limit": 0.0}])
def test_sizes_that_make_no_task_are_refused(bad):
    with pytest.raises(InputError, match=f"`{next(iter(bad))}` must be"):
        ContextDecision(**bad)


def test_there_are_two_contexts():
    with pytest.raises(InputError, match="`context` must be one of 0, 1; got 2"):
        ContextDecision().manifold(context=2)
    with pytest.raises(InputError, match="`context` must be one of 0, 1; got 2"):
        ContextDecision().phases(context=2)
