r"""The metric of a linear low-rank network as a function of its overlaps, those that no loss sees among them."""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from recurvature._result import AbstractResult, Citation, Values
from recurvature.identities.agreement import difference, tolerance_of, verdict
from recurvature.identities.reduced import linear_overlaps, stand_in
from recurvature.identities.where import looked_at
from recurvature.lenses.overlaps.coordinates import OVERLAPS
from recurvature.lenses.warping.field import instants_of
from recurvature.lenses.warping.metric import WARPING
from recurvature.systems.base import Network
from recurvature.systems.inputs import AbstractInputManifold


class OverlapMetric(AbstractResult):
    r"""The state metric of a linear low-rank network, from all its units and from its overlaps (docs eq. I.2).

    `predicted` is $NJ^\top S_{BB}J$ with the tangents $J$ of the reduced dynamics, which only overlaps that a loss can
    see decide; $S_{BB}$ is seen by none. It is the sum of `input_part` (products of input weights), `recurrent_part`
    (of left vectors of the recurrence) and `cross_part`.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS, WARPING)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    theta: Float[Values, "point m"]
    metric: Float[Values, "time point i j"] = eqx.field(metadata={"units": "state²/coordinate²"})
    predicted: Float[Values, "time point i j"] = eqx.field(metadata={"units": "state²/coordinate²"})
    input_part: Float[Values, "time point i j"]
    recurrent_part: Float[Values, "time point i j"]
    cross_part: Float[Values, "time point i j"]
    coordinates: tuple[str, ...]
    grid: tuple[int, ...]
    units: int
    error: float
    tolerance: float
    status: int
    """`identities.STATUS`."""


def overlap_metric(
    network: Network,
    manifold: AbstractInputManifold,
    *,
    points: int | tuple[int, ...] | Float[Any, "point m"] = 5,
    duration: float,
    samples: int = 10,
) -> OverlapMetric:
    """The metric of a linear low-rank network beside what its overlaps say; arguments as for `warping.metric`.

    Raises `InputError` on networks that are not linear and low-rank with a linear readout, and `ValueError` unless in
    float64.
    """
    grid, where = looked_at(network, manifold, points, duration, samples)
    overlaps = linear_overlaps(network)
    small, writing = stand_in(network, overlaps, np.asarray(overlaps.matrix))
    p = overlaps.inputs
    only = [np.zeros_like(writing), np.zeros_like(writing)]
    only[0][:p, :p], only[1][p:, p:] = writing[:p, :p], writing[p:, p:]
    predicted, from_inputs, recurrent = (where.metric_of(small, inner=inner) for inner in (writing, *only))
    measured = where.metric_of(network)
    tolerance = tolerance_of(network)
    error = difference(measured, predicted)
    return OverlapMetric(
        time=instants_of(network, duration, samples)[1:],
        theta=grid.theta,
        metric=measured,
        predicted=predicted,
        input_part=from_inputs,
        recurrent_part=recurrent,
        cross_part=predicted - from_inputs - recurrent,
        coordinates=grid.names,
        grid=grid.shape,
        units=overlaps.units,
        error=error,
        tolerance=tolerance,
        status=verdict(error, tolerance),
    )
