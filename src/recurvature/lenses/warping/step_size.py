"""How far a metric depends on the step: the same field with half of it."""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError
from recurvature._progress import Report, silent
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping.field import Space
from recurvature.lenses.warping.metric import WARPING, metric
from recurvature.systems.base import Euler, Network
from recurvature.systems.inputs import AbstractInputManifold
from recurvature.systems.simulate import steps_for


class StepSizeCheck(AbstractResult):
    r"""Relative change of the metric when the Euler step is halved, $\|G_h - G_{h/2}\|/\|G_{h/2}\|$ (Frobenius).

    The Euler scheme has order 1, so the error of $G_h$ against continuous time is about twice this. It says how far
    the network *as a flow* is resolved; a network trained with steps of h is exactly what it is at h. NaN where either
    metric is not finite.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    theta: Float[Values, "point m"]
    relative_change: Float[Values, "time point"]
    dt: float
    grid: tuple[int, ...]


def step_size_check(
    network: Network,
    manifold: AbstractInputManifold,
    *,
    points: int | tuple[int, ...] | Float[Any, "point m"] = 5,
    duration: float,
    space: Space = "state",
    report: Report = silent,
) -> StepSizeCheck:
    """Recompute the metric with half the step and compare (docs eq. W.10); only `Euler` has a step to halve."""
    system = network.system
    if not isinstance(system, Euler):
        raise InputError("`network` is no Euler(flow, dt): its step is part of it and cannot be halved.")
    halved = eqx.tree_at(lambda net: net.system, network, Euler(system.flow, system.dt / 2))
    whole = steps_for(duration, system.dt) * system.dt
    options: dict[str, Any] = {"points": points, "duration": whole, "space": space, "report": report}
    coarse, fine = metric(network, manifold, **options), metric(halved, manifold, **options)
    at_half = np.asarray(fine.metric)[1::2]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        difference = np.linalg.norm(np.asarray(coarse.metric) - at_half, axis=(-2, -1))
        change = np.where(difference == 0, 0.0, difference / np.linalg.norm(at_half, axis=(-2, -1)))
    return StepSizeCheck(coarse.time, coarse.theta, change, system.dt, coarse.grid)
