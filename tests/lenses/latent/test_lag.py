"""Rates that follow the tuning of slow variables: a solver, the closed form of a ramp, and both bounds."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from recurvature import latent
from recurvature._errors import InputError
from recurvature.lenses.latent.lag import STEEPEST
from recurvature.systems.activations import ACTIVATIONS

N, K, TAU = 15, 2, 0.6


def made(phi="tanh", **options):
    rng = np.random.default_rng(3)
    m, n, w, b = (rng.standard_normal(shape) for shape in ((N, K), (N, K), (N, 1), (N,)))
    return latent.from_mean_convention(m, n, input_weights=w, bias=b, phi=phi, tau=TAU, **options)


def turning(t):
    return np.stack([np.sin(t), 0.5 * np.cos(2 * t)], axis=-1)


def test_rates_are_those_of_a_solver_and_within_both_bounds():
    unit, u = made(), np.array([0.7])
    m, w, b = (np.asarray(a) for a in (unit.embedding, unit.flow.input_weights, unit.flow.bias))
    start = np.random.default_rng(4).standard_normal(N)
    tuning = lambda t: np.tanh(turning(t) @ m.T + w @ u + b)  # noqa: E731
    run = solve_ivp(lambda t, r: (tuning(t) - r) / TAU, (0, 3), start, rtol=1e-10, atol=1e-12)
    errors = []
    for count in (60, 120):
        times = np.linspace(0, 3, count + 1)
        found = latent.tuning_lag(unit, turning(times), times, u=u, start=start)
        errors.append(np.abs(found.rates[-1] - run.y[:, -1]).max())
        # the tuning by NumPy: rounding
        np.testing.assert_allclose(found.rates - found.lag, tuning(times), atol=1e-14)
        np.testing.assert_allclose(found.departure, found.rates - tuning(times[0]), atol=1e-14)
        # the theorems, to rounding
        assert (np.abs(found.lag) <= found.bound + 1e-14).all()
        assert (np.abs(found.departure) <= found.departure_bound + 1e-14).all()
        pairs = turning(times)[:, None] - turning(times)
        assert found.stability == pytest.approx(np.linalg.norm(pairs, axis=-1).max(), rel=1e-14)
    # a tuning that bends is taken as straight: second order in the spacing; the next order is a few per cent of it
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert errors[1] < 1e-3


def test_a_linear_unit_on_a_ramp_along_its_weights_meets_the_bound():
    unit = latent.from_mean_convention(np.array([[0.6, -0.8]]), np.ones((1, 2)), phi="identity", tau=TAU, dt=0.1)
    times = np.linspace(0, 4, 9)
    found = latent.tuning_lag(unit, times[:, None] * np.array([0.3, -0.4]), times)
    # m is of length 1, the speed 1/2
    wanted = 0.5 * TAU * (1 - np.exp(-times / TAU))
    np.testing.assert_allclose(found.lag[:, 0], -wanted, atol=1e-14)
    np.testing.assert_allclose(found.bound[:, 0], wanted, atol=1e-14)


def test_a_jump_to_where_the_variables_stay_fades_and_meets_the_other_bound():
    unit = latent.from_mean_convention(np.array([[2.0]]), np.ones((1, 1)), phi="identity", tau=TAU)
    times = np.linspace(0, 3, 7)
    held = latent.tuning_lag(unit, np.full((7, 1), 0.5), times, start=np.array([3.0]))
    np.testing.assert_allclose(held.departure[:, 0], 2 * np.exp(-times / TAU), atol=1e-14)
    np.testing.assert_allclose(held.departure_bound, held.departure, atol=1e-14)
    assert held.stability == 0


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_steepest_slope_of_every_activation(name):
    # a maximum of the slope is missed by its curvature there, at most 2, times a sixth of the spacing's square
    x = np.linspace(-40, 40, 400_001)
    slope = np.diff(np.asarray(ACTIVATIONS[name](jnp.asarray(x)))) / np.diff(x)
    assert slope.max() == pytest.approx(STEEPEST[name], abs=2e-8)


def test_what_has_no_lag_of_rates_is_refused():
    times, path = np.arange(3.0), np.zeros((3, K))
    with pytest.raises(InputError, match="current form"):
        latent.tuning_lag(made(form="current"), path, times)
    with pytest.raises(InputError, match="`times` must be 2 or more that rise"):
        latent.tuning_lag(made(), path, times[::-1])
    with pytest.raises(InputError, match="`lipschitz` is needed"):
        latent.tuning_lag(made(jnp.sin), path, times)
    assert latent.tuning_lag(made(jnp.sin), path, times, lipschitz=1.0).lipschitz == 1
