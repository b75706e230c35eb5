"""Maps of the state before its activation: the recurrence written out, and what sets it apart from a plain network."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import Dense, LinearReadout, Network, PreactivationMap


@pytest.mark.oracle
@pytest.mark.parametrize(("phi", "function"), [("relu", lambda h: np.maximum(h, 0)), ("tanh", np.tanh)])
def test_states_are_the_recurrence_written_out(getkey, draw, phi, function):
    net: Any = rc.systems.preactivation(5, inputs=2, outputs=1, key=getkey(), phi=phi)
    inputs = draw(1, 12, 2)
    states = np.asarray(rc.systems.simulate(net, inputs).states)[0]
    recurrent, weights = np.asarray(net.system.connectivity.weight), np.asarray(net.system.input_weights)
    h = np.zeros(5)
    for k, u in enumerate(np.asarray(inputs)[0]):
        h = recurrent @ function(h) + weights @ u
        # twelve steps of sums of seven products
        np.testing.assert_allclose(states[k], h, rtol=1e-12, atol=1e-13)


def test_a_negative_state_is_read_out_and_then_forgotten():
    system = PreactivationMap(Dense(jnp.asarray([[1.0]])), jnp.asarray([[1.0]]), "relu")
    network = Network(system, LinearReadout(jnp.ones((1, 1))), jnp.zeros(1))
    outputs = rc.systems.simulate(network, jnp.asarray([[[-2.0], [0.0], [3.0], [0.0]]])).outputs
    np.testing.assert_array_equal(np.asarray(outputs)[0, :, 0], [-2, 0, 3, 3])


def test_wrong_shapes_and_activations_are_refused():
    with pytest.raises(InputError, match="`input_weights` must have shape"):
        PreactivationMap(Dense(jnp.eye(2)), jnp.ones((3, 1)))
    with pytest.raises(InputError, match="unknown activation 'rellu'"):
        PreactivationMap(Dense(jnp.eye(2)), jnp.ones((2, 1)), "rellu")


@pytest.mark.parametrize(("phi", "found"), [("tanh", "consistent"), ("relu", "unknown")])
def test_saturating_units_keep_states_bounded_so_that_fixed_points_can_be_counted(phi, found):
    system = PreactivationMap(Dense(jnp.asarray([[2.0]])), jnp.ones((1, 1)), phi)
    network = Network(system, LinearReadout(jnp.ones((1, 1))), jnp.zeros(1))
    points = rc.dynamics.fixed_points(network, [0.0], starts=np.linspace(-3, 3, 7)[:, None])
    assert points.completeness == found
    if phi == "tanh":
        # h = 2 tanh h at 0 and ±1.9150
        np.testing.assert_allclose(np.sort(np.asarray(points.states)[:, 0]), [-1.9150, 0, 1.9150], atol=1e-4)
