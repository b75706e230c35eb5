"""Geodesics over the chart, and tables of the distances within manifolds."""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import AbstractPathEffect, Normal, Stroke
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator, NullLocator

from recurvature._errors import InputError, check_choice
from recurvature.figures.style import (
    BLUE,
    COORDINATES,
    FULL,
    GREY,
    INK,
    MAGNITUDE,
    PALE,
    VERMILLION,
    add_bar,
    dress,
    frame,
    legend_below,
    look,
    new_axes,
    new_figure,
    with_units,
    words,
)
from recurvature.lenses.warping import GEODESIC_STATUS, Geodesic, GeodesicDistances

OK, BOUNDARY = GEODESIC_STATUS.index("ok"), GEODESIC_STATUS.index("boundary")
MARKS = 4
"""Points of equal distance that are marked on each curve of a fan."""


@look
def geodesics(result: Geodesic, ax: Axes | None = None) -> Axes:
    """Geodesics over a chart of two coordinates: a fan from its start, or the curves that join pairs of points.

    On a fan, dots stand at equal distances in state space: where they crowd, the network stretches. Of curves that join
    one pair, every homotopy class has its colour, its turns and its length, and the shortest is thick; pale straight
    lines in the coordinates show how far they bend. Coordinates are unwrapped: thin lines mark where an angle repeats.
    Curves whose status is not `ok` are dashed, and named in the legend.

    Axes that are given keep their limits and labels (a map, for instance). Raises `InputError` unless there are two
    coordinates.
    """
    if len(result.coordinates) != 2:
        raise InputError(f"`geodesics` draws on two coordinates; `result` has {len(result.coordinates)}.")
    blank = ax is None
    ax = new_axes(ax, height=2.9)
    theta, status = np.asarray(result.theta, np.float64), np.asarray(result.status)
    handles = _fan(ax, result, theta) if result.problem == "initial value" else _joined(ax, result, theta)
    for code in sorted(set(status.tolist()) - {OK}):
        label = words(GEODESIC_STATUS[code])
        handles.append(Line2D([], [], color=_status_colour(code), linestyle="--", linewidth=0.9, label=label))
    if blank:
        _chart(ax, result)
    legend_below(ax, handles, 2 if len(handles) > 1 else 1)
    return ax


def _status_colour(code: int) -> str:
    return VERMILLION if code == BOUNDARY else GREY


def _halo(width: float) -> list[AbstractPathEffect]:
    """A white edge, which sets a curve apart from a map below it."""
    return [Stroke(linewidth=width + 1.4, foreground="white", capstyle="butt"), Normal()]


def _fan(ax: Axes, result: Geodesic, theta: Float[np.ndarray, "curve sample m"]) -> list[Line2D]:
    status, samples = np.asarray(result.status), theta.shape[1]
    at = np.unique(np.linspace(0, samples - 1, MARKS + 1).round().astype(int))[1:]
    for curve, code in zip(theta, status, strict=True):
        known = curve[np.isfinite(curve).all(-1)]
        well = code == OK
        style = {"color": BLUE if well else _status_colour(int(code)), "linestyle": "-" if well else "--"}
        width = 1.0 if well else 0.8
        ax.plot(*known.T, linewidth=width, path_effects=_halo(width), **style)  # type: ignore[arg-type]
        ax.plot(*curve[at].T, "o", color=style["color"], markersize=2.4)
    ax.plot(*theta[:, 0].T, "o", color=INK, markersize=4.5, zorder=4)
    lengths = np.asarray(result.length, np.float64)[status == OK]
    if not len(lengths):
        return []
    each = f"geodesics, a dot every {np.median(lengths) / len(at):.2g} of length"
    return [Line2D([], [], color=BLUE, marker="o", markersize=2.4, linewidth=1.0, label=each)]


def _joined(ax: Axes, result: Geodesic, theta: Float[np.ndarray, "curve sample m"]) -> list[Line2D]:
    status, shortest = np.asarray(result.status), np.asarray(result.shortest)
    alone = len(set(np.asarray(result.pair).tolist())) == 1 and len(theta) > 1
    handles: list[Line2D] = []
    order = np.argsort(np.where(np.isfinite(result.length), result.length, np.inf), kind="stable")
    for i in order:
        well, many = status[i] == OK, alone and len(handles) < len(COORDINATES)
        colour = COORDINATES[len(handles)] if many else BLUE if shortest[i] else GREY
        colour = colour if well else _status_colour(int(status[i]))
        dashed: Literal["-", "--"] = "-" if well else "--"
        width = 2.0 if shortest[i] else 1.0
        ax.plot(*theta[i, [0, -1]].T, color=GREY, alpha=0.45, linewidth=0.7, zorder=1.5)
        ax.plot(*theta[i].T, color=colour, linestyle=dashed, linewidth=width, path_effects=_halo(width))
        ax.plot(*theta[i, -1], "o", color=INK, mfc="white", markersize=4, zorder=4)
        ax.plot(*theta[i, 0], "o", color=INK, markersize=4.5, zorder=5)
        if well and many:
            turns = ", ".join(f"{w:+d}" if w else "0" for w in np.asarray(result.winding)[i])
            label = f"turns ({turns}): {result.length[i]:.3g}".replace("-", "\N{MINUS SIGN}")
            handles.append(Line2D([], [], color=colour, linewidth=width, label=label))
    if not alone:
        handles.append(Line2D([], [], color=BLUE, linewidth=2.0, label="geodesic"))
    handles.append(Line2D([], [], color=GREY, alpha=0.45, linewidth=0.7, label="straight in the coordinates"))
    return handles


def _chart(ax: Axes, result: Geodesic) -> None:
    """Labels, ticks, and thin lines where an angle begins anew."""
    frame(ax)
    ax.margins(0.06)
    if len(set(result.units)) == 1:
        ax.set_aspect("equal", adjustable="box")
    for i, (axis, draw) in enumerate(((ax.xaxis, ax.axvline), (ax.yaxis, ax.axhline))):
        axis.set_label_text(with_units(words(result.coordinates[i]), result.units[i]))
        if result.periodic[i] and result.units[i] == "rad":
            low, high = axis.get_view_interval()
            for turn in range(math.ceil(low / (2 * math.pi)), math.floor(high / (2 * math.pi)) + 1):
                draw(2 * math.pi * turn, color=PALE, linewidth=0.8, zorder=0)
            axis.set_major_locator(MultipleLocator(math.pi * (1 if high - low < 7 * math.pi else 2)))
            axis.set_major_formatter(FuncFormatter(_multiple_of_pi))
        else:
            axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))


def _multiple_of_pi(value: float, position: int | None = None) -> str:
    count = round(value / math.pi)
    sign = "\N{MINUS SIGN}" if count < 0 else ""
    return "0" if count == 0 else f"{sign}{'' if abs(count) == 1 else abs(count)}π"


@look
def distance_matrices(
    results: GeodesicDistances | Mapping[str, GeodesicDistances],
    figure: FigureBase | None = None,
    *,
    normalise: str = "raw",
) -> list[Axes]:
    """Geodesic distances between all pairs of points, a panel to each result, all on one colour scale.

    Points are in the order of the result: on a grid the last coordinate runs fastest, and ticks stand where the first
    takes its next value. `normalise` divides each table by its largest or mean distance: shapes are compared then,
    not sizes. Pairs without the distance that was asked for are covered in white, and named; without any, grey.
    """
    check_choice("normalise", normalise, ("raw", "max", "mean"))
    named = {"": results} if isinstance(results, GeodesicDistances) else dict(results)
    if not named:
        raise InputError("`results` must hold at least one result.")
    tables = [_table(one, normalise) for one in named.values()]
    width = min(FULL, 2.3 * len(named) + 1.0)
    figure = new_figure(figure, width=width, height=(width - 1.1) / len(named) + 0.8)
    panels: list[Axes] = figure.subplots(1, len(named), squeeze=False)[0].tolist()
    top = max((float(t[np.isfinite(t)].max(initial=0)) for t in tables), default=0) or 1.0
    norm, found = Normalize(0, top), set()
    for (name, one), table, ax in zip(named.items(), tables, panels, strict=True):
        dress(ax)
        frame(ax)
        shown = np.where(np.isfinite(table), table, np.nan)
        ax.imshow(shown, norm=norm, cmap=MAGNITUDE.with_extremes(bad="#B8B8B8"), interpolation="nearest")
        codes = np.asarray(one.status)
        found |= set(codes.ravel().tolist()) - {OK}
        veil = np.zeros((*codes.shape, 4))
        veil[(codes != OK) & np.isfinite(table)] = (1, 1, 1, 0.6)
        ax.imshow(veil, interpolation="nearest")
        ax.set_title(words(name))
        _point_axes(ax, one)
    panels[0].set_ylabel(panels[0].get_xlabel())
    for ax in panels[1:]:
        ax.tick_params(labelleft=False)
    unit = {"raw": "\n(unit of the space)", "max": "\nrelative to the largest", "mean": "\nrelative to the mean"}
    add_bar(ScalarMappable(norm, MAGNITUDE), panels, f"geodesic distance{unit[normalise]}")
    if found:
        why = ", ".join(words(GEODESIC_STATUS[code]) for code in sorted(found))
        patch = Patch(facecolor="#D8D8D8", edgecolor=GREY, linewidth=0.4, label=f"covered or grey: {why}")
        figure.legend(handles=[patch], loc="outside lower center")
    return panels


def _table(one: GeodesicDistances, normalise: str) -> Float[np.ndarray, "point other"]:
    table = np.asarray(one.distances, np.float64)
    known = table[np.triu_indices(len(table), 1)]
    known = known[np.isfinite(known)]
    unit = {"raw": 1.0, "max": known.max(initial=0), "mean": known.mean() if len(known) else 1.0}[normalise]
    return table / (unit or 1.0)


def _point_axes(ax: Axes, one: GeodesicDistances) -> None:
    """Ticks where the first coordinate takes its next value, at most five of them; numbers of points without a grid."""
    if len(one.grid) < 2:
        ax.set_xlabel("point")
        return
    block = len(one.theta) // one.grid[0]
    stride = -(-one.grid[0] // 5)
    at = np.arange(0, one.grid[0], stride) * block
    values = np.asarray(one.theta, np.float64)[at, 0]
    labels = [f"{value:.2g}".replace("-", "\N{MINUS SIGN}") for value in values]
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(list(at - 0.5), labels)
        axis.set_minor_locator(NullLocator())
    fast = ", ".join(words(name) for name in one.coordinates[1:])
    ax.set_xlabel(f"{with_units(words(one.coordinates[0]), one.units[0])},\n{fast} fastest")
