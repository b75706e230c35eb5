"""Total curvature: 2πχ on smooth closed surfaces, to quadrature; what kinks hide is missing."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from tests.lenses.warping.surfaces import SURFACES

from recurvature._errors import InputError
from recurvature.lenses.warping import Immersion, gauss_bonnet, immersion
from recurvature.lenses.warping.smoothing import SoftRelu
from recurvature.systems import Network, PulsedInputs, box, sphere, torus

RNG = np.random.default_rng(1)
WEIGHTS, BIAS = RNG.normal(size=(40, 3)), RNG.normal(size=40)
SPHERE = sphere()


class Layer(eqx.Module):
    """Points of the unit sphere through 40 units."""

    phi: Callable[[Array], Array] = eqx.field(static=True)

    def __call__(self, t: Array) -> Array:
        return self.phi(jnp.asarray(WEIGHTS) @ SPHERE.embed(t) + jnp.asarray(BIAS))


def total(phi: Callable[[Array], Array]) -> tuple[float, float]:
    got = gauss_bonnet(Immersion(Layer(phi), SPHERE.coordinates), points=32)
    assert got.euler_characteristic == 2
    assert got.masked == 0
    np.testing.assert_allclose(got.defect, got.total_curvature - 4 * np.pi, rtol=1e-15)
    return got.total_curvature / (4 * np.pi), got.quadrature_error


def test_smooth_spheres() -> None:
    value, error = total(jnp.tanh)
    # tanh bends over widths of about 1 in 40 directions: 32 points leave 1e-4
    np.testing.assert_allclose(value, 1, atol=1e-4)
    assert error < 1e-2


@pytest.mark.slow  # smooth surfaces are tested by default, and so is the refusal of kinks
def test_kinks_keep_part_of_the_curvature_and_smoothing_gives_it_back() -> None:
    value, error = total(jax.nn.relu)
    # a seventh too much, far outside of what quadrature can explain
    np.testing.assert_allclose(value, 1.15, atol=0.02)
    assert abs(value - 1) > 3 * error / (4 * np.pi)
    soft, _ = total(SoftRelu(5.0))
    # corners a fifth wide are resolved by 32 points
    np.testing.assert_allclose(soft, 1, atol=2e-3)


def test_tori_have_none() -> None:
    got = gauss_bonnet(SURFACES["ring"].immersion, points=24)
    # trigonometric quadrature of an analytic function: exact to rounding of sums of 576 terms
    np.testing.assert_allclose(got.defect, 0, atol=1e-12)
    # twice the half of the ring that is a sphere's worth, 4π each; |K| has corners, so to their quadrature
    np.testing.assert_allclose(got.absolute_curvature, 8 * np.pi, rtol=2e-2)
    np.testing.assert_allclose(got.area, 8 * np.pi**2, rtol=1e-12)


def test_the_torus_of_a_network_has_none(network: Network, manifold: PulsedInputs) -> None:
    got = gauss_bonnet(immersion(network, manifold, time=1.7), points=24)
    # analytic, with harmonics that 24 points leave to 1e-5, as they say themselves
    np.testing.assert_allclose(got.defect, 0, atol=1e-5)
    assert abs(got.defect) < got.quadrature_error
    assert got.absolute_curvature > 0.1
    assert got.kinks == ()


def test_surfaces_with_a_boundary_are_refused() -> None:
    with pytest.raises(InputError, match="boundary"):
        gauss_bonnet(Immersion(SURFACES["saddle"].function, box(a=(0.0, 1.0), b=(0.0, 1.0)).coordinates))
    half = (*box(a=(0.5, 3.14)).coordinates, *torus("b").coordinates)
    with pytest.raises(InputError, match="boundary"):
        gauss_bonnet(Immersion(SURFACES["sphere"].function, half))
    with pytest.raises(InputError, match="2 coordinates"):
        gauss_bonnet(Immersion(lambda t: t, torus("a").coordinates))
