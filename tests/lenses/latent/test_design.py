"""Units by design, and the laws of how far sampled ones miss: closed forms, quadrature and plain Monte Carlo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

import recurvature as rc
from recurvature import latent
from recurvature._errors import InputError


@pytest.mark.golden
def test_statistics_are_those_of_the_table() -> None:
    found = latent.bistable_statistics((1.0, 10.0, 100.0, 1000.0))
    # adaptive quadrature, to the digits that were kept of it
    np.testing.assert_allclose(
        found.embedding_scale, [1.3371088959, 0.3308710424, 0.1004955347, 0.0316385735], rtol=1e-8
    )
    np.testing.assert_allclose(found.encoding_scale, [1.4957644857, 3.3245580878, 10.0501977801, 31.6385946], rtol=1e-8)
    np.testing.assert_allclose(found.relaxation, [1.3946, 5.955, 50.99, 501.0], rtol=1e-4)


def test_of_error_functions_statistics_have_a_closed_form() -> None:
    slowness = np.array([0.5, 3.0, 200.0])
    found = latent.bistable_statistics(slowness, correlation=0.5, phi="erf")
    # E[φ'(sz)] = (1 + πs²/2)^(-1/2) is exact; the quadrature keeps ten digits at s = 2.3, more below
    scale = np.sqrt(((1 + 1 / slowness) ** 2 - 1) * 2 / np.pi)
    np.testing.assert_allclose(found.embedding_scale, scale, rtol=1e-9)
    np.testing.assert_allclose(found.encoding_scale, (1 + 1 / slowness) / (0.5 * scale), rtol=1e-9)
    # the slope of κ -> -κ + σκ(1 + πs²κ²/2)^(-1/2) at 1 is -1 + σ^(-2)
    np.testing.assert_allclose(found.relaxation, 1 / (1 - (1 + 1 / slowness) ** -2), rtol=1e-9)


def test_by_quadrature_the_attractor_is_at_one() -> None:
    law = latent.bistable_statistics((2.0,))
    scale, overlap = float(law.embedding_scale[0]), float(law.overlap[0])

    def field(kappa: float) -> float:
        # E[nφ(mκ)] with n = (σ_n/σ_m)m of perfect correlation
        pair = lambda z: scipy.stats.norm.pdf(z) * overlap / scale * z * np.tanh(scale * kappa * z)  # noqa: E731
        return scipy.integrate.quad(pair, -12, 12, epsabs=1e-13, epsrel=1e-13)[0] - kappa

    # quadrature asked for 1e-13
    assert abs(field(1.0)) < 1e-11
    slope = (field(1 + 1e-4) - field(1 - 1e-4)) / 2e-4
    # a central difference of step 1e-4 errs by its square
    np.testing.assert_allclose(-1 / slope, law.relaxation[0], rtol=1e-6)


def test_slow_attractors_relax_twice_as_fast_as_the_origin_repels() -> None:
    law = latent.bistable_statistics((1e4,))
    # κ' = (κ - κ³)/τ_lat up to terms of order 1/β
    np.testing.assert_allclose(law.relaxation[0] / 1e4, 0.5, rtol=3e-3)
    np.testing.assert_allclose(law.embedding_scale[0] ** 2 * (1 + 1e4), 1, rtol=3e-3)


def test_rescaling_makes_the_growth_rate_exact() -> None:
    drawn = latent.bistable_unit(500, slowness=100.0, key=rc.key(0))
    rescaled = latent.bistable_unit(500, slowness=100.0, key=rc.key(0), method="rescaled")
    of = lambda unit: float(np.asarray(unit.encoding @ unit.embedding)[0, 0]) - 1  # noqa: E731
    # a sum over 500 neurons, less 1
    np.testing.assert_allclose(of(rescaled), 0.01, rtol=1e-11)
    assert abs(of(drawn) - 0.01) > 1e-3


def test_fitted_units_of_hundreds_are_as_slow_as_one_likes() -> None:
    unit = latent.bistable_unit(200, slowness=1000.0, key=rc.key(1), method="least squares")
    m, n = np.asarray(unit.embedding)[:, 0], np.asarray(unit.encoding)[0]
    kappa = np.linspace(-1.31, 1.37, 40)
    found = (np.tanh(np.outer(kappa, m)) @ n - kappa) * 1000
    # the fit leaves 1e-6 of the field, of which the slow part is a thousandth
    np.testing.assert_allclose(found, kappa - kappa**3, atol=5e-3)
    # 10⁶ sampled neurons have no sign to rely upon at this slowness
    assert latent.growth_rate_error(10**6, slowness=1000.0) > 1


def products(rng: np.random.Generator, draws: int, size: int, slowness: float, correlation: float) -> np.ndarray:
    """Products mn of Gaussian pairs; their scales do not matter, so both are the same."""
    first, second = rng.normal(size=(2, draws, size))
    return first * (correlation * first + np.sqrt(1 - correlation**2) * second) * (1 + 1 / slowness) / correlation


@pytest.mark.parametrize("correlation", [0.5, 1.0])
def test_growth_rates_of_sampled_neurons_err_as_the_law_says(correlation: float) -> None:
    rng = np.random.default_rng(0)
    for size in (100, 400):
        pairs = products(rng, 2000, size, 10.0, correlation).mean(1)
        measured = np.sqrt(np.mean(((pairs - 1) * 10.0 - 1) ** 2))
        # three standard errors of a root mean square of 2000 draws are 5 %
        np.testing.assert_allclose(
            measured, latent.growth_rate_error(size, slowness=10.0, correlation=correlation), rtol=0.05
        )


def test_sampled_errors_stand_beside_their_laws() -> None:
    found = latent.sample_growth_rates((50, 200), slowness=5.0, correlation=0.7, draws=1500, key=rc.key(4))
    # four standard errors of a root mean square of 1500 draws
    np.testing.assert_allclose(found.measured, found.law, rtol=0.075)
    # as for wrong signs below: the skew of a mean of fifty products is a few percent
    np.testing.assert_allclose(found.flipped, found.flip_law, atol=0.06)


def test_seen_in_part_the_growth_rate_errs_less_the_more_is_seen() -> None:
    pairs = products(np.random.default_rng(1), 2000, 500, 10.0, 1.0)
    for observed in (50, 250, 450):
        measured = np.sqrt(np.mean((pairs[:, :observed].mean(1) - pairs.mean(1)) ** 2)) * 10.0
        law = latent.partial_observation_error(observed, size=500, slowness=10.0)
        # as above
        np.testing.assert_allclose(measured, law, rtol=0.05)
    assert latent.partial_observation_error(500, size=500, slowness=10.0) == 0
    infinite = latent.partial_observation_error(50, size=np.inf, slowness=10.0)
    # the law of sampling is that of seeing some of infinitely many: rounding
    np.testing.assert_allclose(infinite, latent.growth_rate_error(50, slowness=10.0), rtol=1e-14)


def test_the_slope_of_partial_observation_is_a_derivative() -> None:
    for share in (0.01, 0.5, 0.9):
        low, high = (latent.partial_observation_error(1e6 * share * f, size=1e6, slowness=5.0) for f in (0.999, 1.001))
        # a central difference of step 1e-3, steep near 1: its square times ten squares
        slope = np.log(high / low) / np.log(1.001 / 0.999)
        np.testing.assert_allclose(latent.partial_observation_slope(share), slope, rtol=2e-4)


def test_an_error_bar_says_whether_a_sign_is_known() -> None:
    unit = latent.bistable_unit(20_000, slowness=10.0, key=rc.key(2))
    m, n = np.asarray(unit.embedding)[:, 0], np.asarray(unit.encoding)[0] * 20_000
    found = latent.growth_rate(m, n, observed=(100, 2_000, 20_000), size=20_000)
    assert found.statuses[found.status[0]] == "undecided"
    assert found.status[2] == 0
    assert found.standard_error[2] == 0
    # pairs of perfect correlation: E[mn] by the first 2000 alone; a standard error by two routes that share the sample
    np.testing.assert_allclose(found.rate[1], np.mean(m[:2000] * n[:2000]) - 1, rtol=1e-12)
    np.testing.assert_allclose(found.standard_error, found.law, rtol=0.3, atol=1e-12)


def test_a_rate_that_is_no_number_or_zero_is_not_decided() -> None:
    m = np.array([1.0, 2.0, np.nan])
    for pairs in ((m, np.ones(3)), (np.ones(3), np.ones(3))):
        found = latent.growth_rate(*pairs)
        assert found.statuses[found.status[0]] == "undecided"


def test_single_precision_makes_no_statistics() -> None:
    with jax.enable_x64(False), pytest.raises(ValueError, match="needs float64"):
        latent.bistable_statistics((1000.0,))


def test_wrong_signs_are_as_frequent_as_said() -> None:
    assert latent.sign_flip_probability(0.0) == 0
    wrong = products(np.random.default_rng(3), 4000, 100, 10.0, 1.0).mean(1) < 1
    expected = latent.sign_flip_probability(latent.growth_rate_error(100, slowness=10.0))
    # four standard errors of a share of 4000, and the skew of a mean of a hundred products
    np.testing.assert_allclose(wrong.mean(), expected, atol=0.05)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: latent.bistable_unit(10, slowness=-1.0, key=rc.key(0)), "`slowness` must be a finite"),
        (lambda: latent.bistable_unit(10**6, slowness=1.0, key=rc.key(0), method="least squares"), "at most 10000"),
        (
            lambda: latent.bistable_unit(4, slowness=1.0, correlation=0.01, key=rc.key(1), method="rescaled"),
            "too far to be rescaled",
        ),
        (lambda: latent.bistable_statistics((1.0,), phi="relu"), "`phi` must be one of tanh, erf"),
        (lambda: latent.bit_memory(1, 10, key=rc.key(0), samples=-1), "`samples` must be a whole"),
        (lambda: latent.growth_rate_error(10, slowness=1.0, correlation=0.0), "`correlation` must lie in"),
        (lambda: latent.partial_observation_error(10, size=5, slowness=1.0), "`observed` must not exceed"),
        (lambda: latent.partial_observation_slope(1.0), "`share` must lie between"),
        (lambda: latent.growth_rate(np.ones(1), np.ones(1)), "2 neurons or more"),
        (lambda: latent.growth_rate(np.ones(3), np.ones(3), observed=(9,)), "`observed` must lie in 2"),
        (lambda: latent.sign_flip_probability(-1.0), "`cv` must not be negative"),
    ],
)
def test_what_cannot_be_designed_is_refused(call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call()


def test_memories_keep_what_pulses_tell_them() -> None:
    bits = latent.bit_memory(2, 100, key=rc.key(0), samples=1000)
    inputs = np.zeros((1, 60, 2))
    inputs[0, [2, 20, 40]] = [1, -1], [-1, 0], [0, 1]
    signs = np.sign(np.asarray(latent.rollout(bits, inputs, jnp.zeros((1, 2))).kappa)[0])
    np.testing.assert_array_equal(signs[[19, 39, 59]], [[1, -1], [-1, -1], [-1, 1]])


@pytest.mark.slow
def test_a_line_of_states_adds_up_pulses() -> None:
    line = latent.line_memory(100, key=rc.key(0), samples=1000)
    sums = np.zeros((1, 60, 1))
    sums[0, [2, 20], 0] = 0.7, -0.3
    path = np.asarray(latent.rollout(line, sums, jnp.zeros((1, 1))).kappa)[0, :, 0]
    # the fit leaves a few 1e-5 a step
    np.testing.assert_allclose(path[[3, 19, 21, 59]], [0.7, 0.7, 0.4, 0.4], atol=2e-3)
