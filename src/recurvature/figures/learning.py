"""How a network learned."""

import numpy as np
from matplotlib.axes import Axes

from recurvature.figures.style import BLUE, VERMILLION, band, log_y, look, new_axes
from recurvature.lenses.warping.ratio import percentiles
from recurvature.training.history import NON_FINITE, History


@look
def training(history: History, ax: Axes | None = None) -> Axes:
    """Loss against training steps on a logarithmic axis.

    An ensemble is drawn as the median over its seeds in a band from the least to the largest, with a thin line to each
    seed. Seeds that met a number that was not finite end in a cross where they stopped, and are named.
    """
    ax = new_axes(ax)
    step = np.asarray(history.step, np.float64)
    loss = np.atleast_2d(np.asarray(history.loss, np.float64))
    loss = np.where(np.isfinite(loss) & (loss > 0), loss, np.nan)
    failed = np.atleast_1d(np.asarray(history.status)) == NON_FINITE
    well = loss[~failed]
    if len(loss) == 1 and len(well):
        ax.plot(step, well[0], color=BLUE, linewidth=1.0)
    elif len(well):
        ax.plot(step, well.T, color=BLUE, linewidth=0.4, alpha=0.5)
        low, middle, high = percentiles(well.T, (0.0, 50.0, 100.0))
        band(ax, step, low, middle, high, colour=BLUE, label=f"median of {len(well)} seeds (band: all)")
    seeds = range(len(loss)) if history.seed is None else np.asarray(history.seed).tolist()
    lost = [seed for seed, gone in zip(seeds, failed, strict=True) if gone]
    for row in loss[failed]:
        ax.plot(step, row, color=VERMILLION, linewidth=0.8)
        known = np.flatnonzero(np.isfinite(row))
        if len(known):
            ax.plot(step[known[-1]], row[known[-1]], "x", color=VERMILLION, markersize=5)
    if lost:
        named = f"non-finite: seed {', '.join(map(str, lost))}" if history.seed is not None else "non-finite"
        ax.plot([], [], "x-", color=VERMILLION, linewidth=0.8, markersize=5, label=named)
    log_y(ax, loss)
    ax.set_xlim(0, max(float(step[-1]), 1.0) if len(step) else 1.0)
    ax.set_xlabel("training step")
    ax.set_ylabel("loss (mean square error)")
    if len(loss) > 1 or lost:
        ax.legend(loc="best")
    return ax
