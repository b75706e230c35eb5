"""Exponents against eigenvalues, against known chaos, and against the mean logarithm of the determinant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.dynamics import lyapunov_spectrum
from recurvature.systems import Dense, FunctionFlow, FunctionMap, LinearMap


@pytest.mark.oracle
def test_a_linear_map_has_the_logarithms_of_its_multipliers():
    weights = np.array([[0.9, 0.3, 0.0], [0.0, -0.5, 0.2], [0.0, 0.0, 0.1]])
    system = LinearMap(Dense(jnp.asarray(weights)), jnp.zeros((3, 1)))
    found = lyapunov_spectrum(system, state=np.ones(3), steps=40, transient=100)
    # after 100 steps the directions are exact to (5/9)^100
    np.testing.assert_allclose(found.exponents, np.log([0.9, 0.5, 0.1]), rtol=1e-12)
    assert found.dimension == 0.0


@pytest.mark.oracle
def test_the_henon_map_is_as_chaotic_as_is_known():
    henon = FunctionMap(lambda x, u: jnp.stack([1 - 1.4 * x[0] ** 2 + x[1], 0.3 * x[0]]), 2, 1)
    found = lyapunov_spectrum(henon, state=np.array([0.1, 0.1]), steps=20_000, transient=100)
    # the determinant is -0.3 everywhere, so that the sum is exact for every length
    assert found.exponents.sum() == pytest.approx(np.log(0.3), abs=1e-12)
    # 0.4192 (Sprott 2003, Chaos and Time-Series Analysis, appendix A); four standard errors
    assert abs(found.exponents[0] - 0.4192) < 4 * found.standard_error[0]
    assert found.standard_error[0] < 0.01
    # Kaplan and Yorke from both numbers
    assert found.dimension == pytest.approx(1 + 0.4192 / 1.6232, abs=0.02)


@pytest.mark.oracle
def test_the_sum_for_a_flow_is_its_mean_divergence():
    def lorenz(x, u):
        return jnp.stack([10 * (x[1] - x[0]), x[0] * (28 - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])

    found = lyapunov_spectrum(FunctionFlow(lorenz, 3, 1), state=np.ones(3), steps=10_000, transient=1000, dt=0.01)
    # the divergence is -41/3 everywhere; a fourth-order step of 0.01 with rates up to 23 is off by (0.23)^5/120/0.01
    assert found.exponents.sum() == pytest.approx(-41 / 3, abs=1e-3)
    # 0.9056 (Sprott 2003); no exponent across time: zero along the trajectory; four standard errors
    assert abs(found.exponents[0] - 0.9056) < 4 * found.standard_error[0]
    assert found.standard_error[0] < 0.1
    assert abs(found.exponents[1]) < 4 * found.standard_error[1] + 0.01


def test_fewer_exponents_are_the_largest_ones():
    weights = 0.4 * np.random.default_rng(0).standard_normal((4, 4))
    system = FunctionMap(lambda x, u: jnp.tanh(jnp.asarray(weights) @ x + 0.1), 4, 1)
    all_of_them = lyapunov_spectrum(system, state=np.ones(4), steps=400)
    two = lyapunov_spectrum(system, state=np.ones(4), steps=400, count=2)
    # the same vectors: the others do not act back
    np.testing.assert_allclose(two.exponents, all_of_them.exponents[:2], atol=1e-10)
    x = jnp.asarray(all_of_them.final_state)
    multipliers = np.linalg.eigvals(jax.jacfwd(system.step)(x, jnp.zeros(1)))
    # it has settled on a fixed point
    np.testing.assert_allclose(system.step(x, jnp.zeros(1)), x, atol=1e-12)
    # pairs of equal modulus turn within their plane: a mean over 400 steps is off by one turn
    np.testing.assert_allclose(all_of_them.exponents, np.sort(np.log(np.abs(multipliers)))[::-1], atol=0.01)


def test_a_direction_that_is_lost_at_once_has_minus_infinity():
    system = LinearMap(Dense(jnp.diag(jnp.asarray([0.5, 0.0]))), jnp.zeros((2, 1)))
    found = lyapunov_spectrum(system, state=np.ones(2), steps=40, transient=0)
    assert found.status == "ok"
    np.testing.assert_allclose(found.exponents, [np.log(0.5), -np.inf])


def test_an_overflow_is_told_and_misuse_is_named():
    burst = FunctionMap(lambda x, u: x**2 + 1, 1, 1)
    assert lyapunov_spectrum(burst, state=np.ones(1), steps=40).status == "non_finite"
    with pytest.raises(InputError, match="pass `state=`"):
        lyapunov_spectrum(burst)
    with pytest.raises(InputError, match="`count`"):
        lyapunov_spectrum(burst, state=np.ones(1), count=2)
