"""Flow fields against the fields they are made of, and nullclines against curves known in closed form."""

import jax.numpy as jnp
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.dynamics import fixed_points, flow_field, flow_line, principal_plane
from recurvature.systems import FunctionFlow, LeakyCurrent, LowRank


def circle_and_line(x, u):
    """The first coordinate rests on the unit circle, the second on the diagonal; the third decays."""
    return jnp.stack([1 - x[0] ** 2 - x[1] ** 2, x[0] - x[1], -x[2]])


SYSTEM = FunctionFlow(circle_and_line, 3, 1)
FLAT = (np.zeros(3), np.eye(3)[:2])


def test_nullclines_lie_where_components_vanish():
    field = flow_field(SYSTEM, plane=FLAT, extent=((-1.5, 1.5), (-1.4, 1.4)), points=31)
    assert field.velocity.shape == (31, 31, 2)
    # the field at a corner of the grid, by hand
    np.testing.assert_allclose(field.velocity[0, -1], [1 - 1.5**2 - 1.4**2, -2.9], rtol=1e-14)
    radii = np.linalg.norm(field.no_horizontal, axis=-1)
    # linear interpolation of a parabola over cells of 0.1 is off by at most 0.1²/8 times its second derivative 2
    np.testing.assert_allclose(radii, 1, atol=0.0026)
    # a linear component is interpolated exactly
    np.testing.assert_allclose(field.no_vertical[..., 0], field.no_vertical[..., 1], atol=1e-14)
    length = np.linalg.norm(np.diff(field.no_horizontal, axis=1), axis=-1).sum()
    # the circle is closed: a polygon of more than 80 sides
    assert length == pytest.approx(2 * np.pi, rel=5e-3)


def test_axes_need_not_be_orthonormal():
    skewed = np.array([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    field = flow_field(SYSTEM, plane=(np.zeros(3), skewed), points=3)
    # (1, 1) is the state (3, 1, 0), whose rate (-9, 2, 0) is -5.5 of the first axis and 2 of the second
    np.testing.assert_allclose(field.velocity[2, 2], [-5.5, 2.0], rtol=1e-13)
    np.testing.assert_allclose(field.leaving, 0, atol=1e-14)


def test_what_leaves_the_plane_is_told():
    above = flow_field(SYSTEM, plane=(np.array([0.0, 0.0, 2.0]), FLAT[1]), points=3)
    # at the middle the rate is (1, 0, -2)
    assert above.leaving[1, 1] == pytest.approx(2 / 5**0.5)


def test_the_latent_plane_is_the_plane_of_the_left_vectors(getkey):
    rng = np.random.default_rng(0)
    left = rng.standard_normal((20, 2))
    right = 2.5 * left + 0.3 * rng.standard_normal((20, 2))
    flow = LeakyCurrent(LowRank(jnp.asarray(left), jnp.asarray(right)), jnp.ones((20, 1)), jnp.zeros(20))
    extent = ((-2.0, 2.0), (-2.0, 2.0))
    latent = flow_field(flow, [0.1], extent=extent, points=5)
    full = flow_field(flow, [0.1], plane=(np.full(20, 0.1), left.T), extent=extent, points=5)
    # one field by two routes of about twenty terms
    np.testing.assert_allclose(latent.velocity, full.velocity, atol=1e-13)
    np.testing.assert_allclose(full.leaving, 0, atol=1e-13)
    points = fixed_points(flow, [0.1], key=getkey(), count=64)
    plane = principal_plane(points.states)
    assert plane.axes.shape == (2, 20)
    # fixed points of a rank-two network lie in a plane, that of the left vectors
    rest = points.states - plane.origin
    np.testing.assert_allclose(rest @ plane.axes.T @ plane.axes, rest, atol=1e-12)


def test_misuse_is_named():
    with pytest.raises(InputError, match="rank 2"):
        flow_field(SYSTEM)
    with pytest.raises(InputError, match="independent"):
        flow_field(SYSTEM, plane=(np.zeros(3), np.ones((2, 3))))
    with pytest.raises(InputError, match="`width`"):
        flow_field(SYSTEM, plane=FLAT, extent=((1.0, -1.0), (0.0, 1.0)))


def test_the_line_of_one_variable_is_that_of_its_unit():
    rng = np.random.default_rng(0)
    m, n, w = rng.normal(size=(6, 1)), rng.normal(size=(6, 1)), rng.normal(size=(6, 1))
    flow = LeakyCurrent(LowRank(jnp.asarray(m), jnp.asarray(n)), jnp.asarray(w), jnp.zeros(6))
    line = flow_line(flow, [0.4], extent=(-2.0, 2.0), points=9)
    wanted = np.tanh(np.linspace(-2, 2, 9)[:, None] * m[:, 0] + 0.4 * w[:, 0]) @ n[:, 0] / 6 - line.value
    # sums of six products
    np.testing.assert_allclose(line.velocity, wanted, rtol=0, atol=1e-14)
    with pytest.raises(InputError, match="rank 1"):
        flow_line(SYSTEM)
