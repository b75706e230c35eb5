"""Geometries of networks compared: every quantity beside the differences between seeds, and pair by pair."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D

from recurvature.figures.style import (
    GREY,
    INK,
    MAGNITUDE,
    PALE,
    add_bar,
    coordinate_colour,
    frame,
    legend_below,
    log_x,
    look,
    new_axes,
    words,
)
from recurvature.lenses.warping import Comparison


@look
def comparison(result: Comparison, ax: Axes | None = None, *, quantities: Sequence[str] | None = None) -> Axes:
    """Differences of geometry, a row to each quantity: pairs of one group above the line, pairs of two groups below.

    Everything is in units of the mean difference between seeds of one group, the baseline at 1; black bars are means
    over the pairs of two groups. Networks that have not learned take no part. `quantities` are names of the result; by
    default the means. Without a group of two networks there is no baseline: differences are then drawn as they are.

    Raises `InputError` on an unknown quantity.
    """
    means = tuple(name for name in result.quantities if name.endswith((" mean", " rank")))
    names = means if quantities is None else tuple(quantities)
    rows = [result.row(name) for name in names]
    ax = new_axes(ax, height=0.85 + 0.33 * len(rows))
    first, second, same = _pairs(result)
    table, baseline = _in_baselines(np.asarray(result.difference, np.float64)[rows], first, second, same)
    of = np.array([result.groups.index(group) for group in result.group_of], int)
    for y, values in enumerate(table):
        ax.axhline(y, color=PALE, linewidth=0.6, zorder=0)
        for pair, (value, within) in enumerate(zip(values, same, strict=True)):
            colour = coordinate_colour(int(of[first[pair]])) if within else GREY
            ax.plot(value, y - 0.17 if within else y + 0.17, "o", color=colour, markersize=3, alpha=0.8, mew=0)
        apart = values[~same]
        if np.isfinite(apart).any():
            ax.plot(np.nanmean(apart), y + 0.17, "|", color=INK, markersize=8, mew=1.6)
    if (table > 0).any():
        log_x(ax, table)
    if baseline:
        ax.axvline(1.0, color=INK, linewidth=0.7, linestyle="--")
    ax.set_yticks(range(len(names)), [words(name) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_xlabel("difference / mean between seeds" if baseline else "difference (no seed baseline)")
    _legend(ax, result, same)
    return ax


def _pairs(
    result: Comparison,
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"], Bool[np.ndarray, " pair"]]:
    """The two members of every pair that has learned, and whether both are of one group."""
    first, second = np.triu_indices(len(result.group_of), 1)
    learned = np.asarray(result.learned) == 1
    both = learned[first] & learned[second]
    group = np.array(result.group_of)
    return first[both], second[both], group[first[both]] == group[second[both]]


def _in_baselines(
    difference: Float[np.ndarray, "row member partner"],
    first: Int[np.ndarray, " pair"],
    second: Int[np.ndarray, " pair"],
    same: Bool[np.ndarray, " pair"],
) -> tuple[Float[np.ndarray, "row pair"], bool]:
    """Differences over the mean of those within groups, and whether there are any."""
    values = difference[:, first, second]
    within = values[:, same]
    if not within.size or not (np.isfinite(within) & (within > 0)).any(1).all():
        return values, False
    return values / np.nanmean(within, 1, keepdims=True), True


def _legend(ax: Axes, result: Comparison, same: Bool[np.ndarray, " pair"]) -> None:
    sizes = [sum(one == group for one in result.group_of) for group in result.groups]
    handles = [
        Line2D([], [], marker="o", lw=0, ms=3.5, color=coordinate_colour(i), label=f"within {words(group)}")
        for i, (group, size) in enumerate(zip(result.groups, sizes, strict=True))
        if size > 1
    ]
    if (~same).any():
        handles.append(Line2D([], [], marker="o", lw=0, ms=3.5, color=GREY, label="between groups"))
        handles.append(Line2D([], [], marker="|", lw=0, ms=7, mew=1.6, color=INK, label="their mean"))
    legend_below(ax, handles, 2 if len(handles) < 5 else 3)


@look
def difference_matrix(result: Comparison, quantity: str, ax: Axes | None = None) -> Axes:
    """One quantity for all pairs of networks, groups apart from one another; those not learned are marked with a cross.

    The blocks on the diagonal are the differences between seeds: the baseline for the blocks beside them. Raises
    `InputError` on an unknown quantity.
    """
    ax = new_axes(ax, height=2.9)
    frame(ax)
    table = np.array(result.difference, np.float64)[result.row(quantity)]
    np.fill_diagonal(table, np.nan)
    known = table[np.isfinite(table)]
    norm = Normalize(0, float(known.max(initial=0.0)) or 1.0)
    ax.imshow(table, norm=norm, cmap=MAGNITUDE.with_extremes(bad="white"), interpolation="nearest")
    starts, middles = _blocks(result)
    for start in starts[1:]:
        ax.axvline(start - 0.5, color="white", linewidth=2.5)
        ax.axhline(start - 0.5, color="white", linewidth=2.5)
    lost = np.flatnonzero(np.asarray(result.learned) == 0)
    ax.plot(lost, lost, "x", color=INK, markersize=4, mew=0.8)
    names = [words(group) for group in result.groups]
    ax.set_xticks(middles, names)
    ax.set_yticks(middles, names, rotation=90, va="center")
    ax.tick_params(length=0)
    ax.set_title("one network to a row and column" + ("\n(× has not learned)" if len(lost) else ""))
    add_bar(ScalarMappable(norm, MAGNITUDE), ax, f"difference: {words(quantity)}", pad=0.03)
    return ax


def _blocks(result: Comparison) -> tuple[list[int], list[float]]:
    """Where each group begins, and its middle."""
    group = list(result.group_of)
    starts = [group.index(name) for name in result.groups]
    return starts, [start + (group.count(name) - 1) / 2 for start, name in zip(starts, result.groups, strict=True)]
