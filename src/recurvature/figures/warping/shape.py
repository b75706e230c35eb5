"""The shape of a manifold: barcodes and persistence diagrams with what the sampling can resolve."""

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from recurvature.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    PALE,
    SMALL,
    VERMILLION,
    frame,
    legend_below,
    look,
    new_axes,
)
from recurvature.lenses.warping import Topology
from recurvature.measures import Persistence

DEGREES = ("pieces", "loops", "voids")
COLOURS, SHAPES = (INK, BLUE, VERMILLION, GREEN), ("o", "s", "^", "D")


@look
def barcode(result: Topology | Persistence, ax: Axes | None = None, *, most: int = 8) -> Axes:
    """The `most` longest bars of every degree: where a piece, loop or void appears, and where it is filled.

    Bars that count are thick, the others thin and pale. The grey bar below each degree is as long as a bar must be to
    count, and the vertical line is the covering radius of the landmarks. An arrow is a bar without end.
    """
    degrees = [(d, result_bars(result, d)) for d in range(len(np.asarray(result.betti)))]
    rows = sum(min(most, len(bars)) + 2 for _, bars in degrees)
    ax = new_axes(ax, height=0.9 + 0.085 * rows)
    right, y = _reach(result), 0.0
    for degree, bars in degrees:
        top = y
        for k, (birth, death, counts) in enumerate(bars[:most]):
            style: Any = {"color": COLOURS[degree % 4], "alpha": 1.0 if counts else 0.35}
            ax.plot(
                [birth, min(death, right)], [y, y], linewidth=2.6 if counts else 1.0, solid_capstyle="butt", **style
            )
            if not np.isfinite(death):
                ax.plot(right, y, ">", markersize=3.5, clip_on=False, **style)
            y += 1 if k + 1 < min(most, len(bars)) else 0
        y += 1
        floor = float(np.asarray(result.floor)[degree])
        ax.plot([0, floor], [y, y], color=GREY, linewidth=2.6, alpha=0.45, solid_capstyle="butt")
        more = f"\n{len(bars) - most} more" if len(bars) > most else ""
        ax.annotate(
            f"{_name(degree)}: {int(np.asarray(result.betti)[degree])}{more}",
            (0, (top + y) / 2),
            xycoords=("axes fraction", "data"),
            xytext=(-5, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=SMALL,
            color=COLOURS[degree % 4],
        )
        y += 2
    ax.axvline(result.covering_radius, color=GREY, linewidth=0.8, linestyle=":")
    ax.set_xlim(0, right)
    ax.set_ylim(y - 1, -1)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.set_xlabel(_scale(result))
    handles = [Patch(facecolor=GREY, alpha=0.45, label="least length that counts"), _radius(result)]
    legend_below(ax, handles, 2, columnspacing=1.2)
    return ax


@look
def persistence_diagram(result: Topology | Persistence, ax: Axes | None = None) -> Axes:
    """Birth against death of every bar; full symbols count, and those that never die stand on the upper edge.

    Points in the band above the diagonal are shorter than the floor of holes: noise of the sampling. The dotted line is
    the covering radius of the landmarks: nothing smaller was looked at.
    """
    ax = new_axes(ax, height=3.0)
    frame(ax)
    right, betti = _reach(result), np.asarray(result.betti)
    floor = float(np.asarray(result.floor)[min(1, len(betti) - 1)])
    diagonal = np.array([0.0, right])
    ax.fill_between(diagonal, diagonal, diagonal + floor, color=PALE, linewidth=0, zorder=0)
    ax.plot(diagonal, diagonal, color=GREY, linewidth=0.8)
    ax.axhline(result.covering_radius, color=GREY, linewidth=0.8, linestyle=":")
    handles: list[Any] = []
    for degree in range(len(betti)):
        colour, shape = COLOURS[degree % 4], SHAPES[degree % 4]
        bars = result_bars(result, degree)
        for counted in (False, True):
            some = bars[bars[:, 2] == counted]
            face = colour if counted else "white"
            size = 5.0 if counted else 2.8
            ax.plot(
                some[:, 0],
                np.minimum(some[:, 1], right),
                shape,
                color=colour,
                mfc=face,
                mew=0.7,
                ms=size,
                clip_on=False,
            )
        handles.append(
            Line2D([], [], marker=shape, color=colour, lw=0, ms=4, label=f"{_name(degree)}: {betti[degree]}")
        )
    ax.set_xlim(0, right)
    ax.set_ylim(0, right)
    ax.set_box_aspect(1)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    ax.set_xlabel(f"birth at {_scale(result)}")
    ax.set_ylabel("death")
    handles += [Patch(facecolor=PALE, label="too short to count"), _radius(result)]
    # below the diagonal there are no bars
    ax.legend(handles=handles, loc="lower right", fontsize=SMALL - 0.5, frameon=True, edgecolor="none", framealpha=0.9)
    return ax


def result_bars(result: Topology | Persistence, degree: int) -> Float[np.ndarray, "bar birth_death_counts"]:
    """Birth, death and whether it counts of the bars of one degree, the longest first."""
    of = np.asarray(result.bar_degree) == degree
    columns = (result.birth, result.death, result.significant)
    bars = np.stack([np.asarray(column, np.float64)[of] for column in columns], -1)
    return bars[np.argsort(bars[:, 0] - bars[:, 1], kind="stable")]


def _reach(result: Topology | Persistence) -> float:
    """A little beyond the last finite end."""
    ends = np.asarray(result.death, np.float64)
    return 1.1 * max(float(ends[np.isfinite(ends)].max(initial=0.0)), float(np.max(result.floor)), 1e-12)


def _scale(result: Topology | Persistence) -> str:
    if not isinstance(result, Topology):
        return "distance"
    names = {"geodesic": "geodesic distance", "normalised": "geodesic distance, lines of 2π", "euclidean": "distance"}
    return names[result.distances] + ("" if result.distances == "normalised" else " (unit of the space)")


def _name(degree: int) -> str:
    return DEGREES[degree] if degree < len(DEGREES) else f"degree {degree}"


def _radius(result: Topology | Persistence) -> Line2D:
    label = f"covering radius {result.covering_radius:.2g}"
    return Line2D([], [], color=GREY, linewidth=0.8, linestyle=":", label=label)
