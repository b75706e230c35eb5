"""The latent unit: closed, exact in both forms and normalisations, and blind to what lies outside its encoding."""

import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.latent.conftest import DT, INPUTS, K, N, dense_network, network_of, published, random_unit

import recurvature as rc
from recurvature import latent
from recurvature._errors import InputError
from recurvature.systems import Euler, LinearReadout, Network, simulate


@pytest.mark.parametrize("form", ["rate", "current"])
def test_both_normalisations_are_one_unit(form):
    one, mean = random_unit(form, "1"), random_unit(form)
    # a factor N inside or outside: two roundings
    np.testing.assert_allclose(one.encoding, mean.encoding, rtol=1e-14)
    np.testing.assert_allclose(one.encoding, np.asarray(mean.connectivity.right).T / N, rtol=1e-14)
    again = latent.from_encoding(
        one.embedding, one.encoding, input_weights=one.flow.input_weights, bias=one.flow.bias, form=form, dt=DT
    )
    kappa, u = np.random.default_rng(0).normal(size=K), np.ones(INPUTS)
    fields = [np.asarray(each.field(jnp.asarray(kappa), jnp.asarray(u))) for each in (one, mean, again)]
    # sums over forty units
    np.testing.assert_allclose(fields[0], fields[1], atol=1e-13)
    np.testing.assert_allclose(fields[0], fields[2], atol=1e-13)


def test_lift_and_project_undo_each_other_where_they_can():
    rng = np.random.default_rng(0)
    current = random_unit("current")
    kappa, v = rng.normal(size=(5, K)), rng.normal(size=(5, INPUTS))
    states = current.lift(jnp.asarray(kappa), jnp.asarray(v))
    # a pseudo-inverse of a 40 × 5 matrix of condition below 10
    np.testing.assert_allclose(current.project(states), np.concatenate([kappa, v], 1), atol=1e-13)
    rate = random_unit()
    with_state = rate.project(rate.lift(jnp.asarray(kappa), jnp.asarray(v)))
    field = np.stack([rate.field(jnp.asarray(k), jnp.asarray(u)) for k, u in zip(kappa, v, strict=True)])
    # what is read of the tuning at kappa is kappa plus tau times its field
    np.testing.assert_allclose(with_state, kappa + field, atol=1e-13)


def test_rates_outside_the_encoding_move_no_variable_and_fade_by_the_leak_in_every_step(drive):
    unit = random_unit()
    network = network_of(unit)
    kick = latent.split(unit, np.random.default_rng(3).normal(size=N))[1]
    assert np.linalg.norm(kick) > 1
    kicked = Network(network.system, network.readout, network.x0 + kick)
    one, other = (np.asarray(simulate(each, jnp.asarray(drive)).states)[0] for each in (network, kicked))
    kappas = [np.asarray(unit.project(jnp.asarray(states))) for states in (one, other)]
    # rounding of forty steps
    np.testing.assert_allclose(kappas[1], kappas[0], atol=1e-13)
    expected = kick * (1 - DT) ** np.arange(1, 41)[:, None]
    np.testing.assert_allclose(other - one, expected, atol=1e-13)


def test_split_is_the_projector_of_the_pseudo_inverse():
    unit = random_unit()
    encoding = np.asarray(unit.encoding)
    rates = np.random.default_rng(4).normal(size=(7, N))
    inside, outside = latent.split(unit, rates)
    # pinv(N) N, multiplied out: condition below 10
    np.testing.assert_allclose(inside, rates @ (np.linalg.pinv(encoding) @ encoding).T, atol=1e-13)
    np.testing.assert_allclose(outside @ encoding.T, 0, atol=1e-13)


def test_dependent_rows_are_one_direction():
    encoding = np.ones((2, 6))
    unit = latent.from_encoding(np.ones((6, 2)), encoding)
    inside, _ = latent.split(unit, np.arange(6.0))
    # the mean, whichever basis: six sums
    np.testing.assert_allclose(inside, 2.5, atol=1e-14)


def test_what_has_no_unit_is_refused_in_one_line(drive, getkey):
    gru = rc.systems.gru(6, inputs=INPUTS, outputs=1, key=getkey())
    for call in (lambda: latent.unit(gru), lambda: latent.extract(gru, drive)):
        with pytest.raises(InputError, match="share one time constant; got Stack"):
            call()
    with pytest.raises(InputError, match=r"dense.*latent\.extract"):
        latent.unit(dense_network())
    with pytest.raises(InputError, match="`dt` must lie in"):
        latent.from_encoding(np.ones((6, 1)), np.ones((1, 6)), dt=2.0)


def test_nothing_of_size_n_by_n_is_made():
    """At 4000 units such a matrix takes 128 MB."""
    n, rng = 4_000, np.random.default_rng(0)
    unit = latent.from_mean_convention(
        rng.normal(size=(n, 2)), rng.normal(size=(n, 2)), input_weights=rng.normal(size=(n, 1)), dt=0.5
    )
    readout = LinearReadout(jnp.asarray(rng.normal(size=(1, n)) / n))
    network = Network(Euler(unit.flow, 0.5), readout, jnp.zeros(n))
    inputs = rng.normal(size=(2, 4, 1))
    tracemalloc.start()
    latent.extract(network, inputs, method="weighted", ranks=(1,))
    latent.split(unit, np.ones(n))
    latent.readout_equivalence(unit, np.asarray(readout.weight))
    latent.spectrum(unit, np.zeros(2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # NumPy: a dozen arrays of the size of all samples (0.3 MB) and factors, far below one of N × N
    assert peak < 2e7
    # JAX: no value of the compiled step has more numbers than its largest argument has
    step = jax.make_jaxpr(Euler(unit.flow, 0.5).step)(network.x0, jnp.zeros(1))
    assert max(var.aval.size for eqn in step.eqns for var in eqn.outvars) <= 2 * n


def test_a_published_network_is_a_latent_unit():
    network, rank, inputs = published("dms_rank2_512.pt"), 2, 2
    unit = latent.unit(network)
    assert (unit.form, unit.embedding.shape, unit.encoding.shape) == ("current", (512, rank), (rank, 512))
    drive = jnp.asarray(np.random.default_rng(0).normal(size=(2, 60, inputs)))
    full = simulate(network, drive)
    start = jnp.zeros(rank + inputs)
    reduced = simulate(Network(unit.system, network.readout, start), drive)
    # the release starts at rest; sums over 512 units, sixty steps
    np.testing.assert_allclose(reduced.outputs, full.outputs, atol=1e-12)
    np.testing.assert_allclose(unit.project(jnp.asarray(full.states)), reduced.states, atol=1e-12)
