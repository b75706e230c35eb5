r"""Arc length along coordinate lines: neither geodesic distance nor chord (docs eq. W.37–W.39)."""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from recurvature._errors import check_count
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping.geodesics.sampling import PointLike, number_type, point_rows, rows_at
from recurvature.lenses.warping.immersion import Immersion
from recurvature.lenses.warping.metric import WARPING
from recurvature.systems.inputs import chart_fields, coordinate_number

FINE, COARSE = 4, 3
"""Gauss–Legendre points between two samples: of the length, and of the rule whose difference estimates its error."""


class ArcLength(AbstractResult):
    r"""Arc length along lines on which one coordinate runs through its range and the others stay.

    Such a line is in general no geodesic: between two of its points the geodesic distance is at most the arc length,
    and the chord through the ambient space at most the geodesic distance.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    theta: Float[Values, "line sample m"]
    speed: Float[Values, "line sample"] = eqx.field(metadata={"units": "space/coordinate"})
    r"""$\sqrt{G_{ii}}$."""
    length: Float[Values, "line sample"] = eqx.field(metadata={"units": "space", "long_name": "arc length from start"})
    length_error: Float[Values, " line"] = eqx.field(metadata={"units": "space", "long_name": "estimated error"})
    profile: Float[Values, "line sample"] = eqx.field(metadata={"long_name": "share of the arc length"})
    """From 0 to 1; NaN on a line along which nothing moves."""
    chord: Float[Values, "line sample"] = eqx.field(metadata={"units": "space", "long_name": "distance from the start"})
    along: str
    coordinates: tuple[str, ...]
    units: tuple[str, ...]
    periodic: tuple[bool, ...]
    dtype: str


def arc_length(
    immersion: Immersion,
    along: int | str,
    *,
    at: PointLike | None = None,
    samples: int = 65,
) -> ArcLength:
    r"""Arc length along coordinate lines, $\int\sqrt{G_{ii}}\,d\theta_i$, and its profile from 0 to 1 (W.37, W.38).

    **Arguments**

    - `along`: the coordinate that runs, by name or number, from the low to the high end of its range.
    - `at`: a point of each line (m,) or (line, m), whose own value of that coordinate does not matter; by default the
      middle of every range, 0 for an angle from 0 to 2π.
    - `samples`: points of a line, both ends included (of a circle they are one point).

    Raises `InputError` on arguments that do not fit.
    """
    number = coordinate_number([c.name for c in immersion.coordinates], along, "along")
    check_count(samples=samples - 1 if isinstance(samples, int) else samples)
    middle = [c.low if c.periodic else (c.low + c.high) / 2 for c in immersion.coordinates]
    base = point_rows("at", middle if at is None else at, immersion.dimension)
    dtype = np.dtype(number_type(immersion, at))
    coordinate = immersion.coordinates[number]
    ends = np.linspace(coordinate.low, coordinate.high, samples)
    speed, vectors, theta = _speeds(immersion, base, number, ends, dtype)
    half = np.diff(ends) / 2
    fine, coarse = (_panels(immersion, base, number, ends, count, dtype) * half for count in (FINE, COARSE))
    length = np.concatenate([np.zeros((len(base), 1)), np.cumsum(fine, axis=1)], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        profile = np.where(length[:, -1:] > 0, length / length[:, -1:], np.nan)
        chord = np.linalg.norm(vectors - vectors[:, :1], axis=-1)
    return ArcLength(
        theta=theta,
        speed=speed.astype(dtype),
        length=length.astype(dtype),
        length_error=np.abs(fine - coarse).sum(1).astype(dtype),
        profile=profile.astype(dtype),
        chord=chord.astype(dtype),
        along=coordinate.name,
        **chart_fields(immersion.coordinates),
        dtype=str(dtype),
    )


def _panels(
    immersion: Immersion,
    base: Float[np.ndarray, "line m"],
    number: int,
    ends: Float[np.ndarray, " sample"],
    count: int,
    dtype: Any,
) -> Float[np.ndarray, "line panel"]:
    """The mean speed between samples, times two, by Gauss–Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    middle, half = (ends[1:] + ends[:-1]) / 2, np.diff(ends) / 2
    at = (middle[:, None] + half[:, None] * nodes).ravel()
    return _speeds(immersion, base, number, at, dtype)[0].reshape(len(base), -1, count) @ weights


def _speeds(
    immersion: Immersion,
    base: Float[np.ndarray, "line m"],
    number: int,
    values: Float[np.ndarray, " value"],
    dtype: Any,
) -> tuple[Float[np.ndarray, "line value"], Float[np.ndarray, "line value n"], Float[np.ndarray, "line value m"]]:
    """Speeds, vectors and points of every line where its coordinate has the given values."""
    theta = np.repeat(base[:, None].astype(dtype), len(values), axis=1)
    theta[..., number] = values
    rows = rows_at(immersion, theta.reshape(-1, immersion.dimension), 1, dtype)
    shaped = rows.reshape(len(rows), *theta.shape[:2], -1)
    return np.linalg.norm(shaped[1 + number].astype(float), axis=-1), shaped[0], theta
