from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import VanillaCell


@pytest.mark.oracle
@pytest.mark.parametrize(("layers", "phi"), [(1, "relu"), (3, "tanh")])
# 50 steps of sums of 16 products of order one: 1e-12 is thousands of roundings in float64, 1e-5 is eighty in float32
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_equals_torch_rnn(torch, assert_equals_torch, layers, phi, dtype, tolerance):
    module = torch.nn.RNN(3, 16, layers, nonlinearity=phi, batch_first=True)
    assert_equals_torch(module, VanillaCell, dtype, tolerance, phi=phi)


def test_any_function_serves_as_phi(getkey):
    net: Any = rc.systems.vanilla(4, inputs=2, outputs=1, key=getkey(), phi=jnp.arctan)
    cell, u = net.system.layers[0], jnp.ones(2)
    expected = np.arctan(np.asarray(cell.weight_ih).sum(1) + cell.bias_ih + cell.bias_hh)
    # sums of four numbers
    np.testing.assert_allclose(net.system.step(net.x0, u), expected, rtol=1e-14)


def test_unknown_phi_is_named_with_a_suggestion(getkey):
    with pytest.raises(InputError, match=r"unknown activation 'tahn'. Did you mean 'tanh'\?"):
        rc.systems.vanilla(4, inputs=2, outputs=1, key=getkey(), phi="tahn")
