r"""The rate of change of a state under a constant input, and its derivative: what vanishes at a fixed point.

Rates are per unit of the system's own time: $\tau\dot x$ for a flow and for the Euler map of a flow, which share their
fixed points, and $F(x) - x$ for any other map (docs eq. D.1).
"""

import abc
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError
from recurvature._precision import float_dtype
from recurvature.systems.activations import Activation, activation
from recurvature.systems.base import AbstractFlow, AbstractMap, AbstractSystem, Euler, Network
from recurvature.systems.connectivity import LowRank
from recurvature.systems.gated import GRUCell
from recurvature.systems.leaky import AbstractLeaky, LeakyCurrent, LeakyRate
from recurvature.systems.multi_synapse import MultiSynapse, MultiSynapseLatentFlow
from recurvature.systems.stack import Stack

Kind = Literal["map", "flow"]


class AbstractRate(eqx.Module):
    """A vector field whose zeros are wanted, with its Jacobian."""

    @abc.abstractmethod
    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """The rate of change at a state."""

    @abc.abstractmethod
    def jacobian(self, x: Float[Array, " n"]) -> Float[Array, "n n"]:
        """Its derivative."""


class Rate(AbstractRate):
    """The rate of change of a system under a constant input, per `tau` (flows, their Euler maps) or per step."""

    system: AbstractSystem
    inputs: Float[Array, " d"]

    def __call__(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        r"""$\tau\dot x$, or $F(x) - x$."""
        flow = flow_of(self.system)
        if flow is not None:
            return flow.tau * flow.velocity(x, self.inputs)
        assert isinstance(self.system, AbstractMap)
        return self.system.step(x, self.inputs) - x

    def jacobian(self, x: Float[Array, " n"]) -> Float[Array, "n n"]:
        """Closed form for leaky networks and a GRU layer (no product of matrices), forward derivatives for others."""
        flow = flow_of(self.system)
        if isinstance(flow, LeakyCurrent):
            return flow.connectivity.dense() * slope(flow.phi, x)[None, :] - jnp.eye(len(x), dtype=x.dtype)
        if isinstance(flow, LeakyRate):
            gain = slope(flow.phi, flow.connectivity(x) + drive(flow, self.inputs))
            return gain[:, None] * flow.connectivity.dense() - jnp.eye(len(x), dtype=x.dtype)
        cells = self.system.layers if isinstance(self.system, Stack) else ()
        if len(cells) == 1 and isinstance(cells[0], GRUCell):
            return cells[0].jacobian(x, self.inputs) - jnp.eye(len(x), dtype=x.dtype)
        return jax.jacfwd(self)(x)


class AbstractLatentRate(AbstractRate):
    """The rate of change of latent variables at rest, whose zeros stand for those of all units."""

    @abc.abstractmethod
    def encoding(self) -> Float[Array, "k n"]:
        r"""$\mathbf N$, which reads the variables from the rates."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Number of variables."""

    @property
    @abc.abstractmethod
    def largest(self) -> float:
        """How large one rate can be if every activation is 1 at most."""

    @property
    def box(self) -> Float[np.ndarray, " k"]:
        """How large every variable can then be."""
        return self.largest * np.abs(np.asarray(self.encoding())).sum(1)


class LatentRate(AbstractLatentRate):
    r"""The rate of change of the K latent variables of a low-rank leaky network at rest (docs eq. D.8).

    $-\kappa + s\,n^\top\phi(m\kappa + W_\mathrm{in}u + b)$ with $m$ = `left`, $n$ = `right`, $s$ = `scale`. Its zeros
    are those of the current and of the rate network alike.
    """

    left: Float[Array, "n k"]
    right: Float[Array, "n k"]
    drive: Float[Array, " n"]
    scale: float = eqx.field(static=True)
    phi: str | Activation = eqx.field(static=True)

    def encoding(self) -> Float[Array, "k n"]:
        r"""$s\,n^\top$."""
        return self.scale * self.right.T

    @property
    def size(self) -> int:
        """The rank."""
        return self.left.shape[1]

    @property
    def largest(self) -> float:
        """One activation."""
        return 1.0

    def current(self, kappa: Float[Array, " k"]) -> Float[Array, " n"]:
        r"""$m\kappa + W_\mathrm{in}u + b$."""
        return self.left @ kappa + self.drive

    def __call__(self, kappa: Float[Array, " k"]) -> Float[Array, " k"]:
        r"""$-\kappa + s\,n^\top\phi(\cdot)$."""
        return self.scale * (activation(self.phi)(self.current(kappa)) @ self.right) - kappa

    def jacobian(self, kappa: Float[Array, " k"]) -> Float[Array, "k k"]:
        r"""$-1 + s\,n^\top\mathrm{diag}(\phi')\,m$."""
        gain = slope(self.phi, self.current(kappa))
        return self.scale * (self.right * gain[:, None]).T @ self.left - jnp.eye(len(kappa), dtype=kappa.dtype)


class SynapsesRate(AbstractLatentRate):
    r"""The same for a network of several low-rank synapses, whose variables stand side by side (docs eq. D.20)."""

    flow: MultiSynapseLatentFlow
    inputs: Float[Array, " d"]

    def encoding(self) -> Float[Array, "k n"]:
        r"""The rows $\mathbf N_l$ of all synapses."""
        return self.flow.encoding

    @property
    def size(self) -> int:
        """The sum of the ranks."""
        return self.flow.state_size

    @property
    def largest(self) -> float:
        """A product of activations, or the sum of all."""
        return 1.0 if self.flow.network.combine == "product" else float(len(self.flow.synapses))

    def __call__(self, kappa: Float[Array, " k"]) -> Float[Array, " k"]:
        r"""$-\kappa + \mathbf Nf(\cdot)$."""
        return self.flow.encode(self.flow.lift(kappa, self.inputs)) - kappa

    def jacobian(self, kappa: Float[Array, " k"]) -> Float[Array, "k k"]:
        """By forward derivatives, one for each variable."""
        return jax.jacfwd(self)(kappa)


def slope(phi: str | Activation, x: Float[Array, " n"]) -> Float[Array, " n"]:
    r"""$\phi'(x)$, unit by unit."""
    return jax.jvp(activation(phi), (x,), (jnp.ones_like(x),))[1]


def drive(flow: AbstractLeaky, inputs: Float[Array, " d"]) -> Float[Array, " n"]:
    r"""$W_\mathrm{in}u + b$."""
    return inputs @ flow.input_weights.T + flow.bias


def flow_of(system: AbstractSystem) -> AbstractFlow | None:
    """The flow whose zeros are the fixed points of the system, if it is a flow or the Euler map of one."""
    inner = system.flow if isinstance(system, Euler) else system
    return inner if isinstance(inner, AbstractFlow) else None


def kind_of(system: AbstractSystem) -> Kind:
    """Whether stability is read off multipliers (map) or growth rates (flow)."""
    return "map" if isinstance(system, AbstractMap) else "flow"


def euler_step(system: AbstractSystem) -> float | None:
    """The step h of an Euler map in units of `tau` (multipliers are 1 + h × growth rates); None for other systems."""
    return system.dt / system.flow.tau if isinstance(system, Euler) else None


def own_spectrum(system: AbstractSystem, values: Any) -> np.ndarray:
    """Eigenvalues of the rate's Jacobian as the system's own: growth rates per tau (flow) or multipliers (map)."""
    if kind_of(system) == "flow":
        return np.asarray(values)
    return np.asarray(1 + (euler_step(system) or 1.0) * np.asarray(values))


def system_of(network: Network | AbstractSystem) -> AbstractSystem:
    """The system of a network, or the system itself. Raises `InputError` for anything else."""
    system = network.system if isinstance(network, Network) else network
    if not isinstance(system, AbstractSystem):
        raise InputError(
            f"`network` must be a Network or a system; got {type(network).__name__}. "
            "Wrap a step function in `systems.FunctionMap(step, state_size=…, input_size=…)`."
        )
    return system


def rate_of(network: Network | AbstractSystem, inputs: Any = None, dtype: Any = None) -> Rate:
    """The rate of change under a constant input (None: zero), in the system's own number type unless one is given."""
    system = system_of(network)
    dtype = float_dtype(system) if dtype is None else dtype
    u = jnp.zeros(system.input_size, dtype) if inputs is None else jnp.asarray(inputs, dtype)
    if u.shape != (system.input_size,):
        raise InputError(
            f"`inputs` must be one constant input of shape ({system.input_size},); got {u.shape}. "
            "Call once for each input."
        )
    if not bool(jnp.isfinite(u).all()):
        raise InputError("`inputs` must be finite.")
    return Rate(system, u)


def latent_rate(rate: Rate) -> LatentRate | SynapsesRate | None:
    """The rate of the latent variables of a leaky network or of several synapses, all low rank; None for others.

    None also where several synapses have more variables together than there are units.
    """
    flow = flow_of(rate.system)
    if isinstance(flow, MultiSynapse) and all(isinstance(synapse, LowRank) for synapse in flow.synapses):
        latent = MultiSynapseLatentFlow(flow)
        return SynapsesRate(latent, rate.inputs) if latent.state_size <= flow.state_size else None
    if not isinstance(flow, LeakyCurrent | LeakyRate) or not isinstance(flow.connectivity, LowRank):
        return None
    low = flow.connectivity
    return LatentRate(low.left, low.right, drive(flow, rate.inputs), low.scale, flow.phi)


def lift(rate: Rate, latent: AbstractLatentRate, kappa: Float[Array, "point k"]) -> Float[Array, "point n"]:
    r"""The states at rest that belong to latent variables: $m\kappa + W_\mathrm{in}u + b$, or $\phi$ or f of it."""
    if isinstance(latent, SynapsesRate):
        return jax.vmap(lambda one: latent.flow.lift(one, latent.inputs))(kappa)
    assert isinstance(latent, LatentRate)
    currents = jax.vmap(latent.current)(kappa)
    return activation(latent.phi)(currents) if isinstance(flow_of(rate.system), LeakyRate) else currents
