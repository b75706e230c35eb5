"""Networks of several synapses: their latent variables, eigenvalues and fixed points, beside those of all units."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import recurvature as rc
from recurvature import dynamics, latent
from recurvature._errors import InputError
from recurvature.dynamics.stability import is_bounded
from recurvature.systems import Dense, Euler, LinearReadout, LowRank, MultiSynapse, Network, simulate

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


@pytest.fixture(scope="module")
def network(flow):
    return Network(Euler(flow, STEP), LinearReadout(jnp.eye(N)), jnp.asarray(np.random.default_rng(1).normal(size=N)))


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(2).normal(size=(2, 40, 2))


@pytest.fixture(scope="module")
def found(network, inputs):
    return latent.closure(network, inputs)


def test_variables_of_several_synapses_close(flow, network, inputs, found):
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


def test_the_unit_says_how_rates_are_tuned_and_how_variables_go(flow, network, inputs, found):
    unit = latent.unit(network)
    assert isinstance(unit, latent.SynapsesUnit)
    assert (unit.ranks, unit.rank) == ((1, 2), 3)
    kappa, u = np.array([[0.8, -0.3, 0.5], [0.1, 0.2, -1.0]]), np.array([0.2, -0.1])
    parts = zip(flow.synapses, (kappa[:, :1], kappa[:, 1:]), flow.input_weights, flow.bias, strict=True)
    z = [k @ np.asarray(s.left).T + np.asarray(w) @ u + np.asarray(b) for s, k, w, b in parts]
    rates = np.tanh(z[0]) / (1 + np.exp(-z[1]))
    # sums over three variables and two inputs
    np.testing.assert_allclose(unit.rates(jnp.asarray(kappa), jnp.asarray(u)), rates, atol=1e-14)
    np.testing.assert_allclose(
        unit.field(jnp.asarray(kappa[0]), jnp.asarray(u)), (unit.encoding @ rates[0] - kappa[0]) / 2
    )
    curves = latent.tuning_curves(unit, variable=2, extent=(0.5, 1.5), points=2, at=kappa[0], inputs=u)
    np.testing.assert_allclose(curves.rates[0], rates[0], atol=1e-14)
    start = np.tile(unit.project(network.x0), (2, 1))
    # the same steps, compiled another way
    np.testing.assert_allclose(latent.rollout(unit, inputs, start).kappa, found.alone, atol=1e-14)
    assert latent.split(unit, np.asarray(network.x0))[0] @ np.asarray(unit.encoding).T == pytest.approx(start[0])


def test_what_needs_one_embedding_says_so(network, inputs):
    unit = latent.unit(network)
    # what takes a unit of one synapse reads one of these
    for call in (lambda: unit.connectivity, lambda: unit.embedding, lambda: latent.unit_vectors(network)):
        with pytest.raises(InputError, match="2 synapses has no embedding of its own"):
            call()
    with pytest.raises(InputError, match="`accumulator` must be"):
        latent.rollout(unit, inputs, np.zeros((2, 3)), accumulator="float64")


def test_dense_synapses_are_cut_each_along_its_own_directions(flow, network, inputs):
    exact = latent.extract(network, inputs)
    assert (exact.method, exact.rank, exact.synapse.tolist()) == ("exact", 3, [0, 1, 1])
    np.testing.assert_array_equal([exact.lost, exact.closure], 0)
    dense = tuple(Dense(s.dense()) for s in flow.synapses)
    twin = MultiSynapse(dense, flow.input_weights, flow.bias, flow.phis, tau=flow.tau)
    full = Network(Euler(twin, STEP), network.readout, network.x0)
    found = latent.extract(full, inputs, ranks=(2, 3))
    # one direction of each, then the strongest that is left, which is one of the second
    assert found.synapse.tolist() == [0, 1, 1]
    # matrices of ranks 1 and 2, to rounding
    assert found.lost[1] < 1e-28 < found.lost[0]
    np.testing.assert_allclose(found.state_r2[1], 1, atol=1e-13)
    unit, own = latent.extracted_unit(full, found, 3), latent.unit(network)
    assert isinstance(unit, latent.SynapsesUnit)
    assert isinstance(own, latent.SynapsesUnit)
    assert unit.ranks == (1, 2)
    for one, other in zip(unit.flow.synapses, own.flow.synapses, strict=True):
        # singular vectors of a well-conditioned matrix
        np.testing.assert_allclose(one.dense(), other.dense(), atol=1e-12)
    # by loops: what the second synapse loses of its input, and what that changes
    before = np.concatenate([np.tile(network.x0, (2, 1, 1)), np.asarray(simulate(full, jnp.asarray(inputs)).states)], 1)
    r = before[:, :-1].reshape(-1, N)
    u = inputs.reshape(-1, 2)
    z = [r @ np.asarray(w.weight).T for w in dense]
    left = np.asarray(found.left)[:, :2]
    lost = [c - np.outer(c @ v, v) for c, v in zip(z, left.T, strict=True)]
    share = sum((part**2).sum() for part in lost) / sum((part**2).sum() for part in z)
    np.testing.assert_allclose(found.lost[0], share, rtol=1e-9)
    whole = [c + u @ np.asarray(w).T + b for c, w, b in zip(z, flow.input_weights, np.asarray(flow.bias), strict=True)]
    tuned = lambda a, b: np.tanh(a) / (1 + np.exp(-b)) @ np.asarray(found.right)[:, :2]  # noqa: E731
    true, seen = tuned(*whole), tuned(*(c - part for c, part in zip(whole, lost, strict=True)))
    np.testing.assert_allclose(found.closure[0], np.linalg.norm(true - seen) / np.linalg.norm(true), rtol=1e-9)
    with pytest.raises(InputError, match="`ranks` must lie in 2…48"):
        latent.extract(full, inputs, ranks=(1,))
    with pytest.raises(InputError, match="at least 2; got 1"):
        latent.reduced(full, found, 1)


def all_units(z, weights):
    """The Jacobian of all rates, from their currents."""
    gate = 1 / (1 + np.exp(-z[1]))
    slopes = (1 - np.tanh(z[0]) ** 2) * gate, np.tanh(z[0]) * gate * (1 - gate)
    return sum(d[:, None] * w for d, w in zip(slopes, weights, strict=True)) - np.eye(N)


def test_eigenvalues_are_those_of_all_units_and_the_leak(flow):
    kappa, inputs = np.array([0.8, -0.3, 0.5]), np.array([0.2, -0.1])
    found = latent.spectrum(latent.unit(flow), kappa, inputs, full=True)
    z = [
        np.asarray(s.left) @ k + w @ inputs + b
        for s, k, w, b in zip(flow.synapses, (kappa[:1], kappa[1:]), flow.input_weights, flow.bias, strict=True)
    ]
    jacobian = all_units(z, [np.asarray(s.dense()) for s in flow.synapses])
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
    weights = [np.asarray(s.dense()) for s in flow.synapses]
    for r, growing, index in zip(np.asarray(points.states), points.unstable, points.index, strict=True):
        z = [w @ r + np.asarray(b) for w, b in zip(weights, flow.bias, strict=True)]
        # Newton's method goes to rounding, of rates below one
        np.testing.assert_allclose(np.tanh(z[0]) / (1 + np.exp(-z[1])), r, atol=1e-13)
        jacobian = all_units(z, weights)
        # of all units: the leak decays and has no part in the index
        assert (np.linalg.eigvals(jacobian).real > 0).sum() == growing
        assert np.sign(np.linalg.det(-jacobian)) == index


@pytest.mark.oracle
def test_points_of_one_variable_are_all_roots_of_one_equation():
    draw = np.random.default_rng(3).normal
    m = draw(size=(N, 1))
    # a gate that is open by its bias alone, of the shape of the network above: one compiled program
    gate = LowRank(jnp.zeros((N, 2)), jnp.asarray(np.tile(m, 2)))
    bias = 0.1 * draw(size=(2, N))
    synapses = LowRank(jnp.asarray(m), jnp.asarray(6 * m)), gate
    gated = MultiSynapse(synapses, jnp.zeros((2, N, 2)), jnp.asarray(bias), ("tanh", "sigmoid"), tau=2.0)
    n = 6 * m[:, 0] / N
    rate = lambda k: n @ (np.tanh(m[:, 0] * k + bias[0]) / (1 + np.exp(-bias[1]))) - k  # noqa: E731
    grid = np.linspace(-6, 6, 400)
    values = [rate(k) for k in grid]
    roots = [brentq(rate, grid[i], grid[i + 1], xtol=1e-15) for i in np.flatnonzero(np.diff(np.sign(values)))]
    found = dynamics.fixed_points(gated, key=rc.key(1), count=48)
    assert len(roots) == 3
    # both solved to rounding, of variables of order one
    np.testing.assert_allclose(np.sort(np.asarray(found.states) @ n), roots, atol=1e-13)
    line = dynamics.flow_line(
        MultiSynapse(synapses[:1], jnp.zeros((1, N, 0)), jnp.asarray(bias[:1]), ("tanh",)), points=2
    )
    # as above, at both ends of the line
    np.testing.assert_allclose(line.velocity, [n @ np.tanh(m[:, 0] * k + bias[0]) - k for k in (-1, 1)], atol=1e-13)
    # the true point lies within the bound, which holds the rounding of both
    assert (np.asarray(found.error_bound) < 1e-11).all()
    assert found.completeness == "consistent"


def test_what_has_no_variables_or_no_bound_is_said(flow):
    dense = MultiSynapse((Dense(jnp.eye(N)),), flow.input_weights[:1], flow.bias[:1], ("tanh",))
    with pytest.raises(InputError, match="every synapse of `network` must be low rank"):
        latent.closure(Network(Euler(dense, STEP), LinearReadout(jnp.eye(N)), jnp.zeros(N)), np.zeros((1, 3, 2)))
    open_ended = MultiSynapse(flow.synapses, flow.input_weights, flow.bias, ("identity", "sigmoid"), tau=2.0)
    assert is_bounded(flow)
    assert not is_bounded(open_ended)


@pytest.mark.slow
def test_branches_in_the_variables_fold_where_those_of_all_units_do(flow, points):
    stable = np.asarray(points.states)[:1]
    own, full = (
        dynamics.continuation(flow, stable, (-2.0, 2.0), channel=0, inputs=[0.0, 0.0], latent=each)
        for each in (True, False)
    )
    assert (own.variables, full.variables) == ("latent", "state")
    folds = [np.sort(b.value[b.special_points]) for b in (own, full)]
    assert len(folds[0]) > 0
    # the critical equations of 3 and of 24 variables have the same solutions
    np.testing.assert_allclose(folds[0], folds[1], atol=1e-9)
