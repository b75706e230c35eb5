r"""The strength of drift that a memory tolerates: a sigmoid through accuracies, with an interval (docs eq. L.58)."""

from typing import Any, ClassVar

import numpy as np
import scipy.optimize
import scipy.special
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

    `baseline` $a_0$ is the accuracy without drift, measured; `chance` $c$ is $2^{-K}$. `low` and `high` hold two
    intervals at 95 %: where the profile of the sum of squares stays within what an F test allows, and, of two restarts
    or more, a t interval from fits to each alone, since all strengths of a restart share its drift. They are zero or
    infinite where an end was not found.
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
    return chance + (baseline - chance) * scipy.special.expit(-steepness * np.log(given / tolerance))


PLACES, STEEPNESS = 241, np.geomspace(0.2, 30.0, 61)
"""Grid of the profile: places over three times the tested range of log strength, and steepness at each. Steeper than
30 is a step between two strengths, whose steepness nothing measures."""


def _fit(
    strength: Float[np.ndarray, " s"], table: Float[np.ndarray, "s restart"], baseline: float, chance: float
) -> tuple[float, float, float, float, float]:
    """Tolerance, both ends of its interval, steepness and residual."""
    span = np.log(strength[-1] / strength[0])
    places = np.linspace(np.log(strength[0]) - span, np.log(strength[-1]) + span, PLACES)
    limits = places[0], places[-1]
    place, steepness, loss = _best(strength, table, places, baseline, chance)
    free = table.size - 2
    # a floor for accuracies that a sigmoid meets exactly: a count of steps is no finer than that
    allowed = (loss + table.size * 1e-6) * (1 + scipy.special.fdtri(1, free, 0.95) / free)
    low, high = place, place
    # twice: coarse over everything, then fine where the first look ended
    for _ in range(2):
        inside = places[_losses(strength, table, places, baseline, chance).min(1) <= allowed]
        low, high = min([place, *inside]), max([place, *inside])
        places = np.linspace(low - span / 40, high + span / 40, PLACES)
    if table.shape[1] > 1:
        alone = [_best(strength, one[:, None], np.linspace(*limits, PLACES), baseline, chance)[0] for one in table.T]
        reach = float(scipy.special.stdtrit(len(alone) - 1, 0.975) * np.std(alone, ddof=1) / np.sqrt(len(alone)))
        low, high = min(low, place - reach), max(high, place + reach)
    ends = np.exp(low) if low > limits[0] else 0.0, np.exp(high) if high < limits[1] else np.inf
    rest = float(np.sqrt(loss / table.size))
    return float(np.exp(place)), float(ends[0]), float(ends[1]), float(np.exp(steepness)), rest


def _best(
    strength: Float[np.ndarray, " s"],
    table: Float[np.ndarray, "s restart"],
    places: Float[np.ndarray, " p"],
    baseline: float,
    chance: float,
) -> tuple[float, float, float]:
    """Place and steepness, as logarithms, of the least sum of squares, and that sum."""
    losses = _losses(strength, table, places, baseline, chance)
    row, column = np.unravel_index(losses.argmin(), losses.shape)
    best = scipy.optimize.least_squares(
        lambda p: (table - drift_curve(strength, np.exp(p[0]), np.exp(p[1]), baseline, chance)[:, None]).ravel(),
        (places[row], np.log(STEEPNESS[column])),
        bounds=((places[0], np.log(STEEPNESS[0])), (places[-1], np.log(STEEPNESS[-1]))),
    )
    return float(best.x[0]), float(best.x[1]), 2 * float(best.cost)


def _losses(
    strength: Float[np.ndarray, " s"],
    table: Float[np.ndarray, "s restart"],
    places: Float[np.ndarray, " p"],
    baseline: float,
    chance: float,
) -> Float[np.ndarray, "p q"]:
    """Sums of squares for every place and steepness."""
    distance = np.log(strength) - places[:, None, None]
    curves = chance + (baseline - chance) * scipy.special.expit(-STEEPNESS[:, None] * distance)
    # around the mean of the restarts, whose own spread no curve changes
    mean, spread = table.mean(1), float(((table - table.mean(1, keepdims=True)) ** 2).sum())
    return table.shape[1] * ((mean - curves) ** 2).sum(-1) + spread
