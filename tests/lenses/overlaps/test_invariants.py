"""The Gram matrix, and what gradient flow keeps and gradient descent does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.overlaps.prescribed import FILTER, RANK1, RANK2, some_overlaps, some_vectors

from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov

# rows of the updated overlap, columns of the gradient; "2zm" is twice an overlap, "0" none, "a+b" a sum
TABLE = """
   zm    zu    vm    vu    mu    zv    mm  uu  vv  zz
zm mm+zz mu    zv    0     zu    vm    2zm 0   0   2zm
zu mu    uu+zz 0     zv    zm    vu    0   2zu 0   2zu
vm zv    0     mm+vv mu    vu    zm    2vm 0   2vm 0
vu 0     zv    mu    uu+vv vm    zu    0   2vu 2vu 0
mu zu    zm    vu    vm    mm+uu 0     2mu 2mu 0   0
zv vm    vu    zm    zu    0     vv+zz 0   0   2zv 2zv
mm 2zm   0     2vm   0     2mu   0     4mm 0   0   0
uu 0     2zu   0     2vu   2mu   0     0   4uu 0   0
vv 0     0     2vm   2vu   0     2zv   0   0   4vv 0
zz 2zm   2zu   0     0     0     2zv   0   0   0   4zz
"""


def test_the_gram_matrix_of_rank_1_entry_by_entry() -> None:
    s = some_overlaps(RANK1)
    found, places = ov.gram(s, RANK1), {n.replace("·", ""): i for i, n in enumerate(RANK1.names)}
    values = dict(zip(places, ov.to_pairs(s, RANK1), strict=True))
    header, *rows = (line.split() for line in TABLE.strip().splitlines())
    for row, *cells in rows:
        for column, cell in zip(header, cells, strict=True):
            expected = 0.0
            for term in cell.split("+"):
                factor, name = (int(term[0]), term[1:]) if term[0].isdigit() else (1, term)
                expected += factor * values[name] if name else 0.0
            # the same numbers, at most two of them added
            assert found[places[row], places[column]] == pytest.approx(expected, abs=1e-15), (row, column)


def test_the_gram_matrix_is_that_of_the_derivatives_of_overlaps() -> None:
    layout, units = RANK2, 15
    s = some_overlaps(layout)
    theta = some_vectors(layout, units, 0)
    jacobian = jax.jit(jax.jacrev(lambda x: ov.to_pairs(x.T @ x / units, layout)))(theta)
    d = jacobian.reshape(len(layout.names), -1)
    # sums over units in another order
    np.testing.assert_allclose(ov.gram(s, layout), units * d @ d.T, rtol=0, atol=1e-13)


def test_flow_keeps_the_spectrum_and_the_charge(limit: ov.Learning) -> None:
    kept = ov.invariants(limit)
    # the overlaps moved by tenths
    assert np.abs(limit.matrix[-1] - limit.matrix[0]).max() > 0.1
    # a solver asked for 1e-10 a step, and of an order that does better
    assert kept.drift.max() < 1e-10
    determinants = np.linalg.det(limit.matrix)
    np.testing.assert_allclose(determinants, determinants[0], rtol=1e-8)
    s = np.asarray(limit.matrix[0])
    # traces by hand: tr S_AA - tr S_BB, and the squares
    assert kept.traces[0, 0] == pytest.approx(s[0, 0] + s[1, 1] - s[2, 2] - s[3, 3], abs=1e-13)
    a, b, k = s[:2, :2], s[2:, 2:], s[:2, 2:]
    assert kept.traces[0, 1] == pytest.approx((a**2).sum() + (b**2).sum() - 2 * (k**2).sum(), abs=1e-13)


def test_the_spectrum_is_that_of_the_matrix_of_all_units() -> None:
    s = some_overlaps(RANK2)
    theta = np.asarray(some_vectors(RANK2, 25, 1))
    a, b = theta[:, : RANK2.split], theta[:, RANK2.split :]
    full = np.linalg.eigvalsh((a @ a.T - b @ b.T) / 25)
    nonzero = np.sort(full[np.abs(full) > 1e-10])[::-1]
    found = ov.invariants(ov.describe(s, RANK2, units=25)).spectrum[0]
    # two symmetric eigenvalue solvers
    np.testing.assert_allclose(found, nonzero, rtol=0, atol=1e-13)


def test_descent_moves_the_invariants_by_what_is_expected_of_each_step() -> None:
    s, rate = some_overlaps(RANK1), 0.05
    learning = ov.descend(FILTER, s, rate, steps=6, layout=RANK1)
    kept = ov.invariants(learning)
    for k in range(6):
        gamma = ov.symmetric_gradient(FILTER, jnp.asarray(learning.matrix[k]))
        trace, charge = ov.expected_drift(learning.matrix[k], gamma, RANK1, rate)
        # differences of numbers of order 1
        assert kept.traces[k + 1, 0] - kept.traces[k, 0] == pytest.approx(trace, abs=1e-14)
        np.testing.assert_allclose(kept.charge[k + 1] - kept.charge[k], charge, rtol=0, atol=1e-14)
    assert kept.drift[-1] > 1e-3


def test_drift_of_descent_is_of_first_order_in_the_step() -> None:
    drifts = [
        ov.invariants(
            ov.descend(FILTER, some_overlaps(RANK1), 0.6 / steps, steps=steps, every=steps // 6, layout=RANK1)
        ).drift[-1]
        for steps in (60, 120)
    ]
    # slope 1, up to the next order in the step
    assert abs(np.log2(drifts[0] / drifts[1]) - 1) < 0.05


def test_the_charge_survives_a_loss_that_sees_what_writes() -> None:
    def loss(overlaps: jax.Array) -> jax.Array:
        seen = ov.function_relevant(overlaps, RANK2, "gaussian")
        return sum((jnp.sum((x - 0.3) ** 2) for x in seen.values()), jnp.zeros(()))

    s = some_overlaps(RANK2)
    gamma = np.asarray(ov.symmetric_gradient(loss, jnp.asarray(s)))
    velocity = -2 * (gamma @ s + s @ gamma)
    u, v = RANK2.u, RANK2.v
    assert np.abs(velocity[u, u]).max() > 0.1
    # sums of six products
    np.testing.assert_allclose(velocity[u, u], velocity[v, v], rtol=0, atol=1e-12)
    # the trace of JS is an invariant of linear units only
    assert abs((RANK2.signature * np.diag(velocity)).sum()) > 0.1


@pytest.mark.slow
def test_the_largest_rate_separates_descent_that_settles_from_descent_that_does_not() -> None:
    coupling = 1 - (1 - np.exp(-0.2 * 0.1)) / 0.1
    minimum = ov.matrix(RANK1, {"z·m": 1.0, "z·u": coupling, "v·m": 1.0, "v·u": coupling}, diagonal=2.5)
    start = minimum + 1e-6 * np.diag([1.0, 2.0, 3.0, 4.0])
    start[0, 2] = start[2, 0] = start[0, 2] + 1e-5
    rate = ov.largest_rate(FILTER, minimum, RANK1)
    calm, wild = (ov.descend(FILTER, start, f * rate, steps=60, every=10, layout=RANK1).loss for f in (0.9, 1.1))
    assert calm[-1] < 1e-2 * calm[0]
    assert wild[-1] > 1e2 * wild[0]


def test_dimensions_of_memory() -> None:
    # of a network in float32: its rounding is no dimension
    found = ov.reach(some_overlaps(RANK1).astype(np.float32), layout=RANK1, depth=2)
    assert (found.leaf, found.function, found.hidden, found.invariants) == (5, 3, 2, 5)
    # what does not count is rounding
    assert found.singular_values[4] > 1e-6 * found.singular_values[0]


@pytest.mark.slow
def test_dimensions_of_memory_of_rank_2() -> None:
    found = ov.reach(some_overlaps(RANK2), layout=RANK2, depth=3)
    # as many invariants as are known: six of the spectrum, three charges
    assert (found.leaf, found.function, found.hidden, found.invariants) == (12, 5, 7, 9)


@pytest.mark.slow
def test_dimensions_of_memory_of_nonlinear_units() -> None:
    found = ov.reach(some_overlaps(RANK1), layout=RANK1, regime="gaussian", depth=3)
    assert (found.leaf, found.function, found.hidden, found.invariants) == (9, 6, 3, 1)


def exchangeable() -> np.ndarray:
    """Overlaps that stay the same when what reads and what writes are exchanged."""
    a, k = np.array([[1.2, 0.3], [0.3, 1.0]]), np.array([[0.4, 0.25], [0.25, 0.5]])
    return np.block([[a, k], [k, a]])


@pytest.mark.parametrize("depth", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_symmetric_networks_have_half_the_memory(depth: int) -> None:
    found = ov.reach(exchangeable(), layout=RANK1, depth=depth)
    # no more at depth 4: it is the dimension, not a bound
    assert (found.leaf, found.function, found.hidden) == (4, 3, 1)


@pytest.mark.slow
def test_balanced_networks_of_rank_2_remember_their_gauge() -> None:
    found = ov.reach(ov.balanced(some_overlaps(RANK2), RANK2), layout=RANK2, depth=3)
    # four dimensions of gauge less three charges
    assert (found.leaf, found.function, found.hidden) == (6, 5, 1)


def test_balanced_networks_have_no_memory() -> None:
    a = np.array([[1.0, 0.3], [0.3, 1.2]])
    s = np.block([[a, a], [a, a]])
    # A = B: the invariant vanishes and learning stays where the function puts it
    assert np.abs(ov.invariants(ov.describe(s, RANK1, units=9)).spectrum).max() < 1e-7
    assert ov.reach(s, layout=RANK1, depth=2).hidden == 0


def test_reach_needs_a_layout() -> None:
    with pytest.raises(InputError, match="needs its `layout`"):
        ov.reach(np.eye(4))
