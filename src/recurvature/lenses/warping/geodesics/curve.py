r"""Geodesics as results, and what every curve is checked for."""

from typing import ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping.geodesics.sampling import outside, rows_at
from recurvature.lenses.warping.geodesics.spray import MetricField, Space
from recurvature.lenses.warping.geodesics.status import BOUNDARY, NON_FINITE, NOT_CONVERGED, OK, SINGULAR
from recurvature.lenses.warping.metric import WARPING
from recurvature.lenses.warping.status import CONDITION_LIMIT


class Geodesic(AbstractResult):
    r"""Geodesics of a state manifold, each followed at constant speed.

    Coordinates are unwrapped: a curve around a circle ends a period away from where it began. `length` is the length
    of the curve, `chord` the distance of its ends through the ambient space. `drift` is the largest relative departure
    from constant speed.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    time: Float[Values, " sample"]
    """The parameter of the curves: `velocity` is the derivative of `theta` in it."""
    theta: Float[Values, "curve sample m"]
    velocity: Float[Values, "curve sample m"]
    length: Float[Values, " curve"] = eqx.field(metadata={"units": "space"})
    length_error: Float[Values, " curve"] = eqx.field(metadata={"units": "space", "long_name": "estimated error"})
    polygon: Float[Values, " curve"] = eqx.field(metadata={"units": "space", "long_name": "sum of chords"})
    """Between samples. This and the chord are NaN for a metric field, which has no ambient space."""
    chord: Float[Values, " curve"] = eqx.field(metadata={"units": "space"})
    drift: Float[Values, " curve"]
    pair: Int[Values, " curve"]
    """Which start and end a curve joins; of an initial value problem, the number of the curve."""
    winding: Int[Values, "curve m"]
    """Whole periods added to the nearest copy of the end; of an initial value problem, whole turns made."""
    shortest: Bool[Values, " curve"]
    """Whether no other curve of its pair is shorter among those whose status is `ok`."""
    status: Int[Values, " curve"]
    """Reason codes, `warping.GEODESIC_STATUS`."""
    coordinates: tuple[str, ...]
    units: tuple[str, ...]
    periodic: tuple[bool, ...]
    problem: str
    """`initial value` or `boundary value`."""
    method: str
    dtype: str

    @property
    def converged(self) -> Bool[np.ndarray, " curve"]:
        """Which curves have the status `ok`."""
        return np.asarray(self.status) == OK


def ambient_lengths(
    space: Space, theta: Float[np.ndarray, "curve sample m"]
) -> tuple[Float[np.ndarray, " curve"], Float[np.ndarray, " curve"]]:
    """The polygon of the samples and the chord of the ends."""
    if isinstance(space, MetricField):
        none = np.full(len(theta), np.nan, theta.dtype)
        return none, none
    vectors = rows_at(space, theta.reshape(-1, space.dimension), 0, theta.dtype)[0].reshape(*theta.shape[:2], -1)
    with np.errstate(invalid="ignore", over="ignore"):
        polygon = np.linalg.norm(np.diff(vectors, axis=1), axis=-1).sum(-1)
        return polygon, np.linalg.norm(vectors[:, -1] - vectors[:, 0], axis=-1)


def curve_status(
    space: Space,
    theta: Float[np.ndarray, "curve sample m"],
    upper: Float[np.ndarray, "curve sample m m"],
    solved: Bool[np.ndarray, " curve"],
) -> Int[np.ndarray, " curve"]:
    """The reason code of every curve, from its points, the metric factors there, and whether its solver succeeded."""
    reached, measured = np.isfinite(theta).all(-1), np.isfinite(upper).all((-1, -2))
    safe = np.where(measured[..., None, None], upper, np.eye(theta.shape[-1]))
    stretch = np.linalg.svd(safe, compute_uv=False)
    singular = (stretch[..., -1] * CONDITION_LIMIT[str(theta.dtype)] <= stretch[..., 0]).any(-1)
    status = np.where(outside(space, theta).any(-1), BOUNDARY, OK)
    status = np.where(solved & reached.all(-1), status, NOT_CONVERGED)
    status = np.where(singular, SINGULAR, status)
    return np.where((measured | ~reached).all(-1), status, NON_FINITE)
