"""Spectral radii of a relu recurrence by mask, beside the Jacobians of its steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.superposition.conftest import random_weights

from recurvature._errors import InputError
from recurvature.lenses.superposition import geometry_of, mask_radii, recall_network


def test_radii_are_those_of_the_jacobians_of_all_steps():
    network = recall_network(random_weights(4, 4, 1, radius=1.2), kind="nonlinear")
    x = np.random.default_rng(0).normal(size=(3, 6, 1))
    found = mask_radii(network, x)
    jacobian = jax.jit(jax.jacfwd(network.system.step))  # type: ignore[attr-defined]
    radii = []
    for trial in x:
        h = network.x0
        for u in trial:
            # at rest no unit is active, and relu has a slope of 0 there
            radii.append(np.abs(np.linalg.eigvals(np.asarray(jacobian(h, jnp.asarray(u))))).max())
            h = network.system.step(h, jnp.asarray(u))  # type: ignore[attr-defined]
    # eigenvalues of at most four units, which may be ill-conditioned; columns of zeros
    assert found.mean == pytest.approx(np.mean(radii), abs=1e-7)
    assert found.largest == pytest.approx(max(radii), abs=1e-7)
    assert found.full == pytest.approx(1.2, rel=1e-12)
    assert len(found.radius) > 2
    assert found.share.sum() == pytest.approx(1, rel=1e-14)
    assert (np.diff(found.share) <= 0).all()
    silent = np.flatnonzero(~np.asarray(found.mask).any(1))
    # the start of every trial, and no other step
    np.testing.assert_array_equal(np.asarray(found.radius)[silent], 0)
    assert found.share[silent[0]] >= 3 / 18


def test_a_geometry_keeps_the_radii_of_the_masks_beside_its_own():
    network = recall_network(random_weights(4, 3, 1, radius=1.2), kind="nonlinear")
    x = np.random.default_rng(1).normal(size=(2, 5, 1))
    masks = mask_radii(network, x)
    a = np.arange(1.0, 13).reshape(4, 1, 3) / 10
    arrays = (a[:, :, :1], a.swapaxes(1, 2), 1)
    kept, plain = geometry_of(*arrays, masks=masks), geometry_of(*arrays)
    np.testing.assert_array_equal(kept.mask_radius, masks.radius)
    np.testing.assert_array_equal(kept.mask_share, masks.share)
    # of a linear recurrence there are none, and nothing else depends on them
    assert plain.mask_radius.size == 0
    np.testing.assert_array_equal(plain.order_parameter, kept.order_parameter)


def test_other_recurrences_have_no_masks():
    network = recall_network(random_weights(4, 2, 1), kind="tanh")
    with pytest.raises(InputError, match="`network` needs a PreactivationMap with the activation 'relu'"):
        mask_radii(network, np.zeros((1, 3, 1)))
