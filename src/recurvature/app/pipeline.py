"""From a network and a task to results: how well it does, and how it warps each view of its inputs."""

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import recurvature as rc
from recurvature._errors import InputError, check_count, check_positive, unknown
from recurvature._keys import PRNGKey
from recurvature._progress import Progress, Report
from recurvature._result import AbstractResult
from recurvature.lenses import warping
from recurvature.lenses.warping.smoothness import kinks_of_network
from recurvature.lenses.warping.status import OK
from recurvature.systems.base import AbstractMap, Euler, Network
from recurvature.systems.inputs import AbstractInputManifold, ConstantInputs, box
from recurvature.systems.leaky import leaky
from recurvature.systems.simulate import simulate
from recurvature.tasks.base import AbstractTask, Phases, Trials

LENSES = ("warping",)
"""Names that `--lens` takes."""

TRIAL_BYTES = 64 * 2**20
"""Memory that the states of trials run at once may take."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How closely to look."""

    lenses: tuple[str, ...] = LENSES
    points: int | None = None
    trials: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for lens in self.lenses:
            if lens not in LENSES:
                raise unknown("lens", lens, LENSES)
        check_count(trials=self.trials)
        if self.points is not None:
            check_count(points=self.points)
        if self.seed < 0:
            raise InputError(f"`seed` must be at least 0; got {self.seed}.")


@dataclasses.dataclass(frozen=True)
class Probe:
    """Where no task is known: constant inputs on a box, every other input 0."""

    amplitude: float = 1.0
    duration: float = 10.0

    def __post_init__(self) -> None:
        check_positive(amplitude=self.amplitude, duration=self.duration)


@dataclasses.dataclass(frozen=True)
class View:
    """One manifold of inputs to look at, for how long, and the parts of that time."""

    title: str
    manifold: AbstractInputManifold
    duration: float
    phases: Phases

    @property
    def slug(self) -> str:
        """The title as a name for files."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "view"


@dataclasses.dataclass(frozen=True)
class Performance:
    """Accuracy over many trials, and the trials themselves."""

    accuracy: float
    answered: int
    trials: Trials
    outputs: Float[np.ndarray, "trial time o"]
    failed: int
    """Trials whose states were not finite."""


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


def find_task(name: str, **parameters: Any) -> AbstractTask:
    """The task called `name` with some of its parameters set."""
    if name not in rc.tasks.TASKS:
        raise unknown("task", name, rc.tasks.TASKS)
    return rc.tasks.TASKS[name](**parameters)


def build_network(system: str, task: AbstractTask, size: int, key: PRNGKey, **options: Any) -> Network:
    """A new network with the inputs, outputs and step of `task`; raise on options that its kind does not have."""
    if system not in rc.systems.CONSTRUCTORS:
        raise unknown("system", system, rc.systems.CONSTRUCTORS)
    make = rc.systems.CONSTRUCTORS[system]
    known = {*inspect.signature(make).parameters, *inspect.signature(leaky).parameters}
    if make not in (rc.systems.leaky_current, rc.systems.leaky_rate):
        known = {*inspect.signature(make).parameters}
    for option in options:
        if option not in known:
            raise InputError(f"{system} has no `{option}`. Leave it out, or train another system.")
    return make(size, inputs=task.input_size, outputs=task.output_size, key=key, dt=task.dt, **options)


def fit_to(network: Network, task: AbstractTask) -> Network:
    """`network` stepped as `task` asks; raise where the two cannot belong together."""
    sizes = (network.system.input_size, network.readout.output_size)
    if sizes != (task.input_size, task.output_size):
        raise InputError(
            f"the network has {sizes[0]} input(s) and {sizes[1]} output(s), but {task.name} has "
            f"{task.input_size} and {task.output_size}. Name the task that the network was trained on with --task."
        )
    system = network.system
    if not isinstance(system, AbstractMap) or np.isclose(system.dt, task.dt, rtol=1e-6):
        return network
    if isinstance(system, Euler):
        raise InputError(
            f"the network steps by {system.dt:g}, but {task.name} by {task.dt:g}: give the network's own step when "
            "reading it, or train a network on this task."
        )
    # the step of a plain map is only the length that one application is said to last
    relabelled = dataclasses.replace(system, dt=task.dt)  # type: ignore[call-arg]
    return eqx.tree_at(lambda net: net.system, network, relabelled)


def perform(network: Network, task: AbstractTask, *, key: PRNGKey, trials: int, report: Report) -> Performance:
    """Run `trials` random trials, a few at a time."""
    drawn = task.trials(rc.stream(key, "test trials"), trials)
    if not isinstance(network.system, AbstractMap):
        raise InputError("the network is a flow: wrap it as Euler(flow, dt) to run the trials of a task.")
    bytes_per_trial = task.steps * network.system.state_size * network.x0.dtype.itemsize * 3
    block = max(1, min(trials, TRIAL_BYTES // bytes_per_trial))
    pieces, failed = [], 0
    for start in range(0, trials, block):
        inputs = drawn.inputs[start : start + block]
        filled = jnp.concatenate([inputs, jnp.repeat(inputs[-1:], block - len(inputs), 0)])
        run = simulate(network, filled)
        pieces.append(np.asarray(run.outputs)[: len(inputs)])
        failed += int((np.asarray(run.status)[: len(inputs)] != 0).sum())
        report(Progress("test trials", start + len(inputs), trials))
    outputs = np.concatenate(pieces)
    answered = int(((drawn.mask[:, :, None] != 0) & (drawn.targets != 0)).any((1, 2)).sum())
    return Performance(task.accuracy(jnp.asarray(outputs), drawn), answered, drawn, outputs, failed)


class _Constant(eqx.Module):
    size: int = eqx.field(static=True)

    def __call__(self, theta: Float[Array, " m"]) -> Float[Array, " d"]:
        return jnp.concatenate([theta, jnp.zeros(self.size - len(theta), theta.dtype)])


def views(network: Network, task: AbstractTask | None, probe: Probe) -> list[View]:
    """What to look at: the task's own views, else constant inputs along the first one or two channels."""
    if task is not None:
        found = []
        for title, condition in task.views().items():
            phases = task.phases(**condition)
            found.append(View(title, task.manifold(**condition), max(stop for _, stop in phases.values()), phases))
        return found
    size = network.system.input_size
    span = (-probe.amplitude, probe.amplitude)
    domain = box(**{f"input_{i + 1}": span for i in range(min(size, 2))})
    return [View("constant inputs", ConstantInputs(domain, _Constant(size)), probe.duration, {})]


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
        sheet=ask(warping.sheet, "positions", times=moments(view, state)),
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


MOST_COORDINATES = 4
"""Coordinates over which a report looks at a grid: with 5 points along each, 625 points."""


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


@dataclasses.dataclass(frozen=True)
class Study:
    """All that was found out about a network."""

    network: Network
    task: AbstractTask | None
    probe: Probe
    performance: Performance | None
    geometries: list[Geometry]
    unseen: tuple[View, ...] = ()
    """Views of too many coordinates for a grid."""

    def results(self) -> dict[str, AbstractResult]:
        """Every result by view and name."""
        return {f"{g.view.slug}-{name}": r for g in self.geometries for name, r in g.results().items()}


def study(network: Network, task: AbstractTask | None, probe: Probe, options: Options, report: Report) -> Study:
    """Test a network on its task, if one is known, and look at every view of its inputs."""
    done = None
    if task is not None:
        done = perform(network, task, key=rc.key(options.seed), trials=options.trials, report=report)
    every = views(network, task, probe)
    seen = [view for view in every if view.manifold.dimension <= MOST_COORDINATES]
    looks = [look(network, view, points=options.points, report=report) for view in seen]
    unseen = tuple(view for view in every if view.manifold.dimension > MOST_COORDINATES)
    return Study(network, task, probe, done, looks, unseen)
