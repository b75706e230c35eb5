"""One mark for each type of fixed point and each kind of special point, the same in every figure."""

from collections.abc import Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from recurvature.figures.style import GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILLION, words

POINTS: dict[str, dict[str, Any]] = {
    "stable": {"marker": "o", "markersize": 6, "markerfacecolor": GREEN},
    "saddle": {"marker": "D", "markersize": 5, "markerfacecolor": ORANGE},
    "repeller": {"marker": "o", "markersize": 6, "markerfacecolor": "white"},
    "marginal": {"marker": "s", "markersize": 5, "markerfacecolor": GREY},
}
"""Type of a fixed point → its mark."""

SPECIALS: dict[str, dict[str, Any]] = {
    "fold": {"marker": "o", "markersize": 5, "markerfacecolor": "white"},
    "pitchfork": {"marker": "s", "markersize": 5, "markerfacecolor": SKY},
    "transcritical": {"marker": "X", "markersize": 6, "markerfacecolor": SKY},
    **{
        kind + side: {"marker": "*", "markersize": 8, "markerfacecolor": colour}
        for kind in ("hopf", "neimark-sacker")
        for side, colour in (("", GREY), (", supercritical", VERMILLION), (", subcritical", "white"))
    },
    "period-doubling": {"marker": "P", "markersize": 6, "markerfacecolor": PURPLE},
    "multiple": {"marker": "h", "markersize": 6, "markerfacecolor": GREY},
}
"""Kind of a special point, as `Continuation.special_names` has it → its mark."""

NAMES = {"hopf": "Hopf", "neimark-sacker": "Neimark\N{EN DASH}Sacker", "period-doubling": "period doubling"}
"""How a legend calls a kind whose name is not plain words."""

EDGE: dict[str, Any] = {"markeredgecolor": INK, "markeredgewidth": 0.8, "linestyle": "none"}


def mark(ax: Axes, x: float, y: float, style: dict[str, Any]) -> None:
    """One mark, in front of everything."""
    ax.plot(x, y, zorder=6, clip_on=False, **EDGE, **style)


def handles(names: Iterable[str], styles: dict[str, dict[str, Any]]) -> list[Line2D]:
    """Legend entries for the names that occur, each once, in the order of the table."""
    present = set(names)
    return [Line2D([], [], label=_called(name), **EDGE, **style) for name, style in styles.items() if name in present]


def _called(name: str) -> str:
    """What a legend says: the kind, and after a comma what is known beside."""
    kind, comma, more = name.partition(",")
    return NAMES.get(kind, words(kind)) + comma + more
