"""The loop outside the compiled program: block after block until steps, target or numbers run out."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from recurvature._errors import InputError
from recurvature._progress import Progress, Report
from recurvature.systems.base import Network
from recurvature.tasks.base import AbstractTask
from recurvature.training.checkpoint import TrainingState, pack, unpack
from recurvature.training.descent import Batching, Keys, Progression, Recipe, Records, start, train_block
from recurvature.training.history import RUNNING, TARGET_REACHED, Fit, History, status_in_words
from recurvature.training.options import Options

OnBlock = Callable[[TrainingState], Any]
Rows = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Run:
    """A run between two blocks: what stays, what moves, and the rows so far."""

    options: Options
    recipe: Recipe
    skeleton: PyTree
    fixed: PyTree[Array]
    key: Keys
    spec: dict[str, Any]
    batching: Batching | None
    now: Progression
    rows: Rows

    @property
    def identity(self) -> dict[str, Any]:
        """The part of the spec that a resumed run must share."""
        return {k: v for k, v in self.spec.items() if k != "steps"}

    @property
    def active(self) -> np.ndarray:
        """Which networks have steps left."""
        status, step = np.asarray(self.now.status), np.asarray(self.now.step)
        return np.asarray((status == RUNNING) & (step < self.options.steps))

    def state(self) -> TrainingState:
        """All that changes, in host memory."""
        return pack(self.now, self.rows, self.identity)


def new_run(
    options: Options,
    task: AbstractTask,
    parts: tuple[PyTree, PyTree, PyTree],
    key: Keys,
    spec: dict[str, Any],
    batching: Batching | None = None,
) -> Run:
    """A run before its first step, of a network in the `parts` that `split` made; with `batching`, of many."""
    parameters, fixed, skeleton = parts
    recipe = options.recipe(task)
    begin = lambda p: start(recipe, p)  # noqa: E731
    now = begin(parameters) if batching is None else jax.vmap(begin)(parameters)
    # through NumPy, so that a first block and a resumed one see exactly the same kind of array and compile once
    now = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), now)
    shape = (*now.step.shape, 0)
    rows = {f.name: np.zeros(shape, np.float32) for f in dataclasses.fields(Records)}
    rows["penalties"] = np.zeros((*shape, len(options.penalties)), np.float32)
    return Run(options, recipe, skeleton, fixed, key, spec, batching, now, rows)


def resumed(run: Run, state: TrainingState | None) -> Run:
    """`run` where `state` left it; `run` itself if there is no state."""
    if state is None:
        return run
    now, rows = unpack(state, run.now, run.identity)
    if state.step > run.options.steps:
        raise InputError(f"`resume` has done {state.step} steps, more than `steps` = {run.options.steps}.")
    return dataclasses.replace(run, now=now, rows=rows)


def blocks(run: Run) -> Iterator[Run]:
    """The run after each of its remaining blocks."""
    steps = jnp.asarray(run.options.steps, jnp.int32)
    while run.active.any():
        now, records = train_block(run.recipe, run.skeleton, run.fixed, run.now, run.key, steps, run.batching)
        run = _recorded(run, now, records)
        yield run


def follow(run: Run, after: Iterator[Run], report: Report, on_block: OnBlock | None) -> Run:
    """Go through the blocks to the last, reporting and handing out the state after each."""
    for run in after:
        done = int(np.asarray(run.now.step).max())
        report(Progress("training", done, run.options.steps, _latest(run.rows)))
        if on_block is not None:
            on_block(run.state())
    return run


def _latest(rows: Rows) -> dict[str, float]:
    """The last loss and gradient norm, averaged over the seeds that have one."""
    last = {name: rows[name][..., -1] for name in ("loss", "gradient_norm")}
    return {name: float(np.mean(v[np.isfinite(v)])) for name, v in last.items() if np.isfinite(v).any()}


def _recorded(run: Run, now: Progression, records: Records) -> Run:
    """The run with the rows of one more block, and its networks that reached the target marked."""
    axis = np.ndim(now.step)
    before, steps = run.rows["loss"].shape[-1], np.asarray(now.step)
    made = slice(0, int(steps.max()) - before)
    index = (slice(None),) * axis + (made,)
    new = {f.name: np.asarray(getattr(records, f.name))[index] for f in dataclasses.fields(records)}
    rows = {name: np.concatenate([run.rows[name], new[name]], axis) for name in run.rows}
    status = _reached(np.asarray(now.status), run.active, new["loss"], run.options.target_loss)
    now = eqx.tree_at(lambda n: n.status, now, jnp.asarray(status, jnp.int32))
    return dataclasses.replace(run, now=now, rows=rows)


def _reached(
    status: np.ndarray, active: np.ndarray, losses: Float[np.ndarray, "*seed row"], target: float | None
) -> np.ndarray:
    """Mark the running networks whose mean loss over the block is at most the target."""
    if target is None:
        return status
    met = active & (status == RUNNING) & (losses.mean(-1) <= target)
    return np.where(met, TARGET_REACHED, status)


def finished(run: Run, seeds: tuple[int, ...] | None = None) -> Fit:
    """The run as a `Fit`."""
    network: Network = eqx.combine(run.now.parameters, run.fixed, run.skeleton)
    rows = {name: jnp.asarray(values) for name, values in run.rows.items()}
    history = History(
        step=jnp.arange(rows["loss"].shape[-1]),
        loss=rows["loss"],
        gradient_norm=rows["gradient_norm"],
        learning_rate=rows["learning_rate"],
        penalties=rows["penalties"],
        steps_done=run.now.step,
        status=run.now.status,
        seed=None if seeds is None else jnp.asarray(seeds),
        penalty_names=run.options.penalty_names,
        penalty_forms=tuple(run.spec["penalties"]),
    )
    return Fit(network, history, run.spec, status_in_words(history))
