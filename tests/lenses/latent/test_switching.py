"""Switching linear units: one step is the fitted map, regions are switched, and the network stays on its plane."""

import jax.numpy as jnp
import numpy as np
import pytest

from recurvature import latent
from recurvature._errors import InputError
from recurvature.systems import Euler, LinearReadout, Network, simulate

N, DT = 12, 0.25


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(0)
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return {
        "matrices": np.stack([0.98 * turn, 0.9 * turn.T]),
        "offsets": np.array([[0.1, 0.0], [-0.2, 0.05]]),
        "borders": np.array([[1.0, 0.0], [-1.0, 0.0]]),
        "levels": np.zeros(2),
        "embedding": rng.normal(size=(N, 2)),
        "baseline": rng.normal(size=N),
        "input_weights": rng.normal(size=(2, 1)),
    }


def recursion(parts, kappa, inputs):
    """The fitted map, step by step."""
    for u in inputs:
        z = int(np.argmax(parts["borders"] @ kappa))
        kappa = parts["matrices"][z] @ kappa + parts["offsets"][z] + parts["input_weights"] @ u
        yield kappa


def test_euler_steps_of_the_flow_are_the_fitted_map(parts):
    flow = latent.switching_unit(**parts, dt=DT)
    inputs = np.random.default_rng(1).normal(size=(1, 50, 1))
    network = Network(Euler(flow, DT), LinearReadout(jnp.eye(N)), jnp.asarray([0.5, -0.3]))
    run = simulate(network, jnp.asarray(inputs))
    kappa = np.array(list(recursion(parts, np.array([0.5, -0.3]), inputs[0])))
    # fifty steps of products with matrices below one
    np.testing.assert_allclose(run.states[0], kappa, atol=1e-12)
    np.testing.assert_allclose(run.outputs[0], kappa @ parts["embedding"].T + parts["baseline"], atol=1e-12)
    assert {int(np.argmax(parts["borders"] @ k)) for k in kappa} == {0, 1}


def test_the_network_of_units_keeps_to_its_plane_and_forgets_what_is_off_it(parts):
    flow = latent.switching_unit(**parts, dt=DT)
    full = latent.SwitchingNetwork(flow)
    inputs = jnp.asarray(np.random.default_rng(2).normal(size=(1, 40, 1)))
    embedding = parts["embedding"]
    off = np.linalg.svd(embedding.T)[2][2]
    start = embedding @ [0.5, -0.3] + parts["baseline"] + off
    states = simulate(Network(Euler(full, DT), LinearReadout(jnp.eye(N)), jnp.asarray(start)), inputs).states
    alone = np.array(list(recursion(parts, np.array([0.5, -0.3]), np.asarray(inputs)[0])))
    # forty steps; a pseudo-inverse of condition below 10
    np.testing.assert_allclose(full.encode(jnp.asarray(states))[0], alone, atol=1e-12)
    left = np.asarray(states)[0] - alone @ embedding.T - parts["baseline"]
    np.testing.assert_allclose(left, off * (1 - DT) ** np.arange(1, 41)[:, None], atol=1e-12)
    assert latent.linear_dimension(np.asarray(states)[:, 30:], 2, tolerance=1e-2).by_rank == "flat"


def test_mistakes_are_named(parts):
    flat = dict(parts, embedding=np.ones((N, 2)))
    with pytest.raises(InputError, match="must have independent columns"):
        latent.SwitchingNetwork(latent.switching_unit(**flat, dt=DT))
    with pytest.raises(InputError, match="`dt` must be a finite number"):
        latent.switching_unit(**parts, dt=0.0)
