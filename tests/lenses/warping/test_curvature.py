"""Curvature is what geometry says: closed forms, invariance, the streamed pass against immersions, reasons for NaN."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from tests.lenses.warping.surfaces import COUNT, RADIUS, SURFACES

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.warping import (
    STATUS,
    Curvature,
    Immersion,
    curvature,
    immersion,
    local_geometry,
    mean_curvature_vector,
    metric,
    second_form,
    sectional,
)
from recurvature.systems import (
    ConstantInputs,
    LinearMap,
    LinearReadout,
    Network,
    PulsedInputs,
    circle,
    torus,
)
from recurvature.systems.connectivity import Dense

# docs/theory: what 20 random points of a surface lose; float64 in units of 1e-16, float32 of 1e-7
DIGITS = {np.float64: 2e-15, np.float32: 8e-7}


def names(status: object) -> set[str]:
    return {STATUS[int(code)] for code in np.asarray(status).ravel()}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", SURFACES)
def test_closed_forms(name: str, dtype: Any) -> None:
    surface = SURFACES[name]
    theta = surface.points().astype(dtype)
    got = local_geometry(surface.immersion, theta)
    exact = surface.gaussian(theta.astype(float))
    scale = np.where(exact == 0, 1, np.abs(exact))
    assert got.gaussian.dtype == dtype
    assert names(got.status) == {"ok"}
    # five to ten units of rounding: nothing is lost to conditions or differences
    np.testing.assert_allclose((got.gaussian - exact) / scale, 0, atol=DIGITS[dtype])
    # its own estimate is honest
    assert (np.abs(got.scalar - 2 * exact) <= got.scalar_error).all()
    # the square root of a product that may vanish keeps half of the digits of what it is measured against
    np.testing.assert_allclose(got.mean_curvature, surface.mean(theta.astype(float)), atol=20 * DIGITS[dtype])
    np.testing.assert_allclose(got.ricci, got.gaussian[:, None, None] * got.metric, atol=20 * DIGITS[dtype])


def test_the_formula_for_orthogonal_coordinates_is_wrong_by_a_factor_of_two() -> None:
    x, y = np.meshgrid(np.linspace(-0.01, 0.01, 21), np.linspace(-0.01, 0.01, 21), indexing="ij")
    h = 0.001
    e, f, g = 1 + 4 * x**2, -4 * x * y, 1 + 4 * y**2
    root = np.sqrt(e * g - f**2)
    along = lambda v, a: np.gradient(v, h, axis=a)  # noqa: E731
    wrong = along((along(f, 1) - along(g, 0) / 2) / root, 0) + along((along(f, 0) - along(e, 1) / 2) / root, 1)
    got = local_geometry(SURFACES["saddle"].immersion, np.zeros((COUNT, 2)))
    # central differences over 0.001 of functions with third derivatives of order 100
    np.testing.assert_allclose((wrong / root)[10, 10], -8, rtol=1e-2)
    np.testing.assert_allclose(got.gaussian, -4, rtol=1e-15)


def test_three_sphere() -> None:
    def hypersphere(t: Array) -> Array:
        a, b, c = jnp.sin(t)
        x, y, z = jnp.cos(t)
        return RADIUS * jnp.stack([x, a * y, a * b * z, a * b * c])

    rng = np.random.default_rng(0)
    got = local_geometry(Immersion(hypersphere, torus("a", "b", "c").coordinates), rng.uniform(0.4, 2.6, (20, 3)))
    directions = rng.normal(size=(2, 20, 3))
    # ten units of rounding; sectional curvature divides by areas that random directions keep above 1 %
    np.testing.assert_allclose(got.scalar, 6 / RADIUS**2, rtol=2e-15)
    np.testing.assert_allclose(sectional(got, *directions), RADIUS**-2, rtol=1e-13)
    np.testing.assert_allclose(got.mean_curvature, 1 / RADIUS, rtol=2e-15)
    metric3 = got.metric
    space_form = np.einsum("pik,pjl->pijkl", metric3, metric3) - np.einsum("pil,pjk->pijkl", metric3, metric3)
    np.testing.assert_allclose(got.riemann, space_form / RADIUS**2, atol=1e-14)
    assert np.isnan(sectional(got, directions[0], 2 * directions[0])).all()
    with pytest.raises(InputError, match="`gaussian`"):
        got.gaussian  # noqa: B018
    with pytest.raises(InputError, match="`a` and `b`"):
        sectional(got, np.ones(2), np.ones(2))


def test_curvature_of_curves() -> None:
    def helix(t: Array) -> Array:
        return jnp.stack([2 * jnp.cos(t[0]), 2 * jnp.sin(t[0]), 0.5 * t[0]])

    got = local_geometry(Immersion(helix, circle().coordinates), np.linspace(0, 6, 5)[:, None])
    # a/(a² + b²); ten units of rounding
    np.testing.assert_allclose(got.mean_curvature, 2 / 4.25, rtol=2e-15)
    np.testing.assert_array_equal(got.scalar, 0)
    assert got.riemann.shape == (5, 1, 1, 1, 1)


def test_vectors_of_the_second_form() -> None:
    surface = SURFACES["sphere"]
    theta = jnp.asarray(surface.points())
    mean, position = mean_curvature_vector(surface.immersion, theta), surface.immersion.rows(theta, 1)[0]
    # of a sphere: towards the centre, by 1/r; ten units of rounding
    np.testing.assert_allclose(mean, -position / RADIUS**2, rtol=0, atol=4e-15)
    products = jnp.einsum("bijn,bkln->bijkl", *(second_form(surface.immersion, theta),) * 2)
    stored = local_geometry(surface.immersion, np.asarray(theta)).second_form
    np.testing.assert_allclose(products[:, 0, 1, 1, 1], stored[:, 1, 2], atol=1e-14)
    np.testing.assert_allclose(products[:, 0, 0, 1, 1], stored[:, 0, 2], rtol=1e-14)


def test_vectors_are_masked_and_refused_as_their_lengths_are() -> None:
    theta = SURFACES["sphere"].points()
    theta[0] = 0.0
    ball = SURFACES["sphere"].immersion
    for vectors in (mean_curvature_vector(ball, theta), second_form(ball, theta).reshape(len(theta), -1)):
        assert np.isnan(vectors[0]).all()
        assert np.isfinite(vectors[1:]).all()
    line = Immersion(lambda t: t[:1] * t[1:], ball.coordinates)
    assert np.isnan(mean_curvature_vector(line, theta[1:2])).all()
    bent = Immersion(lambda t: jnp.abs(jnp.tile(t, 2)), ball.coordinates)
    for ask in (mean_curvature_vector, second_form):
        with pytest.raises(InputError, match="allow_piecewise"):
            ask(bent, theta)


def test_curvature_does_not_depend_on_coordinates() -> None:
    def recoded(t: Array) -> Array:
        return jnp.stack([t[0] + 0.3 * jnp.sin(t[1]), 0.5 * t[1] + 0.2 * t[0]])

    surface = SURFACES["ring"]
    theta = surface.points()
    new = local_geometry(Immersion(lambda t: surface.function(recoded(t)), torus("a", "b").coordinates), theta)
    old = local_geometry(surface.immersion, np.stack([np.asarray(recoded(jnp.asarray(t))) for t in theta]))
    # tangents at 30 degrees to each other: ten times the rounding
    np.testing.assert_allclose(new.gaussian, old.gaussian, rtol=0, atol=1e-13)
    np.testing.assert_allclose(new.mean_curvature, old.mean_curvature, rtol=0, atol=1e-13)
    assert np.abs(new.christoffel - old.christoffel).max() > 0.1


def overlapping(overlap: float) -> tuple[Network, ConstantInputs]:
    """A linear network that holds two circle items in planes that overlap."""
    rest = np.sqrt(1 - overlap**2)
    weights = jnp.asarray(np.block([[np.eye(2), overlap * np.eye(2)], [np.zeros((2, 2)), rest * np.eye(2)]]))
    system = LinearMap(Dense(0.5 * jnp.eye(4)), weights, 1.0)
    return Network(system, LinearReadout(jnp.ones((1, 4))), jnp.zeros(4)), ConstantInputs(torus("a", "b"))


@pytest.mark.parametrize("overlap", [0.0, 0.6])
def test_a_linear_network_with_overlapping_codes_has_a_curved_torus(overlap: float) -> None:
    got = curvature(*overlapping(overlap), points=7, duration=3.0)
    held = np.asarray([1.0, 1.5, 1.75])[:, None] ** 2  # what three steps of 0.5 x + u hold of the input, squared
    difference = np.subtract(*np.asarray(got.theta).T)
    kappa, cosine, sine = overlap * held, np.cos(difference), np.sin(difference)
    area = held**2 - (kappa * cosine) ** 2
    # constant E and G, F = κ cos Δ; ten units of rounding
    np.testing.assert_allclose(got.metric[..., 0, 1], kappa * cosine, atol=1e-14)
    expected = kappa * cosine / area - kappa**3 * cosine * sine**2 / area**2
    np.testing.assert_allclose(got.gaussian, expected, atol=1e-14)
    assert (np.abs(expected).max() > 0.3) == (overlap > 0)


@pytest.fixture(scope="module")
def streamed(network: Network, manifold: PulsedInputs) -> Curvature:
    return curvature(network, manifold, points=3, duration=1.7)


def test_streamed_curvature_is_that_of_the_immersion(
    network: Network, manifold: PulsedInputs, streamed: Curvature
) -> None:
    alone = local_geometry(immersion(network, manifold, time=1.7), np.asarray(streamed.theta))
    for name in ("factor", "christoffel", "second_form", "scalar", "mean_curvature", "scalar_error"):
        # the same sums in another order
        np.testing.assert_allclose(getattr(streamed, name)[-1], getattr(alone, name), rtol=1e-10, atol=1e-13)
    field = metric(network, manifold, points=3, duration=1.7)
    np.testing.assert_allclose(streamed.metric, field.metric, atol=1e-13)
    np.testing.assert_array_equal(streamed.status, field.status)
    assert names(streamed.status) == {"no_input_yet", "ok"}
    assert np.isnan(streamed.gaussian[0]).all()


@pytest.mark.parametrize("space", [pytest.param("rates", marks=pytest.mark.slow), "readout"])
def test_chosen_times_spaces_and_blocks(network: Network, manifold: PulsedInputs, space: str) -> None:
    options = {"points": 3, "duration": 1.7, "space": space}
    got = curvature(network, manifold, times=(1.7, 1.32), block=4, **options)  # type: ignore[arg-type]
    np.testing.assert_allclose(got.time, [1.3, 1.7], rtol=1e-15)
    alone = local_geometry(immersion(network, manifold, time=1.7, space=space), np.asarray(got.theta))  # type: ignore[arg-type]
    # the same sums in another order; a plane of two outputs is flat up to its own rounding
    np.testing.assert_allclose(got.scalar[-1], alone.scalar, atol=1e-12)
    if space == "readout":
        assert (np.abs(got.scalar) <= got.scalar_error).all()


@pytest.mark.slow
def test_an_inner_product_scales_curvature(network: Network, manifold: PulsedInputs, streamed: Curvature) -> None:
    scaled = curvature(network, manifold, points=3, duration=1.7, inner="per_unit")
    given = curvature(network, manifold, points=3, duration=1.7, times=(1.7,), inner=4 * np.eye(30))
    # K goes with the inverse of a metric; one square root each way
    np.testing.assert_allclose(scaled.scalar[-1], 30 * streamed.scalar[-1], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(given.scalar[0], streamed.scalar[-1] / 4, rtol=1e-12, atol=1e-13)


def test_float32_is_within_its_own_estimate(network: Network, manifold: PulsedInputs, streamed: Curvature) -> None:
    got = curvature(rc.cast(network, jnp.float32), manifold, points=3, duration=1.7)
    known = np.isfinite(streamed.scalar) & np.isfinite(got.scalar)
    assert known[-1].all()
    assert got.scalar.dtype == np.float32
    assert (np.abs(got.scalar - streamed.scalar)[known] <= got.scalar_error[known]).all()
    # ten units of rounding of curvatures of order 1
    np.testing.assert_allclose(got.scalar[-1], streamed.scalar[-1], atol=5e-6)


def test_reasons(network: Network, manifold: PulsedInputs) -> None:
    one = Network(network.system, LinearReadout(jnp.ones((1, 30))), network.x0)
    flat = curvature(one, manifold, points=2, duration=1.5, space="readout")
    assert names(flat.status) == {"too_few_dimensions"}
    assert np.isnan(flat.scalar).all()
    theta = SURFACES["sphere"].points()
    theta[0] = 0.0
    poles = local_geometry(SURFACES["sphere"].immersion, theta)
    assert names(poles.status[:1]) == {"no_input_yet"}
    assert names(poles.status[1:]) == {"ok"}
    assert np.isnan(poles.gaussian[0])
    broken = local_geometry(
        Immersion(lambda t: jnp.stack([t[0], t[1], jnp.sqrt(t[0])]), torus("a", "b").coordinates),
        np.asarray([[-1.0, 1], [1, 1]]),
    )
    assert names(broken.status[:1]) == {"non_finite"}
    # a ruled surface over the curve √x: flat
    np.testing.assert_allclose(broken.gaussian[1], 0, atol=1e-15)


def test_misuse_names_the_argument(network: Network, manifold: PulsedInputs) -> None:
    with pytest.raises(InputError, match="`times`"):
        curvature(network, manifold, points=2, duration=1.0, times=(3.0,))
    with pytest.raises(InputError, match="`theta`"):
        local_geometry(SURFACES["ring"].immersion, np.ones((2, 3)))
    with pytest.raises(InputError, match="at least one"):
        local_geometry(SURFACES["ring"].immersion, np.ones((0, 2)))
