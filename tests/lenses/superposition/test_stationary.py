"""Endless trials: against long finite ones, capacities that add up to a rank, and the best readout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from tests.lenses.superposition.conftest import random_weights

from recurvature._errors import InputError
from recurvature.lenses.superposition import (
    Weights,
    expected_loss,
    memory_capacity,
    optimal_readout,
    projections,
    sparse,
    stationary_loss,
    white,
)
from recurvature.lenses.superposition.stationary import lyapunov, state_moments


def test_increment_of_a_long_trial_is_the_stationary_loss():
    weights, statistics = random_weights(1, 3, 2, radius=0.7), sparse(0.3, 2, shared_gate=True)
    a = projections(weights, 80)
    longer, shorter = (expected_loss(a[:steps], statistics, 2, importance=jnp.array([1.0, 0.5])) for steps in (80, 79))
    got = stationary_loss(weights, statistics, 2, importance=jnp.array([1.0, 0.5]))
    # 0.7^80 is below 1e-12; losses of some thousand are rounded to 1e-12
    np.testing.assert_allclose(got, longer - shorter, atol=1e-10)


def test_covariance_is_that_of_an_independent_solver():
    weights, statistics = random_weights(2, 5, 2, radius=0.97), sparse(0.2, 2)
    _, covariance = state_moments(weights, statistics)
    drive = np.asarray(weights.inputs @ statistics.covariance @ weights.inputs.T)
    expected = scipy.linalg.solve_discrete_lyapunov(np.asarray(weights.recurrent), drive)
    # the condition of the equation is 1/(1 - 0.97²), about 20, times that of the eigenvectors
    np.testing.assert_allclose(covariance, expected, rtol=1e-10, atol=1e-11)


def test_derivative_of_the_doubling_is_that_of_the_sum():
    weights = random_weights(3, 3, 1, radius=0.5)
    along = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3)))
    drive = weights.inputs @ weights.inputs.T
    solution, slope = jax.jvp(lambda w: lyapunov(w, drive), (weights.recurrent,), (along,))
    # differentiated: dP = W dP Wᵀ + dW P Wᵀ + W P dWᵀ
    both = np.asarray(along @ solution @ weights.recurrent.T)
    expected = scipy.linalg.solve_discrete_lyapunov(np.asarray(weights.recurrent), both + both.T)
    # sums of some tens of products
    np.testing.assert_allclose(slope, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("n", "d"), [(4, 1), (5, 2)])
def test_capacities_lie_between_0_and_1_and_add_up_to_the_rank(n, d):
    weights = random_weights(n, n, d, radius=0.6)
    found = memory_capacity(weights.recurrent, weights.inputs, ages=60)
    assert found.rank == n
    assert (np.asarray(found.capacity) <= 1 + 1e-12).all()
    # 0.6^120 is left over, with the conditioning of five directions that are nearly one after a few steps
    np.testing.assert_allclose(np.asarray(found.capacity).sum(), n, rtol=1e-9)
    # the same
    np.testing.assert_allclose(found.remainder, 0, atol=1e-8)


def test_a_direction_that_no_input_reaches_has_no_capacity():
    recurrent, inputs = jnp.diag(jnp.array([0.5, -0.4, 0.3])), jnp.array([[1.0], [1.0], [0.0]])
    found = memory_capacity(recurrent, inputs, ages=60)
    assert found.rank == 2
    # 0.5^120 is left over
    np.testing.assert_allclose(np.asarray(found.capacity).sum(), 2, rtol=1e-12)


def test_capacity_is_what_the_best_readout_gains_and_no_other_gains_more():
    weights = random_weights(6, 4, 1)
    best = optimal_readout(weights.recurrent, weights.inputs, white(), 3)
    loss = float(stationary_loss(best, white(), 3))
    capacity = memory_capacity(weights.recurrent, weights.inputs).capacity
    # two routes through a solve of four unknowns
    np.testing.assert_allclose(loss, 1 - capacity[3, 0], rtol=1e-9)

    def of_readout(readout):
        return stationary_loss(Weights(best.recurrent, best.inputs, readout), sparse(0.3), 3)

    best = optimal_readout(weights.recurrent, weights.inputs, sparse(0.3), 3)
    # a gradient that vanishes but for the rounding of a solve
    np.testing.assert_allclose(jax.jit(jax.grad(of_readout))(best.readout), 0, atol=1e-12)
    for seed in range(3):
        other = best.readout + 0.1 * np.random.default_rng(seed).normal(size=(1, 4))
        assert of_readout(other) > of_readout(best.readout)


def test_unstable_recurrences_have_no_stationary_state():
    weights = random_weights(0, 3, 1, radius=1.1)
    for ask in (memory_capacity, lambda w, x: optimal_readout(w, x, white(), 1)):
        with pytest.raises(InputError, match=r"spectral radius 1\.1; a stationary loss needs one below 1"):
            ask(weights.recurrent, weights.inputs)
    with pytest.raises(InputError, match=r"spectral radius 1\.1; a stationary loss needs one below 1"):
        stationary_loss(weights, white(), 1)
