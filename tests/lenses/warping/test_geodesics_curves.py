"""Geodesics from a velocity and between points: against closed forms and another solver of textbook equations."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from tests.lenses.warping.surfaces import ANGLES, CLIFFORD, PLANE, RING, SPHERE, revolution

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.warping import (
    GEODESIC_STATUS,
    Geodesic,
    Immersion,
    MetricField,
    connect,
    fan,
    geodesic,
    geodesic_distances,
    immersion,
)
from recurvature.systems import ConstantInputs, Coordinate, Network, PulsedInputs, box

START = (0.3, 0.5)


@pytest.fixture(scope="module")
def ring_fan() -> Geodesic:
    """Six geodesics of length 2 from one point of the ring torus."""
    return geodesic(RING, START, fan(RING, START, 6), length=2.0, samples=17)


def textbook(_: float, y: np.ndarray) -> list[float]:
    """The geodesic equations of a torus of revolution of radii 2 and 1, by its Christoffel symbols."""
    _, b, da, db = y
    w = 2 + np.cos(b)
    return [da, db, 2 * np.sin(b) / w * da * db, -w * np.sin(b) * da**2]


@pytest.mark.oracle
def test_a_fan_on_the_ring_torus_obeys_the_textbook(ring_fan: Geodesic) -> None:
    for k in range(6):
        begin = [*START, *ring_fan.velocity[k, 0]]
        other = solve_ivp(textbook, (0, 2.0), begin, "DOP853", ring_fan.time, rtol=1e-13, atol=1e-14)
        # both solvers to 1e-12 a step; the bound that is promised is 1e-10
        np.testing.assert_allclose(ring_fan.theta[k], other.y[:2].T, rtol=0, atol=1e-11)
    w = 2 + np.cos(ring_fan.theta[..., 1])
    clairaut = w**2 * ring_fan.velocity[..., 0]
    # the angular momentum of every curve is constant (Clairaut), again to the solver's tolerance
    np.testing.assert_allclose(clairaut - clairaut[:, :1], 0, atol=1e-11)
    assert np.max(ring_fan.drift) < 1e-12
    assert ring_fan.converged.all()


def shoot(space: Immersion, start: tuple[float, float], velocities: list[tuple[float, float]]) -> Geodesic:
    """Six curves, so that one compiled program serves all tests."""
    return geodesic(space, start, np.resize(velocities, (6, 2)), duration=2.0, samples=17)


def test_straight_lines_of_flat_surfaces_and_circles_of_round_ones() -> None:
    for flat in (PLANE, CLIFFORD):
        found = shoot(flat, START, [(0.4, -0.7), (1.0, 2.0)])
        line = np.asarray(START) + found.time[None, :, None] * found.velocity[:, :1]
        # no curvature to integrate: rounding
        np.testing.assert_allclose(found.theta, line, rtol=0, atol=1e-13)
    found = shoot(SPHERE, START, [(0.4, -0.7), (0.9, 0.1)])
    ca, sa, cb, sb = np.cos(START[0]), np.sin(START[0]), np.cos(START[1]), np.sin(START[1])
    at, tangents = np.asarray([cb * ca, cb * sa, sb]), np.asarray([[-cb * sa, -sb * ca], [cb * ca, -sb * sa], [0, cb]])
    for k in range(2):
        a, b = found.theta[k].T
        points = np.stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)], -1)
        speed = float(found.length[k]) / 2
        along = tangents @ found.velocity[k, 0] / speed
        circle = np.cos(speed * found.time)[:, None] * at + np.sin(speed * found.time)[:, None] * along
        # tolerance of the solver
        np.testing.assert_allclose(points, circle, rtol=0, atol=1e-11)
    # the equators and a meridian of the ring torus
    found = shoot(RING, (0.2, 0.0), [(1.0, 0.0), (0.0, 1.0)])
    np.testing.assert_allclose(found.theta[0], np.stack([0.2 + found.time, 0 * found.time], -1), rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.theta[1], np.stack([0.2 + 0 * found.time, found.time], -1), rtol=0, atol=1e-13)
    # three times as far around the outer equator as around the tube
    np.testing.assert_allclose(found.length[:2], [6.0, 2.0], rtol=1e-14)


def test_going_back_leads_back(ring_fan: Geodesic) -> None:
    back = geodesic(RING, ring_fan.theta[:, -1], -ring_fan.velocity[:, -1], duration=2.0, samples=17)
    # twice the error of one way
    np.testing.assert_allclose(back.theta[:, ::-1], ring_fan.theta, rtol=0, atol=1e-11)


@pytest.mark.slow
def test_a_metric_field_has_the_same_geodesics(ring_fan: Geodesic) -> None:
    field = MetricField(lambda t: jnp.diag(jnp.stack([(2 + jnp.cos(t[1])) ** 2, jnp.ones_like(t[1])])), ANGLES)
    found = geodesic(field, START, ring_fan.velocity[:, 0], length=2.0, samples=17)
    # the same equation by another route, both to 1e-12 a step
    np.testing.assert_allclose(found.theta, ring_fan.theta, rtol=0, atol=1e-11)
    assert np.isnan(found.chord).all()
    np.testing.assert_allclose(fan(field, START, 6), fan(RING, START, 6), rtol=1e-13)


def test_poles_and_edges_are_marked() -> None:
    over = geodesic(SPHERE, (0.3, 0.0), np.resize([0.0, 1.0], (6, 2)), length=np.pi, samples=17)
    assert {GEODESIC_STATUS[k] for k in over.status} == {"not_converged"}
    out = shoot(PLANE, (1.0, 0.0), [(1.0, 0.0), (0.1, 0.0)])
    assert [GEODESIC_STATUS[k] for k in out.status[:2]] == ["boundary", "ok"]


@pytest.fixture(scope="module")
def joined(ring_fan: Geodesic) -> Geodesic:
    """The ends of the fan joined again, and arcs of the outer equator, twelve curves in all."""
    arcs = np.stack([0.3 + np.asarray([0.4444, 1.0, 1.5, 2.0, 2.5, 3.0]), np.zeros(6)], -1)
    starts = np.concatenate([np.broadcast_to(START, (6, 2)), np.broadcast_to([0.3, 0.0], (6, 2))])
    return connect(RING, starts, np.concatenate([ring_fan.theta[:, -1], arcs]), segments=16, windings=0)


def test_between_points_as_from_a_velocity(ring_fan: Geodesic, joined: Geodesic) -> None:
    # 16 chords of curves whose bends in space are of order 1: the polygon to M⁻² L²/24, Richardson to M⁻⁴
    np.testing.assert_allclose(joined.length[:6], 2.0, rtol=2e-6)
    assert (np.abs(joined.length[:6] - 2.0) < joined.length_error[:6]).all()
    # nodes are evenly spaced up to second order
    np.testing.assert_allclose(joined.theta[:6], ring_fan.theta, rtol=0, atol=2e-3)
    # along the outer equator curvature is 1/3: from π√3 on, 1.81 radians, shorter curves are near
    codes = [GEODESIC_STATUS[k] for k in joined.status]
    assert codes == ["ok"] * 9 + ["conjugate"] * 3
    assert joined.shortest.tolist() == [True] * 9 + [False] * 3


@pytest.mark.slow  # geodesics with closed forms are tested by default
def test_the_polygon_is_of_second_order_with_known_digits(ring_fan: Geodesic, joined: Geodesic) -> None:
    again = connect(RING, joined.theta[:, 0], joined.theta[:, -1], segments=8, windings=0)
    arcs = np.asarray([0.4444, 1.0, 1.5, 2.0, 2.5, 3.0])
    for found, m in ((again, 8), (joined, 16)):
        # a circle of radius 3 cut into M equal chords: closed form, solved to 1e-11
        np.testing.assert_allclose(found.polygon[6:], 6 * m * np.sin(arcs / (2 * m)), rtol=1e-10)
    errors = np.asarray([again.polygon, joined.polygon]) / np.r_[np.full(6, 2.0), 3 * arcs] - 1
    # the digits of the specification, -1.3e-4 and -3.2e-5 at M = 8 and 16, at this length
    np.testing.assert_allclose(errors[:, 6], [-1.3e-4, -3.2e-5], atol=0.05e-4)
    # second order: the next term is a share of M⁻² of the first
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.02)


def test_every_class_of_a_flat_torus_has_its_closed_form() -> None:
    start, end = np.asarray(START), np.asarray([2.0, 5.9])
    found = connect(CLIFFORD, start, end, segments=16)
    # the copy of the end nearest to the start lies below 0
    across = end - [0, 2 * np.pi] - start + 2 * np.pi * found.winding
    straight = start + np.linspace(0, 1, 17)[:, None] * across[:, None]
    assert len(np.unique(found.winding, axis=0)) == 9
    np.testing.assert_allclose(found.theta, straight, rtol=0, atol=1e-9)
    chords = 2 * np.linalg.norm(np.sin(across / 32), axis=-1)
    np.testing.assert_allclose(found.polygon, 16 * chords, rtol=1e-12)
    exact = np.linalg.norm(across, axis=-1)
    # steps of half a radian to the fourth power, over 480
    np.testing.assert_allclose(found.length, exact, rtol=3e-4)
    assert np.flatnonzero(found.shortest).tolist() == [int(exact.argmin())] == [0]
    back = connect(CLIFFORD, end, start, segments=16)
    # the same curves the other way: the least energy is flat to the square root of rounding, lengths to rounding
    np.testing.assert_allclose(np.sort(back.length), np.sort(found.length), rtol=1e-10)


def test_great_circles_and_straight_lines_between_points() -> None:
    rng = np.random.default_rng(0)
    starts, ends = (np.stack([rng.uniform(-0.7, 0.7, 12), rng.uniform(-0.9, 0.9, 12)], -1) for _ in range(2))
    found = connect(SPHERE, starts, ends, segments=16, windings=0)
    # the chord of a unit circle gives its angle
    np.testing.assert_allclose(found.length, 2 * np.arcsin(found.chord / 2), rtol=1e-6)
    assert found.converged.all()
    flat = connect(PLANE, starts, ends, segments=16, windings=0)
    np.testing.assert_allclose(flat.length, np.linalg.norm(ends - starts, axis=-1), rtol=1e-13)
    np.testing.assert_allclose(flat.length, flat.chord, rtol=1e-13)


def test_the_long_way_around_a_sphere_is_past_a_conjugate_point() -> None:
    found = connect(SPHERE, np.zeros(2), np.resize([1.0, 0.0], (6, 2)), segments=16, windings=((0, 0), (-1, 0)))
    # six times the short and the long arc of the equator; Richardson at steps of a third of a radian
    np.testing.assert_allclose(found.length, np.tile([1.0, 2 * np.pi - 1], 6), rtol=1e-4)
    assert [GEODESIC_STATUS[k] for k in found.status[:2]] == ["ok", "conjugate"]
    assert found.shortest.tolist() == [True, False] * 6


def test_a_curve_that_leaves_its_box_is_marked() -> None:
    ring = revolution(0, coordinates=(ANGLES[0], Coordinate("b", -1.2, 1.2)))
    apart = np.stack([np.linspace(0.2, 2.0, 12), np.full(12, 1.1)], -1)
    found = connect(ring, np.asarray([0.0, 1.1]), apart, segments=16, windings=0)
    # towards the hole the way around is shorter; near points stay within the edge
    leaves = found.theta[..., 1].max(-1) > 1.2
    assert leaves.any()
    assert not leaves.all()
    np.testing.assert_array_equal(np.asarray(found.status) == GEODESIC_STATUS.index("boundary"), leaves)


def test_refined_distances_are_those_of_geodesics() -> None:
    pairs = np.stack([np.zeros(12, int), np.asarray([1, 5, 14, 15, 27, 30, 40, 53, 66, 77, 90, 101])], -1)
    found = geodesic_distances(CLIFFORD, points=12, edges="arc", refine=pairs, segments=16)
    theta = np.asarray(found.theta)
    across = np.abs((theta[pairs[:, 0]] - theta[pairs[:, 1]] + np.pi) % (2 * np.pi) - np.pi)
    refined, graph = (np.asarray(d)[pairs[:, 0], pairs[:, 1]] for d in (found.distances, found.graph))
    # chords of 0.3 radians at most: their fourth power over 480
    np.testing.assert_allclose(refined, np.linalg.norm(across, axis=-1), rtol=2e-5)
    # a graph of arcs measures curves that exist, up to δ⁴/7680 of steps of at most δ = 1.05 radians
    assert (refined <= graph * (1 + 2e-4)).all()
    assert (graph > 1.01 * refined).any()
    assert np.asarray(found.refined).sum() == 24
    np.testing.assert_array_equal(found.distances, np.asarray(found.distances).T)


def test_misuse_names_the_argument() -> None:
    with pytest.raises(InputError, match="either `length` or `duration`"):
        geodesic(RING, START, (1.0, 0.0))
    with pytest.raises(InputError, match="`velocity` must not be zero"):
        geodesic(RING, START, (0.0, 0.0), length=1.0)
    with pytest.raises(InputError, match="`start` must be one point"):
        geodesic(RING, (0.0, 0.0, 0.0), (1.0, 0.0), length=1.0)
    with pytest.raises(InputError, match="`segments`"):
        connect(RING, START, START, segments=10)
    with pytest.raises(InputError, match="`windings` must be 0 for what is not periodic"):
        connect(PLANE, START, START, windings=((1, 0),))
    with pytest.raises(InputError, match="as many rows"):
        connect(RING, np.zeros((2, 2)), np.ones((3, 2)))
    with pytest.raises(InputError, match="`refine`"):
        geodesic_distances(CLIFFORD, points=5, refine=np.asarray([[0, 25]]))
    with pytest.raises(InputError, match="fan needs a surface"):
        fan(Immersion(lambda t: t, ANGLES[:1]), [0.0], 3)


@pytest.mark.slow
def test_third_digit_of_the_polygon() -> None:
    found = connect(RING, (0.3, 0.0), (0.3 + 0.4444, 0.0), segments=32, windings=0)
    # the specification's digits at M = 32
    assert float(found.polygon[0]) / (3 * 0.4444) - 1 == pytest.approx(-8.0e-6, abs=0.05e-6)


@pytest.mark.slow
def test_frozen_steps_converge_at_the_order_of_the_solver(ring_fan: Geodesic) -> None:
    errors = []
    for steps in (4, 8):
        found = geodesic(RING, START, ring_fan.velocity[:, 0], length=2.0, samples=5, steps=steps)
        errors.append(np.abs(found.theta - ring_fan.theta[:, ::4]).max())
    # eighth order in steps of 1/2 and 1/4: a factor of 256 in the limit
    assert errors[0] / errors[1] > 100


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_geodesics_of_a_network_by_both_problems(network: Network, manifold: PulsedInputs, dtype: type) -> None:
    at = immersion(rc.cast(network, dtype), manifold, time=1.7)
    shot = geodesic(at, START, fan(at, START, 4), length=0.4, samples=9)
    assert shot.converged.all()
    assert shot.theta.dtype == np.dtype(dtype)
    found = connect(at, START, shot.theta[:, -1], segments=16, windings=0)
    assert found.converged.all()
    # Richardson with 16 chords of a curve of length 0.4; in float32 its rounding
    np.testing.assert_allclose(found.length, 0.4, rtol=1e-6)


@pytest.mark.slow
def test_geodesics_of_a_flow_by_both_problems() -> None:
    network = rc.systems.leaky_current(8, inputs=2, outputs=1, key=rc.key(1), dt=None)
    at = immersion(network, ConstantInputs(box(a=(-1.0, 1.0), b=(-1.0, 1.0)), lambda theta: theta), time=1.5)
    shot = geodesic(at, (0.1, 0.2), (1.0, 0.5), length=0.2, samples=5)
    assert "1e-07" in shot.method
    assert shot.converged.all()
    found = connect(at, (0.1, 0.2), shot.theta[0, -1], segments=8)
    # the flow's own tolerance of 1e-8, and Richardson with 8 chords
    np.testing.assert_allclose(found.length, 0.2, rtol=1e-5)
