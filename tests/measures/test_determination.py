"""The share of variance that a guess explains, against the square of a correlation."""

import numpy as np
import pytest

from recurvature.measures.determination import r_squared


def test_of_a_fitted_line_it_is_the_square_of_the_correlation():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 40))
    y = 2 * x + rng.normal(size=x.shape) + 3
    fitted = np.polyval(np.polyfit(x.ravel(), y.ravel(), 1), x)
    expected = np.corrcoef(x.ravel(), y.ravel())[0, 1] ** 2
    assert r_squared(y[..., None], fitted[..., None]) == pytest.approx(expected, rel=1e-12)


def test_means_are_those_of_each_unit_and_squares_are_pooled():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(3, 20, 2)) * [1, 10] + [0, 100]
    assert r_squared(truth, np.broadcast_to(truth.mean((0, 1)), truth.shape)) == pytest.approx(0, abs=1e-12)
    half = truth.copy()
    half[..., 1] = truth[..., 1].mean()
    spread = ((truth - truth.mean((0, 1))) ** 2).sum((0, 1))
    assert r_squared(truth, half) == pytest.approx(spread[0] / spread.sum(), rel=1e-12)


def test_guesses_that_overflow_and_truths_that_stand_still():
    flat = np.ones((4, 2))
    assert r_squared(flat, np.full((4, 2), np.nan)) == -np.inf
    assert r_squared(flat, flat) == 1
    assert r_squared(flat, flat + 1) == 0
