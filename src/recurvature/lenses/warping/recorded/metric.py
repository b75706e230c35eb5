r"""The metric of recorded activity over recorded coordinates: no bias by noise, with intervals (docs eq. W.63–W.68)."""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np
import scipy.special
from jaxtyping import Float, Int

from recurvature._errors import InputError, check_choice, check_positive, check_shape
from recurvature._progress import Progress, Report, silent
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping.metric import WARPING, AbstractMetric, ambient_factor, relative_stretches
from recurvature.lenses.warping.recorded.crossed import halves
from recurvature.lenses.warping.recorded.estimate import METHODS, Estimate, Method, Plan, choose, estimate
from recurvature.lenses.warping.recorded.rows import dealt, gathered
from recurvature.lenses.warping.reference import upper_factors
from recurvature.lenses.warping.status import BELOW_NOISE, OK, UNSAMPLED
from recurvature.measures.crossed import CROSSNOBIS
from recurvature.systems.inputs import Coordinate, chart_fields

FOLDS = (5, 12)
"""Least and most folds: with one of five left out, halves still have two each (docs eq. W.67)."""


class RecordedMetric(AbstractMetric, AbstractResult):
    r"""The metric of the mean activity over recorded coordinates, from products over disjoint trials (docs eq. W.66).

    `low` and `high` are the ends of the interval of every entry (docs eq. W.67), of `standard_error`; the interval is
    about noise, and about smoothing only in that the fit is less smooth than the one that predicts best. `noise` is the
    noise floor: what one regression on all trials would have reported too much (docs eq. W.68). `mean` is the metric
    averaged over all points but the unsampled ones, each weighing as many bins as are near, with an interval of its
    own; `overall` is the same over all times too. `position` is the mean activity by the fit that predicts best, and
    `explained` the share of the variance of single bins that this fit explains in trials left out of it.

    Estimates are unbiased, so they can be negative: `below_noise`, with stretches NaN.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING, CROSSNOBIS)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "time_units"})
    """Within the trial; a single 0 where all bins are taken together."""
    theta: Float[Values, "point m"]
    metric: Float[Values, "time point i j"] = eqx.field(metadata={"units": "activity²/(coordinate²)"})
    low: Float[Values, "time point i j"]
    high: Float[Values, "time point i j"]
    standard_error: Float[Values, "time point i j"]
    noise: Float[Values, "time point i j"]
    mean: Float[Values, "time i j"] = eqx.field(metadata={"units": "activity²/(coordinate²)"})
    mean_low: Float[Values, "time i j"]
    mean_high: Float[Values, "time i j"]
    overall: Float[Values, "i j"] = eqx.field(metadata={"units": "activity²/(coordinate²)"})
    overall_low: Float[Values, "i j"]
    overall_high: Float[Values, "i j"]
    position: Float[Values, "time point n"] = eqx.field(metadata={"units": "activity"})
    stretches: Float[Values, "time point k"]
    log_volume: Float[Values, "time point"]
    status: Int[Values, "time point"]
    trials: Int[Values, " time"]
    coordinates: tuple[str, ...]
    units: tuple[str, ...]
    periodic: tuple[bool, ...]
    grid: tuple[int, ...]
    space: str
    inner: str
    reference: str
    dtype: str
    method: str
    smoothness: float
    """Order of the expansion, or bandwidth in units of the range of each coordinate."""
    limit: str
    """What kept the fit from being finer, one of `LIMITS`."""
    explained: float
    level: float
    folds: int
    time_units: str
    """Of `time`; empty where all bins are taken together."""

    @property
    def above_noise(self) -> Float[np.ndarray, " m"]:
        r"""Share of times and points at which the interval of $G_{ii}$ lies above 0, for each coordinate."""
        ends = np.diagonal(np.asarray(self.low), axis1=-2, axis2=-1)
        return (ends > 0).mean((0, 1))


def recorded_metric(
    activity: Float[Any, "trial time n"],
    theta: Float[Any, "trial *time m"],
    *,
    coordinates: tuple[Coordinate, ...],
    points: int | tuple[int, ...] | Float[Any, "point m"] = 11,
    method: Method = "smooth",
    smoothness: float | None = None,
    inner: str | Float[Any, "n n"] = "euclidean",
    bin_width: float = 1.0,
    time_units: str = "bins",
    folds: int = 10,
    level: float = 0.95,
    report: Report = silent,
) -> RecordedMetric:
    r"""The metric of mean activity over recorded coordinates, with intervals (docs eq. W.63–W.68).

    Tangents are linear in the activity, so the noise that a tangent shares with itself would add to every squared
    length. Products are therefore taken between tangents from disjoint halves of the trials and averaged over
    splittings: for noise that is independent between trials, whatever it is within them and between units, the mean of
    the estimate is the metric of the smoothed mean activity. Intervals are by leaving out one fold after the other.

    **Arguments**

    - `activity`: spike counts, rates, fluorescence; NaN where a trial has no bin.
    - `theta`: coordinates of each trial (trial, m): a metric at each time. Or of each bin (trial, time, m): one metric,
      all bins together.
    - `coordinates`: their names, ranges, periods: `rc.systems.Coordinate`. Points lie within the ranges.
    - `method`: `smooth`, an expansion in harmonics and polynomials, its order two above the one that predicts trials
      left out best; `local`, cubic polynomials about every point, with the bandwidth at which local lines predict best.
    - `smoothness`: the order or the bandwidth (in units of the ranges) itself.
    - `inner`: as in `metric`.
    - `bin_width`: in `time_units`, for the times of the result.

    Bins outside the range of a coordinate that is not periodic are left out. Where too few trials are near, estimates
    are NaN and the status is `unsampled`. Raises `InputError` on shapes that do not fit.
    """
    y, x, timed = _checked(activity, theta, coordinates)
    check_choice("method", method, METHODS)
    check_positive(bin_width=bin_width)
    if not FOLDS[0] <= folds <= FOLDS[1] or not 0 < level < 1:
        raise InputError(
            f"`folds` must lie in {FOLDS[0]}…{FOLDS[1]} and `level` between 0 and 1; got {folds}, {level}."
        )
    centres, grid = _centres(points, coordinates)
    fold = dealt(x, folds)
    parts = [slice(t, t + 1) for t in range(y.shape[1])] if timed else [slice(None)]
    slices = [gathered(y[:, part], x[:, part], fold) for part in parts]
    best, chosen, explained, limit = choose(slices, coordinates, method, smoothness, folds)
    ambient = ambient_factor(inner, y.shape[2], np.dtype(float))
    scale = y.shape[2] ** -0.5 if isinstance(inner, str) and inner == "per_unit" else 1.0
    weight = None if ambient is None else np.asarray(ambient)
    plan = Plan(centres, coordinates, method, best, chosen, folds, halves(folds), weight, scale)
    found = []
    for done, rows in enumerate(slices):
        found.append(estimate(rows, plan))
        report(Progress("metric of the recording", done + 1, len(slices)))
    return RecordedMetric(
        time=np.arange(len(parts)) * bin_width,
        theta=centres,
        **_numbers(found, folds, level),
        trials=np.array([each.trials for each in found]),
        **chart_fields(coordinates),
        grid=grid,
        space="activity",
        inner=inner if isinstance(inner, str) else "given",
        reference="coordinates",
        dtype="float64",
        method=METHODS[method],
        smoothness=chosen,
        limit=limit,
        explained=explained,
        level=level,
        folds=folds,
        time_units=time_units if timed else "",
    )


def _numbers(found: list[Estimate], folds: int, level: float) -> dict[str, Any]:
    """Estimates with their intervals, stretches and status, at all times (docs eq. W.67, W.68)."""
    metric = np.stack([each.product for each in found])
    without = np.stack([each.left_out for each in found], 1)
    known = np.isfinite(metric).all((-1, -2)) & np.isfinite(without).all((0, -1, -2))
    mask = known[..., None, None]
    metric, without = np.where(mask, metric, np.nan), np.where(mask, without, np.nan)
    error = _jackknife(without)
    reach = scipy.special.stdtrit(folds - 1, (1 + level) / 2)
    share = np.where(known, np.stack([each.bins for each in found]), 0.0)
    share = (share / np.where(known.any(1), share.sum(1), np.nan)[:, None])[..., None, None]
    mean, around = np.nansum(share * metric, 1), np.nansum(share * without, 2)
    mean, around = (np.where(known.any(1)[:, None, None], v, np.nan) for v in (mean, around))
    overall, spread = _over_times(mean), reach * _jackknife(np.stack([_over_times(each) for each in around]))
    factor = upper_factors(np.where(mask, metric, -np.eye(metric.shape[-1])), np.dtype(float))
    stretches = relative_stretches(factor, np.eye(metric.shape[-1]))
    definite = np.asarray((stretches > 0).all(-1))
    stretches = np.where(definite[..., None], stretches, np.nan)
    return {
        "metric": metric,
        "low": metric - reach * error,
        "high": metric + reach * error,
        "standard_error": error,
        "noise": np.stack([each.naive for each in found]) - metric,
        "mean": mean,
        "mean_low": mean - reach * _jackknife(around),
        "mean_high": mean + reach * _jackknife(around),
        "overall": overall,
        "overall_low": overall - spread,
        "overall_high": overall + spread,
        "position": np.stack([each.position for each in found]),
        "stretches": stretches,
        "log_volume": np.log(stretches).sum(-1),
        "status": np.where(known, np.where(definite, OK, BELOW_NOISE), UNSAMPLED).astype(np.int8),
    }


def _over_times(mean: Float[np.ndarray, "time i j"]) -> Float[np.ndarray, "i j"]:
    """The mean over the times that have one."""
    known = np.isfinite(mean).all((-1, -2))
    return mean[known].mean(0) if known.any() else np.full(mean.shape[1:], np.nan)


def _jackknife(without: Float[np.ndarray, "fold *any"]) -> Float[np.ndarray, "*any"]:
    """The standard error of an estimate from those that each leave out one fold (docs eq. W.67)."""
    folds = len(without)
    return np.sqrt((folds - 1) / folds * ((without - without.mean(0)) ** 2).sum(0))


def _checked(
    activity: Any, theta: Any, coordinates: tuple[Coordinate, ...]
) -> tuple[Float[np.ndarray, "trial time n"], Float[np.ndarray, "trial time m"], bool]:
    """Activity, coordinates of every bin (NaN outside their range), and whether every time stands alone."""
    y, x = np.asarray(activity, np.float64), np.array(theta, np.float64)
    check_shape("activity", y, (None, None, None))
    timed = x.ndim == 2
    if not coordinates:
        raise InputError("`coordinates` must name at least one coordinate.")
    check_shape("theta", x, (len(y), len(coordinates)) if timed else (*y.shape[:2], len(coordinates)))
    if timed:
        x = np.repeat(x[:, None], y.shape[1], 1)
    for i, c in enumerate(coordinates):
        if not c.periodic:
            x[(x[..., i] < c.low) | (x[..., i] > c.high)] = np.nan
    if not (np.isfinite(y).all(2) & np.isfinite(x).all(2)).any():
        raise InputError("no bin has both activity and coordinates within their ranges: widen the ranges.")
    return y, x, timed


def _centres(
    points: int | tuple[int, ...] | Float[Any, "point m"], coordinates: tuple[Coordinate, ...]
) -> tuple[Float[np.ndarray, "point m"], tuple[int, ...]]:
    """Points as rows, and the counts where they form a grid."""
    m = len(coordinates)
    if isinstance(points, int | np.integer | tuple):
        counts = points if isinstance(points, tuple) else (int(points),) * m
        if len(counts) != m:
            raise InputError(f"`points` must have a count for each of {m} coordinate(s); got {counts}.")
        axes = np.meshgrid(*(c.grid(n) for c, n in zip(coordinates, counts, strict=True)), indexing="ij")
        return np.stack([a.ravel() for a in axes], -1), tuple(counts)
    rows = np.asarray(points, np.float64)
    check_shape("points", rows, (None, m))
    return rows, ()
