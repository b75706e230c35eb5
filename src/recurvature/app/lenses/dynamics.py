"""What the network settles into while an input is held: fixed points, their stability, and how they come and go."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

import recurvature as rc
from recurvature import dynamics
from recurvature._progress import Progress, Report
from recurvature._result import AbstractResult
from recurvature.app.lenses import settling
from recurvature.app.lenses.moments import Held, held_inputs, visited
from recurvature.app.subject import Seen, Subject, nothing
from recurvature.dynamics.rate import latent_rate, rate_of

TITLE = "What it settles into"
MOST_WORK = 2e10
"""Floating-point operations that the search under one input may take in a full state."""
MOST_UNITS = 2000
"""A larger state is searched only where it has few latent variables."""
COUNTS = (16, 128)
"""Least and most starts of a search."""
MOST_FLOWS = 3
"""Inputs under which the flow is drawn."""


@dataclasses.dataclass(frozen=True)
class Settled:
    """What was found under every input, and along one of them."""

    held: list[Held]
    points: list[dynamics.FixedPoints]
    flows: list[dynamics.FlowField]
    at: list[Float[np.ndarray, "point i"]]
    """Where the points of each flow stand in its plane."""
    attractor: dynamics.AttractorTest | None
    branches: dynamics.Continuation | None
    unbranched: str = ""
    """Why nothing was followed."""

    def results(self) -> dict[str, AbstractResult]:
        """Everything by name, for storing."""
        named: dict[str, AbstractResult | None] = {f"fixed-points-{i}": p for i, p in enumerate(self.points)}
        named |= {f"flow-{i}": field for i, field in enumerate(self.flows)}
        named |= {"attractor": self.attractor, "branches": self.branches}
        return {f"dynamics-{name}": result for name, result in named.items() if result is not None}


def see(subject: Subject, report: Report) -> Seen:
    """Fixed points under typical inputs, the flow around them, and branches along one input."""
    size = subject.network.system.state_size
    latent = latent_rate(rate_of(subject.network))
    if latent is None and size > MOST_UNITS:
        why = (
            f"a state of {size:,} numbers is too large to search here; recurvature.dynamics.fixed_points takes longer."
        )
        return nothing("dynamics", TITLE, why)
    held = held_inputs(subject)
    states = visited(subject, held)
    points = []
    for i, one in enumerate(held):
        report(Progress(f"fixed points: {one.name}", i, len(held)))
        points.append(search(subject, one.inputs, states))
    report(Progress("fixed points", len(held), len(held)))
    flows = flows_of(subject, held[:MOST_FLOWS], points, states)
    at = [
        dynamics.plane_coordinates(subject.network, field, p.states)
        for field, p in zip(flows, points[: len(flows)], strict=True)
    ]
    report(Progress("branches of fixed points", 0, 1))
    branches, unbranched = branches_of(subject, held, points[0], latent is not None)
    found = Settled(held, points, flows, at, attractor_of(subject, points[0]), branches, unbranched)
    return Seen(
        (settling.section(found, subject),),
        {"dynamics": settling.numbers(found)},
        found.results(),
        settling.headline(points[0]),
        settling.checks_of(found),
        settling.trust(found),
    )


def starts(subject: Subject) -> int:
    """How many starts the search under one input may have: about eight steps of a Newton-like method each."""
    system = subject.network.system
    if latent_rate(rate_of(subject.network)) is not None:
        return COUNTS[1]
    return int(np.clip(MOST_WORK / (20 * system.state_size**3), *COUNTS))


def search(
    subject: Subject, inputs: Float[np.ndarray, " d"], states: Float[np.ndarray, "point n"] | None
) -> dynamics.FixedPoints:
    """Fixed points under one input, from visited states and twice from between what was found.

    For few latent variables, from all over their box.
    """
    network, key = subject.network, rc.stream(rc.key(subject.options.seed), "fixed points")
    if states is None or not len(states) or latent_rate(rate_of(network)) is not None:
        return dynamics.fixed_points(network, inputs, count=starts(subject), key=key)
    size = max(float(np.sqrt(np.mean(states**2))), 1e-3)
    return dynamics.fixed_points(
        network, inputs, trajectory=states, count=starts(subject), noise=0.3 * size, scale=size, key=key, between=2
    )


def flows_of(
    subject: Subject,
    held: list[Held],
    points: list[dynamics.FixedPoints],
    states: Float[np.ndarray, "point n"] | None,
) -> list[dynamics.FlowField]:
    """Flow fields in one plane: of the two latent variables, else of most variance among states and fixed points.

    In the second each shows the surroundings of its own points, where there are several, else all that is known.
    """
    network = subject.network
    latent = latent_rate(rate_of(network))
    if latent is not None and latent.size == 2:
        some = dynamics.flow_field(network, held[0].inputs, points=2)
        at = [dynamics.plane_coordinates(network, some, p.states) for p in points[: len(held)]]
        reach = 1.35 * max(float(np.abs(a).max(initial=0.0)) for a in at) or 1.0
        box = ((-reach, reach), (-reach, reach))
        return [dynamics.flow_field(network, one.inputs, extent=box, points=25) for one in held]
    known = [np.asarray(p.states) for p in points[: len(held)]] + ([] if states is None else [states])
    rows = np.concatenate(known)
    if network.system.state_size < 2 or len(rows) < 3:
        return []
    plane = dynamics.principal_plane(rows)
    whole, *parts = ((part - plane.origin) @ np.linalg.pinv(plane.axes) for part in (rows, *known[: len(held)]))
    boxes = [
        _box(part, 0.4) if len(part) > 1 and np.ptp(part, axis=0).max() > 0 else _box(whole, 0.15) for part in parts
    ]
    return [
        dynamics.flow_field(network, one.inputs, plane=plane, extent=box, points=21)
        for one, box in zip(held, boxes, strict=True)
    ]


def _box(points: Float[np.ndarray, "point 2"], room: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """The box of points in a plane, with room about it in shares of its longer side."""
    (left, low), (right, high) = points.min(0), points.max(0)
    width = room * max(right - left, high - low, 1e-6)
    return (float(left - width), float(right + width)), (float(low - width), float(high + width))


def attractor_of(subject: Subject, points: dynamics.FixedPoints) -> dynamics.AttractorTest | None:
    """Whether fixed and slow points without input lie on a line or a ring; None for fewer than five."""
    rows = np.concatenate([np.asarray(points.states), np.asarray(points.slow_states)])
    if len(rows) < settling.LEAST_FOR_ATTRACTOR or subject.network.system.state_size > MOST_UNITS // 4:
        return None
    try:
        return dynamics.attractor_test(subject.network, rows)
    except ValueError:  # a defective matrix has no modes to compare
        return None


def branches_of(
    subject: Subject, held: list[Held], points: dynamics.FixedPoints, latent: bool
) -> tuple[dynamics.Continuation | None, str]:
    """Branches along the input that differs most between the inputs held; None with the reason."""
    network = subject.network
    reach = np.abs(np.stack([one.inputs for one in held])).max(0)
    channel = int(reach.argmax())
    if not latent:
        return None, "only networks of low rank are followed here; recurvature.dynamics.continuation follows any."
    if not len(points.states) or not reach[channel] > 0:
        return None, "there is no fixed point without input to start from, or no input to vary."
    span = 1.5 * float(reach[channel])
    try:
        found = dynamics.continuation(network, np.asarray(points.states), (-span, span), channel=channel, points=400)
    except ValueError as error:  # a fixed point on the boundary of stability is no place to start
        return None, str(error)
    return dataclasses.replace(found, name=subject.input_names[channel]), ""


def counted(points: dynamics.FixedPoints) -> dict[str, Any]:
    """How many points there are of each type."""
    return {name: points.types.count(name) for name in dynamics.TYPES if name in points.types}
