r"""Whether the state manifold runs into itself: states that are close although their coordinates are not."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float, Int
from scipy.spatial.distance import cdist

from recurvature._errors import InputError, check_positive
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping import triangular
from recurvature.lenses.warping.geodesics.distances import Points, graph_points
from recurvature.lenses.warping.geodesics.sampling import number_type, rows_at
from recurvature.lenses.warping.immersion import Immersion
from recurvature.lenses.warping.metric import WARPING
from recurvature.lenses.warping.status import CONDITION_LIMIT, NON_FINITE, OK, RANK_DEFICIENT
from recurvature.systems.inputs import Coordinate

ON_ITSELF = {"float64": 1e-6, "float32": 1e-2}
"""Distance of two refined states, relative to the spacing of the sample, below which they count as one."""
TWICE = 1e-6
"""Distance of coordinates, in units of their ranges, below which points are one point given twice."""
CANDIDATES = 8
STEPS = 50


class Injectivity(AbstractResult):
    r"""How close the state manifold comes to itself (docs eq. W.48).

    `closeness` is the least distance of each state from states whose coordinates are more than `separation` away, in
    units of the spacing of the sample there; NaN where the metric is singular. The closest pairs are then moved
    together as far as they go: `first`, `second` and `distance` are of the closest.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    theta: Float[Values, "point m"]
    closeness: Float[Values, " point"] = eqx.field(metadata={"units": "spacing"})
    partner: Int[Values, " point"]
    """Which point is closest; −1 where none is."""
    status: Int[Values, " point"]
    """Reason codes, `warping.STATUS`."""
    first: Float[Values, " m"]
    second: Float[Values, " m"]
    distance: float
    """Of the states of `first` and `second`."""
    relative_distance: float
    """The same in units of the spacing there."""
    verdict: str
    """`injective`, `self_intersecting`, `near_miss` (closer to itself than the points of the sample), or `singular`."""
    separation: float
    dtype: str


class Sample(NamedTuple):
    """States on points of a chart, with what is needed to compare them."""

    theta: Float[np.ndarray, "point m"]
    rows: Float[np.ndarray, "c point n"]
    """States and first derivatives."""
    factor: Float[np.ndarray, "point i j"]
    """Upper factors of the metric."""
    status: Int[np.ndarray, " point"]
    grid: tuple[int, ...]
    dtype: Any

    @property
    def chords(self) -> Float[np.ndarray, "point other"]:
        """Straight distances of the states."""
        return cdist(self.rows[0].astype(float), self.rows[0].astype(float))


def sample(immersion: Immersion, points: Points) -> Sample:
    """States, tangents and metric at points of an immersion, and where that metric is singular."""
    theta, shape = graph_points(immersion, points)
    dtype = number_type(immersion, points)
    rows = rows_at(immersion, theta, 1, dtype)
    finite = np.isfinite(rows).all((0, 2))
    vectors = np.moveaxis(np.where(finite[:, None], rows[1:], 0), 0, -1).astype(float)
    upper = np.asarray(np.linalg.qr(vectors, mode="r"))
    # fewer entries of the state than coordinates
    factor = np.pad(upper, ((0, 0), (0, upper.shape[2] - upper.shape[1]), (0, 0)))
    stretch = triangular.singular_values(factor)
    regular = stretch[:, -1] * CONDITION_LIMIT[str(np.dtype(dtype))] > stretch[:, 0]
    status = np.where(finite, np.where(regular, OK, RANK_DEFICIENT), NON_FINITE)
    return Sample(theta, rows, factor, status.astype(np.int8), shape, dtype)


def injectivity(immersion: Immersion, *, points: Points, separation: float = 0.2) -> Injectivity:
    """Look for states that are close although their coordinates are far apart (docs eq. W.48).

    **Arguments**

    - `points`: a grid (a count for each coordinate), or rows of coordinates (point, m): dense enough that each point
      has neighbours nearer than `separation`.
    - `separation`: how far apart coordinates are called far, in units of their ranges, the short way around.

    A rank test is local and passes manifolds that cross themselves; this one is global, and as good as its sample.
    Singular points are left out. Raises `InputError` on arguments that do not fit.
    """
    check_positive(separation=separation)
    taken = sample(immersion, points)
    widest = float(chart_distance(immersion.coordinates, taken.theta[:, None], taken.theta[None]).max())
    if widest <= separation:
        raise InputError(f"`separation` = {separation:g} leaves nothing to compare: no two `points` are farther apart.")
    scan = closest_pairs(immersion, taken, separation)
    pairs = [(int(i), int(scan.partner[i])) for i in np.argsort(scan.closeness) if scan.partner[i] >= 0]
    if not pairs:
        nowhere = np.full(immersion.dimension, np.nan, taken.dtype)
        verdict = "singular" if (taken.status != OK).any() else "injective"
        return _result(taken, scan, nowhere, nowhere, np.nan, np.nan, verdict, separation)
    refined = _refine(immersion, taken, scan, np.array(_distinct(immersion, taken, pairs)), separation)
    best = min(refined, key=lambda pair: pair.relative)
    verdict = "near_miss" if np.nanmin(scan.closeness) < 1 else "injective"
    verdict = "self_intersecting" if best.relative < ON_ITSELF[str(np.dtype(taken.dtype))] else verdict
    return _result(taken, scan, best.first, best.second, best.distance, best.relative, verdict, separation)


class Scan(NamedTuple):
    """Of each point: the least distance from afar in units of spacing, from which point, and the spacing."""

    closeness: Float[np.ndarray, " point"]
    partner: Int[np.ndarray, " point"]
    spacing: Float[np.ndarray, " point"]


class _Pair(NamedTuple):
    first: np.ndarray
    second: np.ndarray
    distance: float
    relative: float


def closest_pairs(immersion: Immersion, taken: Sample, separation: float) -> Scan:
    """The nearest state to each that is far in the coordinates, against the nearest that is not."""
    apart = chart_distance(immersion.coordinates, taken.theta[:, None], taken.theta[None])
    regular = taken.status == OK
    chords = np.where(regular[:, None] & regular[None], taken.chords, np.inf)
    np.fill_diagonal(chords, np.inf)
    # the same point twice, up to rounding, says nothing of the spacing
    spacing = np.where((apart <= separation) & (apart > TWICE), chords, np.inf).min(1)
    if regular.any() and not np.isfinite(spacing[regular]).any():
        raise InputError(f"no two `points` are within {separation} of the ranges of the coordinates: take more points.")
    far = np.where(apart > separation, chords, np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = far / np.maximum(spacing[:, None], spacing[None])
    # infinite over infinite: a point without neighbours
    relative = np.where(np.isnan(relative) | ~np.isfinite(far), np.inf, relative)
    partner = relative.argmin(1)
    closeness = relative[np.arange(len(partner)), partner]
    known = np.isfinite(closeness)
    return Scan(np.where(known, closeness, np.nan), np.where(known, partner, -1), spacing)


def chart_distance(
    coordinates: tuple[Coordinate, ...], first: Float[np.ndarray, "*p m"], second: Float[np.ndarray, "*q m"]
) -> Float[np.ndarray, "*r"]:
    """Distance of points in units of the ranges of their coordinates, the short way around."""
    step = np.abs(first - second) / np.array([c.high - c.low for c in coordinates])
    around = np.array([c.periodic for c in coordinates])
    step = np.where(around, np.abs(step - np.round(step)), step)
    return np.asarray(np.linalg.norm(step, axis=-1))


def _distinct(immersion: Immersion, taken: Sample, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The closest pairs, each once, and no two that start next to each other."""
    kept: list[tuple[int, int]] = []
    reach = 0.02
    for i, j in pairs:
        ends = taken.theta[[i, j]]
        near = [chart_distance(immersion.coordinates, ends[:, None], taken.theta[list(k)][None]) < reach for k in kept]
        if not any((n[0, 0] and n[1, 1]) or (n[0, 1] and n[1, 0]) for n in near):
            kept.append((i, j))
        if len(kept) == CANDIDATES:
            break
    return kept


def _refine(
    immersion: Immersion, taken: Sample, scan: Scan, pairs: Int[np.ndarray, "pair 2"], separation: float
) -> list[_Pair]:
    """Move the states of pairs towards each other as far as they go; back to the start if their coordinates meet."""
    start = taken.theta[pairs]
    ends = np.asarray(_approach(immersion, jnp.asarray(start), _low_high(immersion), taken.dtype))
    apart = chart_distance(immersion.coordinates, ends[:, 0], ends[:, 1])
    kept = np.isfinite(ends).all((1, 2)) & (apart > separation)
    ends = np.where(kept[:, None, None], ends, start).astype(taken.dtype)
    states = rows_at(immersion, ends.reshape(-1, immersion.dimension), 0, taken.dtype)[0].astype(float)
    distance = np.linalg.norm(states[0::2] - states[1::2], axis=-1)
    relative = distance / scan.spacing[pairs].max(1)
    return [_Pair(e[0], e[1], float(d), float(r)) for e, d, r in zip(ends, distance, relative, strict=True)]


def _low_high(immersion: Immersion) -> Float[Array, "2 m"]:
    """Between which ends a coordinate may move: a periodic one anywhere."""
    ends = [(-np.inf, np.inf) if c.periodic else (c.low, c.high) for c in immersion.coordinates]
    return jnp.asarray(np.array(ends).T)


@eqx.filter_jit
def _approach(
    immersion: Immersion, start: Float[Array, "pair 2 m"], ends: Float[Array, "2 m"], dtype: Any
) -> Float[Array, "pair 2 m"]:
    """The nearest states from each start, by Levenberg–Marquardt steps, all pairs at once.

    Its linear algebra is in the widest number type there is, states are in that of the immersion.
    """

    def inside(theta: Float[Array, "2 m"]) -> Float[Array, "2 m"]:
        return jnp.clip(theta, ends[:1], ends[1:])

    def gap(theta: Float[Array, "2 m"], _: None) -> Float[Array, " n"]:
        first, second = jax.vmap(immersion)(inside(theta).astype(dtype))
        return (first - second).astype(theta.dtype)

    # steps this small change a distance by their square
    tolerance = float(jnp.finfo(dtype).eps) ** 0.5
    solver: Any = optx.LevenbergMarquardt(rtol=tolerance, atol=tolerance)

    def one(pair: Float[Array, "2 m"]) -> Float[Array, "2 m"]:
        found: Any = optx.least_squares(gap, solver, pair, None, {"jac": "fwd"}, max_steps=STEPS, throw=False)
        return inside(found.value)

    return jax.vmap(one)(start)


def _result(
    taken: Sample,
    scan: Scan,
    first: np.ndarray,
    second: np.ndarray,
    distance: float,
    relative: float,
    verdict: str,
    separation: float,
) -> Injectivity:
    return Injectivity(
        theta=taken.theta.astype(taken.dtype),
        closeness=scan.closeness.astype(taken.dtype),
        partner=scan.partner,
        status=taken.status,
        first=first,
        second=second,
        distance=float(distance),
        relative_distance=float(relative),
        verdict=verdict,
        separation=float(separation),
        dtype=str(np.dtype(taken.dtype)),
    )
