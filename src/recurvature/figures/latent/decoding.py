"""Decoders by the number of components that they see."""

import numpy as np
from matplotlib.axes import Axes

from recurvature.figures.style import BLUE, GREEN, GREY, INK, ORANGE, VERMILLION, look, new_axes
from recurvature.measures import Decoding

NAMES = {
    "logistic": ("logistic", BLUE, "o-"),
    "lda": ("LDA", GREEN, "s-"),
    "qda": ("QDA", VERMILLION, "^--"),
    "forest": ("forest", ORANGE, "v--"),
}
"""Linear decoders have whole lines, the others dashed ones."""


@look
def decoding(found: Decoding, ax: Axes | None = None, *, share: float = 0.95, ideal: float | None = None) -> Axes:
    """Accuracy of every decoder by the number of components; bars hold `share` of the splits, which share trials.

    The dotted line is chance; `ideal` draws the best accuracy that there is.
    """
    ax, width = new_axes(ax, height=2.5), np.arange(len(np.asarray(found.bottleneck)), dtype=float)
    low, high = found.interval(share)
    shift = np.linspace(-0.18, 0.18, len(found.decoders))
    for k, name in enumerate(found.decoders):
        label, colour, style = NAMES[name]
        ax.plot(width + shift[k], found.mean[:, k], style, color=colour, markersize=4, linewidth=1.0, label=label)
        ax.vlines(width + shift[k], low[:, k], high[:, k], color=colour, linewidth=1.0, alpha=0.5)
    ax.axhline(found.chance, color=INK, linewidth=0.8, linestyle=":")
    if ideal is not None:
        ax.axhline(ideal, color=GREY, linewidth=0.8, linestyle="--")
    ax.set_xticks(width, [str(b) for b in np.asarray(found.bottleneck).tolist()])
    ax.set_ylim(min(found.chance, float(low.min())) - 0.05, 1.02)
    ax.set_xlabel("components")
    ax.set_ylabel("accuracy on unseen trials")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, columnspacing=0.8)
    return ax
