"""Branches of fixed points over a parameter, eigenvalues in the plane, and Lyapunov exponents."""

from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from recurvature._errors import InputError, check_shape
from recurvature.dynamics import Continuation, FixedPoints, LyapunovSpectrum
from recurvature.figures.dynamics.marks import POINTS, SPECIALS, handles, mark
from recurvature.figures.style import (
    BLUE,
    GREY,
    INK,
    MAGNITUDE,
    PALE,
    SMALL,
    VERMILLION,
    dress,
    frame,
    legend_below,
    look,
    new_axes,
    with_units,
    words,
)

MANY = 60
"""Eigenvalues beyond which their marks are small."""


@look
def bifurcations(
    branches: Continuation, ax: Axes | None = None, *, along: Float[Any, " n"] | int | None = None, label: str = ""
) -> Axes:
    """Branches over their parameter: stable parts solid, unstable ones dashed, special points marked and named.

    The height is the state along a direction: a unit by its number, a vector (n,), of which the length one is taken,
    or by default the direction in which the branches extend most. Where several directions grow the dashes are pale.
    Hopf points are called supercritical or subcritical where that is known (docs eq. D.18).
    """
    ax = new_axes(ax, height=2.8)
    heights, named = _heights(branches, along)
    value, branch = np.asarray(branches.value), np.asarray(branches.branch)
    growing, special = np.asarray(branches.unstable), np.asarray(branches.special)
    for first, last in _stretches(branch, np.where(special >= 0, -1, np.minimum(growing, 2))):
        inner = growing[first : last + 1][special[first : last + 1] < 0]
        ax.plot(value[first : last + 1], heights[first : last + 1], **_line(int(inner.max(initial=0))))
    for i, name in zip(branches.special_points, branches.special_names, strict=True):
        mark(ax, float(value[i]), float(heights[i]), SPECIALS[name])
    ax.set_xlabel(words(branches.name))
    ax.set_ylabel(label or named)
    ax.set_xlim(*branches.span)
    lines = [
        Line2D([], [], label=name, **_line(n))
        for n, name in ((0, "stable"), (1, "one direction grows"), (2, "more grow"))
    ]
    present = {min(int(n), 2) for n in growing[special < 0]}
    entries = [line for n, line in enumerate(lines) if n in present] + handles(branches.special_names, SPECIALS)
    _below(ax, entries)
    return ax


def across(points: FixedPoints) -> Float[np.ndarray, " n"] | None:
    """The direction from one stable point to another, the pair that is farthest apart; None for fewer than two.

    Along it branches stand apart by what a network keeps, and not by how far an input pushes them all.
    """
    rests = np.asarray(points.states, np.float64)[[name == "stable" for name in points.types]]
    gaps = rests[:, None] - rests[None]
    size = np.linalg.norm(gaps, axis=-1)
    if not size.max(initial=0.0) > 0:
        return None
    found: Float[np.ndarray, " n"] = gaps[np.unravel_index(size.argmax(), size.shape)]
    return found


def _line(growing: int) -> dict[str, Any]:
    """How a stretch is drawn, by how many directions grow."""
    if growing == 0:
        return {"color": INK, "linewidth": 1.6, "zorder": 3}
    return {"color": GREY if growing > 1 else INK, "linewidth": 1.0, "linestyle": (0, (3, 1.5)), "zorder": 2}


def _heights(branches: Continuation, along: Any) -> tuple[Float[np.ndarray, " point"], str]:
    states = np.asarray(branches.states, np.float64)
    if isinstance(along, int):
        if not 0 <= along < states.shape[1]:
            raise InputError(f"`along` must name a unit from 0 to {states.shape[1] - 1}; got {along}.")
        return states[:, along], f"state of unit {along}"
    if along is None:
        axis = np.linalg.svd(states - states.mean(0), full_matrices=False)[2][0]
        axis = axis * (np.sign(axis[np.abs(axis).argmax()]) or 1.0)
        return states @ axis, "state along the main axis"
    axis = np.asarray(along, np.float64)
    check_shape("along", axis, (states.shape[1],))
    if not np.linalg.norm(axis) > 0:
        raise InputError("`along` must not be zero.")
    return states @ axis / np.linalg.norm(axis), "state along a direction"


def _stretches(branch: Any, style: Any) -> list[tuple[int, int]]:
    """Ranges of points, both ends included, that one line style draws; special points (-1) belong to both sides."""
    found, first = [], 0
    for i in range(1, len(branch)):
        if branch[i] != branch[i - 1]:
            found.append((first, i - 1))
            first = i
        elif style[i] < 0 or (style[i - 1] >= 0 and style[i] != style[i - 1]):
            found.append((first, i))
            first = i
    return [*found, (first, len(branch) - 1)]


@look
def eigenvalues(result: FixedPoints | Continuation, ax: Axes | None = None) -> Axes:
    """Eigenvalues in the complex plane, with the region of stability in grey: left of the axis, or in the circle.

    Of fixed points they have the marks of their type, and the cross is the leak of a low-rank network, which all its
    other eigenvalues equal. Of a continuation they are dots, dark at the lower end of the parameter.
    """
    ax = new_axes(ax, height=2.8)
    frame(ax)
    values = result.eigenvalues
    entries: list[Any] = []
    if isinstance(result, FixedPoints):
        size = {"markersize": 3.0} if values.size > MANY else {}
        for row, kind in zip(values, result.types, strict=True):
            for value in row:
                mark(ax, float(value.real), float(value.imag), POINTS[kind] | size)
        entries += handles(result.types, POINTS)
        if result.leak_copies:
            style: Any = {"marker": "x", "markersize": 6, "markeredgewidth": 1.2, "color": INK, "linestyle": "none"}
            ax.plot(result.leak, 0, zorder=6, **style)
            entries.append(Line2D([], [], label=f"the leak, {result.leak_copies} times", **style))
            values = np.append(values, result.leak)
    else:
        colours = np.repeat(np.asarray(result.value)[:, None], values.shape[1], 1)
        dots = ax.scatter(values.real, values.imag, c=colours, s=5, cmap=MAGNITUDE, linewidths=0, zorder=3)
        figure = ax.get_figure()
        if figure is not None:
            dress(figure.colorbar(dots, ax=ax, label=words(result.name)).ax)
    _boundary(ax, result.kind, values)
    ax.set_xlabel("real part" + (" (1/τ)" if result.kind == "flow" else ""))
    ax.set_ylabel("imaginary part" + (" (1/τ)" if result.kind == "flow" else ""))
    if entries:
        _below(ax, entries)
    return ax


def _boundary(ax: Axes, kind: str, values: np.ndarray) -> None:
    """The region of stability, and limits that show the eigenvalues and where it ends."""
    # the point at which a mode neither grows nor decays nor turns is always in view
    rest = 1.0 if kind == "map" else 0.0
    shown = np.append(values.ravel(), rest)
    left, right = float(shown.real.min()), float(shown.real.max())
    high = max(1.15 * float(np.abs(shown.imag).max()), 0.35 * (right - left), 0.05)
    room = max(0.08 * (right - left), 0.02)
    ax.set_xlim(left - room, right + room)
    ax.set_ylim(-high, high)
    if kind == "map":
        ax.add_patch(Circle((0, 0), 1, facecolor=PALE, edgecolor=GREY, linewidth=0.8, zorder=0))
        ax.set_aspect("equal", adjustable="box")
    else:
        ax.axvspan(left - 10 * (right - left) - 10, 0, color=PALE, linewidth=0, zorder=0)
        ax.axvline(0, color=GREY, linewidth=0.8)
        ax.set_xlim(left - room, right + room)


@look
def lyapunov(spectrum: LyapunovSpectrum, ax: Axes | None = None) -> Axes:
    """Lyapunov exponents in order, with standard errors: positive ones stretch, as in chaos."""
    ax = new_axes(ax)
    values, errors = np.asarray(spectrum.exponents, np.float64), np.asarray(spectrum.standard_error, np.float64)
    order, finite = np.arange(1, len(values) + 1), np.isfinite(values)
    ax.axhline(0, color=GREY, linewidth=0.8)
    for some, colour in ((finite & (values > 0), VERMILLION), (finite & (values <= 0), BLUE)):
        ax.errorbar(
            order[some],
            values[some],
            np.nan_to_num(errors[some]),
            fmt="o",
            color=colour,
            markersize=3.5,
            elinewidth=0.8,
        )
    ax.set_xlim(0.3, len(values) + 0.7)
    ax.margins(y=0.1)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    ax.set_xlabel("number of the exponent")
    ax.set_ylabel(with_units("Lyapunov exponent", "1/τ, or 1/step"))
    if np.isfinite(spectrum.dimension):
        ax.set_title(f"dimension of the attractor: {spectrum.dimension:.2f}", fontsize=SMALL, loc="right")
    return ax


def _below(ax: Axes, entries: list[Any]) -> None:
    figure = ax.get_figure(root=True)
    wide = figure is not None and figure.get_size_inches()[0] > 4
    legend_below(ax, entries, 3 if wide else 2, columnspacing=1.0)
