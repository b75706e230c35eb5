"""Exact losses of linear networks against all input sequences written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.superposition.conftest import every_sequence, random_weights, run, square_errors

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.superposition import (
    Levels,
    correlated_loss,
    expected_loss,
    loss_terms,
    projections,
    sparse,
)

CASES = [(4, 1, 2, 0.4, (1.0, -0.5)), (4, 2, 1, 0.3, (0.5,))]


@pytest.mark.parametrize(("steps", "d", "delay", "density", "values"), CASES)
def test_four_terms_add_up_to_the_mean_over_all_sequences(steps, d, delay, density, values):
    weights, importance = random_weights(d, 3, d), jnp.linspace(1.0, 0.4, d)
    a = projections(weights, steps)
    x, chance = every_sequence(steps, d, density, values)
    exact = chance @ square_errors(x, run(weights, x), delay, np.asarray(importance))
    statistics = sparse(density, d, amplitude=Levels(values))
    # sums of at most 10⁴ products of numbers of order 1 to 10
    np.testing.assert_allclose(expected_loss(a, statistics, delay, importance=importance), exact, rtol=1e-12)
    bias = jnp.linspace(0.2, -0.3, d)
    shifted = chance @ square_errors(x, run(weights, x) + np.asarray(bias), delay, np.asarray(importance))
    # the same
    np.testing.assert_allclose(
        expected_loss(a, statistics, delay, importance=importance, bias=bias), shifted, rtol=1e-12
    )
    for convention in ("square", "benefit"):
        terms = loss_terms(a, statistics, delay, importance=importance, convention=convention)
        # the same
        np.testing.assert_allclose(terms.total, exact, rtol=1e-12)
    silent = chance @ square_errors(x, 0 * x, delay, np.asarray(importance))
    # the same
    np.testing.assert_allclose(terms.normalised, exact / silent, rtol=1e-12)


def test_each_term_is_its_sum_over_ages_and_features():
    weights, steps, delay, density = random_weights(5, 3, 2), 4, 1, 0.3
    a, statistics = np.asarray(projections(weights, steps)), sparse(density, 2)
    m, q = np.asarray(statistics.mean), np.asarray(statistics.square)
    terms = loss_terms(jnp.asarray(a), statistics, delay)
    task, mean, parts, pairs = np.zeros(2), np.zeros(2), np.zeros((2, 3)), np.zeros((2, 3))
    every = [(s, j) for s in range(steps) for j in range(2)]
    for i in range(2):
        task[i] = (steps - delay) * q[i] * (1 - a[delay, i, i]) ** 2
        for s, j in every:
            if (s, j) != (delay, i):
                kind = 0 if j == i else 1 if s == delay else 2
                mean[i] -= 2 * m[i] * (steps - max(s, delay)) * m[j] * a[s, i, j]
                parts[i, kind] += (steps - s) * q[j] * a[s, i, j] ** 2
            for r, e in every:
                if (s, j) != (r, e):
                    kind = 0 if j == e == i else 1 if s == r == delay else 2
                    pairs[i, kind] += (steps - max(s, r)) * m[j] * m[e] * a[s, i, j] * a[r, i, e]
    for got, expected in zip(
        (terms.task, terms.mean, terms.projection, terms.composition), (task, mean, parts, pairs), strict=True
    ):
        # sums of at most 64 products; the compositions are differences of sums
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)


def test_shared_gates_are_a_covariance():
    weights, density = random_weights(8, 3, 2), 0.3
    gates, chance = every_sequence(4, 1, density, (1.0,))
    x = np.concatenate([gates, gates], axis=2)
    exact = chance @ square_errors(x, run(weights, x), 1)
    statistics = sparse(density, 2, amplitude=Levels((1.0,)), shared_gate=True)
    a = projections(weights, 4)
    # sums of 8 products
    np.testing.assert_allclose(expected_loss(a, statistics, 1), exact, rtol=1e-12)
    terms = loss_terms(a, statistics, 1)
    np.testing.assert_allclose(terms.total, exact, rtol=1e-12)
    assert np.abs(terms.correlation).max() > 0.01


def test_monte_carlo_agrees_within_its_standard_error(getkey):
    weights, task = random_weights(2, 3, 2), rc.tasks.Recall(steps=4, features=2, density=0.2, delay_steps=(2,))
    trials = task.trials(getkey(), 4000)
    x = np.asarray(trials.inputs, float)
    network = rc.superposition.recall_network(weights)
    outputs = np.asarray(rc.systems.simulate(network, trials.inputs).outputs)
    errors = ((np.asarray(trials.targets, float) - outputs) ** 2).sum((1, 2))
    np.testing.assert_allclose(errors, square_errors(x, outputs, 2), rtol=1e-12)
    exact = float(expected_loss(projections(weights, 4), sparse(0.2, 2), 2))
    # 4 standard errors
    assert abs(errors.mean() - exact) < 4 * errors.std() / np.sqrt(len(errors))


def test_correlated_inputs_of_independent_steps_are_the_plain_loss():
    a, statistics = projections(random_weights(3, 3, 2), 4), sparse(0.4, 2)
    outer = np.outer(statistics.mean, statistics.mean)
    correlation = np.stack([np.asarray(statistics.covariance) * (lag == 0) + outer for lag in range(4)])
    # sums of 144 products
    np.testing.assert_allclose(
        correlated_loss(a, jnp.asarray(correlation), 2), expected_loss(a, statistics, 2), rtol=1e-12
    )


def test_inputs_with_memory_against_all_sequences():
    """A two-state Markov gate of amplitude 1, with a second feature that repeats the first one step later."""
    stay, steps = np.array([[0.9, 0.1], [0.4, 0.6]]), 4
    long, _ = every_sequence(steps + 1, 1, 0.5, (1.0,))
    states = long[:, :, 0].astype(int)
    chance = np.array([0.8, 0.2])[states[:, 0]] * np.prod(stay[states[:, :-1], states[:, 1:]], axis=1)
    x = np.concatenate([long[:, 1:], long[:, :-1]], axis=2)
    weights = random_weights(4, 3, 2)
    exact = chance @ square_errors(x, run(weights, x), 1)

    def joint(lag):
        """E g_t g_{t-lag} of the gate."""
        return 0.2 * np.linalg.matrix_power(stay, abs(lag))[1, 1]

    # the second feature is the gate of one step before: its lags are shifted by one against the first
    lags = [[[joint(t), joint(t + 1)], [joint(t - 1), joint(t)]] for t in range(steps)]
    got = correlated_loss(projections(weights, steps), jnp.asarray(lags), 1)
    # sums of 64 products
    np.testing.assert_allclose(got, exact, rtol=1e-12)


def test_a_target_response_generalises_the_delay():
    weights, statistics = random_weights(6, 3, 1), sparse(0.5, amplitude=Levels((1.0,)))
    a = projections(weights, 4)
    target = jnp.asarray([0.0, 1.0, -1.0, 0.0])[:, None, None]
    x, chance = every_sequence(4, 1, 0.5, (1.0,))
    y = np.zeros_like(x)
    y[:, 1:] += x[:, :-1]
    y[:, 2:] -= x[:, :-2]
    exact = chance @ ((run(weights, x) - y) ** 2).sum((1, 2))
    # sums of 16 products
    np.testing.assert_allclose(expected_loss(a, statistics, target), exact, rtol=1e-12)


def test_float32_stays_float32():
    weights = rc.cast(random_weights(3, 3, 2), jnp.float32)
    loss = expected_loss(projections(weights, 4), sparse(0.3, 2), 1)
    terms = loss_terms(projections(weights, 4), sparse(0.3, 2), 1)
    assert loss.dtype == terms.task.dtype == jnp.float32
    # a hundred roundings of float32 on numbers of order 1
    np.testing.assert_allclose(terms.total, loss, rtol=1e-5)


def test_what_cannot_be_recalled_is_refused():
    a = projections(random_weights(0, 2, 1), 4)
    with pytest.raises(InputError, match="`delay` must be below the number of steps, 4; got 4"):
        loss_terms(a, sparse(0.5), 4)
    for density in (0.0, 1.5, float("nan")):
        with pytest.raises(InputError, match=r"`density` must lie in \(0, 1\]"):
            sparse(density)
    with pytest.raises(InputError, match="`importance` must be 1 or 1 finite numbers"):
        expected_loss(a, sparse(0.5), 1, importance=-1.0)
    with pytest.raises(InputError, match=r"`mean` must have shape"):
        expected_loss(a, sparse(0.5, 2), 1)
    with pytest.raises(InputError, match="finite low < high"):
        rc.superposition.Uniform(float("nan"), 1.0)


@pytest.mark.slow  # claims follow the course; the loss is enumerated by default
def test_gradient_descent_on_the_exact_loss_meets_the_recorded_course():
    """Tied, one feature, delay 3, density 0.3, 20 steps, plain descent at 0.01: recorded losses and final weights."""
    statistics = sparse(0.3)
    silent = (20 - 3) * float(statistics.square[0])

    def loss(pair):
        return expected_loss(projections(rc.superposition.tied(*pair, delay=3), 20), statistics, 3) / silent

    @jax.jit
    def descend(pair):
        def step(pair, _):
            value, slope = jax.value_and_grad(loss)(pair)
            return jax.tree.map(lambda w, g: w - 0.01 * g, pair, slope), value

        return jax.lax.scan(step, pair, None, length=1201)

    start = (jnp.array([[0.30, 0.02], [-0.01, 0.28]]), jnp.array([[0.25], [0.1]]))
    course = np.asarray(descend(start)[1])
    # recorded to four decimals
    np.testing.assert_allclose(course[[0, 400, 1000, 1200]], [0.9987, 0.9905, 0.6963, 0.6229], atol=6e-5)
