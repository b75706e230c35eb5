"""Fits to activity: how the one-step fit converges, and what each stage on the way to a low-rank network does."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from recurvature.figures.style import (
    BLUE,
    FULL,
    GREEN,
    GREY,
    INK,
    VERMILLION,
    dress,
    log_x,
    log_y,
    look,
    new_axes,
    new_figure,
)
from recurvature.training.cornn import OneStepReport
from recurvature.training.two_step import TwoStepReport


@look
def one_step_course(
    report: OneStepReport,
    ax: Axes | None = None,
    *,
    others: Mapping[str, Float[np.ndarray, " iteration"]] | None = None,
) -> Axes:
    """The excess cross-entropy of a step against passes over the data, the least-squares start being the first.

    `others` are courses of the same loss, by name: one value before each of their passes. What is no larger than the
    rounding of the loss is drawn at it.
    """
    ax = new_axes(ax)
    rounding = float(np.finfo(np.asarray(report.excess).dtype).eps)
    courses = {"convex fit": np.asarray(report.excess, float), **(others or {})}
    colours = (BLUE, VERMILLION, GREEN, GREY)
    for (name, course), colour in zip(courses.items(), colours, strict=False):
        values = np.maximum(np.asarray(course, float), rounding)
        passes = 1 + np.arange(len(values))
        ax.plot(passes, values, color=colour, linewidth=1.2, label=name)
        ax.plot(passes[-1], values[-1], "o", color=colour, markersize=3)
    log_y(ax, *(np.maximum(np.asarray(c, float), rounding) for c in courses.values()))
    log_x(ax, 1.0 + np.arange(max(2, *(len(c) for c in courses.values()))))
    ax.set_xlabel("passes over the data")
    ax.set_ylabel("excess cross-entropy\n(nats per step and unit)")
    if len(courses) > 1:
        ax.legend(loc="best")
    return ax


@look
def two_step_stages(report: TwoStepReport, figure: FigureBase | None = None) -> list[Axes]:
    """Left: full-rank weights cut to each rank, the chosen one marked. Right: every stage on trials of its own."""
    figure = new_figure(figure, width=FULL, height=2.4)
    cut, stages = figure.subplots(1, 2, sharey=True)
    for ax in (cut, stages):
        dress(ax)
    ranks = np.asarray(report.candidate)
    places = np.arange(len(report.stages))
    for ax, at, accuracy, r2 in (
        (cut, ranks, report.candidate_accuracy, report.candidate_r2),
        (stages, places, report.accuracy, report.state_r2),
    ):
        ax.plot(at, np.asarray(accuracy), "o-", color=BLUE, markersize=4, linewidth=1.0, label="accuracy")
        ax.plot(at, np.asarray(r2), "s--", color=VERMILLION, markersize=4, linewidth=1.0, label="$R^2$ of states")
    cut.axvline(report.rank, color=INK, linewidth=0.8, linestyle=":", zorder=0)
    cut.set_xlabel(f"rank of the cut (chosen: {report.rank})")
    cut.set_ylabel("accuracy, $R^2$")
    cut.xaxis.set_major_locator(MaxNLocator(integer=True))
    cut.set_xlim(min(ranks) - 0.5, max(ranks) + 0.5)
    stages.set_xticks(places, [name.replace(" ", "\n") for name in report.stages])
    stages.set_xlim(-0.4, len(places) - 0.6)
    low = min(
        float(np.min(v)) for v in (report.candidate_accuracy, report.candidate_r2, report.accuracy, report.state_r2)
    )
    cut.set_ylim(max(low, -0.5) - 0.06, 1.06)
    stages.legend(loc="lower right")
    return [cut, stages]
