"""Directions along trajectories: Jacobians multiplied out, and powers of the recurrence where it is linear."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.superposition.conftest import random_weights

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.superposition import directions, projections, recall_network, trajectory_directions
from recurvature.systems import FunctionFlow, LinearReadout, Network

AGES = 3


def test_they_are_products_of_jacobians_along_the_rollout(getkey):
    network = rc.systems.gru(3, inputs=2, outputs=1, key=getkey())
    x = np.random.default_rng(0).normal(size=(2, 5, 2))
    found = trajectory_directions(network, x, ages=AGES)
    state, entry = (jax.jit(jax.jacfwd(network.system.step, argnums=i)) for i in (0, 1))  # type: ignore[attr-defined]
    readout = np.asarray(network.readout.weight)  # type: ignore[attr-defined]
    every = []
    for trial in x:
        h, history = network.x0, []
        for u in trial:
            history.append((np.asarray(state(h, u)), np.asarray(entry(h, u))))
            h = network.system.step(h, jnp.asarray(u))  # type: ignore[attr-defined]
        for t in range(AGES - 1, len(trial)):
            along, back = [], np.eye(3)
            for s in range(AGES):
                along.append(back @ history[t - s][1])
                back = back @ history[t - s][0]
            every.append(along)
    w = np.asarray(every)
    # products of three Jacobians, averaged over six places
    np.testing.assert_allclose(found.direction, w.mean(0), atol=1e-14)
    np.testing.assert_allclose(found.projection, readout @ w.mean(0), atol=1e-14)
    apart = np.sqrt(((w - w.mean(0)) ** 2).sum(2).mean(0)) / np.linalg.norm(w.mean(0), axis=1)
    np.testing.assert_allclose(found.spread, apart, rtol=1e-10)
    np.testing.assert_allclose(found.projection_spread, (readout @ w).std(0), rtol=1e-10)
    # the first input of a trial has no past
    np.testing.assert_array_equal(np.asarray(found.length)[0, 1:], 0)


def test_of_a_linear_network_nothing_is_spread():
    weights = random_weights(1, 3, 2)
    found = trajectory_directions(recall_network(weights), np.random.default_rng(0).normal(size=(2, 5, 2)), ages=AGES)
    # products of three matrices
    np.testing.assert_allclose(found.direction, directions(weights.recurrent, weights.inputs, AGES), atol=1e-14)
    np.testing.assert_allclose(found.spread, 0, atol=1e-15)
    np.testing.assert_allclose(found.geometry(1).projection, projections(weights, AGES), atol=1e-14)


def test_flows_and_short_trials_are_refused():
    flow = Network(FunctionFlow(lambda x, u: -x + u, 1, 1), LinearReadout(jnp.eye(1)), jnp.zeros(1))
    with pytest.raises(InputError, match="`network` is a flow, which has no steps"):
        trajectory_directions(flow, np.zeros((1, 5, 1)))
    with pytest.raises(InputError, match="`ages` must be at most the number of steps, 5; got 6"):
        trajectory_directions(recall_network(random_weights(1, 3, 2)), np.zeros((1, 5, 2)), ages=6)
