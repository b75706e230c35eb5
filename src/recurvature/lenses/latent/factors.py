r"""How the weights of a network are cut into factors, and the activity that says which of them matter."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._precision import cast
from recurvature.measures.weighted_svd import weighted_svd
from recurvature.systems.activations import activation
from recurvature.systems.base import Euler, Network
from recurvature.systems.connectivity import AbstractConnectivity, LowRank
from recurvature.systems.leaky import LeakyCurrent, LeakyRate
from recurvature.systems.multi_synapse import MultiSynapse
from recurvature.systems.simulate import Trajectory

Flow = LeakyRate | LeakyCurrent | MultiSynapse


def synapses_of(flow: Flow) -> tuple[AbstractConnectivity, ...]:
    """The weights of every synapse, one or several."""
    return flow.synapses if isinstance(flow, MultiSynapse) else (flow.connectivity,)


def joined(flow: Flow, currents: Float[Array, "synapse sample n"]) -> Float[Array, "sample n"]:
    """What units make of the whole current through every synapse."""
    return flow.joined(currents) if isinstance(flow, MultiSynapse) else activation(flow.phi)(currents[0])


class Activity(NamedTuple):
    """What the network did: rates as its recurrence saw them, and the recurrent part of the units' input."""

    rates: Float[np.ndarray, "sample n"]
    recurrent: Float[np.ndarray, "synapse sample n"]
    """Of the rate form and of several synapses $Wr$, of the current form the filtered $W\\phi(x)$."""
    currents: Float[np.ndarray, "synapse sample n"]
    """What $\\phi$ is applied to."""

    @property
    def excitation(self) -> Float[np.ndarray, " component"]:
        r"""Eigenvalues of $\langle rr^\top\rangle$, the largest first."""
        return np.linalg.svd(self.rates, compute_uv=False) ** 2 / len(self.rates)

    @classmethod
    def of(cls, flow: Flow, network: Network, full: Trajectory) -> "Activity":
        """From a run of the network; the state before the first step counts."""
        states = np.asarray(full.states, float)
        start = np.broadcast_to(np.asarray(network.x0, float), (len(states), 1, states.shape[2]))
        before = np.concatenate([start, states[:, :-1]], 1)
        rates = before
        if isinstance(flow, LeakyCurrent):
            rates = np.asarray(activation(flow.phi)(jnp.asarray(before)), float)
        received = [np.asarray(cast(weights, float)(jnp.asarray(rates))) for weights in synapses_of(flow)]
        flat = lambda *parts: np.stack([a.reshape(-1, a.shape[-1]) for a in parts])  # noqa: E731
        if not isinstance(flow, LeakyCurrent):
            several = isinstance(flow, MultiSynapse)
            own = zip(flow.input_weights, flow.bias, strict=True) if several else [(flow.input_weights, flow.bias)]
            drives = [np.asarray(full.inputs) @ np.asarray(w).T + np.asarray(b) for w, b in own]
            whole = [z + drive for z, drive in zip(received, drives, strict=True)]
            return cls(flat(rates)[0], flat(*received), flat(*whole))
        system = network.system
        assert isinstance(system, Euler)
        share, filtered = system.dt / flow.tau, np.zeros_like(before)
        for k in range(1, before.shape[1]):
            filtered[:, k] = (1 - share) * filtered[:, k - 1] + share * received[0][:, k - 1]
        return cls(flat(rates)[0], flat(filtered), flat(before))


class Factors(NamedTuple):
    """Columns whose first q make the unit of q variables."""

    left: Float[np.ndarray, "n k"]
    right: Float[np.ndarray, "n k"]
    """With the factor 1/N outside, where `normalisation` says so."""
    strengths: Float[np.ndarray, " k"]
    normalisation: str
    whole: bool
    """Whether only all columns together make a unit."""
    synapse: Int[np.ndarray, " k"]
    """The synapse of every column."""

    def cut(self, rank: int, dtype: np.dtype, *, padded: bool = False) -> tuple[LowRank, ...]:
        """The weights that the first columns make of every synapse.

        `padded` with columns of zeros to a power of four, so that neighbouring ranks share a compiled program.
        """
        made = []
        scale: Any = self.normalisation
        for number in range(self.synapse.max() + 1):
            own = np.flatnonzero(self.synapse == number)
            kept = int((own < rank).sum())
            width = min(len(own), 4 ** int(np.ceil(np.log(kept) / np.log(4) - 1e-9))) if padded else kept
            keep = np.arange(width) < kept
            left, right = (jnp.asarray(np.where(keep, f[:, own[:width]], 0.0), dtype) for f in (self.left, self.right))
            made.append(LowRank(left, right, scale))
        return tuple(made)


def factors_of(flow: Flow, method: str, activity: Activity) -> Factors:
    """The factors of every rank at once: the unit of q variables is the first q columns."""
    parts = [_factors(weights, method, activity.rates, i) for i, weights in enumerate(synapses_of(flow))]
    if len(parts) == 1:
        return parts[0]
    columns = lambda name: np.concatenate([getattr(part, name) for part in parts], axis=-1)  # noqa: E731
    scales = [1 / len(p.right) if p.normalisation == "1/N" else 1.0 for p in parts]
    right = np.concatenate([part.right * scale for part, scale in zip(parts, scales, strict=True)], axis=1)
    found = Factors(columns("left"), right, columns("strengths"), "1", parts[0].whole, columns("synapse"))
    if found.whole:
        return found
    # one of every synapse first: without any it would be cut off
    first = np.isin(np.arange(len(found.synapse)), np.unique(found.synapse, return_index=True)[1])
    order = np.lexsort([-found.strengths, ~first])
    return found._replace(**{n: getattr(found, n)[..., order] for n in ("left", "right", "strengths", "synapse")})


def _factors(
    connectivity: AbstractConnectivity, method: str, rates: Float[np.ndarray, "sample n"], number: int
) -> Factors:
    of_it = lambda columns: np.full(columns.shape[1], number)  # noqa: E731
    if isinstance(connectivity, LowRank):
        left, right = np.asarray(connectivity.left, float), np.asarray(connectivity.right, float) * connectivity.scale
        weights: tuple[np.ndarray, ...] = (left, right)
    else:
        weights = (np.asarray(connectivity.dense(), float),)
    if method == "exact":
        assert isinstance(connectivity, LowRank)
        own = weighted_svd(rates, *weights).strengths
        right = np.asarray(connectivity.right, float)
        return Factors(left, right, own, connectivity.normalisation, True, of_it(left))
    if method == "weighted":
        found = weighted_svd(rates, *weights)
        onto = weights[0].T @ found.left if len(weights) == 1 else weights[1] @ (weights[0].T @ found.left)
        return Factors(found.left, onto, found.strengths, "1", False, of_it(found.left))
    left, strengths, right = singular_vectors(*weights)
    return Factors(left, right * strengths, strengths, "1", False, of_it(left))


def singular_vectors(*weights: Float[np.ndarray, "..."]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Singular vectors of a matrix, or of $LR^\top$ without multiplying it out."""
    if len(weights) == 1:
        left, strengths, right = np.linalg.svd(weights[0])
        return left, strengths, right.T
    (q_left, t_left), (q_right, t_right) = (np.linalg.qr(factor) for factor in weights)
    left, strengths, right = np.linalg.svd(t_left @ t_right.T)
    return q_left @ left, strengths, q_right @ right.T
