"""Overlaps through training, theory beside networks; learning curves of equal functions; what descent conserves."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from recurvature._errors import InputError, check_count
from recurvature.figures.style import (
    COORDINATES,
    FULL,
    GREY,
    INK,
    SMALL,
    VERMILLION,
    coordinate_colour,
    dress,
    log_y,
    look,
    mark_phases,
    new_axes,
    new_figure,
    words,
)
from recurvature.lenses.overlaps import Curriculum, Invariants, Learning, Perturbation, UnitLearning, to_pairs
from recurvature.lenses.overlaps.layout import Regime

DASHED = (0, (2.5, 1.8))


@look
def overlap_courses(
    learning: Learning | UnitLearning | Curriculum,
    theory: Learning | Curriculum | None = None,
    figure: FigureBase | None = None,
    *,
    regime: Regime = "linear",
    most: int | None = None,
) -> list[Axes]:
    """Every overlap through training: those that the loss sees in one panel, those that it does not in another.

    `learning` is drawn in full lines, and `theory`, if it is given, dashed in black on top of them. `regime` says which
    overlaps are visible. Of more than `most` in a panel, those that go farthest are drawn. Phases of a curriculum are
    shaded. Raises `InputError` where the two are of other vectors.
    """
    if theory is not None and theory.columns != learning.columns:
        raise InputError(f"`theory` is of the vectors {theory.columns}, `learning` of {learning.columns}.")
    if most is not None:
        check_count(most=most)
    seen = learning.layout.visible(regime)
    figure = new_figure(figure, width=FULL, height=3.0 + 0.12 * (len(seen) > 12))
    panels = figure.subplots(1, 2, sharex=True)
    for ax, chosen, title in zip(panels, (seen, ~seen), ("visible to the loss", "invisible"), strict=True):
        dress(ax)
        _lines(ax, learning, theory, farthest(learning, chosen, most))
        ax.set_xlabel(_clock(learning)[1])
        ax.set_ylabel(f"overlap, {title}")
        if isinstance(learning, Curriculum):
            _mark(ax, learning)
    return list(panels)


def farthest(learning: Any, chosen: Bool[np.ndarray, " pair"], most: int | None) -> Bool[np.ndarray, " pair"]:
    """Of the overlaps `chosen`, the `most` with the widest range of values."""
    if most is None or chosen.sum() <= most:
        return chosen
    width = np.ptp(to_pairs(np.asarray(learning.matrix, np.float64), learning.layout), axis=0)
    order = np.argsort(-np.where(chosen, np.nan_to_num(width), -1.0), kind="stable")
    return np.isin(np.arange(len(chosen)), order[:most])


def _clock(learning: Any) -> tuple[Float[np.ndarray, " step"], str]:
    """Where along the horizontal axis records stand, and what the axis is called."""
    count = np.asarray(learning.count, np.float64)
    if count.any():
        return count, "step of training"
    return np.asarray(learning.time, np.float64), "rate × steps"


def _lines(ax: Axes, learning: Any, theory: Any, chosen: Bool[np.ndarray, " pair"]) -> None:
    layout, handles = learning.layout, []
    steps, pairs = _clock(learning)[0], to_pairs(np.asarray(learning.matrix, np.float64), layout)
    for k, index in enumerate(np.flatnonzero(chosen)):
        # beyond six lines the colours come again, thinner
        width = 1.6 if k < len(COORDINATES) else 0.9
        colour = coordinate_colour(k)
        handles += ax.plot(steps, pairs[:, index], color=colour, linewidth=width, label=layout.names[index])
    if theory is not None:
        said = to_pairs(np.asarray(theory.matrix, np.float64), layout)
        for index in np.flatnonzero(chosen):
            ax.plot(_clock(theory)[0], said[:, index], color=INK, linewidth=0.9, linestyle=DASHED)
        handles += ax.plot([], [], color=INK, linewidth=0.9, linestyle=DASHED, label="theory")
    ax.set_xlim(float(steps[0]), float(steps[-1]))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    columns = 5 if len(handles) == 5 or len(handles) > 8 else 4
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns, columnspacing=1.0)


def _mark(ax: Axes, course: Curriculum) -> None:
    """Shade the phases, and name those that are wide enough: the legend stands where names usually do."""
    count, phase = np.asarray(course.count), np.asarray(course.phase)
    spans = {}
    for index, name in enumerate(course.phases):
        start, stop = (float(x) for x in count[phase == index][[0, -1]])
        spans[f"{index} {name}"] = (start, stop)
        if stop - start > 0.02 * len(name) * count[-1]:
            ax.text(
                (start + stop) / 2,
                0.02,
                words(name),
                transform=ax.get_xaxis_transform(),
                ha="center",
                va="bottom",
                fontsize=SMALL,
                color=GREY,
            )
    mark_phases(ax, spans, named=False)


@look
def learning_apart(perturbed: Perturbation, ax: Axes | None = None) -> Axes:
    """Losses of networks that begin with the same function. They start at one point, and only there they must agree."""
    ax = new_axes(ax)
    count, loss = np.asarray(perturbed.count, np.float64), np.asarray(perturbed.loss, np.float64)
    for k, (name, row) in enumerate(zip(perturbed.members, loss, strict=True)):
        style = "-" if "gauge" not in name else DASHED
        ax.plot(count, row, color=coordinate_colour(k), linestyle=style, label=name)
    ax.plot(count[0], loss[0, 0], "o", color=INK, markersize=3.5)
    # what comes after the slowest has lost all but a hundredth is one flat line
    left = np.flatnonzero((loss > 0.01 * loss[0, 0]).any(0))
    ax.set_xlim(0.0, float(count[min(int(1.25 * (left[-1] if len(left) else 0)) + 1, len(count) - 1)]))
    ax.set_ylim(0.0, 1.05 * float(np.nanmax(loss)))
    ax.set_xlabel("step of training")
    ax.set_ylabel("loss")
    ax.legend(loc="best")
    return ax


@look
def invariant_drift(invariants: Invariants, ax: Axes | None = None) -> Axes:
    """How far each conserved quantity has moved since the start: eigenvalues of JS, and the charge."""
    ax, time = new_axes(ax), np.asarray(invariants.time, np.float64)
    spectrum = np.abs(np.asarray(invariants.spectrum) - np.asarray(invariants.spectrum)[:1])
    charge = np.abs(np.asarray(invariants.charge) - np.asarray(invariants.charge)[:1]).reshape(len(time), -1).max(1)
    # an eigenvalue that has moved by nothing has no place on a logarithmic axis
    shown = [np.where(row > 0, row, np.nan) for row in (*spectrum.T, charge)]
    for k, row in enumerate(shown[:-1]):
        ax.plot(time, row, color=GREY, linewidth=0.9, label="eigenvalues of JS" if k == 0 else None)
    ax.plot(time, shown[-1], color=VERMILLION, label="charge, u·u − v·v")
    ax.set_xlim(float(time[0]), float(time[-1]) or 1.0)
    log_y(ax, *shown, headroom=0.2)
    ax.set_xlabel("rate × steps")
    ax.set_ylabel("change since the start")
    ax.legend(loc="best")
    return ax
