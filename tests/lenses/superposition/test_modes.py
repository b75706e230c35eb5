"""Modes add up to the projections, and those of a diagonal network are the numbers it is made of."""

import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.superposition.conftest import diagonal, random_weights, spiral

from recurvature.lenses.superposition import Weights, modes, projections, weights_of


def test_modes_add_up_to_the_projections():
    weights = random_weights(4, 5, 2, radius=0.9)
    found, a = modes(weights, 3), np.asarray(projections(weights, 8))
    eigenvalues = np.asarray(found.modulus) * np.exp(1j * np.deg2rad(found.angle))
    c = np.asarray(found.weight) * np.exp(1j * np.deg2rad(found.phase))
    assert 2 * found.pairs + (len(found.modulus) - found.pairs) == 5
    for s in range(8):
        # five modes, through eigenvectors of a condition of some tens
        np.testing.assert_allclose((c * eigenvalues**s).real.sum(1), np.diagonal(a[s]), atol=1e-12)
    np.testing.assert_allclose(np.asarray(found.recalled).sum(1), np.diagonal(a[3]), atol=1e-12)


def test_of_a_diagonal_network_they_are_its_own_numbers():
    network = diagonal(3)
    found = modes(weights_of(network), 2)
    eigenvalues = np.asarray(network.system.eigenvalues)  # type: ignore[attr-defined]
    order = np.argsort(-np.abs(eigenvalues))
    # moduli and arguments of 2 x 2 blocks
    np.testing.assert_allclose(found.modulus, np.abs(eigenvalues)[order], rtol=1e-12)
    np.testing.assert_allclose(found.angle, np.rad2deg(np.abs(np.angle(eigenvalues)))[order], rtol=1e-10)


def test_one_complex_mode_is_a_spiral_of_two_units():
    weights = Weights(jnp.asarray(spiral(0.8, 40)), jnp.array([[1.0], [0.0]]), jnp.array([[0.6, 0.8]]))
    found = modes(weights, 1)
    assert (len(found.modulus), found.pairs) == (1, 1)
    # a_s = 0.8^s cos(40° s - φ) with tan φ = 0.8/0.6
    np.testing.assert_allclose(
        [found.modulus[0], found.angle[0], found.weight[0, 0], abs(found.phase[0, 0])],
        [0.8, 40, 1.0, np.rad2deg(np.arctan2(0.8, 0.6))],
        rtol=1e-12,
    )
    assert found.lifetime[0] == pytest.approx(-1 / np.log(0.8), rel=1e-12)


def test_modes_that_do_not_decay_live_for_ever():
    found = modes(Weights(jnp.diag(jnp.array([1.0, -0.5])), jnp.ones((2, 1)), jnp.ones((1, 2))), 0)
    np.testing.assert_array_equal(found.lifetime[0], np.inf)
    np.testing.assert_allclose(found.angle, [0, 180])
    assert found.pairs == 0
