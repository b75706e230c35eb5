"""Curvature from a metric alone agrees with the Gauss equation, exactly or to second order of a grid."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from tests.lenses.warping.surfaces import SURFACES

from recurvature._errors import InputError
from recurvature.lenses.warping import (
    STATUS,
    Immersion,
    brioschi,
    curvature,
    immersion,
    intrinsic,
    intrinsic_of,
    intrinsic_on_grid,
    local_geometry,
    metric,
)
from recurvature.systems import Network, PulsedInputs, torus


class Pulled(eqx.Module):
    """The metric of an immersion, as a function."""

    function: Callable[[Array], Array]

    def __call__(self, theta: Array) -> Array:
        jacobian = jax.jacfwd(self.function)(theta)
        return jacobian.T @ jacobian


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", SURFACES)
def test_three_routes_agree_on_surfaces(name: str, dtype: Any) -> None:
    surface = SURFACES[name]
    theta = surface.points().astype(dtype)
    known = surface.gaussian(theta.astype(float))
    got, gauss = intrinsic(Pulled(surface.function), theta), local_geometry(surface.immersion, theta)
    scale = np.where(known == 0, 1, np.abs(known))
    # differences of large terms: ten times the rounding of the Gauss equation, near zeros of K and poles of the chart
    limit = {np.float64: 5e-15, np.float32: 8e-6}[dtype]
    assert got.gaussian.dtype == dtype
    np.testing.assert_allclose((got.gaussian - known) / scale, 0, atol=limit)
    np.testing.assert_allclose((brioschi(Pulled(surface.function), theta) - known) / scale, 0, atol=2 * limit)
    np.testing.assert_allclose(got.christoffel, gauss.christoffel, atol=2 * limit)
    np.testing.assert_allclose(got.riemann, gauss.riemann, atol=2 * limit)
    np.testing.assert_allclose(got.ricci, gauss.ricci, atol=4 * limit)


@pytest.mark.slow
def test_three_sphere() -> None:
    def hypersphere(t: Array) -> Array:
        a, b, c = jnp.sin(t)
        x, y, z = jnp.cos(t)
        return jnp.stack([x, a * y, a * b * z, a * b * c])

    theta = np.random.default_rng(0).uniform(0.6, 2.4, (20, 3))
    got = intrinsic(Pulled(hypersphere), theta)
    gauss = local_geometry(Immersion(hypersphere, torus("a", "b", "c").coordinates), theta)
    # twenty units of rounding
    np.testing.assert_allclose(got.scalar, 6, rtol=1e-14)
    np.testing.assert_allclose(got.riemann, gauss.riemann, atol=4e-15)
    with pytest.raises(InputError, match="`gaussian`"):
        got.gaussian  # noqa: B018


def test_three_routes_agree_on_the_torus_of_a_network(network: Network, manifold: PulsedInputs) -> None:
    at = immersion(network, manifold, time=1.7)
    theta = manifold.grid(3)
    gauss = local_geometry(at, theta)
    # 17 steps of sums of 30 products: the routes differ by rounding alone
    np.testing.assert_allclose(intrinsic(Pulled(at), theta).gaussian, gauss.gaussian, rtol=0, atol=2e-14)
    np.testing.assert_allclose(brioschi(Pulled(at), theta), gauss.gaussian, rtol=0, atol=2e-14)
    assert np.abs(gauss.gaussian).max() > 0.01


def grid_error(name: str, count: int, periodic: bool) -> tuple[float, np.ndarray, np.ndarray]:
    surface = SURFACES[name]
    axis = np.linspace(0, 2 * np.pi, count, endpoint=False) if periodic else np.linspace(0.8, 1.8, count)
    theta = np.stack([a.ravel() for a in np.meshgrid(axis, axis, indexing="ij")], -1)
    values = np.asarray(jax.vmap(Pulled(surface.function))(jnp.asarray(theta))).reshape(count, count, 2, 2)
    got = intrinsic_on_grid(values, spacing=(axis[1] - axis[0],) * 2, periodic=(periodic,) * 2)
    error = np.abs(got.gaussian - surface.gaussian(theta))
    assert got.scalar_error is not None
    return float(error.max()), error, np.asarray(got.scalar_error) / 2


@pytest.mark.parametrize(("name", "periodic"), [("ring", True), ("sphere", False)])
def test_grids_are_of_second_order(name: str, periodic: bool) -> None:
    coarse, fine = (grid_error(name, n, periodic)[0] for n in (24, 48))
    # order 2, ends included: a ratio of 4 (spacings of open grids go by 47/23)
    assert 3.4 < coarse / fine < 5
    _, error, estimate = grid_error(name, 48, periodic)
    # the estimate is the leading term: right where it is large
    large = error > 0.5 * error.max()
    np.testing.assert_allclose(estimate[large], error[large], rtol=0.5)


@pytest.mark.slow
def test_a_computed_metric_is_audited_on_its_own_grid(network: Network, manifold: PulsedInputs) -> None:
    exact = curvature(network, manifold, points=20, duration=1.7, times=(1.7,))
    got = intrinsic_of(metric(network, manifold, points=20, duration=1.7), time=1.7)
    assert got.method == "central differences, order 2"
    assert got.grid == (20, 20)
    assert got.scalar_error is not None
    # to the size of its own estimate
    assert np.abs(got.scalar - exact.scalar[0]).max() < 2 * np.max(got.scalar_error)
    with pytest.raises(InputError, match="grid of 5"):
        intrinsic_of(metric(network, manifold, points=3, duration=0.5), time=0.5)


def test_singular_metrics_are_masked() -> None:
    def singular(t: Array) -> Array:
        return jnp.asarray([[1.0, t[0]], [t[0], 1.0]]) * jnp.sqrt(t[1])

    got = intrinsic(singular, np.asarray([[0.5, 1.0], [1.0, 1.0], [0.5, -1.0]]))
    assert [STATUS[code] for code in got.status] == ["ok", "rank_deficient", "non_finite"]
    np.testing.assert_array_equal(np.isnan(got.scalar), [False, True, True])
    np.testing.assert_array_equal(
        np.isnan(brioschi(singular, np.asarray([[0.5, 1.0], [1.0, 1.0], [0.5, 0.0]]))), [False, True, True]
    )
    # whole numbers are coordinates too
    whole = np.asarray([[0, 1]])
    np.testing.assert_array_equal(intrinsic(singular, whole).scalar, intrinsic(singular, whole.astype(float)).scalar)
    values = np.tile(np.eye(2), (9, 9, 1, 1))
    values[4, 4] = np.nan
    holed = intrinsic_on_grid(values, spacing=(0.1, 0.1), periodic=(False, False))
    # differences carry what is missing to its neighbours, the mixed one to those at the corners, and no further
    hole = np.zeros((9, 9), bool)
    hole[3:6, 3:6] = True
    status = np.asarray(holed.status).reshape(9, 9)
    assert {STATUS[code] for code in status[hole]} == {"non_finite"}
    assert {STATUS[code] for code in status[~hole]} == {"ok"}


def test_misuse_names_the_argument() -> None:
    flat = np.tile(np.eye(2), (6, 6, 1, 1))
    with pytest.raises(InputError, match="`spacing`"):
        intrinsic_on_grid(flat, spacing=(0.1,), periodic=(True, True))
    with pytest.raises(InputError, match="at least 5"):
        intrinsic_on_grid(flat[:4], spacing=(0.1, 0.1), periodic=(True, True))
    with pytest.raises(InputError, match="`metric`"):
        intrinsic(lambda t: jnp.eye(3), np.zeros((1, 2)))
    with pytest.raises(InputError, match="at least one row"):
        intrinsic(lambda t: jnp.eye(2), np.zeros((0, 2)))
