"""One network in one figure, a panel to each lens."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D

from recurvature.dynamics import Continuation, FixedPoints, FlowField
from recurvature.figures.dynamics.branches import across, bifurcations
from recurvature.figures.dynamics.flow import flow
from recurvature.figures.overlaps.courses import farthest
from recurvature.figures.style import (
    BLUE,
    GREY,
    SIZE,
    VERMILLION,
    coordinate_colour,
    dress,
    look,
    new_figure,
    time_label,
    words,
)
from recurvature.figures.warping.curves import profile as draw_profile
from recurvature.figures.warping.sheets import draw_sheet, fit_limits, output_norm, padded
from recurvature.lenses.overlaps import UnitLearning, to_pairs
from recurvature.lenses.superposition import FeatureDirections
from recurvature.lenses.warping import Profile, Sheet

TITLES = {
    "sheet": "its inputs, in state space",
    "profile": "stretch at the decision",
    "plane": "two latent variables",
    "branches": "what it settles into",
    "memory": "traces of past inputs",
    "overlaps": "overlaps through learning",
}
"""What each panel is about."""


@look
def every_lens(
    sheet: Sheet,
    profile: Profile,
    field: FlowField,
    points: FixedPoints,
    at: Any,
    branches: Continuation,
    directions: FeatureDirections,
    course: UnitLearning,
    figure: FigureBase | None = None,
    *,
    inputs: Sequence[str],
    most: int = 6,
) -> dict[str, Axes]:
    """Six panels on one network: how it warps its inputs, what carries and holds it, what it remembers, how it learned.

    `at` holds the coordinates of the fixed `points` in the plane of `field`. Of overlaps, the `most` that the loss sees
    and that go farthest are drawn in blue, and in red as many that it does not see. `inputs` names the input channels.
    Axes by name: `sheet`, `profile`, `plane`, `branches`, `memory`, `overlaps`.
    """
    figure = new_figure(figure, width=7.2, height=4.6)
    axes = dict(zip(TITLES, figure.subplots(2, 3).flat, strict=True))
    _warped(axes["sheet"], sheet)
    times = np.asarray(profile.time, np.float64)
    draw_profile(profile, axes["profile"], times=[float(times[-1] * share) for share in (0.1, 0.3, 0.6, 1.0)])
    flow(field, axes["plane"], points=points, at=at, legend=False)
    bifurcations(branches, axes["branches"], along=across(points), label="state between rests")
    for legend in list(figure.legends):  # marks of points and branches: the panels are small, the report explains them
        legend.remove()
    _memory(axes["memory"], directions, inputs)
    _learning(axes["overlaps"], course, most)
    for letter, (name, title) in zip("abcdef", TITLES.items(), strict=True):
        axes[name].set_title(letter, loc="left", fontweight="bold", fontsize=SIZE + 2)
        axes[name].set_title(title, fontsize=SIZE)
    return axes


def _warped(ax: Axes, sheet: Sheet) -> None:
    position, outputs = padded(sheet, 2)[-1], np.asarray(sheet.outputs, np.float64)[-1, :, 0]
    draw_sheet(ax, sheet, position, outputs, output_norm(outputs))
    fit_limits(ax, position[None])
    names = [
        Line2D([], [], color=coordinate_colour(i), linewidth=1.2, label=f"along {words(name)}")
        for i, name in enumerate(sheet.coordinates)
    ]
    ax.legend(handles=names, loc="upper left", title=time_label(float(sheet.time[-1])))


def _memory(ax: Axes, directions: FeatureDirections, inputs: Sequence[str]) -> None:
    dress(ax)
    length = np.linalg.norm(np.asarray(directions.direction, np.float64), axis=1)
    age = np.asarray(directions.age, np.float64) * directions.dt
    for k, (name, row) in enumerate(zip(inputs, length.T, strict=True)):
        ax.plot(age, row, color=coordinate_colour(k), label=words(name))
    ax.set_xlabel("age (τ)")
    ax.set_ylabel("length of the trace")
    ax.set_xlim(0.0, float(age[-1]))
    ax.set_ylim(bottom=0.0)
    ax.legend(loc="best")


def _learning(ax: Axes, course: UnitLearning, most: int) -> None:
    dress(ax)
    seen = course.layout.visible("gaussian")
    pairs = to_pairs(np.asarray(course.matrix, np.float64), course.layout)
    for colour, chosen in ((BLUE, seen), (VERMILLION, ~seen)):
        ax.plot(np.asarray(course.count), pairs[:, farthest(course, chosen, most)], color=colour, linewidth=0.9)
    ax.axhline(0.0, color=GREY, linewidth=0.6, linestyle=":")
    ax.set_yscale("symlog", linthresh=1.0)
    ax.set_xlabel("step of training")
    ax.set_ylabel("overlap")
    ax.set_xlim(0.0, float(np.asarray(course.count)[-1]))
    handles = [Line2D([], [], color=BLUE, label="the loss sees"), Line2D([], [], color=VERMILLION, label="it does not")]
    ax.legend(handles=handles, loc="best")
