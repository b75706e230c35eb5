"""Upper triangular matrices by the thousand: products, Gram matrices and singular values, all at once in NumPy.

Loops run over the few entries of one matrix, arithmetic over all matrices: for 2 × 2 that is ten times faster than
stacks of matrix products.
"""

import numpy as np
from jaxtyping import Float

Upper = Float[np.ndarray, "*batch i j"]


def unpack(entries: Float[np.ndarray, "*batch entry"], m: int) -> Upper:
    """The matrices whose entries i ≤ j are stored row by row."""
    out = np.zeros((*entries.shape[:-1], m, m), entries.dtype)
    out[..., *np.triu_indices(m)] = entries
    return out


def symmetric(upper: Upper) -> Upper:
    """The symmetric matrices with these upper halves."""
    return upper + np.swapaxes(np.triu(upper, 1), -1, -2)


def gram(factor: Upper) -> Upper:
    r"""$R^\top R$."""
    out = np.empty_like(factor)
    m = factor.shape[-1]
    for i in range(m):
        for j in range(i, m):
            out[..., i, j] = sum(factor[..., k, i] * factor[..., k, j] for k in range(i + 1))
            out[..., j, i] = out[..., i, j]
    return out


def product(left: Upper, right: Float[np.ndarray, "*more i j"]) -> Float[np.ndarray, "*all i j"]:
    """The products of upper triangular matrices, which are upper triangular."""
    shape = np.broadcast_shapes(left.shape, right.shape)
    out = np.zeros(shape, np.result_type(left, right))
    m = shape[-1]
    for i in range(m):
        for j in range(i, m):
            out[..., i, j] = sum(left[..., i, k] * right[..., k, j] for k in range(i, j + 1))
    return out


def inverse(factor: Upper) -> Upper:
    """The inverses, which are upper triangular; no diagonal entry may be 0."""
    m = factor.shape[-1]
    out = np.zeros_like(factor)
    for j in range(m):
        out[..., j, j] = 1 / factor[..., j, j]
        for i in reversed(range(j)):
            rest = sum(factor[..., i, k] * out[..., k, j] for k in range(i + 1, j + 1))
            out[..., i, j] = -rest / factor[..., i, i]
    return out


def singular_values(factor: Upper) -> Float[np.ndarray, "*batch k"]:
    """Singular values, the largest first; in closed form up to 2 × 2.

    For [[f, g], [0, h]] the largest is half of |(f+h, g)| + |(f−h, g)|, and the smallest |fh| over it: no differences,
    so that both keep all their digits (as LAPACK's `dlasv2` does).
    """
    if factor.shape[-1] == 1:
        return np.abs(factor[..., 0])
    if factor.shape[-1] > 2:
        return np.linalg.svd(factor, compute_uv=False)
    f, g, h = factor[..., 0, 0], factor[..., 0, 1], factor[..., 1, 1]
    largest = 0.5 * (np.hypot(f + h, g) + np.hypot(f - h, g))
    smallest = np.abs(f * (h / np.where(largest > 0, largest, 1)))
    return np.stack([largest, smallest], -1)
