"""Networks of several synapses: their latent variables, eigenvalues and fixed points, beside those of all units."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import recurvature as rc
from recurvature import dynamics, latent
from recurvature._errors import InputError
from recurvature.systems import Dense, Euler, LinearReadout, LowRank, MultiSynapse, MultiSynapseLatentFlow, Network

N, STEP = 24, 0.5


@pytest.fixture(scope="module")
def flow():
    """Gain-modulated, of ranks 1 and 2: the first synapse feeds back strongly enough to remember a sign."""
    draw = np.random.default_rng(0).normal
    m = draw(size=(N, 1))
    first = LowRank(jnp.asarray(m), jnp.asarray(5 * m + 0.3 * draw(size=(N, 1))))
    second = LowRank(jnp.asarray(0.3 * draw(size=(N, 2))), jnp.asarray(draw(size=(N, 2))))
    weights, bias = jnp.asarray(draw(size=(2, N, 2))), jnp.asarray(0.05 * draw(size=(2, N)))
    return MultiSynapse((first, second), weights, bias, ("tanh", "sigmoid"), tau=2.0)


def test_variables_of_several_synapses_close(flow):
    rng = np.random.default_rng(1)
    network = Network(Euler(flow, STEP), LinearReadout(jnp.eye(N)), jnp.asarray(rng.normal(size=N)))
    inputs = rng.normal(size=(2, 40, 2))
    found = latent.closure(network, inputs)
    assert found.read.shape == found.alone.shape == (2, 40, 3)
    # sums over 24 units in forty steps that forget
    assert found.error <= 1e-12
    m, n = ([np.asarray(a) for a in b] for b in zip(*((s.left, s.right.T / N) for s in flow.synapses), strict=True))
    rates = np.asarray(network.x0)
    for k, u in enumerate(inputs[0]):
        z = [a @ b @ rates + w @ u + o for a, b, w, o in zip(m, n, flow.input_weights, flow.bias, strict=True)]
        rates = rates + STEP / 2 * (np.tanh(z[0]) / (1 + np.exp(-z[1])) - rates)
        encoding = np.concatenate(n)
        # as above
        np.testing.assert_allclose(found.alone[0, k], encoding @ rates, atol=1e-12)
        outside = rates - np.linalg.lstsq(encoding.T, rates)[0] @ encoding
        # a share of at most one, through a well-conditioned least-squares problem
        np.testing.assert_allclose(found.outside[0, k], outside @ outside / (rates @ rates), atol=1e-12)


def test_eigenvalues_are_those_of_all_units_and_the_leak(flow):
    kappa, inputs = np.array([0.8, -0.3, 0.5]), np.array([0.2, -0.1])
    found = latent.spectrum(MultiSynapseLatentFlow(flow), kappa, inputs, full=True)
    z = [
        np.asarray(s.left) @ k + w @ inputs + b
        for s, k, w, b in zip(flow.synapses, (kappa[:1], kappa[1:]), flow.input_weights, flow.bias, strict=True)
    ]
    gate = 1 / (1 + np.exp(-z[1]))
    slopes = (1 - np.tanh(z[0]) ** 2) * gate, np.tanh(z[0]) * gate * (1 - gate)
    jacobian = sum(d[:, None] * np.asarray(s.dense()) for d, s in zip(slopes, flow.synapses, strict=True)) - np.eye(N)
    leaking = found.leak * np.ones(found.leak_copies)
    everything = np.sort_complex(np.concatenate([found.eigenvalues, leaking]))
    assert found.leak_copies == N - 3
    values = np.sort_complex(np.linalg.eigvals(jacobian))
    # the leak is an eigenvalue of multiplicity 21, but semisimple
    np.testing.assert_allclose(everything, values, atol=1e-9)
    # as above
    np.testing.assert_allclose(np.sort_complex(found.full_eigenvalues), values, atol=1e-9)


@pytest.fixture(scope="module")
def points(flow):
    return dynamics.fixed_points(flow, key=rc.key(0), count=48)


def test_fixed_points_are_found_in_the_variables(flow, points):
    assert "latent variables" in points.method
    assert points.completeness == "consistent"
    assert points.types == ("stable", "stable", "saddle")
    assert points.growth.shape == (3, 3)
    for r in np.asarray(points.states):
        z = [np.asarray(s.dense()) @ r + b for s, b in zip(flow.synapses, flow.bias, strict=True)]
        # Newton's method goes to rounding, of rates below one
        np.testing.assert_allclose(np.tanh(z[0]) / (1 + np.exp(-z[1])), r, atol=1e-13)
    full = dynamics.fixed_points(flow, starts=np.asarray(points.states) + 0.01, latent=False)
    # both routes go to rounding
    np.testing.assert_allclose(full.states, points.states, atol=1e-12)
    assert full.types == points.types
    np.testing.assert_array_equal(full.index, points.index)
    assert full.completeness == "consistent"


@pytest.mark.oracle
def test_points_of_one_variable_are_all_roots_of_one_equation():
    draw = np.random.default_rng(3).normal
    m = draw(size=(N, 1))
    gate = LowRank(jnp.zeros((N, 1)), jnp.asarray(m))
    bias = 0.1 * draw(size=(2, N))
    synapses = LowRank(jnp.asarray(m), jnp.asarray(6 * m)), gate
    gated = MultiSynapse(synapses, jnp.zeros((2, N, 0)), jnp.asarray(bias), ("tanh", "sigmoid"))
    n = 6 * m[:, 0] / N
    rate = lambda k: n @ (np.tanh(m[:, 0] * k + bias[0]) / (1 + np.exp(-bias[1]))) - k  # noqa: E731
    grid = np.linspace(-6, 6, 400)
    values = [rate(k) for k in grid]
    roots = [brentq(rate, grid[i], grid[i + 1], xtol=1e-15) for i in np.flatnonzero(np.diff(np.sign(values)))]
    found = dynamics.fixed_points(gated, key=rc.key(1), count=32)
    assert len(roots) == 3
    # both solved to rounding, of variables of order one
    np.testing.assert_allclose(np.sort(np.asarray(found.states) @ n), roots, atol=1e-13)
    # the true point lies within the bound, which holds the rounding of both
    assert (np.asarray(found.error_bound) < 1e-11).all()
    assert found.completeness == "consistent"


def test_what_has_no_variables_or_no_bound_is_said(flow):
    dense = MultiSynapse((Dense(jnp.eye(N)),), flow.input_weights[:1], flow.bias[:1], ("tanh",))
    with pytest.raises(InputError, match="every synapse of `network` must be low rank"):
        latent.closure(Network(Euler(dense, STEP), LinearReadout(jnp.eye(N)), jnp.zeros(N)), np.zeros((1, 3, 2)))
    open_ended = MultiSynapse(flow.synapses, flow.input_weights, flow.bias, ("identity", "sigmoid"), tau=2.0)
    assert dynamics.fixed_points(open_ended, key=rc.key(0), count=4).completeness == "unknown"
