"""From a network and a task to results: how well it does, and what every lens sees of it."""

import ast
import dataclasses
import inspect
import re
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import recurvature as rc
from recurvature._errors import InputError, unknown
from recurvature._keys import PRNGKey
from recurvature._progress import Progress, Report
from recurvature._result import AbstractResult
from recurvature.app import trust
from recurvature.app.lenses import dynamics, latent, overlaps, superposition, warping
from recurvature.app.page import Section
from recurvature.app.subject import LENSES, Options, Performance, Probe, Seen, Subject, View
from recurvature.identities import IdentityCheck
from recurvature.systems.base import AbstractMap, Euler, Network
from recurvature.systems.inputs import ConstantInputs, box
from recurvature.systems.leaky import leaky
from recurvature.systems.simulate import simulate
from recurvature.tasks.base import AbstractTask

LOOKS = {
    "dynamics": dynamics.see,
    "latent": latent.see,
    "warping": warping.see,
    "superposition": superposition.see,
    "overlaps": overlaps.see,
}
"""What each lens of `LENSES` does: it takes a subject and where to report progress."""

TRIAL_BYTES = 64 * 2**20
"""Memory that the states of trials run at once may take."""


NEUROGYM = "neurogym:"
"""What stands before the name of an environment, where a task is named."""
ENVIRONMENT_MS, TAU_MS = 20.0, 100.0
"""Step of an environment unless another one is asked for, and the unit of time: at a fifth of it leaks are seen."""


def find_task(name: str, *, training: bool = False, **parameters: Any) -> AbstractTask:
    """The task called `name` with some of its parameters set; an environment has other trials for training.

    Parameters may stand in the name, as in `sequence-sorting(length=4)`; those that are given apart go before.
    """
    if name.endswith(")"):
        name, written = _called(name)
        parameters = written | parameters
    if name.startswith(NEUROGYM):
        return _environment(name.removeprefix(NEUROGYM), training, **parameters)
    if name not in rc.tasks.TASKS:
        if re.search(r"-v\d+$", name):
            raise InputError(f"unknown task {name!r}. An environment of NeuroGym is named '{NEUROGYM}{name}'.")
        raise unknown("task", name, rc.tasks.TASKS)
    task = rc.tasks.TASKS[name]
    fields = [field.name for field in dataclasses.fields(task)]
    for parameter in parameters:
        if parameter not in fields:
            raise unknown(f"parameter of {name}", parameter, fields)
    return task(**parameters)


def _called(name: str) -> tuple[str, dict[str, Any]]:
    """A name and the parameters in brackets behind it, numbers and words of Python."""
    word, _, inside = name.partition("(")
    try:
        (call,) = ast.parse(f"f({inside}").body
        assert isinstance(call, ast.Expr)
        assert isinstance(call.value, ast.Call)
        given = {str(each.arg): ast.literal_eval(each.value) for each in call.value.keywords}
        wrong = bool(call.value.args)
    except (SyntaxError, ValueError, AssertionError):
        wrong = True
    if wrong:
        raise InputError(f"{name!r} is no task with parameters: write NAME(parameter=value, …), values as in Python.")
    return word.strip(), given


def _environment(name: str, training: bool, dt: float | None = None, **options: Any) -> AbstractTask:
    """An environment of NeuroGym, its trials recorded once: always the same, for training and for all else."""
    key = rc.stream(rc.key(0), "trials for training" if training else "trials")
    step = ENVIRONMENT_MS if dt is None else dt * TAU_MS
    return rc.tasks.from_environment(name, **options | {"key": key, "tau_ms": TAU_MS, "dt": step})


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
    own = {} if task is None else task.views()
    if task is not None and own:
        found = []
        for title, condition in own.items():
            phases = task.phases(**condition)
            found.append(View(title, task.manifold(**condition), max(stop for _, stop in phases.values()), phases))
        return found
    size = network.system.input_size
    span = (-probe.amplitude, probe.amplitude)
    domain = box(**{f"input_{i + 1}": span for i in range(min(size, 2))})
    return [View("constant inputs", ConstantInputs(domain, _Constant(size)), probe.duration, {})]


@dataclasses.dataclass(frozen=True)
class Study:
    """All that was found out about a network."""

    subject: Subject
    performance: Performance | None
    seen: dict[str, Seen]
    """By the name of the lens."""
    agreed: IdentityCheck | None = None
    """What several lenses must agree on."""

    @property
    def results(self) -> dict[str, AbstractResult]:
        """Every result by its name."""
        found = {name: result for each in self.seen.values() for name, result in each.results.items()}
        return found | ({} if self.agreed is None else {"identities": self.agreed})

    @property
    def sections(self) -> list[Section]:
        """The parts of the report, lens by lens."""
        return [section for each in self.seen.values() for section in each.sections]

    @property
    def numbers(self) -> dict[str, Any]:
        """The numbers of all lenses, and the accuracy."""
        accuracy = None if self.performance is None else self.performance.accuracy
        found = {"accuracy": accuracy} | {k: v for each in self.seen.values() for k, v in each.numbers.items()}
        return found | ({} if self.agreed is None else {"identities": trust.numbers(self.agreed)})


def study(
    network: Network,
    task: AbstractTask | None,
    probe: Probe,
    options: Options,
    report: Report,
    course: AbstractResult | None = None,
) -> Study:
    """Test a network on its task, if one is known, and look through every lens that was asked for.

    `course` says how its overlaps went through training, where that was watched (`overlaps.watched`).
    """
    done = None
    if task is not None:
        done = perform(network, task, key=rc.key(options.seed), trials=options.trials, report=report)
    subject = Subject(network, task, tuple(views(network, task, probe)), probe, options, done, course)
    seen = {name: LOOKS[name](subject, report) for name in LENSES if name in options.lenses}
    return Study(subject, done, seen, trust.agreement(subject, seen, report))
