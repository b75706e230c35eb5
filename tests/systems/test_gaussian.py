"""Mean slopes over Gaussian inputs, against quadrature of SciPy and a sample."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import activation, mean_slope

VARIANCES = (0.0, 0.1, 1.0, 9.0, 400.0)


def quadrature(phi: str, variance: float) -> tuple[float, float]:
    """The mean slope and its derivative by the variance, half the mean of the third derivative (Price)."""
    root = np.sqrt(variance)

    def slope(x: float) -> float:
        return 1 / np.cosh(x) ** 2 if phi == "tanh" else np.exp(-np.pi / 4 * x**2)

    def bent(x: float) -> float:
        if phi == "tanh":
            return 4 * slope(x) - 6 * slope(x) ** 2
        return slope(x) * (np.pi**2 / 4 * x**2 - np.pi / 2)

    def mean(f: Callable[[float], float]) -> float:
        reach = min(12.0, 25 / max(root, 1e-9))
        density = lambda x: f(root * x) * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)  # noqa: E731
        return 2 * scipy.integrate.quad(density, 0, reach, epsabs=1e-14, epsrel=1e-12, limit=200)[0]

    return mean(slope), mean(bent) / 2


@pytest.mark.oracle
@pytest.mark.parametrize("phi", ["erf", "tanh"])
def test_mean_slopes_and_their_derivatives(phi: str) -> None:
    values, slopes = jax.vmap(jax.value_and_grad(mean_slope(phi)))(jnp.asarray(VARIANCES))
    expected = np.array([quadrature(phi, variance) for variance in VARIANCES])
    # the quadrature was asked for 1e-12; derivatives of large variances are differences of nearly equal numbers
    np.testing.assert_allclose(values, expected[:, 0], rtol=1e-11)
    np.testing.assert_allclose(slopes, expected[:, 1], rtol=1e-8)


@pytest.mark.slow
def test_second_derivatives_exist_at_no_variance() -> None:
    # a fourth of the fourth derivative of the slope at 0: that of sech² is 16; at the end of its range the second
    # derivative of a series of 44 terms multiplies rounding by the fourth power of 44, over 3
    assert float(jax.grad(jax.grad(mean_slope("tanh")))(jnp.zeros(()))) == pytest.approx(4.0, rel=1e-8)


@pytest.mark.parametrize("phi", ["identity", "erf", "tanh", "relu"])
def test_a_gaussian_population_responds_with_the_mean_slope(phi: str) -> None:
    rng, n = np.random.default_rng(0), 200_000
    h = 1.3 * rng.normal(size=n)
    a = 0.5 * h + rng.normal(size=n)
    response = float(np.mean(a * np.asarray(jax.jit(activation(phi))(jnp.asarray(h)))))
    expected = float(jax.jit(mean_slope(phi))(jnp.asarray(np.mean(h**2)))) * np.mean(a * h)
    # four standard errors of a product of order one
    assert abs(response - expected) < 4 * 2 / np.sqrt(n)


def test_number_types_are_kept() -> None:
    for phi in ("identity", "erf", "tanh", "relu"):
        assert jax.eval_shape(mean_slope(phi), jnp.ones((2, 3), jnp.float32)).dtype == jnp.float32


def test_an_unknown_slope_is_refused() -> None:
    with pytest.raises(InputError, match="unknown activation with a known mean slope"):
        rc.systems.mean_slope("softplus")
