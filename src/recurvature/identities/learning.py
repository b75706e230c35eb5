r"""What learning does to a geometry: the metric after every step, from overlaps alone and from trained units."""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import check_positive
from recurvature._result import AbstractResult, Citation, Values
from recurvature.identities.agreement import difference, tolerance_of, verdict
from recurvature.identities.reduced import linear_overlaps, rewired, stand_in, writing_gram
from recurvature.identities.where import looked_at
from recurvature.lenses.overlaps import descend, descend_units, stacked
from recurvature.lenses.overlaps.coordinates import OVERLAPS
from recurvature.lenses.warping.metric import WARPING
from recurvature.systems.base import Network
from recurvature.systems.inputs import AbstractInputManifold


class LearnedGeometry(AbstractResult):
    r"""The metric at the end of a trial along learning, predicted and of trained units (docs eq. I.6).

    `predicted` follows from the overlaps at the start by the exact map of gradient descent; `trained` is the metric of
    the network whose units were all trained, by the derivative of their run. `length` is $\mathrm{tr}\,S_{BB}$.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS, WARPING)

    count: Int[Values, " step"] = eqx.field(metadata={"long_name": "steps taken"})
    theta: Float[Values, "point m"]
    predicted: Float[Values, "step point i j"] = eqx.field(metadata={"units": "state²/coordinate²"})
    trained: Float[Values, "step point i j"] = eqx.field(metadata={"units": "state²/coordinate²"})
    loss: Float[Values, " step"]
    length: Float[Values, " step"]
    matrix: Float[Values, "step a b"]
    """Overlaps, predicted."""
    coordinates: tuple[str, ...]
    grid: tuple[int, ...]
    overlap_error: float
    """Of predicted overlaps against those of the trained units."""
    error: float
    """Of the predicted metric against the trained one."""
    tolerance: float
    status: int
    """`identities.STATUS`."""


def learned_geometry(
    loss: Any,
    network: Network,
    rate: float,
    *,
    steps: int,
    every: int = 1,
    manifold: AbstractInputManifold,
    points: int | tuple[int, ...] | Float[Any, "point m"] = 5,
    duration: float,
    samples: int = 10,
    data: Any = None,
) -> LearnedGeometry:
    r"""Predict the metric of a linear low-rank network through gradient descent, and train its units beside it.

    `loss`, `steps`, `every` and `data` as for `overlaps.descend`, which predicts, and `overlaps.descend_units`, which
    trains: a loss that knows units (`overlaps.DataLoss`) makes the two routes share nothing. `rate` is $\eta$; the
    weights' learning rate is $N\eta$. `manifold`, `points`, `duration` as for `warping.metric`.

    Raises `InputError` on networks that are not linear and low-rank, and `ValueError` unless in float64. Divergence is
    reported in `status`.
    """
    grid, where = looked_at(network, manifold, points, duration, samples)
    check_positive(rate=rate)
    overlaps, theta = linear_overlaps(network), stacked(network).theta
    layout = overlaps.layout
    course = descend(loss, overlaps, rate, steps=steps, every=every, data=data)
    units = descend_units(loss, theta, rate, steps=steps, layout=layout, every=every, data=data)
    matrices = np.asarray(course.matrix)
    stand_ins = [stand_in(network, overlaps, s) for s in matrices]
    predicted = [where.metric_of(small, inner=writing)[-1] for small, writing in stand_ins]
    trained = [where.metric_of(rewired(network, vectors, layout))[-1] for vectors in np.asarray(units.vectors)]
    overlap_error, error = difference(matrices, units.matrix), difference(predicted, trained)
    tolerance = tolerance_of(network)
    return LearnedGeometry(
        count=np.asarray(course.count),
        theta=grid.theta,
        predicted=np.stack(predicted),
        trained=np.stack(trained),
        loss=np.asarray(units.loss),
        length=np.array([np.trace(writing_gram(s, layout)) for s in matrices]),
        matrix=matrices,
        coordinates=grid.names,
        grid=grid.shape,
        overlap_error=overlap_error,
        error=error,
        tolerance=tolerance,
        status=verdict(float(np.max([overlap_error, error])), tolerance),
    )
