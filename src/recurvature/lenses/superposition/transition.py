r"""Where sparse packing takes over from dense: by the crossing of losses, by the best of many seeds, by spread."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax.random as jr
import numpy as np
from jaxtyping import Bool, Float, Int

from recurvature._errors import InputError, check_count
from recurvature._keys import PRNGKey, at_step, stream
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.phases import Branches, PhaseDiagram
from recurvature.tasks.recall import SUPERPOSITION

FOUND, NOT_BRACKETED, UNKNOWN, TOO_FEW_AGES = range(4)
STATUS = ("found", "not bracketed", "unknown", "too few younger ages")
"""Not bracketed: on the given densities the losses do not cross, or the best network is in one phase throughout.
Unknown: there were no branches. Too few younger ages: delays of 0 and 1 have no two packings (`PhaseDiagram.packs`)."""

_CENTRES, _WIDTHS = 400, 12
_MISSED = 0.02


class Transition(AbstractResult):
    r"""The density of the transition at every delay, by three routes, each with its error (docs eq. S.46).

    - `crossing`: where a dense and a sparse branch cost the same, interpolated between the densities `crossing_grid`
      that bracket it; `crossing_error` is the sampling error of their difference over its slope.
    - `best_of_n`: the centre of a logistic in $\log p$ through $\psi$ of the best network; `interval` holds the
      percentiles 2.5 and 97.5 over resamples of the seeds, `grid` the densities between which the best network changes.
      Resamples in which $\psi$ nowhere falls have no centre: `flat` is their share, and `interval` is of the others.
    - `susceptible`, `steepest`: where $\chi$ and $|d\langle\psi\rangle/d\log p|$ are largest.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    delay: Int[Values, " delay"]
    crossing: Float[Values, " delay"]
    crossing_grid: Float[Values, "delay bound"]
    crossing_error: Float[Values, " delay"]
    crossing_status: Int[Values, " delay"]
    best_of_n: Float[Values, " delay"]
    interval: Float[Values, "delay bound"]
    flat: Float[Values, " delay"]
    grid: Float[Values, "delay bound"]
    best_of_n_status: Int[Values, " delay"]
    susceptible: Float[Values, " delay"]
    steepest: Float[Values, " delay"]
    coexistence: Float[Values, "delay bound"]
    """The densities between which both branches were found; outside of them one is lost (or was not looked for)."""
    missed: Bool[Values, "density delay"]
    """Cells whose best seed costs more than a followed branch, by 2 % or more: no seed found what is best there."""
    resamples: int
    statuses: tuple[str, ...] = STATUS


def transition(
    diagram: PhaseDiagram, branches: Sequence[Branches] = (), *, key: PRNGKey, resamples: int = 1000
) -> Transition:
    """The transition at every delay of a phase diagram; where there are `branches` of it, also by their crossing.

    Seeds are resampled independently at every density; the best of a resample is the one of least loss. Delays of 0 and
    1 have no transition: all their numbers are NaN, whatever their branches are.
    """
    check_count(resamples=resamples)
    delays, density = np.asarray(diagram.delay), np.asarray(diagram.density)
    followed = {each.delay: each for each in branches}
    if not followed.keys() <= set(delays.tolist()) or len(followed) < len(branches):
        raise InputError(f"`branches` must be of different delays of the diagram, {delays.tolist()}.")
    psi = _settled(diagram.of_best("order_parameter"))
    drawn = _best_of_resamples(diagram, resamples, key)
    centres = np.stack([_logistic_centre(density, drawn[:, :, k]) for k in range(len(delays))])
    grid = np.array([_bracket(density, 0.5 - psi[:, k]) for k in range(len(delays))])
    packs = diagram.packs
    found = np.isfinite(grid[:, 0]) & packs
    kept = [followed.get(int(delay)) if there else None for delay, there in zip(delays, packs, strict=True)]
    return Transition(
        delay=delays,
        best_of_n=np.where(found, _logistic_centre(density, psi.T), np.nan),
        interval=np.where(found[:, None], np.array([_middle(row) for row in centres]), np.nan),
        flat=np.where(packs, np.isnan(centres).mean(1), np.nan),
        grid=np.where(found[:, None], grid, np.nan),
        best_of_n_status=np.where(packs, np.where(found, FOUND, NOT_BRACKETED), TOO_FEW_AGES),
        susceptible=np.where(packs, _largest(density, diagram.susceptibility), np.nan),
        steepest=np.where(packs, _largest(density, diagram.steepness), np.nan),
        resamples=resamples,
        missed=np.stack([_missed(diagram, k, one) for k, one in enumerate(kept)], axis=1),
        **_crossings(kept, packs),
    )


def _middle(centres: Float[np.ndarray, " resample"]) -> Float[np.ndarray, " bound"]:
    """Percentiles 2.5 and 97.5 of the centres there are."""
    known = centres[np.isfinite(centres)]
    return np.percentile(known, [2.5, 97.5]) if len(known) else np.full(2, np.nan)


def _largest(
    density: Float[np.ndarray, " density"], values: Float[np.ndarray, "density delay"]
) -> Float[np.ndarray, " delay"]:
    """The density at which each column is largest; NaN where it has no number."""
    known = np.where(np.isfinite(values), values, -np.inf)
    return np.where(np.isfinite(values).any(0), density[known.argmax(0)], np.nan)


def _crossings(followed: list[Branches | None], packs: Bool[np.ndarray, " delay"]) -> dict[str, Any]:
    """The fields of a transition that branches give, NaN where there are none."""
    nowhere = (np.nan, np.nan)
    rows = [(np.nan, nowhere, np.nan) if one is None else _crossing(one) for one in followed]
    where = np.array([row[0] for row in rows])
    unknown = np.where([one is not None for one in followed], NOT_BRACKETED, UNKNOWN)
    return {
        "crossing": where,
        "crossing_grid": np.array([row[1] for row in rows]),
        "crossing_error": np.array([row[2] for row in rows]),
        "crossing_status": np.where(packs, np.where(np.isfinite(where), FOUND, unknown), TOO_FEW_AGES),
        "coexistence": np.array([nowhere if one is None else one.coexistence for one in followed]),
    }


def _missed(diagram: PhaseDiagram, k: int, followed: Branches | None) -> Bool[np.ndarray, " density"]:
    """Where the best seed of a delay costs more than a branch, whose loss is interpolated in the log of the density."""
    density, best = np.log(np.asarray(diagram.density)), diagram.of_best("loss")[:, k]
    if followed is None:
        return np.zeros(len(density), bool)
    least = np.full(len(density), np.inf)
    for loss in np.asarray(followed.loss):
        there = np.isfinite(loss)
        if there.any():
            known = np.log(np.asarray(followed.density)[there])
            least = np.minimum(least, np.interp(density, known, loss[there], left=np.inf, right=np.inf))
    return best > (1 + _MISSED) * least


def _settled(psi: np.ndarray) -> np.ndarray:
    """Networks without younger projections, or without finite ones, count as dense."""
    return np.where(np.isfinite(psi), psi, 0.0)


def _best_of_resamples(
    diagram: PhaseDiagram, resamples: int, key: PRNGKey
) -> Float[np.ndarray, "resample density delay"]:
    """The order parameter of the best among seeds drawn with replacement, cell by cell."""
    loss = np.where(np.isfinite(np.asarray(diagram.loss)), np.asarray(diagram.loss), np.inf)
    psi = _settled(np.asarray(diagram.order_parameter))
    # the seed with the least rank by loss among those drawn
    order = np.argsort(loss, axis=2)
    rank = np.argsort(order, axis=2)
    rows = []
    # density by density, so that draws of one are held at a time
    for i in range(len(loss)):
        drawn = np.asarray(jr.randint(at_step(stream(key, "seeds"), i), (resamples, *loss.shape[1:]), 0, loss.shape[2]))
        first = np.take_along_axis(rank[i][None], drawn, axis=2).min(2)
        chosen = np.take_along_axis(order[i], first.T, axis=1)
        rows.append(np.take_along_axis(psi[i], chosen, axis=1).T)
    return np.stack(rows, axis=1)


def _logistic_centre(
    density: Float[np.ndarray, " density"], psi: Float[np.ndarray, "row density"]
) -> Float[np.ndarray, " row"]:
    r"""The centre $p_c$ of $a + b/(1+(p/p_c)^{1/w})$ of least squares, by a grid of centres and widths.

    The plateaus a and b follow from centre and width by linear regression. Of a step between two densities all centres
    between them are equally good as the width falls: the middle of the best ones is taken. NaN where nothing falls.
    """
    logs = np.log(density)
    centres = np.linspace(logs[0], logs[-1], _CENTRES)
    widths = np.geomspace(np.diff(logs).min() / 8, (logs[-1] - logs[0]) / 2, _WIDTHS)
    off, explained = psi - psi.mean(1, keepdims=True), np.zeros((len(psi), _CENTRES))
    # width by width, so that no table of all rows, centres and widths is held
    for width in widths:
        model = 0.5 * (1 - np.tanh((logs[None, :] - centres[:, None]) / width / 2))
        # what a regression leaves is least where the correlation is largest; a flat model explains nothing
        model -= model.mean(1, keepdims=True)
        model /= np.maximum(np.linalg.norm(model, axis=1, keepdims=True), 1e-9)
        explained = np.maximum(explained, np.maximum(off @ model.T, 0) ** 2)
    # a thousandth of what is to be explained is far below what the noise of a cell changes
    good = explained >= explained.max(1, keepdims=True) - 1e-3 * (off**2).sum(1, keepdims=True)
    falls = (np.ptp(psi, axis=1) > 0) & (explained.max(1) > 0)
    return np.where(falls, np.exp((good * centres[None, :]).sum(1) / good.sum(1)), np.nan)


def _bracket(density: Float[np.ndarray, " density"], value: Float[np.ndarray, " density"]) -> tuple[float, float]:
    """The last two neighbouring densities between which `value` goes from below 0 to 0 or more; NaN where none do."""
    rises = np.flatnonzero((value[:-1] < 0) & (value[1:] >= 0))
    return (float(density[rises[-1]]), float(density[rises[-1] + 1])) if len(rises) else (np.nan, np.nan)


def _crossing(branches: Branches) -> tuple[float, tuple[float, float], float]:
    """Where the losses of two branches cross, by a line between two neighbouring densities at which both are known."""
    excess, error = np.asarray(branches.excess), np.asarray(branches.excess_error)
    both = np.isfinite(excess)
    density, excess, error = np.asarray(branches.density)[both], excess[both], error[both]
    low, high = _bracket(density, -excess)
    if np.isnan(low):
        return np.nan, (low, high), np.nan
    i = int(np.searchsorted(density, low))
    slope = (excess[i + 1] - excess[i]) / (high - low)
    share = excess[i] / (excess[i] - excess[i + 1])
    spread = np.hypot((1 - share) * error[i], share * error[i + 1])
    return float(low + share * (high - low)), (low, high), float(spread / abs(slope))
