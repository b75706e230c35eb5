"""Small real results to draw: manifolds of one and two coordinates, periodic ones, masked and broken ones."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

import recurvature as rc
from recurvature.lenses import warping
from recurvature.lenses.warping.status import NON_FINITE
from recurvature.systems.base import Network
from recurvature.systems.inputs import AbstractInputManifold

CASES = ("plane", "line", "torus", "masked", "broken")


class Case(NamedTuple):
    """Everything that the warping figures draw, of one network on one manifold."""

    metric: warping.Metric
    ratio: warping.Ratio | None
    profile: warping.Profile
    attribution: warping.Attribution
    dimension: warping.DimensionCheck
    step_size: warping.StepSizeCheck
    sheet: warping.Sheet


def network_for(inputs: int, outputs: int) -> Network:
    return rc.systems.leaky_current(7, inputs=inputs, outputs=outputs, key=rc.key(3), dt=0.25)


def case_of(network: Network, manifold: AbstractInputManifold, points: tuple[int, ...], duration: float) -> Case:
    options: Any = {"points": points, "duration": duration}
    metric = warping.metric(network, manifold, **options)
    return Case(
        metric,
        warping.ratio(metric, 0, 1) if manifold.dimension > 1 else None,
        warping.profile(metric, 0),
        warping.attribution(network, manifold, **options),
        warping.dimension_check(network, manifold, **options),
        warping.step_size_check(network, manifold, **options),
        warping.sheet(network, manifold, points=points, times=(duration / 2, duration), components=3),
    )


def broken(case: Case) -> Case:
    """The same with numbers that overflowed at two points."""
    lost = np.array([0, 5])

    def poison(array: Any, value: float = np.nan) -> np.ndarray:
        array = np.array(array)
        array[:, lost] = value
        return array

    metric, sheet = case.metric, case.sheet
    metric = dataclasses.replace(
        metric,
        metric=poison(metric.metric),
        stretches=poison(metric.stretches),
        log_volume=poison(metric.log_volume),
        status=poison(metric.status, NON_FINITE),
    )
    check = case.dimension
    return Case(
        metric,
        warping.ratio(metric, 0, 1),
        warping.profile(metric, 0),
        dataclasses.replace(case.attribution, recurrent_log_rate=poison(case.attribution.recurrent_log_rate)),
        dataclasses.replace(check, smallest_over_largest=poison(check.smallest_over_largest)),
        dataclasses.replace(case.step_size, relative_change=poison(case.step_size.relative_change)),
        dataclasses.replace(sheet, position=poison(sheet.position), outputs=poison(sheet.outputs)),
    )


@functools.cache
def all_cases() -> dict[str, Case]:
    """One case to each name of `CASES`."""
    context, memory, dots = rc.tasks.ContextDecision(), rc.tasks.WorkingMemory(dt=0.25), rc.tasks.RandomDots(dt=0.25)
    two, three, one = network_for(4, 1), network_for(3, 2), network_for(1, 1)
    plane = case_of(two, context.manifold(), (5, 4), 2.0)
    return {
        "plane": plane,
        "line": case_of(one, dots.manifold(), (9,), 3.0),
        # single precision is drawn as well
        "torus": case_of(rc.cast(three, jnp.float32), memory.manifold(), (6, 5), 2.5),
        # the second item comes after 1: until then no metric is of full rank
        "masked": case_of(three, memory.manifold(), (4, 4), 0.75),
        "broken": broken(plane),
    }
