"""What reads a network out: linear weights, alone or under an activation, or a gated layer before the outputs."""

import abc
from typing import TYPE_CHECKING

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Inexact

from recurvature._errors import check_count, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature.systems.activations import Activation, activation


class AbstractReadout(eqx.Module):
    """From rates to outputs, one instant at a time."""

    # A field or a property of the final class; type checkers are told the read-only half of that.
    if TYPE_CHECKING:

        @property
        def rate_size(self) -> int: ...  # noqa: D102

        @property
        def output_size(self) -> int: ...  # noqa: D102

    else:
        rate_size: eqx.AbstractVar[int]
        output_size: eqx.AbstractVar[int]

    @abc.abstractmethod
    def __call__(self, rates: Inexact[Array, "*batch r"]) -> Inexact[Array, "*batch o"]:
        """The outputs, for rates with any leading axes."""


def _affine(
    x: Inexact[Array, "*batch i"], weight: Float[Array, "j i"], bias: Float[Array, " j"] | None
) -> Inexact[Array, "*batch j"]:
    y = x @ weight.T
    return y if bias is None else y + jnp.broadcast_to(bias, y.shape)


class LinearReadout(AbstractReadout):
    r"""$y = W_\mathrm{out}\,r + b$, with `weight` of shape (outputs, rates)."""

    weight: Float[Array, "o r"]
    bias: Float[Array, " o"] | None = None

    def __check_init__(self) -> None:
        check_shape("weight", self.weight, (None, None))
        if self.bias is not None:
            check_shape("bias", self.bias, (self.weight.shape[0],))

    @property
    def rate_size(self) -> int:
        """Number of rates that it reads."""
        return self.weight.shape[1]

    @property
    def output_size(self) -> int:
        """Number of outputs."""
        return self.weight.shape[0]

    def __call__(self, rates: Inexact[Array, "*batch r"]) -> Inexact[Array, "*batch o"]:
        """The outputs, for rates with any leading axes."""
        return _affine(rates, self.weight, self.bias)


class ActivatedReadout(AbstractReadout):
    r"""$y = \phi(W_\mathrm{out}\,r + b)$, with `weight` of shape (outputs, rates); $\phi$ is relu unless named."""

    weight: Float[Array, "o r"]
    bias: Float[Array, " o"] | None = None
    phi: str | Activation = eqx.field(static=True, default="relu")

    def __check_init__(self) -> None:
        self.linear.__check_init__()
        activation(self.phi)

    @property
    def linear(self) -> LinearReadout:
        """What it is without the activation."""
        return LinearReadout(self.weight, self.bias)

    @property
    def rate_size(self) -> int:
        """Number of rates that it reads."""
        return self.linear.rate_size

    @property
    def output_size(self) -> int:
        """Number of outputs."""
        return self.linear.output_size

    def __call__(self, rates: Inexact[Array, "*batch r"]) -> Inexact[Array, "*batch o"]:
        """The outputs, for rates with any leading axes."""
        return activation(self.phi)(self.linear(rates))


class GatedReadout(AbstractReadout):
    r"""$y = W_\mathrm{out}\bigl[(W_vr + b_v)\odot\phi(W_gr + b_g)\bigr] + b$: a gated linear unit and a linear layer.

    Gates are logistic unless `phi` names another function (Dauphin et al. 2017, arXiv 1612.08083; other gates: Shazeer
    2020, arXiv 2002.05202). With all gates at a constant it is a linear readout.

    Shapes: `value` and `gate` (hidden, rates), `value_bias` and `gate_bias` (hidden,), `weight` (outputs, hidden),
    `bias` (outputs,).
    """

    value: Float[Array, "h r"]
    gate: Float[Array, "h r"]
    value_bias: Float[Array, " h"]
    gate_bias: Float[Array, " h"]
    weight: Float[Array, "o h"]
    bias: Float[Array, " o"]
    phi: str | Activation = eqx.field(static=True, default="sigmoid")

    def __check_init__(self) -> None:
        check_shape("value", self.value, (None, None))
        hidden, rates = self.value.shape
        check_shape("gate", self.gate, (hidden, rates))
        check_shape("value_bias", self.value_bias, (hidden,))
        check_shape("gate_bias", self.gate_bias, (hidden,))
        check_shape("weight", self.weight, (None, hidden))
        check_shape("bias", self.bias, (self.weight.shape[0],))
        activation(self.phi)

    @property
    def rate_size(self) -> int:
        """Number of rates that it reads."""
        return self.value.shape[1]

    @property
    def output_size(self) -> int:
        """Number of outputs."""
        return self.weight.shape[0]

    def __call__(self, rates: Inexact[Array, "*batch r"]) -> Inexact[Array, "*batch o"]:
        """The outputs, for rates with any leading axes."""
        gates = activation(self.phi)(_affine(rates, self.gate, self.gate_bias))
        return _affine(_affine(rates, self.value, self.value_bias) * gates, self.weight, self.bias)


def random_readout(outputs: int, size: int, *, key: PRNGKey) -> LinearReadout:
    r"""Readout weights $\mathcal N(0,1/N)$ of `size` rates, without a bias."""
    return LinearReadout(jr.normal(stream(key, "readout"), (outputs, size)) / jnp.sqrt(size))


def random_gated_readout(
    outputs: int, size: int, *, hidden: int, key: PRNGKey, phi: str | Activation = "sigmoid"
) -> GatedReadout:
    r"""A gated readout of `size` rates through `hidden` gates: weights $\mathcal N(0,1/\mathrm{fan\ in})$, biases 0."""
    check_count(hidden=hidden)
    value, gate = jr.normal(stream(key, "gated layer"), (2, hidden, size)) / jnp.sqrt(size)
    weight = jr.normal(stream(key, "readout"), (outputs, hidden)) / jnp.sqrt(hidden)
    zero = jnp.zeros(hidden, value.dtype)
    return GatedReadout(value, gate, zero, zero, weight, jnp.zeros(outputs, value.dtype), phi)
