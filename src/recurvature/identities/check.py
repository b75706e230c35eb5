"""How much of the lenses to believe for one network: every identity that is one of it, and how exactly it holds."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_positive
from recurvature._precision import cast, require_float64
from recurvature._result import AbstractResult, Citation, Values
from recurvature.dynamics import FixedPoints
from recurvature.identities.agreement import (
    LIMIT,
    NON_FINITE,
    NOT_APPLICABLE,
    SINGULAR,
    STATUS,
    difference,
    verdict,
)
from recurvature.identities.fisher import GANGULI, FisherMemory, local_fisher_memory
from recurvature.identities.learning import learned_geometry
from recurvature.identities.overlap_metric import overlap_metric
from recurvature.identities.past import length_of_step, past_inputs, state_before
from recurvature.identities.reduced import linear_overlaps
from recurvature.identities.spectra import spectra
from recurvature.identities.split import metric_split
from recurvature.lenses.latent import closure
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import leaky_unit
from recurvature.lenses.overlaps import DataLoss
from recurvature.lenses.overlaps.coordinates import OVERLAPS
from recurvature.lenses.superposition import trajectory_directions
from recurvature.lenses.warping.field import check_network
from recurvature.lenses.warping.metric import WARPING
from recurvature.systems.base import AbstractMap, Network
from recurvature.systems.inputs import AbstractInputManifold
from recurvature.systems.simulate import rollout, sample_inputs, steps_for
from recurvature.tasks.recall import SUPERPOSITION

WINDOW = 40
"""Steps of the end of a trial on which what costs N × N a step is tried."""
HELD = 6
"""Inputs that a flow is given in turn."""
RATE = 0.01
"""The rate of the step of learning: the map is exact for any, and this one moves overlaps by far more than 1e-10."""


class IdentityCheck(AbstractResult):
    """The identities between lenses, tried on one network: both sides computed apart, and their difference.

    One entry for each identity: `names`, what it says in `statements`, where it is derived in `equations`, `error` (the
    largest difference over the largest entry), the `tolerance` that rounding allows, `status`, and in `reasons` why it
    does not apply where it does not.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING, SUPERPOSITION, DINC, OVERLAPS, GANGULI)

    error: Float[Values, " identity"]
    tolerance: Float[Values, " identity"]
    status: Int[Values, " identity"]
    """`identities.STATUS`."""
    names: tuple[str, ...]
    statements: tuple[str, ...]
    equations: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The statuses in words."""
        return tuple(STATUS[int(code)] for code in self.status)

    @property
    def tried(self) -> int:
        """How many identities are ones of this network."""
        return int((np.asarray(self.status) != NOT_APPLICABLE).sum())

    @property
    def held(self) -> int:
        """How many of them hold."""
        return self.verdicts.count("holds")


class Row(NamedTuple):
    """One identity: how it is called, and a function that gives error, tolerance and status."""

    name: str
    equation: str
    statement: str
    run: Callable[[], tuple[float, float, int]]


class Subject(NamedTuple):
    """What is checked: a network at the beginning of a course of inputs, on a manifold."""

    network: Network
    manifold: AbstractInputManifold
    duration: float
    course: Float[Array, "time d"]
    """The inputs of one trial, at a point of the manifold that is no special one."""
    ages: int
    dt: float
    fixed_points: FixedPoints | None

    def late(self) -> tuple[Network, Float[Array, "time d"]]:
        """The end of the trial, and the network as that finds it."""
        steps = min(WINDOW, len(self.course))
        return state_before(self.network, self.course, steps, self.dt), self.course[-steps:]


def check(
    network: Network,
    manifold: AbstractInputManifold,
    *,
    duration: float,
    ages: int | None = None,
    fixed_points: FixedPoints | None = None,
) -> IdentityCheck:
    """Try every identity between the lenses on one network, over the inputs of a manifold; cheap for any network.

    **Arguments**

    - `manifold`, `duration`: a task's own, as for `warping.metric`: `task.manifold(...)`, `task.duration`.
    - `ages`: how many past inputs are taken as coordinates (None: as many as make eight coordinates, at least two).
    - `fixed_points`: those of the network under a constant input, where they have been found; their indices are then
      added up, and their spectra compared. Without them spectra are compared where the trial ends.

    The network is taken in float64. What does not apply says so (`not_applicable`, with the reason), it does not raise.
    Raises `InputError` where network and manifold do not fit, and `ValueError` unless float64 is on.
    """
    check_network(network, manifold)
    check_positive(duration=duration)
    network = cast(network, float)
    require_float64(x0=network.x0)
    subject = _subject(network, manifold, duration, ages, fixed_points)
    rows = [*_of_any(subject), *_of_low_rank(subject), *_of_linear(subject)]
    found = [_tried(row) for row in rows]
    return IdentityCheck(
        error=np.array([error for error, *_ in found]),
        tolerance=np.array([tolerance for _, tolerance, *_ in found]),
        status=np.array([status for *_, status, _ in found], np.int8),
        names=tuple(row.name for row in rows),
        statements=tuple(row.statement for row in rows),
        equations=tuple(row.equation for row in rows),
        reasons=tuple(reason for *_, reason in found),
    )


def _subject(
    network: Network,
    manifold: AbstractInputManifold,
    duration: float,
    ages: int | None,
    fixed_points: FixedPoints | None,
) -> Subject:
    dt = length_of_step(network, duration / HELD)
    steps = steps_for(duration, dt)
    # off every symmetry that a task may have: the golden section of each range
    theta = np.array([[c.low + 0.381966 * (c.high - c.low) for c in manifold.coordinates]])
    course = sample_inputs(cast(manifold, float), theta, dt=dt, steps=steps)[0]
    wanted = max(2, 8 // network.system.input_size) if ages is None else ages
    return Subject(network, manifold, duration, course, min(wanted, steps), dt, fixed_points)


def _tried(row: Row) -> tuple[float, float, int, str]:
    """Error, tolerance, status, and why it does not apply: what the lenses themselves answer."""
    nothing = float("nan")
    try:
        # what overflows is no surprise here: it is what the status then says
        with np.errstate(over="ignore", invalid="ignore"):
            return (*row.run(), "")
    except InputError as reason:
        return nothing, nothing, NOT_APPLICABLE, str(reason)
    except np.linalg.LinAlgError:
        return nothing, nothing, NON_FINITE, ""


def _of_any(subject: Subject) -> list[Row]:
    """Identities of every network, or every map."""

    def past() -> tuple[float, float, int]:
        held = None if isinstance(subject.network.system, AbstractMap) else subject.dt
        found = past_inputs(*subject.late(), ages=subject.ages, dt=held)
        return found.error, found.tolerance, found.status

    memory = functools.cache(lambda: local_fisher_memory(*subject.late(), ages=subject.ages))

    def fisher() -> tuple[float, float, int]:
        found = memory()
        return found.error, found.tolerance, unless_singular(found, found.error)

    def recall() -> tuple[float, float, int]:
        found = memory()
        return found.recall_error, found.tolerance, unless_singular(found, found.recall_error)

    def backward() -> tuple[float, float, int]:
        error = backward_difference(subject)
        return error, LIMIT, verdict(error, LIMIT)

    return [
        Row("past inputs", "I.1", "Feature directions have the metric of past inputs as Gram matrix.", past),
        Row("fisher memory", "I.14", "Fisher memory is the metric under the noise's inverse covariance.", fisher),
        Row("noisy recall", "I.18", "Recall from a noisy state is what its Fisher memory allows.", recall),
        Row("backward", "I.20", "Outputs depend on past inputs alike forwards and backwards in time.", backward),
    ]


def unless_singular(found: FisherMemory, error: float) -> int:
    """The verdict on one of the two identities of a Fisher memory."""
    return SINGULAR if found.status == SINGULAR else verdict(error, found.tolerance)


def _of_low_rank(subject: Subject) -> list[Row]:
    """Identities of low-rank leaky networks."""

    def variables() -> tuple[float, float, int]:
        found = closure(subject.network, subject.course[None])
        return found.relative_error, LIMIT, verdict(found.relative_error, LIMIT)

    def split() -> tuple[float, float, int]:
        found = metric_split(subject.network, subject.manifold, points=2, duration=subject.duration, samples=4)
        return found.error, found.tolerance, found.status

    def spectrum() -> tuple[float, float, int]:
        found = spectra(subject.network, *_states(subject))
        return found.error, found.tolerance, found.status

    def indices() -> tuple[float, float, int]:
        if subject.fixed_points is None:
            raise InputError("no `fixed_points` were given: find them with `dynamics.fixed_points`.")
        if subject.fixed_points.completeness == "unknown":
            raise InputError("the network is not known to be bounded, or a fixed point is marginal: no sum is due.")
        found = spectra(subject.network, *_states(subject))
        error = float(max(abs(found.index_sum - 1), abs(found.latent_index_sum - 1)))
        return error, 0.0, verdict(error, 0.0)

    return [
        Row("latent variables", "L.4", "Latent variables run alone are those read from all units.", variables),
        Row("metric split", "I.8", "The metric is that of the latent unit, lifted, and what it does not see.", split),
        Row("spectra", "I.11", "Eigenvalues are those of the latent unit and copies of the leak.", spectrum),
        Row("indices", "I.13", "The indices of all fixed points add up to one.", indices),
    ]


def _of_linear(subject: Subject) -> list[Row]:
    """Identities of linear low-rank networks."""

    def geometry() -> tuple[float, float, int]:
        found = overlap_metric(subject.network, subject.manifold, points=2, duration=subject.duration, samples=4)
        return found.error, found.tolerance, found.status

    def learning() -> tuple[float, float, int]:
        found = learned_geometry(
            _silence(subject),
            subject.network,
            RATE,
            steps=1,
            manifold=subject.manifold,
            points=1,
            duration=subject.duration,
        )
        return float(np.max([found.overlap_error, found.error])), found.tolerance, found.status

    return [
        Row("overlap metric", "I.2", "The metric follows from overlaps, unseen ones among them.", geometry),
        Row("learning step", "I.6", "Overlaps alone say where a step of training takes the metric.", learning),
    ]


def _silence(subject: Subject) -> DataLoss:
    """A loss to descend: to be silent through the trial."""
    overlaps = linear_overlaps(subject.network)
    if overlaps.dt is None:
        raise InputError("the network is a flow: losses of data are those of networks in steps.")
    course = jnp.asarray(subject.course)[None]
    targets = jnp.zeros((*course.shape[:2], overlaps.outputs), course.dtype)
    return DataLoss(course, targets, overlaps.layout, overlaps.dt)


def _states(subject: Subject) -> tuple[np.ndarray, Any]:
    """States at which spectra are compared, and the input there: fixed points, or where the trial ends."""
    leaky_unit(subject.network)
    points = subject.fixed_points
    if points is not None and len(points.states):
        return np.asarray(points.states, float), np.asarray(points.inputs, float)
    end = subject.course[-1]
    return np.asarray(state_before(subject.network, _and_one(subject.course), 1, subject.dt).x0)[None], end


def _and_one(course: Float[Array, "time d"]) -> Float[Array, "later d"]:
    """The course with one step more, which nothing reads."""
    return jnp.concatenate([course, course[-1:]])


def backward_difference(subject: Subject) -> float:
    """Derivatives of the last outputs by past inputs, carried forward and by reverse differentiation."""
    network, system = subject.network, subject.network.system
    if not isinstance(system, AbstractMap):
        raise InputError("the network is a flow: its solver is differentiated forwards only.")
    last, before = subject.course[-subject.ages :], state_before(network, subject.course, subject.ages, subject.dt)
    forward = np.asarray(trajectory_directions(before, last[None], ages=subject.ages).projection)
    reverse = np.asarray(_reverse(before, last))
    return difference(forward, np.moveaxis(reverse[:, ::-1], 1, 0))


@eqx.filter_jit
def _reverse(network: Network, course: Float[Array, "time d"]) -> Float[Array, "o time d"]:
    def outputs(inputs: Array) -> Array:
        assert isinstance(network.system, AbstractMap)
        return network.outputs(rollout(network.system, network.x0, inputs)[-1])

    return jax.jacrev(outputs)(course)
