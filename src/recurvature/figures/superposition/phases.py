"""The phase diagram of recall: which packing is best at which density and delay, and where one takes over."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import FigureBase

from recurvature.figures.style import (
    FULL,
    GREY,
    INK,
    MAGNITUDE,
    PALE,
    SMALL,
    VERMILLION,
    add_bar,
    dress,
    frame,
    log_x,
    look,
    new_figure,
    time_colours,
)
from recurvature.lenses.superposition import PhaseDiagram, Transition


@look
def phase_diagram(
    result: PhaseDiagram, transition: Transition | None = None, figure: FigureBase | None = None
) -> list[Axes]:
    r"""The order parameter of the best network of every cell, and the turn of each over its delay.

    With a `transition`, circles mark where the losses of both branches cross (where they were not followed, diamonds
    where the best of all seeds changes), bars the densities at which both branches were found, and crosses the cells
    in which no seed came near the better branch. Triangles are turns beyond the axis: alternating networks. Delays of 0
    and 1, which have no order, are hatched.
    """
    figure = new_figure(figure, width=FULL, height=2.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1.1))
    dress(left)
    dress(right)
    _map(left, result)
    if transition is not None:
        _mark(left, result, transition)
    _turns(right, result)
    return [left, right]


def _map(ax: Axes, result: PhaseDiagram) -> None:
    frame(ax)
    density = np.asarray(result.density)
    # a single younger age has no order: its projection may have either sign
    psi = np.where(result.packs, result.of_best("order_parameter"), np.nan)
    logs = np.log(density)
    middle = (logs[1:] + logs[:-1]) / 2
    edges = np.exp(np.concatenate([[2 * logs[0] - middle[0]], middle, [2 * logs[-1] - middle[-1]]]))
    rows = np.arange(len(np.asarray(result.delay)) + 1) - 0.5
    norm = Normalize(0, 1)
    ax.pcolormesh(edges, rows, np.ma.masked_invalid(psi.T), norm=norm, cmap=MAGNITUDE, edgecolors="face", linewidth=0.2)
    ax.set_facecolor(PALE)
    for row in np.flatnonzero(~result.packs):
        ax.axhspan(row - 0.5, row + 0.5, facecolor="none", edgecolor=GREY, hatch="////", linewidth=0)
    log_x(ax, edges, room=1.0)
    ax.set_yticks(range(len(rows) - 1), [str(int(delay)) for delay in np.asarray(result.delay)])
    ax.set_xlabel("density $p$")
    ax.set_ylabel("delay $k$ (steps)")
    add_bar(ScalarMappable(norm, MAGNITUDE), ax, r"order parameter $\psi$ of the best", fraction=0.15)


def _mark(ax: Axes, result: PhaseDiagram, found: Transition) -> None:
    crossing, best = np.asarray(found.crossing), np.asarray(found.best_of_n)
    rows, there = np.arange(len(crossing)), np.isfinite(crossing)
    at, row = np.nonzero(np.asarray(found.missed))
    ax.plot(np.asarray(result.density)[at], row + 0.28, "x", color=VERMILLION, markersize=4, markeredgewidth=1.2)
    for height, (low, high) in zip(rows, np.asarray(found.coexistence), strict=True):
        ax.plot([low, high], [height, height], color="white", linewidth=2.6, solid_capstyle="butt")
        ax.plot([low, high], [height, height], color=INK, linewidth=1.2, solid_capstyle="butt")
    style: dict[str, Any] = {
        "linestyle": "none",
        "markerfacecolor": "white",
        "markeredgecolor": INK,
        "markeredgewidth": 0.9,
    }
    ax.plot(crossing[there], rows[there], "o", markersize=4.5, **style)
    ax.plot(best[~there], rows[~there], "D", markersize=4, **style)


def _turns(ax: Axes, result: PhaseDiagram) -> None:
    turn, density = result.of_best("k_theta"), np.asarray(result.density)
    delays, top, label = np.asarray(result.delay), 330.0, r"turn over the delay $k\bar\theta$ (deg)"
    if np.isnan(turn).all():
        # a recurrence under an activation has no eigenvalues that say how it turns: its directions do
        turn, label = result.of_best("cumulative_angle"), "turn of the directions (deg)"
    beyond = turn > top
    turn = np.where(beyond, np.nan, turn)
    for k, colour in enumerate(time_colours(len(delays))):
        ax.plot(density, turn[:, k], "o-", color=colour, markersize=2.2, linewidth=1.0, label=str(int(delays[k])))
    for level in (90, 270):
        ax.axhline(level, color=GREY, linewidth=0.6, linestyle=":", zorder=0)
    log_x(ax, density, room=1.1)
    ax.set_ylim(0, top)
    for k, colour in enumerate(time_colours(len(delays))):
        ax.plot(
            density[beyond[:, k]],
            np.full(beyond[:, k].sum(), (0.97 - 0.035 * k) * top),
            "^",
            color=colour,
            markersize=3.5,
        )
    ax.set_yticks([0, 90, 180, 270])
    ax.set_xlabel("density $p$")
    ax.set_ylabel(label)
    # beside the axes, longest delay on top as in the map: within them it would hide a line
    handles, labels = ax.get_legend_handles_labels()
    beside: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "handlelength": 1.0}
    ax.legend(handles[::-1], labels[::-1], title="delay $k$", title_fontsize=SMALL, **beside)
