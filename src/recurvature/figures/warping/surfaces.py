"""The manifold in space through time: surfaces in three principal components, coloured by what the lens measures."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter
from mpl_toolkits.mplot3d.art3d import Poly3DCollection

from recurvature._errors import InputError, check_index
from recurvature.figures.style import FULL, GREY, SMALL, look, nearest, new_figure, time_label
from recurvature.figures.warping.maps import Scale, colour_bar, colour_scale
from recurvature.figures.warping.quantities import Mapped, Series, curvature_series, reasons, series_of, space_units
from recurvature.figures.warping.sheets import component_label, dress_solid, fit_limits, padded
from recurvature.lenses.warping import Curvature, Sheet

MASKED = "#B8B8B8"


@look
def surfaces(
    sheet: Sheet,
    result: Mapped,
    figure: FigureBase | None = None,
    *,
    quantity: str | None = None,
    coordinate: int = 0,
    times: Sequence[float] | None = None,
    shared: bool = False,
) -> list[Axes]:
    """The state manifold as a surface in three principal components, a panel to each time, coloured by a result.

    `result` is a metric or a curvature at the points and times of `sheet` (of other times of its own, none is drawn).
    `quantity` is as in `metric_maps` or `curvature_maps`, by default `stretch` (along `coordinate`) or `gaussian`. A
    cell has the mean of its four corners, and is grey where one of them is masked. `shared` gives all times the same
    limits, so that growth shows; else each fills its panel. Titles give the length of the edge of the cube.

    Raises `InputError` unless both have the same grid of two coordinates, and `result` the times of `sheet`.
    """
    if len(sheet.grid) != 2 or sheet.grid != result.grid:
        raise InputError(f"`sheet` and `result` must share a grid of two coordinates; got {sheet.grid}, {result.grid}.")
    series = _series(result, quantity, coordinate)
    time = np.asarray(sheet.time, np.float64)
    chosen = list(range(len(time))) if times is None else nearest(time, times)
    at = _same_times(time[chosen], np.asarray(result.time, np.float64))
    scale = colour_scale(series, at)
    columns = min(len(chosen), 4)
    rows = -(-len(chosen) // columns)
    side = min(2.4, (FULL - 0.8) / columns)
    figure = new_figure(figure, width=min(FULL, side * columns + 0.8), height=(side + 0.3) * rows + 0.25)
    position, panels = padded(sheet, 3), []
    for i, (index, sample) in enumerate(zip(chosen, at, strict=True)):
        ax: Any = figure.add_subplot(rows, columns, i + 1, projection="3d")
        mesh = _surface(ax, sheet, position[index], series.values[sample], scale)
        _dress(ax, sheet, position[chosen] if shared else position[index : index + 1])
        edge = f"{np.ptp(ax.get_xlim()):.2g} {space_units(result)}"
        ax.set_title(f"{time_label(float(time[index]))}, edge {edge}", pad=2, fontsize=SMALL)
        panels.append(ax)
    if scale is not None:
        colour_bar(mesh, panels, series, scale)
    why = reasons(result, at)
    if why:
        patch = Patch(facecolor=MASKED, edgecolor=GREY, linewidth=0.4, label=f"metric not usable: {why}")
        figure.legend(handles=[patch], loc="outside lower center")
    return panels


def _series(result: Mapped, quantity: str | None, coordinate: int) -> Series:
    if isinstance(result, Curvature):
        return curvature_series(result, quantity or "gaussian")
    found = series_of(result, quantity or "stretch")
    check_index("coordinate", coordinate, len(found))
    return found[coordinate]


def _dress(ax: Any, sheet: Sheet, position: Float[np.ndarray, "time point 3"]) -> None:
    """A cube around the positions: its edge stands in the title, so that no ticks crowd around it."""
    ax.set_xlabel(component_label(sheet, 0))
    ax.set_ylabel(component_label(sheet, 1))
    dress_solid(ax, component_label(sheet, 2))
    fit_limits(ax, position)
    ax.set_box_aspect((1, 1, 1), zoom=0.92)
    ax.view_init(elev=32, azim=-58)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.set_major_formatter(NullFormatter())
        axis.labelpad = -14


def _same_times(wanted: Float[np.ndarray, " panel"], known: Float[np.ndarray, " time"]) -> list[int]:
    at = [int(np.abs(known - time).argmin()) for time in wanted]
    if not np.allclose(known[at], wanted, rtol=1e-4, atol=1e-6):
        missing = ", ".join(f"{t:g}" for t, k in zip(wanted, known[at], strict=True) if not np.isclose(t, k, rtol=1e-4))
        raise InputError(f"`result` has no sample at t = {missing}: compute it at the times of `sheet`.")
    return at


def _surface(
    ax: Any,
    sheet: Sheet,
    position: Float[np.ndarray, "point 3"],
    values: Float[np.ndarray, " point"],
    scale: Scale | None,
) -> Poly3DCollection:
    """Quadrilaterals between neighbouring points, around the ends of periodic coordinates as well."""
    first, second = sheet.grid
    place = np.arange(first * second).reshape(sheet.grid)
    for axis, (around, count) in enumerate(zip(sheet.periodic, sheet.grid, strict=True)):
        if around and count > 2:
            place = np.concatenate([place, place.take([0], axis)], axis)
    corners = np.stack([place[:-1, :-1], place[1:, :-1], place[1:, 1:], place[:-1, 1:]], -1).reshape(-1, 4)
    corners = corners[np.isfinite(position[corners]).all((1, 2))]
    mesh = Poly3DCollection(position[corners], edgecolor=(0, 0, 0, 0.3), linewidth=0.15)
    if scale is not None:
        norm, colours = scale
        mesh.set(array=np.ma.masked_invalid(values[corners].mean(-1)), norm=norm)
        mesh.set_cmap(colours.with_extremes(bad=MASKED))
    else:
        mesh.set_facecolor(MASKED)
    ax.add_collection3d(mesh)
    return mesh
