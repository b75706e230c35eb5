"""Shapes of state manifolds, closed forms and a network's; where they run into themselves."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from tests.lenses.warping.conftest import two_pulses

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.warping import Immersion, Topology, immersion, injectivity, topology
from recurvature.lenses.warping.injectivity import chart_distance, sample
from recurvature.lenses.warping.topology import line_lengths, merge, normalised_distances
from recurvature.measures import persistence
from recurvature.systems import PulsedInputs, circle, sphere, torus

pytest.importorskip("ripser", reason="the extra `topology` is not installed")


class Curve(eqx.Module):
    """Any curve of two harmonics: one compiled program for all."""

    mixing: Array

    def __call__(self, theta: Array) -> Array:
        t = theta[0]
        return self.mixing @ jnp.stack([jnp.cos(t), jnp.sin(t), jnp.cos(2 * t), jnp.sin(2 * t)])


class Circles(eqx.Module):
    """Two circles at right angles: a flat torus."""

    sizes: Array

    def __call__(self, theta: Array) -> Array:
        return (self.sizes[:, None] * jnp.stack([jnp.cos(theta), jnp.sin(theta)], -1)).reshape(-1)


def curve(*rows: list[float]) -> Immersion:
    return Immersion(Curve(jnp.zeros((3, 4)).at[: len(rows)].set(jnp.asarray(rows, float))), circle().coordinates)


TWO = torus("a", "b").coordinates
EVEN = Immersion(Circles(jnp.asarray([1.0, 1.0])), TWO)
FORGETTING = Immersion(Circles(jnp.asarray([0.02, 1.0])), TWO)
RING = curve([1, 0, 0, 0], [0, 1, 0, 0])
EIGHT = curve([0, 1, 0, 0], [0, 0, 0, 1])
LIFTED = curve([0, 1, 0, 0], [0, 0, 0, 1], [0.05, 0, 0, 0])
TWICE = curve([0, 0, 1, 0], [0, 0, 0, 1])
ELLIPSE = curve([3, 0, 0, 0], [0, 1, 0, 0])
BALL = Immersion(sphere().embed, sphere().coordinates)
COUNT = 60


def betti(found: Topology) -> tuple[int, ...]:
    return tuple(np.asarray(found.betti).tolist())


@pytest.mark.parametrize("distances", ["geodesic", "normalised", "euclidean"])
def test_a_circle_and_a_sphere_are_recognised(distances: Any) -> None:
    ring = topology(RING, points=COUNT, distances=distances)
    assert (betti(ring), ring.shape, ring.flags) == ((1, 1), "circle", ())
    ball = topology(BALL, points=14, landmarks=70, distances=distances)
    assert (betti(ball), ball.shape) == ((1, 0, 1), "sphere")
    # the poles of the chart
    assert "singular" in ball.flags


def test_a_torus_is_recognised_with_the_bars_of_its_closed_geodesics() -> None:
    found = topology(EVEN, points=10)
    assert (betti(found), found.shape, found.flags) == ((1, 2, 1), "torus", ())
    bars = found.barcode.bars(1)[:2]
    # born at the spacing, dead at the first step past a third around (4 of 10); ripser works in float32, arcs by
    # Richardson from chords 0.6 long are within 0.6⁴/1000 of the arcs
    np.testing.assert_allclose(bars, [[np.pi / 5, 4 * np.pi / 5]] * 2, rtol=2e-4)
    np.testing.assert_allclose(found.line_length, 2 * np.pi, rtol=1e-12)


def test_a_forgetting_torus_needs_normalised_distances() -> None:
    """One circle has shrunk to a fifth of the spacing along the other."""
    for found in (
        topology(FORGETTING, points=10, distances="geodesic", degrees=1),
        topology(FORGETTING, points=10, distances="euclidean", degrees=1),
    ):
        # ten small circles, and the loop that they are arranged on
        assert (betti(found), found.flags) == ((10, 11), ("disconnected",))
    # at few landmarks, as random samples give, the small circle is simply gone, and the flag says so
    gone = topology(FORGETTING, points=(10, 10), landmarks=16, distances="euclidean", degrees=1)
    assert (betti(gone), gone.flags) == ((1, 1), ("unresolved a",))
    assert betti(topology(FORGETTING, points=10, distances="normalised")) == (1, 2, 1)


def test_normalised_distances_do_not_depend_on_the_sizes_of_circles() -> None:
    even, thin = (normalised_distances(i, sample(i, 8)) for i in (EVEN, FORGETTING))
    # sums of at most 16 edges, rounded
    np.testing.assert_allclose(thin, even, rtol=1e-12)
    # halfway around a circle of length 2π
    assert even[0, 4] == pytest.approx(np.pi, rel=1e-12)


def test_what_noise_hides_is_one_point() -> None:
    # the noise is twice the small circle across, and an eighth of the spacing along the other
    found = topology(FORGETTING, points=10, distances="normalised", resolution=0.08, degrees=1)
    assert betti(found) == (1, 1)
    assert betti(topology(EVEN, points=10, distances="normalised", resolution=0.08, degrees=1)) == (1, 2)


def test_merging_is_the_quotient_metric() -> None:
    line = np.abs(np.subtract.outer(np.arange(6.0), np.arange(6.0)))
    chords = line.copy()
    chords[0, 5] = chords[5, 0] = 0.0
    merged = merge(line, chords, 0.5)
    around = np.minimum(line, 5 - line)
    # whole numbers
    np.testing.assert_array_equal(merged, around)
    np.testing.assert_array_equal(merge(line, chords, 0.0), line)


def test_only_straight_distances_see_a_curve_cross_itself() -> None:
    straight = topology(EIGHT, points=COUNT, distances="euclidean")
    assert (betti(straight), straight.shape) == ((1, 2), "two loops")
    along = topology(EIGHT, points=COUNT)
    assert (betti(along), along.flags) == ((1, 1), ("near_itself",))


def test_a_network_that_forgets_the_first_item_holds_a_torus_that_only_normalised_distances_show() -> None:
    network = rc.systems.leaky_current(30, inputs=4, outputs=2, key=rc.key(0), dt=0.1, gain=0.3)
    items = PulsedInputs(torus("a", "b"), two_pulses, ((0.0, 0.5), (3.0, 3.5)))
    both = immersion(network, items, time=3.5)
    found = topology(both, points=10, distances="normalised")
    assert (betti(found), found.flags) == ((1, 2, 1), ())
    # e^-3 of a circle is left; ten separate ones, or one circle
    assert found.line_length[0] < 0.1 * found.line_length[1]
    assert topology(both, points=10, distances="euclidean", degrees=1).flags == ("disconnected",)
    few = topology(both, points=10, landmarks=14, distances="euclidean", degrees=1)
    assert "unresolved a" in few.flags
    # the second item has not come: its circle is a point, and every point of the chart is singular
    one = topology(immersion(network, items, time=0.5), points=10, distances="euclidean")
    assert (betti(one)[:2], one.flags[-2:]) == ((1, 1), ("unresolved b", "singular"))


def test_a_float32_manifold_keeps_its_number_type() -> None:
    found = topology(rc.cast(RING, jnp.float32), points=COUNT)
    assert (betti(found), found.dtype, np.asarray(found.birth).dtype) == ((1, 1), "float32", np.dtype(np.float32))


def test_covering_radius_and_landmarks_are_of_the_distances_used() -> None:
    found = topology(EVEN, points=8, landmarks=20, distances="normalised", degrees=1)
    table = normalised_distances(EVEN, sample(EVEN, 8))
    # the larger half and the smaller of a symmetric table differ by rounding
    assert found.covering_radius == pytest.approx(max(min(table[p, c] for c in found.landmark) for p in range(64)))
    assert len(found.landmark) == 20
    again = persistence(table, degrees=1, landmarks=20)
    np.testing.assert_allclose(found.birth, again.birth, rtol=1e-6)


def test_the_order_and_the_turn_of_points_do_not_matter() -> None:
    theta = np.random.default_rng(3).uniform(0, 2 * np.pi, (COUNT, 1))
    turn = jnp.linalg.qr(jnp.asarray(np.random.default_rng(4).normal(size=(2, 2))))[0]
    turned = curve([*(3 * turn[0]).tolist(), 0, 0], [*(3 * turn[1]).tolist(), 0, 0])
    one, other = topology(RING, points=theta, landmarks=None), topology(turned, points=theta[::-1], landmarks=None)
    # float32 of ripser
    np.testing.assert_allclose(3 * one.barcode.bars(1), other.barcode.bars(1), rtol=1e-6)


def test_line_lengths_are_those_of_an_ellipse() -> None:
    from scipy.special import ellipe

    # the mean over a period converges geometrically
    assert line_lengths(ELLIPSE, sample(ELLIPSE, COUNT))[0] == pytest.approx(12 * ellipe(8 / 9), rel=1e-9)


def test_the_crossing_of_a_figure_eight_is_found_where_it_is() -> None:
    found = injectivity(EIGHT, points=COUNT)
    assert found.verdict == "self_intersecting"
    crossing = chart_distance(EIGHT.coordinates, np.array([[found.first[0]], [found.second[0]]]), np.array([[0.0]]))
    # the strands cross at 0 and π; both steps are linear to third order, and solved to rounding
    np.testing.assert_allclose(np.sort(crossing), [0.0, 0.5], rtol=0, atol=1e-8)
    assert found.distance < 1e-12
    assert np.nanmin(found.closeness) < 1


def test_a_circle_is_injective_and_as_close_as_its_chord() -> None:
    found = injectivity(RING, points=COUNT, separation=0.11)
    assert found.verdict == "injective"
    # the nearest beyond 0.11 of a turn are 7 of 60 steps away
    closest = np.sin(7 * np.pi / 60) / np.sin(np.pi / 60)
    np.testing.assert_allclose(found.closeness, closest, rtol=1e-12)


def test_strands_closer_than_the_sample_are_a_near_miss() -> None:
    found = injectivity(LIFTED, points=COUNT)
    assert found.verdict == "near_miss"
    # the strands pass at 0.05 above and below the crossing
    assert found.distance == pytest.approx(0.1, rel=1e-6)


def test_a_double_cover_is_not_injective_and_a_lost_coordinate_is_singular() -> None:
    assert injectivity(TWICE, points=COUNT).verdict == "self_intersecting"
    lost = injectivity(Immersion(lambda t: RING(t[:1]), TWO), points=8)
    assert lost.verdict == "singular"
    assert (lost.partner == -1).all()


def test_points_given_twice_do_not_hide_a_crossing() -> None:
    once = circle().coordinates[0].grid(COUNT)[:, None]
    twice = injectivity(EIGHT, points=np.concatenate([once, once + 2 * np.pi]))
    assert twice.verdict == "self_intersecting"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: topology(RING, points=COUNT, resolution=-1.0), "`resolution`"),
        (lambda: topology(Immersion(lambda t: t / 0, RING.coordinates), points=20, distances="euclidean"), "finite"),
        (lambda: injectivity(RING, points=COUNT, separation=0.0), "`separation`"),
        (lambda: injectivity(RING, points=COUNT, separation=0.01), "take more points"),
        # half of a period is as far as it gets
        (lambda: injectivity(RING, points=COUNT, separation=0.6), "nothing to compare"),
    ],
)
def test_misuse_names_the_argument(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
