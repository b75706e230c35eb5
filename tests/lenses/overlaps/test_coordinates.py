"""Overlaps as data: names, partition, gauge, construction and extraction."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.overlaps.prescribed import DT, RANK1, RANK2, WIDE, run, some_overlaps, some_vectors

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov
from recurvature.lenses.overlaps.layout import BIAS, START
from recurvature.lenses.overlaps.status import OK, RANK_DEFICIENT, TRUNCATED, UNSTABLE


def test_names_and_counts_of_rank_1() -> None:
    assert RANK1.names == ("z·z", "z·v", "z·m", "z·u", "v·v", "v·m", "v·u", "m·m", "m·u", "u·u")
    linear = {n for n, seen in zip(RANK1.names, RANK1.visible("linear"), strict=True) if seen}
    assert linear == {"z·m", "z·u", "v·m", "v·u"}
    gaussian = {n for n, seen in zip(RANK1.names, RANK1.visible("gaussian"), strict=True) if seen}
    assert gaussian == linear | {"m·m", "m·u", "u·u"}
    # the table of the theory: visible and invisible, then what the function shows
    assert [RANK2.visible(r).sum() for r in ("linear", "gaussian")] == [9, 15]
    assert [RANK1.function_dimension(r) for r in ("linear", "gaussian")] == [3, 6]
    assert RANK2.function_dimension("linear") == 5
    assert RANK2.columns == ("z", "v1", "v2", "m", "u1", "u2")


@pytest.mark.parametrize(("layout", "regime"), [(RANK1, "gaussian"), (RANK2, "linear"), (WIDE, "linear")])
def test_function_relevant_combinations_are_as_many_as_counted(layout: ov.Layout, regime: Any) -> None:
    s = some_overlaps(layout)

    def values(overlaps):
        return jnp.concatenate([x.reshape(-1) for x in ov.function_relevant(overlaps, layout, regime).values()])

    jacobian = jax.jit(jax.jacfwd(lambda pairs: values(ov.from_pairs(pairs, layout))))(ov.to_pairs(s, layout))
    strengths = np.linalg.svd(jacobian, compute_uv=False)
    # generic overlaps: singular values that count stand far above rounding
    assert (strengths > 1e-9 * strengths[0]).sum() == layout.function_dimension(regime)
    assert (jacobian[:, ~layout.visible(regime)] == 0).all()


def test_the_gauge_changes_visible_overlaps_but_not_the_function() -> None:
    s = some_overlaps(RANK2)
    turned = ov.regauge(s, RANK2, np.array([[2.0, 0.3], [-0.5, 0.8]]))
    assert np.abs(turned - s)[0, 4:].max() > 0.01
    for regime in ("linear", "gaussian"):
        before, after = (ov.function_relevant(x, RANK2, regime) for x in (s, turned))
        for name, value in before.items():
            # two products with a matrix and its inverse: rounding
            np.testing.assert_allclose(after[name], value, rtol=1e-12, atol=1e-13, err_msg=name)
    # and the recurrence as a matrix is the same
    theta = np.asarray(some_vectors(RANK2, 12))
    moved = theta @ ov.gauge_matrix(RANK2, np.array([[2.0, 0.3], [-0.5, 0.8]]))
    one, two = (ov.assemble(jnp.asarray(x), RANK2, dt=None).system for x in (theta, moved))
    np.testing.assert_allclose(dense(one), dense(two), rtol=1e-12, atol=1e-14)


def dense(system: Any) -> np.ndarray:
    return np.asarray(system.connectivity.dense())


@pytest.mark.parametrize("charge", [-0.7, 0.0, 2.5])
def test_a_gauge_of_prescribed_charge(charge: float) -> None:
    s = some_overlaps(RANK1)
    turned = ov.regauge(s, RANK1, ov.gauge_with_charge(s, RANK1, charge))
    # one square root and one quotient: rounding
    assert turned[3, 3] - turned[1, 1] == pytest.approx(charge, abs=1e-13)


@pytest.mark.parametrize(("layout", "dt"), [(RANK1, None), (RANK2, DT), (WIDE, DT)], ids=["rank 1", "rank 2", "wide"])
def test_networks_have_the_overlaps_that_were_prescribed(layout: ov.Layout, dt: float | None) -> None:
    s = some_overlaps(layout)
    found = ov.extract(ov.network(s, layout, 40, key=rc.key(1), dt=dt))
    # orthonormal columns to rounding
    np.testing.assert_allclose(found.matrix, s, rtol=0, atol=1e-13)
    assert (found.layout, found.dt, found.status, found.gauge) == (layout, dt, OK, "own")
    assert (
        found["u·z" if layout is RANK1 else "u1·z" if layout is RANK2 else "u1·z2"]
        == found.values[found.names.index("z·u" if layout is RANK1 else "z·u1" if layout is RANK2 else "z2·u1")]
    )


def test_singular_overlaps_need_no_jitter() -> None:
    s = ov.matrix(RANK1, {"z·m": 1.0, "v·u": 0.5})
    theta = ov.vectors(s, RANK1, 3, key=rc.key(0))
    # three units hold three independent vectors; z and m are one
    np.testing.assert_allclose(theta.T @ theta / 3, s, rtol=0, atol=1e-14)
    assert ov.describe(s, RANK1, units=3, dt=DT).status == RANK_DEFICIENT
    with pytest.raises(InputError, match="2 units cannot hold 3 independent"):
        ov.vectors(s, RANK1, 2, key=rc.key(0))


def test_prescriptions_that_no_vectors_have_are_refused() -> None:
    with pytest.raises(InputError, match=r"positive semi-definite.*eigenvalue is -1"):
        ov.vectors(ov.matrix(RANK1, {"z·m": 2.0}), RANK1, 9, key=rc.key(0))
    with pytest.raises(InputError, match=r"unknown overlap 'z·w'"):
        ov.matrix(RANK1, {"z·w": 2.0})
    with pytest.raises(InputError, match="finite symmetric"):
        ov.describe(np.triu(np.ones((4, 4))), RANK1, units=9)


def test_an_unstable_recurrence_says_so() -> None:
    s = ov.matrix(RANK1, {"v·u": 1.2}, diagonal=2.0)
    found = ov.describe(s, RANK1, units=9, dt=DT)
    assert found.status == UNSTABLE
    # |1 - dt + 1.2 dt| - 1
    assert found.margin == pytest.approx(-0.2 * DT)
    # a nonlinear network of the same overlaps saturates instead
    assert ov.describe(s, RANK1, units=9, dt=DT, phi="tanh").status == OK


def test_a_dense_network_is_cut_where_its_singular_values_fall() -> None:
    network: Any = ov.assemble(some_vectors(RANK2, 30, 2), RANK2, dt=DT)
    exact = network.system.flow.connectivity
    noise = 1e-4 * np.random.default_rng(0).normal(size=(30, 30)) / np.sqrt(30)
    full = eqx.tree_at(
        lambda n: n.system.flow.connectivity, network, rc.systems.Dense(exact.dense() + jnp.asarray(noise))
    )
    found, own = ov.extract(full), ov.extract(network)
    assert (found.rank, found.gauge, found.status) == (2, "balanced", OK)
    # the noise that was added, relative to the matrix
    expected = np.linalg.norm(noise) / np.linalg.norm(exact.dense())
    assert found.residual == pytest.approx(expected, rel=0.2)
    u, v = found.layout.u, found.layout.v
    s = np.asarray(found.matrix)
    # balanced and diagonal to rounding, with the sign of the readout
    np.testing.assert_allclose(s[u, u], np.diag(found.singular_values[:2]), rtol=0, atol=1e-13)
    np.testing.assert_allclose(s[v, v], s[u, u], rtol=0, atol=1e-13)
    assert (s[0, u] >= 0).all()
    for name, value in ov.function_relevant(own.matrix, RANK2).items():
        # perturbed by 1e-4
        np.testing.assert_allclose(ov.function_relevant(s, RANK2)[name], value, rtol=0, atol=3e-4)
    assert ov.extract(full, rank=1).status == TRUNCATED


def test_a_balanced_low_rank_network_is_the_same_network() -> None:
    network: Any = ov.assemble(some_vectors(WIDE, 40, 3), WIDE, dt=DT)
    balanced = ov.stacked(network, gauge="balanced")
    again: Any = ov.assemble(balanced.theta, balanced.layout, dt=DT)
    # a thin decomposition multiplied out again: rounding
    np.testing.assert_allclose(dense(again.system.flow), dense(network.system.flow), rtol=0, atol=1e-14)


def test_bias_and_start_are_inputs_of_their_own() -> None:
    rng = np.random.default_rng(1)
    network: Any = ov.assemble(some_vectors(RANK1, 20, 4), RANK1, dt=DT)
    network = eqx.tree_at(
        lambda n: (n.system.flow.bias, n.x0), network, tuple(jnp.asarray(rng.normal(size=20)) for _ in range(2))
    )
    found = ov.extract(network)
    assert found.columns == ("z", "v", "m", BIAS, START, "u")
    inputs = rng.normal(size=(2, 15, 1))
    expected = [run(network, x) for x in inputs]
    rows = ov.input_rows(found, inputs)
    outputs = [ov.respond(jnp.asarray(found.matrix), found.layout, jnp.asarray(x), DT) for x in rows]
    # the first step only sets the start; then the outputs of the network, to rounding
    np.testing.assert_allclose(np.asarray(outputs)[:, 1:], expected, rtol=1e-11, atol=1e-13)


def test_the_reduced_model_is_held_against_the_network_on_given_inputs() -> None:
    rng = np.random.default_rng(2)
    network: Any = ov.assemble(some_vectors(RANK1, 20, 4), RANK1, dt=DT)
    network = eqx.tree_at(
        lambda n: (n.system.flow.bias, n.x0, n.readout.bias),
        network,
        tuple(jnp.asarray(rng.normal(size=k)) for k in (20, 20, 1)),
        is_leaf=lambda x: x is None,
    )
    inputs = rng.normal(size=(2, 15, 1))
    assert np.isnan(ov.extract(network).output_error)
    # linear units of the rank that is kept, with a bias, a start and a constant output: rounding
    assert ov.extract(network, inputs).output_error < 1e-13
    # what a rank leaves out, beside a simulation written out
    full = rc.systems.Dense(network.system.flow.connectivity.dense() + jnp.asarray(0.05 * rng.normal(size=(20, 20))))
    cut = eqx.tree_at(lambda n: n.system.flow.connectivity, network, full)
    found = ov.extract(cut, inputs, rank=1)
    own = np.stack([run(cut, x) for x in inputs])
    said = [np.asarray(ov.respond(jnp.asarray(found.matrix), found.layout, jnp.asarray(x), DT)) for x in inputs]
    expected = np.linalg.norm(said - own) / np.linalg.norm(own)
    assert found.output_error == pytest.approx(expected, rel=1e-9)
    assert expected > 1e-2
    with pytest.raises(InputError, match="the network has a flow"):
        ov.extract(ov.assemble(some_vectors(RANK1, 20, 4), RANK1, dt=None), inputs)


def test_systems_of_another_form_are_refused() -> None:
    zero = jnp.zeros((5, 5))
    rate = rc.systems.LeakyRate(rc.systems.Dense(zero), zero[:, :1], zero[0])
    with pytest.raises(InputError, match="leaky-current networks"):
        ov.extract(rc.systems.Network(rate, rc.systems.LinearReadout(zero[:1]), zero[0]))
    with pytest.raises(InputError, match="leaky-current networks"):
        ov.extract(
            rc.systems.Network(rc.systems.FunctionMap(lambda x, u: x, 5, 1), rc.systems.LinearReadout(zero), zero[0])
        )


def test_a_linear_map_is_a_leaky_network_whose_step_is_its_time_constant() -> None:
    rng = np.random.default_rng(0)
    left, right, m, z = (jnp.asarray(rng.normal(size=(12, k))) for k in (2, 2, 2, 1))
    system = rc.systems.LinearMap(rc.systems.LowRank(left, right), m)
    found = ov.extract(rc.systems.Network(system, rc.systems.LinearReadout(z.T), jnp.zeros(12)))
    inputs, h, expected = rng.normal(size=(10, 2)), np.zeros(12), []
    for x in inputs:
        h = np.asarray(left) @ (np.asarray(right).T @ h) / 12 + np.asarray(m) @ x
        expected.append(np.asarray(z).T @ h)
    # ten steps of rounding
    outputs = ov.respond(jnp.asarray(found.matrix), found.layout, jnp.asarray(inputs), 1.0)
    np.testing.assert_allclose(outputs, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rank"), [("rdm_rank1_512", 1), ("dms_rank2_512", 2)])
def test_overlaps_of_trained_networks(name: str, rank: int) -> None:
    from pathlib import Path

    file = Path(__file__).parents[3] / f"../shared/data/networks/{name}.pt"
    if not file.exists():
        pytest.skip("the networks of the shared data folder are not here")
    network: Any = rc.io.read_network(file).network
    own, balanced = ov.extract(network), ov.extract(network, gauge="balanced")
    assert (own.rank, own.units, own.regime, own.residual, own.matrix.dtype) == (rank, 512, "gaussian", 0.0, np.float32)
    flow = network.system.flow
    z, v = np.asarray(network.readout.weight, float) * 512, np.asarray(flow.connectivity.right, float)
    # the scalar products themselves, in float32
    assert own.matrix[0, 1] == pytest.approx((z[0] * v[:, 0]).mean(), rel=1e-5)
    for regime in ("linear", "gaussian"):
        before, after = (ov.function_relevant(x.matrix, own.layout, regime) for x in (own, balanced))
        for combination, value in before.items():
            # float32, and products of up to 2R + 2 overlaps
            np.testing.assert_allclose(after[combination], value, rtol=2e-4, atol=2e-4 * np.abs(value).max() + 1e-5)


def test_overlaps_are_saved_and_found_again(tmp_path) -> None:
    found = ov.extract(ov.assemble(some_vectors(RANK2, 20), RANK2))
    rc.io.save(found, tmp_path / "overlaps.zarr")
    again: Any = rc.io.load(tmp_path / "overlaps.zarr")
    assert again.names == found.names
    assert again["z·u2"] == found["z·u2"]
    assert (again.visible == found.visible).all()
    assert again.layout == found.layout
