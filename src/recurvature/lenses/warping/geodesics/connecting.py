r"""Geodesics between pairs of points, one in every homotopy class asked for, and lengths with their errors."""

import itertools
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from recurvature._errors import InputError, check_positive, check_shape
from recurvature.lenses.warping.geodesics.curve import Geodesic, curve_status
from recurvature.lenses.warping.geodesics.joining import Solved, solve
from recurvature.lenses.warping.geodesics.sampling import PointLike, number_type, periods, point_rows, rows_at
from recurvature.lenses.warping.geodesics.spray import factors
from recurvature.lenses.warping.geodesics.status import BOUNDARY, CONJUGATE, OK
from recurvature.lenses.warping.immersion import Immersion, check_immersion
from recurvature.systems.inputs import chart_fields

AGREEMENT = 1e-3
"""Largest relative change of a length by Richardson, on doubling the segments, at which a curve counts as converged."""


class Measured(NamedTuple):
    """Lengths of curves from the chords of all their nodes, of every other and of every fourth (docs eq. W.33)."""

    length: Float[np.ndarray, " curve"]
    error: Float[np.ndarray, " curve"]
    polygon: Float[np.ndarray, " curve"]
    chord: Float[np.ndarray, " curve"]
    drift: Float[np.ndarray, " curve"]
    status: Int[np.ndarray, " curve"]


def connect(
    immersion: Immersion,
    start: PointLike,
    end: PointLike,
    *,
    segments: int = 32,
    windings: int | tuple[tuple[int, ...], ...] = 1,
    guess: Float[Any, "curve node m"] | None = None,
    agreement: float = AGREEMENT,
) -> Geodesic:
    r"""Geodesics from `start` to `end` by the least energy of chords, one in every homotopy class (W.30–W.33).

    **Arguments**

    - `start`, `end`: one pair (m,) or many (pair, m).
    - `segments`: chords of a curve, M, a multiple of 4. Lengths are $(4L_M - L_{M/2})/3$, whose error is of order
      $M^{-4}$; `length_error` is their change from M/2 to M.
    - `windings`: which classes: up to so many turns either way around every periodic coordinate, from the copy of the
      end that is nearest in the coordinates (1: three classes to each); or the turns (class, m) themselves.
    - `guess`: nodes (curve, segments + 1, m) to begin with, all classes of the first pair first; otherwise straight
      lines in the coordinates.
    - `agreement`: largest relative `length_error` that counts as converged.

    Curves are stationary; a `conjugate` one is no shortest curve even among its neighbours. Where the shortest path
    follows an edge of a box, the curve found leaves the box, and its status is `boundary`. Raises `InputError` on
    arguments that do not fit.
    """
    check_immersion(immersion)
    check_segments(segments)
    check_positive(agreement=agreement)
    dtype = np.dtype(number_type(immersion, start, end))
    starts, ends = (point_rows(n, p, immersion.dimension).astype(dtype) for n, p in (("start", start), ("end", end)))
    if len(starts) != len(ends) and 1 not in (len(starts), len(ends)):
        raise InputError(f"`start` and `end` must have as many rows; got {len(starts)} and {len(ends)}.")
    starts, ends = np.broadcast_arrays(starts, ends)
    classes = winding_classes(immersion, windings)
    pair = np.repeat(np.arange(len(starts)), len(classes))
    winding = np.tile(classes, (len(starts), 1))
    lifted = _nearest_copy(immersion, starts, ends)[pair] + winding * periods(immersion).astype(dtype)
    if guess is None:
        guess = np.linspace(starts[pair], lifted, segments + 1, axis=1)
    check_shape("guess", guess, (len(pair), segments + 1, immersion.dimension))
    nodes = np.array(guess, dtype)
    nodes[:, 0], nodes[:, -1] = starts[pair], lifted
    solved = solve(immersion, nodes)
    return _result(immersion, solved, measure(immersion, solved, agreement), pair, winding)


def check_segments(segments: int) -> None:
    """Raise unless `segments` is a multiple of 4, of at least 8."""
    if isinstance(segments, bool) or not isinstance(segments, int | np.integer) or segments < 8 or segments % 4:
        raise InputError(f"`segments` must be a multiple of 4, at least 8; got {segments!r}.")


def winding_classes(immersion: Immersion, windings: int | tuple[tuple[int, ...], ...]) -> Int[np.ndarray, "class m"]:
    """Turns around every coordinate, of all classes asked for, the one without turns first if it is among them."""
    periodic = [c.periodic for c in immersion.coordinates]
    if isinstance(windings, int | np.integer):
        if isinstance(windings, bool) or windings < 0:
            raise InputError(f"`windings` must be at least 0, or rows of turns; got {windings!r}.")
        turns = [range(-windings, windings + 1) if p else (0,) for p in periodic]
        classes = np.array(sorted(itertools.product(*turns), key=lambda c: (sum(map(abs, c)), c)))
    else:
        classes = np.array(windings)
        if classes.ndim != 2 or classes.shape[1] != len(periodic) or classes.dtype.kind != "i" or not len(classes):
            raise InputError(f"`windings` needs rows of {len(periodic)} whole numbers; got {windings!r}.")
    if classes[:, ~np.array(periodic)].any():
        names = [c.name for c in immersion.coordinates if not c.periodic]
        raise InputError(f"`windings` must be 0 for what is not periodic ({', '.join(names)}); got {windings!r}.")
    return classes


def _nearest_copy(
    immersion: Immersion, starts: Float[np.ndarray, "pair m"], ends: Float[np.ndarray, "pair m"]
) -> Float[np.ndarray, "pair m"]:
    period = periods(immersion)
    safe = np.where(period > 0, period, 1)
    return (ends - np.where(period > 0, period * np.round((ends - starts) / safe), 0)).astype(ends.dtype)


def measure(immersion: Immersion, solved: Solved, agreement: float) -> Measured:
    """The lengths of solved curves, and what is to be said of each."""
    theta = solved.theta
    rows = rows_at(immersion, theta.reshape(-1, immersion.dimension), 0, theta.dtype)[0]
    vectors = rows.reshape(*theta.shape[:2], -1)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        chords = np.linalg.norm(np.diff(vectors, axis=1), axis=-1)
        fine, half, quarter = (np.linalg.norm(np.diff(vectors[:, ::k], axis=1), axis=-1).sum(-1) for k in (1, 2, 4))
        length, before = (4 * fine - half) / 3, (4 * half - quarter) / 3
        drift = np.where(fine > 0, np.abs(chords * chords.shape[1] / fine[:, None] - 1).max(-1), 0)
        error = np.abs(length - before)
        agrees = error <= agreement * length
    status = curve_status(immersion, theta, factors(immersion, theta), solved.stationary & agrees)
    usable = (status == OK) | (status == BOUNDARY)
    status = np.where(usable & ~solved.minimal, CONJUGATE, status)
    chord = np.linalg.norm(vectors[:, -1] - vectors[:, 0], axis=-1)
    return Measured(length, error, fine, chord, drift, status)


def _result(
    immersion: Immersion,
    solved: Solved,
    measured: Measured,
    pair: Int[np.ndarray, " curve"],
    winding: Int[np.ndarray, "curve m"],
) -> Geodesic:
    theta = solved.theta
    segments = theta.shape[1] - 1
    velocity = np.gradient(theta, 1 / segments, axis=1, edge_order=2).astype(theta.dtype)
    return Geodesic(
        time=np.linspace(0, 1, segments + 1).astype(theta.dtype),
        theta=theta,
        velocity=velocity,
        length=measured.length,
        length_error=measured.error,
        polygon=measured.polygon,
        chord=measured.chord,
        drift=measured.drift,
        pair=pair,
        winding=winding,
        shortest=_shortest(measured, pair),
        status=measured.status.astype(np.int8),
        **chart_fields(immersion.coordinates),
        problem="boundary value",
        method=f"least energy of {segments} chords, Richardson",
        dtype=str(theta.dtype),
    )


def _shortest(measured: Measured, pair: Int[np.ndarray, " curve"]) -> Bool[np.ndarray, " curve"]:
    """Of every pair, the shortest curve whose status is `ok`; several if they are equal to their errors."""
    length = np.where(measured.status == OK, measured.length, np.inf)
    least = np.full(pair.max() + 1, np.inf)
    np.minimum.at(least, pair, length)
    # rounding of sums of as many chords as there are: equal lengths stay equal
    slack = 1e3 * np.finfo(measured.length.dtype).eps
    return np.isfinite(length) & (length <= least[pair] * (1 + slack))
