"""Losses under inputs that go on for ever: correlated noise against spectra and sums, sinusoids against runs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from tests.lenses.overlaps.prescribed import DT, RANK1, RANK2, run, some_overlaps, some_vectors

from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov

TARGET = ov.exponential(1.0, 0.2)
CORRELATION = 0.7


def error_at(s: np.ndarray, frequency: float) -> complex:
    """The transfer function of the error of rank 1, as the paper writes it."""
    leak = 1 + 1j * frequency
    return (s[0, 2] + s[0, 3] * s[1, 2] / (leak - s[1, 3])) / leak - 1 / (0.2 + 1j * frequency)


def error_in_steps(s: np.ndarray, steps: int) -> np.ndarray:
    """The impulse response of the error of rank 1, stepped by hand."""
    first, second, kernel = 1.0, 0.0, []
    for _ in range(steps):
        kernel.append(s[0, 2] * first + s[0, 3] * second)
        first, second = (1 - DT) * first, (1 - DT) * second + DT * (s[1, 2] * first + s[1, 3] * second)
    return np.array(kernel) - np.exp(-0.2 * DT * np.arange(steps))


def test_correlated_noise_weighs_the_spectrum_of_the_error() -> None:
    s = some_overlaps(RANK1)
    found = ov.FilterLoss(TARGET, RANK1, correlation=CORRELATION)(jnp.asarray(s))

    def density(frequency: float) -> float:
        return abs(error_at(s, frequency)) ** 2 / (1 + (CORRELATION * frequency) ** 2) / np.pi

    expected = scipy.integrate.quad(density, 0, np.inf, epsabs=1e-13, epsrel=1e-12, limit=400)[0]
    # a quadrature asked for 1e-12
    assert float(found) == pytest.approx(expected, rel=1e-10)
    # which is less than that of white noise, by much: correlation was felt
    assert float(found) < 0.9 * float(ov.FilterLoss(TARGET, RANK1)(jnp.asarray(s)))


def test_correlated_noise_in_steps_is_a_convolution() -> None:
    s = some_overlaps(RANK1)
    loss = ov.FilterLoss(TARGET, RANK1, DT, correlation=CORRELATION)
    kept = np.exp(-DT / CORRELATION)
    # the slowest exponential falls by 0.98 a step: to 1e-17 in 2000
    response = np.convolve(error_in_steps(s, 2000), (1 - kept) * kept ** np.arange(2000))[:2000]
    assert float(loss(jnp.asarray(s))) == pytest.approx(DT * np.sum(response**2), rel=1e-11)
    # the pole is behind all others: gradients are read off at the same places
    gradient = jax.grad(loss)(jnp.asarray(s))
    # two solutions of a system of 16 equations, and their derivative
    np.testing.assert_allclose(
        ov.lyapunov_gradient(loss, jnp.asarray(s)), (gradient + gradient.T) / 2, rtol=0, atol=1e-12
    )


def test_noise_that_forgets_at_once_is_white() -> None:
    s = jnp.asarray(some_overlaps(RANK1))
    # within a step of 0.1 nothing is left of exp(-50); rounding
    short = ov.FilterLoss(TARGET, RANK1, DT, correlation=DT / 50)(s)
    assert float(short) == pytest.approx(float(ov.FilterLoss(TARGET, RANK1, DT)(s)), rel=1e-12)


def test_sinusoids_are_the_mean_square_of_a_long_run() -> None:
    period, warm = 40, 1200
    frequencies, amplitudes = 2 * np.pi / (period * DT) * np.array([1.0, 3.0]), np.array([0.8, 1.3])
    target = ov.damped_oscillator(0.3, 2.0)
    network = ov.assemble(some_vectors(RANK2, 15, 2), RANK2, dt=DT)
    time = np.arange(warm + period)
    x = np.cos(frequencies * DT * time[:, None] + np.array([0.3, 2.0])) @ amplitudes
    wanted = np.convolve(x, DT * np.exp(-0.3 * DT * time) * np.cos(2 * DT * time))[: len(time)]
    apart = run(network, x[:, None])[:, 0] - wanted
    found = ov.SinusoidLoss(target, RANK2, frequencies, amplitudes, DT)(jnp.asarray(some_overlaps(RANK2)))
    # a whole period, when 1e-15 is left of the start: rounding
    assert float(found) == pytest.approx(np.mean(apart[-period:] ** 2), rel=1e-9)


def test_sinusoids_of_a_flow_are_its_transfer_function() -> None:
    s, frequencies, amplitudes = some_overlaps(RANK1), [0.3, 2.0, 40.0], [1.0, 0.5, 2.0]
    expected = sum(a**2 * abs(error_at(s, w)) ** 2 / 2 for w, a in zip(frequencies, amplitudes, strict=True))
    loss = ov.SinusoidLoss(TARGET, RANK1, frequencies, amplitudes)
    # divisions of numbers of order 1
    assert float(loss(jnp.asarray(s))) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_sinusoids_do_not_see_invisible_overlaps() -> None:
    loss, s = ov.SinusoidLoss(TARGET, RANK1, [0.3, 2.0], [1.0, 0.5]), some_overlaps(RANK1)
    gamma = ov.to_pairs(ov.symmetric_gradient(loss, jnp.asarray(s)), RANK1)
    # zero, not small: they do not enter
    assert (gamma[~RANK1.visible("linear")] == 0).all()
    assert (gamma[RANK1.visible("linear")] != 0).all()


def test_what_has_no_stationary_loss_is_infinite() -> None:
    unstable = jnp.asarray(ov.matrix(RANK1, {"v·u": 1.2}, diagonal=2.0))
    for loss in (
        ov.SinusoidLoss(TARGET, RANK1, [0.3], [1.0]),
        ov.FilterLoss(TARGET, RANK1, DT, correlation=CORRELATION),
    ):
        assert float(loss(unstable)) == np.inf


@pytest.mark.parametrize(
    ("frequencies", "amplitudes", "message"),
    [
        ([0.0], [1.0], "all different, above 0"),
        ([1.0, 1.0], [1.0, 2.0], "all different"),
        ([40.0], [1.0], "below 31.42"),
        ([1.0], [1.0, 2.0], "as many finite numbers"),
    ],
)
def test_sinusoids_that_make_no_sense_are_refused(frequencies: Any, amplitudes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ov.SinusoidLoss(TARGET, RANK1, frequencies, amplitudes, DT)


def test_correlation_needs_a_stationary_loss() -> None:
    with pytest.raises(InputError, match="leave `duration` None"):
        ov.FilterLoss(TARGET, RANK1, DT, 5.0, correlation=1.0)
    with pytest.raises(InputError, match="`correlation` must be"):
        ov.FilterLoss(TARGET, RANK1, DT, correlation=-1.0)
