"""The Gram matrix that turns gradients into velocities of the overlaps."""

from typing import Any

import numpy as np
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from recurvature.figures.style import BLUE, COLUMN, INK, PALE, PURPLE, SIGNED, SMALL, VERMILLION, frame, look, new_axes
from recurvature.lenses.overlaps import Overlaps, gram
from recurvature.lenses.overlaps.layout import Layout, Regime

KINDS = (
    ("visible", (True, False), BLUE),
    ("invisible", (False, True), VERMILLION),
    ("both", (True, True), PURPLE),
)
"""What the entries of the matrix are made of: name, visible and invisible overlaps, colour."""


@look
def gram_matrix(overlaps: Overlaps, ax: Axes | None = None, *, regime: Regime | None = None) -> Axes:
    """Rows are overlaps that move, columns the gradients that move them; entries are overlaps again.

    Visible overlaps stand first and are named in blue, invisible ones in vermillion. A dot says of which kind an entry
    is made: blue, vermillion, or, where both enter, purple; entries without one vanish whatever the overlaps. The loss
    has no gradient in invisible overlaps: their columns are crossed out. `regime` is by default that of `overlaps`.
    """
    layout = overlaps.layout
    chosen: Any = overlaps.regime if regime is None else regime
    seen = layout.visible(chosen)
    order = np.concatenate([np.flatnonzero(seen), np.flatnonzero(~seen)])
    values = gram(overlaps.matrix, layout)[np.ix_(order, order)].astype(float)
    count, split = len(order), int(seen.sum())
    side = COLUMN if count <= 10 else 2 * COLUMN
    ax = new_axes(ax, width=side, height=(0.92 if count <= 10 else 1.02) * side)
    frame(ax)
    made = _made_of(layout, seen)[np.ix_(order, order)][:, :split]
    used = np.where(made.any(-1), values[:, :split], 0.0)
    largest = float(np.abs(used).max()) or 1.0
    shown = np.full(values.shape, np.nan)
    shown[:, :split] = used
    image = ax.imshow(shown, cmap=SIGNED, norm=Normalize(-largest, largest), aspect="equal")
    for label, kind, colour in KINDS:
        rows, columns = np.nonzero((made == kind).all(-1))
        if len(rows):
            ax.plot(columns, rows, "o", color=colour, markersize=3.2, mec="white", mew=0.5, label=label)
    ax.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, title="made of overlaps that are", title_fontsize=SMALL
    )
    ax.axvspan(split - 0.5, count - 0.5, facecolor="none", edgecolor=PALE, hatch="////", linewidth=0)
    ax.axhline(split - 0.5, color=INK, linewidth=0.8)
    ax.axvline(split - 0.5, color=INK, linewidth=0.8)
    ax.set_xlim(-0.5, count - 0.5)
    ax.set_ylim(count - 0.5, -0.5)
    names = [layout.names[k] for k in order]
    ax.set_xticks(range(count), names, rotation=90, fontsize=SMALL - 1)
    ax.set_yticks(range(count), names, fontsize=SMALL - 1)
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        for text, place in zip(labels, order, strict=True):
            text.set_color(BLUE if seen[place] else VERMILLION)
    ax.tick_params(length=0)
    ax.set_xlabel("gradient of the loss by")
    ax.set_ylabel("velocity of")
    figure = ax.get_figure()
    assert figure is not None
    bar = figure.colorbar(image, ax=ax, shrink=0.8, pad=0.03)
    bar.ax.tick_params(labelsize=SMALL - 1, width=0.6, length=2.5)
    bar.set_label("coefficient, an overlap or a sum of overlaps", fontsize=SMALL)
    bar.outline.set_linewidth(0.6)
    return ax


def _made_of(layout: Layout, seen: Bool[np.ndarray, " pair"]) -> Bool[np.ndarray, "pair pair two"]:
    """Whether visible, and whether invisible overlaps enter each entry: the matrix is linear in them."""
    made = np.zeros((len(seen), len(seen), 2), bool)
    for (i, j), shown in zip(layout.pairs, seen, strict=True):
        unit = np.zeros((layout.size, layout.size))
        unit[i, j] = unit[j, i] = 1
        made[..., 0 if shown else 1] |= gram(unit, layout) != 0
    return made
