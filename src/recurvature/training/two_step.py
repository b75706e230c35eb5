"""A low-rank network by way of a full-rank one: train, look at its activity, fit that, and train on through time."""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_count
from recurvature._keys import PRNGKey, stream
from recurvature._progress import Report, silent
from recurvature._result import AbstractResult, Citation, Values
from recurvature.measures.determination import r_squared
from recurvature.measures.weighted_svd import weighted_svd
from recurvature.systems.base import Euler, Network
from recurvature.systems.connectivity import Dense, LowRank
from recurvature.systems.simulate import simulate
from recurvature.tasks.base import AbstractTask, Trials
from recurvature.tasks.flipflop import LATENT
from recurvature.training.activity import rate_flow, sample_activity
from recurvature.training.checkpoint import path_name
from recurvature.training.cornn_low_rank import cornn_low_rank
from recurvature.training.descent import Schedule
from recurvature.training.fit import fit
from recurvature.training.history import Fit

STAGES = ("full rank", "truncated", "one step", "fine-tuned")
OK, NO_RANK = range(2)
STATUS = ("ok", "no-rank")
"""What `TwoStepReport.status` means; with `no-rank` none of those tried met the thresholds, and the best was taken."""


class TwoStepReport(AbstractResult):
    r"""How each stage does on trials that no stage was fitted to and no rank was chosen on (docs eq. L.80).

    Stages are the trained full-rank network; its weights cut to the chosen rank; the network fitted to its activity one
    step ahead; that network trained on through time. R² of states are against the full-rank network, pooled over units,
    trials and times.
    """

    citations: ClassVar[tuple[Citation, ...]] = (LATENT,)

    accuracy: Float[Values, " stage"]
    loss: Float[Values, " stage"]
    """Mean square error of the outputs, as in training."""
    state_r2: Float[Values, " stage"]
    candidate: Int[Values, " candidate"]
    """Ranks that were tried, for the full-rank weights cut to them."""
    candidate_accuracy: Float[Values, " candidate"]
    """On the trials that the rank was chosen on, as `candidate_r2`: of the best of many a little too good."""
    candidate_r2: Float[Values, " candidate"]
    strengths: Float[Values, " k"]
    """Root mean square of the recurrent input along each of its directions, the strongest first."""
    one_step_r2: float
    """Of the targets of the one-step fit, over all units."""
    rank: int
    status: int
    stages: tuple[str, ...] = STAGES


@dataclasses.dataclass(frozen=True)
class TwoStepFit:
    """The low-rank network, the networks of the stages before it, and the report of them all."""

    network: Network
    full: Network
    one_step: Network
    report: TwoStepReport
    fits: tuple[Fit, Fit]
    """The trainings: of the full-rank network, and of the low-rank one through time."""


def two_step(
    network: Network,
    task: AbstractTask,
    *,
    key: PRNGKey,
    steps: int,
    tune_steps: int,
    rank: int | None = None,
    max_rank: int = 12,
    batch: int = 64,
    learning_rate: float | Schedule = 1e-3,
    tune_learning_rate: float | Schedule = 1e-3,
    samples: int = 64,
    least_accuracy: float = 0.98,
    least_r2: float = 0.9,
    ridge: float = 1e-4,
    bias: bool = False,
    self_connections: bool = True,
    report: Report = silent,
) -> TwoStepFit:
    r"""Train `network` on `task`, and turn it into one of low rank that does the same (docs eq. L.80).

    1. `fit` for `steps`. 2. Its activity in `samples` trials, transients and inputs included. 3. The least rank up to
    `max_rank` at which its weights, cut to the directions of their recurrent input under that activity, keep
    `least_accuracy` of its accuracy and `least_r2` of its states; or `rank`. 4. `cornn_low_rank` on the activity, under
    the readout of the network. 5. `fit` of $M$, $N$ and the input weights for `tune_steps`, the readout as it is: a
    one-step fit alone need not keep what the task wants kept. Dinc et al. 2025, arXiv 2502.14337.

    The rank is chosen on `samples` other trials than those of the report. `bias`: whether the low-rank network has one;
    without (as in the paper) a bias that the full-rank network has learnt is left out. `self_connections=False`: the
    full-rank network starts without a diagonal and learns none, by projection of every update, $W_{ii} = 0$ as in the
    paper; $MN^\top$ has a diagonal whatever it is fitted to.

    `network` is an Euler map of a dense tanh rate network. The low-rank network is in float32 as training leaves it.
    Raises `InputError` on other systems and on options that make no sense, `NumericalError` where training diverges.
    """
    flow = rate_flow(network)
    if not isinstance(flow.connectivity, Dense):
        raise InputError("`network` must have dense weights; one of low rank can be trained by `fit` as it is.")
    check_count(samples=samples, max_rank=max_rank)
    trained = fit(
        network if self_connections else without_self_connections(network),
        task,
        steps=steps,
        key=stream(key, "full rank"),
        batch=batch,
        learning_rate=learning_rate,
        optimiser=optax.adam if self_connections else adam_without_self_connections,
        report=report,
    )
    full = trained.network
    choice, probe = (_Probe(task, full, task.trials(stream(key, name), samples)) for name in ("choice", "probe"))
    activity = sample_activity(full, task.trials(stream(key, "activity"), samples).inputs)
    left, right, strengths = _directions(full, np.asarray(activity.rates))
    scores = _candidates(choice, left, right, [rank] if rank is not None else list(range(1, max_rank + 1)))
    goals = (least_accuracy * choice.score(full)[0], least_r2)
    index, status = _choose(scores, goals, asked=rank is not None)
    chosen = int(scores[index][0])
    # rates as they are, whatever the start: the readout is one of those
    step = cornn_low_rank(activity, rank=chosen, ridge=ridge, bias=bias, scale=1.0)
    one_step = eqx.tree_at(lambda n: (n.readout, n.x0), step.network, (full.readout, full.x0))
    one_step = _like(one_step, full)
    tuned = fit(
        one_step,
        task,
        steps=tune_steps,
        key=stream(key, "fine-tuning"),
        batch=batch,
        learning_rate=tune_learning_rate,
        frozen=("readout", "x0", *(() if bias else ("system.flow.bias",))),
        report=report,
    )
    stages = (full, _cut(full, left, right, chosen), one_step, tuned.network)
    told = _report(probe, stages, scores, strengths, (float(np.mean(step.report.r2)), chosen, status))
    return TwoStepFit(tuned.network, full, one_step, told, (trained, tuned))


def without_self_connections(network: Network) -> Network:
    """The network with $W_{ii} = 0$."""
    weight = rate_flow(network).connectivity.dense()
    bare = Dense(weight * (1 - jnp.eye(len(weight), dtype=weight.dtype)))
    return eqx.tree_at(lambda net: rate_flow(net).connectivity, network, bare)


def adam_without_self_connections(learning_rate: Any) -> optax.GradientTransformation:
    """`optax.adam` under $W_{ii} = 0$: no update of a dense recurrent weight has a diagonal. An `optimiser` for `fit`.

    Adam scales every weight by itself, so that this is what the projected gradient gives.
    """

    def project(updates: Any, parameters: Any) -> Any:
        return jax.tree_util.tree_map_with_path(_off_diagonal, updates)

    return optax.chain(optax.adam(learning_rate), optax.stateless(project))


def _off_diagonal(path: Any, update: Float[Array, "..."]) -> Float[Array, "..."]:
    if not path_name(path).endswith("connectivity.weight"):
        return update
    return update * (1 - jnp.eye(update.shape[-1], dtype=update.dtype))


@dataclasses.dataclass(frozen=True)
class _Probe:
    """Trials on which every stage is judged, against the network that all of them stand for."""

    task: AbstractTask
    full: Network
    trials: Trials

    def score(self, network: Network) -> tuple[float, float, float]:
        """Accuracy, loss, and R² of the states."""
        # seen from all of them alike: only their numbers differ
        run, states = simulate(network, self.trials.inputs), np.asarray(simulate(self.full, self.trials.inputs).states)
        outputs = jnp.asarray(run.outputs)
        weight = np.asarray(self.trials.mask)[:, :, None]
        error = weight * (np.asarray(outputs) - np.asarray(self.trials.targets)) ** 2
        loss = float(error.sum() / (error.shape[-1] * weight.sum()))
        return self.task.accuracy(outputs, self.trials), loss, r_squared(states, np.asarray(run.states))


def _directions(
    network: Network, rates: Float[np.ndarray, "trial time n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""$U$ and $W^\top U$ with the directions of recurrent input for columns, and their strengths (docs eq. L.12)."""
    weight = np.asarray(rate_flow(network).connectivity.dense())
    left, strengths = weighted_svd(rates.reshape(-1, rates.shape[-1]), weight)
    return left, weight.T @ left, strengths


def _cut(network: Network, left: Float[np.ndarray, "n k"], right: Float[np.ndarray, "n k"], rank: int) -> Network:
    """The network with its weights cut to the first `rank` directions; the rest are columns of zeros."""
    kept = np.where(np.arange(left.shape[1]) < rank, 1, 0).astype(left.dtype)
    low = LowRank(jnp.asarray(left * kept), jnp.asarray(right * kept), "1")
    return eqx.tree_at(lambda net: rate_flow(net).connectivity, network, low)


def _candidates(
    probe: _Probe, left: Float[np.ndarray, "n k"], right: Float[np.ndarray, "n k"], ranks: list[int]
) -> list[tuple[int, float, float]]:
    """Rank, accuracy and R² of the states of each; all through one compiled program, for matrices of one width."""
    width = max(ranks)
    if width > left.shape[0]:
        raise InputError(f"`rank` must be at most the number of units, {left.shape[0]}; got {width}.")
    found = []
    for rank in ranks:
        accuracy, _, r2 = probe.score(_cut(probe.full, left[:, :width], right[:, :width], rank))
        found.append((rank, accuracy, r2))
    return found


def _choose(scores: list[tuple[int, float, float]], goals: tuple[float, float], *, asked: bool) -> tuple[int, int]:
    """The first that meets both goals; else the one that meets most of the nearer of them."""
    if asked:
        return 0, OK
    for i, (_, accuracy, r2) in enumerate(scores):
        if accuracy >= goals[0] and r2 >= goals[1]:
            return i, OK
    worst = [min(accuracy / goals[0] if goals[0] > 0 else 1.0, r2 / goals[1]) for _, accuracy, r2 in scores]
    return int(np.argmax(worst)), NO_RANK


def _like(network: Network, like: Network) -> Network:
    """`network` with the step of `like`: a quotient and a product may have moved its last digit."""
    system = like.system
    assert isinstance(system, Euler)
    flow = dataclasses.replace(rate_flow(network), tau=rate_flow(like).tau)
    return dataclasses.replace(network, system=Euler(flow, system.dt))


def _report(
    probe: _Probe,
    stages: tuple[Network, ...],
    scores: list[tuple[int, float, float]],
    strengths: Float[np.ndarray, " k"],
    rest: tuple[float, int, int],
) -> TwoStepReport:
    accuracy, loss, r2 = (np.asarray(column) for column in zip(*map(probe.score, stages), strict=True))
    ranks, each, states = (np.asarray(column) for column in zip(*scores, strict=True))
    one_step_r2, rank, status = rest
    return TwoStepReport(accuracy, loss, r2, ranks, each, states, strengths, one_step_r2, rank, status)
