"""The state manifold at one time: against plain rollouts, nested differentiation, and differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.warping import Immersion, immersion, metric
from recurvature.systems import ConstantInputs, Network, PulsedInputs, box, torus
from recurvature.systems.tangent import function_rows

POINTS = jnp.asarray([[0.3, 1.1], [2.0, -0.7]])


@pytest.mark.parametrize("space", ["state", pytest.param("readout", marks=pytest.mark.slow)])
def test_values_and_derivatives_of_a_map(network: Network, manifold: PulsedInputs, space: str) -> None:
    at = immersion(network, manifold, time=1.7, space=space)  # type: ignore[arg-type]

    def plain(theta: Array) -> Array:
        inputs = rc.systems.sample_inputs(manifold, theta[None], dt=0.1, steps=17)
        run = rc.systems.simulate(network, inputs)
        last = run.states[0, -1]
        return last if space == "state" else run.outputs[0, -1]

    rows = at.rows(POINTS, 2)
    # 17 steps of sums of 30 products of order 1
    np.testing.assert_allclose(jax.vmap(at)(POINTS), jnp.stack([plain(p) for p in POINTS]), rtol=0, atol=1e-13)
    np.testing.assert_allclose(rows, function_rows(plain, POINTS, 2), rtol=0, atol=1e-12)
    np.testing.assert_allclose(jax.vmap(jax.jacfwd(at))(POINTS), jnp.moveaxis(rows[1:3], 0, -1), rtol=0, atol=1e-13)


def test_an_inner_product_becomes_euclidean(network: Network, manifold: PulsedInputs) -> None:
    root = np.random.default_rng(0).normal(size=(30, 30))
    given = metric(network, manifold, points=np.asarray(POINTS), duration=1.7, inner=root.T @ root)
    rows = immersion(network, manifold, time=1.7, inner=root.T @ root).rows(POINTS)
    # condition of a random 30 x 30 matrix times the rounding of the metric
    np.testing.assert_allclose(jnp.einsum("ibn,jbn->bij", rows[1:], rows[1:]), given.metric[-1], rtol=1e-10)
    scaled = immersion(network, manifold, time=1.7, inner="per_unit")(POINTS[0])
    plain = immersion(network, manifold, time=1.7)(POINTS[0])
    np.testing.assert_allclose(scaled, plain / np.sqrt(30), rtol=1e-14)


@pytest.mark.slow
def test_values_and_derivatives_of_a_flow() -> None:
    network = rc.systems.leaky_current(12, inputs=2, outputs=1, key=rc.key(1), dt=None)
    at = immersion(network, ConstantInputs(box(a=(-1.0, 1.0), b=(-1.0, 1.0)), lambda theta: theta), time=1.5)
    rows = at.rows(POINTS, 1)
    # both solves to a relative tolerance of 1e-8 a step, on different steps
    np.testing.assert_allclose(rows[0], jax.vmap(at)(POINTS), rtol=0, atol=1e-6)
    step = 1e-3 * jnp.asarray([[1.0, 0.0]])
    difference = (jax.vmap(at)(POINTS + step) - jax.vmap(at)(POINTS - step)) / 2e-3
    # truncation of second-order differences, 1e-6 times a third derivative of order 1, and 1e-8 / 1e-3 of the solver
    np.testing.assert_allclose(rows[1], difference, rtol=0, atol=3e-5)
    # each point alone takes steps of its own
    np.testing.assert_allclose(jax.vmap(jax.jacfwd(at))(POINTS)[..., 0], rows[1], rtol=0, atol=1e-6)


def test_a_closed_form_is_an_immersion() -> None:
    ring = Immersion(
        lambda t: jnp.stack([(2 + jnp.cos(t[1])) * jnp.cos(t[0]), (2 + jnp.cos(t[1])) * jnp.sin(t[0]), jnp.sin(t[1])]),
        torus("a", "b").coordinates,
    )
    rows = ring.rows(POINTS)
    assert ring.dimension == 2
    # closed form of the first fundamental form: (2 + cos b)², 1
    np.testing.assert_allclose(jnp.sum(rows[1] ** 2, -1), (2 + jnp.cos(POINTS[:, 1])) ** 2, rtol=1e-14)
    np.testing.assert_allclose(jnp.sum(rows[2] ** 2, -1), 1.0, rtol=1e-14)


def test_misuse_names_the_argument(network: Network, manifold: PulsedInputs) -> None:
    with pytest.raises(InputError, match="`time`"):
        immersion(network, manifold, time=0.0)


def test_inputs_wider_than_the_network_are_taken_in_its_number_type() -> None:
    def wide(theta: Array) -> Array:
        return jnp.concatenate([jnp.cos(theta).astype(float), jnp.zeros(1)])

    network = rc.cast(rc.systems.leaky_current(4, inputs=3, outputs=1, key=rc.key(0), dt=0.1), jnp.float32)
    manifold = ConstantInputs(torus("a", "b"), wide)
    assert metric(network, manifold, points=2, duration=0.2).metric.dtype == np.float32
    at = immersion(network, manifold, time=0.2)
    theta = POINTS.astype(jnp.float32)
    assert jax.vmap(at)(theta).dtype == jnp.float32
    # a few roundings of one number type
    np.testing.assert_allclose(jax.vmap(at)(theta), at.rows(theta)[0], rtol=1e-5)
