"""Geometry: what changes of state coordinates leave alone, known shapes, and verdicts on constructed responses."""

import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.superposition.conftest import random_weights, spiral

from recurvature._errors import InputError
from recurvature.lenses.superposition import (
    FORGETTING,
    Weights,
    geometry,
    geometry_of,
    memory_capacity,
    optimal_linear,
)

FREE_OF_COORDINATES = [
    *("projection", "stored", "order_parameter", "packing", "free", "free_younger", "sharpness", "k_theta"),
    *("regime", "spatial", "modulus", "angle", "interference", "load"),
]


def turned(weights: Weights, matrix: np.ndarray) -> Weights:
    inverse = np.linalg.inv(matrix)
    new = (matrix @ weights.recurrent @ inverse, matrix @ weights.inputs, weights.readout @ inverse)
    return Weights(*(jnp.asarray(w) for w in new))


def test_a_change_of_state_coordinates_changes_angles_and_nothing_else():
    weights = random_weights(3, 4, 2, radius=0.7)
    matrix = np.eye(4) + 0.4 * np.random.default_rng(0).normal(size=(4, 4))
    one, other = geometry(weights, 2, ages=12), geometry(turned(weights, matrix), 2, ages=12)
    for name in FREE_OF_COORDINATES:
        # transformed by a matrix of condition below 10 and back, through a whitening
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-8, atol=1e-9, err_msg=name)
    for name in ("gram", "cosine", "dimensionality", "cumulative_angle"):
        assert np.abs(np.asarray(getattr(one, name)) - getattr(other, name)).max() > 1e-3, name


def test_the_diagonal_of_the_interference_is_the_memory_capacity():
    weights = random_weights(4, 3, 2, radius=0.8)
    found = geometry(weights, 1, ages=10)
    capacity = memory_capacity(weights.recurrent, weights.inputs, ages=10).capacity
    # two orders of the same sums
    np.testing.assert_allclose(np.diagonal(found.interference), np.ravel(capacity), rtol=1e-12)
    # a Gram matrix of a tight frame of three dimensions: a projector, but for what 0.8^20 leaves out
    long = np.asarray(geometry(weights, 1, ages=80).interference)
    np.testing.assert_allclose(long @ long, long, atol=1e-9)


def test_without_delay_five_features_in_two_dimensions_make_a_pentagon():
    angle = 2 * np.pi * np.arange(5) / 5
    # the norm at which the sum of squares below is least: (1 - l²)² + 2 l⁴ cos² 72°
    length = (1 + 2 * np.cos(np.deg2rad(72)) ** 2) ** -0.5
    inputs = length * np.stack([np.cos(angle), np.sin(angle)])
    found = geometry(Weights(jnp.zeros((2, 2)), jnp.asarray(inputs), jnp.asarray(inputs.T)), 0)
    # five sums of five products
    np.testing.assert_allclose(np.asarray(found.dimensionality)[0], 0.4, rtol=1e-12)
    gaps = np.rad2deg(np.arccos(np.asarray(found.cosine)[0, :5]))
    np.testing.assert_allclose(gaps, [0, 72, 144, 144, 72], atol=1e-5)
    assert (found.n_stored, found.load) == (5, 2.5)
    # 0.16 of the loss of silence is what the two neighbours of each feature leave, with what is lost of itself
    cost = (1 - np.asarray(found.stored)) ** 2 + (np.maximum(found.projection[0], 0) ** 2).sum(1) - found.stored**2
    np.testing.assert_allclose(cost, 0.160357, atol=1e-6)
    assert found.effective_dimension == pytest.approx(2, rel=1e-12)


def ssm(radius: float, degrees: float, delay: int) -> Weights:
    """A tied spiral in the plane, scaled so that the feature is read out in full."""
    recurrent, inputs = spiral(radius, degrees), np.array([[1.0], [0.0]])
    older = np.linalg.matrix_power(recurrent, delay) @ inputs
    return Weights(jnp.asarray(recurrent), jnp.asarray(inputs), jnp.asarray(older.T / (older**2).sum()))


@pytest.mark.parametrize(
    ("weights", "delay", "verdict"),
    [
        (ssm(0.8, 30, 3), 3, "dense"),
        (ssm(0.444, 90, 3), 3, "sparse"),
        (ssm(0.9, 168, 6), 6, "alternating"),
        (ssm(0.8, 120, 3), 3, "mixed"),
    ],
)
def test_verdicts_on_spirals(weights, delay, verdict):
    found = geometry(weights, delay)
    assert found.regimes == (verdict,)
    turn = delay * np.rad2deg(np.abs(np.angle(np.linalg.eigvals(weights.recurrent))))[0]
    # one eigenvalue pair: its argument, by either route
    np.testing.assert_allclose(found.k_theta, turn, rtol=1e-10)
    # the directions of a spiral in the plane turn with its eigenvalue
    np.testing.assert_allclose(found.cumulative_angle, turn, rtol=1e-10)


def test_the_optimal_spiral_is_dense_where_it_is_read_out():
    best = optimal_linear(2, 2, starts=4).weights
    found = geometry(best, 2)
    # its readout gives 7/16 of the feature, which is not stored by half; scaled to 1 the verdict is of its shape
    assert found.regimes == ("not stored",)
    assert geometry(Weights(best.recurrent, best.inputs, best.readout * 16 / 7), 2).regimes == ("dense",)
    # projections -1/8, 3/8 of younger ages
    np.testing.assert_allclose(found.order_parameter, 0.1, atol=1e-6)


@pytest.mark.parametrize(
    ("response", "verdict", "forgetting"),
    [
        ([0.2, 0.5, 1.0, 0.6, 0.3], "dense", "smooth"),
        ([-5.0, 0.0, 1.0, 0.0, -0.2], "sparse", "sharp"),
        ([0.8, -0.9, 1.0, -0.9, 0.8], "alternating", "smooth"),
        ([0.2, 0.5, 0.4, 0.0, 0.0], "not stored", "sharp"),
    ],
)
def test_verdicts_on_responses_without_eigenvalues(response, verdict, forgetting):
    a = np.array(response)[:, None, None]
    found = geometry_of(a, a, 2)
    assert found.regimes == (verdict,)
    assert FORGETTING[found.forgetting[0]] == forgetting
    assert np.isnan(found.k_theta).all()
    younger, later = np.array(response[:2]), np.array(response[2:])
    # quotients of sums of two or three squares
    np.testing.assert_allclose(found.order_parameter, (np.minimum(younger, 0) ** 2).sum() / (younger**2).sum())
    np.testing.assert_allclose(found.sharpness, response[2] ** 2 / (later**2).sum())


def test_angles_add_up_in_any_number_of_dimensions():
    circle = np.deg2rad(np.array([0.0, 40.0, 110.0, 290.0 - 100.0, 200.0]))
    flat = np.stack([np.cos(circle), np.sin(circle)], axis=1)[:, :, None]
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0][:, :2]
    lifted = np.einsum("kn,snd->skd", rotation, flat)
    for w in (flat, lifted):
        found = geometry_of(np.ones((5, 1, 1)), w, 3)
        # 190 degrees by three turns of less than half a circle
        np.testing.assert_allclose(found.cumulative_angle, 190, rtol=1e-10)


def test_too_few_ages_are_refused():
    with pytest.raises(InputError, match="a delay of 3 needs ages 0 to 4 or more"):
        geometry(ssm(0.8, 30, 3), 3, ages=4)
