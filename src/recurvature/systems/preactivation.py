r"""Maps whose state is the input to their units: $h_{k+1} = W\phi(h_k) + W_\mathrm{in}u_k$, read out as it is."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from recurvature._errors import check_count, check_positive, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature.systems.activations import Activation, activation
from recurvature.systems.base import AbstractMap, Network
from recurvature.systems.connectivity import AbstractConnectivity, random_connectivity
from recurvature.systems.readout import random_readout


class PreactivationMap(AbstractMap):
    r"""$h_{k+1} = W\phi(h_k) + W_\mathrm{in}u_k$: $W$ is `connectivity`, $W_\mathrm{in}$ `input_weights` (N, inputs).

    The rates are the state before the activation, so that a readout sees the input of this step linearly and what
    negative states leave (the networks of Sharma, Proca, Prieto & Mediano, ICLR 2026). There is no bias.
    """

    connectivity: AbstractConnectivity
    input_weights: Float[Array, "n d"]
    phi: str | Activation = eqx.field(static=True, default="tanh")
    dt: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        check_shape("input_weights", self.input_weights, (self.connectivity.size, None))
        check_positive(dt=self.dt)
        activation(self.phi)

    @property
    def state_size(self) -> int:
        """Number of units."""
        return self.connectivity.size

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.input_weights.shape[1]

    def rates(self, x: Float[Array, " n"]) -> Float[Array, " r"]:
        """The state."""
        return x

    def step(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        r"""$W\phi(x) + W_\mathrm{in}u$."""
        return self.connectivity(activation(self.phi)(x)) + u @ self.input_weights.T


def preactivation(
    size: int,
    *,
    inputs: int,
    outputs: int,
    key: PRNGKey,
    dt: float = 1.0,
    rank: int | None = None,
    gain: float = 1.0,
    phi: str | Activation = "tanh",
) -> Network:
    r"""A random network whose state is before its activation, ready to train; weights as in `linear`.

    $W\sim g\,\mathcal N(0,1/N)$ or low rank, $W_\mathrm{in}\sim\mathcal N(0,1/d)$, readout $\mathcal N(0,1/N)$.
    """
    check_count(size=size, inputs=inputs, outputs=outputs)
    input_weights = jr.normal(stream(key, "input"), (size, inputs)) / jnp.sqrt(inputs)
    system = PreactivationMap(random_connectivity(size, rank=rank, gain=gain, key=key), input_weights, phi, dt)
    return Network(system, random_readout(outputs, size, key=key), jnp.zeros(size))
