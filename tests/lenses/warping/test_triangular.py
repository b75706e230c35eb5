"""Arithmetic of many small triangular matrices against NumPy's on each."""

import numpy as np
import pytest

from recurvature.lenses.warping import triangular


@pytest.mark.parametrize("m", [1, 2, 3])
def test_same_as_numpy(m: int) -> None:
    a, b = np.triu(np.random.default_rng(6).normal(size=(2, 50, m, m)))
    # sums of at most three products
    np.testing.assert_allclose(triangular.product(a, b), a @ b, rtol=0, atol=1e-14)
    np.testing.assert_allclose(triangular.gram(a), np.swapaxes(a, -1, -2) @ a, rtol=0, atol=1e-14)
    upper = a[:, *np.triu_indices(m)]
    np.testing.assert_array_equal(triangular.unpack(upper, m), a)
    np.testing.assert_array_equal(np.triu(triangular.symmetric(a)), a)
    np.testing.assert_array_equal(triangular.symmetric(a), np.swapaxes(triangular.symmetric(a), -1, -2))


@pytest.mark.parametrize("m", [1, 2, 3])
def test_singular_values(m: int) -> None:
    factor = np.triu(np.random.default_rng(6).normal(size=(50, m, m))) * 10.0 ** np.arange(0, -2 * m, -2)
    factor[0] = 0
    expected = np.linalg.svd(factor, compute_uv=False)
    # an SVD is right to some eps of the largest singular value, here of order 1
    np.testing.assert_allclose(triangular.singular_values(factor), expected, rtol=0, atol=1e-14)
