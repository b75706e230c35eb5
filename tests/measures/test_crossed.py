"""Means of conditions: distances and dimension that noise does not add to."""

import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.measures import mean_geometry, participation_ratio

POINTS, UNITS, PARTS = 12, 30, 6


def truth() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal((POINTS, 3)) @ rng.standard_normal((3, UNITS))


def test_without_noise_it_is_the_participation_ratio_and_the_distances() -> None:
    means = truth()
    found = mean_geometry(np.stack([means] * PARTS))
    # sums of products of numbers of order 10, in another order
    assert found.dimension == pytest.approx(participation_ratio(means), rel=1e-10)
    assert found.naive == pytest.approx(found.dimension, rel=1e-10)
    wanted = ((means[:, None] - means[None]) ** 2).sum(-1)
    np.testing.assert_allclose(found.squared_distance, wanted, atol=1e-10 * wanted.max())
    assert found.variance == pytest.approx(np.trace(np.cov(means.T)), rel=1e-10)
    assert found.noise == pytest.approx(0, abs=1e-10 * found.variance)


def test_noise_adds_nothing_on_average_and_intervals_hold_the_truth() -> None:
    rng, means, repeats = np.random.default_rng(1), truth(), 60
    found = [mean_geometry(means + 2.0 * rng.standard_normal((PARTS, POINTS, UNITS))) for _ in range(repeats)]
    wanted, dimension = ((means[:, None] - means[None]) ** 2).sum(-1), participation_ratio(means)
    distances = np.stack([np.asarray(f.squared_distance) for f in found])
    error = distances.std(0) / np.sqrt(repeats)
    # 66 pairs: the largest of so many normal deviates is below five
    assert (np.abs(distances.mean(0) - wanted) <= 5 * error + 1e-9).all()
    # the expected noise of a mean over six parts is 30 units times 4 / 6; five standard errors of its mean
    noise = np.array([f.noise for f in found])
    assert abs(noise.mean() - UNITS * 4 / PARTS) < 5 * noise.std() / np.sqrt(repeats)
    naive, crossed = np.array([f.naive for f in found]), np.array([f.dimension for f in found])
    assert abs(crossed.mean() - dimension) < (naive.mean() - dimension) / 5
    held = np.mean([f.low <= dimension <= f.high for f in found])
    # intervals of 95 %: fewer than 50 of 60 in 1 of 1000 tests
    assert held >= 50 / 60


def test_too_few_parts_and_gaps_are_named() -> None:
    for bad in (np.ones((4, 3, 2)), np.ones((6, 1, 2)), np.full((6, 3, 2), np.nan)):
        with pytest.raises(InputError, match="`parts` must be finite of shape"):
            mean_geometry(bad)
