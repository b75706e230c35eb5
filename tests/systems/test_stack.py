from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import AbstractCell, GRUCell, LSTMCell, Stack, VanillaCell

CELLS = [VanillaCell, GRUCell, LSTMCell]


def cell(kind: type[AbstractCell], size: int, inputs: int, key) -> AbstractCell:
    keys, rows = jr.split(key, 4), kind.gates * size
    shapes = [(rows, inputs), (rows, size), (rows,), (rows,)]
    return kind(*(jr.normal(k, shape) for k, shape in zip(keys, shapes, strict=True)))


def test_different_cells_stack_and_feed_each_other_within_a_step(getkey):
    lower, upper = cell(LSTMCell, 4, 2, getkey()), cell(GRUCell, 3, 4, getkey())
    stack = Stack((lower, upper))
    x, u = jr.normal(getkey(), (stack.state_size,)), jr.normal(getkey(), (2,))
    below = lower.advance(x[:8], u)
    above = upper.advance(x[8:], below[:4])
    after = stack.step(x, u)
    assert (stack.state_size, stack.input_size) == (11, 2)
    # the same operations in the same order
    np.testing.assert_array_equal(after, np.concatenate([below, above]))
    np.testing.assert_array_equal(stack.rates(after), above)


@pytest.mark.parametrize("kind", CELLS)
def test_only_the_sum_of_two_biases_matters_but_for_the_candidate_of_a_gru(kind, getkey):
    one = cell(kind, 4, 2, getkey())
    merged = kind(one.weight_ih, one.weight_hh, one.bias_ih + one.bias_hh, jnp.zeros_like(one.bias_hh))
    x, u = jr.normal(getkey(), (one.state_size,)), jr.normal(getkey(), (2,))
    difference = np.abs(one.advance(x, u) - merged.advance(x, u)).max()
    if kind is GRUCell:
        assert difference > 1e-3
    else:
        # one addition in another order
        assert difference < 1e-14


@pytest.mark.parametrize("make", ["vanilla", "gru", "lstm"])
def test_random_weights_fill_the_range_that_torch_draws_from(make, getkey):
    net: Any = rc.systems.CONSTRUCTORS[make](25, inputs=3, outputs=2, key=getkey(), layers=2)
    for layer in net.system.layers:
        for weights in (layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh):
            assert np.abs(weights).max() <= 1 / 5
            # of at least 25 uniform draws, none in the outer half of the range has probability 2^-25
            assert np.abs(weights).max() > 1 / 10
    first, second = net.system.layers
    assert not np.array_equal(first.weight_hh, second.weight_hh)
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


def test_layers_that_do_not_fit_are_named(getkey):
    with pytest.raises(InputError, match="layer 1 takes 3 inputs, but layer 0 below it has 4 units"):
        Stack((cell(GRUCell, 4, 2, getkey()), cell(GRUCell, 4, 3, getkey())))
    with pytest.raises(InputError, match="`layers` is empty"):
        Stack(())
    with pytest.raises(InputError, match="`dt`"):
        Stack((cell(GRUCell, 4, 2, getkey()),), dt=0.0)
