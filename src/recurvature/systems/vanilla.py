"""The plain recurrent network of `torch.nn.RNN` (Elman 1990)."""

from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Float

from recurvature._keys import PRNGKey
from recurvature.systems.activations import Activation, activation
from recurvature.systems.base import Network
from recurvature.systems.stack import AbstractCell, check_cell, random_stack


class VanillaCell(AbstractCell):
    r"""$h' = \phi(W_{ih}u + b_{ih} + W_{hh}h + b_{hh})$, a layer of `torch.nn.RNN` for $\phi$ tanh or relu.

    Shapes: `weight_ih` (h, inputs), `weight_hh` (h, h), `bias_ih` and `bias_hh` (h,).
    """

    gates: ClassVar[int] = 1
    vectors: ClassVar[int] = 1
    weight_ih: Float[Array, "h d"]
    weight_hh: Float[Array, "h h"]
    bias_ih: Float[Array, " h"]
    bias_hh: Float[Array, " h"]
    phi: str | Activation = eqx.field(static=True, default="tanh")

    def __check_init__(self) -> None:
        check_cell(self)
        activation(self.phi)

    def advance(self, state: Float[Array, " s"], u: Float[Array, " d"]) -> Float[Array, " s"]:
        """The next hidden state."""
        return activation(self.phi)(self.from_input(u) + self.from_hidden(state))


def vanilla(
    size: int,
    *,
    inputs: int,
    outputs: int,
    key: PRNGKey,
    dt: float = 1.0,
    layers: int = 1,
    phi: str | Activation = "tanh",
) -> Network:
    """A random plain recurrent network of `layers` layers, `size` units each, ready to train; see `random_stack`."""
    return random_stack(VanillaCell, size, inputs=inputs, outputs=outputs, key=key, dt=dt, layers=layers, phi=phi)
