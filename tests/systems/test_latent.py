"""Latent variables as systems: exact beside the network they belong to, from any state and under any input."""

import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.dynamics.stability import is_bounded
from recurvature.systems import (
    Dense,
    Euler,
    FilteredLatentFlow,
    LatentFlow,
    LeakyCurrent,
    LeakyRate,
    LinearReadout,
    LowRank,
    Network,
    simulate,
)

N, K, INPUTS = 40, 3, 2


@pytest.fixture(scope="module")
def parts():
    draw = np.random.default_rng(0).normal
    low = LowRank(jnp.asarray(draw(size=(N, K))), jnp.asarray(2 * draw(size=(N, K))))
    return low, jnp.asarray(draw(size=(N, INPUTS))), jnp.asarray(draw(size=N))


@pytest.fixture(scope="module")
def inputs():
    return jnp.asarray(np.random.default_rng(1).normal(size=(2, 60, INPUTS)))


def run(flow, readout, start, inputs):
    return simulate(Network(Euler(flow, 0.3), readout, jnp.asarray(start)), inputs)


def test_variables_of_a_rate_network_follow_their_own_equation(parts, inputs):
    flow = LeakyRate(*parts)
    start = np.random.default_rng(2).normal(size=N)
    full = run(flow, LinearReadout(jnp.eye(N)), start, inputs)
    low = parts[0]
    latent = run(LatentFlow(flow), LinearReadout(jnp.eye(K)), np.asarray(low.encode(jnp.asarray(start))), inputs)
    # sixty steps of sums over forty units: rounding
    np.testing.assert_allclose(latent.states, np.asarray(full.states) @ np.asarray(low.right) / N, atol=1e-13)


def test_filtered_variables_of_a_current_network_give_its_state_and_outputs(parts, inputs):
    flow = LeakyCurrent(*parts)
    rng = np.random.default_rng(3)
    start, kappa, readout = rng.normal(size=N), rng.normal(size=K), LinearReadout(jnp.asarray(rng.normal(size=(1, N))))
    full = run(flow, readout, start, inputs)
    rest = start - np.asarray(parts[0].embed(jnp.asarray(kappa))) - np.asarray(parts[2])
    # v starts at zero; kappa may start anywhere, since the rest makes up for it
    reduced = run(FilteredLatentFlow(flow, jnp.asarray(rest)), readout, [*kappa, 0.0, 0.0, 1.0], inputs)
    # as above
    np.testing.assert_allclose(reduced.outputs, full.outputs, atol=1e-12)


def test_a_dense_network_is_refused_with_the_way_out(parts):
    dense = LeakyRate(Dense(jnp.eye(N)), *parts[1:])
    with pytest.raises(InputError, match=r"low rank.*latent\.extract"):
        LatentFlow(dense)
    with pytest.raises(InputError, match="`rest` must have shape"):
        FilteredLatentFlow(LeakyCurrent(*parts), jnp.zeros(N - 1))


def test_variables_of_bounded_rates_are_bounded(parts):
    for flow in (LatentFlow(LeakyRate(*parts)), FilteredLatentFlow(LeakyCurrent(*parts))):
        assert is_bounded(flow)
    assert not is_bounded(LatentFlow(LeakyRate(parts[0], parts[1], parts[2], "relu")))


@pytest.mark.slow
def test_fixed_points_of_the_variables_are_those_of_the_network(parts):
    flow = LeakyRate(*parts)
    found = rc.dynamics.fixed_points(LatentFlow(flow), key=rc.key(0))
    assert found.completeness == "consistent"
    left, right, bias = (np.asarray(a) for a in (parts[0].left, parts[0].right, parts[2]))
    rates = np.tanh(found.states @ left.T + bias)
    # a relative speed of 2e-12 on variables of order one, times forty weights
    np.testing.assert_allclose(np.tanh((rates @ right / N) @ left.T + bias), rates, atol=1e-9)
