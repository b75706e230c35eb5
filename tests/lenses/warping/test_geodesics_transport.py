"""Parallel transport and holonomy against the curvature they enclose; arc length against closed forms."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float
from scipy.special import ellipe
from tests.lenses.warping.surfaces import RING, SPHERE

from recurvature._errors import InputError
from recurvature.lenses.warping import (
    GEODESIC_STATUS,
    Immersion,
    arc_length,
    geodesic_distances,
    holonomy,
    immersion,
    transport,
)
from recurvature.lenses.warping.geodesics.sampling import rows_at
from recurvature.systems import Network, PulsedInputs, circle

RECTANGLE = np.asarray([[0.2, -0.5], [1.7, -0.5], [1.7, 0.9], [0.2, 0.9]])


@pytest.mark.slow  # loops at a pole are tested by default, and transport in closed form
@pytest.mark.parametrize("space", [RING, SPHERE])
def test_a_loop_turns_vectors_by_the_curvature_inside(space: Immersion) -> None:
    # K dA = cos b da db on both: cos b / (2 + cos b) over that area element, and 1 over cos b
    enclosed = 1.5 * (np.sin(0.9) + np.sin(0.5))
    found = holonomy(space, RECTANGLE)
    # 128 pieces, each solved to 1e-12
    assert float(found.angle) == pytest.approx(enclosed, abs=1e-10)
    rotation = [[np.cos(enclosed), -np.sin(enclosed)], [np.sin(enclosed), np.cos(enclosed)]]
    np.testing.assert_allclose(found.matrix, rotation, rtol=0, atol=1e-10)
    assert float(found.drift) < 1e-10
    assert GEODESIC_STATUS[found.status] == "ok"
    # from another corner the same, the other way round the opposite
    assert float(holonomy(space, np.roll(RECTANGLE, 1, axis=0)).angle) == pytest.approx(enclosed, abs=1e-10)
    assert float(holonomy(space, RECTANGLE[::-1]).angle) == pytest.approx(-enclosed, abs=1e-10)


LATITUDE = 0.8


def test_around_the_cap_of_a_sphere() -> None:
    found = holonomy(SPHERE, np.stack([np.linspace(0, 2 * np.pi, 5), np.full(5, LATITUDE)], -1))
    # the cap has ∫K dA = 2π(1 - sin b); its pole is a singular point of the chart, which counts for one turn
    assert float(found.angle) + 2 * np.pi == pytest.approx(2 * np.pi * (1 - np.sin(LATITUDE)), abs=1e-10)
    np.testing.assert_allclose(found.theta[-1], [2 * np.pi, LATITUDE], rtol=1e-14)


@pytest.mark.slow
def test_a_loop_may_be_a_function() -> None:
    def oval(time: Float[Array, ""]) -> Float[Array, " 2"]:
        return jnp.stack([0.7 * jnp.cos(2 * jnp.pi * time), 0.8 + 0.5 * jnp.sin(2 * jnp.pi * time)])

    heights, weights = np.polynomial.legendre.leggauss(40)
    b = 0.8 + 0.5 * np.sin(np.pi / 2 * heights)
    # ∫ cos b da db with b = 0.8 + 0.5 sin s, half-width 0.7 cos s
    inside = (weights * np.cos(b) * 2 * 0.7 * 0.5 * np.cos(np.pi / 2 * heights) ** 2).sum() * np.pi / 2
    # 32 pieces, each solved to 1e-12
    assert float(holonomy(RING, oval).angle) == pytest.approx(inside, abs=1e-10)


def projected(space: Immersion, rows: np.ndarray) -> float:
    """The turn by another route: from tangent plane to tangent plane by the nearest rotation, no second derivatives."""
    tangents = np.moveaxis(rows_at(space, rows, 1, float)[1:], 0, -1)
    frames, upper = np.linalg.qr(tangents)
    frames = frames * np.sign(np.diagonal(upper, axis1=1, axis2=2))[:, None]
    turned = np.eye(2)
    for before, after in itertools.pairwise(frames):
        left, _, right = np.linalg.svd(after.T @ before)
        turned = left @ right @ turned
    return float(np.arctan2(turned[1, 0], turned[0, 0]))


def test_projection_from_plane_to_plane_turns_as_much() -> None:
    closed = np.concatenate([RECTANGLE, RECTANGLE[:1]])
    corners = np.arange(5)
    angles = []
    for count in (100, 200):
        at = np.linspace(0, 4, 4 * count + 1)
        rows = np.stack([np.interp(at, corners, column) for column in closed.T], -1)
        angles.append(projected(RING, rows))
    # second order in the step: Richardson leaves its fourth order, (1.5 / 100)⁴
    assert (4 * angles[1] - angles[0]) / 3 == pytest.approx(float(holonomy(RING, RECTANGLE).angle), abs=1e-7)


def test_transport_keeps_lengths_and_angles_and_the_direction_of_a_geodesic() -> None:
    vectors = [[1.0, 0.0], [0.3, -0.8]]
    found = transport(RING, np.concatenate([RECTANGLE, RECTANGLE[:1]]), vectors)
    w = 2 + np.cos(found.theta[:, 1])
    metric = np.stack([np.stack([w**2, 0 * w], -1), np.stack([0 * w, 0 * w + 1], -1)], -2)
    gram = np.einsum("vsi,sij,usj->svu", found.vector, metric, found.vector)
    # 128 pieces, each solved to 1e-12
    np.testing.assert_allclose(gram, np.broadcast_to(gram[:1], gram.shape), rtol=1e-10)
    assert np.max(found.drift) < 1e-10
    # the outer equator is a geodesic: its velocity is parallel along it; so is the normal to it within the surface
    equator = np.stack([np.linspace(0, 3, 5), np.zeros(5)], -1)
    along = transport(RING, equator, np.eye(2))
    np.testing.assert_allclose(along.vector, np.broadcast_to(np.eye(2)[:, None], along.vector.shape), atol=1e-12)


def test_a_loop_through_a_pole_or_open_is_refused_or_marked() -> None:
    through = holonomy(SPHERE, np.asarray([[0.0, 0.5], [1.0, 0.5], [1.0, np.pi / 2], [0.0, np.pi / 2]]))
    assert GEODESIC_STATUS[through.status] == "singular"
    with pytest.raises(InputError, match="`loop` must end where it began"):
        holonomy(RING, lambda time: jnp.stack([time, time]))
    with pytest.raises(InputError, match="`curve` needs two rows"):
        transport(RING, [[0.0, 0.0]], [1.0, 0.0])


def test_arc_length_of_an_ellipse_and_of_circles() -> None:
    ellipse = Immersion(lambda t: jnp.concatenate([2 * jnp.cos(t), jnp.sin(t)]), circle().coordinates)
    found = arc_length(ellipse, "angle")
    # four points to each of 64 panels: their eighth order is far below rounding of the elliptic integral
    assert float(found.length[0, -1]) == pytest.approx(4 * 2 * ellipe(0.75), rel=1e-12)
    assert float(found.length_error[0]) < 1e-8
    # a quarter at a quarter by symmetry; short of an eighth at an eighth, since it begins at the slow end
    assert float(found.profile[0, 16]) == pytest.approx(0.25, abs=1e-12)
    assert float(found.profile[0, 8]) < 0.12
    circles = arc_length(RING, 0, at=[[0.0, 0.5], [5.0, 1.0]])
    assert circles.along == "a"
    np.testing.assert_allclose(circles.length[:, -1], 2 * np.pi * (2 + np.cos([0.5, 1.0])), rtol=1e-13)
    np.testing.assert_allclose(circles.profile, np.broadcast_to(np.linspace(0, 1, 65), (2, 65)), atol=1e-13)
    np.testing.assert_allclose(circles.chord[:, 32], 2 * (2 + np.cos([0.5, 1.0])), rtol=1e-13)


def test_three_notions_of_length_are_three_numbers() -> None:
    found = arc_length(RING, "a", at=[0.0, 1.2], samples=25)
    distances = geodesic_distances(RING, points=24, edges="arc", neighbours=16)
    line = np.flatnonzero(np.abs(np.asarray(distances.theta)[:, 1] - 2 * np.pi * 5 / 24) < 1e-9)
    across = np.asarray(distances.distances)[line[0], line[8]]
    arc = arc_length(RING, "a", at=[0.0, 2 * np.pi * 5 / 24], samples=25)
    # a third of the way around, the way over the hole is shorter than the parallel and longer than the chord
    assert float(arc.chord[0, 8]) < across < 0.99 * float(arc.length[0, 8])
    assert (np.asarray(found.chord) <= np.asarray(found.length) + 1e-12).all()


def test_misuse_names_the_argument() -> None:
    with pytest.raises(InputError, match="unknown coordinate"):
        arc_length(RING, "c")
    with pytest.raises(InputError, match="`along`"):
        arc_length(RING, 2)


@pytest.mark.slow
def test_a_loop_in_a_network_turns_by_the_curvature_inside(network: Network, manifold: PulsedInputs) -> None:
    at = immersion(network, manifold, time=1.7)
    corner, side, count = np.asarray([0.3, 0.5]), 0.6, 8
    nodes, weights = np.polynomial.legendre.leggauss(count)
    offsets = side * (nodes + 1) / 2
    points = corner + np.stack(np.meshgrid(offsets, offsets, indexing="ij"), -1).reshape(-1, 2)
    rows = np.asarray(at.rows(jnp.asarray(points), 2))
    tangents, bends = np.moveaxis(rows[1:3], 0, -1), rows[3:]
    frames = np.linalg.qr(tangents)[0]
    normal = [bend - np.einsum("pni,pki,pk->pn", frames, frames, bend) for bend in bends]
    # the Gauss equation: K √det G = (II₁₁·II₂₂ - II₁₂·II₁₂) / √det G
    root = np.sqrt(np.linalg.det(np.einsum("pni,pnj->pij", tangents, tangents)))
    density = ((normal[0] * normal[2]).sum(-1) - (normal[1] ** 2).sum(-1)) / root
    enclosed = (np.outer(weights, weights).ravel() * density).sum() * (side / 2) ** 2
    loop = corner + side * np.asarray([[0, 0], [1, 0], [1, 1], [0, 1]])
    # eight Gauss-Legendre points along each side of a smooth patch
    assert float(holonomy(at, loop).angle) == pytest.approx(enclosed, abs=1e-8)
    assert abs(enclosed) > 1e-3
