"""`recurvature train` and the training half of `demo`: fit in blocks, with a checkpoint beside the output."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import recurvature as rc
from recurvature._errors import InputError, NumericalError
from recurvature._progress import Report
from recurvature.app.doctor import cores
from recurvature.app.page import Table, number, percent
from recurvature.app.pipeline import build_network, find_task, perform
from recurvature.app.subject import Performance
from recurvature.io.checkpoint import load_checkpoint, save_checkpoint
from recurvature.io.specs import TrainSpec
from recurvature.lenses import overlaps
from recurvature.systems.base import Network
from recurvature.tasks.base import AbstractTask
from recurvature.training import Fit, TrainingState, fit, fit_ensemble, network_at, seed_keys
from recurvature.training.run import OnBlock

TRIALS = 1000
"""Trials for the accuracy after training."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A task, what was trained on it, and the seeds in the order of the networks."""

    task: AbstractTask
    fit: Fit
    spec: TrainSpec
    resumed_at: int

    @functools.cached_property
    def test(self) -> AbstractTask:
        """The task with trials that were not trained on, also where an environment made them beforehand."""
        return task_of(self.spec, training=False)

    @property
    def networks(self) -> dict[int, Network]:
        """Every network by its seed."""
        if self.fit.history.seed is None:
            return {self.spec.seed: self.fit.network}
        return {int(seed): self.fit.member(i) for i, seed in enumerate(self.fit.history.seed)}

    def status(self, seed: int) -> str:
        """How the training of one seed ended."""
        history = self.fit.history
        return history.statuses[int(np.asarray(history.status).reshape(-1)[self.place(seed)])]

    def place(self, seed: int) -> int:
        """The place of a seed among the networks."""
        return list(self.networks).index(seed)

    def last_loss(self, seed: int) -> float:
        """The mean loss of the last steps, at most 50 of them."""
        loss = np.asarray(self.fit.history.loss).reshape(len(self.networks), -1)[self.place(seed)]
        loss = loss[np.isfinite(loss)]
        return float(loss[-50:].mean()) if len(loss) else float("nan")

    def numbers(self) -> dict[str, Any]:
        """How it went, seed by seed, for run.json."""
        done = np.asarray(self.fit.history.steps_done).reshape(-1)
        seeds = {
            str(seed): {"status": self.status(seed), "steps": int(done[i]), "loss": self.last_loss(seed)}
            for i, seed in enumerate(self.networks)
        }
        return {"status": self.fit.status, "seeds": seeds}

    def performances(self, report: Report) -> dict[int, Performance]:
        """How well each seed that did not fail does its task."""
        good = {seed: n for seed, n in self.networks.items() if self.status(seed) != "non-finite"}
        key = rc.key(self.spec.seed)
        return {seed: perform(n, self.test, key=key, trials=TRIALS, report=report) for seed, n in good.items()}

    def table(self, done: dict[int, Performance]) -> Table | None:
        """One row to a seed; None where there is only one."""
        if len(self.networks) == 1:
            return None
        caption = "Every seed, those that failed too. The trials shown are of the first that did not fail."
        rows = tuple(
            (
                str(seed),
                self.status(seed),
                number(self.last_loss(seed)),
                percent(done[seed].accuracy) if seed in done else "–",
            )
            for seed in self.networks
        )
        return Table(("seed", "training", "loss", "trials right"), rows, caption)


def checkpoint_of(out: Path) -> Path:
    """Where the checkpoint of a run that ends in `out` is kept."""
    return out.with_name(f"{out.stem}.checkpoint{out.suffix}")


def task_of(spec: TrainSpec, *, training: bool) -> AbstractTask:
    """The task that a spec names, with its step if it sets one."""
    return find_task(spec.task, training=training, **({} if spec.dt is None else {"dt": spec.dt}))


def network_of(spec: TrainSpec, task: AbstractTask, key: Any) -> Network:
    """A new network as a spec describes it, in float32."""
    if spec.rank is not None and spec.rank > spec.hidden:
        raise InputError(f"`rank` must not exceed the {spec.hidden} units of `hidden`; got {spec.rank}.")
    options = {name: value for name in ("rank", "phi") if (value := getattr(spec, name)) is not None}
    return rc.cast(build_network(spec.system, task, spec.hidden, key, **options), jnp.float32)


def run_training(
    spec: TrainSpec,
    *,
    report: Report,
    checkpoint: Path | None = None,
    resume: bool = False,
    watch: OnBlock | None = None,
    **options: Any,
) -> Trained:
    """Train what `spec` asks for; save to `checkpoint` after every block, `resume` from it if it exists.

    `watch` sees the state of the run after every block, where there is no checkpoint.
    """
    task = task_of(spec, training=True)
    network_of(spec, task, rc.key(0))  # faults of the spec show before any work
    state = load_checkpoint(checkpoint) if resume and checkpoint is not None and checkpoint.exists() else None
    options |= {"steps": spec.steps, "batch": spec.batch, "report": report, "resume": state}
    options.setdefault("learning_rate", spec.learning_rate)
    options["on_block"] = watch if checkpoint is None else lambda now: save_checkpoint(now, checkpoint)
    # one seed trains exactly as it would among others: seeds name networks, however many are trained at once
    root = rc.key(0)
    if spec.seeds == 1:
        weights, training = seed_keys(root, spec.seed)
        done = fit(network_of(spec, task, weights), task, key=training, throw=False, **options)
    else:
        seeds = tuple(range(spec.seed, spec.seed + spec.seeds))
        make = lambda key: network_of(spec, task, key)  # noqa: E731
        done = fit_ensemble(make, task, seeds=seeds, key=root, workers=_workers(spec.seeds), **options)
    if done.failed.all():
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)  # this run has ended: there is nothing to go on from
        raise NumericalError(f"training ended {done.status}: the loss overflowed. Try a smaller --learning-rate.", done)
    return Trained(task, done, spec, 0 if state is None else state.step)


@dataclasses.dataclass(frozen=True)
class Watched:
    """A network, and the states that its training went through."""

    trained: Trained
    states: list[TrainingState]

    def course(self) -> overlaps.UnitLearning | None:
        """The overlaps through training, in the number type of theory; None where they do not describe the network."""
        spec, history = self.trained.spec, self.trained.fit.history
        start = network_of(spec, self.trained.task, seed_keys(rc.key(0), spec.seed)[0])
        networks = [start, *(network_at(start, state) for state in self.states)]
        count = np.array([0, *(state.step for state in self.states)])
        loss = np.asarray(history.loss, float)
        try:
            # the loss of a step is measured before it
            at = np.minimum(count, len(loss) - 1)
            return overlaps.watched([rc.cast(each, float) for each in networks], count=count, loss=loss[at])
        except InputError:
            return None


def watch_training(spec: TrainSpec, *, report: Report, **options: Any) -> Watched:
    """Train one network as `run_training` does, and keep its state after every block."""
    states: list[TrainingState] = []
    trained = run_training(spec, report=report, watch=states.append, **options)
    return Watched(trained, states)


def _workers(seeds: int) -> int:
    """Processes among which seeds are shared: one to a core of a CPU."""
    return min(seeds, cores()) if jax.default_backend() == "cpu" else 1


def check_unfinished(checkpoint: Path, *, resume: bool, force: bool) -> None:
    """Raise where an unfinished run would be lost."""
    if checkpoint.exists() and not (resume or force):
        raise InputError(
            f"{checkpoint} holds an unfinished run. Go on with it with --resume, or start anew with --force."
        )
