r"""How the weights of a leaky network are cut into factors, and the activity that says which of them matter."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recurvature._precision import cast
from recurvature.measures.weighted_svd import weighted_svd
from recurvature.systems.activations import activation
from recurvature.systems.base import Euler, Network
from recurvature.systems.connectivity import LowRank
from recurvature.systems.leaky import LeakyCurrent, LeakyRate
from recurvature.systems.simulate import Trajectory


class Activity(NamedTuple):
    """What the network did: rates as its recurrence saw them, and the recurrent part of the units' input."""

    rates: Float[np.ndarray, "sample n"]
    recurrent: Float[np.ndarray, "sample n"]
    """Of the rate form $Wr$, of the current form the filtered $W\\phi(x)$."""
    currents: Float[np.ndarray, "sample n"]
    """What $\\phi$ is applied to."""

    @property
    def excitation(self) -> Float[np.ndarray, " component"]:
        r"""Eigenvalues of $\langle rr^\top\rangle$, the largest first."""
        return np.linalg.svd(self.rates, compute_uv=False) ** 2 / len(self.rates)

    @classmethod
    def of(cls, flow: LeakyRate | LeakyCurrent, network: Network, full: Trajectory) -> "Activity":
        """From a run of the network; the state before the first step counts."""
        states = np.asarray(full.states, float)
        start = np.broadcast_to(np.asarray(network.x0, float), (len(states), 1, states.shape[2]))
        before = np.concatenate([start, states[:, :-1]], 1)
        is_rate = isinstance(flow, LeakyRate)
        rates = before if is_rate else np.asarray(activation(flow.phi)(jnp.asarray(before)), float)
        received = np.asarray(cast(flow.connectivity, float)(jnp.asarray(rates)))
        flat = lambda a: a.reshape(-1, a.shape[-1])  # noqa: E731
        if is_rate:
            drive = np.asarray(full.inputs) @ np.asarray(flow.input_weights).T + np.asarray(flow.bias)
            return cls(flat(rates), flat(received), flat(received + drive))
        system = network.system
        assert isinstance(system, Euler)
        share, filtered = system.dt / flow.tau, np.zeros_like(before)
        for k in range(1, before.shape[1]):
            filtered[:, k] = (1 - share) * filtered[:, k - 1] + share * received[:, k - 1]
        return cls(flat(rates), flat(filtered), flat(before))


class Factors(NamedTuple):
    """Columns whose first q make the unit of rank q."""

    left: Float[np.ndarray, "n k"]
    right: Float[np.ndarray, "n k"]
    """With the factor 1/N outside, where `normalisation` says so."""
    strengths: Float[np.ndarray, " k"]
    normalisation: str
    whole: bool
    """Whether only all columns together make a unit."""


def factors_of(flow: LeakyRate | LeakyCurrent, method: str, activity: Activity) -> Factors:
    """The factors of every rank at once: the unit of rank q is the first q columns."""
    connectivity = flow.connectivity
    if isinstance(connectivity, LowRank):
        left, right = np.asarray(connectivity.left, float), np.asarray(connectivity.right, float) * connectivity.scale
        weights: tuple[np.ndarray, ...] = (left, right)
    else:
        weights = (np.asarray(connectivity.dense(), float),)
    if method == "exact":
        assert isinstance(connectivity, LowRank)
        own = weighted_svd(activity.rates, *weights).strengths
        return Factors(left, np.asarray(connectivity.right, float), own, connectivity.normalisation, True)
    if method == "weighted":
        found = weighted_svd(activity.rates, *weights)
        onto = weights[0].T @ found.left if len(weights) == 1 else weights[1] @ (weights[0].T @ found.left)
        return Factors(found.left, onto, found.strengths, "1", False)
    left, strengths, right = singular_vectors(*weights)
    return Factors(left, right * strengths, strengths, "1", False)


def singular_vectors(*weights: Float[np.ndarray, "..."]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Singular vectors of a matrix, or of $LR^\top$ without multiplying it out."""
    if len(weights) == 1:
        left, strengths, right = np.linalg.svd(weights[0])
        return left, strengths, right.T
    (q_left, t_left), (q_right, t_right) = (np.linalg.qr(factor) for factor in weights)
    left, strengths, right = np.linalg.svd(t_left @ t_right.T)
    return q_left @ left, strengths, q_right @ right.T
