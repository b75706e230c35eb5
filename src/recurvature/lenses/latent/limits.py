r"""Latent units of infinitely many neurons, as flows: jointly Gaussian weights, or every neuron drifting on its own."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_not_negative, check_shape
from recurvature.lenses.latent.design import gauss_hermite
from recurvature.lenses.latent.unit import LatentUnit
from recurvature.systems.activations import Activation, activation
from recurvature.systems.base import AbstractFlow
from recurvature.systems.leaky import LeakyRate


class GaussianFlow(AbstractFlow):
    r"""$\tau\dot\kappa = -\kappa + E[n\,\phi(m\cdot\kappa + w\cdot u + b)]$ for jointly Gaussian $(m, w, b, n)$.

    With $z$ the argument of $\phi$, mean $\mu_z$ and variance $s^2$: $E[n\phi(z)] = \mu_nE[\phi] +
    \mathrm{cov}(n, z)E[\phi']$ (docs eq. L.51). `mean` and `covariance` are those of $(m, w, b, n)$ in this order,
    lengths K, inputs, 1 and K, in the 1/N convention. Averages by a Gauss-Hermite rule of 180 nodes.
    """

    mean: Float[Array, " a"]
    covariance: Float[Array, "a b"]
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    phi: str | Activation = eqx.field(static=True, default="tanh")
    tau: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        length = 2 * self.state_size + self.input_size + 1
        check_shape("mean", self.mean, (length,))
        check_shape("covariance", self.covariance, (length, length))

    def rates(self, x: Float[Array, " k"]) -> Float[Array, " k"]:
        r"""$\kappa$."""
        return x

    def velocity(self, x: Float[Array, " k"], u: Float[Array, " d"]) -> Float[Array, " k"]:
        r"""$(-\kappa + E[n\phi(z)])/\tau$."""
        c = jnp.concatenate([x, u, jnp.ones(1, x.dtype)])
        heads = c.shape[0]
        centre, along = self.mean[:heads] @ c, self.covariance[:, :heads] @ c
        variance = along[:heads] @ c
        # a square root has no slope at zero, where all of the average is φ(centre) anyway
        spread = jnp.sqrt(jnp.where(variance > 0, variance, 1)) * (variance > 0).astype(x.dtype)
        z, weights = (jnp.asarray(a, x.dtype) for a in gauss_hermite())
        phi = activation(self.phi)
        values = centre + spread * z
        mean, slope = weights @ phi(values), weights @ jax.vmap(jax.grad(phi))(values)
        return (self.mean[heads:] * mean + along[heads:] * slope - x) / self.tau


def gaussian_limit(unit: LatentUnit) -> GaussianFlow:
    """Infinitely many neurons with the mean and covariance of those of a unit in the rate form."""
    flow = _rate(unit)
    vectors = unit.encoding.T * unit.connectivity.size
    table = jnp.concatenate([unit.embedding, flow.input_weights, flow.bias[:, None], vectors], axis=1)
    mean = table.mean(0)
    centred = table - mean[None, :]
    return GaussianFlow(
        mean, centred.T @ centred / len(table), unit.connectivity.rank, flow.input_size, flow.phi, flow.tau
    )


class SmoothedFlow(AbstractFlow):
    r"""A unit of which every neuron stands for infinitely many that drift independently (docs eq. L.59).

    $\tau\dot\kappa = -\kappa + \sum_i\mathbf N_iE_\xi\phi(m_i\cdot\kappa +
    \sqrt{\delta^2\lVert\kappa\rVert^2 + \sigma^2}\,\xi + W_iu + b_i)$, $\xi\sim\mathcal N(0,1)$: random drift of
    strength $\delta$, and noise $\sigma$ inside the activation, blur tuning; what survives that survives at any size.
    """

    network: LeakyRate
    encoding: Float[Array, "k n"]
    embedding: Float[Array, "n k"]
    strength: Float[Array, ""]
    noise: Float[Array, ""]
    nodes: int = eqx.field(static=True, default=60)

    @property
    def tau(self) -> float:
        """That of the network."""
        return self.network.tau

    @property
    def state_size(self) -> int:
        """Number of latent variables."""
        return self.encoding.shape[0]

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.network.input_size

    def rates(self, x: Float[Array, " k"]) -> Float[Array, " k"]:
        r"""$\kappa$."""
        return x

    def velocity(self, x: Float[Array, " k"], u: Float[Array, " d"]) -> Float[Array, " k"]:
        r"""$(-\kappa + \mathbf NE_\xi\phi)/\tau$."""
        flow = self.network
        variance = self.strength**2 * (x @ x) + self.noise**2
        spread = jnp.sqrt(jnp.where(variance > 0, variance, 1)) * (variance > 0).astype(x.dtype)
        z, weights = (jnp.asarray(a, x.dtype) for a in gauss_hermite(self.nodes))
        currents = self.embedding @ x + flow.input_weights @ u + flow.bias
        blur = (spread * z)[None, :]
        blurred = activation(flow.phi)(currents[:, None] + blur) @ weights
        return (self.encoding @ blurred - x) / flow.tau


def drift_limit(unit: LatentUnit, strength: float, *, noise: float = 0.0) -> SmoothedFlow:
    """What random drift of a strength makes of a unit whose neurons are each copied without end.

    `noise` is the standard deviation of independent noise inside the activation of every copy, as in `drift_sweep`.
    """
    check_not_negative(strength=strength, noise=noise)
    dtype = unit.embedding.dtype
    both = jnp.asarray(strength, dtype), jnp.asarray(noise, dtype)
    return SmoothedFlow(_rate(unit), unit.encoding, unit.embedding, *both)


def _rate(unit: LatentUnit) -> LeakyRate:
    if not isinstance(unit.flow, LeakyRate):
        raise InputError("`unit` must have the rate form; in the current form the limit has the filtered input too.")
    return unit.flow
