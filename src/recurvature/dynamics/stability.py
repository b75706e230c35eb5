r"""What a fixed point does to states beside it, and what all fixed points together must add up to."""

import numpy as np
from jaxtyping import Complex, Float, Int

from recurvature.dynamics.rate import Kind, flow_of
from recurvature.systems.base import AbstractSystem
from recurvature.systems.gated import GRUCell, LSTMCell
from recurvature.systems.latent import FilteredLatentFlow, LatentFlow
from recurvature.systems.leaky import LeakyCurrent, LeakyRate
from recurvature.systems.multi_synapse import MultiSynapse, MultiSynapseLatentFlow
from recurvature.systems.preactivation import PreactivationMap
from recurvature.systems.stack import Stack
from recurvature.systems.vanilla import VanillaCell

STABLE, SADDLE, REPELLER, MARGINAL = range(4)
TYPES = ("stable", "saddle", "repeller", "marginal")
"""The stability type of a fixed point.

- `stable`: every direction decays.
- `saddle`: some grow, some decay.
- `repeller`: every direction grows; of a low-rank network, every direction of its latent variables.
- `marginal`: some eigenvalue lies within `marginal` of the boundary, so that the linear part does not decide.
"""

BOUNDED = ("tanh", "erf", "sigmoid")


def unstable_first(values: Complex[np.ndarray, " k"], kind: Kind) -> Complex[np.ndarray, " k"]:
    """Eigenvalues by modulus (map) or real part (flow), the largest first; conjugates with the upper one first."""
    size = np.abs(values) if kind == "map" else values.real
    return values[np.lexsort([-values.imag, -np.round(size, 12)])]


def excess(values: Complex[np.ndarray, "point k"], kind: Kind) -> Float[np.ndarray, "point k"]:
    r"""$|\lambda| - 1$ (map) or $\mathrm{Re}\,\lambda$ (flow): positive where a direction grows."""
    return np.abs(values) - 1 if kind == "map" else values.real


def stability_types(growth: Float[np.ndarray, "point k"], marginal: float) -> Int[np.ndarray, " point"]:
    """The type of every point (`TYPES`)."""
    up, down = growth > marginal, growth < -marginal
    types = np.where(up.all(1), REPELLER, np.where(down.all(1), STABLE, SADDLE))
    return np.where((up | down).all(1), types, MARGINAL).astype(np.int8)


def is_bounded(system: AbstractSystem) -> bool:
    """Whether the system sends all states into a ball, so that the indices of its fixed points add up to 1."""
    flow = flow_of(system)
    if isinstance(flow, LatentFlow | FilteredLatentFlow | MultiSynapseLatentFlow):
        flow = flow.network
    if isinstance(flow, MultiSynapse):
        return all(phi in BOUNDED for phi in flow.phis)
    if isinstance(flow, LeakyCurrent | LeakyRate):
        return flow.phi in BOUNDED
    if isinstance(system, PreactivationMap):
        return system.phi in BOUNDED
    return isinstance(system, Stack) and all(_bounded_cell(cell) for cell in system.layers)


def _bounded_cell(cell: object) -> bool:
    # a GRU averages its state with a bounded candidate, an LSTM forgets a share of its memory before it adds to it
    return cell.phi in BOUNDED if isinstance(cell, VanillaCell) else isinstance(cell, GRUCell | LSTMCell)


def completeness(indices: Int[np.ndarray, " point"], types: Int[np.ndarray, " point"], bounded: bool) -> str:
    r"""Whether the indices add up to 1, as those of all fixed points of a bounded system do (docs eq. D.9).

    `consistent`: they do. `incomplete`: they do not, so that points are missing. `unknown`: the system is not known to
    be bounded, or a marginal point has no index of its own.
    """
    if not bounded or (types == MARGINAL).any():
        return "unknown"
    return "consistent" if indices.sum() == 1 else "incomplete"
