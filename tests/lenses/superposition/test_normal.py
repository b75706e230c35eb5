"""The normal closure: exact where nothing is clipped, close where many ages add up, and off where few do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from tests.lenses.superposition.conftest import random_weights

from recurvature._errors import InputError
from recurvature.lenses.superposition import (
    Levels,
    Uniform,
    expected_loss,
    normal_loss,
    projections,
    recall_network,
    rectified_loss,
    rectified_normal,
    sampled_loss,
    sparse,
    tied,
)


def test_rectified_square_of_a_normal():
    for mean, std in ((0.5, 1.0), (-2.0, 0.7)):
        density = lambda z, mean=mean, std=std: z**2 * scipy.stats.norm.pdf(z, mean, std)  # noqa: E731
        expected = scipy.integrate.quad(density, 0, 20, epsabs=1e-13)[0]
        # adaptive quadrature to 1e-13
        np.testing.assert_allclose(rectified_normal(jnp.array(mean), jnp.array(std)), expected, rtol=1e-9)


def test_where_nothing_is_clipped_it_is_the_loss_without_relu():
    a, u = jnp.asarray(np.random.default_rng(0).uniform(0.5, 1, (30, 2, 2))), Uniform(0.5, 1.0)
    importance = jnp.array([1.0, 0.3])
    whole, before = (expected_loss(part, sparse(1.0, 2, amplitude=u), 3, importance=importance) for part in (a, a[:-1]))
    found = normal_loss(a, 3, 1.0, amplitude=u, importance=importance)
    # the last step by a difference of trials; fifty standard deviations from 0
    np.testing.assert_allclose(found[-1], whole - before, rtol=1e-12)


def next_order(density: float, ages: int, due: float) -> float:
    """What the fourth cumulant of so many ages, of size 1/sqrt(ages) and either sign, adds to the loss."""
    m = [density / (j + 1) for j in (1, 2, 3, 4)]
    variance = m[1] - m[0] ** 2
    fourth = m[3] - 4 * m[2] * m[0] - 3 * m[1] ** 2 + 12 * m[1] * m[0] ** 2 - 6 * m[0] ** 4
    nodes, weights = np.polynomial.legendre.leggauss(40)
    x, chance = np.append((nodes + 1) / 2, 0), np.append(density * weights / 2, 1 - density)
    z, normal = -due * x, scipy.stats.norm.pdf(due * x, 0, np.sqrt(variance))
    first, second = -z / variance * normal, (z**2 / variance - 1) / variance * normal
    # the fourth derivatives of [z]₊² and of [z]₊ are two and one derivative of a peak at 0
    return float(fourth / ages / 24 * (chance @ (-2 * first - 2 * x * second)))


@pytest.mark.parametrize("density", [0.8, 0.3])
def test_what_it_leaves_out_of_symmetric_ages_is_their_fourth_cumulant(density):
    a = np.insert(np.where(np.arange(20) % 2, 1.0, -1.0) / np.sqrt(20), 3, 0.8)
    exact = rectified_loss(a, 3, density, points=2**14)
    closed = float(normal_loss(jnp.asarray(a)[:, None, None], 3, density)[-1])
    # of 20 ages as many are negative, so that no odd cumulant is left; the next order is smaller by some twentieths
    assert (exact - closed) / next_order(density, 20, 0.8) == pytest.approx(1, abs=0.15)


def test_of_a_packed_response_it_knows_nothing():
    packed = np.array([-0.01, -5.08, 0.0, 1.0, 0.0, -0.2])
    closed = float(normal_loss(jnp.asarray(packed)[:, None, None], 3, 0.05)[-1])
    # the one large negative age is there in one step of twenty and silences it; a normal number of its size clips often
    assert closed > 3 * rectified_loss(packed, 3, 0.05)


def test_trials_of_several_features_cost_what_samples_say_unless_they_are_packed(getkey):
    """Random weights whose inputs last, and a trained network of two units at a small density."""
    recurrent, inputs = ([[-0.102, -0.613], [0.346, -0.194]], [[-2.367, 0.424], [2.106, 2.736]])
    # six more units and a feature that does nothing, so that both have the same shapes
    rest = ((0, 6), (0, 6)), ((0, 6), (0, 1))
    packed = tied(*(jnp.pad(jnp.asarray(w), pad) for w, pad in zip((recurrent, inputs), rest, strict=True)), delay=2)
    quotients, errors = [], []
    for weights, density in ((random_weights(3, 8, 3, radius=0.97), 0.6), (packed, 0.05)):
        network, options = recall_network(weights, kind="ssm"), {"steps": 24, "density": density, "key": getkey()}
        found = sampled_loss(network, delay=2, trials=2048, **options)
        quotients.append(float(normal_loss(projections(weights, 24), 2, density).sum()) / found.loss)
        errors.append(found.standard_error / found.loss)
    # four standard errors, and a fourth cumulant over that of a normal number of one in some forty features
    assert abs(quotients[0] - 1) < 4 * errors[0] + 0.03 < 0.15
    # projections of either size are charged as if either sign could come
    assert quotients[1] > 2


def test_one_age_alone_and_no_age_at_all_have_losses_and_slopes():
    a = jnp.zeros((4, 1, 1)).at[1].set(0.5)
    loss, slope = jax.value_and_grad(lambda a: normal_loss(a, 1, 0.4, amplitude=Levels())[-1])(a)
    # half of what is there is missing, and a slope of minus that
    np.testing.assert_allclose(loss, 0.4 * 0.25, rtol=1e-12)
    np.testing.assert_allclose(slope[1, 0, 0], -0.4, rtol=1e-12)
    assert np.isfinite(slope).all()
    with pytest.raises(InputError, match="`delay` must be below the number of steps, 4; got 4"):
        normal_loss(a, 4, 0.4)
