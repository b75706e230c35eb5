from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import FunctionFlow, LinearReadout, Network, PastInputs
from recurvature.systems.simulate import rollout

MAPS = {
    "gated": lambda key: rc.systems.gru(5, inputs=2, outputs=1, key=key),
    "low rank": lambda key: rc.systems.leaky_current(7, inputs=2, outputs=1, key=key, rank=2, gain=3.0),
}


def random_network(kind: str, seed: int) -> tuple[Any, np.ndarray]:
    network = rc.cast(MAPS[kind](rc.stream(rc.key(seed), kind)), float)
    return network, np.random.default_rng(seed).normal(size=(6, 2))


@pytest.mark.property
@pytest.mark.parametrize("kind", ["gated", pytest.param("low rank", marks=pytest.mark.slow)])
@settings(max_examples=4)
@given(seed=st.integers(0, 2**31))
def test_memories_have_the_metric_of_past_inputs_as_gram_matrix(kind, seed):
    network, inputs = random_network(kind, seed)
    found = rc.identities.past_inputs(network, inputs, ages=3)
    assert found.status == rc.identities.STATUS.index("holds")
    # 7 units, 6 steps: sums of some dozen products, each rounded to 2e-16
    assert found.error <= 1e-12
    assert np.abs(found.gram).max() > 1e-3


@pytest.mark.parametrize("kind", ["gated", pytest.param("low rank", marks=pytest.mark.slow)])
def test_both_sides_are_those_of_reverse_differentiation(kind):
    network, inputs = random_network(kind, 1)
    found = rc.identities.past_inputs(network, inputs, ages=3)
    end = lambda u: rollout(network.system, network.x0, u)[-1]  # noqa: E731
    jacobian = np.asarray(jax.jit(jax.jacrev(end))(jnp.asarray(inputs)))
    columns = jacobian[:, ::-1][:, :3].reshape(len(jacobian), -1)
    # rounding of some dozen products
    np.testing.assert_allclose(found.gram, columns.T @ columns, rtol=0, atol=1e-12 * np.abs(found.gram).max())


def test_it_is_taken_on_the_trajectory_and_not_at_rest():
    network, inputs = random_network("gated", 2)
    driven, quiet = (rc.identities.past_inputs(network, scale * inputs, ages=3) for scale in (1.0, 0.0))
    assert np.abs(driven.gram - quiet.gram).max() > 1e-2 * np.abs(quiet.gram).max()


@pytest.mark.slow
def test_of_a_linear_flow_it_is_a_product_of_matrix_exponentials():
    rng = np.random.default_rng(3)
    a, b, dt = rng.normal(size=(4, 4)) - 2 * np.eye(4), rng.normal(size=(4, 1)), 0.3
    weights, drive = jnp.asarray(a), jnp.asarray(b)
    flow = FunctionFlow(lambda x, u: weights @ x + drive @ u, 4, 1)
    network = Network(flow, LinearReadout(jnp.ones((1, 4))), jnp.zeros(4))
    found = rc.identities.past_inputs(network, rng.normal(size=(4, 1)), ages=3, dt=dt)
    held = np.linalg.solve(a, scipy.linalg.expm(dt * a) - np.eye(4)) @ b
    columns = np.concatenate([scipy.linalg.expm(s * dt * a) @ held for s in range(3)], axis=1)
    assert found.status == 0
    # a hundred times the solver's relative tolerance of a step
    for side in (found.gram, found.metric):
        np.testing.assert_allclose(side, columns.T @ columns, rtol=0, atol=1e-6 * np.abs(columns.T @ columns).max())


@pytest.mark.slow
def test_of_a_nonlinear_flow_it_is_what_differences_of_another_solver_give():
    network = rc.cast(rc.systems.leaky_current(5, inputs=2, outputs=1, key=rc.key(4), rank=2, dt=None, gain=3.0), float)
    course, dt = np.random.default_rng(4).normal(size=(5, 2)), 0.7
    flow: Any = network.system
    found = rc.identities.past_inputs(network, course, ages=3, dt=dt)
    velocity = jax.jit(lambda x, u: flow.velocity(x, u))

    def end(inputs: np.ndarray) -> np.ndarray:
        x = np.asarray(network.x0)
        for u in inputs:
            x = scipy.integrate.solve_ivp(lambda _, x, u=u: velocity(x, u), (0, dt), x, rtol=1e-11, atol=1e-13).y[:, -1]
        return x

    columns = []
    for age, feature in [(s, j) for s in range(3) for j in range(2)]:
        step = np.zeros((5, 2))
        step[4 - age, feature] = 1e-4
        columns.append((end(course + step) - end(course - step)) / 2e-4)
    wanted = np.array(columns) @ np.array(columns).T
    assert found.status == 0
    # a hundred times the relative tolerance of a step; the square of the spacing is far below
    for side in (found.gram, found.metric):
        np.testing.assert_allclose(side, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


def test_past_inputs_are_added_to_the_course_at_their_age():
    course = np.arange(10.0).reshape(5, 2)
    manifold = PastInputs(jnp.asarray(course), 2, 0.1)
    theta = jnp.asarray([[0.1, 0.2, 0.3, 0.4]])
    read = rc.systems.sample_inputs(manifold, theta, dt=0.1, steps=6)[0]
    wanted = np.concatenate([course, np.zeros((1, 2))])
    wanted[4] += [0.1, 0.2]
    wanted[3] += [0.3, 0.4]
    np.testing.assert_array_equal(read, wanted)
    assert [c.name for c in manifold.coordinates] == ["age_0_1", "age_0_2", "age_1_1", "age_1_2"]
    assert manifold.duration == pytest.approx(0.5)


def test_what_does_not_fit_is_refused():
    network, inputs = random_network("low rank", 0)
    with pytest.raises(InputError, match="`ages` must be at most the number of steps, 6"):
        rc.identities.past_inputs(network, inputs, ages=7)
    with pytest.raises(InputError, match="`inputs` must have shape"):
        rc.identities.past_inputs(network, inputs[:, :1], ages=2)
    with pytest.raises(InputError, match="`ages` must be at most the steps of `history`, 3"):
        PastInputs(jnp.zeros((3, 1)), 4)
    flow = Network(network.system.flow, network.readout, network.x0)
    with pytest.raises(InputError, match="pass `dt`"):
        rc.identities.past_inputs(flow, inputs, ages=2)
    with pytest.raises(ValueError, match="float64"):
        rc.identities.past_inputs(rc.cast(network, jnp.float32), inputs, ages=2)
