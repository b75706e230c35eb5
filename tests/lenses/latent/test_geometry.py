"""Gauge, spectra, tuning and alignment: what coordinates change, and what they cannot."""

import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.latent.conftest import INPUTS, K, N, network_of, random_unit

import recurvature as rc
from recurvature import latent
from recurvature._errors import InputError
from recurvature.systems import simulate

TURN = np.array([[1.0, 0.5, 0.0], [-0.3, 2.0, 0.2], [0.1, 0.0, 0.7]])


@pytest.mark.parametrize("normalisation", ["1", "1/N"])
def test_a_change_of_coordinates_leaves_weights_projector_spectrum_and_silent_units(normalisation):
    unit = random_unit(normalisation=normalisation)
    turned = latent.regauge(unit, TURN)
    # a matrix of condition 4 and its inverse
    np.testing.assert_allclose(turned.connectivity.dense(), unit.connectivity.dense(), atol=1e-13)
    np.testing.assert_allclose(turned.encoding, TURN @ unit.encoding, atol=1e-13)
    rates, kappa = np.random.default_rng(0).normal(size=(2, N)), np.array([0.3, -1.0, 0.4])
    for one, other in zip(latent.split(turned, rates), latent.split(unit, rates), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
    values, again = latent.spectrum(unit, kappa).eigenvalues, latent.spectrum(turned, TURN @ kappa).eigenvalues
    # eigenvalues of similar matrices
    np.testing.assert_allclose(again, values, atol=1e-12)
    silent = latent.from_encoding(np.eye(5, 2), np.ones((2, 5)))
    tuned = latent.tuning_curves(latent.regauge(silent, np.array([[2.0, 1.0], [0.0, 3.0]])))
    np.testing.assert_array_equal(np.asarray(tuned.rates)[:, 2:], 0)


@pytest.mark.parametrize("form", ["rate", "current"])
def test_the_network_has_the_spectrum_of_its_unit_and_copies_of_the_leak(form):
    unit = random_unit(form)
    kappa, u = np.array([0.5, -0.2, 1.0]), np.array([0.3, 0.8])
    found = latent.spectrum(unit, kappa, u, full=True)
    assert found.leak_copies == N - K
    others = np.concatenate([found.eigenvalues, np.full(N - K, found.leak)])
    # 37 equal eigenvalues of a matrix that is not symmetric: the square root of rounding would be 1e-8; its block is
    # the identity, so they stay at rounding times the condition of the eigenvectors
    np.testing.assert_allclose(np.sort_complex(found.full_eigenvalues), np.sort_complex(others), atol=1e-11)


def test_the_spectrum_is_that_of_a_derivative_by_differences():
    unit = random_unit()
    kappa, u = np.array([0.5, -0.2, 1.0]), np.array([0.3, 0.8])
    step = 1e-6
    columns = [
        (
            unit.field(jnp.asarray(kappa + step * e), jnp.asarray(u))
            - unit.field(jnp.asarray(kappa - step * e), jnp.asarray(u))
        )
        / (2 * step)
        for e in np.eye(K)
    ]
    values = np.linalg.eigvals(np.stack(columns, 1))
    # central differences: step² times third derivatives, rounding over the step
    np.testing.assert_allclose(
        np.sort_complex(latent.spectrum(unit, kappa, u).eigenvalues), np.sort_complex(values), atol=1e-8
    )


def test_tuning_depends_on_the_embedding_alone():
    unit = random_unit()
    m, w, b = (np.asarray(a) for a in (unit.embedding, unit.flow.input_weights, unit.flow.bias))
    found = latent.tuning_curves(unit, variable=1, extent=(-2, 2), points=5, at=np.ones(K), inputs=np.ones(INPUTS))
    for value, rates in zip(found.value, found.rates, strict=True):
        # a sum of five products under tanh
        np.testing.assert_allclose(rates, np.tanh(m @ [1, value, 1] + w.sum(1) + b), atol=1e-14)
    with pytest.raises(InputError, match="one of 0…2"):
        latent.tuning_curves(unit, variable=3)


@pytest.mark.slow  # the invariants are tested one by one by default
def test_two_units_are_told_apart_by_invariants_and_not_by_coordinates(drive):
    unit = random_unit()
    turned, different = latent.regauge(unit, TURN), random_unit(seed=9)
    states = np.asarray(simulate(network_of(unit), jnp.asarray(drive)).states).reshape(-1, N)
    u = np.zeros((len(states), INPUTS))
    kappas = [np.asarray(each.project(jnp.asarray(states))) for each in (unit, turned, different)]
    points = [rc.dynamics.fixed_points(each.flow, key=rc.key(0)) for each in (unit, turned)]
    same = latent.compare_units(unit, turned, (kappas[0], kappas[1]), inputs=u, points=(points[0], points[1]))
    # least squares of condition below 100, and angles by sines
    np.testing.assert_allclose(same.transform, TURN, atol=1e-9)
    np.testing.assert_allclose(same.encoding_angles, 0, atol=1e-7)
    np.testing.assert_allclose(same.embedding_angles, 0, atol=1e-7)
    assert same.kappa_r2 > 1 - 1e-12
    assert same.flow_error < 1e-9
    assert len(same.matched) > 0
    # fixed points to 2e-12, over the slowest rate
    np.testing.assert_allclose(same.distance, 0, atol=1e-8)
    np.testing.assert_allclose(same.eigenvalue_difference, 0, atol=1e-8)
    other = latent.compare_units(unit, different, (kappas[0], kappas[2]))
    assert other.flow_error > 0.1
    assert np.asarray(other.encoding_angles).min() > 0.5
    assert len(other.matched) == 0
    small = latent.from_encoding(np.ones((6, K)), np.ones((K, 6)))
    assert np.isnan(latent.compare_units(small, unit, (kappas[0], kappas[0])).encoding_angles).all()
    with pytest.raises(InputError, match="of one rank"):
        latent.compare_units(unit, latent.from_encoding(np.ones((N, 1)), np.ones((1, N))), (kappas[0], kappas[0]))


def test_aligned_variables_are_the_targets():
    unit = random_unit()
    rng = np.random.default_rng(1)
    kappa = rng.normal(size=(4, 30, K))
    mask = (rng.random((4, 30)) < 0.7).astype(float)
    targets = kappa @ TURN.T
    targets[mask == 0] = 100.0
    found = latent.align(kappa, targets, mask=mask)
    # least squares without noise
    np.testing.assert_allclose(found.transform, TURN, atol=1e-12)
    np.testing.assert_allclose(found.r2, 1, atol=1e-12)
    assert found.condition == pytest.approx(np.linalg.cond(TURN))
    assert found.samples == int(mask.sum())
    aligned = latent.aligned_unit(unit, found)
    rates = rng.normal(size=N)
    np.testing.assert_allclose(aligned.project(jnp.asarray(rates)), TURN @ unit.project(jnp.asarray(rates)), atol=1e-12)


def test_fewer_targets_are_a_quotient_and_more_are_refused():
    unit, kappa = random_unit(), np.random.default_rng(2).normal(size=(50, K))
    two = latent.align(kappa, kappa @ TURN[:2].T)
    aligned = latent.aligned_unit(unit, two)
    # least squares without noise
    np.testing.assert_allclose(np.asarray(aligned.encoding)[:2], TURN[:2] @ unit.encoding, atol=1e-12)
    np.testing.assert_allclose(aligned.connectivity.dense(), unit.connectivity.dense(), atol=1e-12)
    four = latent.align(kappa, kappa @ np.ones((K, 4)))
    assert four.condition > 1e12
    with pytest.raises(InputError, match="4 outputs cannot be coordinates of 3"):
        latent.aligned_unit(unit, four)
    with pytest.raises(InputError, match="at least 3 samples"):
        latent.align(kappa[:2], kappa[:2])


def test_an_offset_of_the_targets_counts_as_error():
    kappa = np.random.default_rng(3).normal(size=(400, 1))
    found = latent.align(kappa, kappa + 5.0)
    # without an intercept what is left is the offset, 25 times the spread of the target
    assert found.r2[0] == pytest.approx(1 - 25 / kappa.var(), rel=0.05)


def test_vectors_of_a_unit_are_those_of_its_network_in_the_mean_convention():
    network = network_of(random_unit(normalisation="1"))
    found = latent.unit_vectors(network)
    assert found.names == ("m 1", "m 2", "m 3", "n 1", "n 2", "n 3", "w 1", "w 2", "z 1")
    # multiplied by N and back
    np.testing.assert_allclose(found.of("n 2"), N * np.asarray(latent.unit(network).encoding)[1], rtol=1e-13)
    expected = np.corrcoef(np.asarray(found.vectors).T)
    np.testing.assert_allclose(found.correlation, expected, atol=1e-12)
    assert found.correlated("m 1", "z 1") == pytest.approx(expected[0, 8])
    turned = latent.unit_vectors(network, turn=TURN)
    np.testing.assert_allclose(turned.of("n 1"), np.asarray(found.vectors)[:, 3:6] @ TURN[0], rtol=1e-12)
    assert np.isnan(latent.unit_vectors(latent.from_encoding(np.ones((5, 1)), np.eye(1, 5))).correlated("m 1", "n 1"))
