"""The warping lens on one view of a network's inputs: every question asked, in the number type of the network."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from recurvature._progress import Progress, Report
from recurvature._result import AbstractResult
from recurvature.app.subject import View
from recurvature.lenses import warping
from recurvature.lenses.warping.smoothness import kinks_of_network
from recurvature.lenses.warping.status import OK
from recurvature.systems.base import Euler, Network
from recurvature.systems.inputs import AbstractInputManifold

FRAMES = 40
"""Positions through time of which a figure can show every one."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """What the warping lens says of one view; None where the question does not apply."""

    view: View
    state: warping.Metric
    rates: warping.Metric
    attribution: warping.Attribution
    dimension: warping.DimensionCheck
    sheet: warping.Sheet
    step_size: warping.StepSizeCheck | None
    ratio: warping.Ratio | None
    rates_ratio: warping.Ratio | None
    curvature: warping.Curvature | None = None
    uncurved: str = ""
    """Why there is no curvature to look at."""

    def results(self) -> dict[str, AbstractResult]:
        """Everything by name, for storing."""
        fields = {f.name.replace("_", "-"): getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: result for name, result in fields.items() if isinstance(result, AbstractResult)}


def look(network: Network, view: View, *, points: int | None, report: Report) -> Geometry:
    """The warping lens on one view, in the number type of the network."""
    count = points or default_points(view.manifold)

    def ask(question: Callable[..., Any], what: str, **options: Any) -> Any:
        task = f"{view.title}: {what}"
        report(Progress(task, 0, 1))
        renamed = lambda progress, /: report(dataclasses.replace(progress, task=task))  # noqa: E731
        return question(network, view.manifold, **{"points": count, "report": renamed, **options})

    time = {"duration": view.duration}
    state = ask(warping.metric, "state metric", **time)
    rates = ask(warping.metric, "rates metric", space="rates", **time)
    halved = isinstance(network.system, Euler)
    pair, uncurved = leading_pair(state), why_uncurved(network, view, state)
    return Geometry(
        view=view,
        state=state,
        rates=rates,
        attribution=ask(warping.attribution, "attribution", **time),
        dimension=ask(warping.dimension_check, "dimension check", **time),
        sheet=ask(warping.sheet, "positions", times=frames(view, state)),
        step_size=ask(warping.step_size_check, "step-size check", **{**time, "points": 5}) if halved else None,
        ratio=pair and warping.ratio(state, *pair),
        rates_ratio=pair and warping.ratio(rates, *pair),
        curvature=None if uncurved else ask(warping.curvature, "curvature", times=moments(view, state), **time),
        uncurved=uncurved,
    )


def why_uncurved(network: Network, view: View, state: warping.Metric) -> str:
    """Why the curvature of a view cannot be looked at; empty if it can."""
    count = view.manifold.dimension
    if count != 2:
        return f"only surfaces are drawn here, and these inputs have {count} coordinate{'s' if count > 1 else ''}."
    found = kinks_of_network(network, view.manifold)
    if found:
        return (
            f"the network has kinks ({', '.join(found)}), in which curvature hides: "
            "recurvature.warping.smoothing_sweep says what becomes of it as they are made smooth."
        )
    at = [int(np.abs(np.asarray(state.time) - time).argmin()) for time in moments(view, state)]
    if not (np.asarray(state.status)[at] == OK).any():
        return "the metric is singular at every input and time looked at, as the table above says."
    return ""


def default_points(manifold: AbstractInputManifold) -> int:
    """Points along every coordinate: odd, so that the middle of a range is one of them."""
    return {1: 41, 2: 11}.get(manifold.dimension, 5)


def moments(view: View, state: warping.Metric) -> tuple[float, ...]:
    """Times at which to draw the manifold: the ends of the phases in which it has moved, else four even times."""
    moved = np.asarray(state.time)[(np.asarray(state.metric) != 0).any((1, 2, 3))]
    if not len(moved):
        return (view.duration,)
    ends = sorted({stop for _, stop in view.phases.values() if stop >= moved[0]})
    if len(ends) >= 3:
        return tuple(ends)
    return tuple(max(view.duration * share, float(moved[0])) for share in (0.1, 0.3, 0.6, 1.0))


def frames(view: View, state: warping.Metric) -> tuple[float, ...]:
    """Times at which positions are kept: even steps through the whole time, and the moments that are drawn."""
    return tuple(sorted({*np.linspace(0, view.duration, FRAMES + 1)[1:].tolist(), *moments(view, state)}))


def leading_pair(metric: warping.Metric) -> tuple[str, str] | None:
    """Of two coordinates, the one that ends up more stretched, then the other; None unless there are two alike."""
    if len(metric.coordinates) != 2 or metric.units[0] != metric.units[1]:
        return None
    first, second = metric.coordinates
    medians = np.asarray(warping.ratio(metric, first, second).median)
    known = medians[np.isfinite(medians) & (medians > 0)]
    if not len(known):
        return None
    # the largest departure from 1, wherever in time it is
    extreme = known[np.abs(np.log(known)).argmax()]
    return (first, second) if extreme >= 1 else (second, first)
