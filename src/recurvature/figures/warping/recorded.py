"""The metric of a recording: with its intervals and noise floor, and where the fitted mean activity runs."""

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from recurvature._errors import InputError, check_choice
from recurvature.figures.style import (
    COLUMN,
    FULL,
    GREY,
    SMALL,
    coordinate_axis,
    coordinate_colour,
    dress,
    look,
    nearest,
    new_axes,
    new_figure,
    time_colours,
    time_label,
    with_units,
    words,
)
from recurvature.figures.warping.maps import axes_of, check_grid
from recurvature.figures.warping.quantities import clock, space_units, squared
from recurvature.figures.warping.sheets import grid_lines
from recurvature.lenses.warping import RecordedMetric

LINES = 3
"""Values of the other coordinate, or times, that one panel can show."""


@look
def recorded_intervals(
    metric: RecordedMetric, figure: FigureBase | None = None, *, times: tuple[float, ...] | None = None
) -> list[Axes]:
    """$G_{ii}$ along each coordinate with the interval of every point, a panel each; dashes are the noise floor.

    Of two coordinates, curves are at three values of the other one; of one, at the samples nearest to `times` (at most
    three). Below 0 an estimate is what it is: noise. Estimates far beyond the others are arrows at the edge, with their
    numbers. Raises `InputError` without a grid of one or two coordinates.
    """
    check_grid(metric, "recorded_intervals", (1, 2))
    count = len(metric.grid)
    figure = new_figure(figure, width=COLUMN if count == 1 else FULL, height=2.6)
    panels: list[Axes] = figure.subplots(1, count, squeeze=False)[0].tolist()
    for i, ax in enumerate(panels):
        dress(ax)
        _panel(ax, metric, i, times)
    return panels


def _panel(ax: Axes, metric: RecordedMetric, i: int, times: tuple[float, ...] | None) -> None:
    along = axes_of(metric)[i]
    curves = _curves(metric, i, times)
    step = 0.25 * float(np.diff(along).mean()) / max(len(curves), 1) if len(along) > 1 else 0.0
    ends = _set_limits(ax, np.stack(list(curves.values())))
    for k, (colour, (label, rows)) in enumerate(zip(time_colours(len(curves)), curves.items(), strict=True)):
        value, low, high, noise = rows
        x = along + (k - (len(curves) - 1) / 2) * step
        ax.plot(x, value, "o-", color=colour, markersize=3, linewidth=1.0, label=label)
        ax.vlines(x, low, high, color=colour, linewidth=1.0, alpha=0.7)
        ax.plot(along, noise, color=colour, linewidth=0.8, linestyle="--")
        _mark_outside(ax, x, value, ends, colour, 4 + 8 * k)
    ax.axhline(0.0, color=GREY, linewidth=0.8)
    ax.plot([], [], color=GREY, linewidth=0.8, linestyle="--", label="noise floor")
    coordinate_axis(ax.xaxis, along, metric.coordinates[i], metric.units[i], metric.periodic[i])
    units = f"{squared(space_units(metric))} / {squared(metric.units[i] or 'coordinate')}"
    ax.set_ylabel(with_units(f"$G_{{{i + 1}{i + 1}}}$, {words(metric.coordinates[i])}", units))
    ax.margins(x=0.03)
    ax.legend(loc="best", fontsize=SMALL)


def _set_limits(ax: Axes, values: Float[np.ndarray, "curve kind point"]) -> tuple[float, float]:
    """From the lowest to the highest estimate that is not far out; of intervals, as much as keeps those visible.

    Far out is what lies three quartile ranges beyond a quartile, as in a box plot.
    """
    known = values[:, 0][np.isfinite(values[:, 0])]
    if not len(known):
        return -np.inf, np.inf
    quartiles = np.quantile(known, (0.25, 0.75))
    fence = quartiles + 3 * np.diff(quartiles) * (-1, 1)
    inside = known[(known >= fence[0]) & (known <= fence[1])]
    ends = values[:, 1:3][np.isfinite(values[:, 1:3])]
    size = max(float(np.abs(inside).max()), 1e-300)
    low = 1.08 * max(min(float(ends.min()), 0.0), -1.5 * size) - 0.02 * size
    high = 1.08 * min(float(ends.max()), 2.5 * size)
    ax.set_ylim(low, high)
    return low, high


def _mark_outside(
    ax: Axes,
    x: Float[np.ndarray, " point"],
    value: Float[np.ndarray, " point"],
    ends: tuple[float, float],
    colour: Any,
    above: int,
) -> None:
    """Estimates beyond the panel as arrows at its edges, with their numbers `above` those (in points)."""
    for edge, beyond, marker in ((ends[1], value > ends[1], "^"), (ends[0], value < ends[0], "v")):
        for k in np.flatnonzero(beyond):
            ax.plot(x[k], edge, marker, color=colour, markersize=4, clip_on=False, zorder=5)
            number = f"{value[k]:.0f}" if abs(value[k]) >= 100 else f"{value[k]:.2g}"
            place: Any = {"xytext": (0, above), "textcoords": "offset points", "ha": "center", "va": "bottom"}
            ax.annotate(number.replace("-", "−"), (x[k], edge), color=colour, fontsize=SMALL, **place)


def _curves(
    metric: RecordedMetric, i: int, times: tuple[float, ...] | None
) -> dict[str, Float[np.ndarray, "kind point"]]:
    """Estimate, ends of the interval and noise floor along a coordinate, by what each curve is of."""
    fields = (metric.metric, metric.low, metric.high, metric.noise)
    rows = np.stack([np.asarray(f, np.float64)[..., i, i] for f in fields])
    rows = rows.reshape(4, len(metric.time), *metric.grid)
    if len(metric.grid) == 1:
        chosen = nearest(np.asarray(metric.time), times)[:LINES]
        return {time_label(float(metric.time[t]), clock(metric)): rows[:, t] for t in chosen}
    other = 1 - i
    values, last = axes_of(metric)[other], rows[:, -1]
    picks = np.unique(np.linspace(0, len(values) - 1, min(LINES, len(values))).round().astype(int))
    name, units = words(metric.coordinates[other]), metric.units[other]
    return {f"{name} {values[k]:.3g} {units}".rstrip(): np.take(last, k, axis=1 + other) for k in picks}


@look
def recorded_sheet(metric: RecordedMetric, ax: Axes | None = None, *, time: float | None = None) -> Axes:
    """The fitted mean activity over the grid in its first two principal components, a line along each coordinate.

    `time` defaults to the last. Points without a fit leave gaps. Raises `InputError` where fewer than three points have
    one, or the metric has no grid.
    """
    check_grid(metric, "recorded_sheet", (1, 2))
    check_choice("space", metric.space, ("activity",))
    index = nearest(np.asarray(metric.time), [float(metric.time[-1] if time is None else time)])[0]
    position = np.asarray(metric.position, np.float64)[index]
    known = np.isfinite(position).all(-1)
    if known.sum() < 3:
        raise InputError("`metric` has a fit at fewer than three points: nothing to draw.")
    centred = position - position[known].mean(0)
    _, scale, axes = np.linalg.svd(centred[known], full_matrices=False)
    plane = centred @ axes[:2].T
    ax = new_axes(ax, width=COLUMN, height=2.9)
    for i, family in enumerate(grid_lines(plane, metric.grid, metric.periodic)):
        for k, line in enumerate(family):
            label = f"along {words(metric.coordinates[i])}" if k == 0 else None
            ax.plot(*line.T, color=coordinate_colour(i), linewidth=1.0, marker="o", markersize=2.5, label=label)
    shares = scale[:2] ** 2 / max(float((scale**2).sum()), 1e-300)
    ax.set_xlabel(f"PC 1 ({100 * shares[0]:.0f} % of the fit)")
    ax.set_ylabel(f"PC 2 ({100 * shares[1]:.0f} %)")
    ax.set_aspect("equal", adjustable="datalim")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax
