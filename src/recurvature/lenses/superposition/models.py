r"""Networks that recall: the classes `linear`, `ssm`, `nonlinear`, `tanh`, their feature directions and projections."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_choice, check_count, check_shape
from recurvature.systems.activations import Activation, activation
from recurvature.systems.base import Network
from recurvature.systems.connectivity import Dense
from recurvature.systems.linear import DiagonalMap, LinearMap
from recurvature.systems.preactivation import PreactivationMap
from recurvature.systems.readout import ActivatedReadout, LinearReadout

Kind = Literal["linear", "ssm", "nonlinear", "tanh"]
PHI: dict[str, tuple[str, str]] = {
    "linear": ("identity", "identity"),
    "ssm": ("identity", "relu"),
    "nonlinear": ("relu", "relu"),
    "tanh": ("tanh", "identity"),
}
"""The activations of the recurrence and of the readout of each kind."""


class Weights(eqx.Module):
    r"""The three matrices of a network that recalls: $W_h$ (n, n), $W_x$ (n, d) and the readout $W_y^\top$ (o, n)."""

    recurrent: Float[Array, "n n"]
    inputs: Float[Array, "n d"]
    readout: Float[Array, "o n"]

    def __check_init__(self) -> None:
        n = self.recurrent.shape[0]
        check_shape("recurrent", self.recurrent, (n, n))
        check_shape("inputs", self.inputs, (n, None))
        check_shape("readout", self.readout, (None, n))


def tied(
    recurrent: Float[Array, "n n"], inputs: Float[Array, "n d"], *, delay: int, phi: str | Activation = "identity"
) -> Weights:
    r"""Weights whose readout is the direction that is to be recalled, $W_y = W_k$ (docs eq. S.3).

    A function of the other two matrices, so that gradients flow through it; `phi` is the activation of the recurrence.
    """
    check_delay(delay)
    return Weights(recurrent, inputs, directions(recurrent, inputs, delay + 1, phi=phi)[delay].T)


def recall_network(weights: Weights, *, kind: Kind = "linear", bias: Float[Array, " o"] | None = None) -> Network:
    r"""The network $h_t = W_xx_t + W_h\sigma_h(h_{t-1})$, $\hat y_t = \sigma_y(W_y^\top h_t + b)$, $h_0 = 0$.

    Docs eq. S.1. The state is the pre-activation, and it is the state that is read out. `kind` is `linear` (both
    activations the identity), `ssm` ($\sigma_y$ relu), `nonlinear` (both relu) or `tanh` ($\sigma_h$ tanh,
    $\sigma_y$ the identity). `bias` is b, by default none.
    """
    check_choice("kind", kind, PHI)
    hidden, seen = PHI[kind]
    if hidden == "identity":
        system: LinearMap | PreactivationMap = LinearMap(Dense(weights.recurrent), weights.inputs)
    else:
        system = PreactivationMap(Dense(weights.recurrent), weights.inputs, hidden)
    plain = LinearReadout(weights.readout, bias)
    readout = plain if seen == "identity" else ActivatedReadout(weights.readout, bias, phi=seen)
    return Network(system, readout, jnp.zeros(len(weights.inputs), weights.inputs.dtype))


def directions(
    recurrent: Float[Array, "n n"], inputs: Float[Array, "n d"], ages: int, *, phi: str | Activation = "identity"
) -> Float[Array, "age n d"]:
    r"""Feature directions $W_s = W_h^sW_x$ for $s = 0, \dots$, `ages` - 1, by iteration (docs eq. S.2).

    Under an activation, the response to a pulse of 1 at rest: $w_{s+1} = W_h\sigma_h(w_s)$, column by column. For relu
    that is the response to a pulse of any positive size, divided by the size.
    """
    check_count(ages=ages)
    return _directions(recurrent, inputs, ages, activation(phi))


@eqx.filter_jit
def _directions(
    recurrent: Float[Array, "n n"], inputs: Float[Array, "n d"], ages: int, phi: Activation
) -> Float[Array, "age n d"]:
    def older(w: Array, _: None) -> tuple[Array, Array]:
        return recurrent @ phi(w), w

    return jax.lax.scan(older, inputs, None, length=ages)[1]


def projections(weights: Weights, ages: int, *, phi: str | Activation = "identity") -> Float[Array, "age o d"]:
    r"""What is read out of a feature of each age, $A_s = W_y^\top W_s$: row output, column feature (docs eq. S.2)."""
    return _projections(weights, ages, activation(phi))


@eqx.filter_jit
def _projections(weights: Weights, ages: int, phi: Activation) -> Float[Array, "age o d"]:
    return jnp.einsum("on,snd->sod", weights.readout, directions(weights.recurrent, weights.inputs, ages, phi=phi))


def weights_of(network: Network) -> Weights:
    """The matrices of a network with a linear recurrence; a diagonal one in its real form of twice the modes.

    Raises `InputError` for other recurrences: those have no exact feature directions (`feature_directions`).
    """
    system, readout = network.system, network.readout
    if not isinstance(system, LinearMap | DiagonalMap):
        raise InputError(
            f"`network` has a {type(system).__name__}, and this theory needs a linear recurrence: a LinearMap or a "
            "DiagonalMap. For any other network use `feature_directions`."
        )
    if not isinstance(readout, LinearReadout | ActivatedReadout) or readout.bias is not None:
        raise InputError("`network` needs a LinearReadout or an ActivatedReadout without a bias.")
    x, u = jnp.zeros_like(network.x0), jnp.zeros(system.input_size, network.x0.dtype)
    recurrent, inputs = _matrices(system, x, u)
    return Weights(recurrent, inputs, readout.weight)


@eqx.filter_jit
def _matrices(
    system: LinearMap | DiagonalMap, x: Float[Array, " n"], u: Float[Array, " d"]
) -> tuple[Float[Array, "n n"], Float[Array, "n d"]]:
    return jax.jacfwd(lambda h: system.step(h, u))(x), jax.jacfwd(lambda v: system.step(x, v))(u)


def check_delay(delay: int, steps: int | None = None) -> None:
    """Raise unless `delay` is a whole number from 0 on, and below `steps` where there are that many."""
    if isinstance(delay, bool) or not isinstance(delay, int) or delay < 0:
        raise InputError(f"`delay` must be a whole number of at least 0; got {delay!r}.")
    if steps is not None and delay >= steps:
        raise InputError(
            f"`delay` must be below the number of steps, {steps}; got {delay}. There is nothing to recall."
        )


def conserved(weights: Weights) -> Float[Array, "n n"]:
    r"""$Q = W_hW_h^\top - W_h^\top W_h + W_xW_x^\top - W_yW_y^\top$, constant under gradient flow (docs eq. S.15).

    For untied weights, whatever the loss and the activation of the readout, as long as the recurrence is linear.
    """
    h, x, y = weights.recurrent, weights.inputs, weights.readout
    return h @ h.T - h.T @ h + x @ x.T - y.T @ y
