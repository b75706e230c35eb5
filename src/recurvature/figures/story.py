"""One figure that tells the story of a warped representation."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D

from recurvature.figures.style import SIZE, coordinate_colour, look, new_figure, time_label, words
from recurvature.figures.warping.curves import profile as draw_profile
from recurvature.figures.warping.curves import ratio_over_time
from recurvature.figures.warping.maps import check_grid, colour_bar, colour_scale, draw_map
from recurvature.figures.warping.quantities import series_of
from recurvature.figures.warping.sheets import draw_sheet, fit_limits, output_bar, output_norm, padded
from recurvature.lenses.warping import AbstractMetric, Profile, Ratio, Sheet


@look
def overview(
    metric: AbstractMetric, ratio: Ratio, profile: Profile, sheet: Sheet, figure: FigureBase | None = None
) -> dict[str, Axes]:
    """Four panels, for a manifold of two coordinates: its warped grid early and late, stretch, ratio and profile.

    The map shows the stretch along the coordinate of `profile` at the last time. Axes by name: `early`, `late`, `map`,
    `ratio`, `profile`. Raises `InputError` on a metric without a grid of two coordinates.
    """
    check_grid(metric, "overview", (2,))
    halves: Any = new_figure(figure, width=7.2, height=4.4).subfigures(2, 1, height_ratios=(1.05, 1))
    top, bottom = halves
    axes = dict(zip(("early", "late", "map"), top.subplots(1, 3), strict=True))
    axes |= zip(("ratio", "profile"), bottom.subplots(1, 2), strict=True)
    _sheets(top, axes["early"], axes["late"], sheet)
    which = metric.coordinates.index(profile.coordinate)
    one, last = series_of(metric, "stretch")[which], len(metric.time) - 1
    scale = colour_scale(one, [last])
    mesh = draw_map(axes["map"], metric, one, last, scale)
    axes["map"].set_title(time_label(float(metric.time[last])))
    if scale is not None:
        colour_bar(mesh, [axes["map"]], one, scale)
    ratio_over_time(ratio, axes["ratio"])
    draw_profile(profile, axes["profile"])
    for letter, name in zip("abcd", ("early", "map", "ratio", "profile"), strict=True):
        axes[name].set_title(letter, loc="left", fontweight="bold", fontsize=SIZE + 2)
    return axes


def _sheets(figure: FigureBase, early: Axes, late: Axes, sheet: Sheet) -> None:
    position, outputs = padded(sheet, 2), np.asarray(sheet.outputs, np.float64)[..., 0]
    last = len(sheet.time) - 1
    norm = output_norm(outputs[[0, last]])
    for ax, index in ((early, 0), (late, last)):
        draw_sheet(ax, sheet, position[index], outputs[index], norm)
        fit_limits(ax, position[index : index + 1])
        ax.set_title(time_label(float(sheet.time[index])))
    output_bar([late], norm, 0, sheet.outputs.shape[-1])
    handles = [
        Line2D([], [], color=coordinate_colour(i), linewidth=1.2, label=f"along {words(name)}")
        for i, name in enumerate(sheet.coordinates)
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=len(handles))
