"""The two leaky rate models, in one formula that serves a state and a state with its tangents alike."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from recurvature._errors import check_count, check_positive, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature.systems.activations import Activation, activation
from recurvature.systems.base import AbstractFlow, AbstractMap, Euler, Network
from recurvature.systems.connectivity import AbstractConnectivity, random_connectivity
from recurvature.systems.readout import random_readout

Rows = Float[Array, "*rows n"]


class AbstractLeaky(AbstractFlow):
    """A flow built from one linear map of units (`connectivity`) and one elementwise function (`phi`).

    `field` is written for rows: a single state, or a state followed by its derivatives, with `phi` replaced by its
    action on such rows (`systems.tangent`). That is the closed form of all tangents at once: one product per step.
    """

    connectivity: eqx.AbstractVar[AbstractConnectivity]
    input_weights: eqx.AbstractVar[Float[Array, "n d"]]
    bias: eqx.AbstractVar[Float[Array, " n"]]
    phi: eqx.AbstractVar[str | Activation]

    @abc.abstractmethod
    def field(self, x: Rows, drive: Rows, phi: Callable[[Rows], Rows]) -> Rows:
        r"""The velocity of every row, given the external drive $W_\mathrm{in}u + b$ of every row."""

    @property
    def state_size(self) -> int:
        """Number of units."""
        return self.connectivity.size

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.input_weights.shape[1]

    def velocity(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        """The time derivative of the state."""
        return self.field(x, u @ self.input_weights.T + self.bias, activation(self.phi))


class LeakyCurrent(AbstractLeaky):
    r"""$\tau\dot x = -x + W\phi(x) + W_\mathrm{in}u + b$, rates $r = \phi(x)$.

    Shapes: `input_weights` (N, inputs), `bias` (N,). `tau` sets the unit of time.
    """

    connectivity: AbstractConnectivity
    input_weights: Float[Array, "n d"]
    bias: Float[Array, " n"]
    phi: str | Activation = eqx.field(static=True, default="tanh")
    tau: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        _check_leaky(self)

    def rates(self, x: Float[Array, " n"]) -> Float[Array, " r"]:
        r"""$\phi(x)$."""
        return activation(self.phi)(x)

    def field(self, x: Rows, drive: Rows, phi: Callable[[Rows], Rows]) -> Rows:
        r"""$(-x + W\phi(x) + \mathrm{drive})/\tau$."""
        return (self.connectivity(phi(x)) + drive - x) / self.tau


class LeakyRate(AbstractLeaky):
    r"""$\tau\dot r = -r + \phi(Wr + W_\mathrm{in}u + b)$: the state is the rates."""

    connectivity: AbstractConnectivity
    input_weights: Float[Array, "n d"]
    bias: Float[Array, " n"]
    phi: str | Activation = eqx.field(static=True, default="tanh")
    tau: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        _check_leaky(self)

    def rates(self, x: Float[Array, " n"]) -> Float[Array, " r"]:
        """The state."""
        return x

    def field(self, x: Rows, drive: Rows, phi: Callable[[Rows], Rows]) -> Rows:
        r"""$(-r + \phi(Wr + \mathrm{drive}))/\tau$."""
        return (phi(self.connectivity(x) + drive) - x) / self.tau


def _check_leaky(flow: AbstractLeaky) -> None:
    check_shape("input_weights", flow.input_weights, (flow.connectivity.size, None))
    check_shape("bias", flow.bias, (flow.connectivity.size,))
    check_positive(tau=flow.tau)
    activation(flow.phi)


def leaky_current(
    size: int, *, inputs: int, outputs: int, key: PRNGKey, dt: float | None = 0.2, **options: object
) -> Network:
    """A random leaky-current network, ready to train, stepped by Euler with `dt`; see `leaky`."""
    return leaky(LeakyCurrent, size, inputs=inputs, outputs=outputs, key=key, dt=dt, **options)  # type: ignore[arg-type]


def leaky_rate(
    size: int, *, inputs: int, outputs: int, key: PRNGKey, dt: float | None = 0.2, **options: object
) -> Network:
    """A random leaky-rate network, ready to train, stepped by Euler with `dt`; see `leaky`."""
    return leaky(LeakyRate, size, inputs=inputs, outputs=outputs, key=key, dt=dt, **options)  # type: ignore[arg-type]


def leaky(
    form: type[LeakyCurrent] | type[LeakyRate],
    size: int,
    *,
    inputs: int,
    outputs: int,
    key: PRNGKey,
    dt: float | None = 0.2,
    rank: int | None = None,
    gain: float = 0.5,
    phi: str | Activation = "tanh",
    tau: float = 1.0,
) -> Network:
    r"""A random leaky network, ready to train.

    $W\sim g\,\mathcal N(0,1/N)$ or low rank, inputs $\mathcal N(0,1/d)$, readout $\mathcal N(0,1/N)$.

    `dt` in units of `tau` is the Euler step; None leaves the flow in continuous time (arXiv 2512.04310, initialisation
    of its public code: gain 0.5, no bias, zero initial state).
    """
    check_count(size=size, inputs=inputs, outputs=outputs)
    connectivity = random_connectivity(size, rank=rank, gain=gain, key=key)
    input_weights = jr.normal(stream(key, "input"), (size, inputs)) / jnp.sqrt(inputs)
    flow = form(connectivity, input_weights, jnp.zeros(size), phi, tau)
    system: AbstractMap | AbstractFlow = flow if dt is None else Euler(flow, dt)
    return Network(system, random_readout(outputs, size, key=key), jnp.zeros(size))
