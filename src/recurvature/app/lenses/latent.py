"""The latent lens of a report: which few variables carry the computation, and what of the activity they leave out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import recurvature as rc
from recurvature import dynamics
from recurvature._errors import InputError
from recurvature._progress import Progress, Report
from recurvature._result import AbstractResult
from recurvature.app.lenses import latent_held, latent_plane, latent_section
from recurvature.app.lenses.moments import held_inputs
from recurvature.app.live import Slide
from recurvature.app.subject import Seen, Subject, nothing
from recurvature.lenses import latent
from recurvature.lenses.latent.unit import AbstractUnit, at_rest
from recurvature.systems.base import AbstractMap, Network
from recurvature.systems.readout import LinearReadout
from recurvature.systems.simulate import simulate
from recurvature.tasks.base import Trials

TRIALS, RUNS = 32, 8
"""Trials on which ranks are compared, and on which the variables are run alone."""
SAMPLES = 1000
"""States of which the linear dimension is taken."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """A latent unit, how it was found, and what is asked of it."""

    network: Network
    reduced: Network
    unit: AbstractUnit
    extraction: latent.Extraction
    closure: latent.LatentClosure
    tuning: latent.TuningCurves
    dimension: latent.LinearDimension
    points: dynamics.FixedPoints
    readout: latent.ReadoutEquivalence | None
    leaving: latent.GrowthRate | None
    """The growth rate between states that are held, as far as a sample of units tells; None where none are."""
    alignment: latent.Alignment | None
    """The wanted outputs by the variables; None without a task."""
    flow: dynamics.FlowField | dynamics.FlowLine | None
    """Of one variable, or in the plane of two; None for any other number."""
    at: Float[np.ndarray, "point i"] | None
    """Where the fixed points stand in it."""
    slides: tuple[Slide, ...]
    """The flow while one input is held at several values; none for more variables than two."""
    trials: bool
    """Whether trials of a task were run, and not constant inputs."""
    output: str
    """What the first output says."""

    def results(self) -> dict[str, AbstractResult]:
        """Everything by name, for storing."""
        names = ("extraction", "closure", "tuning", "dimension", "points", "readout", "leaving", "alignment", "flow")
        found = {f"latent-{name}": getattr(self, name) for name in names}
        return {name: result for name, result in found.items() if result is not None}


def see(subject: Subject, report: Report) -> Seen:
    """The latent unit of a network: its own factors, or the least rank that does what it does."""
    network = subject.network
    if not isinstance(network.system, AbstractMap):
        return nothing("latent", latent_section.TITLE, "the network is a flow: wrap it as Euler(flow, dt).")
    report(Progress("latent unit", 0, 1))
    try:
        found = unit_of(subject)
    except InputError as error:
        return nothing("latent", latent_section.TITLE, str(error))
    report(Progress("latent unit", 1, 1))
    numbers = {"latent": latent_section.numbers(found)}
    return Seen((latent_section.section(found),), numbers, found.results(), latent_section.headline(found))


def unit_of(subject: Subject) -> Unit:
    """The unit and all that is asked of it; raises `InputError` where a network has none."""
    network, task = subject.network, subject.task
    trials = given(subject)
    extraction = latent.extract(network, trials, task=task)
    reduced = latent.reduced(network, extraction)
    unit = latent.extracted_unit(network, extraction)
    inputs = jnp.asarray(trials.inputs if isinstance(trials, Trials) else trials)[:RUNS]
    closure = latent.closure(reduced, inputs)
    reach = max(float(np.abs(np.asarray(closure.read)[..., 0]).max()), 1e-6)
    states = np.asarray(simulate(reduced, inputs).states)
    sample = states.reshape(-1, states.shape[-1])[:: -(-states[..., 0].size // SAMPLES)]
    rates = np.asarray(jax.vmap(reduced.system.rates)(jnp.asarray(sample)))
    key = rc.stream(rc.key(subject.options.seed), "latent points")
    points = dynamics.fixed_points(reduced, np.zeros(reduced.system.input_size), count=128, key=key)
    at = np.asarray(at_rest(unit, np.asarray(points.states)), float)
    flow = _flow(reduced, at, closure) if extraction.rank in (1, 2) else None
    linear = network.readout if isinstance(network.readout, LinearReadout) else None
    return Unit(
        network=network,
        reduced=reduced,
        unit=unit,
        extraction=extraction,
        closure=closure,
        tuning=latent.tuning_curves(unit, extent=(-reach, reach)),
        dimension=latent.linear_dimension(rates, extraction.rank + network.system.input_size),
        points=points,
        readout=None if linear is None else latent.readout_equivalence(unit, np.asarray(linear.weight)),
        leaving=latent_held.leaving(unit, points),
        alignment=latent_held.aligned(trials, np.asarray(closure.read)),
        flow=flow,
        at=None if flow is None else at,
        slides=() if flow is None else tuple(latent_plane.slides(subject, reduced, latent_plane.axes_of(flow))),
        trials=isinstance(trials, Trials),
        output=subject.output_names[0],
    )


def given(subject: Subject) -> Trials | Float[np.ndarray, "trial time d"]:
    """Some trials of the task, else constant inputs for as long as the probe lasts."""
    if subject.performance is not None:
        return jax.tree.map(lambda leaf: leaf[:TRIALS], subject.performance.trials)
    system = subject.network.system
    assert isinstance(system, AbstractMap)
    steps = max(round(subject.probe.duration / system.dt), 2)
    rows = [held.inputs for held in held_inputs(subject) if held.inputs.any()]
    return np.stack([np.repeat(row[None], steps, 0) for row in rows])


def _flow(
    reduced: Network, at: Float[np.ndarray, "point i"], closure: latent.LatentClosure
) -> dynamics.FlowField | dynamics.FlowLine:
    """The flow without input, as far as the variables go in trials and where they rest."""
    visited = float(np.abs(np.asarray(closure.read)).max())
    reach = 1.2 * max(visited, float(np.abs(at).max(initial=0.0))) or 1.0
    if at.shape[1] == 1:
        return dynamics.flow_line(reduced, extent=(-reach, reach), points=161)
    return dynamics.flow_field(reduced, extent=((-reach, reach), (-reach, reach)), points=25)
