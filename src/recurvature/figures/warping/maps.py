"""Warping over the manifold: heat maps, curves where it has one coordinate, and ellipses."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import AsinhNorm, Colormap, LogNorm, Normalize
from matplotlib.figure import FigureBase
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from recurvature._errors import InputError
from recurvature.figures.style import (
    BALANCE,
    COLUMN,
    FULL,
    GREY,
    MAGNITUDE,
    PALE,
    SIGNED,
    add_bar,
    coordinate_axis,
    dress,
    edges,
    frame,
    log_number,
    log_ticks,
    log_y,
    look,
    nearest,
    new_axes,
    new_figure,
    span,
    time_colours,
    time_label,
    with_units,
    words,
)
from recurvature.figures.warping.quantities import Mapped, Series, clock, flagged, reasons, series_of, space_units
from recurvature.lenses.warping import AbstractMetric

HATCH = "//////"


@look
def metric_maps(
    metric: AbstractMetric,
    figure: FigureBase | None = None,
    *,
    times: Sequence[float] | None = None,
    quantity: str = "stretch",
    relative: bool = False,
) -> list[Axes]:
    """A quantity over the manifold at the samples nearest to `times`, all on one colour scale (a row to each series).

    One coordinate: a curve to each time. Two: a heat map to each time. `quantity` is as in `metric_over_time`.
    `relative` divides by the mean over the points of each time (a log-volume has it subtracted), so that the pattern
    shows and not the size. Cells where the metric may not be used are hatched; without a value they are grey.

    Raises `InputError` on a metric without a grid, or of three or more coordinates.
    """
    check_grid(metric, "metric_maps", (1, 2))
    series = series_of(metric, quantity)
    if relative:
        series = [_relative(one) for one in series]
    chosen = nearest(np.asarray(metric.time), times)
    if len(metric.grid) == 1:
        return _curves(metric, figure, series, chosen)
    return draw_maps(metric, figure, series, chosen)


def draw_maps(result: Mapped, figure: FigureBase | None, series: list[Series], chosen: list[int]) -> list[Axes]:
    """Heat maps: a row to each series, all of a row on one scale, and a column to each chosen sample."""
    rows, columns = len(series), len(chosen)
    width = min(FULL, 1.45 * columns + 1.2)
    height = (width - 1.5) / columns * rows + (1.2 if reasons(result, chosen) else 0.9)
    figure = new_figure(figure, width=width, height=height)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for index, ax in zip(chosen, grid[0], strict=True):
        ax.set_title(time_label(float(result.time[index]), clock(result)))
    for one, row in zip(series, grid, strict=True):
        scale = colour_scale(one, chosen)
        for index, ax in zip(chosen, row, strict=True):
            mesh = draw_map(ax, result, one, index, scale)
        if scale is not None:
            colour_bar(mesh, list(row), one, scale)
    for ax in grid.flat:
        ax.label_outer()
    _explain_hatch(figure, result, chosen)
    return list(grid.flat)


def check_grid(result: Mapped, name: str, dimensions: tuple[int, ...]) -> None:
    """Raise unless the points of a metric or curvature form a grid of one of these dimensions."""
    kind = "metric" if isinstance(result, AbstractMetric) else "curvature"
    if not result.grid:
        raise InputError(f"`{kind}` has no grid: compute it with `points` as counts, not as rows of coordinates.")
    if len(result.grid) not in dimensions:
        allowed = " or ".join(map(str, dimensions))
        instead = "metric_over_time, or a metric" if kind == "metric" else "a curvature"
        raise InputError(
            f"`{name}` draws manifolds of {allowed} coordinate(s); `{kind}` has {len(result.grid)}. "
            f"Use {instead} over a slice."
        )


def axes_of(result: Mapped) -> list[Float[np.ndarray, "_"]]:
    """The values of each coordinate along its axis of the grid."""
    theta = np.asarray(result.theta, np.float64).reshape(*result.grid, -1)
    first = lambda i: tuple(slice(None) if j == i else 0 for j in range(len(result.grid)))  # noqa: E731
    return [theta[first(i)][:, i] for i in range(len(result.grid))]


def _relative(one: Series) -> Series:
    known = np.isfinite(one.values)
    count = np.maximum(known.sum(-1, keepdims=True), 1)
    mean = np.where(known, one.values, 0).sum(-1, keepdims=True) / count
    if one.scale == "linear":
        return one._replace(values=one.values - mean, symbol=f"{one.symbol} − mean")
    with np.errstate(divide="ignore", invalid="ignore"):
        return one._replace(values=one.values / mean, units="", symbol=f"{one.symbol} / mean", scale="balance")


Scale = tuple[Normalize, Colormap]


def colour_scale(one: Series, chosen: list[int]) -> Scale | None:
    """Norm and colours for the values at some samples; None where there are none to show."""
    ends = span(one.values[chosen], positive=one.scale != "linear")
    if ends is None:
        return None
    low, high = ends
    if one.scale == "balance":
        far = max(high, 1 / low, 1.05)
        return LogNorm(1 / far, far), BALANCE
    if one.scale == "signed":
        return signed_norm(one.values[chosen], one.least), SIGNED
    if one.scale == "linear":
        room = max(0.0, 1e-3 * max(abs(high), 1.0) - (high - low)) / 2
        return Normalize(low - room, high + room), MAGNITUDE
    return (LogNorm(low, high) if high > 1.02 * low else LogNorm(low / 1.01, high * 1.01)), MAGNITUDE


def signed_norm(values: Float[np.ndarray, "..."], least: float = 0.0) -> Normalize:
    """Alike on both sides of 0 and at least to `least`: linear, or arcsinh where a few values dwarf the others."""
    size = np.abs(values[np.isfinite(values)])
    far = max(float(size.max(initial=0.0)), least) or 1.0
    middle = max(float(np.median(size)), least) if len(size) else far
    return Normalize(-far, far) if far < 8 * middle else AsinhNorm(middle, -far, far)


def draw_map(ax: Axes, result: Mapped, one: Series, index: int, scale: Scale | None) -> QuadMesh:
    """The heat map of one series at one sample, the first coordinate to the right and the second upwards."""
    dress(ax)
    frame(ax)
    first, second = axes_of(result)
    across, up = edges(first), edges(second)
    ax.set_facecolor(PALE)
    norm, colours = scale or (Normalize(), MAGNITUDE)
    cells = one.values[index].reshape(result.grid).T
    mesh = ax.pcolormesh(across, up, np.ma.masked_invalid(cells), norm=norm, cmap=colours, rasterized=True)
    flags = flagged(result)[index].reshape(result.grid).T | np.isnan(cells)
    _hatch(ax, flags, across, up)
    _chart(ax, result, [first, second])
    return mesh


def _chart(ax: Axes, result: Mapped, values: list[Float[np.ndarray, "_"]]) -> None:
    """The two coordinates of a manifold as the axes of a square."""
    ax.set_box_aspect(1)
    for i, (axis, along) in enumerate(zip((ax.xaxis, ax.yaxis), values, strict=True)):
        coordinate_axis(axis, along, result.coordinates[i], result.units[i], result.periodic[i])
    ax.set_xlim(*edges(values[0])[[0, -1]])
    ax.set_ylim(*edges(values[1])[[0, -1]])


def _hatch(
    ax: Axes, flags: Bool[np.ndarray, "up across"], across: Float[np.ndarray, " a"], up: Float[np.ndarray, " u"]
) -> None:
    """Hatch the flagged cells: one path, so that the hatching runs on across cells."""
    cells = [
        Path([(across[j], up[i]), (across[j + 1], up[i]), (across[j + 1], up[i + 1]), (across[j], up[i + 1]), (0, 0)])
        for i, j in np.argwhere(flags)
    ]
    if cells:
        corners = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
        path = Path(np.concatenate([cell.vertices for cell in cells]), corners * len(cells))
        patch = PathPatch(path, facecolor="none", edgecolor=GREY, linewidth=0.0, hatch=HATCH)
        patch.set_hatch_linewidth(0.5)
        ax.add_patch(patch)


def _explain_hatch(figure: FigureBase, result: Mapped, chosen: list[int]) -> None:
    found = reasons(result, chosen)
    if found:
        patch = Patch(facecolor=PALE, edgecolor=GREY, hatch=HATCH, linewidth=0.4, label=f"metric not usable: {found}")
        patch.set_hatch_linewidth(0.5)
        figure.legend(handles=[patch], loc="outside lower center")


def colour_bar(mesh: ScalarMappable, axes: list[Axes], one: Series, scale: Scale) -> None:
    """A colour bar with the units of its series."""
    bar, norm = add_bar(mesh, axes, f"{one.symbol}, {one.name}" + (f"\n({one.units})" if one.units else "")), scale[0]
    if isinstance(norm, LogNorm) and norm.vmin is not None and norm.vmax is not None:
        log_ticks(bar.yaxis, norm.vmin, norm.vmax)
    if isinstance(norm, AsinhNorm):
        signed_ticks(bar.yaxis, norm)


def signed_ticks(axis: Axis, norm: AsinhNorm) -> None:
    """Zero and powers of ten on both sides of it, at most three each."""
    low, high = math.log10(norm.linear_width), math.log10(float(norm.vmax or 1.0))
    exponents = range(math.ceil(low - 0.3), math.floor(high) + 1)
    sizes = [10.0**k for k in exponents][:: -(len(exponents) // 3 + 1)] or [10**high]
    axis.set_major_locator(FixedLocator([0.0, *sizes, *(-size for size in sizes)]))
    axis.set_major_formatter(
        FuncFormatter(lambda v, _: ("\N{MINUS SIGN}" if v < 0 else "") + (log_number(abs(v)) or "0"))
    )
    axis.set_minor_locator(NullLocator())


def _curves(metric: AbstractMetric, figure: FigureBase | None, series: list[Series], chosen: list[int]) -> list[Axes]:
    figure = new_figure(figure, width=COLUMN * len(series), height=2.4)
    panels: list[Axes] = figure.subplots(1, len(series), squeeze=False)[0].tolist()
    theta = axes_of(metric)[0]
    around = metric.periodic[0]
    for one, ax in zip(series, panels, strict=True):
        dress(ax)
        for colour, index in zip(time_colours(len(chosen)), chosen, strict=True):
            label = time_label(float(metric.time[index]), clock(metric))
            ax.plot(theta, one.values[index], color=colour, label=label)
            flags = flagged(metric)[index] & np.isfinite(one.values[index])
            ax.plot(theta[flags], one.values[index][flags], "o", color=colour, mfc="white", markersize=3)
        if one.scale != "linear":
            log_y(ax, one.values[chosen])
        coordinate_axis(ax.xaxis, theta, metric.coordinates[0], metric.units[0], around)
        ax.set_ylabel(with_units(one.symbol, one.units))
        ax.margins(x=0.02)
        found = reasons(metric, chosen)
        if found:
            ax.plot([], [], "o", color=GREY, mfc="white", markersize=3, label=f"metric not usable: {found}")
        ax.legend(loc="best")
    return panels


@look
def ellipses(
    metric: AbstractMetric, time: float | None = None, ax: Axes | None = None, *, power: float | None = None
) -> Axes:
    r"""What the network makes of equal small circles on the chart: ellipses with axes proportional to stretches.

    A circle that reaches to the neighbouring points of the grid becomes the ellipse $\{S^{1/2}v : |v| = 1\}$ with
    $S_{ij} = h_ih_jG_{ij}$ and $h$ the spacing of the grid; all are scaled alike, so that the largest fits its
    place. Where sizes differ more than sixfold, half-axes are drawn as the square root of stretches; `power` (1, 0.5)
    decides otherwise, and the title says which. The colour is the anisotropy $s_1/s_2$ against the reference metric of
    the result, pale where it may not be used; a cross where there is no finite metric. Of more than 13 points along a
    coordinate, every second, third, … is drawn. `time` defaults to the last.

    Raises `InputError` unless the points form a grid of two coordinates.
    """
    check_grid(metric, "ellipses", (2,))
    index = nearest(np.asarray(metric.time), [float(metric.time[-1] if time is None else time)])[0]
    ax = new_axes(ax, height=2.9)
    frame(ax)
    kept, values, steps = _thinned(metric)
    outlines, largest, power = _outlines(np.asarray(metric.metric, np.float64)[index, kept], steps, power)
    centres, finite = np.asarray(metric.theta, np.float64)[kept], np.isfinite(outlines).all((-1, -2))
    colour = np.where(flagged(metric)[index], np.nan, metric.anisotropy[index])[kept][finite]
    ends = span(colour, positive=True)
    norm = LogNorm(1.0, max(ends[1], 1.05) if ends else 2.0)
    polygons = PolyCollection(list(centres[finite][:, None] + outlines[finite]), edgecolor="face", linewidth=0.5)
    polygons.set(array=np.ma.masked_invalid(colour), cmap=MAGNITUDE.with_extremes(bad="#B8B8B8"), norm=norm)
    ax.add_collection(polygons)
    ax.plot(*centres[~finite].T, "x", color=GREY, markersize=3, markeredgewidth=0.6)
    _chart(ax, metric, values)
    shown = "half-axes ∝ stretch" if power == 1 else f"half-axes ∝ stretch$^{{{power:g}}}$"
    unit = f"{space_units(metric)} / grid step"
    ax.set_title(f"{time_label(float(metric.time[index]), clock(metric))}: {shown}\nlongest {largest:.3g} {unit}")
    if ends:
        one = Series("anisotropy", "$s_1/s_2$", f"relative to {words(metric.reference)}", colour[None], "", "log")
        colour_bar(polygons, [ax], one, (norm, MAGNITUDE))
    return ax


def _thinned(
    metric: AbstractMetric,
) -> tuple[Int[np.ndarray, " kept"], list[Float[np.ndarray, "_"]], Float[np.ndarray, "2"]]:
    """Points of at most 13 along each coordinate, all values along both, and the spacing of the points kept."""
    values = axes_of(metric)
    strides = [-(-count // 13) for count in metric.grid]
    index = np.arange(len(metric.theta)).reshape(metric.grid)[:: strides[0], :: strides[1]].ravel()
    spacing = np.array([stride * np.diff(edges(v)).mean() for stride, v in zip(strides, values, strict=True)])
    return index, values, spacing


def _outlines(
    metric: Float[np.ndarray, "point 2 2"], spacing: Float[np.ndarray, "2"], power: float | None
) -> tuple[Float[np.ndarray, "point vertex 2"], float, float]:
    """Outlines around 0 that fit their place, what the longest half-axis stands for, and the power of stretches."""
    finite = np.isfinite(metric).all((-1, -2))
    steps = np.where(finite[:, None, None], metric * spacing[:, None] * spacing, 0.0)
    values, vectors = np.linalg.eigh(steps)
    lengths = np.sqrt(np.clip(values, 0, None))
    largest = float(lengths.max(initial=0.0))
    if power is None:
        power = 1.0 if not finite.any() or largest <= 6 * np.median(lengths[finite].max(-1)) else 0.5
    drawn = (lengths / (largest or 1.0)) ** power
    root = (vectors * drawn[:, None, :]) @ np.swapaxes(vectors, -1, -2)
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    outlines = np.stack([np.cos(angle), np.sin(angle)], -1) @ root * (0.47 * spacing)
    return np.where(finite[:, None, None], outlines, np.nan), largest, power
