"""Closed forms of local geometry on random derivatives: symmetries, contractions, projections, rounding."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from recurvature.lenses.warping import local
from recurvature.lenses.warping.local import LocalTensors, contact, local_tensors
from recurvature.systems.tangent import pairs

B, N = 6, 12


def vectors(m: int, seed: int = 0) -> np.ndarray:
    """Random first and second derivatives of B points, (c, b, n)."""
    return np.random.default_rng(seed).normal(size=(m + len(pairs(m)), B, N))


def tensors(derivatives: np.ndarray, m: int, dtype: type = np.float64) -> LocalTensors:
    packed = contact(jnp.asarray(derivatives, dtype), m)
    return local_tensors(local.Contact(*map(np.asarray, packed)), m, np.ones(B, bool), dtype)


def projected(derivatives: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """G, Γ and II (b, i, j, n) by least squares: another route."""
    frames, second = np.moveaxis(derivatives[:m], 0, -1), np.moveaxis(derivatives[m:], 0, 1)
    second = second[:, local.pair_index(m)]
    solved = np.linalg.pinv(frames)
    gamma = np.einsum("bkn,bijn->bkij", solved, second)
    normal = second - np.einsum("bnk,bkij->bijn", frames, gamma)
    return np.einsum("bni,bnj->bij", frames, frames), gamma, normal


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_tensors_are_those_of_the_projection(m: int) -> None:
    derivatives = vectors(m)
    got = tensors(derivatives, m)
    metric, gamma, normal = projected(derivatives, m)
    inverse = np.linalg.inv(metric)
    tensor = np.einsum("bikn,bjln->bijkl", normal, normal) - np.einsum("biln,bjkn->bijkl", normal, normal)
    mean = np.einsum("bij,bijn->bn", inverse, normal) / m
    # random frames of 4 in 12 dimensions have condition numbers below 10: 100 units of rounding of numbers up to 100
    close: Any = {"rtol": 1e-11, "atol": 1e-11}
    np.testing.assert_allclose(np.einsum("bki,bkj->bij", got.factor, got.factor), metric, **close)
    np.testing.assert_allclose(got.christoffel, gamma, **close)
    np.testing.assert_allclose(local.riemann(got.second_form, m), tensor, **close)
    np.testing.assert_allclose(local.ricci(tensor, got.factor), np.einsum("bik,bijkl->bjl", inverse, tensor), **close)
    np.testing.assert_allclose(got.scalar, np.einsum("bik,bjl,bijkl->b", inverse, inverse, tensor), **close)
    np.testing.assert_allclose(got.mean_curvature, np.linalg.norm(mean, axis=-1), **close)


def test_riemann_has_its_symmetries() -> None:
    tensor = local.riemann(tensors(vectors(3), 3).second_form, 3)
    # differences of the same two products in another order: exact
    np.testing.assert_array_equal(tensor, -np.swapaxes(tensor, 1, 2))
    np.testing.assert_array_equal(tensor, np.einsum("bijkl->bklij", tensor))
    cyclic = tensor + np.einsum("bijkl->biklj", tensor) + np.einsum("bijkl->biljk", tensor)
    # six products of size up to 100 that cancel in pairs
    np.testing.assert_allclose(cyclic, 0, atol=1e-12)


def test_minors_multiply() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 5, 4, 4))
    # Cauchy and Binet: the minors of a product are the product of the minors; sums of 4 numbers of order 1
    np.testing.assert_allclose(local.compound(a @ b), local.compound(a) @ local.compound(b), atol=1e-13)


@pytest.mark.parametrize("angle", [1.0, 0.1, 0.01])
def test_the_estimate_of_rounding_holds_for_oblique_tangents(angle: float) -> None:
    derivatives = vectors(2).astype(np.float32)
    derivatives[1] = np.float32(np.cos(angle)) * derivatives[0] + np.float32(np.sin(angle)) * derivatives[1]
    exact, rounded = tensors(derivatives, 2), tensors(derivatives, 2, np.float32)
    assert rounded.scalar.dtype == np.float32
    error = np.abs(rounded.scalar - exact.scalar)
    # an estimate of the size of the worst case: never exceeded, and not idle by more than random signs explain
    assert (error <= rounded.scalar_error).all()
    assert error.max() > 1e-3 * rounded.scalar_error.max()
    # of float32 numbers
    np.testing.assert_allclose(rounded.scalar_error / exact.scalar_error, 2.0**29, rtol=0.1)


def test_what_is_masked_is_nan_and_nothing_else() -> None:
    derivatives = vectors(2)
    derivatives[1, 0] = 0.0
    packed = contact(jnp.asarray(derivatives), 2)
    assert np.isfinite(np.asarray(packed.tangential)).all()
    usable = np.arange(B) > 0
    got = local_tensors(local.Contact(*map(np.asarray, packed)), 2, usable, np.float64)
    for name in ("christoffel", "second_form", "scalar", "scalar_error", "mean_curvature"):
        values = getattr(got, name).reshape(B, -1)
        assert np.isnan(values[0]).all()
        assert np.isfinite(values[1:]).all()
    assert np.isfinite(got.factor).all()
    assert np.isnan(local.ricci(local.riemann(got.second_form, 2), got.factor)[0]).all()
