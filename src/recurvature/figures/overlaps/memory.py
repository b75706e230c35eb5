"""A loop of tasks in overlap space, and how far the orders of two tasks are apart."""

import numpy as np
from matplotlib.axes import Axes

from recurvature.figures.style import BLUE, GREEN, GREY, INK, VERMILLION, log_x, look, new_axes
from recurvature.lenses.overlaps import Histories, RoundTrip

LEGS = ((GREY, "to A"), (BLUE, "A to B"), (VERMILLION, "B to A"))


@look
def task_loop(trip: RoundTrip, ax: Axes | None = None, *, x: str = "v·u", y: str = "u·u") -> Axes:
    """The course of A–B–A in the plane of two overlaps, at steps of size 0; a ring at the first A, a cross at the last.

    By default one overlap that the loss sees against one that it does not.
    """
    ax = new_axes(ax)
    across, up, phase = trip.of(x), trip.of(y), np.asarray(trip.phase)
    for leg, (colour, label) in enumerate(LEGS):
        ax.plot(across[phase == leg], up[phase == leg], color=colour, label=label)
    ends = [np.flatnonzero(phase == leg)[-1] for leg in range(3)]
    ax.plot(across[ends[0]], up[ends[0]], "o", color=INK, markersize=7, markerfacecolor="none")
    ax.plot(across[ends[1]], up[ends[1]], "s", color=BLUE, markersize=4)
    ax.plot(across[ends[2]], up[ends[2]], "x", color=INK, markersize=4.5)
    ax.set_xlabel(f"{x}, {_kind(trip, x)}")
    ax.set_ylabel(f"{y}, {_kind(trip, y)}")
    ax.margins(0.08)
    ax.legend(loc="best")
    return ax


def _kind(trip: RoundTrip, name: str) -> str:
    seen = trip.layout.visible("linear")
    places = {frozenset(pair): shown for pair, shown in zip(map(tuple, trip.layout.pairs), seen, strict=True)}
    return "visible" if places[frozenset(trip.layout.position(name))] else "invisible"


@look
def left_behind(trip: RoundTrip, ax: Axes | None = None) -> Axes:
    """What A–B–A leaves of each overlap at steps of size 0, and by descent; beside it the excursion to B."""
    names = trip.layout.names
    ax = new_axes(ax, height=0.8 + 0.2 * len(names))
    places = np.arange(len(names))
    drawn = []
    rates = np.asarray(trip.rate)
    rows = [
        (np.asarray(trip.excursion), "|", BLUE, 9, "to B and not back"),
        (np.asarray(trip.by_rate)[0], "o", GREY, 3.5, f"steps at rate {rates[0]:.3g}"),
        (np.asarray(trip.extrapolated), "o", GREEN, 6, "steps, extrapolated to 0"),
        (np.asarray(trip.displacement), "x", INK, 4, "at steps of size 0"),
    ]
    # what the solver leaves of an overlap that does not move
    floor = 1e-7 * float(np.abs(np.asarray(trip.excursion)).max())
    for values, marker, colour, size, label in rows:
        sizes = np.where(np.abs(values) > floor, np.abs(values), np.nan)
        face = "none" if marker == "o" and size > 5 else colour
        ax.plot(
            sizes, places, marker, color=colour, markersize=size, markerfacecolor=face, linestyle="none", label=label
        )
        drawn.append(sizes)
    ax.set_yticks(places, names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    log_x(ax, *drawn, room=2.0)
    ax.set_xlabel("change of the overlap, from A to A (size)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=2, columnspacing=1.0)
    return ax


@look
def route_distances(told: Histories, ax: Axes | None = None) -> Axes:
    """How far networks that learned A first are from those that learned B first, before C and after it.

    A row to each overlap; medians over runs, with bars from the least to the largest.
    """
    names, seen = told.layout.names, told.visible
    order = np.concatenate([np.flatnonzero(seen), np.flatnonzero(~seen)])
    ax = new_axes(ax, height=0.9 + 0.2 * len(names))
    drawn = []
    for step, shift, filled in ((told.switch - 1, -0.16, False), (-1, 0.16, True)):
        pairs = told.pairs(step)
        apart = np.abs(pairs[:, 0] - pairs[:, 1])[:, order]
        apart = np.where(apart > 0, apart, np.nan)
        for row, column in enumerate(apart.T):
            values = column[np.isfinite(column)]
            if not len(values):
                continue
            colour = BLUE if seen[order[row]] else VERMILLION
            ax.plot([values.min(), values.max()], [row + shift] * 2, color=colour, linewidth=0.7, alpha=0.7)
            face = colour if filled else "white"
            ax.plot(np.median(values), row + shift, "o", color=colour, markersize=4, markerfacecolor=face)
        drawn.append(apart.ravel())
    ax.axhline(int(seen.sum()) - 0.5, color=GREY, linewidth=0.6, linestyle=":")
    ax.set_yticks(range(len(names)), [names[k] for k in order])
    for label, place in zip(ax.get_yticklabels(), order, strict=True):
        label.set_color(BLUE if seen[place] else VERMILLION)
    ax.set_ylim(len(names) - 0.5, -0.5)
    log_x(ax, *drawn, room=2.0)
    ax.set_xlabel(f"difference of the overlap, {told.tasks[0]} first less {told.tasks[1]} first (size)")
    ax.plot([], [], "o", color=INK, markersize=4, markerfacecolor="white", label=f"before {told.tasks[2]}")
    ax.plot([], [], "o", color=INK, markersize=4, label=f"after {told.tasks[2]}")
    ax.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=2)
    return ax
