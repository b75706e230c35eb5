"""Latent variables without rates: beside all the neurons, as a series, and in the limit of infinitely many."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import recurvature as rc
from recurvature import latent
from recurvature._errors import InputError


def random_unit(size: int, rank: int, inputs: int, *, bias: float = 0.3, **options: Any) -> latent.LatentUnit:
    rng = np.random.default_rng(5)
    m, n, w = (rng.normal(size=(size, columns)) for columns in (rank, rank, inputs))
    return latent.from_mean_convention(
        m, n + 1.5 * m, input_weights=w, bias=bias * rng.normal(size=size), dt=0.5, **options
    )


def all_neurons(unit: latent.LatentUnit, inputs: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The latent variables read from rates that are all kept, in NumPy."""
    m, n, w, b = (np.asarray(a) for a in (unit.embedding, unit.encoding, unit.flow.input_weights, unit.flow.bias))
    weights, rates = m @ n, start @ np.linalg.pinv(n).T
    path = []
    for u in inputs.swapaxes(0, 1):
        rates = 0.5 * rates + 0.5 * np.tanh(rates @ weights.T + u @ w.T + b)
        path.append(rates @ n.T)
    return np.stack(path, axis=1)


@eqx.filter_jit
def velocity(flow: latent.SmoothedFlow | latent.GaussianFlow, kappa: jax.Array, u: jax.Array) -> jax.Array:
    """One program for all strengths."""
    return flow.velocity(kappa, u)


@pytest.fixture(scope="module")
def pair() -> latent.LatentUnit:
    """Two variables, one input, biases, and an odd number of neurons."""
    return random_unit(1003, 2, 1)


def test_without_rates_the_variables_are_those_of_all_neurons(pair: latent.LatentUnit) -> None:
    rng = np.random.default_rng(0)
    inputs, start = rng.normal(size=(3, 30, 1)), rng.normal(size=(3, 2))
    found = latent.rollout(pair, inputs, start)
    # 30 steps of sums over 1003 neurons in another order
    np.testing.assert_allclose(found.kappa, all_neurons(pair, inputs, start), atol=1e-12)
    np.testing.assert_allclose(found.time[[0, -1]], [0.5, 15.0])
    assert (np.asarray(found.status) == 0).all()


def test_float64_sums_of_float32_products_round_less() -> None:
    unit = random_unit(5000, 1, 0, bias=0.0)
    inputs, start = np.zeros((1, 1, 0)), np.ones((1, 1))
    narrow = rc.cast(unit, jnp.float32)
    m, n = (np.asarray(a, np.float64) for a in (narrow.embedding[:, 0], narrow.encoding[0]))
    exact = 0.5 + 0.5 * float(n @ np.tanh(np.asarray(m, np.float32)).astype(np.float64))
    wide = float(latent.rollout(narrow, inputs, start, accumulator="float64").kappa[0, 0, 0])
    native = float(latent.rollout(narrow, inputs, start).kappa[0, 0, 0])
    # the result itself is float32: half a unit in the last place, and the products' own rounding averaged over 5000
    np.testing.assert_allclose(wide, exact, rtol=2e-7)
    # partial sums keep what one sum of 5000 terms would lose: some roundings, not thousands
    np.testing.assert_allclose(native, exact, rtol=2e-6)


def test_a_series_stands_for_the_neurons_at_points_it_has_not_seen() -> None:
    unit = random_unit(300, 1, 0, bias=0.0)
    series = latent.surrogate(unit, key=rc.key(0))
    assert series.odd
    assert series.statuses[series.status[0]] == "tolerance met"
    m, n = np.asarray(unit.embedding)[:, 0], np.asarray(unit.encoding)[0]
    kappa = np.random.default_rng(1).uniform(-1.5, 1.5, 200)
    angles = np.outer(np.arange(series.nodes), np.arccos(kappa / 1.5))
    guess = np.asarray(series.coefficients)[0, 0] @ np.cos(angles)
    truth = np.tanh(np.outer(kappa, m)) @ n
    # more points than were checked may be somewhat worse
    assert np.abs(guess - truth).max() < 10 * series.error[0] * np.abs(truth).max() + 1e-13
    start = np.array([[0.4], [-0.1]])
    found = latent.surrogate_rollout(series, np.zeros((2, 30), int), start)
    # the error of the field, fed back for 30 steps
    np.testing.assert_allclose(found.kappa, latent.rollout(unit, np.zeros((2, 30, 0)), start).kappa, atol=1e-8)
    # coefficients of even order of an odd field vanish: rounding
    np.testing.assert_allclose(np.asarray(series.coefficients)[0, 0, ::2], 0, atol=1e-14)


def test_a_series_of_two_variables_has_a_sheet_for_every_input(pair: latent.LatentUnit) -> None:
    series = latent.surrogate(pair, key=rc.key(0), levels=np.array([[0.0], [1.0]]), reach=4.0, nodes=48, tolerance=1e-4)
    assert not series.odd
    assert series.coefficients.shape == (2, 2, 48, 48)
    rng = np.random.default_rng(2)
    level, start = rng.integers(0, 2, (2, 30)), rng.normal(size=(2, 2))
    found = latent.surrogate_rollout(series, level, start)
    expected = all_neurons(pair, level[..., None].astype(float), start)
    # contraction or not, 30 steps feed the error of the field back; the measured one is relative to a field of about 3
    np.testing.assert_allclose(found.kappa, expected, atol=300 * float(series.error.max()))
    assert (np.asarray(found.status) == 0).all()


def test_what_leaves_the_box_is_said_to(pair: latent.LatentUnit) -> None:
    series = latent.surrogate(random_unit(300, 1, 0, bias=0.0), key=rc.key(0), reach=0.2, nodes=8, tolerance=1e-12)
    assert series.statuses[series.status[0]] == "tolerance missed"
    found = latent.surrogate_rollout(series, np.zeros((1, 30), int), np.array([[0.15]]))
    assert found.statuses[found.status[0]] == "left the domain"


def test_what_starts_outside_of_the_box_is_said_to_have_left_it() -> None:
    unit = latent.from_encoding(np.ones((1, 1)), np.zeros((1, 1)), dt=0.5)
    series = latent.surrogate(unit, key=rc.key(0), reach=1.0, nodes=2)
    # half of it is inside again after one step
    found = latent.surrogate_rollout(series, np.zeros((2, 3), int), np.array([[1.1], [0.9]]))
    assert [found.statuses[s] for s in found.status] == ["left the domain", "ok"]


def test_infinitely_many_gaussian_neurons_have_a_closed_form() -> None:
    rng = np.random.default_rng(3)
    root = rng.normal(size=(6, 6))
    covariance, mean = root @ root.T / 6, np.zeros(6)
    flow = latent.GaussianFlow(jnp.asarray(mean), jnp.asarray(covariance), 2, 1, "erf")
    c = np.array([0.4, -0.7, 0.5, 1.0])
    # E[nφ(z)] = cov(n, z) E[φ'(z)], and E[φ'] of the error function is (1 + πs²/2)^(-1/2)
    field = covariance[4:, :4] @ c / np.sqrt(1 + np.pi / 2 * c @ covariance[:4, :4] @ c) - c[:2]
    np.testing.assert_allclose(velocity(flow, jnp.asarray(c[:2]), jnp.asarray(c[2:3])), field, rtol=1e-10)


def test_many_neurons_are_near_their_gaussian_limit() -> None:
    unit = random_unit(200_000, 1, 1, bias=0.5)
    kappa, u = jnp.array([0.6]), jnp.array([0.4])
    limit = velocity(latent.gaussian_limit(unit), kappa, u)
    terms = np.asarray(unit.encoding)[0] * 200_000 * np.tanh(np.asarray(unit.currents(kappa, u)))
    # four standard errors of a mean over 200 000 neurons
    np.testing.assert_allclose(limit, unit.field(kappa, u), atol=4 * terms.std() / np.sqrt(200_000))


def test_drift_of_endless_copies_blurs_tuning() -> None:
    unit = random_unit(60, 1, 1)
    kappa, u = jnp.array([0.8]), jnp.array([0.2])
    still = latent.drift_limit(unit, 0.0)
    # the same sum with every term averaged over nodes at one place
    np.testing.assert_allclose(velocity(still, kappa, u), unit.field(kappa, u), rtol=1e-12)
    copies = latent.tile(unit, 4000)
    drift = latent.drift_direction(copies, "random", key=rc.key(0))
    moved = latent.drifted(copies, drift, 0.9)
    found = velocity(latent.drift_limit(unit, 0.9), kappa, u)
    spread = np.abs(np.asarray(unit.encoding)[0]).max() * np.sqrt(60 / 4000)
    # independent copies average to the limit: three standard errors, bounded by the largest weight
    np.testing.assert_allclose(found, moved.field(kappa, u), atol=3 * spread)
    assert abs(float(found[0] - unit.field(kappa, u)[0])) > 3 * spread


@pytest.mark.slow
def test_error_functions_blur_to_error_functions() -> None:
    unit = random_unit(40, 1, 0, phi="erf")
    kappa = jnp.array([0.8])
    currents = np.asarray(unit.currents(kappa))
    blurred = scipy.special.erf(0.5 * np.sqrt(np.pi) * currents / np.sqrt(1 + np.pi / 2 * (1.1 * 0.8) ** 2))
    # E[erf(a + bz)] = erf(a(1 + 2b²)^(-1/2)); 60 nodes keep 8 digits at this width
    found = velocity(latent.drift_limit(unit, 1.1), kappa, jnp.zeros(0))
    np.testing.assert_allclose(found, np.asarray(unit.encoding) @ blurred - 0.8, atol=1e-7)


def test_drift_and_noise_of_endless_copies_blur_together() -> None:
    """Variances add: each alone at the width of both is the same flow, and so is either with none of the other."""
    unit, nothing = random_unit(60, 1, 1), jnp.zeros(1)
    kappa = jnp.array([0.8])
    both = velocity(latent.drift_limit(unit, 0.9, noise=0.5), kappa, nothing)
    width = float(np.hypot(0.9 * 0.8, 0.5))
    # the same nodes at the same width: rounding
    np.testing.assert_allclose(velocity(latent.drift_limit(unit, width / 0.8), kappa, nothing), both, rtol=1e-12)
    alone = latent.drift_limit(unit, 0.0, noise=width)
    np.testing.assert_allclose(velocity(alone, kappa, nothing), both, rtol=1e-12)
    # by quadrature of another kind: the trapezoidal rule over ten standard deviations, 10⁻¹² for an entire weight
    z = np.linspace(-10, 10, 2001)
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    blurred = np.tanh(np.asarray(unit.currents(kappa, nothing))[:, None] + width * z) @ weight
    # 60 nodes for tanh, whose poles are pi/2 over the width of 0.88 away: six digits
    np.testing.assert_allclose(both, np.asarray(unit.encoding) @ blurred - 0.8, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda u: latent.rollout(u, np.zeros((1, 4, 2)), np.zeros((1, 2))), "`inputs` must be"),
        (lambda u: latent.rollout(latent.unit(u.flow), np.zeros((1, 4, 1)), np.zeros((1, 2))), "a step"),
        (lambda u: latent.surrogate(random_unit(20, 3, 0), key=rc.key(0)), "at most 2 here"),
        (lambda u: latent.surrogate(u, key=rc.key(0), levels=np.zeros((2, 2))), "`levels` must have shape"),
        (lambda u: latent.surrogate(rc.cast(u, jnp.float32), key=rc.key(0)), "needs float64"),
        (lambda u: latent.drift_limit(u, -1.0), "`strength` must be"),
        (lambda u: latent.drift_limit(u, 1.0, noise=-0.1), "`noise` must be"),
    ],
)
def test_what_cannot_be_followed_is_refused(call, words: str, pair: latent.LatentUnit) -> None:
    with pytest.raises((InputError, ValueError), match=words):
        call(pair)
