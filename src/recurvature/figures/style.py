"""One look for every figure: sizes, colours that survive colour blindness, units on axes. Nothing global is changed.

Figures are built without pyplot: no window, and no registry keeps them alive. `ax.get_figure().savefig(path)` writes.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, ListedColormap
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from recurvature._errors import InputError

COLUMN, FULL = 3.4, 7.0
"""Widths in inches: one column of a journal, and both."""

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY = "#E69F00", "#56B4E9"
"""Colours of Okabe & Ito (2008)."""
INK, GREY, PALE = "#1A1A1A", "#6E6E6E", "#E4E4E4"

COORDINATES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
"""The colour of each coordinate of a manifold, the same in every figure."""

MAGNITUDE = mpl.colormaps["viridis"]
SIGNED = mpl.colormaps["PRGn"]
TRACES = ListedColormap(mpl.colormaps["vanimo"](np.linspace(0.12, 0.88, 256)), "traces")
"""Signed values of lines on white: dark in the middle."""
CYCLIC = LinearSegmentedColormap.from_list("cycle", [BLUE, "#6A4FA3", "#B0307A", VERMILLION, "#8A8A00", GREEN, BLUE])
"""Angles: every colour dark enough for a line on white."""
BALANCE = LinearSegmentedColormap.from_list(
    "balance", ["#7A2E00", VERMILLION, "#F0B48C", "#F4F4F2", "#8CC0E0", BLUE, "#00324F"]
)
"""Around 1: vermillion below (the second coordinate is stretched more), blue above (the first)."""

FAMILY, SIZE, SMALL = "DejaVu Sans", 8.0, 7.0
LOOK: dict[Any, Any] = {
    "font.family": FAMILY,
    "font.size": SIZE,
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": SIZE,
    "axes.labelsize": SIZE,
    "axes.labelpad": 3.0,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.unicode_minus": True,
    "axes.axisbelow": True,
    "text.color": INK,
    "text.usetex": False,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "legend.labelspacing": 0.3,
    "lines.linewidth": 1.4,
    "lines.solid_capstyle": "round",
    "patch.linewidth": 0.6,
    "figure.facecolor": "white",
    "figure.dpi": 150.0,
    "savefig.dpi": 300.0,
    "path.simplify": True,
}
look = mpl.rc_context(LOOK)
"""A decorator: what it wraps draws in this look, and leaves the settings of matplotlib as they were."""


def new_axes(ax: Axes | None, *, width: float = COLUMN, height: float = 2.3) -> Axes:
    """`ax`, or the only axes of a new figure of that size in inches; dressed."""
    if ax is None:
        ax = Figure(figsize=(width, height), layout="constrained").add_subplot()
    dress(ax)
    return ax


def new_figure(figure: FigureBase | None, *, width: float, height: float) -> FigureBase:
    """`figure`, or a new one of that size in inches."""
    return Figure(figsize=(width, height), layout="constrained") if figure is None else figure


def dress(ax: Axes) -> None:
    """Open frame and small outward ticks, set on the axes themselves: matplotlib makes ticks late, at drawing time."""
    ax.tick_params(which="both", direction="out", width=0.6, labelsize=SMALL, color=INK, labelcolor=INK, pad=2.5)
    ax.tick_params(which="both", labelfontfamily=FAMILY)
    ax.tick_params(which="major", length=3.0)
    ax.tick_params(which="minor", length=1.5)
    if "top" in ax.spines and ax.name == "rectilinear":
        ax.spines[["top", "right"]].set_visible(False)


def frame(ax: Axes) -> None:
    """The closed frame of a map."""
    ax.spines[["top", "right"]].set_visible(True)


def words(name: str) -> str:
    """A name for print: underscores become spaces, and nothing is taken for mathematics."""
    return name.replace("_", " ").replace("$", r"\$")


LINE = 30
"""Characters of a label and its units that fit the height of a single panel."""


def with_units(label: str, units: str) -> str:
    """A label with its units in parentheses, on a line of their own where both together are long."""
    shown = re.sub(r"\\sqrt|[\\${}_]", "", label + units)
    return label + (" " if len(shown) <= LINE else "\n") + f"({units})" if units else label


def coordinate_colour(index: int) -> str:
    """The colour of a coordinate by its number."""
    return COORDINATES[index % len(COORDINATES)]


def time_colours(count: int) -> Float[np.ndarray, "count 4"]:
    """Colours from early (dark) to late (light, still dark enough for lines on white)."""
    return mpl.colormaps["plasma"](np.linspace(0.0, 0.76, count) if count > 1 else np.array([0.4]))


def time_label(time: float, units: str = "τ") -> str:
    """`t = 2.5 τ`; without units, of all times together."""
    return f"t = {time:.3g} {units}" if units else "all bins"


def time_axis(ax: Axes, time: Float[np.ndarray, " time"], units: str = "τ") -> None:
    """Time from 0 to the last sample."""
    ax.set_xlim(0.0, float(time[-1]) or 1.0)
    ax.set_xlabel(with_units("time", units))


def band(
    ax: Axes,
    time: Float[np.ndarray, " time"],
    low: Float[np.ndarray, " time"],
    middle: Float[np.ndarray, " time"],
    high: Float[np.ndarray, " time"],
    *,
    colour: str,
    label: str,
) -> None:
    """A line in a band of the same colour."""
    ax.fill_between(time, low, high, color=colour, alpha=0.2, linewidth=0)
    ax.plot(time, middle, color=colour, label=label)


def span(*values: Float[np.ndarray, "..."], positive: bool = False) -> tuple[float, float] | None:
    """Least and largest of the finite (and positive) values; None when there are none."""
    flat = np.concatenate([np.asarray(v, np.float64).ravel() for v in values])
    flat = flat[np.isfinite(flat) & ((flat > 0) | (not positive))]
    return (float(flat.min()), float(flat.max())) if len(flat) else None


def log_y(ax: Axes, *values: Float[np.ndarray, "..."], least_decades: float = 0.3, headroom: float = 0.04) -> None:
    """A logarithmic y axis over the positive `values`, at least `least_decades` high, with numbers one can read.

    `headroom` is the share of the height left free above, for a legend.
    """
    ends = span(*values, positive=True) or (1.0, 1.0)
    low, high = math.log10(ends[0]), math.log10(ends[1])
    room = max(0.04 * (high - low), (least_decades - (high - low)) / 2)
    ends = 10 ** (low - room), 10 ** (high + room + headroom * (high - low + 2 * room))
    ax.set_yscale("log")
    ax.set_ylim(*ends)
    log_ticks(ax.yaxis, *ends)


def log_x(ax: Axes, *values: Float[np.ndarray, "..."], room: float = 1.2) -> None:
    """A logarithmic x axis around the positive `values`, wider by a factor of `room` on either side."""
    ax.set_xscale("log")
    ends = span(*values, positive=True)
    if ends is not None:
        ends = ends[0] / room, ends[1] * room
        ax.set_xlim(*ends)
        log_ticks(ax.xaxis, *ends)


def legend_below(ax: Axes, handles: Sequence[Any], columns: int, *, columnspacing: float = 2.0) -> None:
    """A legend under the axes, outside of them."""
    figure = ax.get_figure()
    if handles and figure is not None:
        figure.legend(handles=list(handles), loc="outside lower center", ncols=columns, columnspacing=columnspacing)


def add_bar(shown: ScalarMappable, axes: Axes | Sequence[Axes], label: str, **options: Any) -> Axes:
    """A colour bar beside some axes of one figure; `options` are matplotlib's."""
    beside = [axes] if isinstance(axes, Axes) else list(axes)
    figure = beside[0].get_figure()
    assert figure is not None
    bar = figure.colorbar(shown, ax=beside, **{"aspect": 18, "fraction": 0.06, "pad": 0.02, **options})
    dress(bar.ax)
    bar.outline.set_linewidth(0.5)
    bar.set_label(label, fontsize=SMALL)
    return bar.ax


def log_ticks(axis: Axis, low: float, high: float) -> None:
    """Ticks of a logarithmic axis from `low` to `high`: few, and plain numbers where the range is small."""
    decades = math.log10(high / low)
    if decades < 0.8:
        axis.set_major_locator(FixedLocator(list(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(
            LogLocator(subs=(1, 2, 5) if decades < 1.3 else (1, 3) if decades < 2.2 else (1,), numticks=7)
        )
        axis.set_minor_locator(LogLocator(subs="auto", numticks=60) if decades < 8 else NullLocator())
    axis.set_major_formatter(FuncFormatter(log_number))
    axis.set_minor_formatter(FuncFormatter(lambda value, position: ""))


def log_number(value: float, position: int | None = None) -> str:
    """A plain number between 0.001 and 9999, a power of ten beyond."""
    if value <= 0:
        return ""
    exponent = math.floor(math.log10(value) + 1e-9)
    if -3 <= exponent <= 3:
        return f"{value:.4g}"
    factor = value / 10**exponent
    lead = "" if abs(factor - 1) < 1e-6 else rf"{factor:.3g}\times"
    return rf"${lead}10^{{{exponent}}}$"


def coordinate_axis(axis: Axis, values: Float[np.ndarray, " value"], name: str, units: str, periodic: bool) -> None:
    """Name and ticks of a coordinate; an angle around the circle gets multiples of π."""
    axis.set_label_text(with_units(words(name), units))
    if units == "rad" and (periodic or np.ptp(values) > 3):
        axis.set_major_locator(FixedLocator([0.0, math.pi, 2 * math.pi]))
        axis.set_major_formatter(FuncFormatter(_multiple_of_pi))
    else:
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:.4g}".replace("-", "\N{MINUS SIGN}")))


def _multiple_of_pi(value: float, position: int | None = None) -> str:
    return {0: "0", 1: "π", 2: "2π"}.get(round(value / math.pi), f"{value:.3g}")


def edges(values: Float[np.ndarray, " value"]) -> Float[np.ndarray, " edge"]:
    """The edges of the cells around increasing values."""
    values = np.asarray(values, np.float64)
    if len(values) == 1:
        return values[0] + np.array([-0.5, 0.5])
    middle = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


def nearest(time: Float[np.ndarray, " time"], times: Sequence[float] | None) -> list[int]:
    """The samples nearest to `times`, in order; None takes four, early ones closer together.

    Raises `InputError` on a time that was not sampled.
    """
    time = np.asarray(time, np.float64)
    if times is None:
        return sorted({int(np.abs(time - share * time[-1]).argmin()) for share in (0.1, 0.3, 0.6, 1.0)})
    # a sample may be off by the spacing around it, no more
    reach = float(np.diff(time, prepend=0.0).max()) * 1.001
    for wanted in times:
        if not time[0] - reach <= wanted <= time[-1] + reach:
            raise InputError(f"`times` must lie in {time[0]:g}…{time[-1]:g}; got {wanted!r}.")
    if not len(times):
        raise InputError("`times` must name at least one time; got none.")
    return sorted({int(np.abs(time - wanted).argmin()) for wanted in times})


def mark_phases(ax: Axes, phases: dict[str, tuple[float, float]] | None, *, named: bool = True) -> None:
    """Shade the parts of a trial, and name them above the axes: slanted where they would run into each other."""
    parts = sorted((phases or {}).items(), key=lambda part: part[1])
    middles = [(start + stop) / 2 for _, (start, stop) in parts]
    for i, (_, (start, stop)) in enumerate(parts):
        ax.axvspan(start, stop, color=INK, alpha=(0.05, 0.11)[i % 2], linewidth=0, zorder=0)
    if not named:
        return
    names = [words(name) for name, _ in parts]
    level = _level_places(names, middles, ax)
    slanted = level is None
    for name, place in zip(names, middles if level is None else level, strict=True):
        ax.annotate(
            name,
            (place, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 2),
            textcoords="offset points",
            ha="left" if slanted else "center",
            va="bottom",
            rotation=40 if slanted else 0,
            rotation_mode="anchor",
            fontsize=SMALL - 1,
            color=GREY,
        )


def _level_places(names: list[str], middles: list[float], ax: Axes) -> list[float] | None:
    """Where names stand level above the axes, moved in from its ends; None if they would touch."""
    figure = ax.get_figure(root=True)
    width = COLUMN if figure is None else float(figure.get_size_inches()[0])
    left, right = ax.get_xlim()
    # before the layout is known: about four fifths of a figure with one column of axes
    inch = (right - left) / max(0.8 * width * ax.get_position().width / 0.775, 0.1)
    # a small letter is about 0.047 inches wide
    half = [0.047 * inch * len(name) / 2 for name in names]
    places = [min(max(m, left + h), right - h) for m, h in zip(middles, half, strict=True)]
    pairs = zip(places[:-1], half[:-1], places[1:], half[1:], strict=True)
    return None if any(q - p < h + k + 0.06 * inch for p, h, q, k in pairs) else places


def runs(flags: Bool[np.ndarray, " time"]) -> list[tuple[int, int]]:
    """Half-open ranges of indices over which `flags` hold."""
    steps = np.diff(np.concatenate([[False], flags, [False]]).astype(int))
    return list(zip(np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist(), strict=True))
