"""Feature directions of any network: those of linear ones, the metric of past inputs, and finite pulses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.superposition.conftest import diagonal, random_weights

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.superposition import (
    directions,
    feature_directions,
    geometry,
    projections,
    recall_network,
    weights_of,
)
from recurvature.systems import FunctionFlow, LinearReadout, Network

AGES = 5


def test_of_a_linear_network_they_are_powers_of_its_recurrence():
    weights = random_weights(1, 3, 2)
    found = feature_directions(recall_network(weights), ages=AGES)
    # products of five matrices
    np.testing.assert_allclose(found.direction, directions(weights.recurrent, weights.inputs, AGES), atol=1e-13)
    np.testing.assert_allclose(found.projection, projections(weights, AGES), atol=1e-13)
    for linear in (found.homogeneity, found.additivity, found.spread):
        # sums and differences of numbers of order 1, divided by lengths down to 0.1
        np.testing.assert_allclose(linear, 0, atol=1e-12)
    one, other = found.geometry(1), geometry(weights, 1, ages=AGES)
    # the same arrays by two routes
    np.testing.assert_allclose(one.order_parameter, other.order_parameter, rtol=1e-10)


def test_tangents_are_the_derivatives_of_the_rollout_and_spread_is_theirs(getkey):
    network = rc.systems.vanilla(3, inputs=1, outputs=2, key=getkey())
    histories = np.random.default_rng(1).normal(size=(4, AGES, 1))
    found = feature_directions(network, ages=AGES, around=histories, amplitudes=(0.5,))

    def last(history):
        return rc.systems.simulate(network, history[::-1][None]).states[0, -1]

    each = np.asarray(jax.jit(jax.vmap(jax.jacfwd(last)))(jnp.asarray(histories)))[..., 0]
    mean = each.mean(0)
    # products of five Jacobians
    np.testing.assert_allclose(found.direction[..., 0], mean.T, atol=1e-13)
    deviation = np.sqrt(((each - mean) ** 2).sum(1).mean(0)) / np.linalg.norm(mean, axis=0)
    np.testing.assert_allclose(found.spread[:, 0], deviation, rtol=1e-10)


@pytest.mark.parametrize("make", [rc.systems.gru, rc.systems.lstm])
def test_directions_of_gated_networks_are_central_differences(make, getkey):
    network = make(3, inputs=2, outputs=1, key=getkey())
    history, size = np.random.default_rng(2).normal(size=(1, 3, 2)), 1e-5
    found = feature_directions(network, ages=3, around=history, amplitudes=(1.0,))
    moved = history + size * np.concatenate([np.eye(6), -np.eye(6)]).reshape(12, 3, 2)
    run = rc.systems.simulate(network, jnp.asarray(moved[:, ::-1]))
    for what, got in ((run.states, found.direction), (run.outputs, found.projection)):
        last = np.asarray(what)[:, -1]
        slopes = (last[:6] - last[6:]) / (2 * size)
        # the square of the step, and rounding over the step
        np.testing.assert_allclose(got, slopes.reshape(3, 2, -1).swapaxes(1, 2), atol=1e-9)
    assert (found.homogeneity > 0.01).any()
    slopes = (run.states[:6, -1] - run.states[6:, -1]) / (2 * size)
    # ages first; by the metric of the manifold of past inputs in `tests/identities/test_past.py`
    np.testing.assert_allclose(found.gram, slopes @ slopes.T, atol=1e-8)
    # of an LSTM, hidden and cell states
    assert found.direction.shape[1] == network.system.state_size


def test_pulses_of_a_relu_recurrence_are_homogeneous_on_either_side_and_do_not_add():
    weights = random_weights(5, 3, 1)
    network = recall_network(weights, kind="nonlinear")
    found = feature_directions(network, ages=AGES, amplitudes=(1.0, 3.0, -1.0))
    positive = projections(weights, AGES, phi="relu")
    # relu readout of positive pulses, of either size
    np.testing.assert_allclose(found.pulse[0], np.maximum(positive, 0), atol=1e-13)
    np.testing.assert_allclose(found.pulse[1], found.pulse[0], atol=1e-13)
    assert np.abs(found.pulse[2] - found.pulse[0]).max() > 0.1
    assert (found.additivity > 0.01).all()
    assert found.geometry(1, amplitude=1.0).stored[0] == pytest.approx(float(found.pulse[0][1, 0, 0]), rel=1e-14)
    with pytest.raises(InputError, match=r"`amplitude` must be one of \[1.0, 3.0, -1.0\]; got 2.0"):
        found.geometry(1, amplitude=2.0)


def test_odd_systems_are_homogeneous_to_second_order():
    """tanh has no even part at rest: halving a pulse divides the relative difference by four."""
    network = recall_network(random_weights(2, 3, 1), kind="tanh")
    found = feature_directions(network, ages=3, amplitudes=(0.02, 0.01))
    # the youngest pulse has passed no activation
    np.testing.assert_allclose(found.homogeneity[:, 0], 0, atol=1e-12)
    # the next order is smaller by the square of the amplitude, with constants of some tens
    np.testing.assert_allclose(found.homogeneity[0, 1:] / found.homogeneity[1, 1:], 4, rtol=0.02)


def test_a_flow_answers_to_inputs_of_a_given_length():
    decay = np.array([1.0, 0.5])
    flow = FunctionFlow(lambda x, u: -jnp.asarray(decay) * x + u, 2, 2)
    network = Network(flow, LinearReadout(jnp.eye(2)), jnp.zeros(2))
    found = feature_directions(network, ages=3, dt=0.4, amplitudes=(1.0,))
    one = (1 - np.exp(-decay * 0.4)) / decay
    for s in range(3):
        # a solver of relative tolerance 1e-8
        np.testing.assert_allclose(found.direction[s], np.diag(one * np.exp(-decay * 0.4 * s)), atol=1e-7)
    with pytest.raises(InputError, match="`network` is a flow: pass `dt`"):
        feature_directions(network)


def test_diagonal_networks_have_the_matrices_of_their_real_form(getkey):
    network = diagonal(2)
    weights = weights_of(network)
    eigenvalues = np.linalg.eigvals(weights.recurrent)
    expected = np.concatenate([network.system.eigenvalues, np.conj(network.system.eigenvalues)])  # type: ignore[attr-defined]
    # of 2 x 2 blocks of rotations
    np.testing.assert_allclose(np.sort_complex(eigenvalues), np.sort_complex(expected), rtol=1e-12)
    found = feature_directions(network, ages=4, amplitudes=(1.0,))
    # products of four matrices
    np.testing.assert_allclose(found.projection, projections(weights, 4), atol=1e-13)
    with pytest.raises(InputError, match="`network` has a Stack, and this theory needs a linear recurrence"):
        weights_of(rc.systems.gru(2, inputs=1, outputs=1, key=getkey()))
