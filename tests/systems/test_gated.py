import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature.systems import GRUCell, LSTMCell, Stack

SHUT, OPEN = -1e3, 1e3
advance = eqx.filter_jit(lambda cell, h, u: cell.advance(h, u))


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
# 50 steps of sums of 16 products of order one: 1e-12 is thousands of roundings in float64, 1e-5 is eighty in float32
@pytest.mark.parametrize(
    ("layers", "dtype", "tolerance"), [(1, "float64", 1e-12), (3, "float64", 1e-12), (3, "float32", 1e-5)]
)
def test_equals_torch(torch, assert_equals_torch, layers, kind, dtype, tolerance):
    module = getattr(torch.nn, kind)(3, 16, layers, batch_first=True)
    assert_equals_torch(module, {"GRU": GRUCell, "LSTM": LSTMCell}[kind], dtype, tolerance)


def test_gru_keeps_its_state_where_the_update_gate_is_open(draw):
    bias = jnp.asarray(np.repeat([0.0, OPEN, 0.0], 5))
    cell = GRUCell(draw(15, 2), draw(15, 5), bias, draw(15))
    h = draw(5)
    # the gate is 1 to the last bit, hence exact
    np.testing.assert_array_equal(advance(cell, h, jnp.ones(2)), h)


def test_gru_reset_gate_acts_on_the_hidden_bias_of_the_candidate(draw):
    nothing = jnp.zeros((15, 5))
    gates = jnp.asarray(np.repeat([SHUT, SHUT, 0.3], 5))
    cell = GRUCell(jnp.zeros((15, 2)), nothing, gates, draw(15))
    # with reset and update shut, only the input side of the candidate is left: one rounding of tanh
    np.testing.assert_allclose(advance(cell, jnp.ones(5), jnp.ones(2)), np.tanh(0.3), rtol=1e-15)


def test_lstm_keeps_its_memory_where_it_forgets_nothing_and_lets_nothing_in(draw):
    bias = jnp.asarray(np.repeat([SHUT, OPEN, 0.0, OPEN], 5))
    cell = LSTMCell(draw(20, 2), draw(20, 5), bias, draw(20))
    memory = draw(5)
    start = jnp.asarray(np.concatenate([draw(5), memory]))
    after = np.asarray(advance(cell, start, jnp.ones(2)))
    # the gates are 0 and 1 to the last bit, hence exact; the hidden state is one tanh of the memory
    np.testing.assert_array_equal(after[5:], memory)
    np.testing.assert_allclose(after[:5], np.tanh(memory), rtol=1e-15)


def test_gru_jacobian_is_that_of_forward_derivatives():
    network = rc.cast(rc.systems.gru(5, inputs=2, outputs=1, key=rc.key(3)), jnp.float64)
    assert isinstance(network.system, Stack)
    cell, x, u = network.system.layers[0], jnp.linspace(-1.0, 1.5, 5), jnp.array([0.3, -1.0])
    assert isinstance(cell, GRUCell)
    # rounding of sums over five units
    np.testing.assert_allclose(cell.jacobian(x, u), jax.jacfwd(lambda h: cell.advance(h, u))(x), atol=1e-14)
