r"""What of a metric can be drawn, with its symbol, units and scale."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from recurvature._errors import InputError, check_choice
from recurvature.figures.style import COORDINATES, INK, words
from recurvature.lenses.warping import STATUS, AbstractMetric, Curvature, RecordedMetric

QUANTITIES = ("stretch", "metric", "principal", "log_volume", "anisotropy", "ratio")
"""What of a metric can be drawn.

- `stretch`: $\\sqrt{G_{ii}}$ of every coordinate; `metric`: $G_{ii}$.
- `principal`: the generalised stretches $s_a$ against the reference metric, the largest first.
- `log_volume`: the logarithm of their product; `anisotropy`: the largest over the smallest.
- `ratio`: $G_{11}/G_{22}$ of the first two coordinates.
"""

Mapped = AbstractMetric | Curvature
"""Results over time and points that one map can show."""
CURVATURES = ("gaussian", "mean")
"""What of a curvature can be drawn: $K$, or $|H|$."""
OK, PIECEWISE = STATUS.index("ok"), STATUS.index("piecewise")


class Series(NamedTuple):
    """One quantity over time and points."""

    name: str
    """What it is called in a legend."""
    symbol: str
    units: str
    values: Float[np.ndarray, "time point"]
    """NaN where there is nothing to show."""
    colour: str
    scale: Literal["log", "linear", "balance", "signed"]
    """`balance`: logarithmic around 1; `signed`: alike on both sides of 0."""
    least: float = 0.0
    """How far a signed scale reaches at least."""


def series_of(metric: AbstractMetric, quantity: str) -> list[Series]:
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
            Series(f"stretch {a + 1}", f"$s_{a + 1}$", against, positive(c), shade, "log")
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


def curvature_series(result: Curvature, quantity: str) -> Series:
    """Gaussian or mean curvature where the metric has full rank; the scale of K reaches ten times its rounding."""
    check_choice("quantity", quantity, CURVATURES)
    space = space_units(result)
    if quantity == "mean":
        values = positive(np.asarray(result.mean_curvature, np.float64))
        return Series("mean curvature", "$|H|$", f"1 / {space}", values, INK, "log")
    known = ~flagged(result)
    values = np.where(known, np.asarray(result.gaussian, np.float64), np.nan)
    error = np.where(known, np.asarray(result.scalar_error, np.float64), 0.0)
    least = 5 * float(np.nanmax(error, initial=0.0))
    return Series("Gaussian curvature", "$K$", f"1 / {squared(space)}", values, INK, "signed", least)


def _entry(metric: AbstractMetric, i: int, quantity: str) -> Series:
    entry, units = _diagonal(metric, i), metric.units[i] or f"unit of {words(metric.coordinates[i])}"
    name, index = words(metric.coordinates[i]), f"{{{i + 1}{i + 1}}}"
    colour = COORDINATES[i % len(COORDINATES)]
    if quantity == "metric":
        squares = f"{squared(space_units(metric))} / {squared(units)}"
        return Series(name, f"$G_{index}$", squares, positive(entry), colour, "log")
    values = positive(np.sqrt(np.where(entry >= 0, entry, np.nan)))
    return Series(name, rf"$\sqrt{{G_{index}}}$", f"{space_units(metric)} / {units}", values, colour, "log")


def _diagonal(metric: AbstractMetric, i: int) -> Float[np.ndarray, "time point"]:
    return np.asarray(metric.metric, np.float64)[..., i, i]


def positive(values: Float[np.ndarray, "time point"]) -> Float[np.ndarray, "time point"]:
    """NaN where a logarithmic scale has no place for a value: nothing has moved there yet."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _shades(count: int) -> list[str]:
    """Greys: principal stretches belong to no coordinate."""
    return [f"{level:.2f}" for level in np.linspace(0.1, 0.6, count)]


def space_units(result: Mapped) -> str:
    """The unit in which the state moves: `state`, `rate` or `output`, and how its length is taken."""
    unit = {"state": "state", "rates": "rate", "readout": "output"}.get(result.space, result.space)
    return unit + {"per_unit": "/√N", "given": " in given norm"}.get(result.inner, "")


def clock(result: Mapped) -> str:
    """The units of its time; empty where all times are taken together."""
    return result.time_units if isinstance(result, RecordedMetric) else "τ"


def squared(units: str) -> str:
    """`units` squared, in parentheses where it is not one word."""
    return f"{units}²" if units.isalpha() else f"({units})²"


def joint_units(series: list[Series], metric: AbstractMetric, quantity: str) -> str:
    """The units of several series on one axis."""
    if len({s.units for s in series}) == 1:
        return series[0].units
    space = space_units(metric)
    return f"{space} / coordinate" if quantity == "stretch" else f"{squared(space)} / coordinate²"


def flagged(result: Mapped) -> Bool[np.ndarray, "time point"]:
    """Where the metric may not be used as one."""
    return ~np.isin(np.asarray(result.status), (OK, PIECEWISE))


def reasons(result: Mapped, indices: list[int]) -> str:
    """The reason codes that occur at some samples, for a legend."""
    found = sorted(set(np.asarray(result.status)[indices].ravel().tolist()) - {OK, PIECEWISE})
    return ", ".join(words(STATUS[code]) for code in found)
