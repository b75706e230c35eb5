"""The section on curvature: what it says follows from the numbers, and where there is nothing it says why."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature.app.lenses import curved, geometry
from recurvature.app.page import Heading, Notice, Picture, Points, Text
from recurvature.app.subject import View
from recurvature.lenses import warping
from recurvature.systems import LinearReadout, Network
from recurvature.systems.inputs import ConstantInputs, box, torus


def bowl(x: jnp.ndarray, u: jnp.ndarray) -> jnp.ndarray:
    """A paraboloid over the inputs: K = 4 at its bottom."""
    return jnp.concatenate([u, (u @ u)[None]])


def ring(x: jnp.ndarray, u: jnp.ndarray) -> jnp.ndarray:
    """A torus of radii 2 and 1: K from -1 to 1/3."""
    return jnp.stack([(2 + jnp.cos(u[1])) * jnp.cos(u[0]), (2 + jnp.cos(u[1])) * jnp.sin(u[0]), jnp.sin(u[1])])


def network(step: object) -> Network:
    return Network(rc.systems.FunctionMap(step, 3, 2), LinearReadout(jnp.ones((1, 3))), jnp.zeros(3))  # type: ignore[arg-type]


def looks(net: Network, *views: View) -> list[geometry.Geometry]:
    return [geometry.look(net, view, points=5, report=lambda progress, /: None) for view in views]


PLANE = View("bowl", ConstantInputs(box(a=(-1.0, 1.0), b=(-1.0, 1.0)), lambda theta: theta), 1.0, {})


def test_a_surface_is_mapped_and_stored() -> None:
    found = looks(network(bowl), PLANE)
    section = curved.curvature_section(found)
    assert [type(block) for block in section.blocks] == [Heading, Picture, Text, Points]
    assert "curvature" in found[0].results()
    (points,) = [block for block in section.blocks if isinstance(block, Points)]
    # K = 4/(1 + 4|u|^2)^2: 4 in the middle, 4/81 at the corners
    assert "from 0.0494 to 4, per squared" in str(points)


def test_the_integral_is_that_of_the_torus() -> None:
    result = warping.curvature(
        network(ring), ConstantInputs(torus("a", "b"), lambda theta: theta), points=(6, 24), duration=1.0
    )
    # around circles the trapezoid rule sums trigonometric polynomials exactly
    np.testing.assert_allclose(curved.cells(result)[-1].sum(), 8 * np.pi**2, rtol=1e-12)
    ((_, first), (_, second)) = curved.reading(result)
    assert "from \N{MINUS SIGN}1 to 0.333" in first
    # |cos| summed over 24 points around a circle is 3.977 instead of 4, times 2 pi: 25 to two digits
    assert "about 25" in second


def test_rounding_is_not_called_curvature() -> None:
    result = warping.curvature(network(bowl), PLANE.manifold, points=3, duration=1.0)
    noise = dataclasses.replace(result, scalar=0 * result.scalar + 1e-17, scalar_error=0 * result.scalar + 1e-16)
    assert "zero to rounding" in curved.reading(noise)[0][1]


def test_without_all_points_there_is_no_sum() -> None:
    result = warping.curvature(network(bowl), PLANE.manifold, points=3, duration=1.0)
    status = np.array(result.status)
    status[-1, 0] = 3
    assert "no sum" in curved.reading(dataclasses.replace(result, status=status))[1][1]


@pytest.mark.parametrize(
    ("step", "manifold", "reason"),
    [
        (lambda x, u: jnp.maximum(bowl(x, u), 0.0), PLANE.manifold, "kinks"),
        (lambda x, u: jnp.stack([u[0], u[0], u[0]]), PLANE.manifold, "singular"),
        (bowl, ConstantInputs(box(a=(-1.0, 1.0)), lambda theta: jnp.repeat(theta, 2)), "1 coordinate."),
    ],
)
def test_where_there_is_no_surface_the_reason_is_given(step: object, manifold: ConstantInputs, reason: str) -> None:
    net, view = network(step), View("none", manifold, 1.0, {})
    state = warping.metric(net, manifold, points=3, duration=1.0)
    why = geometry.why_uncurved(net, view, state)
    assert reason in why
    look = dataclasses.replace(looks(network(bowl), PLANE)[0], curvature=None, uncurved=why)
    section = curved.curvature_section([look])
    assert Notice("Left out:", why) in section.blocks
