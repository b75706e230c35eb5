"""Extraction: exact where it can be, the directions that activity takes where it cannot, and honest about the rest."""

import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.latent.conftest import DT, INPUTS, K, N, dense_network, network_of, random_unit

import recurvature as rc
from recurvature import latent
from recurvature._errors import InputError
from recurvature.measures import weighted_svd
from recurvature.systems import Dense, Euler, LeakyCurrent, LeakyRate, LinearReadout, Network, simulate


@pytest.mark.parametrize("samples", [12, 90])
def test_weighted_directions_are_the_eigenvectors_of_w_c_w(samples):
    rng = np.random.default_rng(0)
    weight, rates = rng.normal(size=(20, 20)), rng.normal(size=(samples, 20)) * np.linspace(3, 0.1, 20)
    found = weighted_svd(rates, weight)
    values, vectors = np.linalg.eigh(weight @ rates.T @ rates @ weight.T / samples)
    count = min(samples, 20)
    # the square root of eigenvalues down to 1e-4 of the largest
    np.testing.assert_allclose(found.strengths**2, values[::-1][:count], rtol=1e-8)
    overlap = np.abs((found.left[:, :5] * vectors[:, ::-1][:, :5]).sum(0))
    np.testing.assert_allclose(overlap, 1, atol=1e-9)


def test_counts_are_as_good_as_rates():
    rng = np.random.default_rng(2)
    counts, weight = rng.poisson(3.0, (30, 8)), rng.normal(size=(8, 8))
    one, other = weighted_svd(counts, weight), weighted_svd(counts.astype(float), weight)
    np.testing.assert_array_equal(one.strengths, other.strengths)
    assert one.strengths[0] > 1


def test_factors_and_their_product_have_the_same_directions():
    rng = np.random.default_rng(1)
    left, right, rates = rng.normal(size=(20, 3)), rng.normal(size=(20, 3)), rng.normal(size=(50, 20))
    one, other = weighted_svd(rates, left, right), weighted_svd(rates, left @ right.T)
    # two orders of the same sums
    np.testing.assert_allclose(one.strengths, other.strengths[:3], rtol=1e-12)
    np.testing.assert_allclose(np.abs((one.left * other.left[:, :3]).sum(0)), 1, atol=1e-12)
    assert np.linalg.norm(other.strengths[3:]) < 1e-12


@pytest.mark.parametrize("form", ["rate", "current"])
def test_a_low_rank_network_is_its_own_unit(form, drive):
    network = network_of(random_unit(form))
    found = latent.extract(network, drive)
    assert (found.method, found.rank, found.status) == ("exact", K, 0)
    np.testing.assert_array_equal(found.left, latent.unit(network).embedding)
    # the same program run twice
    np.testing.assert_allclose([found.state_r2, found.output_r2], 1, atol=1e-14)
    np.testing.assert_array_equal([found.lost, found.closure], 0)


@pytest.mark.parametrize("form", [LeakyRate, LeakyCurrent])
def test_a_dense_network_of_low_rank_is_found_out(form, drive):
    low = random_unit()
    flow = form(Dense(low.connectivity.dense()), low.flow.input_weights, low.flow.bias)
    network = Network(Euler(flow, DT), LinearReadout(jnp.ones((1, N))), jnp.zeros(N))
    found = latent.extract(network, drive, ranks=(1, 2, 3, 4))
    # a matrix of rank 3 to rounding
    assert found.closure[2] < 1e-10
    assert found.lost[2] < 1e-20
    assert found.closure[1] > 1e-3
    reduced = latent.reduced(network, found, 3)
    # two forms of one matrix on forty steps
    np.testing.assert_allclose(
        simulate(reduced, jnp.asarray(drive)).states, simulate(network, jnp.asarray(drive)).states, atol=1e-9
    )
    assert latent.extracted_unit(network, found, 3).connectivity.rank == 3


def test_what_is_lost_and_closed_follows_from_the_activity(drive):
    """By loops, for the current form: its recurrent input is filtered by the leak."""
    network = dense_network()
    found = latent.extract(network, drive, ranks=(2, 6))
    flow = network.system.flow
    weight = np.asarray(flow.connectivity.weight)
    states = np.asarray(simulate(network, jnp.asarray(drive)).states)
    seen = []
    for trial in states:
        x, z = np.asarray(network.x0), np.zeros(len(weight))
        for after in trial:
            seen.append((z, x))
            z, x = (1 - DT) * z + DT * weight @ np.tanh(x), after
    filtered, currents = (np.array(each) for each in zip(*seen, strict=True))
    for index, rank in enumerate((2, 6)):
        basis = np.asarray(found.left)[:, :rank]
        lost = filtered - filtered @ basis @ basis.T
        # the same sums in another order
        np.testing.assert_allclose(found.lost[index], (lost**2).sum() / (filtered**2).sum(), rtol=1e-9)
        onto = np.asarray(found.right)[:, :rank]
        change = (np.tanh(currents) - np.tanh(currents - lost)) @ onto
        expected = np.linalg.norm(change) / np.linalg.norm(np.tanh(currents) @ onto)
        np.testing.assert_allclose(found.closure[index], expected, rtol=1e-9)
    # what is lost of a nested span only shrinks
    assert found.lost[1] < found.lost[0]


def test_plain_truncation_keeps_what_activity_never_uses(drive):
    """A strong direction that no activity enters, beside a weak one that carries everything."""
    size, inputs = 30, np.zeros((30, INPUTS))
    # thirds of the units: driven, never active, driven by those that never are
    used, silent, target = np.kron(np.eye(3), np.random.default_rng(6).normal(size=size // 3))
    inputs[:, 0] = used
    weight = 2 * np.outer(target, silent) + 0.15 * np.outer(used, used)
    flow = LeakyCurrent(Dense(jnp.asarray(weight)), jnp.asarray(inputs), jnp.zeros(size))
    network = Network(Euler(flow, DT), LinearReadout(jnp.asarray(used[None])), jnp.zeros(size))
    plain = latent.extract(network, drive, method="plain", ranks=(1,))
    weighted = latent.extract(network, drive, ranks=(1,))
    # the weights that carry anything are of rank one: rounding
    np.testing.assert_allclose(weighted.state_r2, 1, atol=1e-12)
    assert plain.state_r2[0] < 0.9
    assert (weighted.status, plain.status) == (0, 1)


def test_a_cut_of_a_low_rank_network_equals_that_of_its_dense_twin(drive):
    network = network_of(random_unit())
    flow = network.system.flow
    twin = LeakyRate(Dense(flow.connectivity.dense()), flow.input_weights, flow.bias)
    dense = Network(Euler(twin, DT), network.readout, network.x0)
    for method in ("weighted", "plain"):
        one, other = (latent.extract(each, drive, method=method, ranks=(2,)) for each in (network, dense))
        # singular vectors of one matrix by two routes
        np.testing.assert_allclose(one.left @ one.right.T, other.left @ other.right.T, atol=1e-9)
        np.testing.assert_allclose(one.state_r2, other.state_r2, atol=1e-9)


def test_thresholds_choose_the_rank_and_a_shortfall_is_said(drive):
    network = dense_network()
    found = latent.extract(network, drive, least_r2=0.99)
    assert found.rank == found.candidate[-1] == found.candidate[found.chosen]
    # without a task the outputs must fit as well
    least = np.minimum(found.state_r2, found.output_r2)
    assert least[found.chosen] >= 0.99
    assert (least[: found.chosen] < 0.99).all()
    short = latent.extract(network, drive, ranks=(1, 2), least_r2=0.99)
    assert latent.EXTRACTION_STATUS[short.status] == "below_thresholds"
    assert np.isnan(short.accuracy).all()
    # what comes nearest
    assert short.rank == 2


def test_the_task_decides_too(getkey):
    """A unit that sums evidence is scored, and its negative gets the rest."""
    task, rng = rc.tasks.TASKS["random-dots"](), np.random.default_rng(0)
    m = rng.normal(size=(N, 2))
    unit = latent.from_mean_convention(m, m * [1.5, 3.0], input_weights=m[:, :1], form="current", dt=task.dt)
    weight = jnp.asarray(m[:, :1].T / N)
    network = Network(Euler(unit.flow, task.dt), LinearReadout(weight), jnp.zeros(N))
    trials = task.trials(getkey(), 64)
    found = latent.extract(network, trials, task=task)
    # most of ten conditions are far from the boundary
    assert found.full_accuracy > 0.8
    assert (found.rank, found.accuracy[0]) == (2, found.full_accuracy)
    flipped = Network(network.system, LinearReadout(-weight), network.x0)
    # states are as before; outputs of the wrong sign are wrong on every trial that was right
    assert latent.extract(flipped, trials, task=task).full_accuracy == pytest.approx(1 - found.full_accuracy)


def test_mistakes_are_named(drive):
    network = network_of(random_unit())
    with pytest.raises(InputError, match="`ranks` must lie in 1…3"):
        latent.extract(network, drive, method="plain", ranks=(4,))
    with pytest.raises(InputError, match="keeps the network's own rank 3"):
        latent.extract(network, drive, ranks=(2,))
    with pytest.raises(InputError, match="'exact'` is for low-rank"):
        latent.extract(dense_network(), drive, method="exact")
    with pytest.raises(InputError, match="`task` scores outputs"):
        latent.extract(network, drive, task=rc.tasks.TASKS["random-dots"]())
    with pytest.raises(InputError, match="`rank` must be at most 3"):
        latent.reduced(network, latent.extract(network, drive), 4)
    smaller = latent.extract(dense_network(size=20), drive, ranks=(2,))
    with pytest.raises(InputError, match=r"`extraction\.left` must have shape \(40, any\)"):
        latent.reduced(network, smaller)
