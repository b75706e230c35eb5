r"""Which task came first? Networks that learned A or B and then all the same task C, and a test of what tells."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Bool, Float, Int

from recurvature._errors import InputError, check_count
from recurvature._keys import PRNGKey, stream
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.conditions import Conditions, memory_conditions
from recurvature.lenses.overlaps.coordinates import OVERLAPS, check_overlaps
from recurvature.lenses.overlaps.curriculum import Phase
from recurvature.lenses.overlaps.descent import Course, Propagator, Rule, current, follow
from recurvature.lenses.overlaps.diagnostics import LOOKS, Leg, check_looks, judge, marked
from recurvature.lenses.overlaps.layout import REGIMES, AbstractLaidOut, Layout, Regime, to_pairs
from recurvature.lenses.overlaps.status import Diagnostics, classify_steps


class Histories(AbstractLaidOut, AbstractResult):
    r"""Overlaps of several runs, each along two routes from one start: A then C, and B then C.

    `route` 0 is A. `matrix` is recorded at `count`; `switch` is the record at which C begins.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    count: Int[Values, " step"] = eqx.field(metadata={"long_name": "steps taken"})
    matrix: Float[Values, "run route step a b"]
    loss: Float[Values, "run route step"]
    status: Int[Values, "run route step"]
    switch: int
    regime: str
    columns: tuple[str, ...]
    outputs: int
    rank: int
    inputs: int
    tasks: tuple[str, ...]
    """Names of A, B and C."""
    closure: str
    """Whether Gaussian weights were assumed, and tested: one of `status.CLOSURE`."""
    diagnostics: tuple[tuple[Diagnostics, ...], ...]
    """Of every run along every route."""
    conditions: Conditions
    """Of the first run along A."""

    @property
    def visible(self) -> Bool[np.ndarray, " pair"]:
        """Which overlaps the loss can depend on."""
        return self.layout.visible("linear" if self.regime == "linear" else "gaussian")

    def pairs(self, step: int = -1) -> Float[np.ndarray, "run route pair"]:
        """The overlaps as vectors, at a record."""
        return to_pairs(np.asarray(self.matrix)[:, :, step], self.layout)


def histories(
    first: tuple[Phase, Phase],
    last: Phase,
    starts: Float[Any, "run a a"],
    *,
    layout: Layout,
    records: int = 20,
    looks: int = LOOKS,
    regime: Regime = "linear",
) -> Histories:
    """Every start through A and C, and through B and C; all runs of a route in one compiled program.

    The data of a phase have a leading axis of steps and are the same for every run. Keys of batches are data too: a
    loss that takes a key draws its own batch. `looks`: see `descend`.
    """
    if regime not in REGIMES:
        raise InputError(f"`regime` must be one of {', '.join(REGIMES)}; got {regime!r}.")
    check_count(records=records)
    check_looks(looks)
    begin = jnp.asarray(starts)
    for matrix in np.asarray(begin):
        check_overlaps(matrix, layout)
    for phase in (*first, last):
        if phase.steps % records:
            raise InputError(f"`records` = {records} must divide the steps of every phase; got {phase.steps}.")
    if first[0].steps != first[1].steps:
        raise InputError(f"A and B must take equally many steps; got {first[0].steps} and {first[1].steps}.")
    before = [_together(phase, begin, layout, records) for phase in first]
    after = [_together(last, np.stack([leg.matrix[-1] for leg in legs]), layout, records) for legs, _ in before]
    routes = [list(zip(b[0], a[0], strict=True)) for b, a in zip(before, after, strict=True)]
    matrix = np.stack([[np.concatenate([leg.matrix for leg in legs]) for legs in runs] for runs in routes], axis=1)
    losses = np.stack([np.concatenate([b[1], a[1]], axis=1) for b, a in zip(before, after, strict=True)], axis=1)
    told = [[judge(legs, looks=looks, regime=regime) for legs in runs] for runs in zip(*routes, strict=True)]
    clock = [np.arange(records + 1) * (phase.steps // records) for phase in (first[0], last)]
    datum = None if last.data is None else jax.tree.map(lambda leaf: leaf[-1], last.data)
    return Histories(
        count=np.concatenate([clock[0], clock[1] + first[0].steps]),
        matrix=matrix,
        loss=losses,
        status=marked(
            classify_steps(matrix, losses, np.zeros(losses.shape), linear=False),
            np.array([[said.lost for said in run] for run in told]),
        ),
        switch=records + 1,
        regime=regime,
        columns=layout.columns,
        outputs=layout.outputs,
        rank=layout.rank,
        inputs=layout.inputs,
        tasks=(first[0].name, first[1].name, last.name),
        closure=told[0][0].closure,
        diagnostics=tuple(tuple(said.diagnostics for said in run) for run in told),
        conditions=memory_conditions(
            last.loss,
            matrix[0, 0, 0],
            matrix[0, 0, -1],
            layout,
            regime=regime,
            data=datum,
            final_loss=losses[0, 0, [records, -1]],
            noise=(first[0].noise, last.noise),
        ),
    )


def _together(
    phase: Phase, starts: Float[Any, "run a a"], layout: Layout, records: int
) -> tuple[list[Leg], Float[np.ndarray, "run step"]]:
    """Courses and losses of all runs through one phase."""
    rule = phase.rule if isinstance(phase.rule, Rule) else Rule(phase.rule)
    begin = jnp.asarray(starts)
    traced = jax.tree.map(lambda value: jnp.asarray(value, begin.dtype), rule)
    every = phase.steps // records
    course, matrices = _all_runs(phase.loss, begin, traced, layout, records, jnp.asarray(every), phase.data)
    count = np.arange(records + 1) * every
    time = np.broadcast_to(course.time(float(rule.rate), count), course.loss.shape)
    along = zip(*(np.asarray(x) for x in (time, matrices, course.weights, course.norm)), strict=True)
    legs = [Leg(phase.loss, phase.data, rule, count, *one) for one in along]
    return legs, np.asarray(course.loss)


@eqx.filter_jit
def _all_runs(
    loss: Any, starts: Any, rule: Rule, layout: Layout, records: int, every: Any, data: Any
) -> tuple[Course, Any]:
    def one(start: Any) -> tuple[Course, Any]:
        course = follow(loss, start, rule, layout, records, every, data)
        at = Propagator(course.weights, course.weights, spread=course.spread)
        return course, jax.vmap(lambda each: current(start, each))(at)

    return jax.vmap(one)(starts)


class Telling(AbstractResult):
    """How well a linear discriminant names the first task from overlaps after the last one.

    Runs are left out one at a time, both routes of a run together, so that nothing of a tested run is seen in
    training. `accuracy` is that of every draw of the measurement noise; 1/2 is chance.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    visible: Float[Values, " draw"]
    invisible: Float[Values, " draw"]
    noise: float
    runs: int
    shrinkage: float


def tell_first_task(
    told: Histories, *, noise: float, key: PRNGKey, draws: int = 20, step: int = -1, shrinkage: float = 0.1
) -> Telling:
    """Classify A against B from visible overlaps, and from invisible ones, at one record.

    `noise` is the standard deviation of a Gaussian error added to every overlap, visible and invisible alike: without
    it a classifier reads differences that no measurement could. `shrinkage` of the pooled covariance goes into a
    multiple of the identity. Raises `InputError` for fewer than three runs.
    """
    check_count(draws=draws)
    if not 0 < shrinkage <= 1:
        raise InputError(f"`shrinkage` must lie in (0, 1]; got {shrinkage!r}.")
    records = len(told.count)
    if not -records <= step < records:
        raise InputError(f"`step` must lie in [-{records}, {records}); got {step}.")
    if not 0 <= noise < np.inf:
        raise InputError(f"`noise` must be a finite number of at least 0; got {noise!r}.")
    pairs, shown = told.pairs(step), told.visible
    if len(pairs) < 3:
        raise InputError(f"a classifier needs at least 3 runs; got {len(pairs)}.")
    errors = np.asarray(jr.normal(stream(key, "measurement"), (draws, *pairs.shape), float))
    seen = pairs + noise * errors
    scores = {
        name: np.array([_left_out(one[:, :, chosen], shrinkage) for one in seen])
        for name, chosen in (("visible", shown), ("invisible", ~shown))
    }
    return Telling(**scores, noise=float(noise), runs=len(pairs), shrinkage=shrinkage)


def _left_out(features: Float[np.ndarray, "run route feature"], shrinkage: float) -> float:
    """The share of networks named right, each by a discriminant made without its run."""
    right = 0
    for run in range(len(features)):
        weights, threshold = discriminant(np.delete(features, run, axis=0), shrinkage)
        scores = features[run] @ weights - threshold
        # a tie names nobody right
        right += int(scores[0] > 0) + int(scores[1] < 0)
    return right / (2 * len(features))


def discriminant(
    features: Float[np.ndarray, "run route feature"], shrinkage: float
) -> tuple[Float[np.ndarray, " feature"], float]:
    r"""Fisher's direction $\Sigma^{-1}(\mu_A-\mu_B)$ and the threshold halfway between the means.

    $\Sigma$ is the pooled covariance, with the share `shrinkage` of its trace in a multiple of the identity.
    """
    means = features.mean(0)
    centred = (features - means).reshape(-1, features.shape[-1])
    covariance = centred.T @ centred / max(len(centred) - 2, 1)
    size = np.trace(covariance) / len(covariance)
    ridge = np.eye(len(covariance)) * (size if size > 0 else 1.0)
    weights = np.linalg.solve((1 - shrinkage) * covariance + shrinkage * ridge, means[0] - means[1])
    return weights, float(weights @ means.mean(0))
