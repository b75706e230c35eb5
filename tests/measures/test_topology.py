"""Persistent homology: closed-form barcodes, covering radii by brute force, and a rule that can say no."""

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from recurvature._errors import InputError
from recurvature.measures import (
    PERSISTENCE_STATUS,
    Persistence,
    bottleneck,
    farthest_points,
    persistence,
    shuffled_units,
)

pytest.importorskip("ripser", reason="the extra `topology` is not installed")

RNG = np.random.default_rng(0)
FLOAT32 = float(np.finfo(np.float32).eps)


def sphere(count: int, dimension: int) -> np.ndarray:
    """Even random points of the unit sphere in `dimension` + 1 dimensions."""
    normal = RNG.normal(size=(count, dimension + 1))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def table(points: np.ndarray) -> np.ndarray:
    return cdist(points, points)


def flat_torus(count: int, *, thin: float = 1.0) -> np.ndarray:
    """Distances of a square grid on a torus of two circles, the second `thin` times the first."""
    angle = 2 * np.pi * np.arange(count) / count
    grid = np.stack([a.ravel() for a in np.meshgrid(angle, angle, indexing="ij")], -1)
    step = np.abs(grid[:, None] - grid[None])
    return np.linalg.norm(np.minimum(step, 2 * np.pi - step) * np.array([1.0, thin]), axis=-1)


def polygon(count: int) -> np.ndarray:
    return np.stack([f(2 * np.pi * np.arange(count) / count) for f in (np.cos, np.sin)], -1)


def betti(found: Persistence) -> tuple[int, ...]:
    return tuple(np.asarray(found.betti).tolist())


def test_the_loop_of_a_regular_polygon_lives_between_known_scales() -> None:
    found = persistence(table(polygon(30)), degrees=1)
    # born when neighbours join, dead when a regular triangle fits; ripser works in float32
    np.testing.assert_allclose(found.bars(1), [[2 * np.sin(np.pi / 30), np.sqrt(3)]], rtol=4 * FLOAT32)
    assert betti(found) == (1, 1)
    assert found.covering_radius == 0
    assert found.connection_scale == pytest.approx(2 * np.sin(np.pi / 30), rel=4 * FLOAT32)


def test_a_flat_torus_has_the_barcode_of_its_circles() -> None:
    found = persistence(flat_torus(12), degrees=2)
    # a closed geodesic of length c lives from its spacing to c/3; ripser works in float32
    np.testing.assert_allclose(found.bars(1)[:2], [[np.pi / 6, 2 * np.pi / 3]] * 2, rtol=4 * FLOAT32)
    assert betti(found) == (1, 2, 1)
    assert set(np.asarray(found.status).tolist()) == {0}


@pytest.mark.parametrize(
    ("points", "degrees", "landmarks", "expected"),
    [
        (sphere(300, 1), 1, 60, (1, 1)),
        (sphere(1000, 2), 2, 80, (1, 0, 1)),
        (sphere(600, 2)[:, :2], 1, 80, (1, 0)),
        (np.concatenate([polygon(40), polygon(40) + 5]), 1, 60, (2, 2)),
        (np.concatenate([polygon(40), polygon(40) + np.array([2.0, 0.0])]), 1, None, (1, 2)),
    ],
    ids=["circle", "sphere", "disc", "two circles", "figure eight"],
)
def test_shapes_are_recognised(
    points: np.ndarray, degrees: int, landmarks: int | None, expected: tuple[int, ...]
) -> None:
    assert betti(persistence(table(points), degrees=degrees, landmarks=landmarks)) == expected


def test_unequal_circles_both_count_while_the_sampling_vouches_for_both() -> None:
    thin = persistence(flat_torus(14, thin=0.5), degrees=1)
    # half the circle, half the bar; ripser works in float32
    np.testing.assert_allclose(np.diff(thin.bars(1)[:2], axis=1).ravel(), [1.7951958, 0.8975979], rtol=1e-6)
    assert betti(thin) == (1, 2)


def test_a_grid_too_coarse_along_one_circle_falls_apart_into_the_others() -> None:
    # fourteen thin circles far from each other, and the loop that they are arranged on
    assert betti(persistence(flat_torus(14, thin=0.05), degrees=1)) == (14, 15)


@pytest.mark.parametrize("count", [1, 4, 17])
def test_farthest_points_cover_as_they_say(count: int) -> None:
    distances = table(RNG.normal(size=(60, 3)))
    chosen, radius = farthest_points(distances, count, start=5)
    assert len(set(chosen.tolist())) == count
    assert chosen[0] == 5
    assert radius == max(min(distances[p, c] for c in chosen) for p in range(60))
    # the property that makes them landmarks: no two are nearer than the radius
    assert all(distances[a, b] >= radius for a, b in itertools.combinations(chosen, 2))


def test_farthest_points_are_within_twice_the_best() -> None:
    distances = table(RNG.normal(size=(11, 2)))
    best = min(distances[:, list(c)].min(1).max() for c in itertools.combinations(range(11), 3))
    assert best <= farthest_points(distances, 3)[1] <= 2 * best


def test_the_covering_radius_is_part_of_the_floor() -> None:
    distances = table(sphere(300, 1))
    found = persistence(distances, degrees=1, landmarks=30, noise=0.02)
    assert found.covering_radius == farthest_points(distances, 30)[1]
    resolution = max(found.covering_radius, found.connection_scale / 2)
    # the same sum, rounded once more
    assert np.asarray(found.floor)[1] == pytest.approx(3 * resolution + 0.04, rel=1e-14)


def test_barcodes_are_stable() -> None:
    clean = table(polygon(40))
    error = RNG.uniform(-0.05, 0.05, clean.shape)
    noisy = np.abs(clean + np.triu(error, 1) + np.triu(error, 1).T)
    np.fill_diagonal(noisy, 0)
    moved = bottleneck(persistence(clean, degrees=1), persistence(noisy, degrees=1), 1)
    # the stability theorem: no more than the largest error of a distance
    assert 0 < moved <= 0.05
    assert bottleneck(persistence(clean, degrees=1), persistence(clean, degrees=1), 1) == 0


def test_scale_and_order_of_points_do_not_matter() -> None:
    distances = table(sphere(50, 1))
    order = RNG.permutation(50)
    one, other = (persistence(d, degrees=1, landmarks=None) for d in (distances, 7.5 * distances[order][:, order]))
    # ripser works in float32
    np.testing.assert_allclose(7.5 * one.bars(1), other.bars(1), rtol=8 * FLOAT32)
    assert betti(one) == betti(other)


def test_noise_hides_loops_that_it_could_have_made() -> None:
    distances = table(polygon(40))
    assert betti(persistence(distances, degrees=1)) == (1, 1)
    # the loop is 1.57 long: twice the noise is more
    assert betti(persistence(distances, degrees=1, noise=0.8)) == (1, 0)


def test_a_null_without_structure_raises_the_floor(getkey: Any) -> None:
    ring = np.concatenate([polygon(60), 0.1 * RNG.normal(size=(60, 2))], axis=1)
    null = np.stack([table(shuffled_units(ring, key=getkey())) for _ in range(8)])
    plain, held = (persistence(table(ring), degrees=1, null=n) for n in (None, null))
    assert betti(held) == (1, 1)
    longest = [np.diff(persistence(d, degrees=1).bars(1)[0])[0] for d in null]
    assert np.asarray(held.floor)[1] == max(np.asarray(plain.floor)[1], np.quantile(longest, 0.95))
    # a ring among its own copies is nothing out of the ordinary
    assert betti(persistence(table(ring), degrees=1, null=np.stack([table(ring)] * 3))) == (1, 0)


def test_shuffling_keeps_the_values_of_every_unit(getkey: Any) -> None:
    points, key = RNG.normal(size=(30, 4)), getkey()
    shuffled = shuffled_units(points, key=key)
    np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(points, axis=0))
    assert not np.array_equal(np.argsort(shuffled[:, 0]), np.argsort(shuffled[:, 1]))
    np.testing.assert_array_equal(shuffled, shuffled_units(points, key=key))


def test_what_no_path_joins_is_a_component_of_its_own() -> None:
    distances = np.full((60, 60), np.inf)
    distances[:30, :30] = distances[30:, 30:] = table(polygon(30))
    assert betti(persistence(distances, degrees=1)) == (2, 2)


def test_a_betti_number_that_hangs_on_the_factor_is_flagged() -> None:
    distances = table(sphere(1000, 2))
    few = persistence(distances, degrees=2, landmarks=24)
    assert PERSISTENCE_STATUS[np.asarray(few.status)[2]] in ("no_gap", "undersampled")
    assert np.asarray(few.betti)[2] == 0
    blob = persistence(table(RNG.normal(size=(100, 10))), degrees=1, landmarks=50)
    assert PERSISTENCE_STATUS[np.asarray(blob.status)[1]] == "undersampled"


def test_float32_tables_give_float32_bars() -> None:
    found = persistence(table(polygon(20)).astype(np.float32), degrees=1)
    assert {np.asarray(a).dtype for a in (found.birth, found.death, found.floor)} == {np.dtype(np.float32)}
    assert betti(found) == (1, 1)


@pytest.mark.parametrize(
    ("distances", "options", "message"),
    [
        (np.zeros((3, 2)), {}, "square"),
        (np.array([[0.0, 1.0], [2.0, 0.0]]), {}, "symmetric"),
        (np.array([[1.0, 1.0], [1.0, 1.0]]), {}, "diagonal"),
        (np.array([[0.0, -1.0], [-1.0, 0.0]]), {}, "at least 0"),
        (np.array([[0.0, np.nan], [np.nan, 0.0]]), {}, "NaN"),
        (np.ones((2, 2)) - np.eye(2), {"noise": -1.0}, "`noise`"),
        (np.ones((2, 2)) - np.eye(2), {"factor": 0.0}, "`factor`"),
        (np.ones((2, 2)) - np.eye(2), {"degrees": 0}, "`degrees`"),
        (np.ones((2, 2)) - np.eye(2), {"landmarks": 0}, "`count`"),
    ],
)
def test_misuse_names_the_argument(distances: np.ndarray, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        persistence(distances, **options)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ripser", None)
    with pytest.raises(InputError, match=r"pip install 'recurvature\[topology\]'"):
        persistence(table(polygon(5)))
