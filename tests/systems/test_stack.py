from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import AbstractCell, GRUCell, LSTMCell, Stack, VanillaCell

CELLS = [VanillaCell, GRUCell, LSTMCell]


def cell(kind: type[AbstractCell], size: int, inputs: int, draw: Callable) -> AbstractCell:
    rows = kind.gates * size
    return kind(*(draw(*shape) for shape in [(rows, inputs), (rows, size), (rows,), (rows,)]))


def test_different_cells_stack_and_feed_each_other_within_a_step(draw):
    lower, upper = cell(LSTMCell, 4, 2, draw), cell(GRUCell, 3, 4, draw)
    stack = Stack((lower, upper))
    x, u = draw(stack.state_size), draw(2)
    below = lower.advance(x[:8], u)
    above = upper.advance(x[8:], below[:4])
    after = stack.step(x, u)
    assert (stack.state_size, stack.input_size) == (11, 2)
    # the same operations in the same order
    np.testing.assert_array_equal(after, np.concatenate([below, above]))
    np.testing.assert_array_equal(stack.rates(after), above)


@pytest.mark.parametrize("kind", CELLS)
def test_only_the_sum_of_two_biases_matters_but_for_the_candidate_of_a_gru(kind, draw):
    one = cell(kind, 4, 2, draw)
    merged = kind(one.weight_ih, one.weight_hh, one.bias_ih + one.bias_hh, jnp.zeros_like(one.bias_hh))
    x, u = draw(one.state_size), draw(2)
    difference = np.abs(one.advance(x, u) - merged.advance(x, u)).max()
    if kind is GRUCell:
        assert difference > 1e-3
    else:
        # one addition in another order
        assert difference < 1e-14


@pytest.mark.parametrize("make", ["vanilla", "gru", "lstm"])
def test_random_weights_fill_the_range_that_torch_draws_from(make, getkey):
    net: Any = rc.systems.CONSTRUCTORS[make](6, inputs=3, outputs=2, key=getkey(), layers=2)
    first, second = net.system.layers
    for layer in (first, second):
        weights = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(layer)])
        # at least 66 uniform draws; that none lies in the outer tenth of the range has probability 1e-3
        assert 0.9 / np.sqrt(6) < np.abs(weights).max() <= 1 / np.sqrt(6)
    assert not np.array_equal(first.weight_hh, second.weight_hh)
    assert not np.array_equal(first.bias_ih, second.bias_ih)
    assert not np.array_equal(first.bias_ih, first.bias_hh)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(
    ("name", "wrong"), [("weight_ih", (1, 2)), ("weight_hh", (1, 4)), ("bias_ih", (1,)), ("bias_hh", (1,))]
)
def test_weights_that_do_not_fit_are_named(kind, name, wrong):
    rows = kind.gates * 4
    shapes = {"weight_ih": (rows, 2), "weight_hh": (rows, 4), "bias_ih": (rows,), "bias_hh": (rows,), name: wrong}
    # jaxtyping may see the clash first, and says which field
    with pytest.raises((InputError, TypeError), match=name):
        kind(**{field: jnp.zeros(shape) for field, shape in shapes.items()})


def test_layers_that_do_not_fit_are_named(draw):
    with pytest.raises(InputError, match="layer 1 takes 3 inputs, but layer 0 below it has 4 units"):
        Stack((cell(GRUCell, 4, 2, draw), cell(GRUCell, 4, 3, draw)))
    with pytest.raises(InputError, match="`layers` is empty"):
        Stack(())
    with pytest.raises(InputError, match="`dt`"):
        Stack((cell(GRUCell, 4, 2, draw),), dt=0.0)
