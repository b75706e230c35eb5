"""Rollouts made for a backward pass give the states and the derivatives of plain rollouts."""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import pytest
from jaxtyping import Array

import recurvature as rc
from recurvature.systems import Network
from recurvature.systems.backward import rollout_for_gradient
from recurvature.systems.base import AbstractMap
from recurvature.systems.simulate import rollout

TIME, TRIALS, UNITS, INPUTS = 7, 3, 5, 2

NETWORKS: dict[str, Callable[..., Network]] = {
    "leaky-current": rc.systems.leaky_current,
    "leaky-rate": partial(rc.systems.leaky_rate, phi="softplus"),
    "low-rank": partial(rc.systems.leaky_current, rank=2),
    "gru": rc.systems.gru,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_states_and_derivatives_are_those_of_plain_rollouts(name: str) -> None:
    network = rc.cast(NETWORKS[name](UNITS, inputs=INPUTS, outputs=1, key=rc.key(0)), jnp.float64)
    network = eqx.tree_at(lambda n: n.x0, network, jr.normal(rc.key(4), network.x0.shape))
    inputs = jr.normal(rc.key(5), (TIME, TRIALS, INPUTS))
    kicks = 0.1 * jr.normal(rc.key(6), (TIME, TRIALS, network.system.state_size))
    weights = jr.normal(rc.key(7), kicks.shape)
    arrays, skeleton = eqx.partition(network, eqx.is_inexact_array)

    def plain(system: AbstractMap, x0: Array, inputs: Array, kicks: Array) -> Array:
        return jax.vmap(rollout, in_axes=(None, None, 1, 1), out_axes=1)(system, x0, inputs, kicks)

    def outcome(roll: object) -> tuple[Array, object]:
        def objective(arrays: Network, inputs: Array, kicks: Array) -> tuple[Array, Array]:
            whole: Network = eqx.combine(arrays, skeleton)
            states = roll(whole.system, whole.x0, inputs, kicks)  # type: ignore[operator]
            return jnp.sum(weights * jnp.sin(states)), states

        grads, states = jax.jit(jax.grad(objective, argnums=(0, 1, 2), has_aux=True))(arrays, inputs, kicks)
        return states, grads

    states, grads = outcome(rollout_for_gradient)
    # the same sums of some ten numbers of order 1, in another order
    assert eqx.tree_equal((states, grads), outcome(plain), rtol=1e-12, atol=1e-13)
