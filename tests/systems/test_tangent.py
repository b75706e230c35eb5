"""The tangent engine against every other derivative: adjoint by hand, forward and reverse mode, differences."""

import functools
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from jaxtyping import Array
from tests.lenses.warping.conftest import two_pulses

import recurvature as rc
from recurvature.lenses.warping.triangular import unpack
from recurvature.systems import (
    AbstractInputManifold,
    AbstractMap,
    Dense,
    Euler,
    FunctionFlow,
    FunctionInputs,
    FunctionMap,
    LinearMap,
    Network,
    PulsedInputs,
    box,
    torus,
)
from recurvature.systems.simulate import rollout, step_times
from recurvature.systems.tangent import (
    Frame,
    gram,
    gram_factor,
    lift,
    n_rows,
    pairs,
    propagate,
    propagate_flow,
    start_rows,
)


def smooth(time: Array, theta: Array) -> Array:
    """Curved in time and in both coordinates."""
    a, b = theta
    return jnp.stack([jnp.sin(a + time), jnp.cos(a * b), a * a * b, jnp.tanh(b) * time])


PULSES = PulsedInputs(torus("a", "b"), two_pulses, ((0.0, 0.5), (1.0, 1.5)))
SMOOTH = FunctionInputs(box(a=(-1.0, 1.0), b=(-1.0, 1.0)), smooth, ())
factors = jax.jit(gram_factor)


def normal(seed: int, *shape: int) -> Array:
    """Normal numbers; drawn by NumPy, which compiles nothing."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


POINTS = jnp.asarray([[0.3, 1.1], [2.0, -0.7], [-1.2, 0.4]])
STEPS, DT = 12, 0.1


@eqx.filter_jit
def states(network: Network, manifold: AbstractInputManifold, theta: Array, steps: int = STEPS) -> Array:
    """The trajectory of one point, (time, n): the plain program that derivatives are taken of."""
    system = network.system
    assert isinstance(system, AbstractMap)
    times = jnp.asarray(step_times(manifold, system.dt, steps), theta.dtype)
    return rollout(system, network.x0, jax.vmap(lambda t: manifold.inputs(t, theta))(times))


@eqx.filter_jit
def rows(network: Network, manifold: AbstractInputManifold, theta: Array, order: int = 1, steps: int = STEPS) -> Array:
    """All rows at all times, (time, c, b, n)."""
    system = network.system
    assert isinstance(system, AbstractMap)
    times = jnp.asarray(step_times(manifold, system.dt, steps + 1), theta.dtype)
    start = start_rows(network.x0, theta, order)
    return propagate(system, manifold, theta, start, times, lambda frame: frame.rows, order=order)


def own_map(key: Array) -> Network:
    """A network whose step a user wrote."""
    weight = jr.normal(key, (5, 9)) / 3

    def step(x: Array, u: Array) -> Array:
        return jnp.sin(weight @ jnp.concatenate([x, u]))

    return Network(FunctionMap(step, 5, 4, 0.1), rc.systems.LinearReadout(jnp.ones((1, 5))), jnp.zeros(5))


NETWORKS: dict[str, Callable[[Array], Network]] = {
    "current": lambda k: rc.systems.leaky_current(12, inputs=4, outputs=2, key=k, dt=DT),
    "current low rank": lambda k: rc.systems.leaky_current(12, inputs=4, outputs=2, key=k, dt=DT, rank=2, gain=3.0),
    "rate": lambda k: rc.systems.leaky_rate(12, inputs=4, outputs=2, key=k, dt=DT, phi="softplus"),
    "rate low rank": lambda k: rc.systems.leaky_rate(12, inputs=4, outputs=2, key=k, dt=DT, rank=3, phi="gelu"),
    "vanilla": lambda k: rc.systems.vanilla(6, inputs=4, outputs=1, key=k, layers=2, dt=DT),
    "gru": lambda k: rc.systems.gru(6, inputs=4, outputs=1, key=k, layers=2, dt=DT),
    "lstm": lambda k: rc.systems.lstm(5, inputs=4, outputs=1, key=k, dt=DT),
    "linear": lambda k: rc.systems.linear(7, inputs=4, outputs=1, key=k, dt=DT),
    "diagonal": lambda k: rc.systems.diagonal(5, inputs=4, outputs=1, key=k, dt=DT),
    "user's map": own_map,
}


@pytest.mark.parametrize(
    ("name", "manifold"),
    [(name, SMOOTH) for name in NETWORKS] + [("current", PULSES)],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_rows_are_the_derivatives_of_the_rollout(name: str, manifold: AbstractInputManifold) -> None:
    network = NETWORKS[name](rc.key(1))

    @jax.jit
    def derivatives(theta: Array) -> Array:
        trajectory = functools.partial(states, network, manifold)
        value = jax.vmap(trajectory, out_axes=1)(theta)
        first = jax.vmap(jax.jacfwd(trajectory), out_axes=1)(theta)
        second = jax.vmap(jax.jacfwd(jax.jacfwd(trajectory)), out_axes=1)(theta)
        expected = [value, *(first[..., i] for i in range(2)), *(second[..., i, j] for i, j in pairs(2))]
        return jnp.stack(expected, 1)

    got = rows(network, manifold, POINTS, order=2)
    # same sums in another order over 12 steps of a contracting map: 1e3 roundings of numbers of order 1 to 10
    np.testing.assert_allclose(got, derivatives(POINTS), rtol=0, atol=1e-12)


@eqx.filter_jit
def read(manifold: AbstractInputManifold, theta: Array, times: Array) -> tuple[Array, Array]:
    """The inputs at `times`, and how they move with the point."""
    at = jax.vmap(lambda t: manifold.inputs(t, theta))(times)
    return at, jax.vmap(lambda t: jax.jacfwd(lambda p: manifold.inputs(t, p))(theta))(times)


def adjoint_jacobian(network: Network, manifold: AbstractInputManifold, theta: Array, steps: int) -> np.ndarray:
    r"""The same derivative by the adjoint equation, coded by hand for the leaky current network (theory §1.2)."""
    flow = network.system.flow  # type: ignore[attr-defined]
    weight, gain, x = np.asarray(flow.connectivity.dense()), np.asarray(flow.input_weights), np.asarray(network.x0)
    times = jnp.asarray(step_times(manifold, DT, steps))
    inputs, moved = (np.asarray(part) for part in read(manifold, theta, times))
    slopes = []
    for u in inputs:
        slopes.append(1 - np.tanh(x) ** 2)
        x = x + DT * (-x + weight @ np.tanh(x) + gain @ u)
    covector, jacobian = np.eye(len(x)), np.zeros((len(x), len(theta)))
    for du, slope in zip(moved[::-1], slopes[::-1], strict=True):
        jacobian += DT * covector @ gain @ du
        covector = (1 - DT) * covector + DT * (covector @ weight) * slope
    return jacobian


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-14), (jnp.float32, 1e-5)])
def test_variational_adjoint_forward_and_reverse_mode_agree(dtype: type, tolerance: float) -> None:
    # theory §5(a): N = 100, 100 Euler steps of 0.1, two pulses on a torus. Measured there: 3e-16 (float64) and 4e-7
    # (float32), relative to the largest entry; the tolerances leave a factor of 25 for another order of summation.
    network = rc.cast(rc.systems.leaky_current(100, inputs=4, outputs=1, key=rc.key(0), dt=DT, gain=1.2), dtype)
    theta = jnp.asarray([0.7, 2.1])
    point = theta.astype(dtype)

    def final(p: Array) -> Array:
        return states(network, PULSES, p, 100)[-1]

    routes = {
        "variational": np.asarray(rows(network, PULSES, point[None], steps=100))[-1, 1:, 0].T,
        "jacfwd": jax.jit(jax.jacfwd(final))(point),
        "jacrev": jax.jit(jax.jacrev(final))(point),
    }
    reference = adjoint_jacobian(rc.cast(network, jnp.float64), PULSES, theta, 100)
    for name, jacobian in routes.items():
        assert jacobian.dtype == dtype
        error = np.abs(np.asarray(jacobian, np.float64) - reference).max() / np.abs(reference).max()
        assert error < tolerance, f"{name}: {error}"


def test_central_differences_approach_the_tangent_with_order_two() -> None:
    network = NETWORKS["current"](rc.key(2))
    exact = np.asarray(rows(network, SMOOTH, POINTS))[-1, 1, 0]

    def difference(step: float) -> np.ndarray:
        shift = np.asarray([step, 0.0])
        plus, minus = (np.asarray(states(network, SMOOTH, POINTS[0] + s * shift))[-1] for s in (1.0, -1.0))
        return (plus - minus) / (2 * step)

    errors = [np.abs(difference(h) - exact).max() for h in (4e-2, 2e-2)]
    # order 2 up to the next term, h² = 2e-3 of it
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.02)


@pytest.mark.slow  # tangents of flows have their closed form, those of maps central differences
def test_euler_tangents_approach_the_flow_with_order_one() -> None:
    flow = rc.systems.leaky_current(20, inputs=4, outputs=1, key=rc.key(3), dt=None)
    theta, end = POINTS[:2], 2.0

    def emit(frame: Frame) -> Array:
        return frame.rows

    @jax.jit
    def solve(start: Array) -> tuple[Array, Array]:
        return propagate_flow(flow.system, PULSES, theta, start, jnp.asarray([1.0, end]), emit)  # type: ignore[arg-type]

    exact, solved = solve(start_rows(flow.x0, theta, 1))
    assert bool(solved)
    errors = []
    for dt in (0.05, 0.025, 0.0125):
        network = Network(Euler(flow.system, dt), flow.readout, flow.x0)  # type: ignore[arg-type]
        reached = np.asarray(rows(network, PULSES, theta, steps=round(end / dt)))[-1]
        errors.append(np.abs(reached - np.asarray(exact)[-1]).max())
    orders = np.log2(np.asarray(errors[:-1]) / np.asarray(errors[1:]))
    # order 1 up to the next term, of relative size dt
    np.testing.assert_allclose(orders, 1.0, atol=0.1)


def test_flow_tangents_of_a_pulsed_integrator_are_the_closed_form() -> None:
    # x' = -x + u with u = θ on [0, 0.5): ∂x/∂θ = 1 - e^-t, then decay. A solver unaware of the jump misses it.
    flow = FunctionFlow(lambda x, u: -x + u, 1, 1)
    manifold = PulsedInputs(box(a=(0.0, 1.0)), lambda theta: theta[None], ((0.0, 0.5),))
    theta, times = jnp.asarray([[0.4]]), jnp.asarray([0.25, 0.5, 1.0, 3.0])

    @jax.jit
    def solve(start: Array) -> Array:
        return propagate_flow(flow, manifold, theta, start, times, lambda frame: frame.rows[1, 0, 0])[0]

    tangent = solve(start_rows(jnp.zeros(1), theta, 1))
    expected = np.where(times <= 0.5, 1 - np.exp(-times), (np.exp(0.5) - 1) * np.exp(-times))
    # ten times the relative tolerance of the solver, 1e-8
    np.testing.assert_allclose(tangent, expected, rtol=1e-7)


def test_a_state_that_starts_on_the_manifold_brings_its_tangents() -> None:
    network = NETWORKS["current"](rc.key(5))
    embed = normal(6, 12, 2)

    def start(theta: Array) -> Array:
        return jnp.sin(embed @ theta)

    theta = POINTS[:1]
    got, expected = jax.jit(lambda: (start_rows(start, theta, 2), jax.jacfwd(start)(theta[0])))()
    assert got.shape == (n_rows(2, 2), 1, 12)
    # one multiplication and one sine each: rounding
    np.testing.assert_allclose(np.asarray(got)[1:3, 0].T, expected, rtol=1e-14)
    assert network.x0.shape == got.shape[2:]


def test_a_map_that_forgets_keeps_the_digits_of_what_is_left() -> None:
    # x' = 1e-12 x + u with a pulse at the first step only: the tangent falls by twelve digits a step
    weak = LinearMap(Dense(1e-12 * jnp.eye(1)), jnp.eye(1), dt=0.1)
    pulse = PulsedInputs(box(a=(0.0, 1.0)), lambda theta: theta[None], ((0.0, 0.1),))
    theta = jnp.ones((1, 1))
    times = jnp.asarray(step_times(pulse, 0.1, 4))
    start = start_rows(jnp.zeros(1), theta, 1)
    got = jax.jit(lambda: propagate(weak, pulse, theta, start, times, lambda frame: frame.rows[1, 0, 0]))()
    # one product a step
    np.testing.assert_allclose(got, [1.0, 1e-12, 1e-24], rtol=1e-14)


def test_gram_factor_keeps_the_digits_that_the_gram_matrix_loses() -> None:
    # singular values 1, 1e-6, 1e-12 by construction; the Gram matrix holds the last one as 1e-24 next to 1
    q, _ = np.linalg.qr(normal(7, 40, 3))
    p, _ = np.linalg.qr(normal(8, 3, 3))
    vectors = q @ np.diag([1.0, 1e-6, 1e-12]) @ p.T
    factor = unpack(np.asarray(factors(jnp.asarray(vectors.T[:, None]))), 3)[0]
    values = np.linalg.svd(factor, compute_uv=False)
    # backward stability: an absolute error of some eps in each singular value
    np.testing.assert_allclose(values, [1.0, 1e-6, 1e-12], rtol=0, atol=1e-15)
    squared = np.sqrt(np.abs(np.linalg.eigvalsh(factor.T @ factor)))
    assert abs(squared[0] - 1e-12) > 1e-10


def test_gram_factor_is_the_factor_of_the_gram_matrix() -> None:
    vectors = normal(9, 3, 5, 30)
    factor = unpack(np.asarray(factors(vectors)), 3)
    expected = unpack(np.asarray(jax.jit(gram)(vectors)), 3)
    # sums of 30 products
    np.testing.assert_allclose(np.triu(np.swapaxes(factor, -1, -2) @ factor), expected, rtol=0, atol=1e-12)


def test_gram_factor_of_a_zero_vector_is_zero_and_differentiable() -> None:
    vectors = normal(10, 2, 1, 6) * jnp.asarray([0.0, 1.0])[:, None, None]
    factor = unpack(np.asarray(factors(vectors)), 2)[0]
    assert factor[0, 0] == factor[0, 1] == 0
    # one root of a sum of six squares
    np.testing.assert_allclose(factor[1, 1], np.linalg.norm(np.asarray(vectors)[1, 0]), rtol=1e-14)
    assert np.isfinite(jax.jit(jax.grad(lambda v: gram_factor(v).sum()))(vectors)).all()


def test_lift_is_the_chain_rule() -> None:
    first, second = normal(11, 6, 4, 3), normal(12, 6, 4, 2)

    def function(x: Array, u: Array) -> Array:
        return jnp.sin(x[0]) * u + x[1] * x[2] * u**2

    got = jax.jit(lambda: lift(function, 2, 2, first, second))()

    def curve(eps: Array, along: Array, other: Array) -> Array:
        def quadratic(r: Array) -> Array:
            a, b = eps
            return r[0] + a * r[1] + b * r[2] + 0.5 * a * a * r[3] + a * b * r[4] + 0.5 * b * b * r[5]

        return function(quadratic(along), quadratic(other))

    @jax.jit
    def derivatives(*point: Array) -> Array:
        zero, at = jnp.zeros(2), functools.partial(curve, along=point[0], other=point[1])
        hessian = jax.jacfwd(jax.jacfwd(at))(zero)
        return jnp.stack([at(zero), *jax.jacfwd(at)(zero).T, *(hessian[:, i, j] for i, j in pairs(2))])

    for point in range(4):
        expected = derivatives(*(np.asarray(part)[:, point] for part in (first, second)))
        # a handful of products each
        np.testing.assert_allclose(np.asarray(got)[:, point], expected, rtol=0, atol=1e-13)
