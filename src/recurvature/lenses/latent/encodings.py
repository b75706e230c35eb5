r"""Nonlinear encodings $\kappa = E(r)$: what is known of a unit that has one, and units that carry any given flow."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_positive, check_shape
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.source import DINC
from recurvature.systems.base import AbstractFlow

Encode = Callable[[Float[Array, " n"]], Float[Array, " k"]]
Decode = Callable[[Float[Array, " k"]], Float[Array, " n"]]
Field = Callable[[Float[Array, " k"], Float[Array, " d"]], Float[Array, " k"]]


def encoded_velocity(
    encode: Encode, rates: Float[Any, "*batch n"], velocity: Float[Any, "*batch n"]
) -> Float[Array, "*batch k"]:
    r"""$\dot\kappa = J_E(r)\,\dot r$ of an encoding, by one forward derivative a row (docs eq. L.89).

    `encode` is a JAX function of one state. For $\dot r = A^{-1}(-r + M\kappa)$ this is eq. M7 of arXiv 2502.14337, on
    the image of a decoder eq. M13. A function of $\kappa$ alone it is on such an image, and for linear encodings under
    one time constant.
    """
    r, v = jnp.asarray(rates), jnp.asarray(velocity)
    check_shape("velocity", v, r.shape)
    one = lambda x, slope: jax.jvp(encode, (x,), (slope,))[1]  # noqa: E731
    rows = jax.vmap(one)(r.reshape(-1, r.shape[-1]), v.reshape(-1, r.shape[-1]))
    return rows.reshape(*r.shape[:-1], rows.shape[-1])


class EncodedFlow(AbstractFlow):
    r"""$\tau_i\dot r_i = -r_i + (ME(r) + W_\mathrm{in}u)_i$: a nonlinear encoding, embedded linearly (docs eq. L.87).

    Shapes: `embedding` (N, K), `input_weights` (N, inputs), `time_constants` (N,) in units of `tau`. `encode` is a JAX
    function of one state to (K,). Fixed points are those of $\kappa = E(M\kappa + W_\mathrm{in}u)$. arXiv 2502.14337,
    eq. M6.
    """

    encode: Encode = eqx.field(static=True)
    embedding: Float[Array, "n k"]
    input_weights: Float[Array, "n d"]
    time_constants: Float[Array, " n"]
    tau: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        check_positive(tau=self.tau)
        check_shape("embedding", self.embedding, (None, None))
        units = self.embedding.shape[0]
        check_shape("input_weights", self.input_weights, (units, None))
        check_shape("time_constants", self.time_constants, (units,))

    @property
    def state_size(self) -> int:
        """Number of units."""
        return self.embedding.shape[0]

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.input_weights.shape[1]

    def rates(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """The state."""
        return x

    def velocity(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        """The time derivative of the rates."""
        driven = self.embedding @ self.encode(x) + self.input_weights @ u
        return (driven - x) / (self.tau * self.time_constants)


class AutoencoderFlow(AbstractFlow):
    r"""Units that carry the flow $\dot\kappa = G(\kappa, u)$ on the image of a decoder (docs eq. L.91, L.92).

    $\tau\dot r = -r + \psi(\kappa) + \tau J_\psi(\kappa)\,G(\kappa, u)$ with $\kappa = E(r)$ and
    $E(\psi(\kappa)) = \kappa$: any flow under any smooth tuning $\psi$. States on the image stay there, and what is off
    it fades with $e^{-t/\tau}$. arXiv 2502.14337, eq. M15. `encode` (N,) to (K,), `decode` (K,) to (N,) and `field`
    (K,), (inputs,) to (K,), per unit of time, are JAX functions; hold the first two against each other by
    `autoencoder_consistency`. `units` is N.
    """

    encode: Encode = eqx.field(static=True)
    decode: Decode = eqx.field(static=True)
    field: Field = eqx.field(static=True)
    units: int = eqx.field(static=True)
    inputs: int = eqx.field(static=True, default=0)
    tau: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        check_positive(tau=self.tau)

    @property
    def state_size(self) -> int:
        """Number of units."""
        return self.units

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.inputs

    def rates(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """The state."""
        return x

    def drive(self, kappa: Float[Array, " k"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        r"""$\Phi(\kappa, u) = \psi(\kappa) + \tau J_\psi(\kappa)\,G(\kappa, u)$: all that units receive."""
        rates, along = jax.jvp(self.decode, (kappa,), (self.field(kappa, u),))
        return rates + self.tau * along

    def velocity(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        """The time derivative of the rates."""
        return (self.drive(self.encode(x), u) - x) / self.tau


class AutoencoderConsistency(AbstractResult):
    r"""Whether an encoder undoes a decoder: $E(\psi(\kappa)) = \kappa$ and $J_EJ_\psi = 1$ (docs eq. L.90)."""

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    reconstruction: Float[Values, " sample"]
    r"""$\lVert E(\psi(\kappa)) - \kappa\rVert$."""
    tangent: Float[Values, " sample"]
    r"""$\lVert J_EJ_\psi - 1\rVert_2$: the share by which a velocity is carried wrongly."""
    stretch: Float[Values, "sample k"]
    r"""Singular values of $J_\psi$: where the last is near zero no encoder can be good."""


@eqx.filter_jit
def _held(encode: Encode, decode: Decode, samples: Float[Array, "sample k"]) -> tuple[Array, Array, Array]:
    def one(kappa: Float[Array, " k"]) -> tuple[Array, Array, Array]:
        rates, out = decode(kappa), jax.jacfwd(decode)(kappa)
        there = jnp.stack([jax.jvp(encode, (rates,), (column,))[1] for column in out.T], axis=1)
        return encode(rates), there, out

    return jax.vmap(one)(samples)


def autoencoder_consistency(encode: Encode, decode: Decode, samples: Float[Any, "sample k"]) -> AutoencoderConsistency:
    r"""Hold an encoder against a decoder at latent variables `samples`.

    Differentiating $\kappa = E(\psi(\kappa))$ says $\dot\kappa = J_EJ_\psi\dot\kappa$ and nothing about the flow
    (docs eq. L.90; eq. M12-M14): which flow there is has to be chosen, as in `AutoencoderFlow`.
    """
    kappa = jnp.asarray(samples)
    check_shape("samples", kappa, (None, None))
    rank = kappa.shape[1]
    shape = jax.eval_shape(lambda k: encode(decode(k)), kappa[0]).shape
    if shape != (rank,):
        raise InputError(f"`encode` must give the {rank} variables that `decode` takes; got shape {shape}.")
    back, there, out = (np.asarray(a) for a in _held(encode, decode, kappa))
    return AutoencoderConsistency(
        reconstruction=np.linalg.norm(back - np.asarray(kappa), axis=1),
        tangent=np.linalg.norm(there - np.eye(rank), ord=2, axis=(1, 2)),
        stretch=np.linalg.svd(out, compute_uv=False),
    )
