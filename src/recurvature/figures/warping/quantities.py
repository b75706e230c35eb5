r"""What of a metric can be drawn, with its symbol, units and scale."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from recurvature._errors import InputError, check_choice
from recurvature.figures.style import COORDINATES, INK, words
from recurvature.lenses.warping import STATUS, Metric

Quantity = Literal["stretch", "metric", "principal", "log_volume", "anisotropy", "ratio"]
QUANTITIES = ("stretch", "metric", "principal", "log_volume", "anisotropy", "ratio")
"""What of a metric can be drawn.

- `stretch`: $\\sqrt{G_{ii}}$ of every coordinate; `metric`: $G_{ii}$.
- `principal`: the generalised stretches $s_a$ against the reference metric, the largest first.
- `log_volume`: the logarithm of their product; `anisotropy`: the largest over the smallest.
- `ratio`: $G_{11}/G_{22}$ of the first two coordinates.
"""

OK = STATUS.index("ok")


class Series(NamedTuple):
    """One quantity over time and points."""

    name: str
    """What it is called in a legend."""
    symbol: str
    units: str
    values: Float[np.ndarray, "time point"]
    """NaN where there is nothing to show."""
    colour: str
    scale: Literal["log", "linear", "balance"]
    """`balance`: logarithmic around 1."""


def series_of(metric: Metric, quantity: str) -> list[Series]:
    """The series of a quantity, one to each coordinate or principal stretch, or a single one."""
    check_choice("quantity", quantity, QUANTITIES)
    if quantity in ("stretch", "metric"):
        return [_entry(metric, i, quantity) for i in range(len(metric.coordinates))]
    against = f"relative to {words(metric.reference)}"
    usable = np.asarray(metric.status) == OK
    known = lambda values: np.where(usable & np.isfinite(values), values, np.nan)  # noqa: E731
    if quantity == "principal":
        columns = np.moveaxis(np.asarray(metric.stretches, np.float64), -1, 0)
        return [
            Series(f"stretch {a + 1}", f"$s_{a + 1}$", against, _positive(c), shade, "log")
            for a, (c, shade) in enumerate(zip(columns, _shades(len(columns)), strict=True))
        ]
    if quantity == "log_volume":
        values = known(np.asarray(metric.log_volume, np.float64))
        return [Series("log volume", r"$\log\,\sqrt{\det G}$", against, values, INK, "linear")]
    if len(metric.coordinates) < 2:
        raise InputError(f"`quantity` {quantity!r} compares two coordinates, but `metric` has one.")
    if quantity == "anisotropy":
        values = known(np.asarray(metric.anisotropy, np.float64))
        return [Series("anisotropy", f"$s_1/s_{len(metric.coordinates)}$", against, values, INK, "log")]
    first, second = (_diagonal(metric, i) for i in (0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        values = known(first / second)
    names = " / ".join(words(name) for name in metric.coordinates[:2])
    return [Series(names, "$G_{11}/G_{22}$", "", values, INK, "balance")]


def _entry(metric: Metric, i: int, quantity: str) -> Series:
    entry, units = _diagonal(metric, i), metric.units[i] or f"unit of {words(metric.coordinates[i])}"
    name, index = words(metric.coordinates[i]), f"{{{i + 1}{i + 1}}}"
    colour = COORDINATES[i % len(COORDINATES)]
    if quantity == "metric":
        squares = f"{squared(space_units(metric))} / {squared(units)}"
        return Series(name, f"$G_{index}$", squares, _positive(entry), colour, "log")
    values = _positive(np.sqrt(np.where(entry >= 0, entry, np.nan)))
    return Series(name, rf"$\sqrt{{G_{index}}}$", f"{space_units(metric)} / {units}", values, colour, "log")


def _diagonal(metric: Metric, i: int) -> Float[np.ndarray, "time point"]:
    return np.asarray(metric.metric, np.float64)[..., i, i]


def _positive(values: Float[np.ndarray, "time point"]) -> Float[np.ndarray, "time point"]:
    """NaN where a logarithmic scale has no place for a value: nothing has moved there yet."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _shades(count: int) -> list[str]:
    """Greys: principal stretches belong to no coordinate."""
    return [f"{level:.2f}" for level in np.linspace(0.1, 0.6, count)]


def space_units(metric: Metric) -> str:
    """The unit in which the state moves: `state`, `rate` or `output`, and how its length is taken."""
    unit = {"state": "state", "rates": "rate", "readout": "output"}.get(metric.space, metric.space)
    return unit + {"per_unit": "/√N", "given": " in given norm"}.get(metric.inner, "")


def squared(units: str) -> str:
    """`units` squared, in parentheses where it is not one word."""
    return f"{units}²" if units.isalpha() else f"({units})²"


def joint_units(series: list[Series], metric: Metric, quantity: str) -> str:
    """The units of several series on one axis."""
    if len({s.units for s in series}) == 1:
        return series[0].units
    space = space_units(metric)
    return f"{space} / coordinate" if quantity == "stretch" else f"{squared(space)} / coordinate²"


def flagged(metric: Metric) -> Bool[np.ndarray, "time point"]:
    """Where the metric may not be used as one: its status is not `ok`."""
    return np.asarray(metric.status) != OK


def reasons(metric: Metric, indices: list[int]) -> str:
    """The reason codes that occur at some samples, for a legend."""
    found = sorted(set(np.asarray(metric.status)[indices].ravel().tolist()) - {OK})
    return ", ".join(words(STATUS[code]) for code in found)
