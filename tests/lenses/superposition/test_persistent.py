"""Inputs that last: correlations against chains written out, the stationary loss against long trials."""

import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.superposition.conftest import random_weights

from recurvature._errors import InputError
from recurvature.lenses.superposition import (
    Levels,
    Weights,
    autoregressive,
    correlated_loss,
    persistent_gates,
    persistent_loss,
    persistent_readout,
    projections,
    sparse,
    stationary_loss,
)


def test_gates_that_last_have_the_correlation_of_their_markov_chain():
    p, memory, u = 0.2, 0.6, Levels((0.5, 1.5))
    # from open to open with chance p + (1 - p)·memory, and from closed to open with p·(1 - memory)
    stay = np.array([[1 - p * (1 - memory), p * (1 - memory)], [(1 - p) * (1 - memory), p + (1 - p) * memory]])
    found = np.asarray(persistent_gates(p, memory, amplitude=u).correlation(5))[:, 0, 0]
    both = [p * np.linalg.matrix_power(stay, lag)[1, 1] for lag in range(5)]
    # amplitudes are new at every step: their square at lag 0, the square of their mean at all others
    np.testing.assert_allclose(found, [p * u.square, *(u.mean**2 * np.array(both[1:]))], rtol=1e-14)
    assert 1 / stay[1, 0] == pytest.approx(1 / ((1 - p) * (1 - memory)), rel=1e-14)


def test_without_memory_they_are_the_plain_features():
    weights, plain = random_weights(1, 3, 2, radius=0.6), sparse(0.3, 2)
    lasting = persistent_gates(0.3, 0.0, 2)
    for got, expected in ((lasting.instant.covariance, plain.covariance), (lasting.mean, plain.mean)):
        np.testing.assert_allclose(got, expected, rtol=1e-14, atol=1e-17)
    # the same sum in two parts
    np.testing.assert_allclose(persistent_loss(weights, lasting, 2), stationary_loss(weights, plain, 2), rtol=1e-12)


def test_the_stationary_loss_is_the_increment_of_a_long_trial():
    weights, importance = random_weights(1, 3, 2, radius=0.6), jnp.array([1.0, 0.5])
    inputs = persistent_gates(0.3, 0.7, 2)
    a = projections(weights, 90)
    longer, shorter = (
        float(correlated_loss(a[:steps], inputs.correlation(steps), 2, importance=importance)) for steps in (90, 89)
    )
    got = persistent_loss(weights, inputs, 2, importance=importance)
    # what 0.7^89 leaves out of sums over ages, and rounding of a total of some hundred
    np.testing.assert_allclose(got, longer - shorter, atol=1e-10)


def test_a_state_that_is_the_input_itself_loses_what_an_autoregression_forgets():
    memory, delay = 0.8, 3
    weights = Weights(jnp.zeros((1, 1)), jnp.ones((1, 1)), jnp.full((1, 1), memory**delay))
    # the best guess of x three steps ago from x now is 0.8³x, and its error 1 - 0.8⁶
    np.testing.assert_allclose(
        persistent_loss(weights, autoregressive(memory), delay), 1 - memory ** (2 * delay), rtol=1e-12
    )
    best = persistent_readout(weights.recurrent, weights.inputs, autoregressive(memory), delay)
    np.testing.assert_allclose(best.readout, weights.readout, rtol=1e-12)


def test_the_best_readout_is_the_bottom_of_a_parabola():
    weights, inputs = random_weights(1, 3, 2, radius=0.6), persistent_gates(0.3, 0.7, 2)
    best = persistent_readout(weights.recurrent, weights.inputs, inputs, 2)
    along = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)))
    lost = [
        float(persistent_loss(Weights(best.recurrent, best.inputs, best.readout + step * along), inputs, 2))
        for step in (-2.0, -1.0, 0.0, 1.0, 2.0)
    ]
    # of second order in the readout: the same on either side, and four times as high twice as far; rounding
    rise = np.array(lost) - lost[2]
    np.testing.assert_allclose(rise[[4, 3]], rise[[0, 1]], rtol=1e-11)
    assert rise[4] == pytest.approx(4 * rise[3], rel=1e-11)
    assert rise[3] > 0.01


def test_what_is_no_memory_is_refused():
    with pytest.raises(InputError, match=r"`memory` must lie between -1 and 1; got 1\.0"):
        autoregressive(1.0)
    with pytest.raises(InputError, match=r"`memory` of a gate must lie in \[0, 1\); got -0\.1"):
        persistent_gates(0.3, -0.1)
