"""Fits to the rows of one time: how smooth, and what they say of tangents at every point."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError, check_positive
from recurvature.lenses.warping.recorded import local, smooth
from recurvature.lenses.warping.recorded.crossed import Halves, Moments, crossed
from recurvature.lenses.warping.recorded.rows import Rows, near
from recurvature.systems.inputs import Coordinate

Method = Literal["smooth", "local"]
METHODS = {"smooth": "harmonics and polynomials", "local": "local cubic polynomials"}
DEGREE = 3
"""Of local polynomials, whose bandwidth is chosen for lines: what smoothing leaves is of a higher order."""
LIMITS = ("", "given", "finest", "few_bins")
"""What kept a fit from being finer.

- empty: nothing. What predicts best is coarser than the finest fit tried, and the tangents' fit is as fine as wanted.
- `given`: the caller chose.
- `finest`: the finest fit tried predicts best; finer structure of the activity may be smoothed away.
- `few_bins`: bins were too few for tangents two orders finer than what predicts best.
"""
BINS_PER_FUNCTION = 4
"""Bins without which an expansion is not made finer: each half has half of them."""
FEWEST = 4
"""Trials near a point without which an expansion says nothing of it."""


class Plan(NamedTuple):
    """What is the same at all times."""

    centres: Float[np.ndarray, "point m"]
    coordinates: tuple[Coordinate, ...]
    method: Method
    best: float
    """The order or bandwidth that predicts best: for the mean activity."""
    smoothness: float
    """That of the fits whose tangents are taken."""
    folds: int
    split: Halves
    ambient: Float[np.ndarray, "k n"] | None
    scale: float
    """A factor of all lengths."""


class Estimate(NamedTuple):
    """What the rows of one time give: products of tangents, with each fold left out, naively, and the mean activity."""

    product: Float[np.ndarray, "point i j"]
    left_out: Float[np.ndarray, "fold point i j"]
    naive: Float[np.ndarray, "point i j"]
    position: Float[np.ndarray, "point n"]
    bins: Int[np.ndarray, " point"]
    """Near each point."""
    trials: int


class Fit(NamedTuple):
    """One fit, the points that it serves, and what takes its coefficients to slopes there."""

    moments: Moments
    slope: Float[np.ndarray, "point m p"]
    trials: Int[np.ndarray, " point"]
    """Near each point."""
    bins: Int[np.ndarray, " point"]
    fewest: int


def choose(
    slices: list[Rows], coordinates: tuple[Coordinate, ...], method: Method, given: float | None, folds: int
) -> tuple[float, float, float, str]:
    """What predicts best, the smoothness for tangents, the share explained of trials left out, and what limited it.

    One for all times. Of an expansion, tangents have two orders more than predicts best (one would add nothing to
    activity that is odd or even around the circle), so that they are freer of smoothing than of noise; fewer where bins
    are few.
    """
    tried: tuple[float, ...] = smooth.ORDERS if method == "smooth" else local.WIDTHS
    if given is not None:
        check_positive(smoothness=given)
        if method == "smooth" and given != int(given):
            raise InputError(f"`smoothness` is an order, a whole number, where `method` is 'smooth'; got {given}.")
        tried = (given,)
    tested = max(20, local.MOST_TESTED // len(slices))
    errors = []
    for s in tried:
        if method == "smooth":
            pairs = [smooth.prediction_error(rows, int(s), coordinates, folds) for rows in slices]
        else:
            pairs = [local.prediction_error(rows, s, coordinates, tested) for rows in slices]
        error, usual = np.sum(pairs, axis=0)
        errors.append(error / usual if usual > 0 else 1.0)
    best = int(np.argmin(errors))
    if not np.isfinite(errors[best]):
        raise InputError(
            f"{len(np.unique(slices[0].trial))} trials are too few for a fit over {len(coordinates)} coordinate(s)."
        )
    chosen = tried[best]
    more = 2 if method == "smooth" and given is None else 0
    for _ in range(more):
        functions = smooth.expansion(slices[0].theta[:1], int(chosen) + 1, coordinates)[0].shape[1]
        chosen += 1 if functions <= min(len(rows.theta) for rows in slices) / BINS_PER_FUNCTION else 0
    finest = tried[-1] if method == "smooth" else tried[0]
    limit = "few_bins" if chosen < tried[best] + more else "finest" if tried[best] == finest else ""
    return float(tried[best]), float(chosen), float(1 - errors[best]), limit if given is None else "given"


def estimate(rows: Rows, plan: Plan) -> Estimate:
    """Products of tangents at every point from the rows of one time; NaN where too few trials are near."""
    product, left_out, naive, trials, bins = [], [], [], [], []
    for fit in _fits(rows, plan):
        cross = fit.moments.cross if plan.ambient is None else fit.moments.cross @ plan.ambient.T
        found = crossed(Moments(fit.moments.square, cross * plan.scale), plan.split)
        seen = np.where(fit.trials >= fit.fewest, 1.0, np.nan)[:, None, None]
        product.append(_tangents(found.product, fit.slope) * seen)
        left_out.append(np.stack([_tangents(each, fit.slope) * seen for each in found.left_out]))
        naive.append(_tangents(found.naive, fit.slope) * seen)
        trials.append(seen[..., 0])
        bins.append(fit.bins)
    return Estimate(
        np.concatenate(product),
        np.concatenate(left_out, 1),
        np.concatenate(naive),
        _positions(rows, plan) * np.concatenate(trials),
        np.concatenate(bins),
        len(np.unique(rows.trial)),
    )


def _tangents(
    product: Float[np.ndarray, "p p"], slope: Float[np.ndarray, "point m p"]
) -> Float[np.ndarray, "point i j"]:
    return np.einsum("gip,pq,gjq->gij", slope, product, slope, optimize=True)


def _positions(rows: Rows, plan: Plan) -> Float[np.ndarray, "point n"]:
    """The mean activity at every point, by the fit that predicts best."""
    if plan.method == "smooth":
        sums = smooth.moments(rows, int(plan.best), plan.coordinates, plan.folds)
        return smooth.expansion(plan.centres, int(plan.best), plan.coordinates)[0] @ sums.coefficient
    widths = local.reach(plan.best, plan.coordinates)
    lines = [local.moments(rows, c, widths, plan.coordinates, plan.folds, 1).coefficient[0] for c in plan.centres]
    return np.stack(lines)


def _fits(rows: Rows, plan: Plan) -> list[Fit]:
    """One fit for all points, or one to each."""
    coordinates = plan.coordinates
    if plan.method == "smooth":
        order = int(plan.smoothness)
        value, slope = smooth.expansion(plan.centres, order, coordinates)
        moments = smooth.moments(rows, order, coordinates, plan.folds)
        # half a wave to either side: further away an expansion continues what it has not seen
        around = [near(rows, c, local.reach(0.5 / order, coordinates), coordinates) for c in plan.centres]
        trials, bins = np.array(around).T
        # where the fit is known worse than by a single bin there, it is extrapolation
        inside = smooth.leverage(moments, value) <= 1
        return [Fit(moments, slope, np.where(inside, trials, 0), bins, FEWEST)]
    widths, fits = local.reach(plan.smoothness, coordinates), []
    slope = local.slopes(widths, DEGREE)[None]
    fewest = 2 * slope.shape[2]
    for centre in plan.centres:
        moments = local.moments(rows, centre, widths, coordinates, plan.folds, DEGREE)
        trials, bins = np.array([near(rows, centre, widths, coordinates)]).T
        fits.append(Fit(moments, slope, trials, bins, fewest))
    return fits
