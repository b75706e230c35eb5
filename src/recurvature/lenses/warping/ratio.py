"""Numbers that summarise a metric, each under its own name: they disagree, and one network can show all sides."""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping.metric import WARPING, AbstractMetric
from recurvature.systems.inputs import coordinate_number


class Ratio(AbstractResult):
    r"""The metric ratio $G_{aa}/G_{bb}$ of two coordinates: pointwise, its percentiles, and the ratio of means.

    NaN where either entry is 0 (not set in motion) or not finite; a metric that is singular for another reason, such as
    that of a single output, still has its ratios. Means are over the points that are finite. The median
    of ratios and the ratio of means can differ by orders of magnitude when a decision boundary is on the grid: neither
    stands for the other.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    pointwise: Float[Values, "time point"]
    median: Float[Values, " time"]
    low: Float[Values, " time"] = eqx.field(metadata={"long_name": "5th percentile over points"})
    high: Float[Values, " time"] = eqx.field(metadata={"long_name": "95th percentile over points"})
    ratio_of_means: Float[Values, " time"]
    numerator: str
    denominator: str
    space: str


class Profile(AbstractResult):
    r"""The stretch $\sqrt{G_{aa}}$ along one coordinate, averaged over the others, and relative to its grid mean."""

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    value: Float[Values, " value"]
    stretch: Float[Values, "time value"]
    relative: Float[Values, "time value"]
    coordinate: str
    space: str
    units: str = ""
    """Of the coordinate."""


def ratio(metric: AbstractMetric, numerator: int | str, denominator: int | str) -> Ratio:
    """The metric ratio of two coordinates over time (coordinates by name or number)."""
    a, b = coordinate_number(metric.coordinates, numerator), coordinate_number(metric.coordinates, denominator)
    entries = np.asarray(metric.metric)
    above, below = entries[..., a, a], entries[..., b, b]
    finite = np.isfinite(above) & np.isfinite(below)
    with np.errstate(divide="ignore", invalid="ignore"):
        pointwise = np.where(finite & (above > 0) & (below > 0), above / below, np.nan)
        means = np.where(finite, above, 0).sum(1) / np.where(finite, below, 0).sum(1)
    low, median, high = percentiles(pointwise, (5.0, 50.0, 95.0))
    return Ratio(
        metric.time,
        pointwise,
        median,
        low,
        high,
        means,
        metric.coordinates[a],
        metric.coordinates[b],
        metric.space,
    )


def percentiles(values: Float[Any, "time point"], levels: tuple[float, ...]) -> Float[np.ndarray, "level time"]:
    """Percentiles over the points that are not NaN; NaN where there are none."""
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values).all(-1)
    out = np.full((len(levels), len(values)), np.nan)
    if known.any():
        out[:, known] = np.nanpercentile(values[known], levels, axis=-1)
    return out


def profile(metric: AbstractMetric, coordinate: int | str) -> Profile:
    """How stretch varies along one coordinate of a grid: a decision boundary shows as a peak of `relative`."""
    if not metric.grid:
        raise InputError("`metric` has no grid: compute it with `points` as counts, not as rows of coordinates.")
    a = coordinate_number(metric.coordinates, coordinate)
    stretch = np.sqrt(np.asarray(metric.metric)[..., a, a]).reshape(len(metric.time), *metric.grid)
    others = tuple(1 + i for i in range(len(metric.grid)) if i != a)
    along = stretch.mean(others)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = along / along.mean(-1, keepdims=True)
    values = np.asarray(metric.theta)[:, a].reshape(metric.grid)
    value = np.moveaxis(values, a, 0).reshape(metric.grid[a], -1)[:, 0]
    return Profile(metric.time, value, along, relative, metric.coordinates[a], metric.space, metric.units[a])
