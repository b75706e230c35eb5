"""Units by design: how far sampled neurons miss their time scale, and what a sample of them tells."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from recurvature._errors import InputError
from recurvature.figures.style import (
    BLUE,
    COORDINATES,
    GREY,
    INK,
    PALE,
    VERMILLION,
    log_number,
    log_x,
    log_y,
    look,
    new_axes,
)
from recurvature.lenses.latent import GrowthRate, SampledErrors


@look
def error_law(found: Sequence[SampledErrors], ax: Axes | None = None) -> Axes:
    """Relative error of the growth rate by number of neurons: sampled units as points, the law as a line.

    Above the dashed line, at one half, a unit cannot be relied upon to have two states. Raises `InputError` on none.
    """
    if not found:
        raise InputError("`found` must hold the errors of one slowness or more; got none.")
    ax = new_axes(ax, height=2.5)
    for place, one in enumerate(found):
        colour = COORDINATES[place % len(COORDINATES)]
        label = f"β = {log_number(one.slowness)}, ρ = {one.correlation:g}"
        ax.plot(one.size, one.law, color=colour, linewidth=1.0)
        ax.plot(one.size, one.measured, "o", color=colour, markersize=4, label=label)
    ax.axhline(0.5, color=INK, linewidth=0.8, linestyle="--")
    log_x(ax, np.concatenate([np.asarray(one.size, float) for one in found]))
    log_y(ax, *(np.asarray(one.measured) for one in found), np.array([0.5]))
    ax.set_xlabel("neurons")
    ax.set_ylabel("relative error of growth rate")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


@look
def growth_rate(found: GrowthRate, ax: Axes | None = None) -> Axes:
    """The growth rate at the origin from more and more neurons, with its standard error; undecided signs are hollow."""
    ax, observed = new_axes(ax), np.asarray(found.observed, float)
    rate, error = np.asarray(found.rate), np.asarray(found.standard_error)
    decided = np.asarray(found.status) == 0
    ax.axhline(0, color=PALE, linewidth=0.8, zorder=0)
    ax.axhline(float(rate[-1]), color=GREY, linewidth=0.8, linestyle=":")
    ax.vlines(observed, rate - error, rate + error, color=BLUE, linewidth=1.0)
    ax.plot(observed[decided], rate[decided], "o", color=BLUE, markersize=4, label="sign decided")
    ax.plot(observed[~decided], rate[~decided], "o", color=VERMILLION, mfc="white", markersize=4, label="undecided")
    log_x(ax, observed)
    ax.set_xlabel("neurons seen")
    ax.set_ylabel("growth rate at zero (1/τ)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax
