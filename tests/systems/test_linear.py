from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import Dense, DiagonalMap, LinearMap

jacobian = eqx.filter_jit(lambda system, x, u: jax.jacfwd(system.step)(x, u))
eigenvalues_of = eqx.filter_jit(lambda system: system.eigenvalues)


@pytest.mark.parametrize("rank", [None, 2])
def test_impulse_response_is_powers_of_the_matrix(rank, getkey):
    net: Any = rc.systems.linear(6, inputs=3, outputs=2, key=getkey(), rank=rank)
    inputs = np.zeros((3, 8, 3))
    inputs[np.arange(3), 0, np.arange(3)] = 1
    states = np.asarray(rc.systems.simulate(net, jnp.asarray(inputs)).states)
    matrix, columns = np.asarray(net.system.connectivity.dense()), np.asarray(net.system.input_weights)
    for k in range(8):
        # eight products of 6 × 6 matrices of norm near one
        np.testing.assert_allclose(states[:, k], (np.linalg.matrix_power(matrix, k) @ columns).T, atol=1e-13)


@pytest.mark.oracle
def test_diagonal_is_the_complex_recurrence(getkey, draw):
    net: Any = rc.systems.diagonal(5, inputs=2, outputs=1, key=getkey())
    s, inputs = net.system, draw(1, 30, 2)
    out: Any = jax.device_get(rc.systems.simulate(net, inputs))
    eigenvalues = np.exp(-np.exp(s.log_decay) + 1j * np.exp(s.log_phase))
    weights = np.exp(s.log_scale)[:, None] * (np.asarray(s.input_real) + 1j * np.asarray(s.input_imag))
    real, imaginary = np.split(np.asarray(net.readout.weight), 2, axis=1)
    readout = real - 1j * imaginary
    z = np.zeros(5, complex)
    for k in range(30):
        z = eigenvalues * z + weights @ out.inputs[0, k]
        # thirty steps of numbers of order one
        np.testing.assert_allclose(out.states[0, k], np.concatenate([z.real, z.imag]), atol=1e-13)
        np.testing.assert_allclose(out.outputs[0, k], (readout @ z).real, atol=1e-13)


def test_diagonal_has_its_eigenvalues_and_their_conjugates(getkey):
    system: Any = rc.systems.diagonal(5, inputs=2, outputs=1, key=getkey()).system
    spectrum = np.linalg.eigvals(jacobian(system, jnp.zeros(10), jnp.zeros(2)))
    eigenvalues = np.asarray(eigenvalues_of(system))
    expected = np.concatenate([eigenvalues, np.conj(eigenvalues)])
    # a normal matrix: eigenvalues are as exact as its entries
    np.testing.assert_allclose(np.sort_complex(spectrum), np.sort_complex(expected), atol=1e-13)


# below -36 the modulus rounds to 1 in float64
@given(log_decay=st.floats(-30, 10), log_phase=st.floats(-10, 10))
def test_every_eigenvalue_lies_inside_the_unit_circle(log_decay, log_phase):
    one = jnp.ones((1, 1))
    system = DiagonalMap(jnp.array([log_decay]), jnp.array([log_phase]), jnp.zeros(1), one, one)
    matrix = np.asarray(jacobian(system, jnp.zeros(2), jnp.zeros(1)))
    # cos² + sin² rounds by up to 2e-16, more than what the smallest decay leaves
    assert np.abs(np.linalg.det(matrix)) < 1 + 1e-15
    assert np.abs(eigenvalues_of(system))[0] < 1


@pytest.mark.oracle
def test_white_input_gives_every_mode_the_variance_of_its_input_weights(getkey):
    s: Any = rc.systems.diagonal(5, inputs=2, outputs=1, key=getkey()).system
    step = jacobian(s, jnp.zeros(10), jnp.zeros(2))
    drive = np.asarray(jax.jit(jax.jacfwd(s.step, argnums=1))(jnp.zeros(10), jnp.zeros(2)))
    variances = np.diag(scipy.linalg.solve_discrete_lyapunov(np.asarray(step), drive @ drive.T))
    weights = (np.asarray(s.input_real) ** 2 + np.asarray(s.input_imag) ** 2).sum(1)
    # the slowest mode has modulus 0.99, which costs the Lyapunov solve two digits
    np.testing.assert_allclose(variances[:5] + variances[5:], weights, rtol=1e-10)


def test_initial_eigenvalues_fill_the_ring_that_was_asked_for(getkey):
    s: Any = rc.systems.diagonal(4000, inputs=1, outputs=1, key=getkey(), moduli=(0.6, 0.9), max_phase=1.0).system
    eigenvalues = np.asarray(eigenvalues_of(s))
    modulus, phase = np.abs(eigenvalues), np.angle(eigenvalues)
    # one rounding each way through the logarithms
    assert 0.6 - 1e-12 <= modulus.min() <= modulus.max() <= 0.9 + 1e-12
    assert 0 < phase.min() <= phase.max() <= 1
    # means of 4000 uniform draws: 4 standard errors, widths 0.45 and 1 over sqrt(12)
    assert abs((modulus**2).mean() - (0.36 + 0.81) / 2) < 4 * 0.45 / np.sqrt(12 * 4000)
    assert abs(phase.mean() - 0.5) < 4 / np.sqrt(12 * 4000)


def test_a_full_random_matrix_has_the_spectral_radius_of_its_gain(getkey):
    net: Any = rc.systems.linear(200, inputs=1, outputs=1, key=getkey(), gain=0.9)
    radius = np.abs(np.linalg.eigvals(net.system.connectivity.dense())).max()
    # circular law: edge fluctuations are of order N^-1/2
    assert abs(radius - 0.9) < 0.9 * 2 / np.sqrt(200)


@pytest.mark.parametrize("moduli", [(0.9, 0.5), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5), (float("nan"), 0.5)])
def test_moduli_that_are_no_ring_are_refused(moduli, getkey):
    with pytest.raises(InputError, match="`moduli` must be two numbers"):
        rc.systems.diagonal(4, inputs=1, outputs=1, key=getkey(), moduli=moduli)


def test_arguments_that_do_not_fit_are_named(getkey):
    with pytest.raises(InputError, match="`input_weights` must have shape"):
        LinearMap(Dense(jnp.eye(3)), jnp.zeros((4, 2)))
    with pytest.raises(InputError, match="`dt`"):
        LinearMap(Dense(jnp.eye(3)), jnp.zeros((3, 2)), dt=-1.0)
    with pytest.raises(InputError, match="`max_phase`"):
        rc.systems.diagonal(4, inputs=1, outputs=1, key=getkey(), max_phase=0.0)


@pytest.mark.oracle
def test_modes_held_over_a_step_are_the_solution_of_their_equation():
    rates, drive = jnp.asarray([-0.5 + 1.0j, -0.2 + 3.0j]), jnp.asarray([[1.0 + 0.5j], [0.3 - 1.0j]])
    system = rc.systems.zero_order_hold(rates, drive, interval=jnp.asarray([0.3, 0.7]))
    z, inputs = np.zeros(2, complex), [1.0, -2.0, 0.5]
    state = jnp.zeros(4)
    for u in inputs:
        for i in range(2):
            # SciPy's exponential of [[A, B], [0, 0]] holds both the mode and its answer to a constant input
            block = scipy.linalg.expm(float([0.3, 0.7][i]) * np.array([[rates[i], drive[i, 0]], [0, 0]]))
            z[i] = block[0, 0] * z[i] + block[0, 1] * u
        state = system.step(state, jnp.asarray([u]))
        # a matrix exponential to rounding
        np.testing.assert_allclose(state, np.concatenate([z.real, z.imag]), rtol=1e-12, atol=1e-14)


def test_every_input_of_a_structured_network_has_modes_of_its_own(getkey):
    system: Any = rc.systems.s4d(6, inputs=2, outputs=1, key=getkey(), intervals=(0.1, 0.2)).system
    there = (np.asarray(system.input_real) ** 2 + np.asarray(system.input_imag) ** 2) > 0
    np.testing.assert_array_equal(there, np.tile(np.eye(2, dtype=bool), (3, 1)))
    # each decays at half a unit of its own interval, and turns by odd multiples of π/2 of it
    decay, phase = np.exp(system.log_decay), np.exp(system.log_phase)
    np.testing.assert_allclose(phase / decay, np.pi * np.repeat([1, 3, 5], 2), rtol=1e-12)
    assert ((decay >= 0.05) & (decay <= 0.1)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: rc.systems.zero_order_hold(jnp.asarray([0.5 + 1j]), jnp.ones((1, 1), complex), interval=1.0),
            "negative",
        ),
        (
            lambda: rc.systems.zero_order_hold(jnp.asarray([-0.5 + 1j]), jnp.ones((1, 1), complex), interval=0.0),
            "inter",
        ),
        (lambda: rc.systems.s4d(2, inputs=1, outputs=1, key=rc.key(0), intervals=(0.0, 1.0)), "`intervals` must be"),
    ],
)
def test_modes_that_grow_and_intervals_of_no_length_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
