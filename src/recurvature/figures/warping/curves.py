"""Warping over time and along coordinates: lines with bands of percentiles."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import FuncFormatter

from recurvature.figures.style import (
    COLUMN,
    GREEN,
    GREY,
    INK,
    PURPLE,
    band,
    coordinate_axis,
    coordinate_colour,
    dress,
    log_number,
    log_y,
    look,
    mark_phases,
    nearest,
    new_axes,
    new_figure,
    span,
    time_axis,
    time_colours,
    time_label,
    with_units,
    words,
)
from recurvature.figures.warping.quantities import clock, joint_units, series_of
from recurvature.lenses.warping import AbstractMetric, Attribution, Profile, Ratio
from recurvature.lenses.warping.ratio import percentiles

LEVELS = (5.0, 50.0, 95.0)
"""Percentiles over points: the band, and the median in it."""

Phases = dict[str, tuple[float, float]]


@look
def metric_over_time(
    metric: AbstractMetric, ax: Axes | None = None, *, quantity: str = "stretch", phases: Phases | None = None
) -> Axes:
    r"""A quantity of the metric over time: median over points in a band from the 5th to the 95th percentile.

    `quantity` is one of `stretch` ($\sqrt{G_{ii}}$), `metric` ($G_{ii}$), `principal`, `log_volume`, `anisotropy`,
    `ratio`. Points where it cannot be used (`metric.status`) are left out. `phases` (from a task) are shaded.
    """
    ax, time = new_axes(ax), np.asarray(metric.time)
    series = series_of(metric, quantity)
    drawn = []
    for one in series:
        low, middle, high = percentiles(one.values, LEVELS)
        band(ax, time, low, middle, high, colour=one.colour, label=f"{one.name}, {one.symbol}")
        drawn += [low, high]
    time_axis(ax, time, clock(metric))
    mark_phases(ax, phases)
    if series[0].scale == "linear":
        ax.margins(y=0.05)
    else:
        log_y(ax, *drawn, headroom=0.04 + 0.1 * (len(series) > 1))
    if series[0].scale == "balance":
        ax.axhline(1.0, color=GREY, linewidth=0.8, linestyle=":")
    if len(series) > 1:
        title = "principal stretch" if quantity == "principal" else quantity
        ax.set_ylabel(with_units(title, joint_units(series, metric, quantity)))
        ax.legend(loc="best")
    else:
        ax.set_ylabel(with_units(f"{series[0].symbol}, {series[0].name}", series[0].units))
    return ax


@look
def ratio_over_time(ratio: Ratio, ax: Axes | None = None, *, phases: Phases | None = None) -> Axes:
    """The metric ratio over time: median and 5–95 % of points, and apart from it the ratio of means; 1 is marked."""
    ax, time = new_axes(ax), np.asarray(ratio.time)
    low, middle, high = (np.asarray(v, np.float64) for v in (ratio.low, ratio.median, ratio.high))
    means = np.asarray(ratio.ratio_of_means, np.float64)
    ax.axhline(1.0, color=GREY, linewidth=0.8, linestyle=":")
    band(ax, time, low, middle, high, colour=INK, label="median of points (band: 5–95 %)")
    ax.plot(time, means, color=PURPLE, linestyle=(0, (4, 1.5)), label="ratio of means")
    time_axis(ax, time)
    mark_phases(ax, phases)
    log_y(ax, low, high, means, np.ones(1), least_decades=0.6, headroom=0.22)
    ax.set_ylabel(f"metric ratio of {words(ratio.space)}\n{words(ratio.numerator)} / {words(ratio.denominator)}")
    ax.legend(loc="best")
    return ax


@look
def profile(profile: Profile, ax: Axes | None = None, *, times: Sequence[float] | None = None) -> Axes:
    """Stretch along one coordinate relative to its mean, at the samples nearest to `times`: a boundary is a peak."""
    ax = new_axes(ax)
    time, value = np.asarray(profile.time), np.asarray(profile.value, np.float64)
    relative = np.asarray(profile.relative, np.float64)
    chosen = nearest(time, times)
    ax.axhline(1.0, color=GREY, linewidth=0.8, linestyle=":")
    for colour, index in zip(time_colours(len(chosen)), chosen, strict=True):
        ax.plot(value, relative[index], color=colour, marker="o", markersize=2.5, label=time_label(time[index]))
    ends = span(relative[chosen]) or (0.0, 1.0)
    ax.set_ylim(0.0, max(1.3 * ends[1], 1.5))
    ax.margins(x=0.02)
    coordinate_axis(ax.xaxis, value, profile.coordinate, profile.units, False)
    ax.set_ylabel(f"stretch of {words(profile.space)}\nrelative to its mean")
    ax.legend(loc="best", ncols=2 if len(chosen) < 7 else 3, columnspacing=1.0, borderpad=0.2)
    return ax


@look
def attribution_over_time(
    attribution: Attribution, figure: FigureBase | None = None, *, phases: Phases | None = None
) -> list[Axes]:
    r"""What stretches: rates of $\log\sqrt{G_{ii}}$ due to recurrence and to input, one panel to each coordinate.

    Medians over points in bands from the 5th to the 95th percentile. The vertical axis is linear near 0 and
    logarithmic beyond, since the first response to an input has a rate of about 1/t.
    """
    names, time = attribution.coordinates, np.asarray(attribution.time)
    figure = new_figure(figure, width=COLUMN if len(names) == 1 else 3.3 * len(names), height=2.4)
    panels = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)[0].tolist()
    parts = {"recurrent": (GREEN, attribution.recurrent_log_rate), "input": (PURPLE, attribution.input_log_rate)}
    shown = [
        (label, colour, [percentiles(np.asarray(rate)[..., i], LEVELS) for i in range(len(names))])
        for label, (colour, rate) in parts.items()
    ]
    for i, ax in enumerate(panels):
        dress(ax)
        ax.axhline(0.0, color=GREY, linewidth=0.8, linestyle=":")
        for label, colour, bands in shown:
            band(ax, time, *bands[i], colour=colour, label=label)
        time_axis(ax, time)
        mark_phases(ax, phases, named=False)
        ax.set_title(words(names[i]), color=coordinate_colour(i))
    _signed_log(panels[0], *(values for _, _, bands in shown for values in bands))
    panels[0].set_ylabel("log-stretch rate (1/τ)")
    panels[-1].legend(loc="best")
    return panels


def _signed_log(ax: Axes, *values: Float[np.ndarray, "level time"]) -> None:
    """Linear up to ten times the usual size of the rates, logarithmic beyond; linear where that says it all."""
    ends = span(*values)
    sizes = np.abs(np.concatenate([v[1] for v in values]))
    sizes = sizes[np.isfinite(sizes)]
    if ends is None or not len(sizes):
        return
    largest, usual = max(-ends[0], ends[1]), max(float(np.quantile(sizes, 0.8)), 0.1)
    if largest > 5 * usual:
        threshold = 10 ** round(np.log10(usual))
        ax.set_yscale("symlog", linthresh=threshold, linscale=1.5)
        ax.set_ylim(min(1.3 * ends[0], -0.1 * threshold), max(2 * ends[1], 0.1 * threshold))
        ax.yaxis.set_major_formatter(FuncFormatter(_signed_number))


def _signed_number(value: float, position: int | None = None) -> str:
    return "0" if value == 0 else ("\N{MINUS SIGN}" if value < 0 else "") + log_number(abs(value))
