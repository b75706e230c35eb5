"""Dimensions of clouds of points: manifolds of known dimension, and closed forms of spectra."""

from typing import Any

import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.measures import local_rank, participation_ratio, two_nn, variance_dimension

RNG = np.random.default_rng(1)
COUNT = 2000


def sphere(dimension: int) -> np.ndarray:
    normal = RNG.normal(size=(COUNT, dimension + 1))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def torus() -> np.ndarray:
    angles = RNG.uniform(0, 2 * np.pi, (COUNT, 2))
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def roll() -> np.ndarray:
    turn, height = RNG.uniform(4, 14, COUNT), RNG.uniform(0, 20, COUNT)
    return np.stack([turn * np.cos(turn), height, turn * np.sin(turn)], axis=1)


MANIFOLDS = {"circle": (sphere(1), 1), "torus": (torus(), 2), "roll": (roll(), 2), "five-sphere": (sphere(5), 5)}


@pytest.mark.parametrize("name", MANIFOLDS)
def test_two_neighbours_tell_the_dimension(name: str) -> None:
    points, dimension = MANIFOLDS[name]
    found = two_nn(points)
    # four standard errors of 2000 points; and a tenth for the curvature of the five-sphere between neighbours
    assert abs(found.maximum_likelihood[0] - dimension) < 4 * dimension / np.sqrt(COUNT) + (dimension > 2) * 0.5
    assert abs(found.slope[0] - dimension) < 5 * dimension / np.sqrt(COUNT) + (dimension > 2) * 0.5
    # definition
    assert found.standard_error[0] == pytest.approx(found.maximum_likelihood[0] / np.sqrt(COUNT), rel=1e-14)


def test_the_estimate_has_the_mean_and_spread_of_its_law() -> None:
    runs = [two_nn(RNG.uniform(size=(400, 1)) % 1.0).maximum_likelihood[0] for _ in range(60)]
    # four standard errors of a mean of 60 runs; ratios of neighbours on a line depend on each other weakly
    assert abs(np.mean(runs) - 1) < 4 * (1 / 20) / np.sqrt(60) + 0.02
    assert 0.5 < np.std(runs) * 20 < 1.6


def test_thickness_shows_at_small_scales_only(getkey: Any) -> None:
    thick = torus() + 0.02 * RNG.normal(size=(COUNT, 4))
    found = two_nn(thick, sizes=(60,), key=getkey())
    np.testing.assert_array_equal(found.size, [60, COUNT])
    # 60 points are half a unit apart, 2000 about 0.1: five times the noise
    assert found.maximum_likelihood[1] > found.maximum_likelihood[0]


def test_duplicates_are_left_out_and_counted() -> None:
    points = sphere(1)
    found = two_nn(np.concatenate([points, points[:7]]))
    assert found.duplicates == 7
    assert found.maximum_likelihood[0] == two_nn(points).maximum_likelihood[0]


def test_dimension_is_blind_to_rotation_scale_and_shift() -> None:
    points = torus()
    turn = np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    moved = 3.5 * points @ turn + 2
    # ratios of distances of 2000 points, rounded
    np.testing.assert_allclose(two_nn(moved).slope, two_nn(points).slope, rtol=1e-8)
    assert participation_ratio(moved) == pytest.approx(participation_ratio(points), rel=1e-10)


def test_local_rank_is_that_of_the_tangent_space() -> None:
    found = local_rank(MANIFOLDS["torus"][0], neighbours=12)
    # 12 of 2000 points reach 0.3 around a point, where the bend is a tenth of the reach
    assert np.mean(found.rank == 2) > 0.95
    flat = RNG.uniform(size=(300, 3)) @ RNG.normal(size=(3, 8))
    singular = local_rank(flat, tolerance=1e-9)
    # an affine image of a box has no more directions than the box
    assert (singular.rank == 3).all()
    assert singular.singular_values.shape == (300, 8)


@pytest.mark.parametrize("ratio", [0.5, 0.8])
def test_participation_ratio_of_a_geometric_spectrum(ratio: float) -> None:
    variance = ratio ** np.arange(40)
    # orthogonal columns of zero mean: the covariance is diagonal
    columns = np.linalg.qr(np.concatenate([np.ones((60, 1)), RNG.normal(size=(60, 40))], axis=1))[0][:, 1:]
    points = columns * np.sqrt(variance)
    exact = variance.sum() ** 2 / (variance**2).sum()
    # rounding of sums of 40
    assert participation_ratio(points) == pytest.approx(exact, rel=1e-12)
    # the sums of 40 terms are within ratio^40 of the limit
    assert exact == pytest.approx((1 + ratio) / (1 - ratio), rel=3 * ratio**40)
    assert variance_dimension(points) == int(np.ceil(np.log(0.01) / np.log(ratio)))
    assert variance_dimension(points, share=1.0) == 40


def test_participation_ratio_of_equal_axes_is_their_number() -> None:
    corners = np.concatenate([np.eye(7), -np.eye(7)])
    # rounding of sums of 14
    assert participation_ratio(corners) == pytest.approx(7, rel=1e-14)
    # the same through the products of points, when there are fewer points than axes
    assert participation_ratio(np.pad(corners, ((0, 0), (0, 30)))) == pytest.approx(7, rel=1e-14)


def test_the_correction_removes_the_bias_of_few_points() -> None:
    clouds = [RNG.normal(size=(100, 50)) for _ in range(20)]
    naive, corrected = (np.mean([participation_ratio(c, corrected=flag) for c in clouds]) for flag in (False, True))
    # nd/(n + d + 1); the spread of one cloud is about 1 %, of twenty a quarter of that
    assert naive == pytest.approx(100 * 50 / 151, rel=0.01)
    assert corrected == pytest.approx(50, rel=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: two_nn(np.zeros((2, 3))), "at least 3 rows"),
        (lambda: two_nn(np.zeros((5, 3))), "at least 3 that differ"),
        (lambda: two_nn(np.full((5, 3), np.nan)), "finite"),
        (lambda: two_nn(np.eye(5), discard=1.0), "`discard`"),
        (lambda: two_nn(np.eye(5), sizes=(3,)), "`key`"),
        (lambda: local_rank(np.eye(5), neighbours=5), "`neighbours`"),
        (lambda: participation_ratio(np.ones((5, 2))), "all the same"),
        (lambda: participation_ratio(np.eye(2), corrected=True), "at least 3 rows"),
        (lambda: variance_dimension(np.eye(3), share=0.0), "`share`"),
        (lambda: variance_dimension(np.ones((5, 2))), "all the same"),
    ],
)
def test_misuse_names_the_argument(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
