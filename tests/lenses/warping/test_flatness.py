"""Flatness and separability: surfaces of known curvature, and codes that add."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.warping import Immersion, flatness, immersion
from recurvature.lenses.warping.flatness import additive_residual, cell_weights
from recurvature.systems import ConstantInputs, box, circle, torus

TWO = torus("a", "b").coordinates
COUNT = 16
OVERLAP = 0.6


class Sum(eqx.Module):
    """Two circles added in planes that overlap."""

    overlap: Array
    unevenness: Array

    def __call__(self, theta: Array) -> Array:
        a, b = theta + self.unevenness * jnp.sin(theta)
        c, s = self.overlap, jnp.sqrt(1 - self.overlap**2)
        first = jnp.stack([jnp.cos(a), jnp.sin(a), 0 * a, 0 * a])
        return first + jnp.stack([c * jnp.cos(b), c * jnp.sin(b), s * jnp.cos(b), s * jnp.sin(b)])


class Sheet(eqx.Module):
    """A bent sheet in any units."""

    size: Array
    units: Array

    def __call__(self, theta: Array) -> Array:
        a, b = theta * self.units
        return self.size * jnp.stack([a + 0.3 * b**2, b + a * b, 0.4 * a**2 - b])


def codes(overlap: float, unevenness: float = 0.0) -> Immersion:
    return Immersion(Sum(jnp.asarray(overlap), jnp.asarray(unevenness)), TWO)


def ring(theta: Array) -> Array:
    a, b = theta
    return jnp.stack([(2 + jnp.cos(b)) * jnp.cos(a), (2 + jnp.cos(b)) * jnp.sin(a), jnp.sin(b)])


def test_orthogonal_codes_are_flat_however_uneven() -> None:
    even, uneven = flatness(codes(0.0), points=COUNT), flatness(codes(0.0, 0.3), points=COUNT)
    for found in (even, uneven):
        assert found.reading() == "flat"
        # rounding of second derivatives of order one
        np.testing.assert_allclose([found.largest, found.overlap, found.mixing], 0, atol=1e-12)
        assert found.additive_residual < 1e-28
        # circles of length 2π, however they are run through; the rule converges geometrically
        assert found.area == pytest.approx(4 * np.pi**2, rel=1e-6)
    # constant where circles are run through evenly only
    assert even.metric_spread < 1e-12
    assert uneven.metric_spread > 0.1


def test_codes_that_overlap_are_curved_and_additive_all_the_same() -> None:
    found = flatness(codes(OVERLAP), points=COUNT)
    u = found.theta[:, 0] - found.theta[:, 1]
    cosine, rest = OVERLAP * np.cos(u), 1 - (OVERLAP * np.cos(u)) ** 2
    # Brioschi's formula with E = G = 1 and F = c cos u
    closed = cosine / rest - cosine * (OVERLAP * np.sin(u)) ** 2 / rest**2
    np.testing.assert_allclose(found.curvature, closed, rtol=0, atol=1e-12)
    assert found.reading() == "additive, curved by overlap"
    np.testing.assert_allclose(found.mixing, 0, atol=1e-14)
    assert found.additive_residual < 1e-28
    # the cosine of the angle of coordinate lines is F
    assert found.overlap == pytest.approx(OVERLAP / np.sqrt(2), rel=1e-12)
    # Gauss and Bonnet; the rule converges geometrically
    assert abs(found.total) < 1e-4 * found.total_absolute


def test_a_ring_torus_is_mixed_with_the_numbers_of_its_closed_form() -> None:
    found = flatness(Immersion(ring, TWO), points=COUNT)
    assert found.reading() == "mixed"
    # 4π²·2·1, and |K| = 1 on the inner equator; trigonometric polynomials are integrated exactly
    assert found.area == pytest.approx(8 * np.pi**2, rel=1e-12)
    assert found.largest == pytest.approx(8 * np.pi**2, rel=1e-12)
    assert abs(found.total) < 1e-12
    # ∫|K|dA = 8π; |cos| has kinks, so that the rule is of second order
    assert found.total_absolute == pytest.approx(8 * np.pi, rel=np.pi**2 / COUNT**2)
    # ⟨|x₁₂|²⟩ = ⟨sin²b⟩ = 1/2, ⟨|x₁₁|²⟩ = ⟨(2 + cos b)²⟩ = 9/2, ⟨|x₂₂|²⟩ = 1
    assert found.mixing == pytest.approx(np.sqrt(0.5 / np.sqrt(4.5)), rel=1e-12)
    # cos a cos b and sin a cos b: variance 1/2 of (4 + 1/2 + 1/2)
    assert found.additive_residual == pytest.approx(0.1, rel=1e-12)


def test_numbers_do_not_depend_on_units() -> None:
    narrow, wide = box(a=(0.0, 1.0), b=(-1.0, 1.0)), box(a=(0.0, 1e3), b=(-1e-2, 1e-2))
    one = flatness(Immersion(Sheet(jnp.asarray(1.0), jnp.asarray([1.0, 1.0])), narrow.coordinates), points=7)
    other = flatness(Immersion(Sheet(jnp.asarray(50.0), jnp.asarray([1e-3, 1e2])), wide.coordinates), points=7)
    for name in ("largest", "total", "total_absolute", "metric_spread", "overlap", "mixing", "additive_residual"):
        # rounding of derivatives and of their quotients
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-9), name
    assert other.area == pytest.approx(2500 * one.area, rel=1e-12)


def test_weights_integrate_a_constant_exactly_and_a_line_along_an_interval() -> None:
    mixed = Immersion(lambda theta: theta, (circle().coordinates[0], box(v=(0.0, 2.0)).coordinates[0]))
    weights = cell_weights(mixed, (5, 4))
    assert weights.sum() == pytest.approx(4 * np.pi, rel=1e-14)
    assert weights @ np.tile(np.linspace(0, 2, 4), 5) == pytest.approx(2 * np.pi * 2, rel=1e-14)


def test_the_additive_residual_is_a_share_of_variance() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 6, 3))
    sums = a[:, None] + b[None, :]
    assert additive_residual(sums) < 1e-30
    # columns of zero mean: the product is orthogonal to every sum
    product = (a - a.mean(0))[:, None] * (b - b.mean(0))[None]
    assert additive_residual(product) == pytest.approx(1, rel=1e-14)
    part = additive_residual(sums + 2 * product)
    centred = sums - sums.mean((0, 1))
    assert part == pytest.approx(4 * np.sum(product**2) / (4 * np.sum(product**2) + np.sum(centred**2)), rel=1e-12)


@pytest.mark.slow
def test_a_linear_network_that_adds_two_items_has_a_curved_torus() -> None:
    network = rc.systems.leaky_current(8, inputs=4, outputs=1, key=rc.key(1), dt=0.5, phi="identity")
    found = flatness(immersion(network, ConstantInputs(torus("a", "b")), time=1.0), points=8)
    assert found.reading() == "additive, curved by overlap"
    assert found.largest > 1
    # rounding of second derivatives, and its square
    assert found.mixing < 1e-12
    assert found.additive_residual < 1e-24


def test_singular_points_are_left_out_and_counted() -> None:
    # both circles in one plane: the torus lies folded in it, flat but on the folds, where the angles agree or oppose
    found = flatness(codes(1.0), points=COUNT)
    assert found.masked == 2 * COUNT
    assert np.isnan(found.curvature).sum() == 2 * COUNT
    assert found.largest < 1e-9


def test_a_state_that_does_not_move_is_not_called_flat() -> None:
    gone = flatness(Immersion(lambda t: 0 * jnp.tile(t, 2), TWO), points=3)
    assert (gone.masked, gone.reading()) == (9, "unknown")


@pytest.mark.parametrize(
    ("immersed", "points", "message"),
    [
        (Immersion(circle().embed, circle().coordinates), 8, "2 coordinates"),
        (codes(0.0), 2, "at least 3"),
    ],
)
def test_misuse_names_the_argument(immersed: Immersion, points: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        flatness(immersed, points=points)
