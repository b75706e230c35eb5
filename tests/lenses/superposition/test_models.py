"""Networks that recall: the recurrence written out, ties, and the lemma that ties cost nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.superposition.conftest import random_weights, run

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.superposition import Uniform, projections, recall_network, tied

relu = lambda z: np.maximum(z, 0)  # noqa: E731


@pytest.mark.parametrize(
    ("kind", "hidden", "seen"),
    [("nonlinear", relu, relu), ("tanh", np.tanh, lambda z: z)],
)
def test_networks_are_the_recurrence_written_out(kind, hidden, seen):
    weights, x = random_weights(1, 3, 2), np.random.default_rng(0).normal(size=(2, 5, 2))
    got = rc.systems.simulate(recall_network(weights, kind=kind), jnp.asarray(x)).outputs
    # five steps of sums of three products
    np.testing.assert_allclose(got, run(weights, x, hidden, seen), rtol=1e-12, atol=1e-13)


def test_for_one_feature_every_network_has_a_tied_twin():
    weights, k = random_weights(9, 3, 1), 2
    a = np.asarray(projections(weights, 8))[:, 0, 0]
    sign = np.sign(a[k])
    y, w = (
        sign * np.asarray(weights.readout)[0],
        np.linalg.matrix_power(weights.recurrent, k) @ np.asarray(weights.inputs),
    )
    gauge = np.outer(y, y) / (sign * a[k]) + np.eye(3) - w @ w.T / (w**2).sum()
    change = np.linalg.cholesky(gauge).T
    recurrent = change @ np.asarray(weights.recurrent) @ np.linalg.inv(change)
    twin = tied(jnp.asarray(recurrent), jnp.asarray(change @ np.asarray(weights.inputs)), delay=k)
    # a change of coordinates and back
    np.testing.assert_allclose(projections(twin, 8)[:, 0, 0], sign * a, rtol=1e-9, atol=1e-11)


def test_gradients_flow_through_a_tie():
    weights = random_weights(2, 3, 1)

    def kept(recurrent):
        return projections(tied(recurrent, weights.inputs, delay=1), 2)[1, 0, 0]

    # the projection is |W_h w|², whose slope is 2 W_h w wᵀ
    w = np.asarray(weights.inputs)
    expected = 2 * np.asarray(weights.recurrent) @ w @ w.T
    np.testing.assert_allclose(jax.grad(kept)(weights.recurrent), expected, rtol=1e-12, atol=1e-14)


def test_amplitudes_on_both_sides_of_zero_share_their_square():
    u = Uniform(-0.5, 1.0)
    grid = np.linspace(-0.5, 1.0, 300001)
    # the trapezoid rule of a parabola in 3·10⁵ steps
    for square, side in zip(u.squares, (grid > 0, grid < 0), strict=True):
        assert square == pytest.approx(np.mean(grid**2 * side), rel=1e-4)
    assert (u.mean, u.square) == pytest.approx((0.25, 0.25), rel=1e-14)


def test_delays_below_zero_are_refused():
    weights = random_weights(0, 2, 1)
    with pytest.raises(InputError, match="`delay` must be a whole number of at least 0; got -1"):
        tied(weights.recurrent, weights.inputs, delay=-1)
