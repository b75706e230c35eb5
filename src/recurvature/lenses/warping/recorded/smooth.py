r"""Smooth fits: one expansion in harmonics (of periodic coordinates) and polynomials for all bins (docs eq. W.63)."""

import itertools

import numpy as np
from jaxtyping import Float

from recurvature.lenses.warping.recorded.crossed import Moments, inverse
from recurvature.lenses.warping.recorded.rows import Rows
from recurvature.systems.inputs import Coordinate

ORDERS = (1, 2, 3, 4, 5, 6, 7)
"""Orders that are tried."""


def expansion(
    theta: Float[np.ndarray, "row m"], order: int, coordinates: tuple[Coordinate, ...]
) -> tuple[Float[np.ndarray, "row p"], Float[np.ndarray, "row m p"]]:
    """All products of functions of single coordinates up to a total order, and their derivatives."""
    single = [_one(theta[:, i], order, c) for i, c in enumerate(coordinates)]
    degrees = [
        [(k + 1) // 2 if c.periodic else k for k in range(len(s[0]))] for s, c in zip(single, coordinates, strict=True)
    ]
    values, slopes = [], []
    for pick in itertools.product(*(range(len(d)) for d in degrees)):
        if sum(d[k] for d, k in zip(degrees, pick, strict=True)) > order:
            continue
        parts = [s[0][k] for s, k in zip(single, pick, strict=True)]
        values.append(np.prod(parts, axis=0))
        slopes.append([np.prod([*parts[:i], single[i][1][k], *parts[i + 1 :]], axis=0) for i, k in enumerate(pick)])
    return np.stack(values, -1), np.moveaxis(np.array(slopes), (0, 1, 2), (2, 1, 0))


def _one(x: Float[np.ndarray, " row"], order: int, c: Coordinate) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Functions of one coordinate and their derivatives: 1, then sine and cosine, or Legendre's polynomials."""
    if c.periodic:
        rate = 2 * np.pi / (c.high - c.low)
        values, slopes = [np.ones_like(x)], [np.zeros_like(x)]
        for k in range(1, order + 1):
            angle = k * rate * (x - c.low)
            values += [np.cos(angle), np.sin(angle)]
            slopes += [-k * rate * np.sin(angle), k * rate * np.cos(angle)]
        return values, slopes
    half = (c.high - c.low) / 2
    at = (x - c.low) / half - 1
    basis = [np.polynomial.Legendre.basis(k) for k in range(order + 1)]
    return [b(at) for b in basis], [b.deriv()(at) / half for b in basis]


def moments(rows: Rows, order: int, coordinates: tuple[Coordinate, ...], folds: int) -> Moments:
    """Sums over the rows of each fold."""
    z, _ = expansion(rows.theta, order, coordinates)
    parts = [(z[rows.fold == f], rows.activity[rows.fold == f]) for f in range(folds)]
    return Moments(np.stack([a.T @ a for a, _ in parts]), np.stack([a.T @ y for a, y in parts]))


def prediction_error(rows: Rows, order: int, coordinates: tuple[Coordinate, ...], folds: int) -> tuple[float, float]:
    """Squared error in folds left out of the fit, and that of the mean; infinite where a fit is not fixed."""
    z, _ = expansion(rows.theta, order, coordinates)
    y = rows.activity - rows.activity.mean(0)
    error = 0.0
    for f in range(folds):
        out = rows.fold == f
        fit = inverse(z[~out].T @ z[~out]) @ (z[~out].T @ y[~out])
        error += float(((y[out] - z[out] @ fit) ** 2).sum())
    return error if np.isfinite(error) else np.inf, float((y**2).sum())


def leverage(moments: Moments, values: Float[np.ndarray, "any p"]) -> Float[np.ndarray, " any"]:
    """The variance of a fit, in units of that of one bin, if the noise of bins is independent."""
    return np.einsum("gp,pq,gq->g", values, inverse(moments.square.sum(0)), values)
