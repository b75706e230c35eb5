r"""The latent variables of a leaky low-rank network, as a system of their own."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_kind, check_shape
from recurvature.systems.activations import activation
from recurvature.systems.base import AbstractFlow
from recurvature.systems.connectivity import LowRank
from recurvature.systems.leaky import AbstractLeaky, LeakyCurrent, LeakyRate


def _low_rank(flow: AbstractLeaky) -> LowRank:
    if not isinstance(flow.connectivity, LowRank):
        raise InputError(
            f"the network must be low rank to have latent variables; its connectivity is "
            f"{type(flow.connectivity).__name__}. Reduce it first with `latent.extract`."
        )
    return flow.connectivity


class LatentFlow(AbstractFlow):
    r"""$\tau\dot\kappa = -\kappa + \mathbf N\phi(M\kappa + W_\mathrm{in}u + b)$: the K variables of a rate network.

    `network` is that network (N units, low rank): $M$ = `left`, $\mathbf N$ = `right.T`, divided by N where its
    normalisation says so. The variables $\kappa = \mathbf Nr$ of the network follow this exactly, from any state and
    under any input (docs eq. L.4; Dinc et al., arXiv 2502.14337, eq. M30b). The rates are $\kappa$.
    """

    network: LeakyRate

    def __check_init__(self) -> None:
        check_kind("network", self.network, LeakyRate, "pass a low-rank LeakyRate flow")
        _low_rank(self.network)

    @property
    def tau(self) -> float:
        """That of the network."""
        return self.network.tau

    @property
    def state_size(self) -> int:
        """Number of latent variables."""
        return _low_rank(self.network).rank

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.network.input_size

    def rates(self, x: Float[Array, " k"]) -> Float[Array, " k"]:
        r"""$\kappa$."""
        return x

    def velocity(self, x: Float[Array, " k"], u: Float[Array, " d"]) -> Float[Array, " k"]:
        r"""$(-\kappa + \mathbf N\phi(M\kappa + W_\mathrm{in}u + b))/\tau$."""
        low, flow = _low_rank(self.network), self.network
        currents = low.embed(x) + u @ flow.input_weights.T + flow.bias
        return (low.encode(activation(flow.phi)(currents)) - x) / flow.tau


class FilteredLatentFlow(AbstractFlow):
    r"""The latent variables of a current network: $\kappa$, the filtered input $v$, and what fades of the start.

    $x = M\kappa + W_\mathrm{in}v + b + c\,x_\perp$ with $\tau\dot\kappa = -\kappa + \mathbf N\phi(x)$,
    $\tau\dot v = -v + u$ and $\tau\dot c = -c$ (docs eq. L.7; arXiv 2502.14337, eq. M16–M19). The state is $[\kappa;
    v]$, with $c$ behind it if `rest` $= x_\perp$ (N,) is given: the part of the initial state that $M$, $W_\mathrm{in}$
    and $b$ do not make. The rates are those of all N units, $\phi(x)$: any readout of the network is one of this.
    """

    network: LeakyCurrent
    rest: Float[Array, " n"] | None = None

    def __check_init__(self) -> None:
        check_kind("network", self.network, LeakyCurrent, "pass a low-rank LeakyCurrent flow")
        low = _low_rank(self.network)
        if self.rest is not None:
            check_shape("rest", self.rest, (low.size,))

    @property
    def tau(self) -> float:
        """That of the network."""
        return self.network.tau

    @property
    def state_size(self) -> int:
        """Latent variables, inputs, and one for the rest."""
        return _low_rank(self.network).rank + self.input_size + (self.rest is not None)

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.network.input_size

    def currents(self, x: Float[Array, " k"]) -> Float[Array, " n"]:
        r"""The state of the network, $M\kappa + W_\mathrm{in}v + b + c\,x_\perp$."""
        low, flow = _low_rank(self.network), self.network
        driven = low.embed(x[: low.rank]) + x[low.rank : low.rank + flow.input_size] @ flow.input_weights.T + flow.bias
        return driven if self.rest is None else driven + x[-1] * self.rest

    def rates(self, x: Float[Array, " k"]) -> Float[Array, " n"]:
        """Those of the network's N units."""
        return activation(self.network.phi)(self.currents(x))

    def velocity(self, x: Float[Array, " k"], u: Float[Array, " d"]) -> Float[Array, " k"]:
        r"""The fields of $\kappa$, $v$ and $c$."""
        low = _low_rank(self.network)
        fading = jnp.zeros(0 if self.rest is None else 1, x.dtype)
        target = jnp.concatenate([low.encode(self.rates(x)), u, fading])
        return (target - x) / self.network.tau
