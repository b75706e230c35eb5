"""What lenses agree on: two geometries of one function, and how exactly every identity holds."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D

from recurvature._errors import InputError, check_index
from recurvature.figures.style import (
    BLUE,
    FULL,
    GREEN,
    GREY,
    INK,
    PALE,
    PURPLE,
    VERMILLION,
    coordinate_colour,
    dress,
    frame,
    log_x,
    log_y,
    look,
    new_axes,
    new_figure,
    time_axis,
    words,
)
from recurvature.figures.warping.sheets import fit_limits, grid_lines
from recurvature.identities import STATUS, IdentityCheck, TwoGeometries

MEMBERS = (GREEN, PURPLE)
"""Not the colours of the coordinates, which stand beside them."""


@look
def one_function_two_geometries(
    pair: TwoGeometries, figure: FigureBase | None = None, *, output: int = 0
) -> list[Axes]:
    """Outputs of two networks, the sheets on which they hold the same inputs, and how their metrics compare.

    Left: output number `output` at every point, of the first network as broad lines and of the second on top of them.
    Middle: where the states are at the end, in two principal components of each and on one scale. Right: the ratios of
    the two metrics over all directions and points, between their bounds where there are any.

    Raises `InputError` on points that form no grid, or an output that the networks have not.
    """
    if not pair.grid:
        raise InputError("`pair` has no grid: compute it with `points` as counts, not as rows of coordinates.")
    outputs = np.asarray(pair.outputs)
    check_index("output", output, outputs.shape[-1])
    figure = new_figure(figure, width=FULL, height=2.3)
    panels = list(figure.subplots(1, 4, width_ratios=(1.15, 1, 1, 1.15)))
    for ax in panels:
        dress(ax)
    _outputs(panels[0], pair, outputs[..., output])
    position = np.asarray(pair.position, np.float64)[..., :2]
    position = np.pad(position, ((0, 0), (0, 0), (0, 2 - position.shape[-1])))
    for i, ax in enumerate(panels[1:3]):
        _sheet(ax, pair, position, i)
    _ratios(panels[3], pair)
    lines = [
        Line2D([], [], color=coordinate_colour(i), linewidth=1.2, label=f"along {words(name)}")
        for i, name in enumerate(pair.coordinates)
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines))
    return panels


def _outputs(ax: Axes, pair: TwoGeometries, values: Float[np.ndarray, "member time point"]) -> None:
    time = np.asarray(pair.time)
    ax.plot(time, values[0], color=MEMBERS[0], linewidth=2.6, alpha=0.35)
    ax.plot(time, values[1], color=MEMBERS[1], linewidth=0.7, linestyle=(0, (3, 2)))
    time_axis(ax, time)
    ax.set_ylabel("output")
    ax.set_title("one function")
    ax.plot([], [], color=MEMBERS[0], linewidth=2.6, alpha=0.35, label=words(pair.members[0]))
    ax.plot([], [], color=MEMBERS[1], linewidth=0.7, linestyle=(0, (3, 2)), label=words(pair.members[1]))
    ax.margins(y=0.24)
    ax.legend(loc="upper left", borderaxespad=0.1)


def _sheet(ax: Axes, pair: TwoGeometries, position: Float[np.ndarray, "member point two"], member: int) -> None:
    for i, lines in enumerate(grid_lines(position[member], pair.grid, pair.periodic)):
        ax.add_collection(LineCollection(lines, colors=coordinate_colour(i), linewidths=0.8, alpha=0.85))
    ax.plot(*position[member].T, ".", color=INK, markersize=2)
    fit_limits(ax, position)
    frame(ax)
    variance = np.asarray(pair.variance)[member]
    for axis, k in ((ax.xaxis, 0), (ax.yaxis, 1)):
        axis.set_label_text(f"PC {k + 1} ({100 * variance[k]:.0f} %)" if k < len(variance) else f"PC {k + 1}")
    ax.set_title(words(pair.members[member]), color=MEMBERS[member])


def _ratios(ax: Axes, pair: TwoGeometries) -> None:
    time, ratio = np.asarray(pair.time), np.asarray(pair.ratio, np.float64)
    known = np.isfinite(ratio).any((1, 2))
    least, most = (reduce(ratio[known], axis=(1, 2)) for reduce in (np.nanmin, np.nanmax))
    ax.fill_between(time[known], least, most, color=GREY, alpha=0.25, linewidth=0)
    for edge in (least, most):
        ax.plot(time[known], edge, color=INK, linewidth=0.9)
    bounds = np.asarray(pair.bounds)
    if np.isfinite(bounds).all():
        for bound in bounds:
            ax.axhline(float(bound), color=GREY, linewidth=0.8, linestyle="--")
        ax.plot([], [], color=GREY, linewidth=0.8, linestyle="--", label="bounds")
        ax.legend(loc="center right")
    log_y(ax, least, most, bounds, least_decades=0.5)
    time_axis(ax, time)
    ax.set_ylabel("second metric / first")
    ax.set_title("two geometries")


@look
def identity_errors(check: IdentityCheck, ax: Axes | None = None) -> Axes:
    """How exactly every identity holds: its error, and up to where rounding allows it; grey is what was not tried."""
    names, status = check.names, np.asarray(check.status)
    ax = new_axes(ax, height=0.7 + 0.19 * len(names))
    error, tolerance = np.asarray(check.error, np.float64), np.asarray(check.tolerance, np.float64)
    # an error of 0, and a tolerance of 0 where counts are compared, are drawn at the rounding of a number
    floor = float(np.finfo(np.float64).eps)
    drawn = [floor / 2]
    for row, code in enumerate(status):
        verdict = STATUS[int(code)]
        if verdict == "not_applicable":
            ax.text(floor, row, "not one of this network", color=GREY, va="center", fontsize=6)
            continue
        if not np.isfinite(error[row]):
            ax.text(floor, row, verdict.replace("_", " "), color=VERMILLION, va="center", fontsize=6)
            continue
        ends = max(error[row], floor), max(tolerance[row], floor)
        ax.plot([floor / 2, ends[1]], [row, row], color=PALE, linewidth=5, solid_capstyle="butt")
        ax.plot(ends[0], row, "o", color=BLUE if verdict == "holds" else VERMILLION, markersize=4)
        drawn += ends
    ax.set_yticks(
        range(len(names)),
        [f"{words(name)} ({equation})" for name, equation in zip(names, check.equations, strict=True)],
    )
    ax.set_ylim(len(names) - 0.4, -0.6)
    log_x(ax, np.array(drawn))
    ax.set_xlabel("relative difference (bars: allowed)")
    return ax
