"""Drift and perturbations of a latent unit: what is tolerated, what first order foresees, what kicks do."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from recurvature._errors import InputError
from recurvature.figures.style import (
    BLUE,
    COORDINATES,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    VERMILLION,
    log_x,
    log_y,
    look,
    new_axes,
    time_axis,
)
from recurvature.lenses.latent import (
    BackgroundSweep,
    DriftDeviation,
    DriftSweep,
    DriftTolerance,
    PerturbationResponse,
    drift_curve,
)

KIND_COLOURS = {"random": BLUE, "orthogonal": GREEN, "tangential": VERMILLION, "jacobian-orthogonal": PURPLE}
FAMILIES = {
    "encoding": BLUE,
    "embedding": VERMILLION,
    "tuning": ORANGE,
    "readout": PURPLE,
    "random": GREY,
    "orthogonal": GREEN,
}
"""Colours of directions by the first word of their names."""


@look
def drift_curves(
    sweep: DriftSweep, ax: Axes | None = None, *, tolerance: DriftTolerance | None = None, readout: str = "all"
) -> Axes:
    """Accuracy by strength of drift: means and ranges over restarts, and the fitted sigmoids with their tolerances.

    `readout` is `all`, `observed` or `regressed`. The dotted line is chance. Raises `InputError` where the sweep has no
    such readout, or `tolerance` is of other kinds.
    """
    tables = {"all": sweep.accuracy, "observed": sweep.observed_accuracy, "regressed": sweep.regressed_accuracy}
    if tables.get(readout) is None:
        raise InputError(f"`readout` must be one that the sweep has, of {', '.join(tables)}; got {readout!r}.")
    if tolerance is not None and tolerance.kinds != sweep.kinds:
        raise InputError(
            f"`tolerance` must be of the kinds {', '.join(sweep.kinds)}; got {', '.join(tolerance.kinds)}."
        )
    ax, strength, table = new_axes(ax, height=2.6), np.asarray(sweep.strength)[1:], np.asarray(tables[readout])
    shown = np.geomspace(strength[0], strength[-1], 200)
    for k, kind in enumerate(sweep.kinds):
        colour, rows = KIND_COLOURS[kind], table[k, 1:]
        ax.plot(strength, rows.mean(1), "o", color=colour, markersize=3.5, label=kind)
        ax.vlines(strength, rows.min(1), rows.max(1), color=colour, linewidth=0.8, alpha=0.6)
        if tolerance is not None:
            place = float(np.asarray(tolerance.tolerance)[k])
            ends = float(np.asarray(tolerance.baseline)[k]), tolerance.chance
            curve = drift_curve(shown, place, float(np.asarray(tolerance.steepness)[k]), *ends)
            ax.plot(shown, curve, color=colour, linewidth=1.0)
            ax.axvline(place, color=colour, linewidth=0.8, linestyle="--")
    ax.axhline(2.0**-sweep.bits, color=INK, linewidth=0.7, linestyle=":")
    log_x(ax, strength)
    ax.set_ylim(0, 1.03)
    ax.set_xlabel("strength of drift δ (r.m.s.)")
    ax.set_ylabel("share of steps, all bits right")
    size = f"{sweep.neurons:,} neurons".replace(",", "\N{THIN SPACE}")
    ax.annotate(size, (0.02, 0.03), xycoords="axes fraction", color=GREY)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=0.8)
    return ax


@look
def drift_tolerances(fits: Sequence[DriftTolerance], ax: Axes | None = None) -> Axes:
    """Tolerated strength by number of neurons and kind of drift, with intervals; the grey line grows as the root.

    Bounds, where a tolerance lies outside of the tested strengths, are open symbols. Raises `InputError` on fits of
    different kinds, or none.
    """
    if not fits or any(fit.kinds != fits[0].kinds for fit in fits):
        raise InputError("`fits` must hold tolerances of the same kinds of drift, one or more.")
    ax, sizes = new_axes(ax, height=2.6), np.array([fit.neurons for fit in fits], float)
    for k, kind in enumerate(fits[0].kinds):
        middle, low, high = (
            np.array([np.asarray(getattr(f, n))[k] for f in fits]) for n in ("tolerance", "low", "high")
        )
        inside = np.array([np.asarray(fit.status)[k] == 0 for fit in fits])
        ax.plot(sizes, middle, color=KIND_COLOURS[kind], linewidth=1.0, label=kind)
        ax.vlines(sizes, np.maximum(low, middle / 10), np.minimum(high, middle * 10), color=KIND_COLOURS[kind])
        for filled in (True, False):
            face = KIND_COLOURS[kind] if filled else "white"
            ax.plot(sizes[inside == filled], middle[inside == filled], "o", color=KIND_COLOURS[kind], mfc=face, ms=4)
    everything = np.concatenate([np.asarray(fit.tolerance) for fit in fits])
    start = float(np.asarray(fits[0].tolerance)[0])
    ax.plot(sizes, start * np.sqrt(sizes / sizes[0]), color=GREY, linewidth=0.8, linestyle="--", label="√N")
    log_x(ax, sizes)
    log_y(ax, everything, headroom=0.05)
    ax.set_xlabel("neurons")
    ax.set_ylabel(r"tolerated drift $\delta_\mathrm{tol}$ (r.m.s.)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, columnspacing=0.8)
    return ax


@look
def drift_deviation(found: DriftDeviation, ax: Axes | None = None) -> Axes:
    """How drift moves each latent variable over time: exactly, and dashed to first order."""
    ax, time = new_axes(ax), np.asarray(found.time)
    exact, first = np.asarray(found.exact), np.asarray(found.first_order)
    ax.axhline(0, color=PALE, linewidth=0.8, zorder=0)
    for k in range(exact.shape[1]):
        colour = COORDINATES[k % len(COORDINATES)]
        ax.plot(time, exact[:, k], color=colour, label=rf"$\kappa_{{{k + 1}}}$")
        ax.plot(time, first[:, k], color=INK, linewidth=0.9, linestyle="--")
    ax.plot([], [], color=INK, linewidth=0.9, linestyle="--", label="first order")
    time_axis(ax, time)
    ax.set_ylabel(r"deviation $\tilde\kappa-\kappa$")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4)
    return ax


@look
def perturbation(found: PerturbationResponse, ax: Axes | None = None, *, latents: bool = True) -> Axes:
    """How far kicks move the latent variables (or the outputs) over time; one line a direction, colours by kind."""
    ax, time = new_axes(ax, height=2.6), np.asarray(found.time)
    moved = np.linalg.norm(np.asarray(found.shift if latents else found.output), axis=-1) / found.size
    # what rounding leaves of an exact zero
    floor = max(float(moved.max()) * 1e-6, np.finfo(float).tiny)
    seen: set[str] = set()
    for name, row in zip(found.names, moved, strict=True):
        family = name.split()[0]
        label = None if family in seen else family
        seen.add(family)
        colour = FAMILIES.get(family, SKY)
        ax.plot(time, np.maximum(row, floor), color=colour, label=label, linewidth=1.2)
    log_y(ax, np.maximum(moved, floor))
    time_axis(ax, time)
    ax.set_ylabel(("latent shift" if latents else "output shift") + " / kick")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return ax


@look
def background(found: BackgroundSweep, ax: Axes | None = None) -> Axes:
    """Share of random backgrounds on which a memory lasts, without and after a pulse, by their strength."""
    ax, ratio = new_axes(ax), np.asarray(found.ratio)
    kept, after = (np.asarray(a).mean(1) for a in (found.kept, found.kept_after))
    ax.plot(ratio, kept, "o-", color=BLUE, markersize=4, label="no pulse")
    ax.plot(ratio, after, "s--", color=VERMILLION, markersize=4, label="after a pulse")
    radius = np.asarray(found.spectral_radius).mean(1)
    if radius[-1] > 1 > radius[0]:
        ax.axvline(float(np.interp(1.0, radius, ratio)), color=GREY, linewidth=0.8, linestyle=":")
        ax.annotate(
            "radius 1",
            (float(np.interp(1.0, radius, ratio)), 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, -8),
            textcoords="offset points",
            color=GREY,
        )
    ax.set_ylim(-0.03, 1.05)
    ax.set_xlabel("random over structured weights (s.d.)")
    ax.set_ylabel("share of draws that keep it")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax
