r"""Units with several kinds of synapses, each with weights of its own, whose currents meet in one function."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_choice, check_count, check_positive, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature.systems.activations import Activation, activation
from recurvature.systems.base import AbstractFlow, AbstractMap, Euler, Network
from recurvature.systems.connectivity import AbstractConnectivity, LowRank, random_connectivity
from recurvature.systems.readout import random_readout

Combine = Literal["product", "sum"]


class MultiSynapse(AbstractFlow):
    r"""$\tau\dot r = -r + \prod_l\phi_l(z_l)$ or $\sum_l$, with $z_l = W_lr + W_{\mathrm{in},l}u + b_l$.

    Two synapses and a product are a gain-modulated network, $\phi(z_1)\,g(z_2)$; one synapse is `LeakyRate` (docs
    eq. L.26; arXiv 2502.14337, eq. M37). Shapes: `input_weights` (synapses, N, inputs), `bias` (synapses, N).
    """

    synapses: tuple[AbstractConnectivity, ...]
    input_weights: Float[Array, "l n d"]
    bias: Float[Array, "l n"]
    phis: tuple[str | Activation, ...] = eqx.field(static=True)
    combine: Combine = eqx.field(static=True, default="product")
    tau: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        count = len(self.synapses)
        if not count or len(self.phis) != count or {s.size for s in self.synapses} != {self.synapses[0].size}:
            raise InputError(
                f"`synapses` and `phis` must be of one number, and all synapses of one size; got {count} synapses of "
                f"sizes {[s.size for s in self.synapses]} and {len(self.phis)} functions."
            )
        check_choice("combine", self.combine, ("product", "sum"))
        check_shape("input_weights", self.input_weights, (count, self.state_size, None))
        check_shape("bias", self.bias, (count, self.state_size))
        check_positive(tau=self.tau)
        for phi in self.phis:
            activation(phi)

    @property
    def state_size(self) -> int:
        """Number of units."""
        return self.synapses[0].size

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.input_weights.shape[2]

    def rates(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """The state."""
        return x

    def joined(self, currents: Float[Array, "l *batch n"]) -> Float[Array, "*batch n"]:
        """$f$ of the whole current through every synapse."""
        parts = jnp.stack([activation(phi)(z) for phi, z in zip(self.phis, currents, strict=True)])
        return parts.prod(0) if self.combine == "product" else parts.sum(0)

    def target(self, currents: list[Float[Array, " n"]], u: Float[Array, " d"]) -> Float[Array, " n"]:
        """What the rates relax to, given the recurrent current through every synapse."""
        driven = [z + w @ u + b for z, w, b in zip(currents, self.input_weights, self.bias, strict=True)]
        return self.joined(jnp.stack(driven))

    def velocity(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        """The time derivative of the rates."""
        return (self.target([synapse(x) for synapse in self.synapses], u) - x) / self.tau


class MultiSynapseLatentFlow(AbstractFlow):
    r"""The latent variables of a network whose synapses are all low rank, $\kappa_l = \mathbf N_lr$, side by side.

    $\tau\dot\kappa_l = -\kappa_l + \mathbf N_lf(M_1\kappa_1 + \ldots, M_2\kappa_2 + \ldots, \ldots)$, exactly (docs
    eq. L.27; arXiv 2502.14337, eq. M39). The rates are $\kappa$.
    """

    network: MultiSynapse

    def __check_init__(self) -> None:
        if not all(isinstance(synapse, LowRank) for synapse in self.network.synapses):
            raise InputError(
                "every synapse of `network` must be low rank to have latent variables; reduce it with `latent.extract`."
            )

    @property
    def tau(self) -> float:
        """That of the network."""
        return self.network.tau

    @property
    def synapses(self) -> tuple[LowRank, ...]:
        """Those of the network."""
        return tuple(synapse for synapse in self.network.synapses if isinstance(synapse, LowRank))

    @property
    def state_size(self) -> int:
        """The sum of all ranks."""
        return sum(synapse.rank for synapse in self.synapses)

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.network.input_size

    def rates(self, x: Float[Array, " k"]) -> Float[Array, " k"]:
        r"""$\kappa$."""
        return x

    def encode(self, rates: Float[Array, "*batch n"]) -> Float[Array, "*batch k"]:
        """The latent variables of all synapses."""
        return jnp.concatenate([synapse.encode(rates) for synapse in self.synapses], axis=-1)

    @property
    def encoding(self) -> Float[Array, "k n"]:
        r"""The rows $\mathbf N_l$ of all synapses."""
        return jnp.concatenate([synapse.right.T * synapse.scale for synapse in self.synapses])

    def lift(self, x: Float[Array, " k"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        r"""The rates at rest with these $\kappa$: $f(M_1\kappa_1 + \ldots, M_2\kappa_2 + \ldots, \ldots)$."""
        currents, start = [], 0
        for synapse in self.synapses:
            currents.append(synapse.embed(x[start : start + synapse.rank]))
            start += synapse.rank
        return self.network.target(currents, u)

    def velocity(self, x: Float[Array, " k"], u: Float[Array, " d"]) -> Float[Array, " k"]:
        r"""$(\mathbf Nf - \kappa)/\tau$."""
        return (self.encode(self.lift(x, u)) - x) / self.network.tau


def multi_synapse(
    size: int,
    *,
    inputs: int,
    outputs: int,
    key: PRNGKey,
    dt: float | None = 0.2,
    rank: int | None = None,
    gain: float = 0.5,
    phis: tuple[str | Activation, ...] = ("tanh", "sigmoid"),
    combine: Combine = "product",
    tau: float = 1.0,
) -> Network:
    r"""A random network of one synapse for each of `phis`, ready to train: by default tanh times a sigmoid gain.

    Weights, inputs and readout are drawn as in `leaky_rate`, anew for each synapse.
    """
    check_count(size=size, inputs=inputs, outputs=outputs)
    keys = [stream(key, f"synapse {number}") for number in range(len(phis))]
    synapses = tuple(random_connectivity(size, rank=rank, gain=gain, key=each) for each in keys)
    weights = jax.vmap(lambda each: jr.normal(each, (size, inputs)))(jnp.stack([stream(k, "input") for k in keys]))
    flow = MultiSynapse(
        synapses, weights / jnp.sqrt(inputs), jnp.zeros((len(phis), size), weights.dtype), phis, combine, tau
    )
    system: AbstractMap | AbstractFlow = flow if dt is None else Euler(flow, dt)
    return Network(system, random_readout(outputs, size, key=key), jnp.zeros(size, weights.dtype))
