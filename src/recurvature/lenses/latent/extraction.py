r"""The latent unit of a network: its own factors, or a cut of its weights at the rank that the task needs."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError, check_choice, check_count, check_shape
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.factors import Activity, Factors, factors_of, synapses_of
from recurvature.lenses.latent.scoring import Judge, Score
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import LatentUnit, SynapsesUnit, flow_and_step, unit
from recurvature.systems.base import Network
from recurvature.systems.connectivity import LowRank
from recurvature.systems.simulate import simulate
from recurvature.tasks.base import AbstractTask, Trials

Method = Literal["exact", "plain", "weighted"]
METHODS = ("exact", "plain", "weighted")
OK, BELOW = range(2)
EXTRACTION_STATUS = ("ok", "below_thresholds")
"""What `Extraction.status` means.

- `ok`: the rank is the least of those tried that meets the thresholds.
- `below_thresholds`: none of those tried does; `rank` is the one that comes nearest.
"""


class Extraction(AbstractResult):
    r"""A latent unit of a network at several ranks, each run on the same inputs as the network (docs eq. L.12–L.15).

    Columns of `left` and `right` are nested: the unit of rank q is made of the first q, $W_q = $ `left` @ `right.T`. Of
    several synapses each is made of its own among them, and the rank is that of all together.
    `accuracy` is NaN where no task was given. R² are of closed-loop runs, pooled over units, trials and times. All of
    them are of the trials that the directions and the rank were taken from: of the best of many ranks a little too
    good. Score `reduced` on other trials to report it.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    left: Float[Values, "n column"]
    right: Float[Values, "n column"]
    synapse: Int[Values, " column"]
    """The synapse that a column is of: 0 where there is one."""
    strengths: Float[Values, " k"]
    """Root mean square of the recurrent input along each direction (`plain`: singular values of the weights)."""
    excitation: Float[Values, " component"]
    r"""Eigenvalues of $C = \langle rr^\top\rangle$, the largest first: of $W$ beyond them activity says nothing."""
    candidate: Int[Values, " candidate"]
    """The ranks that were tried."""
    accuracy: Float[Values, " candidate"]
    state_r2: Float[Values, " candidate"]
    output_r2: Float[Values, " candidate"]
    lost: Float[Values, " candidate"]
    """Share of the recurrent input's mean square that the unit does not carry."""
    closure: Float[Values, " candidate"]
    r"""What the lost input changes of $\mathbf N\phi$, relative to it: the error of the latent field."""
    full_accuracy: float
    rank: int
    method: str
    normalisation: str
    least_accuracy: float
    least_r2: float
    status: int

    @property
    def chosen(self) -> int:
        """The index of `rank` among the candidates."""
        return int(np.flatnonzero(np.asarray(self.candidate) == self.rank)[0])


def extract(
    network: Network,
    trials: Trials | Float[Any, "trial time d"],
    *,
    task: AbstractTask | None = None,
    method: Method | None = None,
    ranks: Iterable[int] | None = None,
    least_accuracy: float = 0.98,
    least_r2: float = 0.9,
) -> Extraction:
    r"""The latent unit of a network, at the least rank that does what the network does.

    The network is leaky or has several synapses (docs eq. L.26), whose directions then stand in one row: the strongest
    of every synapse, and after these whichever is the strongest next.

    **Arguments**

    - `trials`: what to drive the network with: trials of a task, or inputs. Activity from the first step on counts.
    - `task`: scores the outputs; needs `trials` of its own.
    - `method`: `exact`, the network's own factors (low-rank networks, the default there); `weighted`, the directions
      $U$ in which recurrent input goes, $W_q = U_qU_q^\top W$ (the default for dense networks); `plain`, singular
      vectors of $W$ itself, which does not know where activity goes and fails for most trained networks.
    - `ranks`: what to try; None tries 1 (the number of synapses), 2, 3, … until the thresholds are met.
    - `least_accuracy`: of a rank, relative to the network's own; `least_r2`: of states and, where no task is given, of
      outputs.

    Never forms N × N for a low-rank network. Raises `InputError` on systems that are not leaky, on flows (wrap them in
    `Euler`), and on `exact` for a dense network. `reduced` makes the network of the unit. A lens does not train: refit
    the unit if its fixed points differ from the network's.
    """
    flow, _ = flow_and_step(network)
    if not isinstance(network, Network):
        raise InputError("`network` must be a Network: `extract` compares outputs. Give the system a readout.")
    low = all(isinstance(weights, LowRank) for weights in synapses_of(flow))
    chosen = method or ("exact" if low else "weighted")
    check_choice("method", chosen, METHODS)
    if chosen == "exact" and not low:
        raise InputError("`method='exact'` is for low-rank networks; a dense one needs 'weighted' or 'plain'.")
    if task is not None and not isinstance(trials, Trials):
        raise InputError("`task` scores outputs against targets: pass `trials=task.trials(key, n)`, not inputs alone.")
    inputs = jnp.asarray(trials.inputs if isinstance(trials, Trials) else trials)
    full = simulate(network, inputs)
    if np.asarray(full.status).any():
        raise InputError("the network overflows on these `trials`: there is no activity to look at.")
    activity = Activity.of(flow, network, full)
    factors = factors_of(flow, chosen, activity)
    judge = Judge.of(full, task, trials if isinstance(trials, Trials) else None)
    goals = (least_accuracy * judge.full_accuracy if task is not None else -np.inf, least_r2)
    run = lambda rank: _scored(network, judge, factors, activity, rank)  # noqa: E731
    scores = _try(run, _ranks(factors, ranks), goals, until_met=ranks is None)
    return _result(factors, activity, judge, scores, goals, (chosen, least_accuracy, least_r2))


def reduced(network: Network, extraction: Extraction, rank: int | None = None) -> Network:
    """The network with the weights of the extracted unit (None: of the chosen rank), everything else as it was."""
    wanted, synapse = extraction.rank if rank is None else rank, np.asarray(extraction.synapse)
    check_count(rank=wanted)
    least, most = int(synapse.max()) + 1, len(synapse)
    if not least <= wanted <= most:
        raise InputError(f"`rank` must be at most {most}, what was extracted, and at least {least}; got {wanted}.")
    check_shape("extraction.left", extraction.left, (flow_and_step(network)[0].state_size, None))
    left, right = np.asarray(extraction.left), np.asarray(extraction.right)
    whole = extraction.method == "exact"
    factors = Factors(left, right, np.asarray(extraction.strengths), extraction.normalisation, whole, synapse)
    return _with(network, factors.cut(wanted, left.dtype))


def extracted_unit(network: Network, extraction: Extraction, rank: int | None = None) -> LatentUnit | SynapsesUnit:
    """The latent unit of `reduced(network, extraction, rank)`."""
    return unit(reduced(network, extraction, rank))


def _with(network: Network, weights: tuple[LowRank, ...]) -> Network:
    return eqx.tree_at(lambda net: synapses_of(flow_and_step(net)[0]), network, weights)


MOST = 64
"""The largest rank that is tried where no ranks are named."""


def _ranks(factors: Factors, ranks: Iterable[int] | None) -> list[int]:
    least, most = int(factors.synapse.max()) + 1, len(factors.synapse)
    if factors.whole:
        if ranks is not None and list(ranks) != [most]:
            raise InputError(f"`method='exact'` keeps the network's own rank {most}: leave `ranks` out.")
        return [most]
    if ranks is None:
        # every rank while they are few, then steps of a half
        tried = [q for q in (*range(1, 9), 12, 16, 24, 32, 48, MOST) if least <= q <= most]
        return tried or [most]
    chosen = sorted(set(ranks))
    for rank in chosen:
        check_count(rank=rank)
    if not chosen or chosen[-1] > most or chosen[0] < least:
        raise InputError(f"`ranks` must lie in {least}…{most}; got {chosen}.")
    return chosen


def _try(
    run: Callable[[int], Score], ranks: list[int], goals: tuple[float, float], *, until_met: bool
) -> dict[int, Score]:
    scores: dict[int, Score] = {}
    for rank in ranks:
        scores[rank] = run(rank)
        if until_met and _shortfall(scores[rank], goals) == 0:
            break
    return scores


def _shortfall(score: Score, goals: tuple[float, float]) -> float:
    """By how much a rank misses the thresholds, together; 0 where it meets them."""
    done = goals[1] - score.output_r2 if np.isnan(score.accuracy) else goals[0] - score.accuracy
    return max(done, 0.0) + max(goals[1] - score.state_r2, 0.0)


def _scored(network: Network, judge: Judge, factors: Factors, activity: Activity, rank: int) -> Score:
    weights = factors.cut(rank, np.dtype(network.x0.dtype), padded=True)
    return judge.score(_with(network, weights), factors, activity, rank)


def _result(
    factors: Factors,
    activity: Activity,
    judge: Judge,
    scores: dict[int, Score],
    goals: tuple[float, float],
    options: tuple[str, float, float],
) -> Extraction:
    # of equal ones the first, which is the least
    best = min(scores, key=lambda rank: _shortfall(scores[rank], goals))
    column = lambda name: np.array([getattr(score, name) for score in scores.values()], float)  # noqa: E731
    kept, dtype = max(scores), judge.dtype
    method, least_accuracy, least_r2 = options
    return Extraction(
        left=factors.left[:, :kept].astype(dtype),
        right=factors.right[:, :kept].astype(dtype),
        synapse=factors.synapse[:kept],
        strengths=factors.strengths,
        excitation=activity.excitation,
        candidate=np.array(list(scores)),
        accuracy=column("accuracy"),
        state_r2=column("state_r2"),
        output_r2=column("output_r2"),
        lost=column("lost"),
        closure=column("closure"),
        full_accuracy=judge.full_accuracy,
        rank=best,
        method=method,
        normalisation=factors.normalisation,
        least_accuracy=least_accuracy,
        least_r2=least_r2,
        status=OK if _shortfall(scores[best], goals) == 0 else BELOW,
    )
