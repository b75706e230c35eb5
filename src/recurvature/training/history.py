"""What training hands back: the trained network, how it went, and what it was asked to do."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from recurvature._errors import InputError
from recurvature._result import AbstractResult, Values
from recurvature.systems.base import Network

RUNNING, TARGET_REACHED, NON_FINITE = 0, 1, 2
STATUS = ("trained", "target reached", "non-finite")
"""What the numbers in `History.status` mean. A non-finite seed keeps its last finite parameters."""


class History(AbstractResult):
    """One row per training step; an ensemble has a leading `seed` axis, NaN where a seed had stopped.

    Row k belongs to the parameters before update k: `loss` is the task's alone, `gradient_norm` is that of the whole
    objective before clipping, `penalties` are weighted. `steps_done` counts the rows of each network.
    """

    step: Int[Values, " step"]
    loss: Float[Values, " step"] | Float[Values, "seed step"]
    gradient_norm: Float[Values, " step"] | Float[Values, "seed step"]
    learning_rate: Float[Values, " step"] | Float[Values, "seed step"]
    penalties: Float[Values, "step penalty"] | Float[Values, "seed step penalty"]
    steps_done: Int[Values, ""] | Int[Values, " seed"]
    status: Int[Values, ""] | Int[Values, " seed"]
    seed: Int[Values, " seed"] | None = None
    penalty_names: tuple[str, ...] = ()
    penalty_forms: tuple[dict[str, Any], ...] = ()
    """What each penalty was, whole: as in `Fit.spec`, arrays by shape and digest."""
    statuses: tuple[str, ...] = STATUS


@dataclasses.dataclass(frozen=True)
class Fit:
    """A trained network or, with a leading `seed` axis on its arrays, an ensemble of them."""

    network: Network
    history: History
    spec: dict[str, Any]
    """What was asked for, ready for JSON: task, options, and digests of the initial weights."""
    status: str
    """In words: `trained`, `target reached`, `non-finite at step 12`, or how many seeds failed and which."""

    @property
    def failed(self) -> Bool[np.ndarray, "*seed"]:
        """Whether the network, or each seed of an ensemble, met a loss or gradient that was not finite."""
        return np.asarray(np.asarray(self.history.status) == NON_FINITE)

    def member(self, index: int) -> Network:
        """The network of one seed of an ensemble, by its place in `history.seed`."""
        if self.history.seed is None:
            raise InputError("`fit` holds one network, not an ensemble: use fit.network.")
        count = len(self.history.seed)
        if not -count <= index < count:
            raise InputError(f"`index` must lie in [-{count}, {count}); got {index}.")
        return jax.tree.map(lambda leaf: leaf[index] if eqx.is_array(leaf) else leaf, self.network)


def status_in_words(history: History) -> str:
    """One line that says how training ended."""
    status, done = np.asarray(history.status), np.asarray(history.steps_done)
    if history.seed is None:
        words = STATUS[int(status)]
        return f"{words} at step {int(done) - 1}" if status == NON_FINITE else words
    failed = np.asarray(history.seed)[status == NON_FINITE]
    if len(failed):
        return f"{len(failed)} of {len(status)} seeds non-finite: seed {', '.join(map(str, failed))}"
    return STATUS[TARGET_REACHED] if (status == TARGET_REACHED).all() else STATUS[RUNNING]
