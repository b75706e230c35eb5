"""Distances between all pairs of points: against lengths known in closed form, and against what any distance obeys."""

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.warping import GEODESIC_STATUS, Immersion, geodesic_distances, immersion
from recurvature.lenses.warping.geodesics.stencil import metrication, stencil
from recurvature.systems import Network, PulsedInputs, box, circle, torus

SQUARE = box(a=(0.0, 1.0), b=(0.0, 1.0)).coordinates
PLANE = Immersion(lambda t: t, SQUARE)
CLIFFORD = Immersion(
    lambda t: jnp.stack([jnp.cos(t[0]), jnp.sin(t[0]), jnp.cos(t[1]), jnp.sin(t[1])]), torus("a", "b").coordinates
)
RING = Immersion(lambda t: jnp.stack([jnp.cos(t[0]), jnp.sin(t[0])]), circle().coordinates)


# the excess of a direction half-way between two neighbouring ones: 45° apart for 8; (1, 0) and (2, 1) for 16
@pytest.mark.parametrize(
    ("neighbours", "m", "count", "worst"),
    [
        (8, 2, 8, 1 / np.cos(np.pi / 8) - 1),
        (16, 2, 16, 1 / np.cos(np.arctan(0.5) / 2) - 1),
        (32, 2, 32, 1 / np.cos(np.arctan(1 / 3) / 2) - 1),
        (16, 1, 2, 0.0),
        (16, 3, 98, None),
    ],
)
def test_stencils_have_the_known_worst_excess(neighbours: int, m: int, count: int, worst: float | None) -> None:
    steps = stencil(neighbours, m)
    assert 2 * len(np.unique(np.concatenate([steps, -steps]), axis=0)) == 2 * count
    excess = float(metrication(steps.astype(float)))
    if worst is not None:
        # one cosine: rounding
        assert excess == pytest.approx(worst, abs=1e-14)
    else:
        # directions at random find no larger excess, and come close: 1/max |cos| bounds it from below
        draws = np.random.default_rng(0).normal(size=(20_000, 3))
        facets = metrication(steps.astype(float))
        cosine = np.abs(draws @ steps.T) / np.linalg.norm(draws, axis=1)[:, None] / np.linalg.norm(steps, axis=1)
        assert 1 / cosine.max(1).min() - 1 == pytest.approx(float(facets), rel=0.05)
        assert 1 / cosine.max(1).min() - 1 <= facets * (1 + 1e-9)


@pytest.mark.parametrize(("neighbours", "worst"), [(8, 0.0824), (16, 0.0275)])
def test_a_flat_square_is_off_by_metrication_alone(neighbours: int, worst: float) -> None:
    found = geodesic_distances(PLANE, points=17, neighbours=neighbours)
    assert found.flat_metrication is not None
    theta = np.asarray(found.theta)
    exact = np.linalg.norm(theta[:, None] - theta[None], axis=-1)
    excess = np.asarray(found.distances) / np.where(exact > 0, exact, 1) - 1
    off = ~np.eye(len(theta), dtype=bool)
    # sums of at most 16 edges: rounding
    assert excess[off].min() > -1e-14
    assert excess[off].max() <= found.flat_metrication + 1e-14
    # steps of 16 come near the worst direction
    assert excess[off].max() == pytest.approx(worst, rel=0.02)
    np.testing.assert_allclose(found.metrication, found.flat_metrication, rtol=1e-12)


def test_the_bound_follows_the_metric() -> None:
    stretched = Immersion(lambda t: t * jnp.asarray([10.0, 1.0]), SQUARE)
    found = geodesic_distances(stretched, points=17)
    theta = np.asarray(found.theta) * [10.0, 1.0]
    exact = np.linalg.norm(theta[:, None] - theta[None], axis=-1)
    off = ~np.eye(len(theta), dtype=bool)
    excess = (np.asarray(found.distances)[off] / exact[off]).max() - 1
    # far beyond the 2.75 % of an isotropic grid, and within what is recorded
    assert 0.1 < excess <= np.max(found.metrication) + 1e-14


def test_around_a_torus_and_a_circle() -> None:
    count = 12
    found = geodesic_distances(CLIFFORD, points=count, edges="arc", neighbours=8)
    theta = np.asarray(found.theta)
    across = np.abs((theta[:, None] - theta[None] + np.pi) % (2 * np.pi) - np.pi)
    # along a line of the grid a path has arcs of 30° alone; their Richardson error is h⁵/7680 of h each, 1e-5
    axis = (across < 1e-9).any(-1)
    np.testing.assert_allclose(np.asarray(found.distances)[axis], across.sum(-1)[axis], rtol=1e-5)
    # king's moves on a flat torus: the diagonal as far as it leads, then straight
    king = (np.sqrt(2) - 1) * across.min(-1) + across.max(-1)
    np.testing.assert_allclose(found.distances, king, rtol=1e-5)
    ring = geodesic_distances(RING, points=10)
    chord = 2 * np.sin(np.pi / 10)
    steps = np.abs((np.arange(10) + 5) % 10 - 5)
    # m = 1: the polygon of 10 sides
    np.testing.assert_allclose(np.asarray(ring.distances)[0], steps * chord, rtol=1e-14)
    assert np.all(np.asarray(ring.metrication) == 0)


def test_rows_are_joined_to_their_nearest_around_the_torus() -> None:
    rows = np.random.default_rng(1).uniform(-np.pi, 3 * np.pi, size=(150, 2))
    found = geodesic_distances(CLIFFORD, points=rows, neighbours=12, edges="arc")
    across = np.abs((rows[:, None] - rows[None] + np.pi) % (2 * np.pi) - np.pi)
    exact = np.linalg.norm(across, axis=-1)
    # Richardson on steps of up to one radian
    assert (np.asarray(found.distances) >= exact * (1 - 1e-3)).all()
    far = exact > 1.5
    # scattered points leave wider gaps between directions than a grid does
    assert np.median(np.asarray(found.distances)[far] / exact[far]) < 1.15
    assert found.grid == ()
    assert found.converged.all()


def test_points_given_twice_add_no_direction() -> None:
    row = np.stack([np.full(5, 0.5), np.linspace(0.1, 0.9, 5)], axis=-1)
    # all edges run along the second coordinate, but for those of no length
    found = geodesic_distances(PLANE, points=np.concatenate([row, row]), neighbours=3)
    assert np.isinf(found.metrication).all()


@pytest.mark.slow  # distances with closed forms are tested by default
def test_any_distance_is_symmetric_and_obeys_the_triangle(network: Network, manifold: PulsedInputs) -> None:
    at = immersion(network, manifold, time=1.7)
    found = geodesic_distances(at, points=6)
    d = np.asarray(found.distances)
    np.testing.assert_array_equal(d, d.T)
    assert (np.diag(d) == 0).all()
    # sums of a few edges in one order and another
    assert (d[:, None, :] <= d[:, :, None] + d[None] + 1e-12).all()
    state = np.asarray(at.rows(jnp.asarray(found.theta))[0])
    chord = np.linalg.norm(state[:, None] - state[None], axis=-1)
    assert (d >= chord - 1e-12).all()


def test_what_cannot_be_reached_is_said() -> None:
    def torn(theta: Array) -> Array:
        return jnp.where((theta[0] > 0.4) & (theta[0] < 0.6), jnp.nan, theta)

    found = geodesic_distances(Immersion(torn, SQUARE), points=(11, 3), neighbours=8)
    codes = np.asarray(found.status)
    lost = (found.theta[:, 0] > 0.4) & (found.theta[:, 0] < 0.6)
    assert {GEODESIC_STATUS[c] for c in np.unique(codes[lost])} == {"non_finite"}
    assert GEODESIC_STATUS[codes[0, -1]] == "unreachable"
    assert np.isinf(found.distances[0, -1])
    assert codes[0, 1] == 0


def test_a_state_that_does_not_move_has_no_distances_but_zero() -> None:
    found = geodesic_distances(Immersion(lambda t: jnp.zeros(3) * t[0], SQUARE), points=5)
    assert (np.asarray(found.distances) == 0).all()
    assert np.isinf(found.metrication).all()


@pytest.mark.slow
def test_float32_stays_float32(manifold: PulsedInputs) -> None:
    network = rc.cast(rc.systems.leaky_current(30, inputs=4, outputs=2, key=rc.key(0), dt=0.1, gain=1.2), jnp.float32)
    at = immersion(network, rc.cast(manifold, jnp.float32), time=1.7)
    wide = rc.systems.leaky_current(30, inputs=4, outputs=2, key=rc.key(0), dt=0.1, gain=1.2)
    found = geodesic_distances(at, points=5)
    assert np.asarray(found.distances).dtype == np.float32
    # single precision over 17 steps
    exact = geodesic_distances(immersion(wide, manifold, time=1.7), points=5)
    np.testing.assert_allclose(found.distances, exact.distances, rtol=1e-4)


def test_misuse_names_the_argument() -> None:
    with pytest.raises(InputError, match="`neighbours`"):
        geodesic_distances(PLANE, points=5, neighbours=12)
    with pytest.raises(InputError, match="`points` must be at least 5 along `a`"):
        geodesic_distances(CLIFFORD, points=4)
    with pytest.raises(InputError, match="`points` needs one count"):
        geodesic_distances(PLANE, points=(4, 4, 4))
    with pytest.raises(InputError, match="`points`"):
        geodesic_distances(PLANE, points=np.zeros((3, 3)))
