"""Task after task: learning of one network through phases, each with a loss, a rule and a length of its own."""

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_count
from recurvature._keys import PRNGKey, stream
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.conditions import Conditions, memory_conditions
from recurvature.lenses.overlaps.coordinates import OVERLAPS, Overlaps
from recurvature.lenses.overlaps.descent import Loss, Rule
from recurvature.lenses.overlaps.diagnostics import LOOKS, Judgement, check_looks, judge, leg_of, marked, vectors_of
from recurvature.lenses.overlaps.layout import AbstractCourse, Layout, Regime
from recurvature.lenses.overlaps.learning import descend
from recurvature.lenses.overlaps.losses import DataLoss, FilterLoss, NoisyTargets
from recurvature.lenses.overlaps.record import Learning
from recurvature.lenses.overlaps.response import response_of
from recurvature.lenses.overlaps.status import Diagnostics


class Phase(eqx.Module):
    r"""One stretch of learning.

    - `loss`: a function of the overlaps, and of a step's data if there are any.
    - `rule`: a `Rule`, or its rate $\eta$.
    - `steps`: how many.
    - `name`: of the task, for figures.
    - `data`: arrays with a leading axis of `steps`.
    - `noise`: the standard deviation of noise on the targets, where `data` holds noise: for the record.
    - `clean`: the loss without it, for the memory conditions; None where `loss` itself will do.
    """

    loss: Loss
    rule: Rule | float
    steps: int = eqx.field(static=True)
    name: str = eqx.field(static=True, default="")
    data: Any = None
    noise: float = eqx.field(static=True, default=0.0)
    clean: Loss | None = None

    def __check_init__(self) -> None:
        check_count(steps=self.steps)
        if not 0 <= self.noise < np.inf:
            raise InputError(f"`noise` must be a finite number of at least 0; got {self.noise!r}.")


class Curriculum(AbstractCourse, AbstractResult):
    r"""Overlaps through a sequence of phases; `propagator` moves the weights of the very beginning.

    `phase` numbers `phases`, and the first record of a phase is the last one of the phase before it, under the new
    loss. `conditions` says what memory could be in it (`overlaps.memory_conditions`, in words: `overlaps.in_words`).
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    time: Float[Values, " step"] = eqx.field(metadata={"units": "rate times steps"})
    count: Int[Values, " step"] = eqx.field(metadata={"long_name": "steps taken"})
    phase: Int[Values, " step"]
    matrix: Float[Values, "step a b"]
    propagator: Float[Values, "step a b"]
    loss: Float[Values, " step"]
    status: Int[Values, " step"]
    columns: tuple[str, ...]
    outputs: int
    rank: int
    inputs: int
    phases: tuple[str, ...]
    closure: str
    """Whether Gaussian weights were assumed in any phase, and tested: one of `status.CLOSURE`."""
    diagnostics: Diagnostics
    """Of one and the same units through all phases."""
    conditions: Conditions

    def end(self, phase: int) -> Float[np.ndarray, "a a"]:
        """The overlaps at the end of a phase."""
        return np.asarray(self.matrix)[np.flatnonzero(np.asarray(self.phase) == phase)[-1]]


def in_turn(
    overlaps: Overlaps | Float[Any, "a a"],
    phases: Sequence[Phase],
    *,
    layout: Layout | None = None,
    records: int = 100,
    looks: int = LOOKS,
    regime: Regime | None = None,
    dt: float | None = None,
) -> Curriculum:
    """Gradient descent through `phases`, one after the other, exact in every step (docs eq. O.20).

    `records` is the number of times that each phase is recorded, besides its start; it divides the steps of all of
    them. Nonlinear units are looked at `looks` times in each (see `descend`). `regime` (by default that of `overlaps`,
    linear for a matrix) is that of the memory conditions. Divergence is reported in `status`.
    """
    if not phases:
        raise InputError("`phases` must hold at least one phase.")
    check_count(records=records)
    check_looks(looks)
    for phase in phases:
        if phase.steps % records:
            raise InputError(f"`records` = {records} must divide the steps of every phase; got {phase.steps}.")
    current: Any = overlaps
    runs: list[Learning] = []
    for phase in phases:
        every = phase.steps // records
        options: dict[str, Any] = {"layout": layout, "data": phase.data, "every": every, "dt": dt, "looks": 0}
        runs.append(descend(phase.loss, current, phase.rule, steps=phase.steps, **options))
        layout, dt, current = runs[-1].layout, runs[-1].dt, np.asarray(runs[-1].matrix)[-1]
        if not np.isfinite(current).all():
            break
    which = runs[0].layout
    regime = regime or (_regime_of(overlaps) if isinstance(overlaps, Overlaps) else "linear")
    legs = [leg_of(run, phase.loss, phase.data, phase.rule) for run, phase in zip(runs, phases, strict=False)]
    judgement = judge(legs, looks=looks, vectors=vectors_of(overlaps), regime=regime)
    return _joined(runs, list(phases), which, regime, judgement)


def _regime_of(overlaps: Overlaps) -> Regime:
    return "linear" if overlaps.regime == "linear" else "gaussian"


def _joined(
    runs: list[Learning], phases: list[Phase], layout: Layout, regime: Regime, judgement: Judgement
) -> Curriculum:
    """The phases as one course, whose times and propagators go on from one to the next."""
    times, counts, weights = [], [], []
    time, count, carried = 0.0, 0, np.eye(layout.size)
    for run in runs:
        times.append(np.asarray(run.time) + time)
        counts.append(np.asarray(run.count) + count)
        with np.errstate(over="ignore", invalid="ignore"):
            weights.append(carried @ np.asarray(run.propagator))
        time, count, carried = times[-1][-1], int(counts[-1][-1]), weights[-1][-1]
    matrices = np.concatenate([run.matrix for run in runs])
    final = phases[len(runs) - 1]
    datum = None if final.data is None or final.clean is not None else jax.tree.map(lambda x: x[-1], final.data)
    conditions = memory_conditions(
        final.loss if final.clean is None else final.clean,
        matrices[0],
        matrices[-1],
        layout,
        regime=regime,
        data=datum,
        final_loss=np.array([run.loss[-1] for run in runs]),
        noise=tuple(phase.noise for phase in phases),
    )
    return Curriculum(
        time=np.concatenate(times),
        count=np.concatenate(counts),
        phase=np.repeat(np.arange(len(runs)), [len(run.loss) for run in runs]),
        matrix=matrices,
        propagator=np.concatenate(weights),
        loss=np.concatenate([run.loss for run in runs]),
        status=marked(np.concatenate([run.status for run in runs]), judgement.lost),
        columns=layout.columns,
        outputs=layout.outputs,
        rank=layout.rank,
        inputs=layout.inputs,
        phases=tuple(phase.name for phase in phases[: len(runs)]),
        closure=judgement.closure,
        diagnostics=judgement.diagnostics,
        conditions=conditions,
    )


class NoisyFilterLoss(eqx.Module):
    r"""A `FilterLoss` whose targets carry noise that is drawn anew in every step: a function of overlaps and a key.

    $L = dt\sum_{n<T/dt}\lVert k_n-k^*(n\,dt)-\xi_n\rVert^2$ after an impulse, with $\xi_n$ of standard deviation `std`.
    """

    noisy: NoisyTargets
    duration: float = eqx.field(static=True)

    def __init__(self, clean: FilterLoss, std: float):
        if clean.dt is None or clean.duration is None or clean.input != "impulse" or clean.layout.inputs != 1:
            raise InputError(
                "noise on targets needs a loss in steps `dt` with a `duration`, one input, and impulses as its input."
            )
        wanted = response_of(clean.target, clean.steps, clean.dt)[None, :, :, 0]
        impulse = np.zeros((1, clean.steps, 1), np.asarray(wanted).dtype)
        impulse[0, 0] = 1 / clean.dt
        self.noisy = NoisyTargets(DataLoss(jnp.asarray(impulse), wanted, clean.layout, clean.dt), std)
        self.duration = clean.duration

    def __call__(self, overlaps: Float[Array, "a a"], key: PRNGKey) -> Float[Array, ""]:
        """The loss of the overlaps at the noise of a key."""
        return self.duration * self.noisy(overlaps, key) * self.noisy.loss.layout.outputs


def noise_phase(
    loss: FilterLoss, rule: Rule | float, steps: int, *, std: float, key: PRNGKey, name: str = "noise"
) -> Phase:
    """A phase on the task of `loss` with noise of standard deviation `std` on its targets, new in every step."""
    keys = jr.split(stream(key, "target noise"), steps)
    return Phase(NoisyFilterLoss(loss, std), rule, steps, name, keys, float(std), loss)
