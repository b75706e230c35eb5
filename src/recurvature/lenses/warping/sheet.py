"""The warped grid: where the points of an input manifold are in state space, seen in principal components."""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, NumericalError, check_count
from recurvature._progress import Report, silent
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping.field import Course, Space, check_network, observe, points_of, stream
from recurvature.lenses.warping.metric import WARPING
from recurvature.systems.base import Network
from recurvature.systems.inputs import AbstractInputManifold
from recurvature.systems.tangent import Frame


class Sheet(AbstractResult):
    """The state manifold at chosen times in the principal components of all of them together."""

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    theta: Float[Values, "point m"]
    position: Float[Values, "time point component"]
    variance: Float[Values, " component"] = eqx.field(metadata={"long_name": "share of variance"})
    outputs: Float[Values, "time point o"]
    coordinates: tuple[str, ...]
    periodic: tuple[bool, ...]
    grid: tuple[int, ...]
    space: str


class PositionEmitter(eqx.Module):
    """Emits positions in a space, and outputs."""

    space: Space = eqx.field(static=True)

    def __call__(self, network: Network, frame: Frame) -> tuple[Array, Array]:
        """Positions (b, r) and outputs (b, o)."""
        state = frame.rows[:1]
        return observe(network, state, self.space, 0)[0], observe(network, state, "readout", 0)[0]


def sheet(
    network: Network,
    manifold: AbstractInputManifold,
    *,
    times: tuple[float, ...],
    points: int | tuple[int, ...] | Float[Any, "point m"] = 11,
    space: Space = "state",
    components: int = 3,
    samples: int = 50,
    report: Report = silent,
) -> Sheet:
    """The warped grid at the steps nearest to `times` (> 0), in `components` shared principal components.

    Points whose state is not finite are NaN and leave the components to the others; `NumericalError` if all are.
    """
    check_network(network, manifold, space)
    check_count(components=components)
    if not times or min(times) <= 0:
        raise InputError(f"`times` must be one or more times greater than 0; got {times}.")
    grid = points_of(manifold, points)
    course = Course(max(times), samples)
    time, (positions, outputs), _ = stream(
        network, manifold, grid.theta, PositionEmitter(space), course, report=report, task="positions"
    )
    chosen = sorted({int(np.abs(time - t).argmin()) for t in times})
    cloud = positions[chosen]
    flat = cloud.reshape(-1, cloud.shape[-1])
    finite = np.isfinite(flat).all(-1)
    if not finite.any():
        raise NumericalError("no state is finite at any of `times`: the network explodes. Ask for earlier times.")
    centred = np.where(finite[:, None], flat, np.nan) - flat[finite].mean(0)
    _, scale, axes = np.linalg.svd(centred[finite], full_matrices=False)
    kept = min(components, len(scale))
    # the sign of a component is free: let its largest weight be positive
    signs = np.sign(axes[np.arange(kept), np.abs(axes[:kept]).argmax(1)])
    position = (centred @ (signs[:, None] * axes[:kept]).T).reshape(*cloud.shape[:2], kept)
    total = (scale**2).sum()
    return Sheet(
        time=time[chosen],
        theta=grid.theta,
        position=position,
        variance=scale[:kept] ** 2 / (total if total > 0 else 1.0),
        outputs=outputs[chosen],
        coordinates=grid.names,
        periodic=tuple(c.periodic for c in grid.coordinates),
        grid=grid.shape,
        space=space,
    )
