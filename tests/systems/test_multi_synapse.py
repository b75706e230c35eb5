"""Several synapses for each unit: written out in loops, with their latent variables, and through files."""

import jax.numpy as jnp
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.systems import (
    Dense,
    Euler,
    LeakyRate,
    LinearReadout,
    LowRank,
    MultiSynapse,
    MultiSynapseLatentFlow,
    Network,
    simulate,
)

N, INPUTS = 20, 2


@pytest.fixture(scope="module")
def flow():
    """A gain-modulated network of ranks 2 and 1."""
    draw = np.random.default_rng(0).normal
    part = lambda rank, scale: jnp.asarray(scale * draw(size=(N, rank)))  # noqa: E731
    low = lambda rank, scale: LowRank(part(rank, scale), part(rank, scale))  # noqa: E731
    weights, bias = jnp.asarray(draw(size=(2, N, INPUTS))), jnp.asarray(draw(size=(2, N)))
    return MultiSynapse((low(2, 2.0), low(1, 1.0)), weights, bias, ("tanh", "sigmoid"), tau=2.0)


@pytest.fixture(scope="module")
def inputs():
    return jnp.asarray(np.random.default_rng(1).normal(size=(2, 30, INPUTS)))


def states(flow, start, inputs):
    size = flow.state_size
    return np.asarray(simulate(Network(Euler(flow, 0.5), LinearReadout(jnp.eye(size)), start), inputs).states)


@pytest.mark.parametrize("combine", ["product", "sum"])
def test_velocity_is_the_formula_written_out(flow, combine):
    made = MultiSynapse(flow.synapses, flow.input_weights, flow.bias, flow.phis, combine, flow.tau)
    rng = np.random.default_rng(2)
    r, u = rng.normal(size=N), rng.normal(size=INPUTS)
    z = [
        np.asarray(s.dense()) @ r + w @ u + b
        for s, w, b in zip(flow.synapses, flow.input_weights, flow.bias, strict=True)
    ]
    parts = np.tanh(z[0]), 1 / (1 + np.exp(-z[1]))
    target = parts[0] * parts[1] if combine == "product" else parts[0] + parts[1]
    # sums over twenty units
    np.testing.assert_allclose(made.velocity(jnp.asarray(r), jnp.asarray(u)), (target - r) / 2, atol=1e-13)


def test_latent_variables_of_all_synapses_follow_their_own_equation(flow, inputs):
    start = jnp.asarray(np.random.default_rng(3).normal(size=N))
    latent = MultiSynapseLatentFlow(flow)
    read = np.asarray(latent.encode(jnp.asarray(states(flow, start, inputs))))
    alone = states(latent, latent.encode(start), inputs)
    assert alone.shape == (2, 30, 3)
    # rounding of thirty steps of sums over twenty units
    np.testing.assert_allclose(read, alone, atol=1e-13)


def test_one_synapse_is_a_leaky_rate_network(flow, inputs):
    weight = Dense(flow.synapses[0].dense())
    one = MultiSynapse((weight,), flow.input_weights[:1], flow.bias[:1], ("tanh",), tau=2.0)
    other = LeakyRate(weight, flow.input_weights[0], flow.bias[0], tau=2.0)
    # the same sums
    np.testing.assert_allclose(states(one, jnp.zeros(N), inputs), states(other, jnp.zeros(N), inputs), atol=1e-14)


def test_mistakes_are_named(flow):
    with pytest.raises(InputError, match="2 synapses of sizes"):
        MultiSynapse(flow.synapses, flow.input_weights, flow.bias, ("tanh",))
    dense = MultiSynapse((Dense(jnp.eye(N)),), flow.input_weights[:1], flow.bias[:1], ("tanh",))
    with pytest.raises(InputError, match="every synapse of `network` must be low rank"):
        MultiSynapseLatentFlow(dense)
