"""The warped grid: the lines of the input manifold as they run through state space, in principal components."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from recurvature._errors import check_choice, check_index
from recurvature.figures.style import (
    FULL,
    GREY,
    SIGNED,
    SMALL,
    add_bar,
    coordinate_colour,
    dress,
    frame,
    look,
    nearest,
    new_figure,
    span,
    time_label,
    words,
)
from recurvature.lenses.warping import Sheet


@look
def warped_grid(
    sheet: Sheet,
    figure: FigureBase | None = None,
    *,
    times: Sequence[float] | None = None,
    components: int = 2,
    output: int = 0,
    shared: bool = True,
) -> list[Axes]:
    """The grid in `components` (2 or 3) principal components, a panel to each time of the result, in equal aspect.

    Lines along each coordinate have its colour and are closed where it is periodic; dots have the colour of the output
    number `output`. `shared` gives all times the same limits, so that growth shows; else each fills its panel.

    Raises `InputError` on other numbers of components, or an output that the network has not.
    """
    check_choice("components", components, (2, 3))
    outputs = np.asarray(sheet.outputs, np.float64)
    check_index("output", output, outputs.shape[-1])
    time = np.asarray(sheet.time)
    chosen = list(range(len(time))) if times is None else nearest(time, times)
    rows = 1 + (len(chosen) - 1) // (4 if components == 2 else 3)
    columns = -(-len(chosen) // rows)
    side = min(2.3, (FULL - 0.7) / columns)
    figure = new_figure(figure, width=side * columns + 0.8, height=(side + 0.25) * rows + 0.35)
    position, norm = padded(sheet, components), output_norm(outputs[chosen, :, output])
    panels = []
    for i, index in enumerate(chosen):
        projection = "3d" if components == 3 else "rectilinear"
        ax: Axes = figure.add_subplot(rows, columns, i + 1, projection=projection)
        draw_sheet(ax, sheet, position[index], outputs[index, :, output], norm)
        fit_limits(ax, position[chosen] if shared else position[index : index + 1])
        ax.set_title(time_label(float(time[index])))
        panels.append(ax)
    if shared and components == 2:
        for i, ax in enumerate(panels):
            ax.tick_params(labelleft=i % columns == 0, labelbottom=i + columns >= len(panels))
            ax.set_ylabel(ax.get_ylabel() if i % columns == 0 else "")
            ax.set_xlabel(ax.get_xlabel() if i + columns >= len(panels) else "")
    output_bar(panels, norm, output, outputs.shape[-1])
    explain_lines(figure, sheet)
    return panels


def padded(sheet: Sheet, components: int) -> Float[np.ndarray, "time point component"]:
    """The first components, zero where the result has fewer."""
    position = np.asarray(sheet.position, np.float64)[..., :components]
    return np.pad(position, ((0, 0), (0, 0), (0, components - position.shape[-1])))


def output_norm(values: Float[np.ndarray, "..."]) -> Normalize:
    """Colours of outputs: alike on both sides of 0."""
    ends = span(values) or (-1.0, 1.0)
    far = max(-ends[0], ends[1], 1e-12)
    return Normalize(-far, far)


def grid_lines(
    position: Float[np.ndarray, "point component"], grid: tuple[int, ...], periodic: tuple[bool, ...]
) -> list[list[Float[np.ndarray, "vertex component"]]]:
    """For every coordinate, the lines along it; closed where it is periodic."""
    cube = position.reshape(*grid, position.shape[-1])
    families = []
    for axis in range(len(grid)):
        lines = np.moveaxis(cube, axis, -2).reshape(-1, grid[axis], position.shape[-1])
        closed = np.concatenate([lines, lines[:, :1]], 1) if periodic[axis] and grid[axis] > 2 else lines
        families.append(list(closed))
    return families


def draw_sheet(
    ax: Axes,
    sheet: Sheet,
    position: Float[np.ndarray, "point component"],
    values: Float[np.ndarray, " point"],
    norm: Normalize,
) -> None:
    """Lines and dots of one time, with the share of variance on the axes."""
    dress(ax)
    solid = position.shape[-1] == 3
    for i, lines in enumerate(grid_lines(position, sheet.grid, sheet.periodic) if sheet.grid else []):
        style: Any = {"colors": coordinate_colour(i), "linewidths": 0.7, "alpha": 0.8}
        if solid:
            from mpl_toolkits.mplot3d.art3d import Line3DCollection

            ax.add_collection3d(Line3DCollection(lines, **style))  # type: ignore[attr-defined]
        else:
            ax.add_collection(LineCollection(lines, **style))
    dots: Any = {"s": 600 / (100 + len(position)), "linewidths": 0.15, "edgecolors": GREY, "zorder": 3}
    colours: Any = {"c": values, "cmap": SIGNED.with_extremes(bad="white"), "norm": norm, "plotnonfinite": True}
    draw: Any = ax.scatter
    draw(*position.T, **dots, **colours)
    names = [component_label(sheet, i) for i in range(position.shape[-1])]
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    if solid:
        dress_solid(ax, names[2])
    else:
        frame(ax)


def dress_solid(ax: Any, name: str) -> None:
    """Three axes with labels close by and a faint grid."""
    ax.set_zlabel(name)
    ax.tick_params(labelsize=SMALL - 1, pad=-3)
    for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
        axis.labelpad = -8
        axis.label.set_fontsize(SMALL)
        axis.pane.set_facecolor("#FAFAFA")
        axis._axinfo["grid"].update(color="#D8D8D8", linewidth=0.4)


def component_label(sheet: Sheet, i: int) -> str:
    """The name of an axis, with its share of variance."""
    variance = np.asarray(sheet.variance)
    return f"PC {i + 1} ({100 * variance[i]:.0f} %)" if i < len(variance) else f"PC {i + 1}"


def fit_limits(ax: Any, position: Float[np.ndarray, "time point component"]) -> None:
    """Equal aspect around all finite positions, as a square or cube."""
    flat = position.reshape(-1, position.shape[-1])
    flat = flat[np.isfinite(flat).all(-1)]
    low, high = (flat.min(0), flat.max(0)) if len(flat) else (-np.ones(flat.shape[1]), np.ones(flat.shape[1]))
    half = 0.55 * float((high - low).max()) or 1.0
    for axis, centre in zip("xyz", (low + high) / 2, strict=False):
        getattr(ax, f"set_{axis}lim")(centre - half, centre + half)
        getattr(ax, f"{axis}axis").set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    if position.shape[-1] == 3:
        ax.set_box_aspect((1, 1, 1), zoom=0.82)
    else:
        ax.set_aspect("equal", adjustable="box")


def output_bar(panels: list[Axes], norm: Normalize, output: int, count: int) -> None:
    """The colour bar of the output."""
    add_bar(ScalarMappable(norm, SIGNED), panels, "output" if count == 1 else f"output {output + 1}", fraction=0.05)


def explain_lines(figure: FigureBase, sheet: Sheet) -> None:
    """Which colour runs along which coordinate."""
    lines = [
        Line2D([], [], color=coordinate_colour(i), linewidth=1.2, label=f"along {words(name)}")
        for i, name in enumerate(sheet.coordinates)
    ]
    if sheet.grid:
        figure.legend(handles=lines, loc="outside lower center", ncols=len(lines))
