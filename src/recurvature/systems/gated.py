"""Gated recurrent networks, equal to `torch.nn.GRU` and `torch.nn.LSTM` with their gate orders and both biases."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recurvature._keys import PRNGKey
from recurvature.systems.base import Network
from recurvature.systems.stack import AbstractCell, check_cell, random_stack


class GRUCell(AbstractCell):
    r"""A layer of `torch.nn.GRU`: gates in the order reset, update, candidate (Cho et al. 2014, arXiv 1406.1078).

    With $a = W_{ih}u + b_{ih}$ and $b = W_{hh}h + b_{hh}$, split into three: $r = \sigma(a_r + b_r)$,
    $z = \sigma(a_z + b_z)$, $n = \tanh(a_n + r\,b_n)$, $h' = (1 - z)\,n + z\,h$. The reset gate acts on $b_n$ with its
    bias, after the product: PyTorch's form, not the paper's.

    Shapes: `weight_ih` (3h, inputs), `weight_hh` (3h, h), `bias_ih` and `bias_hh` (3h,).
    """

    gates: ClassVar[int] = 3
    vectors: ClassVar[int] = 1
    weight_ih: Float[Array, "g d"]
    weight_hh: Float[Array, "g h"]
    bias_ih: Float[Array, " g"]
    bias_hh: Float[Array, " g"]

    def __check_init__(self) -> None:
        check_cell(self)

    def advance(self, state: Float[Array, " s"], u: Float[Array, " d"]) -> Float[Array, " s"]:
        """The next hidden state."""
        _, update, candidate, _ = self._gates(state, u)
        return (1 - update) * candidate + update * state

    def jacobian(self, state: Float[Array, " s"], u: Float[Array, " d"]) -> Float[Array, "s s"]:
        r"""$\partial h'/\partial h$: the recurrent matrices with their rows scaled; no product of matrices."""
        reset, update, candidate, candidate_h = self._gates(state, u)
        enters = (1 - update) * (1 - candidate**2)
        by_gate = (
            enters * candidate_h * reset * (1 - reset),
            (state - candidate) * update * (1 - update),
            enters * reset,
        )
        reset_w, update_w, candidate_w = jnp.split(self.weight_hh, 3)
        rows = by_gate[0][:, None] * reset_w + by_gate[1][:, None] * update_w + by_gate[2][:, None] * candidate_w
        return rows + jnp.diag(update)

    def _gates(
        self, state: Float[Array, " s"], u: Float[Array, " d"]
    ) -> tuple[Float[Array, " s"], Float[Array, " s"], Float[Array, " s"], Float[Array, " s"]]:
        """Reset, update, candidate, and what the reset gate multiplies."""
        reset_u, update_u, candidate_u = jnp.split(self.from_input(u), 3)
        reset_h, update_h, candidate_h = jnp.split(self.from_hidden(state), 3)
        reset, update = jax.nn.sigmoid(reset_u + reset_h), jax.nn.sigmoid(update_u + update_h)
        return reset, update, jnp.tanh(candidate_u + reset * candidate_h), candidate_h


class LSTMCell(AbstractCell):
    r"""A layer of `torch.nn.LSTM`: gates in the order input, forget, cell, output (Hochreiter & Schmidhuber 1997).

    With $a = W_{ih}u + b_{ih} + W_{hh}h + b_{hh}$, split into four: $c' = \sigma(a_f)\,c + \sigma(a_i)\tanh(a_g)$,
    $h' = \sigma(a_o)\tanh(c')$. The state is $[h; c]$.

    Shapes: `weight_ih` (4h, inputs), `weight_hh` (4h, h), `bias_ih` and `bias_hh` (4h,).
    """

    gates: ClassVar[int] = 4
    vectors: ClassVar[int] = 2
    weight_ih: Float[Array, "g d"]
    weight_hh: Float[Array, "g h"]
    bias_ih: Float[Array, " g"]
    bias_hh: Float[Array, " g"]

    def __check_init__(self) -> None:
        check_cell(self)

    def advance(self, state: Float[Array, " s"], u: Float[Array, " d"]) -> Float[Array, " s"]:
        """The next hidden and cell state, joined."""
        hidden, memory = jnp.split(state, 2)
        enter, forget, cell, out = jnp.split(self.from_input(u) + self.from_hidden(hidden), 4)
        memory = jax.nn.sigmoid(forget) * memory + jax.nn.sigmoid(enter) * jnp.tanh(cell)
        return jnp.concatenate([jax.nn.sigmoid(out) * jnp.tanh(memory), memory])


def gru(size: int, *, inputs: int, outputs: int, key: PRNGKey, dt: float = 1.0, layers: int = 1) -> Network:
    """A random GRU network of `layers` layers, `size` units each, ready to train; see `random_stack`."""
    return random_stack(GRUCell, size, inputs=inputs, outputs=outputs, key=key, dt=dt, layers=layers)


def lstm(size: int, *, inputs: int, outputs: int, key: PRNGKey, dt: float = 1.0, layers: int = 1) -> Network:
    """A random LSTM network of `layers` layers, `size` units each, ready to train; see `random_stack`."""
    return random_stack(LSTMCell, size, inputs=inputs, outputs=outputs, key=key, dt=dt, layers=layers)
