r"""Products of tangents from disjoint trials: without the noise that a tangent has in common with itself.

Every estimate here is linear in the activity, so that sums over folds are all that is kept of it: a moment matrix
$M_f$ and the products $V_fV_g^\top$ of moment vectors (docs eq. W.65).
"""

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

MOST_SPLITS = 42
"""Halvings of the folds over which products are averaged."""
CONDITION = 1e-9
"""Smallest over largest eigenvalue of a moment matrix below which a half does not fix its tangents."""


class Moments(NamedTuple):
    """Sums over the rows of each fold: of regressors with themselves, and of regressors with activity."""

    square: Float[np.ndarray, "fold p p"]
    cross: Float[np.ndarray, "fold p n"]

    @property
    def coefficient(self) -> Float[np.ndarray, "p n"]:
        """The coefficients that all rows together give."""
        return inverse(self.square.sum(0)) @ self.cross.sum(0)


class Halves(NamedTuple):
    """Which folds make up the two halves of each splitting, for all folds and with each left out (first index)."""

    one: Int[np.ndarray, "left split fold"]
    two: Int[np.ndarray, "left split fold"]


class Crossed(NamedTuple):
    r"""Products of coefficients, $\hat\beta\hat\beta^\top$: of disjoint halves, with each fold left out, and naive."""

    product: Float[np.ndarray, "p p"]
    left_out: Float[np.ndarray, "fold p p"]
    naive: Float[np.ndarray, "p p"]


def halves(folds: int) -> Halves:
    """Splittings of all folds into halves, and of all but each one."""
    one = [_halvings(list(range(folds)), folds)]
    for absent in range(folds):
        one.append(_halvings([f for f in range(folds) if f != absent], folds))
    count = min(map(len, one))
    first = np.stack([each[np.linspace(0, len(each) - 1, count).round().astype(int)] for each in one])
    present = np.ones((folds + 1, 1, folds), int)
    present[1 + np.arange(folds), 0, np.arange(folds)] = 0
    return Halves(first, present - first)


def _halvings(members: list[int], folds: int) -> Int[np.ndarray, "split fold"]:
    """Halves of `members` as rows of ones, evenly picked of all; of an even number each splitting comes once."""
    size = len(members) // 2
    picked = list(itertools.combinations(members, size))
    if len(members) % 2 == 0:
        picked = [half for half in picked if half[0] == members[0]]
    chosen = np.unique(np.linspace(0, len(picked) - 1, min(MOST_SPLITS, len(picked))).round().astype(int))
    out = np.zeros((len(chosen), folds), int)
    for row, k in enumerate(chosen):
        out[row, list(picked[k])] = 1
    return out


def crossed(moments: Moments, split: Halves) -> Crossed:
    r"""Products of the coefficients of disjoint halves, the mean over splittings (docs eq. W.66).

    NaN where some half does not fix the coefficients.
    """
    products = np.einsum("fpn,gqn->fgpq", moments.cross, moments.cross, optimize=True)
    left, right = (inverse(np.einsum("lsf,fpq->lspq", half, moments.square)) for half in split)
    inner = np.einsum("lsf,lsg,fgpq->lspq", split.one, split.two, products, optimize=True)
    found = (left @ inner @ right).mean(1)
    found = (found + np.swapaxes(found, -1, -2)) / 2
    return Crossed(found[0], found[1:], moments.coefficient @ moments.coefficient.T)


def inverse(square: Float[np.ndarray, "*any p p"]) -> Float[np.ndarray, "*any p p"]:
    """The inverses of moment matrices, symmetric; NaN where the rows do not fix all coefficients."""
    scale = np.sqrt(np.diagonal(square, axis1=-2, axis2=-1))
    known = (scale > 0).all(-1)
    scale = np.where(known[..., None], scale, 1)
    outer = scale[..., :, None] * scale[..., None, :]
    even = np.where(known[..., None, None], square / outer, np.eye(square.shape[-1]))
    values = np.linalg.eigvalsh(even)
    good = (known & (values[..., 0] > CONDITION * values[..., -1]))[..., None, None]
    return np.where(good, np.linalg.inv(np.where(good, even, np.eye(square.shape[-1]))) / outer, np.nan)
