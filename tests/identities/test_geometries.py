from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recurvature as rc
from recurvature._errors import InputError
from recurvature.identities.geometries import geometry_bounds
from recurvature.lenses import overlaps

LAYOUT = overlaps.Layout(1, 1, 2)
MANIFOLD = rc.systems.ConstantInputs(rc.systems.box(a=(-1.0, 1.0), b=(-1.0, 1.0)))
UNITS, DT, STEPS = 12, 0.1, 10
WHERE: dict[str, Any] = {"points": np.array([[0.2, -0.6]]), "duration": STEPS * DT}


def random_overlaps(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(9, LAYOUT.size))
    return theta.T @ theta / 9


def random_network(seed: int) -> rc.systems.Network:
    return overlaps.network(random_overlaps(seed), LAYOUT, UNITS, key=rc.key(seed), dt=DT)


@pytest.mark.property
@settings(max_examples=6)
@given(seed=st.integers(0, 2**31))
def test_the_metric_of_a_linear_network_is_one_of_its_overlaps(seed):
    found = rc.identities.overlap_metric(random_network(seed), MANIFOLD, **WHERE)
    assert found.status == 0
    # sums of a dozen products over ten steps
    assert found.error <= 1e-12
    np.testing.assert_allclose(found.predicted, found.input_part + found.cross_part + found.recurrent_part, rtol=1e-12)


@pytest.mark.slow
def test_in_closed_form_for_past_inputs():
    s, units = random_overlaps(1), UNITS
    network = random_network(1)
    found = rc.identities.past_inputs(network, np.zeros((4, 2)), ages=3)
    f = np.block([[-np.eye(2), np.zeros((2, 1))], [s[1:2, 2:4], s[1:2, 4:] - 1]])
    moved = [np.linalg.matrix_power(np.eye(3) + DT * f, age)[:, :2] * DT for age in range(3)]
    columns = np.concatenate(moved, axis=1)
    # products of 3 x 3 matrices
    np.testing.assert_allclose(found.gram, units * columns.T @ s[2:, 2:] @ columns, rtol=0, atol=1e-14)


@pytest.fixture(scope="module")
def pair():
    network = random_network(2)
    s = np.asarray(overlaps.extract(network).matrix)
    other = rc.identities.twin(network, {"m1·m1": 4 * s[2, 2], "m1·u": s[2, 4] + 0.3, "z·z": s[0, 0] + 2.0})
    return network, other, rc.identities.two_geometries(network, other, MANIFOLD, points=3, duration=STEPS * DT)


def test_one_function_has_two_geometries(pair):
    _, _, found = pair
    assert found.status == 0
    # outputs are the same to rounding; states are not at all
    assert found.function_error <= 1e-12
    assert found.metric_difference > 0.3
    low, high = found.bounds
    assert low * (1 - 1e-10) <= found.ratio.min() < found.ratio.max() <= high * (1 + 1e-10)
    assert np.abs(found.outputs).max() > 1e-2


def test_a_twin_has_the_overlaps_that_were_asked_for_and_the_nearest_weights(pair):
    network, other, _ = pair
    before, after = (np.asarray(overlaps.stacked(n).theta) for n in (network, other))
    s, wanted = (np.asarray(overlaps.extract(n).matrix) for n in (network, other))
    assert wanted[2, 2] == pytest.approx(4 * s[2, 2], rel=1e-12)
    assert wanted[0, 0] == pytest.approx(s[0, 0] + 2.0, rel=1e-12)
    np.testing.assert_allclose(wanted[:2, 2:], s[:2, 2:], rtol=0, atol=1e-13)
    # any other vectors with these overlaps are farther: random rotations of these
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-1, 1.0):
        skew = size * rng.normal(size=(UNITS, UNITS))
        turn = np.linalg.solve(np.eye(UNITS) + skew - skew.T, np.eye(UNITS) - skew + skew.T)
        assert np.linalg.norm(turn @ after - before) > np.linalg.norm(after - before)


@pytest.mark.property
@settings(max_examples=8)
@given(seed=st.integers(0, 2**31))
def test_every_geometry_occurs_with_every_function(seed):
    s, wanted = random_overlaps(seed), random_overlaps(seed + 1)[2:, 2:]
    k = s[:2, 2:]
    whole = np.block([[k @ np.linalg.solve(wanted, k.T), k], [k.T, wanted]])
    overlaps.coordinates.check_overlaps(whole, LAYOUT)
    least = np.linalg.eigvalsh(whole)[0]
    # the Schur complement vanishes: singular to rounding, and no less
    assert abs(least) < 1e-10 * np.abs(whole).max()


@pytest.mark.property
@settings(max_examples=8)
@given(seed=st.integers(0, 2**31))
def test_balanced_overlaps_are_the_least_for_their_function_and_fix_the_geometry(seed):
    s = random_overlaps(seed)
    balanced, k = overlaps.balanced(s, LAYOUT), s[:2, 2:]
    nuclear = np.linalg.svd(k, compute_uv=False).sum()
    assert np.trace(balanced) == pytest.approx(2 * nuclear, rel=1e-12)
    assert np.trace(s) >= 2 * nuclear
    # the square root of a singular matrix: its rounding is the root of that of the matrix
    np.testing.assert_allclose(balanced[2:, 2:] @ balanced[2:, 2:], k.T @ k, rtol=0, atol=1e-12 * np.trace(k.T @ k))


@pytest.fixture(scope="module")
def learned():
    rng = np.random.default_rng(3)
    inputs, targets = (jnp.asarray(rng.normal(size=(3, STEPS, width))) for width in (2, 1))
    loss = overlaps.DataLoss(inputs, targets, LAYOUT, DT)
    network = random_network(3)
    return (
        loss,
        network,
        rc.identities.learned_geometry(loss, network, 0.5, steps=6, every=2, manifold=MANIFOLD, **WHERE),
    )


@pytest.mark.slow
def test_overlaps_say_where_training_takes_the_metric(learned):
    _, _, found = learned
    assert found.status == 0
    # ten steps through time, six of learning
    assert max(found.error, found.overlap_error) <= 1e-12
    moved = np.abs(found.trained[-1] - found.trained[0]).max()
    assert moved > 1e-3 * np.abs(found.trained[0]).max()
    assert found.loss[-1] < found.loss[0]


@pytest.mark.slow
def test_lengths_grow_while_larger_overlaps_would_lower_the_loss(learned):
    loss, _, found = learned
    s = jnp.asarray(found.matrix[0])
    gamma = np.asarray(overlaps.symmetric_gradient(loss, s))
    rate = -2 * (gamma @ s + s @ gamma)
    grown = lambda c: loss(s.at[:2, 2:].multiply(c).at[2:, :2].multiply(c))  # noqa: E731
    slope = float(jax.grad(grown)(jnp.asarray(1.0)))
    # sums of six products
    assert np.trace(rate[2:, 2:]) == pytest.approx(-2 * slope, rel=1e-11)
    assert np.trace(rate[:2, :2]) == pytest.approx(-2 * slope, rel=1e-11)


def test_what_is_no_twin_has_no_bounds_and_fails(pair):
    network, _, _ = pair
    third = random_network(9)
    assert np.isnan(geometry_bounds(overlaps.extract(network), overlaps.extract(third))).all()
    found = rc.identities.two_geometries(network, third, MANIFOLD, points=3, duration=STEPS * DT)
    assert rc.identities.STATUS[found.status] == "fails"
    assert found.function_error > 1e-3


def test_what_does_not_fit_is_refused():
    network = random_network(4)
    with pytest.raises(InputError, match="'z·m1', which the loss sees"):
        rc.identities.twin(network, {"z·m1": 0.1})
    with pytest.raises(InputError, match="positive semi-definite"):
        rc.identities.twin(network, {"m1·m1": 0.0})
    curved = rc.cast(rc.systems.leaky_current(6, inputs=2, outputs=1, key=rc.key(0), rank=1), float)
    with pytest.raises(InputError, match="have no metric that overlaps fix"):
        rc.identities.overlap_metric(curved, MANIFOLD, duration=1.0)
    dense = rc.cast(rc.systems.linear(6, inputs=2, outputs=1, key=rc.key(0)), float)
    with pytest.raises(InputError, match="recurrence is dense"):
        rc.identities.overlap_metric(dense, MANIFOLD, duration=1.0)
