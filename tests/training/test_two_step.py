"""From full rank to low rank: what each stage hands to the next, and that its report is true."""

import dataclasses
import importlib
from types import SimpleNamespace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import LowRank, Network, leaky_rate
from recurvature.tasks import FlipFlop
from recurvature.training import TwoStepFit, adam_without_self_connections, two_step
from recurvature.training.two_step import without_self_connections

TASK = FlipFlop(bits=1, steps=30, chance=0.1)
UNITS, SAMPLES = 12, 16


@pytest.fixture(scope="module")
def start() -> Network:
    return leaky_rate(UNITS, inputs=1, outputs=1, key=rc.key(0), dt=0.5, gain=1.0)


@pytest.fixture(scope="module")
def done(start: Network) -> TwoStepFit:
    options: dict[str, Any] = {
        "steps": 150,
        "tune_steps": 50,
        "batch": 16,
        "learning_rate": 1e-2,
        "tune_learning_rate": 1e-2,
    }
    return two_step(start, TASK, key=rc.key(1), samples=SAMPLES, max_rank=3, **options)


def states(network: Network, inputs: np.ndarray) -> np.ndarray:
    """A rate network stepped in NumPy."""
    flow = network.system.flow  # type: ignore[attr-defined]
    weight, into = np.asarray(flow.connectivity.dense()), np.asarray(flow.input_weights)
    r, rows = np.tile(np.asarray(network.x0), (len(inputs), 1)), []
    for k in range(inputs.shape[1]):
        r = 0.5 * r + 0.5 * np.tanh(r @ weight.T + inputs[:, k] @ into.T + np.asarray(flow.bias))
        rows.append(r)
    return np.stack(rows, 1)


def test_the_report_says_how_each_stage_runs(done: TwoStepFit) -> None:
    trials = TASK.trials(rc.stream(rc.key(1), "probe"), SAMPLES)
    inputs, mask = np.asarray(trials.inputs), np.asarray(trials.mask)[:, :, None]
    full, report = states(done.full, inputs), done.report
    stages = ((0, done.full), (2, done.one_step), (3, done.network))
    for stage, network in stages:
        x = states(network, inputs)
        y = x @ np.asarray(network.readout.weight).T  # type: ignore[attr-defined]
        # float32 over 30 steps
        np.testing.assert_allclose(report.loss[stage], (mask * (y - trials.targets) ** 2).sum() / mask.sum(), rtol=1e-4)
        r2 = 1 - ((x - full) ** 2).sum() / ((full - full.mean((0, 1))) ** 2).sum()
        # the same
        np.testing.assert_allclose(report.state_r2[stage], r2, atol=1e-5)
        assert report.accuracy[stage] == TASK.accuracy(jnp.asarray(y, jnp.float32), trials)


def test_the_rank_is_chosen_on_other_trials_than_it_is_judged_on(done: TwoStepFit) -> None:
    trials = TASK.trials(rc.stream(rc.key(1), "choice"), SAMPLES)
    report, inputs = done.report, np.asarray(trials.inputs)
    index = list(np.asarray(report.candidate)).index(report.rank)
    assert report.candidate_r2[index] != report.state_r2[1]
    # one network on other trials: alike, as far as sixteen trials of thirty steps say
    assert report.candidate_r2[index] == pytest.approx(report.state_r2[1], abs=0.1)
    y = states(done.full, inputs) @ np.asarray(done.full.readout.weight).T  # type: ignore[attr-defined]
    kept = TASK.accuracy(jnp.asarray(y, jnp.float32), trials)
    enough = (report.candidate_accuracy >= 0.98 * kept) & (report.candidate_r2 >= 0.9)
    assert report.status == 0
    # the least that keeps accuracy and states
    assert report.rank == np.asarray(report.candidate)[enough][0]


def test_training_through_time_mends_what_one_step_leaves(done: TwoStepFit) -> None:
    assert done.report.loss[3] < done.report.loss[2]
    assert done.report.accuracy[3] > 0.9


def test_the_network_has_the_rank_of_the_report(done: TwoStepFit) -> None:
    connectivity = done.network.system.flow.connectivity  # type: ignore[attr-defined]
    assert isinstance(connectivity, LowRank)
    assert connectivity.rank == done.report.rank


def test_readout_bias_and_start_stay_those_of_the_full_network(done: TwoStepFit) -> None:
    for network in (done.one_step, done.network):
        np.testing.assert_array_equal(network.readout.weight, done.full.readout.weight)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(network.x0, done.full.x0)
        assert (np.asarray(network.system.flow.bias) == 0).all()  # type: ignore[attr-defined]
    before, after = (n.system.flow.input_weights for n in (done.one_step, done.network))  # type: ignore[attr-defined]
    assert not np.array_equal(before, after)


def test_what_cannot_be_done_is_refused(start: Network) -> None:
    options: dict[str, Any] = {"key": rc.key(0), "steps": 1, "tune_steps": 1}
    low = leaky_rate(UNITS, inputs=1, outputs=1, key=rc.key(0), dt=0.5, rank=2)
    with pytest.raises(InputError, match="`network` must have dense weights"):
        two_step(low, TASK, **options)
    with pytest.raises(InputError, match="`max_rank` must be a whole number of at least 1"):
        two_step(start, TASK, max_rank=0, **options)
    other = leaky_rate(UNITS, inputs=1, outputs=1, key=rc.key(0), dt=0.5, phi="relu")
    with pytest.raises(InputError, match="Euler map of a tanh rate network"):
        two_step(other, TASK, **options)


def test_rates_beyond_one_are_not_scaled_under_a_readout_that_is_not(start: Network, monkeypatch: Any) -> None:
    """Only a start can be beyond 1; the readout that is kept is one of rates as they are."""
    module = importlib.import_module("recurvature.training.two_step")
    far = dataclasses.replace(start, x0=start.x0 + 3.0)
    seen: dict[str, Any] = {}

    def fitted(activity: Any, **options: Any) -> Any:
        seen.update(options, largest=float(np.abs(np.asarray(activity.rates)).max()))
        raise InterruptedError

    monkeypatch.setattr(module, "fit", lambda *_, **__: SimpleNamespace(network=far))
    monkeypatch.setattr(module, "cornn_low_rank", fitted)
    with pytest.raises(InterruptedError):
        two_step(start, TASK, key=rc.key(1), steps=1, tune_steps=1, samples=SAMPLES, max_rank=3)
    assert seen["largest"] > 1
    assert seen["scale"] == 1


def test_updates_have_no_diagonal_and_are_adams_elsewhere(start: Network) -> None:
    bare, rng = without_self_connections(start), np.random.default_rng(0)
    dense = lambda network: np.asarray(network.system.flow.connectivity.weight)  # noqa: E731
    off = ~np.eye(UNITS, dtype=bool)
    np.testing.assert_array_equal(dense(bare), np.where(off, dense(start), 0))
    parameters = eqx.filter(bare, eqx.is_inexact_array)
    gradient = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape), leaf.dtype), parameters)
    steps = []
    for make in (optax.adam, adam_without_self_connections):
        transformation = make(0.1)
        with jax.numpy_dtype_promotion("standard"):
            steps.append(transformation.update(gradient, transformation.init(parameters), parameters)[0])
    np.testing.assert_array_equal(dense(steps[1]), np.where(off, dense(steps[0]), 0))
    for free, projected in zip(*(jax.tree.leaves(s.system.flow.input_weights) for s in steps), strict=True):
        np.testing.assert_array_equal(free, projected)


@pytest.mark.slow
def test_a_network_without_self_connections_learns_without(start: Network) -> None:
    options: dict[str, Any] = {"steps": 150, "tune_steps": 50, "batch": 16, "learning_rate": 1e-2, "rank": 1}
    found = two_step(start, TASK, key=rc.key(1), samples=SAMPLES, self_connections=False, **options)
    np.testing.assert_array_equal(np.diag(found.full.system.flow.connectivity.weight), 0)  # type: ignore[attr-defined]
    assert found.report.accuracy[0] > 0.9
