r"""The strength of drift that a memory tolerates: a sigmoid through accuracies, with an interval (docs eq. L.58)."""

from typing import Any, ClassVar

import numpy as np
import scipy.optimize
import scipy.stats
from jaxtyping import Float, Int

from recurvature._errors import InputError
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.drift_sweep import DriftSweep
from recurvature.lenses.latent.source import DINC

INSIDE, BELOW, ABOVE = range(3)
TOLERANCE_STATUS = ("inside", "below the tested strengths", "above the tested strengths")
"""Where a tolerance lies: outside of the strengths that were tested it is a bound, not a value."""


class DriftTolerance(AbstractResult):
    r"""$\delta_\mathrm{tol}$ and steepness $s$ of $c + (a_0-c)/(1+(\delta/\delta_\mathrm{tol})^s)$ for each kind.

    `baseline` $a_0$ is the accuracy without drift, measured; `chance` $c$ is $2^{-K}$. `low` and `high` are where the
    profile of the sum of squares rises by what an F test at 95 % allows; infinite or zero where it never does.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    tolerance: Float[Values, " kind"]
    low: Float[Values, " kind"]
    high: Float[Values, " kind"]
    steepness: Float[Values, " kind"]
    baseline: Float[Values, " kind"]
    residual: Float[Values, " kind"]
    """Root mean square of what the sigmoid leaves of single restarts."""
    status: Int[Values, " kind"]
    kinds: tuple[str, ...]
    chance: float
    neurons: int
    statuses: tuple[str, ...] = TOLERANCE_STATUS


def drift_tolerance(sweep: DriftSweep, *, readout: str = "all") -> DriftTolerance:
    r"""Fit the tolerated strength of every kind of drift by least squares over all strengths and restarts.

    `readout` is `all`, `observed` or `regressed`: which accuracies of the sweep. Raises `InputError` on fewer than 4
    strengths, on a readout that the sweep lacks, and where the baseline is no better than chance.
    """
    tables = {"all": sweep.accuracy, "observed": sweep.observed_accuracy, "regressed": sweep.regressed_accuracy}
    if tables.get(readout) is None:
        raise InputError(f"`readout` must be one that the sweep has, of {', '.join(tables)}; got {readout!r}.")
    strength, table = np.asarray(sweep.strength)[1:], np.asarray(tables[readout])
    if len(strength) < 4:
        raise InputError(f"a sigmoid needs 4 strengths or more; got {len(strength)}.")
    chance = 2.0**-sweep.bits
    baseline = table[:, 0].mean(-1)
    if not (baseline > chance).all():
        raise InputError(f"without drift the accuracy is {baseline.min():.3g}, chance {chance:.3g}: nothing to lose.")
    rows = [_fit(strength, kind[1:], a, chance) for kind, a in zip(table, baseline.tolist(), strict=True)]
    tolerance, low, high, steepness, residual = np.array(rows).T
    status = np.where(tolerance < strength[0], BELOW, np.where(tolerance > strength[-1], ABOVE, INSIDE))
    return DriftTolerance(
        tolerance, low, high, steepness, baseline, residual, status.astype(np.int8), sweep.kinds, chance, sweep.neurons
    )


def drift_curve(
    strength: Float[Any, "*s"], tolerance: float, steepness: float, baseline: float, chance: float
) -> Float[np.ndarray, "*s"]:
    r"""$c + (a_0-c)/(1+(\delta/\delta_\mathrm{tol})^s)$."""
    given = np.asarray(strength, np.float64)
    # the logistic function of a logarithm does not overflow
    return chance + (baseline - chance) * scipy.stats.logistic.cdf(-steepness * np.log(given / tolerance))


STEEPEST = np.log(30.0)
"""Steeper sigmoids are steps between two strengths: their steepness is not measured."""


def _fit(
    strength: Float[np.ndarray, " s"], table: Float[np.ndarray, "s restart"], baseline: float, chance: float
) -> tuple[float, float, float, float, float]:
    span = np.log(strength[-1] / strength[0])
    places = np.linspace(np.log(strength[0]) - span, np.log(strength[-1]) + span, 241)
    losses = np.array([_profile(place, strength, table, baseline, chance)[0] for place in places])
    start = places[losses.argmin()]
    spacing = places[1] - places[0]
    bounds = (start - spacing, start + spacing)
    best = scipy.optimize.minimize_scalar(
        lambda p: _profile(p, strength, table, baseline, chance)[0], bounds=bounds, method="bounded"
    )
    place, loss = (best.x, best.fun) if best.fun < losses.min() else (start, losses.min())
    free = table.size - 2
    # a floor for accuracies that a sigmoid meets exactly: a count of steps is no finer than that
    floor = table.size * 1e-6
    allowed = (loss + floor) * (1 + scipy.stats.f.ppf(0.95, 1, free) / free)
    inside = np.flatnonzero(losses <= allowed)
    low, high = (places[inside[0]], places[inside[-1]]) if len(inside) else (place, place)
    low, high = min(low - spacing, place), max(high + spacing, place)
    ends = (0.0 if low < places[0] else np.exp(low), np.inf if high > places[-1] else np.exp(high))
    steepness = _profile(place, strength, table, baseline, chance)[1]
    return float(np.exp(place)), float(ends[0]), float(ends[1]), steepness, float(np.sqrt(loss / table.size))


def _profile(
    place: float,
    strength: Float[np.ndarray, " s"],
    table: Float[np.ndarray, "s restart"],
    baseline: float,
    chance: float,
) -> tuple[float, float]:
    """The least sum of squares over steepness, for a given log tolerance, and that steepness."""

    def loss(log_steepness: float) -> float:
        curve = drift_curve(strength, float(np.exp(place)), float(np.exp(log_steepness)), baseline, chance)
        return float(((table - curve[:, None]) ** 2).sum())

    best = scipy.optimize.minimize_scalar(
        loss, bounds=(np.log(0.2), STEEPEST), method="bounded", options={"xatol": 1e-3}
    )
    return float(best.fun), float(np.exp(best.x))
