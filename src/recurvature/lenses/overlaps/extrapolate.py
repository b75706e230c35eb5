"""Steps of size 0: what a quantity would be without discretisation, from a few rates that halve."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError, check_count, check_positive
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.coordinates import OVERLAPS


class Extrapolation(AbstractResult):
    r"""Quantities measured at rates $\eta, \eta/2, \eta/4,\dots$ and their limit $\eta\to0$ (docs eq. O.43).

    `limit` is what gradient flow leaves (a holonomy, if the tasks went round a loop); `discretisation` what steps of
    the first rate add. `uncertainty` is the size of the last correction, or the rounding of the values where that is
    more. `order` is the power of $\eta$ that the last three values show, 1 where the scheme applies; NaN for two rates.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    rate: Float[Values, " rate"]
    values: Float[Values, "rate quantity"]
    limit: Float[Values, " quantity"]
    uncertainty: Float[Values, " quantity"]
    discretisation: Float[Values, " quantity"]
    order: Float[Values, " quantity"]

    @property
    def separated(self) -> Any:
        """Which quantities have a limit that differs from zero by more than twice its uncertainty."""
        return np.abs(np.asarray(self.limit)) > 2 * np.asarray(self.uncertainty)


def extrapolate(measure: Callable[[float], Any], rate: float, *, levels: int = 3) -> Extrapolation:
    r"""Run `measure` at `rate`, half of it, a quarter …, and remove the powers of the rate one by one.

    `measure` takes a rate and returns a number or an array, always over the same time (rate times steps): the change of
    an invariant, say, or of the overlaps round a loop of tasks. Gradient descent has an expansion in whole powers of
    $\eta$ around its flow, so that Richardson's scheme applies. `levels` is the number of rates, at least 2.
    """
    check_positive(rate=rate)
    check_count(levels=levels)
    if levels < 2:
        raise InputError("`levels` must be at least 2: one rate says nothing about the limit.")
    rates = rate / 2.0 ** np.arange(levels)
    values = np.stack([np.ravel(np.asarray(measure(float(r)), float)) for r in rates])
    columns = richardson(values)
    limit = columns[-1][0]
    correction = np.abs(limit - columns[-2][-1])
    rounding = 4 * np.finfo(float).eps * np.abs(values).max(0)
    return Extrapolation(
        rate=rates,
        values=values,
        limit=limit,
        uncertainty=np.maximum(correction, rounding),
        discretisation=values[0] - limit,
        order=_order(values),
    )


def richardson(values: Float[np.ndarray, "rate quantity"]) -> list[Float[np.ndarray, "_ quantity"]]:
    r"""Values at rates that halve, then with the first, second … power of the rate removed; the last has one row."""
    columns = [values]
    for power in range(1, len(values)):
        last = columns[-1]
        columns.append((2**power * last[1:] - last[:-1]) / (2**power - 1))
    return columns


def _order(values: Float[np.ndarray, "rate quantity"]) -> Float[np.ndarray, " quantity"]:
    if len(values) < 3:
        return np.full(values.shape[1], np.nan)
    first, second = np.abs(values[-2] - values[-3]), np.abs(values[-1] - values[-2])
    fine = (first > 0) & (second > 0)
    return np.where(fine, np.log2(np.where(fine, first, 1) / np.where(fine, second, 1)), np.nan)
