"""The flow in a plane: streamlines, nullclines, and the fixed points under the same input."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D

from recurvature._errors import InputError, check_shape
from recurvature.dynamics import FixedPoints, FlowField, FlowLine
from recurvature.figures.dynamics.marks import POINTS, handles, mark
from recurvature.figures.style import (
    BLUE,
    FULL,
    GREY,
    PALE,
    SMALL,
    VERMILLION,
    dress,
    frame,
    look,
    new_axes,
    new_figure,
)

DENSITY = 0.9
"""Streamlines to a side of a panel, in matplotlib's measure."""
SHADOW = 0.5
"""Where more than this share of the rate leaves the plane, it says little about the system: hatched."""


@look
def flow(
    field: FlowField,
    ax: Axes | None = None,
    *,
    points: FixedPoints | None = None,
    at: Float[Any, "point 2"] | None = None,
    legend: bool = True,
) -> Axes:
    """Streamlines of a flow field, its two nullclines, and fixed points by type.

    `at` holds the coordinates of the `points` in the plane, from `dynamics.plane_coordinates`; without it they are
    read off the plane itself, which a field over latent variables does not allow. Streamlines are wider where the
    rate is larger. Where more than half of the rate leaves the plane the picture is hatched. Points outside of the
    plane's extent are not drawn.
    """
    ax = new_axes(ax, height=3.1)
    frame(ax)
    _stream(ax, field)
    nullclines = {"rests sideways": (BLUE, field.no_horizontal), "rests up and down": (VERMILLION, field.no_vertical)}
    for colour, segments in nullclines.values():
        for one in np.asarray(segments):
            ax.plot(one[:, 0], one[:, 1], color=colour, linewidth=1.1, zorder=3)
    types = () if points is None else _points(ax, field, points, at)
    names = ("$\\kappa_1$", "$\\kappa_2$") if field.plane == "latent" else ("along axis 1", "along axis 2")
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    ax.set_xlim(float(field.horizontal[0]), float(field.horizontal[-1]))
    ax.set_ylim(float(field.vertical[0]), float(field.vertical[-1]))
    if legend:
        _legend(ax.get_figure(), types, list(nullclines.items()))
    return ax


@look
def flow_line(
    line: FlowLine,
    ax: Axes | None = None,
    *,
    points: FixedPoints | None = None,
    at: Float[Any, " point"] | None = None,
) -> Axes:
    """The rate of one latent variable at each of its values, and the fixed points `points` at the values `at`.

    Raises `InputError` where only one of the two is given, or they differ in number.
    """
    ax = new_axes(ax)
    dress(ax)
    position, velocity = np.asarray(line.value), np.asarray(line.velocity)
    ax.axhline(0.0, color=GREY, linewidth=0.8)
    ax.plot(position, velocity, color=BLUE, linewidth=1.2)
    types = () if points is None else points.types
    values = np.asarray([] if at is None else at, np.float64)
    check_shape("at", values, (len(types),))
    for value, kind in zip(values, types, strict=True):
        if position[0] <= value <= position[-1]:
            mark(ax, float(value), 0.0, POINTS[kind])
    ax.set_xlim(float(position[0]), float(position[-1]))
    ax.set_xlabel("latent variable $\\kappa$")
    ax.set_ylabel("rate of $\\kappa$ (1/τ)")
    if types:
        ax.legend(handles=handles(types, POINTS), loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return ax


@look
def flows(
    fields: Sequence[FlowField],
    figure: FigureBase | None = None,
    *,
    points: Sequence[FixedPoints] | None = None,
    at: Sequence[Float[Any, "... 2"]] | None = None,
    titles: Sequence[str] | None = None,
) -> list[Axes]:
    """Flow fields under several inputs side by side, with one legend, and one scale if all have one box; see `flow`."""
    count = len(fields)
    for name, values in {"points": points, "at": at, "titles": titles}.items():
        if values is not None and len(values) != count:
            raise InputError(f"`{name}` must have one entry for each of the {count} fields; got {len(values)}.")
    figure = new_figure(figure, width=min(FULL, 2.6 * count + 0.6), height=2.9 if count > 1 else 3.1)
    boxes = {tuple(float(side[end]) for side in (f.horizontal, f.vertical) for end in (0, -1)) for f in fields}
    shared = len(boxes) == 1
    panels = figure.subplots(1, count, squeeze=False, sharex=shared, sharey=shared)[0].tolist()
    types: list[str] = []
    for i, (field, ax) in enumerate(zip(fields, panels, strict=True)):
        found = None if points is None else points[i]
        flow(field, ax, points=found, at=None if at is None else at[i], legend=False)
        types += [] if found is None else found.types
        if titles is not None:
            ax.set_title(titles[i], fontsize=SMALL)
        if i:
            ax.set_ylabel("")
    _legend(figure, types, [("rests sideways", (BLUE, None)), ("rests up and down", (VERMILLION, None))])
    return panels


def _stream(ax: Axes, field: FlowField) -> None:
    velocity = np.asarray(field.velocity, np.float64)
    speed = np.linalg.norm(velocity, axis=-1)
    largest = float(speed.max()) or 1.0
    horizontal, vertical = np.asarray(field.horizontal, np.float64), np.asarray(field.vertical, np.float64)
    ax.streamplot(
        horizontal,
        vertical,
        velocity[..., 0].T,
        velocity[..., 1].T,
        color=GREY,
        density=DENSITY,
        linewidth=0.35 + 0.9 * (speed.T / largest) ** 0.5,
        arrowsize=0.6,
        zorder=2,
    )
    leaving = np.asarray(field.leaving, np.float64)
    if leaving.max() > SHADOW:
        away = ax.contourf(
            horizontal, vertical, leaving.T, levels=[SHADOW, 1.01], colors="none", hatches=["////"], zorder=0
        )
        away.set(edgecolor=PALE, linewidth=0)


def _points(ax: Axes, field: FlowField, points: FixedPoints, at: Any) -> tuple[str, ...]:
    states = np.asarray(points.states)
    if at is None:
        if field.plane == "latent":
            raise InputError(
                "pass `at=dynamics.plane_coordinates(network, field, points.states)`: states are no kappa."
            )
        at = (states - np.asarray(field.origin)) @ np.linalg.pinv(np.asarray(field.axes))
    at = np.asarray(at, np.float64)
    check_shape("at", at, (len(states), 2))
    (left, right), (low, high) = ((v[0], v[-1]) for v in (np.asarray(field.horizontal), np.asarray(field.vertical)))
    seen = []
    for (x, y), kind in zip(at, points.types, strict=True):
        if left <= x <= right and low <= y <= high:
            mark(ax, float(x), float(y), POINTS[kind])
            seen.append(kind)
    return tuple(seen)


def _legend(figure: Any, types: Sequence[str], nullclines: list[Any]) -> None:
    lines = [Line2D([], [], color=colour, label=name) for name, (colour, _) in nullclines]
    entries = [*handles(types, POINTS), *lines]
    wide = figure.get_figure(root=True).get_size_inches()[0] > 4
    figure.legend(handles=entries, loc="outside lower center", ncols=len(entries) if wide else 2, columnspacing=1.0)
