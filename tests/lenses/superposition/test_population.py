"""Populations against the recurrence written out, and their losses against enumeration and against one network."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.harness import temp_bytes
from tests.lenses.superposition.conftest import run, square_errors

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.superposition import (
    Levels,
    Population,
    Uniform,
    expected_loss,
    expected_recall,
    projections,
    pulse_responses,
    random_population,
    recall_loss,
    sparse,
    sparse_polynomial,
    stationary_loss,
)
from recurvature.lenses.superposition.population import product
from recurvature.lenses.superposition.statistics import gated

RELU = lambda z: np.maximum(z, 0)  # noqa: E731
FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "linear": (lambda h: h, lambda z: z),
    "ssm": (lambda h: h, RELU),
    "nonlinear": (RELU, RELU),
    "tanh": (np.tanh, lambda z: z),
}
gates = eqx.filter_jit(gated)
judge = eqx.filter_jit(lambda loss, population, key: loss.sample(population, key))
expected = eqx.filter_jit(lambda loss, population: loss(population))


def some(
    kind: Any, *, features: int = 1, tied: bool = True, size: int = 2, delays=(1, 3), seeds: int = 2, bias: bool = False
) -> Population:
    made = random_population(
        size, delays=delays, seeds=seeds, features=features, kind=kind, tied=tied, gain=0.6, bias=bias, key=rc.key(1)
    )
    made = rc.cast(made, float)
    values = 0.3 * np.random.default_rng(0).normal(size=(features, len(made)))
    return eqx.tree_at(lambda p: p.bias, made, jnp.asarray(values)) if bias else made


@pytest.mark.parametrize(("kind", "tied"), [("ssm", True), ("tanh", False)])
def test_responses_are_those_to_a_pulse_of_each_feature(kind, tied):
    population = some(kind, features=2, tied=tied)
    directions, read = (np.asarray(part) for part in pulse_responses(population, 7))
    hidden = FUNCTIONS[kind][0]
    for i in range(len(population)):
        weights = population.weights(i)
        recurrent, w = np.asarray(weights.recurrent), np.asarray(weights.inputs)
        for age in range(7):
            # seven products of 2 × 2 matrices, by doubling or one after the other
            np.testing.assert_allclose(directions[age, :, :, i], w, rtol=1e-11, atol=1e-13)
            np.testing.assert_allclose(read[age, :, :, i], np.asarray(weights.readout) @ w, rtol=1e-11, atol=1e-13)
            w = recurrent @ hidden(w)
        if tied:
            k = int(population.delay[i])
            np.testing.assert_allclose(np.asarray(weights.readout).T, directions[k, :, :, i], rtol=1e-11, atol=1e-13)


def test_products_of_large_matrices_are_those_of_small_ones_written_out():
    a, b = (np.random.default_rng(i).normal(size=(1, 13, 13, 3)) for i in range(2))
    expected = np.stack([a[0, ..., i] @ b[0, ..., i] for i in range(3)], axis=-1)[None]
    # sums of thirteen and of twelve products
    np.testing.assert_allclose(product(jnp.asarray(a), jnp.asarray(b)), expected, rtol=1e-12, atol=1e-13)
    less = product(jnp.asarray(a[:, :, :12]), jnp.asarray(b[:, :12]))
    np.testing.assert_allclose(less, expected - a[:, :, 12:] * b[:, 12:], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "tied", "stationary"), [("ssm", False, False), ("ssm", True, True), ("nonlinear", True, False)]
)
def test_the_loss_of_a_sample_is_that_of_every_network_run_on_it(kind, tied, stationary, getkey):
    population, steps, trials, p = some(kind, features=2, tied=tied, bias=True), 6, 5, 0.1
    importance, key = np.array([1.0, 0.25]), getkey()
    loss = recall_loss(
        p, steps=steps, trials=trials, stationary=stationary, features=2, importance=jnp.asarray(importance)
    )
    found = judge(loss, population, key)
    drawn = np.asarray(gates(key, (trials, 2 * steps), jnp.asarray(p), Uniform(), float))
    x = drawn.reshape(trials, steps, 2)[:, ::-1]
    hidden, seen = FUNCTIONS[kind]
    chance, silence = 1 - (1 - p) ** (2 * steps), p / 3 * importance.sum()
    for i in range(len(population)):
        k, bias = int(population.delay[i]), np.asarray(population.bias)[:, i]
        outputs = run(population.weights(i), x, hidden, lambda z, bias=bias: seen(z + bias))
        y = np.zeros_like(x)
        y[:, k:] = x[:, : steps - k]
        weighted = (importance * (y - outputs) ** 2).sum(2)
        total = weighted[:, -1].mean() if stationary else weighted.sum(1).mean() / (steps - k)
        # a trial without a feature, which is never drawn
        empty = importance @ seen(bias) ** 2 * (1 if stationary else steps / (steps - k))
        # the same sums of at most sixty products
        wanted = (chance * total + (1 - chance) * empty) / silence
        assert float(found.loss[i]) == pytest.approx(wanted, rel=1e-11)
    assert (np.asarray(found.power) >= 0).all()


def test_the_mean_of_many_samples_is_the_loss_of_all_sequences(getkey):
    population, amplitude = some("ssm", delays=(2,)), Levels((0.5, 1.0))
    loss = recall_loss(0.2, steps=6, trials=4096, stationary=False, amplitude=amplitude)
    losses = np.stack([judge(loss, population, getkey()).loss for _ in range(20)])
    for i in range(len(population)):
        exact = sparse_polynomial(population.network(i), steps=6, delay=2, amplitude=amplitude).normalised(0.2)
        error = losses[:, i].std(ddof=1) / np.sqrt(20)
        # four standard errors, and samples that know the loss to a few per cent
        assert losses[:, i].mean() == pytest.approx(exact, abs=4 * error)
        assert error < 0.03 * exact


def test_trials_hold_a_feature_and_the_others_come_with_their_chance(getkey):
    x = np.asarray(gates(getkey(), (40_000, 8), jnp.asarray(0.1), Uniform(0.2, 1.0), float))
    there = x != 0
    assert there.any(1).all()
    chance = 1 - 0.9**8
    # given one open gate at least, each is open with chance p / (1 - (1 - p)⁸): four standard errors of 40 000 trials
    spread = 4 * np.sqrt(0.1 / chance / 40_000)
    np.testing.assert_allclose(there.mean(0), 0.1 / chance, atol=spread)
    # means of uniform amplitudes from 0.2 to 1, in about 7000 draws of each gate
    means = [x[there[:, j], j].mean() for j in range(8)]
    np.testing.assert_allclose(means, 0.6, atol=4 * 0.8 / np.sqrt(12 * 7000))


def test_at_a_density_of_one_every_gate_is_open(getkey):
    x = np.asarray(gates(getkey(), (50, 8), jnp.asarray(1.0), Uniform(0.2, 1.0), float))
    assert ((x >= 0.2) & (x <= 1)).all()


def test_the_expected_loss_is_that_of_every_network_by_itself():
    population, statistics = some("linear", features=2, tied=False, bias=True), sparse(0.3, 2, shared_gate=True)
    importance = jnp.asarray([1.0, 0.5])
    finite = expected_recall(statistics, steps=9, stationary=False, importance=importance)
    endless = expected_recall(statistics, steps=400, stationary=True, importance=importance)
    silence = float(importance @ statistics.square)
    assert population.bias is not None
    for i, (one, other) in enumerate(
        zip(*(eqx.filter_jit(loss)(population) for loss in (finite, endless)), strict=True)
    ):
        weights, k = population.weights(i), int(population.delay[i])
        options: Any = {"importance": importance, "bias": population.bias[:, i]}
        exact = expected_loss(projections(weights, 9), statistics, k, **options) / ((9 - k) * silence)
        # sums over nine ages; and over 400, of which the last is 1e-20 of the first
        assert float(one) == pytest.approx(float(exact), rel=1e-11)
        assert float(other) == pytest.approx(
            float(stationary_loss(weights, statistics, k, **options)) / silence, rel=1e-9
        )


def test_features_behind_one_gate_cost_what_their_moments_say(getkey):
    population, density = some("linear", features=2, tied=False), 0.3
    loss = recall_loss(density, steps=9, trials=2048, features=2, stationary=False, shared_gate=True)
    sampled = np.stack([judge(loss, population, getkey()).loss for _ in range(6)])
    exact, own = (
        expected(expected_recall(sparse(density, 2, shared_gate=shared), steps=9, stationary=False), population)
        for shared in (True, False)
    )
    # six means of as many trials: four standard errors with a quarter more for the few of them
    error = sampled.std(0, ddof=1) / np.sqrt(6)
    np.testing.assert_array_less(np.abs(sampled.mean(0) - exact), 5 * error)
    # gates of their own cost something else, as far as the sample can tell
    assert (np.abs(sampled.mean(0) - own) > 5 * error).any()


def test_no_network_touches_the_loss_of_another(getkey):
    population, key = some("nonlinear"), getkey()
    loss = recall_loss(0.5, steps=6, trials=8, stationary=False)
    third: Any = lambda p: loss(p, key)[2]  # noqa: E731
    alone = eqx.filter_jit(eqx.filter_grad(third))(population)
    for part in (alone.recurrent, alone.inputs):
        np.testing.assert_array_equal(np.asarray(part)[..., [0, 1, 3]], 0)
        assert np.any(np.asarray(part)[..., 2] != 0)


def test_seeds_start_alike_at_every_delay_and_whatever_the_others_are():
    few, many = (random_population(2, delays=d, seeds=s, bias=True, key=rc.key(0)) for d, s in (((3,), 2), ((1, 3), 4)))
    np.testing.assert_array_equal(few.recurrent, many.take([4, 5]).recurrent)
    np.testing.assert_array_equal(few.recurrent, many.take([0, 1]).recurrent)
    assert many.delay.tolist() == [1] * 4 + [3] * 4
    both = few.joined(many)
    assert (len(both), both.longest, both.features) == (10, 3, 1)
    np.testing.assert_array_equal(both.take([3]).inputs, many.take([1]).inputs)
    np.testing.assert_array_equal(both.take([3, 4]).network(1).readout.bias, [0.0])  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ssm", "nonlinear"])
def test_memory_is_bounded_by_the_number_of_networks_at_once(kind):
    population = random_population(2, delays=(1,), seeds=100, kind=kind, key=rc.key(0))
    loss = recall_loss(0.5, steps=40, trials=2048, stationary=kind == "ssm")
    gradient = jax.jit(jax.grad(lambda p: loss(p, rc.key(0)).sum(), allow_int=True))
    used = temp_bytes(gradient.lower(population).compile())
    assert used is not None
    # what the compiler sets aside for 100 networks is at most what the estimate grants to as many
    assert used <= 1e9 * 100 / loss.fits(population, 1e9)
    assert loss.fits(population, 1.0) == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: judge(recall_loss(0.5, steps=3), some("ssm"), rc.key(0)),
            "`delay` must be below the number of steps, 3",
        ),
        (lambda: recall_loss(0.0), r"`density` must lie in \(0, 1\]; got 0.0"),
        (lambda: recall_loss(1.5), r"`density` must lie in \(0, 1\]; got 1.5"),
        (lambda: expected_recall(sparse(0.5))(some("ssm")), "known for the kind `linear`; got 'ssm'"),
        (
            lambda: judge(recall_loss(0.5, steps=6), some("ssm", features=2), rc.key(0)),
            "the loss is of 1 features, and the networks have 2",
        ),
        (lambda: expected_recall(sparse(0.5))(some("linear", features=2)), "the loss is of 1 features"),
        (lambda: random_population(2, delays=(), key=rc.key(0)), "`delays` must hold one or more"),
        (lambda: random_population(2, delays=(-1,), key=rc.key(0)), "`delay` must be a whole number"),
        (lambda: some("ssm").joined(some("linear")), "one kind and size"),
        (lambda: some("ssm").joined(some("ssm", bias=True)), "all biased or none"),
        (lambda: some("ssm").weights(9), r"`index` must lie in \[-4, 4\)"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_square_errors_of_the_shared_sample_are_the_losses_of_silence(getkey):
    silent = eqx.tree_at(lambda p: p.inputs, some("ssm"), replace_fn=jnp.zeros_like)
    found = judge(recall_loss(0.5, steps=6, trials=256, stationary=False), silent, getkey())
    # what silence costs on 256 trials: 1 up to the sampling error of about 3 % each
    np.testing.assert_allclose(found.loss, 1, atol=0.12)
    np.testing.assert_array_equal(found.power, 0)
    # all networks see the same sample
    assert len(np.unique(np.asarray(found.loss)[:2])) == 1
    x = np.zeros((1, 4, 1))
    assert square_errors(x, x, 1) == 0
