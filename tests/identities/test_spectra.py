from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

import recurvature as rc
from recurvature._errors import InputError

FORMS = {"rate": rc.systems.leaky_rate, "current": rc.systems.leaky_current}


@pytest.mark.property
@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=5)
@given(seed=st.integers(0, 2**31))
def test_a_network_has_the_eigenvalues_of_its_unit_and_copies_of_the_leak(form, seed):
    network = FORMS[form](8, inputs=2, outputs=1, key=rc.stream(rc.key(seed), form), rank=2, gain=4.0)
    rng = np.random.default_rng(seed)
    found = rc.identities.spectra(rc.cast(network, float), rng.normal(size=(2, 8)), rng.normal(size=2))
    assert found.status == 0
    # traces of four powers of an 8 x 8 matrix
    assert found.error <= 1e-13
    assert found.leak_copies == 6
    np.testing.assert_array_equal(found.unstable, found.latent_unstable)
    # an eigenvalue of an 8 x 8 matrix, of a condition of 1e6 at most for these draws
    assert found.apart.max() < 1e-8


def test_the_indices_of_all_fixed_points_add_up_to_one_in_both_spectra():
    network: Any = rc.cast(rc.systems.leaky_rate(8, inputs=2, outputs=1, key=rc.key(3), rank=1), float)
    m = np.asarray(network.system.flow.connectivity.left)
    # a memory: the encoding along the embedding, twice as strong as what keeps it
    network = eqx.tree_at(lambda n: n.system.flow.connectivity.right, network, jnp.asarray(2 * m))
    field = lambda kappa: 2 * m[:, 0] @ np.tanh(m[:, 0] * kappa) / 8 - kappa  # noqa: E731
    held = scipy.optimize.brentq(field, 0.1, 10.0, xtol=1e-14)
    found = rc.identities.spectra(network, np.tanh(np.outer([-held, 0.0, held], m[:, 0])))
    assert found.index_sum == found.latent_index_sum == 1
    assert found.unstable.tolist() == [0, 1, 0]
    # of the field: its slope at the points, where a root is known to 1e-14
    slope = 2 * m[:, 0] @ (m[:, 0] * (1 - np.tanh(m[:, 0] * held) ** 2)) / 8 - 1
    np.testing.assert_allclose(found.growth[:, 0], [slope, 2 * m[:, 0] @ m[:, 0] / 8 - 1, slope], rtol=0, atol=1e-12)


def test_a_point_that_is_missing_shows_in_the_sum():
    network = rc.cast(rc.systems.leaky_rate(8, inputs=2, outputs=1, key=rc.key(3), rank=2), float)
    assert rc.identities.spectra(network, np.zeros((2, 8))).index_sum == 2


def test_dense_networks_have_no_latent_spectrum():
    network = rc.cast(rc.systems.leaky_rate(5, inputs=2, outputs=1, key=rc.key(0)), float)
    with pytest.raises(InputError, match="no latent unit of its own"):
        rc.identities.spectra(network, np.zeros((1, 5)))
    low = rc.cast(rc.systems.leaky_rate(5, inputs=2, outputs=1, key=rc.key(0), rank=1), float)
    with pytest.raises(InputError, match="one state at least"):
        rc.identities.spectra(low, np.zeros((0, 5)))
