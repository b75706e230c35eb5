from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

import recurvature as rc
from recurvature._errors import InputError
from recurvature.identities import fisher
from recurvature.identities.check import unless_singular
from recurvature.systems.simulate import rollout

AGES = 4


def draw(seed: int, n: int = 5, inputs: int = 1) -> tuple[jnp.ndarray, jnp.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(n, n))
    w *= rng.uniform(0.3, 0.9) / np.abs(np.linalg.eigvals(w)).max()
    b = rng.normal(size=(n, inputs))
    return jnp.asarray(w), jnp.asarray(b / np.linalg.norm(b)), rng


@pytest.mark.property
@settings(max_examples=8)
@given(seed=st.integers(0, 2**31))
def test_fisher_memory_is_the_metric_under_the_inverse_covariance_and_below_its_bounds(seed):
    w, b, rng = draw(seed)
    root = rng.normal(size=(5, 5))
    found = rc.identities.fisher_memory(w, b, noise=root @ root.T + 0.1 * np.eye(5), ages=AGES)
    assert found.status == 0
    assert found.error <= found.tolerance
    assert found.curve.sum() <= found.total <= found.bound
    # a share of variance, and what the memory alone would allow
    assert (found.recall <= found.curve / (1 + found.curve) * (1 + 1e-12)).all()


@pytest.mark.oracle
@pytest.mark.parametrize("inputs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_normal_networks_have_the_closed_form_and_the_total_of_ganguli_huh_and_sompolinsky(inputs):
    _, b, rng = draw(1, inputs=inputs)
    q = scipy.stats.ortho_group.rvs(5, random_state=rng)
    values = np.linspace(-0.8, 0.9, 5)
    found = rc.identities.fisher_memory(jnp.asarray(q * values @ q.T), b, noise=0.5, ages=AGES)
    parts = (q.T @ np.asarray(b)) ** 2
    curve = [(parts * (values ** (2 * s) * (1 - values**2))[:, None]).sum(0) / 0.5 for s in range(AGES)]
    # sums of five terms, and a Lyapunov equation of condition 5
    np.testing.assert_allclose(found.curve, curve, rtol=1e-12)
    assert found.total == pytest.approx(1 / 0.5, rel=1e-12)
    assert found.bound >= found.total


@pytest.mark.oracle
def test_rotations_that_shrink_are_normal_too_and_remember_as_long_in_every_direction():
    _, b, rng = draw(6)
    turn = 0.9 * scipy.stats.ortho_group.rvs(5, random_state=rng)
    found = rc.identities.fisher_memory(jnp.asarray(turn), b, noise=0.5, ages=AGES)
    # all eigenvalues, complex ones among them, have modulus 0.9; rounding of sums of five terms
    np.testing.assert_allclose(found.curve[:, 0], 0.81 ** np.arange(AGES) * 0.19 / 0.5, rtol=1e-12)
    assert found.total == pytest.approx(1 / 0.5, rel=1e-12)


@pytest.mark.oracle
def test_a_delay_line_forgets_as_noise_piles_up():
    # x_s holds the input of s steps ago and s + 1 steps of noise: J(s) = 1 / (s + 1)
    line = np.diag(np.ones(4), -1)
    found = rc.identities.fisher_memory(jnp.asarray(line), jnp.asarray(np.eye(5)[:, :1]), ages=AGES)
    # exact but for the inverse
    np.testing.assert_allclose(found.curve[:, 0], 1 / (1 + np.arange(AGES)), rtol=1e-13)
    np.testing.assert_allclose(found.recall[:, 0], 1 / (2 + np.arange(AGES)), rtol=1e-13)


@pytest.mark.property
@settings(max_examples=5)
@given(seed=st.integers(0, 2**31))
def test_memory_capacity_is_fisher_memory_of_noise_that_comes_in_by_the_inputs(seed):
    w, b, _ = draw(seed, inputs=2)
    noise = np.asarray(b @ b.T)
    found = rc.identities.fisher_memory(w, b, noise=noise, ages=AGES)
    capacity = rc.superposition.memory_capacity(w, b, ages=AGES)
    condition = np.linalg.cond(found.covariance)
    # an inverse is known to the condition of its matrix
    np.testing.assert_allclose(found.curve, capacity.capacity, rtol=0, atol=100 * condition * np.finfo(float).eps)
    assert found.total == pytest.approx(capacity.rank, rel=100 * condition * np.finfo(float).eps)


def gated(seed: int) -> tuple[Any, jnp.ndarray]:
    network = rc.cast(rc.systems.gru(5, inputs=2, outputs=1, key=rc.key(seed)), float)
    return network, jnp.asarray(np.random.default_rng(seed).normal(size=(6, 2)))


@pytest.mark.slow  # the stationary form is tested by default
def test_along_a_trajectory_noise_is_carried_by_the_same_jacobians():
    network, course = gated(2)
    found = rc.identities.local_fisher_memory(network, course, noise=0.3, ages=3)
    end = lambda kicks: rollout(network.system, network.x0, course, kicks)[-1]  # noqa: E731
    # another route: the state's derivative by a kick at every step, in reverse
    kicked = np.asarray(jax.jit(jax.jacrev(end))(jnp.zeros((6, 5)))).reshape(5, -1)
    # sums of thirty products
    np.testing.assert_allclose(found.covariance, 0.3 * kicked @ kicked.T, rtol=0, atol=1e-13)
    moved = np.asarray(jax.jit(jax.jacrev(lambda u: rollout(network.system, network.x0, u)[-1]))(course))
    columns = moved[:, ::-1][:, :3].reshape(5, -1)
    wanted = columns.T @ np.linalg.inv(found.covariance) @ columns
    np.testing.assert_allclose(found.matrix, wanted, rtol=0, atol=1e-11 * np.abs(wanted).max())
    assert found.status == 0
    assert found.recall_error <= found.tolerance


@pytest.mark.slow
def test_a_linear_map_comes_to_its_stationary_memory():
    w, b, _ = draw(3)
    network = rc.superposition.recall_network(rc.superposition.Weights(w, b, jnp.ones((1, 5))))
    late = rc.identities.local_fisher_memory(network, np.zeros((80, 1)), ages=AGES)
    # what is left after 80 steps of a spectral radius below 0.9: 0.9^160, of matrices that are not normal
    np.testing.assert_allclose(late.curve, rc.identities.fisher_memory(w, b, ages=AGES).curve, rtol=1e-5)


def test_noise_that_does_not_reach_every_direction_is_said_to():
    _, b, _ = draw(4)
    found = rc.identities.fisher_memory(
        jnp.asarray(np.diag([0.5, 0.4, 0.3, 0.2, 0.1])), b, noise=np.diag([1.0, 0, 0, 0, 0])
    )
    assert rc.identities.STATUS[found.status] == "singular"
    assert unless_singular(found, found.recall_error) == found.status
    assert np.isnan(found.curve).all()


def test_what_rounding_leaves_no_digits_of_is_not_called_agreement():
    w, b, _ = draw(4)
    # noise of 1e-13 beside noise of 1 in one direction: the covariance has a condition of about 1e13
    found = rc.identities.fisher_memory(0.1 * w, b, noise=np.diag([1.0, 1e-13, 1e-13, 1e-13, 1e-13]), ages=AGES)
    assert found.tolerance <= 1e-4
    assert (found.status == 0) == (found.error <= found.tolerance)


def test_a_recall_that_is_not_finite_does_not_hold(monkeypatch):
    network, course = gated(7)
    found = iter([1e-15, np.nan])
    monkeypatch.setattr(fisher, "difference", lambda one, other: next(found))
    status = rc.identities.local_fisher_memory(network, course, ages=3).status
    assert rc.identities.STATUS[status] == "non_finite"


def test_what_does_not_fit_is_refused():
    w, b, _ = draw(5)
    with pytest.raises(InputError, match="spectral radius"):
        rc.identities.fisher_memory(10 * w, b)
    with pytest.raises(InputError, match="positive semi-definite"):
        rc.identities.fisher_memory(w, b, noise=-np.eye(5))
    with pytest.raises(InputError, match="symmetric"):
        rc.identities.fisher_memory(w, b, noise=np.triu(np.ones((5, 5))))
    flow = rc.cast(rc.systems.leaky_rate(4, inputs=1, outputs=1, key=rc.key(0), dt=None), float)
    with pytest.raises(InputError, match="Wrap it as Euler"):
        rc.identities.local_fisher_memory(flow, np.zeros((3, 1)), ages=2)
