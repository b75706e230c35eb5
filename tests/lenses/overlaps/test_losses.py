"""Responses and losses in closed form, against simulation, quadrature, exponentials and SciPy."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
from tests.lenses.overlaps.prescribed import DT, RANK1, RANK2, WIDE, impulses, simulate, some_overlaps, some_vectors

from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov

AMPLITUDE, RATE, STEPS = 1.0, 0.2, 50


@functools.cache
def response(layout: ov.Layout) -> tuple[np.ndarray, np.ndarray]:
    """Overlaps, and the outputs (input, time, o) of a full network that has them to impulses."""
    s = some_overlaps(layout)
    theta = some_vectors(layout, 40, 5)
    return s, np.asarray(jax.jit(jax.vmap(lambda x: simulate(theta, layout, x)))(jnp.asarray(impulses(layout, STEPS))))


def test_the_kernel_is_the_impulse_response_of_the_full_network() -> None:
    layout = WIDE
    s, outputs = response(layout)
    kernel = ov.kernel(jnp.asarray(s), layout, STEPS, DT)
    # fifty steps of rounding
    np.testing.assert_allclose(kernel.transpose(2, 0, 1), outputs, rtol=0, atol=1e-12)


def test_the_transfer_function_is_the_transform_of_the_response() -> None:
    layout = WIDE
    s = some_overlaps(layout)
    # far enough outside the unit circle for a sum of 50 terms to have converged to 1.8^-50
    frequencies = 1.8 * np.exp(1j * np.array([0.0, 0.4, 2.0]))
    _, outputs = response(layout)
    expected = DT * np.einsum("fn,ino->foi", frequencies[:, None] ** -np.arange(STEPS), outputs)
    found = ov.transfer(jnp.asarray(s), layout, jnp.asarray(frequencies), DT)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_the_transfer_function_of_a_flow_is_that_of_the_paper() -> None:
    s = ov.matrix(RANK1, {"z·m": 0.3, "z·u": 0.5, "v·m": 0.4, "v·u": 0.6})
    frequencies = jnp.array([0.3 + 0.7j, 2.0j])
    leak = 1 / (1 + frequencies)
    expected = leak * (0.3 + 0.5 * 0.4 / (1 + frequencies - 0.6))
    # two divisions
    np.testing.assert_allclose(
        ov.transfer(jnp.asarray(s), RANK1, frequencies)[:, 0, 0], expected, rtol=1e-14, atol=1e-15
    )


@pytest.mark.parametrize("coupling", [0.6, 1e-9, 0.0])
def test_the_kernel_of_rank_1_has_no_singularity(coupling: float) -> None:
    s = ov.matrix(RANK1, {"z·m": 0.3, "z·u": 0.5, "v·m": 0.4, "v·u": coupling})
    times = jnp.linspace(0.0, 5.0, 6)
    product = 0.2
    # (b/λ)(e^{λt} - 1) without cancellation
    grown = product * times if coupling == 0 else product / coupling * np.expm1(coupling * times)
    expected = np.exp(-times) * (0.3 + grown)
    # a matrix exponential: rounding
    np.testing.assert_allclose(ov.kernel(jnp.asarray(s), RANK1, times)[:, 0, 0], expected, rtol=0, atol=1e-14)


def exponentials(s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rates, step factors and weights of the error k - k* of rank 1 as a sum of exponentials."""
    zm, zu, vm, vu = s[0, 2], s[0, 3], s[1, 2], s[1, 3]
    weights = np.array([zm - zu * vm / vu, zu * vm / vu, -AMPLITUDE])
    return np.array([1, 1 - vu, RATE]), np.array([1 - DT, 1 - DT + DT * vu, np.exp(-RATE * DT)]), weights


@pytest.mark.parametrize("dt", [None, DT])
@pytest.mark.parametrize(("duration", "kind"), [(None, "impulse"), (5.0, "impulse"), (5.0, "white")])
def test_losses_of_rank_1_are_sums_of_exponentials(dt: float | None, duration: float | None, kind: Any) -> None:
    s = some_overlaps(RANK1)
    rates, factors, weights = exponentials(s)
    if dt is None:
        r = rates[:, None] + rates[None, :]
        decayed = 1 if duration is None else 1 - np.exp(-r * duration)
        terms = decayed / r
        if duration is not None and kind == "white":
            terms = 1 / r - decayed / (r**2 * duration)
    else:
        q = factors[:, None] * factors[None, :]
        steps = np.inf if duration is None else round(duration / dt)
        terms = dt * (1 - q**steps) / (1 - q)
        if duration is not None and kind == "white":
            terms -= dt * q * (1 - steps * q ** (steps - 1) + (steps - 1) * q**steps) / (steps * (1 - q) ** 2)
    expected = weights @ terms @ weights
    loss = ov.FilterLoss(ov.exponential(AMPLITUDE, RATE), RANK1, dt, duration, kind)(jnp.asarray(s))
    # the exponentials lose digits to their small denominators
    assert float(loss) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("kind", ["impulse", "white"])
def test_losses_of_any_rank_are_those_of_the_full_network(kind: Any) -> None:
    s, outputs = response(WIDE)
    target = ov.StateSpace(jnp.diag(jnp.array([-0.3, -0.7])), jnp.eye(2), jnp.array([[1.0, -0.5], [0.4, 0.8]]))
    wanted = np.exp(-DT * np.arange(STEPS)[:, None] * np.array([0.3, 0.7]))[:, None, :] * np.asarray(target.output)
    squares = ((outputs - wanted.transpose(2, 0, 1)) ** 2).sum((0, 2))
    weights = 1 - np.arange(STEPS) / STEPS if kind == "white" else np.ones(STEPS)
    loss = ov.FilterLoss(target, WIDE, DT, STEPS * DT, kind)(jnp.asarray(s))
    # sums of fifty squares in another order
    assert float(loss) == pytest.approx(DT * squares @ weights, rel=1e-11)


def test_the_loss_of_white_noise_is_its_average_over_trials() -> None:
    s, duration = some_overlaps(RANK2), 2.0
    target = ov.damped_oscillator(0.3, 2.0)
    loss = ov.FilterLoss(target, RANK2, DT, duration, "white")
    steps = loss.steps
    # one unit pulse at each instant: noise is a sum of them, independent, of variance 1/dt
    pulses = jnp.asarray(np.eye(steps)[:, :, None])
    wanted = np.exp(-0.3 * DT * np.arange(steps)) * np.cos(2 * DT * np.arange(steps))
    outputs = np.asarray([ov.respond(jnp.asarray(s), RANK2, x, DT) for x in pulses])[..., 0]
    shifted = DT * scipy.linalg.toeplitz(wanted, np.zeros(steps)).T
    expected = ((outputs - shifted) ** 2).sum() / DT / steps
    # rounding
    assert float(loss(jnp.asarray(s))) == pytest.approx(expected, rel=1e-11)


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["impulse", "white"])
def test_losses_of_a_flow_are_integrals(kind: Any) -> None:
    s, duration = some_overlaps(RANK2), 3.0
    loss = ov.FilterLoss(ov.damped_oscillator(0.3, 2.0), RANK2, None, duration, kind)
    system = ov.state_space(jnp.asarray(s), RANK2)
    f, g, c = (np.asarray(x) for x in (system.transition, system.input, system.output))

    def integrand(t: float) -> float:
        error = (c @ scipy.linalg.expm(f * t) @ g)[0, 0] - np.exp(-0.3 * t) * np.cos(2 * t)
        return error**2 * (1 - t / duration if kind == "white" else 1)

    # adaptive quadrature, asked for 1e-12
    expected = scipy.integrate.quad(integrand, 0, duration, epsabs=1e-13, epsrel=1e-12)[0]
    assert float(loss(jnp.asarray(s))) == pytest.approx(expected, rel=1e-11)


@pytest.mark.oracle
@pytest.mark.parametrize("dt", [None, DT])
def test_stationary_losses_and_gradients_by_lyapunov_equations(dt: float | None) -> None:
    s = jnp.asarray(some_overlaps(RANK2))
    loss = ov.FilterLoss(ov.damped_oscillator(0.3, 2.0), RANK2, dt)
    error = loss.error_system(s)
    f, g, c = (np.asarray(x) for x in (error.transition, error.input, error.output))
    if dt is None:
        gramian = scipy.linalg.solve_continuous_lyapunov(f, -g @ g.T)
    else:
        gramian = scipy.linalg.solve_discrete_lyapunov(f, g @ g.T) / dt
    # two solvers of one linear system
    assert float(loss(s)) == pytest.approx(np.trace(c @ gramian @ c.T), rel=1e-11)
    # a closed form and automatic differentiation of another solver
    np.testing.assert_allclose(ov.lyapunov_gradient(loss, s), ov.symmetric_gradient(loss, s), rtol=1e-9, atol=1e-12)


def test_an_infinite_loss_is_said_to_be_infinite() -> None:
    s = jnp.asarray(ov.matrix(RANK1, {"v·u": 1.2}, diagonal=2.0))
    target = ov.exponential(AMPLITUDE, RATE)
    for dt in (None, DT):
        assert jnp.isinf(ov.FilterLoss(target, RANK1, dt)(s))
        assert jnp.isfinite(ov.FilterLoss(target, RANK1, dt, 5.0)(s))


def test_the_loss_is_zero_on_the_solutions_of_the_filter() -> None:
    rate = (1 - np.exp(-RATE * DT)) / DT
    for dt, coupling in ((None, 1 - RATE), (DT, 1 - rate)):
        s = ov.matrix(RANK1, {"z·m": 1.0, "z·u": 2 * coupling, "v·m": 0.5, "v·u": coupling}, diagonal=4.0)
        # a difference of numbers of order 1
        assert abs(ov.FilterLoss(ov.exponential(1.0, RATE), RANK1, dt, 5.0)(jnp.asarray(s))) < 1e-14


def test_arguments_that_do_not_fit_are_refused() -> None:
    target = ov.exponential(1.0, 0.2)
    with pytest.raises(InputError, match="no whole number of steps"):
        ov.FilterLoss(target, RANK1, DT, 1.25)
    with pytest.raises(InputError, match="the target has 1 inputs"):
        ov.FilterLoss(target, WIDE, DT, 1.0)
    with pytest.raises(InputError, match="leave `duration` None"):
        ov.lyapunov_gradient(ov.FilterLoss(target, RANK1, DT, 1.0), jnp.eye(4))
    with pytest.raises(InputError, match="number of steps"):
        ov.kernel(jnp.eye(4), RANK1, jnp.zeros(3), DT)
