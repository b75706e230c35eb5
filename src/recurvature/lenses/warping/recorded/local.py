r"""Local polynomials: a fit at every point of a grid to the bins near it (docs eq. W.64)."""

import itertools
import math

import numpy as np
from jaxtyping import Float

from recurvature.lenses.warping.recorded.crossed import Moments, inverse
from recurvature.lenses.warping.recorded.rows import Rows, wrapped
from recurvature.systems.inputs import Coordinate

WIDTHS = (0.08, 0.11, 0.16, 0.22, 0.32, 0.45)
"""Bandwidths that are tried, in units of the range of every coordinate."""
MOST_TESTED = 300
"""Bins at which a bandwidth is tested."""


def reach(width: float, coordinates: tuple[Coordinate, ...]) -> Float[np.ndarray, " m"]:
    """The bandwidth along each coordinate; on a circle at most half of it."""
    return np.array([min(width, 0.5 if c.periodic else width) * (c.high - c.low) for c in coordinates])


def monomials(step: Float[np.ndarray, "row m"], degree: int) -> Float[np.ndarray, "row p"]:
    """1, then the coordinates, then their products up to a degree."""
    columns = [np.ones(len(step))]
    for d in range(1, degree + 1):
        for factors in itertools.combinations_with_replacement(range(step.shape[1]), d):
            columns.append(step[:, factors].prod(1))
    return np.stack(columns, 1)


def slopes(widths: Float[np.ndarray, " m"], degree: int) -> Float[np.ndarray, "m p"]:
    """What takes coefficients to derivatives at the centre."""
    m = len(widths)
    out = np.zeros((m, math.comb(m + degree, degree)))
    out[np.arange(m), 1 + np.arange(m)] = 1 / widths
    return out


def weights(
    theta: Float[np.ndarray, "row m"],
    centre: Float[np.ndarray, " m"],
    widths: Float[np.ndarray, " m"],
    coordinates: tuple[Coordinate, ...],
) -> tuple[Float[np.ndarray, "row m"], Float[np.ndarray, " row"]]:
    """Steps from a centre in units of the bandwidth, and tricube weights, 0 from a distance of 1."""
    step = wrapped(theta - centre, coordinates) / widths
    distance = np.sqrt((step**2).sum(-1))
    return step, np.where(distance < 1, (1 - np.minimum(distance, 1) ** 3) ** 3, 0.0)


def moments(
    rows: Rows,
    centre: Float[np.ndarray, " m"],
    widths: Float[np.ndarray, " m"],
    coordinates: tuple[Coordinate, ...],
    folds: int,
    degree: int,
) -> Moments:
    """Weighted sums about a centre, fold by fold."""
    step, weight = weights(rows.theta, centre, widths, coordinates)
    near = np.flatnonzero(weight)
    z, y, fold = monomials(step[near], degree), rows.activity[near], rows.fold[near]
    zw = z * weight[near, None]
    parts = [(zw[fold == f].T @ z[fold == f], zw[fold == f].T @ y[fold == f]) for f in range(folds)]
    return Moments(np.stack([square for square, _ in parts]), np.stack([cross for _, cross in parts]))


def prediction_error(
    rows: Rows, width: float, coordinates: tuple[Coordinate, ...], tested: int = MOST_TESTED
) -> tuple[float, float]:
    """Squared error of local lines at bins of trials that took no part, and that of the mean."""
    widths = reach(width, coordinates)
    chosen = np.unique(np.linspace(0, len(rows.theta) - 1, min(tested, len(rows.theta))).round().astype(int))
    centre = rows.activity.mean(0)
    error = usual = 0.0
    for b in chosen.tolist():
        step, weight = weights(rows.theta, rows.theta[b], widths, coordinates)
        near = np.flatnonzero(np.where(rows.fold == rows.fold[b], 0.0, weight))
        z = monomials(step[near], 1)
        zw = z * weight[near, None]
        guess = inverse(zw.T @ z)[0] @ (zw.T @ (rows.activity[near] - centre))
        miss = rows.activity[b] - centre
        usual += float(miss @ miss)
        # what too few bins surround is guessed by the mean
        miss = miss - np.where(np.isfinite(guess), guess, 0.0)
        error += float(miss @ miss)
    return error, usual
