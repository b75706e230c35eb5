r"""Local geometry from first and second derivatives: closed forms on small arrays, for any number of coordinates.

Three small triangles say all there is to say of $V = [x_1,\dots,x_m]$ and $X = [x_{11}, x_{12},\dots]$ at a point: the
factor $R$ of $V = QR$, the components $Q^\top X$ in the tangent space, and the inner products of the parts
$II = (1 - QQ^\top)X$ that stand on it (docs eq. W.12). Products are taken after projecting, so that nothing large is
subtracted.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from recurvature.lenses.warping import triangular
from recurvature.systems.tangent import dot, gram, gram_schmidt, pairs


class Contact(NamedTuple):
    """What is emitted of the derivatives of a block of points: the contact of the manifold with its tangent planes."""

    factor: Float[Any, "*batch entry"]
    """$R$, packed in the order of `pairs`."""
    tangential: Float[Any, "*batch m ij"]
    r"""$Q^\top X$, a column for each pair i ≤ j."""
    normal: Float[Any, "*batch kl"]
    """Inner products of $II$, packed."""


class LocalTensors(NamedTuple):
    """What follows from contacts, in their number type; all but `factor` is NaN where masked."""

    factor: Float[np.ndarray, "*batch i j"]
    christoffel: Float[np.ndarray, "*batch k i j"]
    second_form: Float[np.ndarray, "*batch ij kl"]
    scalar: Float[np.ndarray, "*batch"]
    scalar_error: Float[np.ndarray, "*batch"]
    mean_curvature: Float[np.ndarray, "*batch"]


def contact(vectors: Float[Array, "c b n"], m: int) -> Contact:
    """The contact of the first (m) and second (m(m + 1)/2) derivatives at a block of points (docs eq. W.12)."""
    basis, factor = gram_schmidt(vectors[:m])
    diagonal = [factor[:, pairs(m).index((i, i))] for i in range(m)]
    # a basis vector that is zero takes no share
    lengths = [jnp.where(length == 0, 1, length) for length in diagonal]
    tangential, normal = [], []
    for x in vectors[m:]:
        components = [dot(q, x) / length for q, length in zip(basis, lengths, strict=True)]
        tangential.append(jnp.stack(components, -1))
        for q, component, length in zip(basis, components, lengths, strict=True):
            x = x - (component / length)[:, None] * q
        normal.append(x)
    return Contact(factor, jnp.stack(tangential, -1), gram(jnp.stack(normal)))


def local_tensors(given: Contact, m: int, usable: Bool[np.ndarray, "*batch"], dtype: Any) -> LocalTensors:
    """Christoffel symbols and curvatures from contacts, in float64 and rounded to `dtype` at the end."""
    factor = triangular.unpack(np.asarray(given.factor), m)
    keep = lambda entries, axes: np.where(usable[(...,) + (None,) * axes], entries, 0.0)  # noqa: E731
    safe = np.where(usable[..., None, None], factor, np.eye(m))
    inverse = triangular.inverse(safe.astype(np.float64))
    christoffel = _product(inverse, keep(np.asarray(given.tangential, np.float64), 2))
    form = triangular.symmetric(triangular.unpack(keep(np.asarray(given.normal, np.float64), 1), len(pairs(m))))
    scalar, bend = scalar_curvature(operator(form, m), inverse), _mean(inverse, form)
    error = _rounding(safe, inverse, christoffel, form) * np.finfo(dtype).eps
    rounded = (christoffel[..., pair_index(m)], form, scalar, error, bend / m)
    masked = [np.where(usable[(...,) + (None,) * (v.ndim - usable.ndim)], v, np.nan).astype(dtype) for v in rounded]
    return LocalTensors(factor, *masked)


def pair_index(m: int) -> np.ndarray:
    """Where the pair (i, j), in either order, stands in `pairs`."""
    out = np.zeros((m, m), int)
    for position, (i, j) in enumerate(pairs(m)):
        out[i, j] = out[j, i] = position
    return out


def planes(m: int) -> list[tuple[int, int]]:
    """The coordinate planes i < j."""
    return list(itertools.combinations(range(m), 2))


def compound(matrix: Float[np.ndarray, "*batch i j"]) -> Float[np.ndarray, "*batch a b"]:
    """The 2 × 2 minors of matrices, by pairs of `planes`: how the matrices act on areas."""
    every = planes(matrix.shape[-1])
    out = np.zeros((*matrix.shape[:-2], len(every), len(every)), matrix.dtype)
    for a, (i, j) in enumerate(every):
        for b, (k, q) in enumerate(every):
            out[..., a, b] = matrix[..., i, k] * matrix[..., j, q] - matrix[..., i, q] * matrix[..., j, k]
    return out


def operator(form: Float[np.ndarray, "*batch ij kl"], m: int) -> Float[np.ndarray, "*batch a b"]:
    r"""The curvature operator $R_{ijkl}$, $i<j$, $k<l$, by the Gauss equation (docs eq. W.15)."""
    at, every = pair_index(m), planes(m)
    out = np.zeros((*form.shape[:-2], len(every), len(every)), form.dtype)
    for a, (i, j) in enumerate(every):
        for b, (k, q) in enumerate(every):
            out[..., a, b] = form[..., at[i, k], at[j, q]] - form[..., at[i, q], at[j, k]]
    return out


def riemann(form: Float[np.ndarray, "*batch ij kl"], m: int) -> Float[np.ndarray, "*batch i j k l"]:
    r"""$R_{ijkl} = \langle II_{ik}, II_{jl}\rangle - \langle II_{il}, II_{jk}\rangle$ (docs eq. W.15)."""
    at = pair_index(m)
    full = form[..., at[:, :, None, None], at]
    return np.moveaxis(full, -3, -2) - np.moveaxis(full, -3, -1)


def ricci(
    tensor: Float[np.ndarray, "*batch i j k l"], factor: Float[np.ndarray, "*batch i j"]
) -> Float[np.ndarray, "*batch j l"]:
    r"""$\mathrm{Ric}_{jl} = G^{ik}R_{ijkl}$ with $G = R^\top R$ (docs eq. W.16); NaN where the tensor is."""
    known = np.isfinite(tensor).all((-1, -2, -3, -4))[..., None, None]
    inverse = triangular.inverse(np.where(known, factor, np.eye(factor.shape[-1], dtype=factor.dtype)))
    return np.einsum("...ia,...ka,...ijkl->...jl", inverse, inverse, tensor)


def scalar_curvature(
    curvature: Float[np.ndarray, "*batch a b"], inverse: triangular.Upper
) -> Float[np.ndarray, "*batch"]:
    r"""The curvature operator against the minors of the inverse metric, given $R^{-1}$ (docs eq. W.17)."""
    return 2 * np.einsum("...ab,...ab->...", curvature, _minors(inverse))


def _minors(inverse: triangular.Upper) -> Float[np.ndarray, "*batch a b"]:
    r"""The minors of $G^{-1} = R^{-1}R^{-\top}$."""
    areas = compound(inverse)
    return np.einsum("...ac,...bc->...ab", areas, areas)


def _product(left: triangular.Upper, right: Float[np.ndarray, "*batch j p"]) -> Float[np.ndarray, "*batch i p"]:
    """Upper triangular matrices times others."""
    m, out = left.shape[-1], np.zeros_like(right)
    for i in range(m):
        for j in range(i, m):
            out[..., i, :] += left[..., i, j, None] * right[..., j, :]
    return out


def _raised(inverse: triangular.Upper) -> Sequence[Float[np.ndarray, "*batch"]]:
    r"""$G^{ij}$ for i ≤ j, in the order of `pairs`."""
    m = inverse.shape[-1]
    return [sum(inverse[..., i, k] * inverse[..., j, k] for k in range(j, m)) for i, j in pairs(m)]


def _mean(inverse: triangular.Upper, form: Float[np.ndarray, "*batch ij kl"]) -> Float[np.ndarray, "*batch"]:
    r"""$|G^{ij}II_{ij}|$: m times the mean curvature (docs eq. W.14)."""
    m = inverse.shape[-1]
    weights = [g if i == j else 2 * g for g, (i, j) in zip(_raised(inverse), pairs(m), strict=True)]
    square = np.zeros(form.shape[:-2])
    for p, q in itertools.product(range(len(weights)), repeat=2):
        square += weights[p] * weights[q] * form[..., p, q]
    return np.sqrt(np.maximum(square, 0))


def _rounding(
    factor: triangular.Upper,
    inverse: triangular.Upper,
    christoffel: Float[np.ndarray, "*batch k ij"],
    form: Float[np.ndarray, "*batch ij kl"],
) -> Float[np.ndarray, "*batch"]:
    """By how many units of rounding of the derivatives the scalar curvature may be off (docs eq. W.18)."""
    m = factor.shape[-1]
    at, every = pair_index(m), planes(m)
    lengths = np.sqrt(np.einsum("...ij,...ij->...j", factor, factor))
    oblique = (lengths * np.sqrt(np.einsum("...ij,...ij->...i", inverse, inverse))).max(-1)
    size = np.sqrt(np.maximum(np.einsum("...pp->...p", form), 0))
    off = size + 2 * np.einsum("...kp,...k->...p", np.abs(christoffel), lengths)
    curvature, minors = np.abs(operator(form, m)), np.abs(_minors(inverse))
    out = np.zeros(form.shape[:-2])
    for a, (i, j) in enumerate(every):
        for b, (k, q) in enumerate(every):
            products = ((at[i, k], at[j, q]), (at[i, q], at[j, k]))
            moved = sum(off[..., x] * size[..., y] + size[..., x] * off[..., y] for x, y in products)
            out += 2 * minors[..., a, b] * (moved + 2 * oblique * curvature[..., a, b])
    return out
