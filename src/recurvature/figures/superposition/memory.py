"""How long past inputs last: what they leave in the state, and what of it is read out."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from recurvature.figures.style import GREY, INK, coordinate_colour, look, new_axes
from recurvature.lenses.superposition import FeatureDirections

MOST_NAMED = 6
"""With more inputs than these, one line stands for all: their root mean square."""


@look
def memory_by_age(result: FeatureDirections, ax: Axes | None = None) -> Axes:
    """Lengths of the directions of past inputs by age, each input over its longest: in the state and in the outputs.

    A colour for each input, or one line for all of many. Solid is the state, dashed what is read out. An input that
    moves nothing at all has no line.
    """
    ax = new_axes(ax)
    parts = (np.asarray(result.direction, float), np.asarray(result.projection, float))
    many = parts[0].shape[2] > MOST_NAMED
    for lengths, style in zip((_lengths(part, many) for part in parts), ("o-", "s--"), strict=True):
        for i, row in enumerate(lengths.T):
            if row.max() > 0:
                colour = INK if many or lengths.shape[1] == 1 else coordinate_colour(i)
                ax.plot(np.asarray(result.age), row / row.max(), style, color=colour, markersize=2.5, linewidth=1.1)
    ax.set_ylim(0, 1.08)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlabel("age (steps)")
    ax.set_ylabel("length over the largest")
    handles = [
        Line2D([], [], color=GREY, label="state"),
        Line2D([], [], color=GREY, linestyle="--", label="read out"),
    ]
    if not many and parts[0].shape[2] > 1:
        names = range(parts[0].shape[2])
        handles += [Line2D([], [], color=coordinate_colour(i), label=f"input {i + 1}") for i in names]
    ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _lengths(vectors: Float[np.ndarray, "age k d"], together: bool) -> Float[np.ndarray, "age line"]:
    lengths = np.linalg.norm(vectors, axis=1)
    return np.sqrt((lengths**2).mean(1, keepdims=True)) if together else lengths
