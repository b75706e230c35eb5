"""Rows of a regression: activity, coordinates and fold of every bin that is there, at one time or at all."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError
from recurvature.systems.inputs import Coordinate


class Rows(NamedTuple):
    """What one regression is made of; rows of one trial are in one fold."""

    activity: Float[np.ndarray, "row n"]
    theta: Float[np.ndarray, "row m"]
    fold: Int[np.ndarray, " row"]
    trial: Int[np.ndarray, " row"]


def gathered(
    activity: Float[np.ndarray, "trial time n"],
    theta: Float[np.ndarray, "trial time m"],
    fold: Int[np.ndarray, " trial"],
) -> Rows:
    """All bins without a NaN, trial after trial."""
    there = np.isfinite(activity).all(2) & np.isfinite(theta).all(2)
    trial = np.repeat(np.arange(len(fold)), there.sum(1))
    return Rows(activity[there], theta[there], fold[trial], trial)


def dealt(theta: Float[np.ndarray, "trial time m"], folds: int) -> Int[np.ndarray, " trial"]:
    """The fold of every trial: trials in the order of their mean coordinates, dealt out one by one.

    So every fold has trials from everywhere. Coordinates after the first order trials within groups of like ones.
    """
    count, m = len(theta), theta.shape[2]
    if count < folds:
        raise InputError(f"`folds` may be at most the number of trials, {count}; got {folds}.")
    there = np.isfinite(theta).all(2)
    middle = np.where(there[..., None], theta, 0).sum(1) / np.maximum(there.sum(1), 1)[:, None]
    groups = max(1, round((count / folds) ** (1 / m)))
    rank = np.zeros((m, count), int)
    for i in range(m):
        place = np.argsort(np.argsort(middle[:, i], kind="stable"), kind="stable")
        rank[i] = place if i == m - 1 else place * groups // count
    order = np.lexsort(rank[::-1])
    fold = np.empty(count, int)
    fold[order] = np.arange(count) % folds
    return fold


def wrapped(step: Float[np.ndarray, "*row m"], coordinates: tuple[Coordinate, ...]) -> Float[np.ndarray, "*row m"]:
    """Differences of coordinates, the shorter way round where a coordinate is periodic."""
    out = step.copy()
    for i, c in enumerate(coordinates):
        if c.periodic:
            period = c.high - c.low
            out[..., i] = np.mod(step[..., i] + period / 2, period) - period / 2
    return out


def near(
    rows: Rows,
    centre: Float[np.ndarray, " m"],
    widths: Float[np.ndarray, " m"],
    coordinates: tuple[Coordinate, ...],
) -> tuple[int, int]:
    """Trials with a bin within the given widths of a point, and how many bins there are."""
    step = wrapped(rows.theta - centre, coordinates) / widths
    trials = rows.trial[(step**2).sum(-1) < 1]
    return len(np.unique(trials)), len(trials)
