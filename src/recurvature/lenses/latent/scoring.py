r"""How well a reduced network does what the network does: on the task, along its trajectories, in its latent field."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recurvature.lenses.latent.factors import Activity, Factors, joined
from recurvature.lenses.latent.unit import flow_and_step
from recurvature.measures.determination import r_squared
from recurvature.systems.base import Network
from recurvature.systems.simulate import Trajectory, simulate
from recurvature.tasks.base import AbstractTask, Trials


class Score(NamedTuple):
    """Of one rank."""

    accuracy: float
    state_r2: float
    output_r2: float
    lost: float
    closure: float


class Judge(NamedTuple):
    """What the network did on the trials, and how outputs are scored."""

    full: Trajectory
    task: AbstractTask | None
    trials: Trials | None
    full_accuracy: float

    @classmethod
    def of(cls, full: Trajectory, task: AbstractTask | None, trials: Trials | None) -> "Judge":
        """With the accuracy of the network itself (NaN without a task)."""
        return cls(full, task, trials, _accuracy(full, task, trials))

    @property
    def dtype(self) -> np.dtype:
        """Number type of the network."""
        return np.dtype(self.full.states.dtype)

    def score(self, network: Network, factors: Factors, activity: Activity, rank: int) -> Score:
        """A reduced network on the same inputs from the same start."""
        run = simulate(network, jnp.asarray(self.full.inputs))
        lost = _left_out(factors, activity, rank)
        return Score(
            _accuracy(run, self.task, self.trials),
            r_squared(self.full.states, run.states),
            r_squared(self.full.outputs, run.outputs),
            float((lost**2).sum() / max((activity.recurrent**2).sum(), np.finfo(float).tiny)),
            _closure(network, factors, activity, lost, rank),
        )


def _accuracy(run: Trajectory, task: AbstractTask | None, trials: Trials | None) -> float:
    return float("nan") if task is None or trials is None else task.accuracy(jnp.asarray(run.outputs), trials)


def _left_out(factors: Factors, activity: Activity, rank: int) -> Float[np.ndarray, "synapse sample n"]:
    r"""The recurrent input outside the span of the first columns: $(1 - U_qU_q^\top)Wr$, zero for exact factors."""
    if factors.whole:
        return np.zeros_like(activity.recurrent)
    bases = [factors.left[:, :rank][:, factors.synapse[:rank] == i] for i in range(len(activity.recurrent))]
    return np.stack([z - (z @ basis) @ basis.T for z, basis in zip(activity.recurrent, bases, strict=True)])


def _closure(
    network: Network, factors: Factors, activity: Activity, lost: Float[np.ndarray, "synapse sample n"], rank: int
) -> float:
    r"""$\lVert\mathbf N[\phi(a) - \phi(a - \mathrm{lost})]\rVert / \lVert\mathbf N\phi(a)\rVert$ over the activity."""
    flow, onto = flow_and_step(network)[0], factors.right[:, :rank]
    true, seen = (
        np.asarray(joined(flow, jnp.asarray(a))) @ onto for a in (activity.currents, activity.currents - lost)
    )
    size = np.linalg.norm(true)
    return float(np.linalg.norm(true - seen) / size) if size > 0 else 0.0
