"""What every task must satisfy, whatever it asks."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recurvature.systems import sample_inputs
from recurvature.systems.simulate import unaligned_jumps
from recurvature.tasks import TASKS, AbstractTask

N = 8
EPS = float(np.finfo(np.float32).eps)
CONDITION: dict[str, Any] = {
    "context-decision": lambda trial: {"context": int(trial.inputs[0, 2:].argmax())},
    "random-dots": lambda trial: {},
    "delayed-match": lambda trial: {"delay": int(trial.mask.argmax()) - 55},
    "working-memory": lambda trial: {"delay": round(int(trial.inputs[:, 2].argmax()) * 0.1 - 2, 6)},
    "memory-subtraction": lambda trial: {"delay": round(int(trial.inputs[:, 2].argmax()) * 0.1 - 2, 6)},
    "static-circle": lambda trial: {},
    "reaching": lambda trial: {},
    "recall": lambda trial: {},
    "filter": lambda trial: {},
    "oscillator": lambda trial: {},
    "flip-flop": lambda trial: {},
    "sequence-sorting": lambda trial: {},
    "delayed-addition": lambda trial: {"delay": 0.5 * (int(np.flatnonzero(trial.inputs)[2]))},
}
"""The condition of one noise-free trial: the arguments of `manifold`."""
DRAWS = {"flip-flop": 400}
"""Trials in which every coordinate comes near both ends of its range, where eight are too few: pulses are rare."""


@pytest.fixture(params=TASKS)
def task(request) -> AbstractTask:
    # two hundred units are two hundred times the same draws of spikes
    return TASKS[request.param](**{"units": 20} if request.param == "reaching" else {})


def quiet(task):
    return dataclasses.replace(task, input_noise=0.0, **{"spikes": False} if task.name == "reaching" else {})


def equal(a, b):
    return bool(eqx.tree_equal(jax.device_get(a), jax.device_get(b)))


def test_names_sizes_and_reference(task):
    assert type(TASKS[task.name]()) is type(task)
    assert task.duration == task.steps * task.dt
    assert task.reference.text
    assert task.reference.url.startswith("https://")
    source = (type(task).__doc__ or "").split()
    assert {"NeurIPS", "ICLR", "(arXiv", "arXiv"} & set(source), "the docstring must name its source"


def test_trials_have_the_declared_shapes_in_float32(task, getkey):
    trials = task.trials(getkey(), N)
    assert trials.inputs.shape == (N, task.steps, task.input_size)
    assert trials.targets.shape == (N, task.steps, task.output_size)
    assert trials.mask.shape == (N, task.steps)
    assert trials.theta is not None
    assert {leaf.dtype for leaf in jax.tree.leaves(trials)} == {jnp.dtype("float32")}
    for leaf in jax.tree.leaves(trials):
        assert np.isfinite(leaf).all()
    mask = np.asarray(trials.mask)
    assert (mask >= 0).all()
    assert (mask.sum(1) > 0).all()


def test_the_same_key_gives_the_same_numbers_and_another_key_others(task, getkey):
    key = getkey()
    assert equal(task.trials(key, N), dataclasses.replace(task).trials(key, N))
    assert not np.array_equal(task.trials(key, N).inputs, task.trials(getkey(), N).inputs)


def test_trials_trace_once_in_ten_calls(task, getkey, monkeypatch):
    draw, traced = type(task).draw, []

    def counted(self, key, n):
        traced.append(n)
        return draw(self, key, n)

    monkeypatch.setattr(type(task), "draw", counted)
    # a batch size of its own: no other test may have compiled it before
    for _ in range(10):
        dataclasses.replace(task).trials(getkey(), 17)
    assert traced == [17]


def test_trials_are_the_same_inside_a_compiled_program_and_under_vmap(task, getkey):
    keys = [getkey(), getkey()]
    together = eqx.filter_jit(jax.vmap(lambda key: task.trials(key, N)))(jnp.stack(keys))
    for i, key in enumerate(keys):
        for a, b in zip(jax.tree.leaves(task.trials(key, N)), jax.tree.leaves(together), strict=True):
            # the compiler may fuse a sum or a cosine differently: a few float32 roundings at values up to 2π
            np.testing.assert_allclose(a, np.asarray(b)[i], atol=8 * EPS, rtol=0)


def test_the_manifold_holds_the_noise_free_inputs_of_every_trial(task, getkey):
    trials = jax.device_get(quiet(task).trials(getkey(), N))
    for i in range(N):
        trial = jax.tree.map(lambda x, i=i: x[i], trials)
        manifold = task.manifold(**CONDITION[task.name](trial))
        sampled = np.asarray(sample_inputs(manifold, trial.theta[None], dt=task.dt, steps=task.steps))[0]
        # cosines and products of one float32 rounding each, at values up to 1
        np.testing.assert_allclose(sampled, trial.inputs, atol=2 * EPS, rtol=0)


def test_theta_lies_in_the_chart(task, getkey):
    theta = np.asarray(task.trials(getkey(), DRAWS.get(task.name, N)).theta)
    for column, c in zip(theta.T, task.manifold().coordinates, strict=True):
        # the ends of the range, rounded to float32
        assert column.min() >= c.low - EPS * abs(c.low)
        # the same
        assert column.max() <= c.high + EPS * abs(c.high)
        # trials use the chart from end to end: at least a third of it in these draws
        assert np.ptp(column) > 1 / 3 * (c.high - c.low)


def test_jumps_fall_on_steps_and_are_all_of_them(task):
    for condition in task.views().values():
        manifold = task.manifold(**condition)
        assert unaligned_jumps(manifold, task.dt) == ()
        # neighbours differ, so that an input made of one coordinate after another is seen to jump
        high = [0.7 - 0.3 * (i % 2) for i in range(manifold.dimension)]
        theta = jnp.asarray([[(1 - h) * c.low + h * c.high for h, c in zip(high, manifold.coordinates, strict=True)]])
        inputs = np.asarray(sample_inputs(manifold, theta, dt=task.dt, steps=task.steps))[0]
        change = np.abs(np.diff(inputs, axis=0, prepend=inputs[:1])).max(1)
        # an input that varies smoothly does so over many steps: less than a tenth of its range in each
        moved = np.flatnonzero(change > np.ptp(inputs, axis=0).max() / 10)
        declared = {round(t / task.dt) for t in manifold.jump_times}
        assert set(moved) == declared - {0, task.steps}


def test_views_and_phases_go_together(task):
    assert task.views()
    for title, condition in task.views().items():
        assert title
        assert equal(task.manifold(**condition), task.manifold(**condition))
        phases = task.phases(**condition)
        assert list(phases.values()) == sorted(phases.values())
        for start, stop in phases.values():
            # rounding of sums of step counts times dt
            assert 0 <= start < stop <= task.duration + 1e-9
    assert task.phases()


def test_equal_manifolds_share_a_compiled_program(task):
    traced = []

    @eqx.filter_jit
    def inputs(manifold):
        traced.append(1)
        return manifold.inputs_at(0.1)

    for _ in range(3):
        inputs(dataclasses.replace(task).manifold(**next(iter(task.views().values()))))
    assert len(traced) == 1


def test_perfect_outputs_are_right_and_opposite_silent_or_broken_ones_are_not(task, getkey):
    trials = task.trials(getkey(), N)
    targets, mask = np.asarray(trials.targets, float), np.asarray(trials.mask)
    answerable = (targets * mask[:, :, None] != 0).any((1, 2))
    correct = eqx.filter_jit(lambda outputs: task.correct(outputs, trials))
    assert np.asarray(correct(jnp.asarray(targets))).all()
    assert task.accuracy(jnp.asarray(targets), trials) == 1.0
    assert task.accuracy(trials.targets, trials) == 1.0
    for wrong in map(jnp.asarray, (-targets, 0 * targets, np.nan * targets)):
        assert task.accuracy(wrong, trials) == 0.0
        assert not np.asarray(correct(wrong))[answerable].any()


def test_what_weighs_nothing_does_not_matter_to_right_and_wrong(task, getkey):
    trials = task.trials(getkey(), N)
    spoilt = jnp.asarray(np.where(np.asarray(trials.mask)[:, :, None] == 0, np.float32(-5), trials.targets))
    assert task.accuracy(spoilt, trials) == 1.0


def test_a_task_is_a_pytree_without_leaves(task):
    leaves: list[Any] = jax.tree.leaves(task)
    structure: Any = jax.tree.structure(task)
    assert leaves == []
    assert structure == jax.tree.structure(dataclasses.replace(task))
    assert structure != jax.tree.structure(dataclasses.replace(task, input_noise=1.0))
    assert hash(structure) == hash(jax.tree.structure(dataclasses.replace(task)))
    assert equal(jax.tree.unflatten(structure, leaves), task)
