"""Layers of cells in PyTorch's layout as one map: every gated or plain recurrent network with its two biases."""

import abc

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_positive, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature.systems.base import AbstractMap, Network
from recurvature.systems.readout import random_readout


class AbstractCell(eqx.Module):
    """One recurrent layer with the weights of `torch.nn.RNN`, `GRU` or `LSTM`, its gates one above the other.

    Shapes, with G gates of h units and d inputs: `weight_ih` (G·h, d), `weight_hh` (G·h, h), `bias_ih` and `bias_hh`
    (G·h,). Both biases are kept: they may be added only where nothing stands between them (not in a GRU's candidate).
    A network that has no bias has zeros here.
    """

    weight_ih: eqx.AbstractVar[Float[Array, "g d"]]
    weight_hh: eqx.AbstractVar[Float[Array, "g h"]]
    bias_ih: eqx.AbstractVar[Float[Array, " g"]]
    bias_hh: eqx.AbstractVar[Float[Array, " g"]]
    gates: eqx.AbstractClassVar[int]
    vectors: eqx.AbstractClassVar[int]

    @abc.abstractmethod
    def advance(self, state: Float[Array, " s"], u: Float[Array, " d"]) -> Float[Array, " s"]:
        """The state of the layer one step later; its first `hidden_size` numbers are what the next layer sees."""

    @property
    def hidden_size(self) -> int:
        """Number of units."""
        return self.weight_hh.shape[1]

    @property
    def state_size(self) -> int:
        """Length of the state: `vectors` numbers for each unit."""
        return self.vectors * self.hidden_size

    @property
    def input_size(self) -> int:
        """Length of the input."""
        return self.weight_ih.shape[1]

    def from_input(self, u: Float[Array, " d"]) -> Float[Array, " g"]:
        r"""$W_{ih}u + b_{ih}$ for all gates."""
        return u @ self.weight_ih.T + self.bias_ih

    def from_hidden(self, h: Float[Array, " h"]) -> Float[Array, " g"]:
        r"""$W_{hh}h + b_{hh}$ for all gates."""
        return h @ self.weight_hh.T + self.bias_hh


def check_cell(cell: AbstractCell) -> None:
    """Raise unless the weights of a cell fit together."""
    check_shape("weight_hh", cell.weight_hh, (None, None))
    rows = cell.gates * cell.hidden_size
    check_shape("weight_hh", cell.weight_hh, (rows, cell.hidden_size))
    check_shape("weight_ih", cell.weight_ih, (rows, None))
    check_shape("bias_ih", cell.bias_ih, (rows,))
    check_shape("bias_hh", cell.bias_hh, (rows,))


class Stack(AbstractMap):
    r"""Cells on top of one another: the hidden state of each is the input of the next, within the same step.

    The state joins the layers' states from the bottom up (an LSTM layer's is $[h; c]$); the rates are the hidden
    state of the top layer, which is what `torch.nn.RNN`, `GRU` and `LSTM` output. `dt` is the time one step stands for.
    """

    layers: tuple[AbstractCell, ...]
    dt: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        check_positive(dt=self.dt)
        if not self.layers:
            raise InputError("`layers` is empty; a stack needs at least one cell.")
        for k, (below, above) in enumerate(zip(self.layers, self.layers[1:], strict=False)):
            if above.input_size != below.hidden_size:
                raise InputError(
                    f"layer {k + 1} takes {above.input_size} inputs, but layer {k} below it has {below.hidden_size} "
                    "units; the two numbers must agree."
                )

    @property
    def state_size(self) -> int:
        """Length of all layers' states together."""
        return sum(cell.state_size for cell in self.layers)

    @property
    def input_size(self) -> int:
        """Length of the input of the bottom layer."""
        return self.layers[0].input_size

    def split(self, x: Float[Array, " n"]) -> list[Float[Array, " _"]]:
        """The state of each layer, from the bottom up."""
        return jnp.split(x, np.cumsum([cell.state_size for cell in self.layers])[:-1])

    def rates(self, x: Float[Array, " n"]) -> Float[Array, " r"]:
        """The hidden state of the top layer."""
        return self.split(x)[-1][: self.layers[-1].hidden_size]

    def step(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        """One step of every layer, from the bottom up."""
        states = []
        for cell, state in zip(self.layers, self.split(x), strict=True):
            states.append(cell.advance(state, u))
            u = states[-1][: cell.hidden_size]
        return jnp.concatenate(states)


def random_stack(
    cell: type[AbstractCell],
    size: int,
    *,
    inputs: int,
    outputs: int,
    key: PRNGKey,
    dt: float,
    layers: int,
    **options: object,
) -> Network:
    r"""Layers of `size` units with all weights and biases uniform on $\pm1/\sqrt N$, as PyTorch draws them.

    The readout is $\mathcal N(0,1/N)$; the network starts at zero. `options` go to every cell.
    """
    check_count(size=size, inputs=inputs, outputs=outputs, layers=layers)
    rows, bound = cell.gates * size, 1 / np.sqrt(size)

    def draw(name: str, shape: tuple[int, ...]) -> Array:
        return jr.uniform(stream(key, name), shape, minval=-bound, maxval=bound)

    cells = tuple(
        cell(
            draw(f"weight_ih {k}", (rows, size if k else inputs)),
            draw(f"weight_hh {k}", (rows, size)),
            draw(f"bias_ih {k}", (rows,)),
            draw(f"bias_hh {k}", (rows,)),
            **options,
        )
        for k in range(layers)
    )
    system = Stack(cells, dt)
    return Network(system, random_readout(outputs, size, key=key), jnp.zeros(system.state_size))
