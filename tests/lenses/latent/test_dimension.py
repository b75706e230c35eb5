"""Linear dimension: constructions of known rank, and the sphere by routes that share nothing with the library's."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import betaln, gammaln

from recurvature import latent, measures
from recurvature._errors import InputError
from recurvature.measures.sphere import gegenbauer, multiplicities, sphere_spectrum


def relu(x):
    return np.maximum(x, 0)


@pytest.mark.parametrize(("phi", "components"), [("relu", 2), (lambda x: (x > 0).astype(x.dtype), 48)])
def test_one_variable_may_fill_all_dimensions_and_few_components(phi, components):
    unit = latent.staircase(100, phi=phi)
    # half a step above each threshold, so that rounding of i/N decides nothing
    kappa = (np.arange(100) + 0.5) / 100
    rates = np.asarray(unit.rates(jnp.asarray(kappa)[:, None]))
    assert (np.triu(rates, 1) == 0).all()
    assert np.linalg.matrix_rank(rates) == 100
    found = latent.linear_dimension(rates, 1)
    # about their mean, 100 independent points span 99 dimensions
    assert (found.rank, found.by_rank) == (99, "curved")
    # that of the integral of the kernel min(x, y) or of the step, whose components are known: see below
    assert found.components == components
    assert found.by_variance == "curved"


def test_the_components_of_a_step_staircase_are_those_of_brownian_motion():
    """Centred steps on a line have the covariance of a Brownian bridge: variance 1/(pi j)² of component j."""
    variance = 1 / np.arange(1, 100001) ** 2
    held = np.cumsum(variance) / variance.sum()
    wide = int(np.searchsorted(held, 0.99) + 1)
    unit = latent.staircase(400, phi=lambda x: (x > 0).astype(x.dtype))
    rates = np.asarray(unit.rates(jnp.asarray((np.arange(400) + 0.5) / 400)[:, None]))
    # the limit of many units is 61; 400 of them lack the components above 400, which hold 1/400 of the variance, a
    # quarter of the missing share
    assert 0.75 * wide <= latent.linear_dimension(rates, 1).components <= wide


def test_flat_and_curved_are_told_apart():
    rng = np.random.default_rng(0)
    kappa = rng.normal(size=(200, 2))
    flat = latent.linear_dimension(kappa @ rng.normal(size=(2, 30)) + rng.normal(size=30), 2)
    assert (flat.rank, flat.components, flat.by_rank, flat.by_variance) == (2, 2, "flat", "flat")
    weak = latent.linear_dimension(np.tanh(0.01 * kappa @ rng.normal(size=(2, 30))), 2)
    # weak currents bend tanh by a third of their square: nothing in variance, everything in rank
    assert (weak.by_rank, weak.by_variance) == ("curved", "flat")


def test_a_phi_that_never_rests_makes_no_staircase():
    with pytest.raises(InputError, match="must be zero at the threshold"):
        latent.staircase(5, phi="softplus")


def test_counts_grow_with_variables_and_not_with_units():
    """Random tuning to normal variables: more units sample one kernel, more variables have another."""
    rng = np.random.default_rng(0)

    def count(units, variables):
        kappa, tuning = rng.normal(size=(600, variables)), rng.normal(size=(variables, units))
        return latent.linear_dimension(np.tanh(kappa @ tuning), variables).components

    two = [count(units, 2) for units in (200, 800)]
    # the components next to the 99th per cent hold 0.3 to 1.5 %, of which a sample of 200 units misses a tenth
    assert abs(two[1] - two[0]) <= 1
    # first order alone would be 2 and 4; of third order there are 4 and 20 monomials
    assert two[1] > 2
    assert count(200, 4) > 2 * two[1]


# ---- the sphere


def test_polynomials_and_multiplicities_are_those_of_circle_and_sphere():
    t = np.linspace(-1, 1, 9)
    # recursions of twelve steps
    np.testing.assert_allclose(gegenbauer(t, 2, 12), np.cos(np.arange(13)[:, None] * np.arccos(t)), atol=1e-12)
    legendre = [np.polynomial.legendre.Legendre.basis(degree)(t) for degree in range(13)]
    np.testing.assert_allclose(gegenbauer(t, 3, 12), legendre, atol=1e-12)
    np.testing.assert_allclose(multiplicities(2, 4), [1, 2, 2, 2, 2], rtol=1e-12)
    np.testing.assert_allclose(multiplicities(3, 4), [1, 3, 5, 7, 9], rtol=1e-12)


def sign_variances(k, degrees):
    """Of odd degrees, by Rodrigues' formula and the binomial series at zero: no quadrature, no recursion."""
    degree = np.arange(1, degrees, 2)
    half, power = (degree - 1) / 2, degree + (k - 3) / 2
    logs = np.log(2) + gammaln((k - 1) / 2) - degree * np.log(2) - gammaln(degree + (k - 1) / 2)
    logs += gammaln(power + 1) - gammaln(half + 1) - gammaln(power - half + 1) + gammaln(2 * half + 1)
    return degree, np.exp(2 * (logs - betaln(0.5, (k - 1) / 2)))


@pytest.mark.parametrize(("k", "wanted"), [(2, 41), (3, 2028), (5, 3465433), (10, 95428543302556)])
def test_sign_units_have_the_dimension_of_their_closed_form(k, wanted):
    degree, variance = sign_variances(k, 160)
    found = sphere_spectrum(np.sign, coordinates=k, degrees=160)
    # quadrature of a smooth function on half of the sphere
    np.testing.assert_allclose(np.asarray(found.variance)[1::2][:60], variance[:60], rtol=1e-9)
    assert found.total == pytest.approx(1, abs=1e-10)
    held = np.cumsum(variance * multiplicities(k, 160)[degree])
    full = int(np.searchsorted(held, 0.99))
    count = multiplicities(k, 160)[degree][:full].sum() + np.ceil((0.99 - held[full - 1]) / variance[full])
    # a count of up to 1e14, of numbers known to ten digits
    assert found.dimension() == pytest.approx(count, rel=1e-8)
    assert count == pytest.approx(wanted, rel=1e-8)


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_sine_units_have_the_spectrum_of_their_kernel(k, gain):
    """By the power series of exp(-g²) sinh(g² t), the average of sin(m·x) sin(m·y)."""
    found = sphere_spectrum(np.sin, coordinates=k, gain=gain, degrees=12)
    power = np.arange(1, 120, 2)
    series = np.exp(-(gain**2) + power * np.log(gain**2) - gammaln(power + 1))
    for degree in (1, 3, 5):
        used = power >= degree
        rest = (power[used] - degree) / 2
        logs = gammaln(power[used] + 1) - gammaln(2 * rest + 1) - degree * np.log(2) + gammaln(k / 2)
        logs += gammaln(rest + 0.5) - gammaln(0.5) - gammaln(degree + k / 2 + rest)
        # a series of positive terms against two quadratures
        np.testing.assert_allclose(found.variance[degree], (series[used] * np.exp(logs)).sum(), rtol=1e-9)


@pytest.mark.parametrize(
    ("phi", "gain", "wanted"),
    [
        # the values of a computation from Hermite coefficients of the kernel, where that series had converged
        (np.tanh, 1.0, (4, 9, 31, 208)),
        (np.tanh, 2.0, (4, 15, 113, None)),
        (np.sin, 1.0, (4, 9, 33, 208)),
        (np.sin, 3.0, (8, 47, 708, None)),
        (relu, 1.0, (4, 11, 54, 640)),
    ],
)
def test_saturation_of_common_units(phi, gain, wanted):
    for k, value in zip((2, 3, 5, 10), wanted, strict=True):
        if value is not None:
            found = sphere_spectrum(phi, coordinates=k, gain=gain, degrees=60)
            assert found.dimension() == value


def test_simulated_components_reach_the_saturation_value():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(700, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    rates = np.tanh(2 * x @ rng.normal(size=(3, 700)))
    variance = np.linalg.svd(rates - rates.mean(0), compute_uv=False) ** 2 / (700 * 700)
    found = sphere_spectrum(np.tanh, coordinates=3, gain=2.0)
    # 15 takes five of the eleven components of degree 5; finite samples make them unequal, and the first ones larger
    assert 13 <= measures.variance_dimension(rates) <= found.dimension() == 15
    # 700 units and points: each variance to a few of its relative standard deviations, (2 / 700) ** 0.5 = 5 %
    np.testing.assert_allclose(variance[:3], found.variance[1], rtol=0.2)
    np.testing.assert_allclose(variance[3:10], found.variance[3], rtol=0.3)


def test_what_lies_beyond_the_last_degree_is_said():
    short = sphere_spectrum(np.sign, coordinates=3, degrees=9)
    assert short.missing > 0.01
    assert short.dimension() == np.inf
    assert sphere_spectrum(np.tanh, coordinates=3, degrees=30).missing == pytest.approx(0, abs=1e-10)
    offset = sphere_spectrum(lambda x: relu(x) + 1, coordinates=3, degrees=30)
    # a constant rate is no variance about the mean
    np.testing.assert_allclose(offset.total, sphere_spectrum(relu, coordinates=3, degrees=30).total, rtol=1e-9)
    with pytest.raises(InputError, match="no variance to share"):
        sphere_spectrum(np.ones_like, coordinates=3)
