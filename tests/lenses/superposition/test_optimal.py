"""The best linear networks: closed forms, recorded eight-digit losses, and what training conserves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.signal
from tests.lenses.superposition.conftest import random_weights

import recurvature as rc
from recurvature.lenses.superposition import (
    Weights,
    balanced_network,
    conserved,
    expected_loss,
    memory_capacity,
    optimal_linear,
    projections,
    sparse,
    stationary_loss,
    white,
)
from recurvature.lenses.superposition.optimal import reflections_of


def test_every_set_of_reflections_is_a_stable_network_with_a_white_state():
    reflections = np.random.default_rng(0).uniform(-0.95, 0.95, 4)
    recurrent, inputs = map(np.asarray, balanced_network(jnp.asarray(reflections)))
    # products of four rotations
    np.testing.assert_allclose(recurrent @ recurrent.T + inputs @ inputs.T, np.eye(4), atol=1e-14)
    singular = np.linalg.svd(recurrent, compute_uv=False)
    # all but one are 1, and the determinant says what the last is
    np.testing.assert_allclose(singular[:3], 1, rtol=1e-14)
    np.testing.assert_allclose(singular[3], np.sqrt(1 - (inputs**2).sum()), rtol=1e-12)
    assert np.abs(np.linalg.eigvals(recurrent)).max() < 1


@pytest.mark.parametrize("delay", [1, 4, *(pytest.param(k, marks=pytest.mark.slow) for k in (2, 3, 5, 6, 8))])
def test_one_unit_has_a_closed_form(delay):
    found = optimal_linear(delay, 1, starts=2)
    # (1 - λ²)λ^2k at λ² = k/(k+1)
    np.testing.assert_allclose(found.loss, 1 - (delay / (delay + 1)) ** delay / (delay + 1), rtol=1e-12)
    np.testing.assert_allclose(found.modulus**2, delay / (delay + 1), rtol=1e-6)


@pytest.mark.parametrize(
    ("delay", "loss", "radius", "degrees"),
    [
        (2, 0.5625, 0.707107, 90.000),
        (6, 0.84191496, 0.886469, 100.854),
        pytest.param(3, 0.69921865, 0.792527, 94.730, marks=pytest.mark.slow),
        pytest.param(4, 0.76927253, 0.837842, 97.599, marks=pytest.mark.slow),
        pytest.param(5, 0.81247455, 0.866536, 99.503, marks=pytest.mark.slow),
        pytest.param(8, 0.87957329, 0.912465, 102.644, marks=pytest.mark.slow),
    ],
)
def test_two_units_make_a_spiral(delay, loss, radius, degrees):
    found = optimal_linear(delay, 2, starts=4)
    # recorded to eight digits
    assert found.loss == pytest.approx(loss, abs=5.1e-9)
    # to six digits
    assert found.modulus[0] == pytest.approx(radius, abs=1e-6)
    # to a thousandth of a degree
    assert delay * np.rad2deg(found.angle[0]) == pytest.approx(degrees, abs=1e-3)
    # the loss of the network itself, by a Lyapunov solve
    np.testing.assert_allclose(stationary_loss(found.weights, white(), delay), found.loss, rtol=1e-11)
    # and by its memory capacity
    capacity = memory_capacity(found.weights.recurrent, found.weights.inputs).capacity[delay, 0]
    np.testing.assert_allclose(1 - capacity, found.loss, rtol=1e-9)


def test_the_spiral_of_delay_two_has_rational_projections():
    found = optimal_linear(2, 2, starts=4)
    # slopes below 1e-9 at a minimum of curvature about 1
    np.testing.assert_allclose(found.response[:5], [-1 / 8, 3 / 8, 7 / 16, 1 / 4, 1 / 32], atol=1e-7)


def test_no_direction_leads_below_the_optimum_and_no_random_network_lies_there():
    found = optimal_linear(3, 3, starts=4)
    slope = jax.jit(jax.grad(lambda w: stationary_loss(w, white(), 3)))(found.weights)
    for leaf in jax.tree.leaves(slope):
        # a gradient that vanishes but for the last step of a descent
        np.testing.assert_allclose(leaf, 0, atol=1e-7)
    # less than with two units, as recorded
    assert found.loss < 0.69921865
    for seed in range(20):
        reflections = np.random.default_rng(seed).uniform(-1, 1, 3)
        recurrent, inputs = balanced_network(jnp.asarray(reflections))
        older = np.linalg.matrix_power(np.asarray(recurrent), 3) @ np.asarray(inputs)
        assert 1 - (older**2).sum() > found.loss


def all_pass(eigenvalues: np.ndarray, delay: int) -> float:
    """The energy of an all-pass filter with these poles up to the delay (docs eq. S.80)."""
    poles = np.real(np.poly(eigenvalues))
    response = scipy.signal.lfilter(poles[::-1], poles, np.eye(1, delay + 1)[0])
    return float(response @ response)


def test_reflections_of_eigenvalues_give_them_back():
    eigenvalues = np.array([0.9 * np.exp(0.4j), 0.9 * np.exp(-0.4j), 0.6, -0.2, 0.5j, -0.5j])
    recurrent = np.asarray(balanced_network(jnp.asarray(reflections_of(eigenvalues)))[0])
    # a polynomial of degree six, and its roots
    np.testing.assert_allclose(np.poly(np.linalg.eigvals(recurrent)), np.real(np.poly(eigenvalues)), atol=1e-12)


@pytest.mark.parametrize(
    ("delay", "size"), [(6, 4), *(pytest.param(*pair, marks=pytest.mark.slow) for pair in ((8, 5), (9, 6)))]
)
def test_searches_over_eigenvalues_lead_to_the_optimum_and_not_below(delay, size):
    found = optimal_linear(delay, size, starts=1)
    eigenvalues = np.linalg.eigvals(np.asarray(found.recurrent))
    # another formula for the loss; eigenvalues of a matrix of up to six, near the unit circle
    assert all_pass(eigenvalues, delay) == pytest.approx(found.loss, abs=1e-10)
    rng, ends = np.random.default_rng(0), []

    def poles(x: np.ndarray) -> np.ndarray:
        radius, angle = 1 / (1 + np.exp(-x[: (size + 1) // 2])), x[(size + 1) // 2 :]
        pairs = radius[: size // 2] * np.exp(1j * angle)
        return np.concatenate([pairs, pairs.conj(), radius[size // 2 :]])

    for _ in range(12):
        # moduli from 0.73 to 0.95, and low frequencies as often as high ones
        start = np.concatenate([rng.uniform(1, 3, (size + 1) // 2), rng.uniform(0, np.pi, size // 2)])
        ends.append(scipy.optimize.minimize(lambda x: all_pass(poles(x), delay), start, options={"gtol": 1e-6}).fun)
    # slopes by differences are good to 1e-8, and losses flat: to its square over curvatures of a hundredth and more
    assert min(ends) == pytest.approx(found.loss, abs=1e-8)


@pytest.mark.parametrize(
    ("delay", "loss"), [(2, 0.653775), (3, 0.75), (4, 0.823880), (5, 0.851852), (6, 0.880178), (8, 0.908957)]
)
def test_two_real_eigenvalues_do_worse_than_a_spiral(delay, loss):
    """Recorded to six digits; by the energy of an all-pass filter, and by memory capacity."""
    grid = np.stack(np.meshgrid(*2 * [np.linspace(-0.9, 0.9, 5)]), -1).reshape(-1, 2)
    ends = [
        scipy.optimize.minimize(lambda x: all_pass(np.tanh(x), delay), x, options={"gtol": 1e-7})
        for x in np.arctanh(grid[grid[:, 0] >= grid[:, 1]])
    ]
    best = min(ends, key=lambda end: float(end.fun))
    assert best.fun == pytest.approx(loss, abs=5.1e-7)
    recurrent, inputs = np.diag(np.tanh(best.x)), np.ones((2, 1))
    assert optimal_linear(delay, 2, starts=1).loss < best.fun
    # poles may meet, where a diagonal recurrence has one direction only: then its capacity is that of the limit
    if np.ptp(np.tanh(best.x)) > 0.01:
        capacity = memory_capacity(jnp.asarray(recurrent), jnp.asarray(inputs)).capacity[delay, 0]
        np.testing.assert_allclose(1 - capacity, best.fun, rtol=1e-8)


def test_with_a_unit_for_each_age_nothing_is_lost():
    assert optimal_linear(2, 3, starts=4).loss == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("readout", ["linear", "ssm"])
def test_gradient_flow_conserves_a_matrix(readout, getkey):
    weights = random_weights(3, 3, 2)
    x = rc.tasks.Recall(features=2, steps=5, density=0.5).trials(getkey(), 4).inputs.astype(float)

    def loss(w: Weights):
        if readout == "linear":
            return expected_loss(projections(w, 6), sparse(0.3, 2), 1)
        network = rc.superposition.recall_network(w, kind="ssm")
        return (rc.systems.simulate(network, x).outputs[:, 2:] - x[:, :-2]).__pow__(2).sum()

    slope = jax.jit(jax.grad(loss))(weights)
    change = jax.jit(lambda w, along: jax.jvp(conserved, (w,), (along,))[1])(weights, slope)
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(slope))
    # sums of products of weights and slopes, rounded
    np.testing.assert_allclose(change, 0, atol=1e-12 * max(1.0, largest))
    assert largest > 0.1
