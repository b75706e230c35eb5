"""Checks of the warping lens: the rank that the dimension theorem bounds, and the size of the step."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from recurvature.figures.style import (
    BLUE,
    COLUMN,
    GREY,
    INK,
    SMALL,
    VERMILLION,
    band,
    dress,
    log_number,
    log_y,
    look,
    mark_phases,
    new_axes,
    new_figure,
    time_axis,
)
from recurvature.figures.warping.curves import LEVELS, Phases
from recurvature.figures.warping.quantities import positive
from recurvature.lenses.warping import DimensionCheck, StepSizeCheck
from recurvature.lenses.warping.ratio import percentiles


@look
def dimension_map(
    check: DimensionCheck, figure: FigureBase | None = None, *, phases: Phases | None = None
) -> list[Axes]:
    r"""How far the states fill the m + 1 dimensions they may: $\sigma_\min/\sigma_\max$ over time, below it the rank.

    The ratio is drawn as median and 5–95 % of points, with the tolerance below which a direction counts as lost; the
    rank as its median with the band from the least to the largest, and the theorem's bound.
    """
    figure = new_figure(figure, width=COLUMN, height=2.8)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    time = np.asarray(check.time)
    low, middle, high = percentiles(positive(np.asarray(check.smallest_over_largest, np.float64)), LEVELS)
    rank = np.asarray(check.rank, np.float64)
    for ax in (top, bottom):
        dress(ax)
    band(top, time, low, middle, high, colour=INK, label="median of points (band: 5–95 %)")
    top.axhline(check.tolerance, color=VERMILLION, linewidth=0.8, linestyle="--")
    _beside(top, check.tolerance, "tolerance", VERMILLION)
    floor = 0.1 * check.tolerance
    log_y(top, np.maximum(low, floor), np.maximum(high, floor), np.array([floor, 100 * floor]), headroom=0.18)
    top.set_ylabel(r"$\sigma_\mathrm{min}/\sigma_\mathrm{max}$")
    bottom.fill_between(time, rank.min(1), rank.max(1), color=BLUE, alpha=0.2, linewidth=0, step="mid")
    bottom.plot(time, np.median(rank, 1), color=BLUE, drawstyle="steps-mid")
    bottom.axhline(check.bound, color=GREY, linewidth=0.8, linestyle=":")
    _beside(bottom, float(check.bound), f"bound m + 1 = {check.bound}", GREY)
    bottom.set_ylim(-0.2, check.bound + 1.0)
    bottom.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    bottom.set_ylabel("rank")
    time_axis(bottom, time)
    top.legend(loc="best")
    mark_phases(top, phases)
    mark_phases(bottom, phases, named=False)
    return [top, bottom]


@look
def step_size(check: StepSizeCheck, ax: Axes | None = None, *, phases: Phases | None = None) -> Axes:
    """Relative change of the metric when the step is halved: median and 5–95 % of points, and the largest."""
    ax, time = new_axes(ax), np.asarray(check.time)
    change = positive(np.asarray(check.relative_change, np.float64))
    low, middle, high, most = percentiles(change, (*LEVELS, 100.0))
    band(ax, time, low, middle, high, colour=INK, label="median of points (band: 5–95 %)")
    ax.plot(time, most, color=VERMILLION, linewidth=0.9, label="largest")
    log_y(ax, low, most, headroom=0.2)
    time_axis(ax, time)
    mark_phases(ax, phases)
    ax.set_ylabel(f"relative change of the metric\nsteps of {log_number(check.dt)} τ → {log_number(check.dt / 2)} τ")
    ax.legend(loc="best")
    return ax


def _beside(ax: Axes, height: float, text: str, colour: str) -> None:
    """A small name on a horizontal line, at its right end."""
    ax.annotate(
        text,
        (1.0, height),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 1),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=SMALL - 1,
        color=colour,
    )
