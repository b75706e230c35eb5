"""Whether nonlinear units may be taken for Gaussian ones: the tests of the closure through training."""

from typing import Any

import numpy as np
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from recurvature._errors import check_shape
from recurvature.figures.style import (
    BLUE,
    FULL,
    GREEN,
    GREY,
    INK,
    PURPLE,
    VERMILLION,
    coordinate_colour,
    dress,
    log_y,
    look,
    new_figure,
)
from recurvature.lenses.overlaps import Closure


@look
def closure_tests(
    closure: Closure, figure: FigureBase | None = None, *, steps: Int[Any, " step"] | None = None
) -> list[Axes]:
    """Kurtosis of the weights, defects of the effective network, and the energy ratio; limits of trust dotted.

    `steps` are the steps of training at which the networks of `closure` were taken; by default records are numbered.
    """
    count = len(np.asarray(closure.status))
    if steps is not None:
        check_shape("steps", steps, (count,))
    at = np.arange(count) if steps is None else np.asarray(steps)
    figure = new_figure(figure, width=FULL, height=2.5)
    panels = figure.subplots(1, 3)
    for ax in panels:
        dress(ax)
        ax.locator_params(axis="x", integer=True)
        ax.set_xlabel("record" if steps is None else "step of training")
    _kurtoses(panels[0], closure, at)
    _defects(panels[1], closure, at)
    ratio = np.asarray(closure.energy_ratio, np.float64)
    panels[2].axhline(1.0, color=GREY, linewidth=0.8, linestyle=":")
    panels[2].plot(at, ratio, ".-", color=INK)
    log_y(panels[2], ratio, np.ones(1))
    panels[2].set_ylabel("energy ratio, units / closure")
    return list(panels)


def _kurtoses(ax: Axes, closure: Closure, at: np.ndarray) -> None:
    for limit in (-closure.largest_kurtosis, closure.largest_kurtosis):
        ax.axhline(limit, color=GREY, linewidth=0.8, linestyle=":")
    for k, name in enumerate(closure.columns):
        ax.plot(at, np.asarray(closure.kurtosis)[:, k], ".-", color=coordinate_colour(k), linewidth=1.0, label=name)
    ax.plot(at, np.asarray(closure.row_kurtosis), ".-", color=INK, label="rows")
    ax.margins(y=0.15)
    ax.set_ylabel("excess kurtosis of weights")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.0)


def _defects(ax: Axes, closure: Closure, at: np.ndarray) -> None:
    rows = {
        "drive": (BLUE, closure.closure_defect),
        "gain": (GREEN, closure.gain_defect),
        "velocity": (VERMILLION, closure.velocity_defect),
        "outside": (PURPLE, closure.outside),
    }
    limit = np.maximum(closure.largest_defect, 3 * np.asarray(closure.closure_error))
    ax.plot(at, limit, color=GREY, linewidth=0.8, linestyle=":")
    shown = []
    for label, (colour, values) in rows.items():
        # what vanishes has no place on a logarithmic axis
        shown.append(np.where(np.asarray(values) > 0, values, np.nan))
        ax.plot(at, shown[-1], ".-", color=colour, linewidth=1.0, label=label)
    log_y(ax, *shown, limit)
    ax.set_ylabel("error of the closure (share)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1.0)
