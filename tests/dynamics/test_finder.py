"""The call of the tutorial of 2020 gives what it gave: points, losses, indices of candidates, details."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from recurvature._errors import InputError
from recurvature.dynamics import find_fixed_points

HPS = {
    "num_batches": 10_000,
    "step_size": 0.2,
    "decay_factor": 0.9999,
    "decay_steps": 1,
    "adam_b1": 0.9,
    "adam_b2": 0.999,
    "adam_eps": 1e-5,
    "noise_var": 0.0,
    "fp_opt_stop_tol": 1e-5,
    "fp_tol": 1e-5,
    "unique_tol": 0.025,
    "outlier_tol": 1.0,
    "opt_print_every": 200,
}
CANDIDATES = np.linspace(-1.2, 1.2, 8)[:, None] * np.array([[1.0, -1.0]])


def step(h):
    """Two units without a word to each other: four stable points at (±a, ±a), and five others."""
    return jnp.tanh(2 * h)


def test_an_old_call_gives_points_losses_indices_and_details():
    upper = brentq(lambda a: np.tanh(2 * a) - a, 0.1, 1, xtol=1e-15)
    grid = np.array([[a, b] for a in (-0.9, -0.02, 0.9) for b in (-0.9, 0.03, 0.9)])[:8]
    points, losses, indices, details = find_fixed_points(step, grid, HPS, do_print=False)
    distance = np.abs(np.abs(points)[..., None] - [0.0, upper]).min(-1)
    # polished to rounding
    assert distance.max() < 1e-14
    assert len(points) == 8
    assert (np.diff(losses) >= 0).all()
    assert losses.max() < 1e-28
    # a candidate within 0.15 of a point leads to it
    np.testing.assert_allclose(points, grid[indices], atol=0.15)
    assert details["unused"] == sorted(set(HPS) - {"noise_var", "fp_tol", "unique_tol", "outlier_tol"})
    assert details["result"].types.count("stable") == 3


def test_points_farther_than_the_outlier_tolerance_are_left_out():
    hps = {**HPS, "outlier_tol": 0.5}
    points, *_ = find_fixed_points(step, CANDIDATES, hps)
    # the nearest two points are a third of the state's range apart
    assert points.shape == (0, 2)


def test_a_generous_tolerance_brings_the_slow_points():
    def slow(h):
        return h + h**2 + 1e-4

    none, *_ = find_fixed_points(slow, CANDIDATES, {"fp_tol": 1e-12})
    some, losses, *_ = find_fixed_points(slow, CANDIDATES, {"fp_tol": 1e-5, "unique_tol": 0.1})
    assert len(none) == 0
    # the least loss is that at 0, 1e-8
    assert len(some) >= 1
    assert 1e-8 <= losses.min() < 2e-8


def test_float32_candidates_are_searched_in_float32():
    weight = jnp.asarray([[0.0, 0.5], [-0.5, 0.0]], jnp.float32)
    points, _, _, details = find_fixed_points(
        lambda h: jnp.tanh(weight @ h), CANDIDATES.astype(np.float32), {"fp_tol": 1e-6, "unique_tol": 1e-3}
    )
    assert details["result"].dtype == "float32"
    # the contraction has one point, zero; float32
    np.testing.assert_allclose(points, np.zeros((1, 2)), atol=1e-6)


def test_misuse_is_named(getkey):
    with pytest.raises(InputError, match="Did you mean 'unique_tol'"):
        find_fixed_points(step, CANDIDATES, {"uniqe_tol": 1.0})
    with pytest.raises(InputError, match="pass `key="):
        find_fixed_points(step, CANDIDATES, {"noise_var": 0.1})
    moved = find_fixed_points(step, CANDIDATES, {**HPS, "noise_var": 0.1}, key=getkey())
    assert isinstance(moved[0], np.ndarray | jax.Array)
