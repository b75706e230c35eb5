"""Curvature over the manifold, what becomes of it as corners sharpen, and its total on closed surfaces."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from recurvature._errors import InputError
from recurvature.figures.style import (
    BLUE,
    GREY,
    INK,
    SMALL,
    VERMILLION,
    log_ticks,
    log_y,
    look,
    nearest,
    new_axes,
    words,
)
from recurvature.figures.warping.maps import check_grid, draw_maps
from recurvature.figures.warping.quantities import OK, PIECEWISE, curvature_series, squared
from recurvature.lenses.warping import Curvature, GaussBonnet, SmoothingSweep


@look
def curvature_maps(
    curvature: Curvature,
    figure: FigureBase | None = None,
    *,
    times: Sequence[float] | None = None,
    quantity: str = "gaussian",
) -> list[Axes]:
    """Curvature over a manifold of two coordinates at the samples nearest to `times`, all on one colour scale.

    `quantity` is `gaussian`, the sign of which colours tell, or `mean`. The scale of K is alike on both sides of 0. It
    is arcsinh where a few values dwarf the others, and reaches at least ten times the rounding error of K: what is flat
    looks flat. Cells where the metric is singular are hatched; of a network with kinks the title says that only its
    smooth pieces are shown. Raises `InputError` unless the points form a grid of two coordinates.
    """
    check_grid(curvature, "curvature_maps", (2,))
    series = curvature_series(curvature, quantity)
    few = times is None and len(curvature.time) <= 4
    chosen = list(range(len(curvature.time))) if few else nearest(np.asarray(curvature.time), times)
    axes = draw_maps(curvature, figure, [series], chosen)
    for index, ax in zip(chosen, axes, strict=True):
        if (np.asarray(curvature.status)[index] == PIECEWISE).any():
            ax.set_title(f"{ax.get_title()}\nsmooth pieces only")
    return axes


@look
def smoothing(sweep: SmoothingSweep, ax: Axes | None = None, *, time: float | None = None) -> Axes:
    """The size of scalar curvature against the sharpness of smoothed corners, at one time (the last by default).

    Median and largest of its absolute value over points of full rank; dashed, those of the smooth pieces of the network
    with corners. A largest value that goes on growing with the sharpness is the curvature of a kink.
    """
    ax = new_axes(ax)
    index = nearest(np.asarray(sweep.time), [float(sweep.time[-1] if time is None else time)])[0]
    usable = np.isin(np.asarray(sweep.status)[:, index], (OK, PIECEWISE))
    size = np.abs(np.where(usable, np.asarray(sweep.scalar, np.float64)[:, index], np.nan))
    pieces = np.abs(np.asarray(sweep.pieces, np.float64)[index])
    drawn = []
    for name, pick, colour in (("largest", np.max, VERMILLION), ("median", np.median, BLUE)):
        values = np.array([pick(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in size])
        flat = float(pick(pieces[np.isfinite(pieces)])) if np.isfinite(pieces).any() else math.nan
        ax.plot(sweep.sharpness, values, "o-", color=colour, markersize=3.5, label=f"{name}, smoothed")
        ax.axhline(flat, color=colour, linestyle="--", linewidth=0.9, label=f"{name}, pieces of ReLU")
        drawn += [values, np.array([flat])]
    ax.set_xscale("log")
    log_ticks(ax.xaxis, float(np.min(sweep.sharpness)), float(np.max(sweep.sharpness)) * 1.0001)
    log_y(ax, *drawn, headroom=0.42)
    ax.set_xlabel("sharpness β of corners (1 / unit of their input)")
    unit = {"state": "state", "rates": "rate", "readout": "output"}.get(sweep.space, sweep.space)
    ax.set_ylabel(f"scalar curvature |S| (1 / {squared(unit)})")
    ax.legend(loc="upper left", ncols=2, columnspacing=1.0, fontsize=SMALL - 0.5)
    return ax


@look
def total_curvature(results: GaussBonnet | Mapping[str, GaussBonnet], ax: Axes | None = None) -> Axes:
    r"""$\int K\,dA$ of closed surfaces, with the error of the quadrature, beside the $2\pi\chi$ of Gauss and Bonnet.

    Open dots are $\int|K|\,dA$. What a piecewise map lacks is in its kinks, and its name says that it has some.
    """
    named = {"surface": results} if isinstance(results, GaussBonnet) else dict(results)
    if not named:
        raise InputError("`results` must hold at least one result.")
    ax = new_axes(ax, height=0.95 + 0.36 * len(named))
    for row, one in enumerate(named.values()):
        expected = float(one.euler_characteristic)
        ax.plot([expected] * 2, [row - 0.32, row + 0.32], color=GREY, linewidth=2.5, solid_capstyle="butt")
        if one.masked:
            ax.annotate(
                f"{one.masked} points masked: no total",
                (expected, row),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=SMALL - 0.5,
                color=GREY,
            )
            continue
        total, error = one.total_curvature / (2 * math.pi), one.quadrature_error / (2 * math.pi)
        ax.errorbar(total, row, xerr=error, fmt="o", color=BLUE, markersize=4, capsize=2, elinewidth=0.8)
        ax.plot(one.absolute_curvature / (2 * math.pi), row, "o", color=INK, mfc="white", markersize=4)
    names = [words(name) + (" (kinks)" if one.kinks else "") for name, one in named.items()]
    ax.set_yticks(range(len(named)), names)
    ax.set_ylim(len(named) - 0.5, -0.5)
    ax.margins(x=0.12)
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.set_xlabel("total curvature (units of 2π)")
    figure = ax.get_figure()
    if figure is not None:
        figure.legend(handles=_explanation(), loc="outside upper center", ncols=3, columnspacing=1.2)
    return ax


def _explanation() -> list[Line2D]:
    return [
        Line2D([], [], color=GREY, linewidth=2.5, label=r"$2\pi\chi$"),
        Line2D([], [], marker="o", linewidth=0, color=BLUE, markersize=4, label=r"$\int K\,dA$"),
        Line2D([], [], marker="o", linewidth=0, color=INK, mfc="white", markersize=4, label=r"$\int |K|\,dA$"),
    ]
