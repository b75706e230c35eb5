"""A latent unit: its vectors over neurons, tuning, spectrum, how it was extracted, and how curved its tuning is."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from recurvature._errors import InputError, check_index
from recurvature.figures.style import (
    BLUE,
    COLUMN,
    COORDINATES,
    FULL,
    GREEN,
    GREY,
    INK,
    PALE,
    SKY,
    SMALL,
    VERMILLION,
    dress,
    log_x,
    log_y,
    look,
    new_axes,
    new_figure,
)
from recurvature.lenses.latent import Extraction, Spectrum, TuningCurves, UnitVectors
from recurvature.measures import SphereSpectrum

SYMBOLS = {"m": "m", "n": "n", "w": "w", "z": "z"}
MEANING = {"m": "embedding", "n": "encoding", "w": "input", "z": "readout"}


@look
def unit_vectors(
    found: UnitVectors, figure: FigureBase | None = None, *, pairs: tuple[tuple[str, str], ...] | None = None
) -> list[Axes]:
    """Neurons in the plane of two vectors; `pairs` of names (None: those of the first variable), each correlated."""
    chosen = _first_pairs(found) if pairs is None else pairs
    for name in [name for pair in chosen for name in pair]:
        if name not in found.names:
            raise InputError(f"`pairs` must name vectors among {', '.join(found.names)}; got {name!r}.")
    width = min(FULL, 2.2 * len(chosen) + 0.3)
    figure = new_figure(figure, width=width, height=width / len(chosen))
    panels = list(np.atleast_1d(figure.subplots(1, len(chosen))))
    for ax, (one, other) in zip(panels, chosen, strict=True):
        dress(ax)
        ax.axhline(0, color=PALE, linewidth=0.8, zorder=0)
        ax.axvline(0, color=PALE, linewidth=0.8, zorder=0)
        ax.plot(found.of(one), found.of(other), ".", color=BLUE, markersize=3, alpha=0.6, markeredgewidth=0)
        ax.set_xlabel(_vector_label(one))
        ax.set_ylabel(_vector_label(other))
        ax.set_title(f"correlation {found.correlated(one, other):.2f}".replace("-", "\N{MINUS SIGN}"), fontsize=SMALL)
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.yaxis.set_major_locator(MaxNLocator(4))
    return panels


def _first_pairs(found: UnitVectors) -> tuple[tuple[str, str], ...]:
    others = [name for name in ("w 1", "z 1") if name in found.names]
    return (("m 1", "n 1"), *(("m 1", name) for name in others))[:3]


def _vector_label(name: str) -> str:
    kind, number = name.split()
    return f"{MEANING[kind]} ${SYMBOLS[kind]}_{{{number}}}$"


@look
def tuning(
    before: TuningCurves,
    ax: Axes | None = None,
    *,
    after: TuningCurves | None = None,
    units: tuple[int, ...] | None = None,
) -> Axes:
    """Rates of some units along one latent variable; `after` (after a drift, say) dashed in the same colours.

    `units` (None: six, evenly over their preference) are numbers of neurons.
    """
    ax, value, rates = new_axes(ax), np.asarray(before.value), np.asarray(before.rates)
    chosen = _spread(rates) if units is None else units
    for place, number in enumerate(chosen):
        check_index("units", number, rates.shape[1])
        colour = COORDINATES[place % len(COORDINATES)]
        ax.plot(value, rates[:, number], color=colour, linewidth=1.2)
        if after is not None:
            ax.plot(np.asarray(after.value), np.asarray(after.rates)[:, number], color=colour, linestyle="--")
    if after is not None:
        ax.plot([], [], color=INK, label="before")
        ax.plot([], [], color=INK, linestyle="--", label="after")
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    ax.set_xlim(float(value[0]), float(value[-1]))
    ax.set_xlabel(rf"latent variable $\kappa_{{{before.variable + 1}}}$")
    ax.set_ylabel("rate at rest")
    return ax


def _spread(rates: np.ndarray) -> tuple[int, ...]:
    order = np.argsort(rates[-1] - rates[0], kind="stable")
    return tuple(int(order[i]) for i in np.unique(np.linspace(0, len(order) - 1, 6).round().astype(int)))


@look
def latent_spectrum(found: Spectrum, ax: Axes | None = None) -> Axes:
    """Growth rates of the latent field in the complex plane, over those of all units if the result holds them."""
    ax = new_axes(ax, width=COLUMN, height=2.4)
    ax.axvline(0, color=VERMILLION, linewidth=0.8, linestyle="--")
    ax.annotate(
        "grows",
        (0, 1),
        xycoords=("data", "axes fraction"),
        xytext=(3, -8),
        textcoords="offset points",
        fontsize=SMALL,
        color=VERMILLION,
    )
    full = found.full_eigenvalues
    if len(full):
        ax.plot(full.real, full.imag, "o", color=SKY, markersize=7, markeredgewidth=0, label=f"all {len(full)} units")
    own = found.eigenvalues
    ax.plot(own.real, own.imag, "o", color=BLUE, markersize=3.5, label=f"{len(own)} latent variables")
    ax.plot([found.leak], [0], "x", color=INK, markersize=6, label=f"leak, {found.leak_copies} times")
    wide = float(max(np.ptp([*own.real, found.leak, 0]), 0.5))
    ax.set_xlim(min(*own.real, found.leak) - 0.12 * wide, max(*own.real, 0) + 0.2 * wide)
    high = max(float(np.abs(own.imag).max(initial=0)) * 1.3, 0.2 * wide)
    ax.set_ylim(-high, high)
    ax.set_xlabel("growth rate (1/τ)")
    ax.set_ylabel("rotation (1/τ)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


@look
def extraction(found: Extraction, figure: FigureBase | None = None) -> list[Axes]:
    """How strong each direction is, and what a unit of each rank keeps: states, outputs, accuracy, closure."""
    figure = new_figure(figure, width=COLUMN, height=3.8)
    top, bottom = figure.subplots(2, 1)
    for ax in (top, bottom):
        dress(ax)
    strengths, rank = np.asarray(found.strengths, float), np.asarray(found.candidate)
    shown = min(len(strengths), max(12, 2 * int(rank.max())))
    top.plot(np.arange(1, shown + 1), strengths[:shown], "o-", color=GREY, markersize=3, linewidth=0.8)
    top.plot(np.arange(1, found.rank + 1), strengths[: found.rank], "o", color=BLUE, markersize=4.5, label="kept")
    log_y(top, np.maximum(strengths[:shown], 1e-8 * strengths[0]))
    top.set_ylabel("recurrent input (r.m.s.)" if found.method != "plain" else "singular value")
    top.set_xlabel("direction")
    top.xaxis.set_major_locator(MaxNLocator(integer=True))
    top.legend(loc="upper right")
    scores = {
        "accuracy": (found.accuracy, INK, "s-"),
        "$R^2$ of states": (found.state_r2, BLUE, "o-"),
        "$R^2$ of outputs": (found.output_r2, GREEN, "^-"),
        "closure residual": (found.closure, VERMILLION, "v:"),
    }
    for name, (values, colour, style) in scores.items():
        each = np.asarray(values, float)
        if np.isfinite(each).any():
            bottom.plot(rank, each, style, color=colour, markersize=4, linewidth=1.0, label=name)
    bottom.axhline(found.least_r2, color=BLUE, linewidth=0.8, linestyle="--")
    bottom.axvline(found.rank, color=GREY, linewidth=0.8, linestyle=":")
    bottom.set_ylim(-0.05, 1.05)
    bottom.set_xlabel("rank of the unit")
    bottom.set_ylabel("kept")
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    bottom.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return [top, bottom]


@look
def sphere_dimension(spectra: Mapping[str, SphereSpectrum], ax: Axes | None = None, *, share: float = 0.99) -> Axes:
    """Share of the variance in the largest components, by name of the tuning; where it passes `share` is marked."""
    if not spectra:
        raise InputError("`spectra` must hold at least one named spectrum; got none.")
    ax = new_axes(ax, height=2.8)
    most = 10.0
    for place, (name, found) in enumerate(spectra.items()):
        colour = COORDINATES[place % len(COORDINATES)]
        order = np.argsort(-np.asarray(found.variance), kind="stable")
        count = np.asarray(found.multiplicity)[order]
        held = np.cumsum(np.asarray(found.variance)[order] * count) / found.total
        number, limit = np.cumsum(count), found.dimension(share)
        # components of one degree are equal: within it, variance is linear in their number
        shown = np.geomspace(1, number[-1], 1000)
        left_out = 1 - np.interp(shown, np.array([0.0, *number]), np.array([0.0, *held]))
        ax.plot(shown, np.maximum(left_out, 1e-12), color=colour, linewidth=1.0)
        text = f"{limit:,.0f}".replace(",", "\N{THIN SPACE}") if np.isfinite(limit) else "more"
        ax.plot([limit], [1 - share], "o", color=colour, markersize=4, label=f"{name}: {text}")
        most = max(most, 3 * limit if np.isfinite(limit) else float(number[-1]))
    ax.axhline(1 - share, color=GREY, linewidth=0.8, linestyle=":")
    log_x(ax, np.array([1.0, most]), room=1.0)
    log_y(ax, np.array([(1 - share) / 30, 1.0]))
    ax.set_xlabel("components")
    ax.set_ylabel("variance left out")
    ax.legend(
        title=f"components for {share:.0%} of the variance",
        title_fontsize=SMALL,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=2,
    )
    return ax
