"""Directions of products: a network of two units, bilinear and quadratic, whose answers are geometric series."""

import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.superposition.conftest import random_weights

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.superposition import product_directions, recall_network
from recurvature.systems import FunctionMap, LinearReadout, Network

KEEP, SLOW, AGES = 0.7, 0.4, 4


def known() -> np.ndarray:
    r"""$z_t=0.4z_{t-1}+x_{t-1}u_t+x_t^2$ with $x_t=0.7x_{t-1}+u_t$: second derivatives in inputs of two ages."""
    found = np.zeros((AGES, AGES))
    for s in range(AGES):
        for r in range(AGES):
            near, far = min(s, r), max(s, r)
            # what x held when the younger one came in, and squares of x at every step since
            met = SLOW**near * KEEP ** (far - near - 1) if near < far else 0
            found[s, r] = met + sum(2 * SLOW**j * KEEP ** (s + r - 2 * j) for j in range(near + 1))
    return found


def step(state, u):
    x, z = state
    new = KEEP * x + u[0]
    return jnp.stack([new, SLOW * z + x * u[0] + new**2])


def test_products_are_held_as_the_series_say_about_any_history():
    network = Network(FunctionMap(step, 2, 1), LinearReadout(jnp.array([[1.0, 2.0]])), jnp.zeros(2))
    histories = np.random.default_rng(0).normal(size=(3, AGES, 1))
    for around in (None, histories):
        found = product_directions(network, ages=AGES, around=around)
        # sums of a few products; the state is of second order in its inputs, so that nothing depends on a history
        np.testing.assert_allclose(found.direction[:, 0, :, 0, 1], known(), rtol=1e-12)
        np.testing.assert_allclose(found.direction[:, 0, :, 0, 0], 0, atol=1e-15)
        np.testing.assert_allclose(found.projection[:, 0, :, 0, 0], 2 * known(), rtol=1e-12)
        np.testing.assert_allclose(found.spread, 0, atol=1e-14)


def test_they_are_second_differences_of_the_rollout():
    network, ages, size = recall_network(random_weights(3, 3, 2), kind="tanh"), 3, 1e-4
    rest = np.random.default_rng(1).normal(size=6)
    found = product_directions(network, ages=ages, around=rest.reshape(1, ages, 2))
    # both signs of every past input, and of the second one of age 1
    signs = [(one, other) for one in (1, -1) for other in (1, -1)]
    moved = np.stack([rest + size * (one * np.eye(6) + other * np.eye(6)[3]) for one, other in signs])
    run = rc.systems.simulate(network, jnp.asarray(moved.reshape(24, ages, 2)[:, ::-1]))
    last = np.asarray(run.states)[:, -1].reshape(4, ages, 2, 3)
    second = np.einsum("q,qsdn->sdn", [one * other for one, other in signs], last) / (4 * size**2)
    # the square of the step, and rounding over it
    np.testing.assert_allclose(found.direction[:, :, 1, 1], second, atol=1e-6)
    assert np.abs(second).max() > 0.1


def test_histories_of_another_length_are_refused():
    with pytest.raises(InputError, match="`around` must have shape"):
        product_directions(recall_network(random_weights(3, 3, 2)), ages=3, around=np.zeros((1, 4, 2)))
