"""Rectified losses by convolution: against all windows written out, expansions at small density, and known branches."""

import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.superposition.conftest import every_sequence

from recurvature._errors import InputError, NumericalError
from recurvature.lenses.superposition import (
    TRANSITION,
    Levels,
    crossing,
    order_one,
    order_two,
    projections,
    recall_network,
    rectified_loss,
    sampled_loss,
    spiral_optimum,
    tied,
)
from recurvature.lenses.superposition.crossing import Pair, _only_change

RESPONSE = np.array([-2.1, 0.4, 0.9, -0.3, 0.05, -0.6])


@pytest.mark.parametrize("values", [(1.0,), (0.3, -0.7)])
@pytest.mark.parametrize(("density", "memory", "bias"), [(0.1, 0.0, 0.3), (0.8, 0.0, -0.2), (0.3, 0.6, 0.0)])
def test_of_a_few_levels_it_is_the_mean_over_all_windows(values, density, memory, bias):
    x, _ = every_sequence(6, 1, density, values)
    # a window is written with its youngest input first; a gate that lasts is a Markov chain either way in time
    x, there = x[:, :, 0], (x[:, :, 0] != 0).astype(int)
    change = (1 - memory) * np.array([[-density, density], [1 - density, density - 1]]) + np.eye(2)
    chance = np.array([1 - density, density])[there[:, 0]] * change[there[:, :-1], there[:, 1:]].prod(1)
    chance = chance / float(len(values)) ** there.sum(1)
    z = x @ RESPONSE + bias
    exact = chance @ (x[:, 2] - np.maximum(z, 0)) ** 2
    options = {"amplitude": Levels(values), "memory": memory, "bias": bias}
    errors = [abs(rectified_loss(RESPONSE, 2, density, points=points, **options) - exact) for points in (1024, 4096)]
    step = np.abs(RESPONSE).sum() * np.ptp([0.0, *values]) / 4096
    near = chance @ (np.abs(z) < 6 * step)
    # sharing an amount between two points adds at most a quarter of the square of the step to the variance of each of
    # six ages; where the sum is that near to the bend, it also moves what is read out, by at most half a step an age
    assert errors[1] < 6 * step**2 / 4 + near * 6 * step / 2
    assert errors[1] < errors[0]


def test_of_uniform_amplitudes_the_error_falls_with_the_square_of_the_step():
    fine = rectified_loss(RESPONSE, 2, 0.3, points=2**15)
    errors = [rectified_loss(RESPONSE, 2, 0.3, points=points) - fine for points in (512, 1024, 2048)]
    # the next order, and how the ends fall between the points
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 4, rtol=0.15)


def test_of_uniform_amplitudes_it_has_the_known_first_orders():
    a = RESPONSE[:, None, None]
    longer = np.concatenate([a, np.zeros_like(a)])
    ends = len(longer)
    # the loss per step is what one more step adds, once no age is left out
    first = float(order_one(jnp.asarray(longer), 2) - order_one(jnp.asarray(longer[:-1]), 2))
    second = order_two(longer[:, 0, 0], 2) - order_two(longer[: ends - 1, 0, 0], 2)
    left = [
        (rectified_loss(RESPONSE, 2, p, points=2**14) - first * p - second * p**2) / p**3 for p in (0.08, 0.04, 0.02)
    ]
    # a third order remains: the quotient settles, and its changes halve
    assert abs(left[2] - left[1]) < 0.15 * abs(left[2])
    np.testing.assert_allclose((left[0] - left[1]) / (left[1] - left[2]), 2, rtol=0.25)


def test_how_negative_a_projection_is_does_not_matter_once_it_silences():
    deep, deeper = (rectified_loss(np.array([depth, 0.0, 1.0, 0.2]), 2, 0.3) for depth in (-1e4, -1e9))
    # 1.2 is all that can be positive together: an amplitude below 1.2e-4 is not enough, with a chance of as much
    assert deep == pytest.approx(deeper, abs=1e-4)
    # when it is there the feature is lost, and independent of that otherwise
    alone = rectified_loss(np.array([0.0, 0.0, 1.0, 0.2]), 2, 0.3)
    assert deeper == pytest.approx(0.7 * alone + 0.3 * 0.3 / 3, rel=1e-6)


@pytest.mark.parametrize("delay", [3, 5])
def test_small_radii_lose_a_feature_only_to_the_ages_between(delay):
    ages, angle, gaps = np.arange(delay + 6) - delay, np.pi / (delay - 1), []
    for radius in (0.02, 0.01):
        a = radius ** ages.astype(float) * np.sin((ages + 1) * angle) / np.sin(angle)
        a[[0, delay - 1]] = 0.0
        gaps.append(rectified_loss(a, delay, 0.05) / (0.05 / 3) - 1 + 0.95 ** (delay - 2))
    # docs eq. S.75: what is left is of the order of the radius squared, times some units
    assert abs(gaps[1]) < 10 * 0.01**2
    np.testing.assert_allclose(gaps[0] / gaps[1], 4, rtol=0.05)


def test_two_features_in_part_can_cost_less_than_one_in_full(getkey):
    """Two trained networks of two units, delay 2, density 0.05, the second feature of importance 0.8."""
    part = ([[-0.102, -0.613], [0.346, -0.194]], [[-2.367, 0.424], [2.106, 2.736]])
    full = ([[-0.108, 0.189], [-0.613, -0.484]], [[-2.351, -0.215], [-0.823, 0.007]])
    key, stored, errors = getkey(), [], []
    for recurrent, inputs in (part, full):
        weights = tied(jnp.asarray(recurrent), jnp.asarray(inputs), delay=2)
        stored.append(np.diag(projections(weights, 3)[2]))
        options = {"steps": 12, "delay": 2, "density": 0.05, "trials": 2**14, "key": key}
        importance = jnp.array([1.0, 0.8])
        errors.append(sampled_loss(recall_network(weights, kind="ssm"), importance=importance, **options).errors)
    # both in part, well away from all and nothing; and all of one with nothing of the other
    assert (np.abs(np.array(stored[0]) - 0.5) < 0.3).all()
    np.testing.assert_allclose(stored[1], [1, 0], atol=0.05)
    apart = errors[0] - errors[1]
    # the same trials: three standard errors of the difference
    assert apart.mean() < -3 * apart.std() / np.sqrt(len(apart))


def test_tiny_projections_and_none_at_all_cost_what_they_must():
    alone = rectified_loss(np.array([0.0, 0.0, 1.0]), 2, 0.3)
    # the feature itself, read out in full
    assert alone == pytest.approx(0, abs=1e-12)
    half = rectified_loss(np.array([0.0, 0.0, 0.5, 1e-13]), 2, 0.3)
    # a quarter of the square of a uniform amplitude
    assert half == pytest.approx(0.3 / 12, rel=1e-9)


def test_dense_and_sparse_branches_are_minima_on_either_side_of_a_jump():
    dense, sparse = (spiral_optimum(3, 0.495, branch, points=256, ages=16) for branch in ("dense", "sparse"))
    # another route, branches of trained networks: 0.785, 0.623 and turns of 91 and 270 degrees at a crossing that they
    # know to a hundredth; over that the modulus of the sparse one changes by 0.006, and training leaves another 0.01
    assert dense.modulus == pytest.approx(0.785, abs=0.01)
    assert sparse.modulus == pytest.approx(0.623, abs=0.016)
    assert dense.k_theta == pytest.approx(91, abs=2)
    assert sparse.k_theta == pytest.approx(271, abs=2)
    assert dense.order_parameter < 0.2 < 0.9 < sparse.order_parameter
    # the two cost the same there, to a thousandth
    assert dense.loss == pytest.approx(sparse.loss, abs=2e-3)
    # a second descent starts where the first one ended
    np.testing.assert_allclose(dense.parameters[:2], [dense.modulus, dense.k_theta], rtol=1e-12)
    a = dense.response
    later, angle = np.arange(16) - 3, np.deg2rad(dense.k_theta / 3)
    wave = dense.parameters[2] * np.cos(later * angle) + dense.parameters[3] * np.sin(later * angle)
    np.testing.assert_allclose(dense.modulus**later * wave, a, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("delay", sorted(TRANSITION))
def test_the_table_of_transitions_is_that_of_the_exact_losses(delay):
    # one range for all delays, all of which is looked at: a second crossing would be refused
    found = crossing(delay, points=1024)
    # what the table claims of itself, a hundredth
    assert found.density == pytest.approx(TRANSITION[delay], abs=0.01)
    np.testing.assert_allclose(found.loss[0], found.loss[1], rtol=2e-3)
    known = np.isfinite(found.excess)
    np.testing.assert_array_equal(found.excess[known] > 0, found.scanned[known] < found.density)
    assert known.sum() >= 3


@pytest.mark.slow
def test_branches_that_do_not_cross_are_no_transition():
    with pytest.raises(
        NumericalError, match=r"from 0\.6 to 0\.65 the losses of both branches of delay 2 change places 0"
    ):
        crossing(2, between=(0.6, 0.65), scan=2, points=256, ages=12)


def test_losses_that_change_places_more_than_once_are_refused():
    density, pairs = np.array([0.1, 0.2, 0.3, 0.4]), list[Pair]()
    # what is unknown lies between two that are known
    assert _only_change(2, density, np.array([1.0, np.nan, -1.0, -2.0]), pairs) == (0, 2)
    for excess, times in (([1.0, -1.0, 1.0, -1.0], 3), ([-1.0, 1.0, np.nan, 2.0], 1), ([np.nan] * 4, 0)):
        with pytest.raises(NumericalError, match=f"change places {times} times"):
            _only_change(2, density, np.array(excess), pairs)
    with pytest.raises(InputError, match="`scan` must be at least 2"):
        crossing(2, scan=1)


def test_what_is_no_response_is_refused():
    for response, points, message in (
        (np.append(RESPONSE, np.nan), 4096, "`response` and `bias` must be finite"),
        (RESPONSE, 16, "`points` must be at least 32 for 6 ages; got 16"),
    ):
        with pytest.raises(InputError, match=message):
            rectified_loss(response, 2, 0.3, points=points)


def test_what_has_no_branch_is_refused():
    with pytest.raises(InputError, match="`branch` must be one of dense, sparse; got 'alternating'"):
        spiral_optimum(3, 0.1, "alternating")
    with pytest.raises(InputError, match="`delay` must be at least 1"):
        spiral_optimum(0, 0.1, "dense")
