"""Verdicts in words, and the rest of the table of measures."""

import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.superposition.conftest import spiral

from recurvature.lenses.superposition import TRANSITION, Weights, geometry, geometry_of, verdict


def packed(radius: float, degrees: float, delay: int) -> Weights:
    recurrent, inputs = spiral(radius, degrees), np.array([[1.0], [0.0]])
    older = np.linalg.matrix_power(recurrent, delay) @ inputs
    return Weights(jnp.asarray(recurrent), jnp.asarray(inputs), jnp.asarray(older.T / (older**2).sum()))


def test_a_sparse_spiral_in_words():
    found = geometry(packed(0.444, 90, 3), 3)
    lines = verdict(found, density=0.05)
    assert lines[0].startswith("Feature 1: sparse. 100 % of it is read out when it is due; ψ = 1.00")
    assert "turn by 270° over the delay" in lines[0]
    assert lines[1] == "1 of 1 features are stored, 2 memories for each unit: they are superposed in time."
    assert lines[2] == (
        "At a density of 0.05 the sparse packing costs less: the transition is at 0.495, a factor of 9.9 away."
    )
    assert "the dense packing costs less: the transition is at 0.2" in verdict(found, density=0.4, critical=0.2)[2]
    assert verdict(geometry(packed(0.444, 90, 9), 9), density=0.4)[2].startswith(
        "The transition for a delay of 9 is not"
    )


def test_the_table_is_of_one_feature_in_two_units():
    a = np.array([0.2, 0.5, 1.0, 0.6, 0.3])[:, None, None]
    for units in (1, 3):
        lines = verdict(geometry_of(a, np.ones((5, units, 1)), 2), density=0.1)
        size = f"(units: {units}, features: 1)"
        assert lines[-1] == f"The transition for a delay of 2 is not tabulated {size}: pass `critical`."


def test_denser_delays_come_before_longer_ones():
    values = [TRANSITION[k] for k in sorted(TRANSITION)]
    assert values == sorted(values, reverse=True)


def test_without_eigenvalues_nothing_is_said_of_a_turn():
    a = np.array([0.2, 0.5, 1.0, 0.6, 0.3])[:, None, None]
    line = verdict(geometry_of(a, a, 2))[0]
    assert "turn" not in line
    assert line.startswith("Feature 1: dense.")
    assert "forgotten smoothly" in line


def test_path_decay_tail_and_packing_of_a_spiral():
    found = geometry(packed(0.8, 100, 3), 3, ages=12)
    # a spiral turns and shrinks evenly: sums of three turns, and the slope of a line
    np.testing.assert_allclose(found.path_angle, 300, rtol=1e-12)
    np.testing.assert_allclose(found.decay, 0.8, rtol=1e-12)
    ages = np.arange(12)
    a = 0.8 ** (ages - 3) * np.cos(np.deg2rad(100 * (ages - 3)))
    np.testing.assert_allclose(found.tail, (a[4:] ** 2).sum(), rtol=1e-10)
    square = 0.8 ** (2 * ages)
    others = ages != 3
    np.testing.assert_allclose(found.packing_length, square[others & (a <= 0)].sum() / square[others].sum(), rtol=1e-12)
    np.testing.assert_allclose(found.half_turns, 300 / 180, rtol=1e-12)


def test_a_path_that_turns_back_is_longer_than_its_turn():
    angle = np.deg2rad([0.0, 40.0, 10.0, 0.0])
    w = np.stack([np.cos(angle), np.sin(angle)], 1)[:, :, None]
    found = geometry_of(np.ones((4, 1, 1)), w, 2)
    # 40 there and 30 back
    np.testing.assert_allclose([found.cumulative_angle[0], found.path_angle[0]], [10, 70], rtol=1e-12)
    # a single age is left after the delay, which has no slope
    assert np.isnan(found.decay).all()


def test_directions_of_all_ages_interfere_as_those_of_a_recurrence():
    weights = packed(0.6, 50, 2)
    long = geometry(weights, 2, ages=60)
    again = geometry_of(long.projection, long.direction, 2)
    # 0.6^120 is left out
    np.testing.assert_allclose(again.interference, long.interference, atol=1e-12)
    assert np.trace(again.interference) == pytest.approx(2, rel=1e-12)
