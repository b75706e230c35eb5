"""Comparing geometries: what must not matter does not, and what is known comes out."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Array

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.warping import Comparison, Immersion, affine_distance, compare, immersion
from recurvature.lenses.warping.comparison import distance_differences, line_profile
from recurvature.systems import Network, PulsedInputs, box

CHART = box(a=(-1.0, 1.0), b=(0.0, 1.0)).coordinates
POINTS = (7, 6)


class Sheet(eqx.Module):
    """A bent sheet, seen through a matrix."""

    seen_through: Array
    bend: Array

    def __call__(self, theta: Array) -> Array:
        a, b = theta
        plain = jnp.stack([a + self.bend * a**3, b + 0.2 * a * b, self.bend * a * b, 0.3 * b**2])
        return self.seen_through @ plain


def sheet(bend: float, through: Any = None) -> Immersion:
    return Immersion(Sheet(jnp.eye(4) if through is None else jnp.asarray(through), jnp.asarray(bend)), CHART)


def turn(seed: int) -> np.ndarray:
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).normal(size=(4, 4)))[0])


def spd(seed: int, m: int) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(m, m))
    return root @ root.T + 0.1 * np.eye(m)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    groups = {
        "plain": [sheet(0.5), sheet(0.5, turn(0)), sheet(0.5, 3 * turn(1))],
        "bent": [sheet(1.5), sheet(1.6)],
    }
    return compare(groups, points=POINTS, learned={"plain": [True, True, False], "bent": [True, True]})


def test_orthogonal_maps_of_states_make_no_difference(comparison: Comparison) -> None:
    # sums of a dozen edges, rounded; the square root of the metric loses nothing
    np.testing.assert_allclose(comparison.difference[:, 0, 1], 0, atol=1e-13)


def test_scaling_of_states_makes_none_in_normalised_forms(comparison: Comparison) -> None:
    scaled = dict(zip(comparison.quantities, comparison.difference[:, 0, 2], strict=True))
    sizes = comparison.size
    assert sizes[2] == pytest.approx(3 * sizes[0], rel=1e-12)
    # |D − 3D| on the average
    assert scaled.pop("geodesic raw mean") == pytest.approx(2 * sizes[0], rel=1e-12)
    assert scaled.pop("geodesic raw max") > scaled.pop("geodesic raw rms") > 2 * sizes[0]
    # G is nine times as large along both coordinates
    for name in ("metric mean", "metric max"):
        assert scaled.pop(name) == pytest.approx(np.sqrt(2) * np.log(9), rel=1e-12)
    assert len(scaled) == 13
    np.testing.assert_allclose(list(scaled.values()), 0, atol=1e-13)


def test_a_change_of_geometry_is_seen_by_every_quantity(comparison: Comparison) -> None:
    assert (comparison.difference[:, 0, 3] > 1e-3).all()
    np.testing.assert_array_equal(comparison.difference, np.swapaxes(comparison.difference, 1, 2))
    np.testing.assert_array_equal(np.diagonal(comparison.difference, axis1=1, axis2=2), 0)


def test_between_stands_beside_the_baseline_of_seeds(comparison: Comparison) -> None:
    table = comparison.difference
    # definitions: pairs of learned members only, here 0, 1 and 3, 4
    np.testing.assert_array_equal(comparison.within, np.stack([table[:, 0, 1], table[:, 3, 4]], -1))
    between = table[:, [0, 0, 1, 1], [3, 4, 3, 4]].mean(-1)
    np.testing.assert_allclose(comparison.between[:, 0, 1], between, rtol=1e-14)
    baseline = comparison.within.mean(-1)
    np.testing.assert_allclose(comparison.ratio[:, 0, 1], between / baseline, rtol=1e-12)
    np.testing.assert_array_equal(comparison.ratio, np.swapaxes(comparison.ratio, 1, 2))
    # bends of 1.5 and 1.6 differ less than bends of 0.5 and 1.5
    assert (comparison.ratio[:, 0, 1] > 5).all()
    assert comparison.learned.tolist() == [1, 1, 0, 1, 1]
    assert comparison.learned_given
    assert comparison.group_of == ("plain", "plain", "plain", "bent", "bent")


def test_a_group_of_one_has_no_baseline() -> None:
    found = compare({"one": [sheet(0.5)], "other": [sheet(1.5)]}, points=POINTS)
    assert np.isnan(found.within).all()
    assert np.isnan(found.ratio).all()
    assert np.isfinite(found.between[:, 0, 1]).all()
    assert not found.learned_given


def test_differences_of_tables_are_those_of_their_definitions() -> None:
    rng = np.random.default_rng(5)
    a, b = (np.abs(t + t.T) for t in rng.normal(size=(2, 9, 9)))
    p, q = ([t[i, j] for i in range(9) for j in range(i + 1, 9)] for t in (a, b))
    gaps = [np.abs(np.array(p) / u - np.array(q) / v) for u, v in ((1, 1), (max(p), max(q)), (np.mean(p), np.mean(q)))]
    by_hand = [f(g) for g in gaps for f in (np.mean, np.max, lambda g: np.sqrt(np.mean(g**2)))]
    ranks = [np.argsort(np.argsort(v)) for v in (p, q)]
    # sums of 36 numbers, rounded
    np.testing.assert_allclose(distance_differences(a, b)[:-1], by_hand, rtol=1e-13)
    assert distance_differences(a, b)[-1] == pytest.approx(1 - np.corrcoef(np.array(ranks, float))[0, 1], rel=1e-12)
    # pairs that no path joins are left out, of both
    a[0, 1:] = a[1:, 0] = np.inf
    assert distance_differences(a, b) == distance_differences(a[1:, 1:], b[1:, 1:])
    assert np.isnan(distance_differences(np.zeros((3, 3)), b[:3, :3])).all()


def test_line_profiles_are_shares_of_arc_length() -> None:
    curve = Immersion(lambda t: jnp.stack([jnp.sinh(t[0]), jnp.cosh(t[0])]), box(t=(0.0, 1.0)).coordinates)
    found = line_profile(curve, (9,), 0)[0]
    from scipy.integrate import quad

    lengths = [quad(lambda s: np.sqrt(np.cosh(2 * s)), 0, end, epsabs=1e-13)[0] for end in np.linspace(0, 1, 9)]
    # a rule of order 6 with steps of 1/8
    np.testing.assert_allclose(found, np.array(lengths) / lengths[-1], rtol=0, atol=1e-9)
    circle = Immersion(rc.systems.circle().embed, rc.systems.circle().coordinates)
    # around a period, from 0 to 1 with the low end once more
    np.testing.assert_allclose(line_profile(circle, (8,), 0)[0], np.arange(9) / 8, rtol=1e-13)
    still = Immersion(lambda t: t[:1], CHART)
    assert np.isnan(line_profile(still, (3, 3), 1)).all()


def test_the_distance_of_diagonal_metrics_is_that_of_their_logarithms() -> None:
    a, b = np.array([[1.0, 4.0, 9.0], [2.0, 2.0, 2.0]]), np.array([[2.0, 1.0, 9.0], [6.0, 6.0, 6.0]])
    first, second = (v[:, :, None] * np.eye(3) for v in (a, b))
    logs = np.log(b / a)
    # rounding of logarithms
    np.testing.assert_allclose(affine_distance(first, second), np.linalg.norm(logs, axis=1), rtol=1e-13)
    shape = np.linalg.norm(logs - logs.mean(1, keepdims=True), axis=1)
    np.testing.assert_allclose(affine_distance(first, second, volume=False), shape, rtol=1e-13, atol=1e-14)
    singular = np.diag([1.0, 0.0])
    assert np.isnan(affine_distance(singular, np.eye(2)))
    assert np.isnan(affine_distance(np.eye(2), singular))


@given(seed=st.integers(0, 2**32 - 1), m=st.sampled_from([1, 2, 3]))
def test_the_distance_of_metrics_is_one_in_every_chart(seed: int, m: int) -> None:
    a, b, c = (spd(seed + k, m) for k in range(3))
    chart = np.random.default_rng(seed + 9).normal(size=(m, m)) + 3 * np.eye(m)
    plain = affine_distance(a, b)
    # the condition of random matrices of 3 × 3, rarely beyond 1e4, times rounding
    close = functools.partial(np.testing.assert_allclose, rtol=1e-8, atol=1e-8)
    for volume in (True, False):
        here = affine_distance(a, b, volume=volume)
        close(affine_distance(chart.T @ a @ chart, chart.T @ b @ chart, volume=volume), here)
        close(affine_distance(b, a, volume=volume), here)
        close(affine_distance(a, a, volume=volume), 0)
    close(affine_distance(a, 5 * b, volume=False), affine_distance(a, b, volume=False))
    assert affine_distance(a, c) <= plain + affine_distance(b, c) + 1e-8
    # an independent route: logarithms of generalised eigenvalues
    import scipy.linalg

    close(plain, np.linalg.norm(np.log(scipy.linalg.eigvalsh(b, a))))


def test_a_network_is_nearer_to_its_like_than_to_another_seed(network: Network, manifold: PulsedInputs) -> None:
    other = rc.systems.leaky_current(30, inputs=4, outputs=2, key=rc.key(7), dt=0.1, gain=1.2)
    near = jax.tree.map(lambda leaf: leaf * 1.01 if eqx.is_inexact_array(leaf) else leaf, network)
    at = [immersion(n, manifold, time=1.5) for n in (network, near, other)]
    found = compare({"all": at}, points=6, neighbours=8, learned={"all": [True, True, False]})
    assert (found.difference[:, 0, 1] < found.difference[:, 0, 2]).all()
    np.testing.assert_array_equal(found.within[:, 0], found.difference[:, 0, 1])
    assert found.singular.tolist() == [0, 0, 0]


def test_rows_of_points_compare_without_lines() -> None:
    rows = np.random.default_rng(2).uniform([-1, 0], [1, 1], (30, 2))
    found = compare({"x": [sheet(0.5), sheet(0.5, turn(3))]}, points=rows)
    assert not [q for q in found.quantities if q.startswith("line")]
    # as for grids
    np.testing.assert_allclose(found.difference[:, 0, 1], 0, atol=1e-13)


def test_float32_manifolds_give_float32_numbers() -> None:
    single = [rc.cast(sheet(bend), jnp.float32) for bend in (0.5, 0.5, 1.5)]
    found = compare({"x": single}, points=POINTS)
    assert (found.dtype, found.difference.dtype) == ("float32", np.dtype(np.float32))
    # the same program twice; stretches of a metric against itself are 1 but for rounding
    np.testing.assert_allclose(found.difference[:, 0, 1], 0, atol=1e-6)
    wide = compare({"x": [sheet(0.5), sheet(1.5)]}, points=POINTS)
    # seven digits of distances of order one; ranks move by a few places among 861
    np.testing.assert_allclose(found.difference[:, 0, 2], wide.difference[:, 0, 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare({"x": [sheet(1.0)]}, points=POINTS), "at least two"),
        (lambda: compare({"x": [sheet(1.0), sheet(1.0)], "y": []}, points=POINTS), "one to each group"),
        (lambda: compare({"x": [sheet(1.0)] * 2}, points=POINTS, learned={"x": [True]}), "`learned`"),
        (lambda: compare({"x": [sheet(1.0)] * 2}, points=POINTS, learned={"y": [True, True]}), "`learned`"),
        (
            lambda: compare({"x": [sheet(1.0), Immersion(lambda t: t, box(c=(0.0, 1.0)).coordinates)]}, points=5),
            "chart",
        ),
        (lambda: affine_distance(np.ones((2, 3)), np.ones((2, 3))), "one shape"),
    ],
)
def test_misuse_names_the_argument(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
