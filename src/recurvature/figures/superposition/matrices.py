"""What is read out of every past input, and how past inputs interfere in the state."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from recurvature._errors import InputError
from recurvature.figures.style import (
    FULL,
    GREY,
    INK,
    SIGNED,
    SMALL,
    VERMILLION,
    add_bar,
    coordinate_colour,
    dress,
    frame,
    look,
    new_axes,
    new_figure,
)
from recurvature.figures.superposition.directions import feature_plane
from recurvature.lenses.superposition import Geometry

MOST_NAMED = 6
"""So many features have a colour and a name each."""


@look
def projection_matrices(
    result: Geometry, figure: FigureBase | None = None, *, ages: Sequence[int] | None = None
) -> list[Axes]:
    r"""$A_s = W_y^\top W_s$, a panel to each age: outputs downward, features to the right, one scale for all.

    By default ages 0 to k + 1. The age that is due is framed; on its diagonal are the features that are stored. Raises
    `InputError` on an age that the result does not hold.
    """
    a = np.asarray(result.projection, float)
    shown = list(range(min(len(a), result.delay + 2))) if ages is None else list(ages)
    if not shown or not all(0 <= age < len(a) for age in shown):
        raise InputError(f"`ages` must lie in 0…{len(a) - 1} and be one or more; got {shown}.")
    columns = min(len(shown), 6)
    rows = -(-len(shown) // columns)
    width = min(FULL, 1.0 + 1.15 * columns)
    figure = new_figure(figure, width=width, height=0.45 + 1.15 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    largest = float(np.abs(a[shown]).max(initial=0.0)) or 1.0
    norm = Normalize(-largest, largest)
    for ax, age in zip(panels, shown, strict=False):
        dress(ax)
        frame(ax)
        ax.imshow(a[age], norm=norm, cmap=SIGNED, interpolation="nearest")
        ax.set_xticks([])
        ax.set_yticks([])
        due = age == result.delay
        ax.set_title(f"age {age}" + (", due" if due else ""), color=VERMILLION if due else INK)
        if due:
            for spine in ax.spines.values():
                spine.set(color=VERMILLION, linewidth=1.4)
    for ax in panels[len(shown) :]:
        ax.set_visible(False)
    panels[0].set_ylabel("output")
    panels[0].set_xlabel("feature")
    add_bar(ScalarMappable(norm, SIGNED), panels, r"projection $A_s$", aspect=14, fraction=0.05)
    return panels[: len(shown)]


@look
def projections_by_age(result: Geometry, ax: Axes | None = None) -> Axes:
    """What is read out of each feature as it ages, the age that is due marked; features not stored are grey."""
    ax = new_axes(ax)
    age, own = np.asarray(result.age), np.diagonal(np.asarray(result.projection, float), axis1=1, axis2=2)
    last = min(len(age), 2 * result.delay + 4)
    stored = np.flatnonzero(np.asarray(result.stored) > 0.5)
    for i in range(own.shape[1]):
        known = i in stored[:MOST_NAMED]
        colour = coordinate_colour(int(np.flatnonzero(stored == i)[0])) if known else GREY
        name = f"feature {i + 1}" if known and own.shape[1] > 1 else None
        ax.plot(
            age[:last], own[:last, i], "o-", color=colour, markersize=2.5, linewidth=1.0, label=name, zorder=2 + known
        )
    ax.axhline(0, color=INK, linewidth=0.6)
    ax.axvline(result.delay, color=VERMILLION, linewidth=0.8, linestyle="--")
    low = min(float(own[:last].min()), 0.0)
    ax.set_ylim(bottom=1.08 * low if low < 0 else -0.05)
    if low < 0:
        ax.axhspan(2 * low, 0, color=GREY, alpha=0.15, linewidth=0, zorder=0)
    ax.set_xlim(-0.3, float(age[last - 1]) + 0.3)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.set_xlabel("age (steps)")
    ax.set_ylabel("read out of a feature of 1")
    ax.set_title(f"due at {result.delay}", fontsize=SMALL, color=VERMILLION)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="best")
    return ax


@look
def interference(result: Geometry, ax: Axes | None = None) -> Axes:
    r"""How past inputs interfere: $w_\alpha^\top P^{-1}w_\beta$ of all ages and features, ages in blocks.

    On the diagonal is the share of each past input that a linear readout could recover, 1 at most; beside it, what of
    another it would get with it. Grey where it is not known. Colours reach as far as the largest entry, 1 at most.
    """
    ax = new_axes(ax, height=2.5)
    frame(ax)
    table, features = np.asarray(result.interference, float), np.asarray(result.direction).shape[2]
    last = min(len(np.asarray(result.age)), 2 * result.delay + 2)
    shown = table[: last * features, : last * features]
    reach = min(float(np.abs(shown[np.isfinite(shown)]).max(initial=0.0)), 1.0) or 1.0
    norm = Normalize(-reach, reach)
    ax.imshow(shown, norm=norm, cmap=SIGNED.with_extremes(bad=GREY), interpolation="nearest")
    if features > 1:
        for edge in np.arange(1, last) * features - 0.5:
            ax.axvline(edge, color=GREY, linewidth=0.4)
            ax.axhline(edge, color=GREY, linewidth=0.4)
    skip = -(-last // 8)
    places, names = (np.arange(0, last, skip) + 0.5) * features - 0.5, [str(s) for s in range(0, last, skip)]
    for set_ticks in (ax.set_xticks, ax.set_yticks):
        set_ticks(places, names)
    ax.tick_params(length=0)
    ax.set_xlabel("age (steps)")
    ax.set_ylabel("age (steps)")
    add_bar(ScalarMappable(norm, SIGNED), ax, "interference (share of an input)", pad=0.03)
    return ax


@look
def packing(result: Geometry, figure: FigureBase | None = None, *, feature: int | None = None) -> dict[str, Axes]:
    """A network's past in three panels: directions of one feature, what is read out by age, and interference.

    `feature` is by default the one that is recalled best. Axes by name: `plane`, `projections`, `interference`.
    """
    best = int(np.argmax(np.asarray(result.stored))) if feature is None else feature
    figure = new_figure(figure, width=FULL, height=2.5)
    plane, middle, right = figure.subplots(1, 3)
    return {
        "plane": feature_plane(result, plane, feature=best),
        "projections": projections_by_age(result, middle),
        "interference": interference(result, right),
    }
