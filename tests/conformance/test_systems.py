"""One suite over every system and every input manifold; a new kind without a case here fails it."""

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import recurvature as rc
from recurvature.systems import (
    CONSTRUCTORS,
    AbstractDomain,
    AbstractFlow,
    AbstractInputManifold,
    AbstractMap,
    AbstractReadout,
    AbstractSystem,
    ActivatedReadout,
    ConstantInputs,
    Euler,
    FilteredLatentFlow,
    FunctionFlow,
    FunctionInputs,
    FunctionMap,
    LatentFlow,
    LinearReadout,
    MultiSynapse,
    MultiSynapseLatentFlow,
    Network,
    PastInputs,
    PulsedInputs,
    Stack,
    box,
    circle,
    interval,
    sphere,
    torus,
)
from recurvature.systems.stack import AbstractCell

SIZES: dict[str, Any] = {"inputs": 2, "outputs": 1}


def function_network(form: type, seed: int) -> Network:
    weights = jnp.asarray(np.random.default_rng(seed).normal(size=(3, 3)))
    system = form(eqx.Partial(_pull, weights), 3, 2)
    return Network(system, LinearReadout(jnp.ones((1, 3))), jnp.full(3, 0.1))


def _pull(weights: Array, x: Array, u: Array) -> Array:
    return jnp.tanh(weights @ x) - x + u.sum()


def made(name: str, size: int = 5, **options: Any) -> Callable[[], Network]:
    return lambda: CONSTRUCTORS[name](size, **SIZES, key=rc.key(1), **options)


def latent_network(form: type) -> Network:
    name = "leaky-rate" if form is LatentFlow else "leaky-current"
    network = made(name, rank=2, dt=None)()
    flow: Any = network.system
    if form is LatentFlow:
        return Network(LatentFlow(flow), LinearReadout(jnp.ones((1, 2))), jnp.full(2, 0.1))
    rest = jnp.asarray(np.random.default_rng(2).normal(size=5), network.x0.dtype)
    return Network(FilteredLatentFlow(flow, rest), network.readout, jnp.full(5, 0.3))


def multi_synapse_latent() -> Network:
    flow = made("multi-synapse", rank=2, dt=None)().system
    assert isinstance(flow, MultiSynapse)
    return Network(MultiSynapseLatentFlow(flow), LinearReadout(jnp.ones((1, 4))), jnp.full(4, 0.1))


NETWORKS: dict[str, Callable[[], Network]] = {
    **{name: made(name) for name in CONSTRUCTORS},
    "leaky-current, low rank, relu": made("leaky-current", rank=2, phi="relu"),
    "leaky-rate, flow": made("leaky-rate", dt=None),
    "lstm, two layers": made("lstm", 3, layers=2),
    "linear, activated readout": lambda: activated(8),
    "function map": lambda: function_network(FunctionMap, 6),
    "function flow": lambda: function_network(FunctionFlow, 7),
    "multi-synapse, sum": made("multi-synapse", combine="sum", phis=("tanh", "relu", "identity")),
    "multi-synapse latent flow": lambda: multi_synapse_latent(),
    "latent flow": lambda: latent_network(LatentFlow),
    "filtered latent flow": lambda: latent_network(FilteredLatentFlow),
}


@pytest.fixture(params=NETWORKS, scope="module")
def network(request: pytest.FixtureRequest) -> Network:
    return network_called(request.param)


@functools.cache
def network_called(name: str) -> Network:
    return NETWORKS[name]()


def activated(seed: int) -> Network:
    network = made("linear", 4)()
    weight = jnp.asarray(np.random.default_rng(seed).normal(size=(1, 4)))
    return Network(network.system, ActivatedReadout(weight, jnp.ones(1), "softplus"), network.x0)


DOMAINS = [
    interval("a"),
    box(a=(-1.0, 1.0), b=(0.0, 2.0)),
    circle(),
    torus("a", "b"),
    sphere(),
    circle() * interval("a") * sphere("c", "d"),
]


def pulses(theta: Array) -> Array:
    return jnp.stack([theta, theta**2])


def wave(time: Array, theta: Array) -> Array:
    return jnp.sin(time) * theta + jnp.where(time < 2, theta, jnp.zeros_like(theta))


MANIFOLDS = [
    *(ConstantInputs(domain) for domain in DOMAINS),
    ConstantInputs(circle() * interval("a"), jnp.exp),
    PulsedInputs(circle() * interval("a"), pulses, ((0.25, 1.5), (1.0, 2.0))),
    FunctionInputs(torus("a", "b"), wave, (2.0,)),
    # the first two steps are alike: no jump between them; the third takes the coordinates of age 1
    PastInputs(jnp.array([[1.0, 2.0], [1.0, 2.0], [0.5, -1.0], [-0.5, 1.0]]), ages=2, dt=0.7),
]

manifolds = pytest.mark.parametrize(
    "manifold", MANIFOLDS, ids=lambda m: f"{type(m).__name__} {type(m.domain).__name__}"
)
domains = pytest.mark.parametrize("domain", DOMAINS, ids=lambda d: type(d).__name__)


def advance(network: Network, x: Array, u: Array) -> Array:
    """Step or velocity, whichever the system has, and what the readout makes of it."""
    system = network.system
    if isinstance(system, AbstractMap):
        change = system.step(x, u)
    else:
        assert isinstance(system, AbstractFlow)
        change = system.velocity(x, u)
    return jnp.concatenate([change, network.outputs(x)])


compiled = eqx.filter_jit(advance)


def point(network: Network, *rows: int) -> tuple[Array, Array]:
    generator, sizes = np.random.default_rng(0), (network.system.state_size, network.system.input_size)
    x, u = (jnp.asarray(generator.normal(size=(*rows, size)), network.x0.dtype) for size in sizes)
    return x, u


def kinds(base: type) -> set[str]:
    """Names of the final classes under `base` in this room."""
    below: set[str] = set().union(*map(kinds, base.__subclasses__()))
    here = base.__module__.startswith("recurvature.systems") and not inspect.isabstract(base)
    return below | ({base.__name__} if here else set())


# ---- systems


def test_every_kind_of_system_and_manifold_has_a_case():
    systems = [network_called(name).system for name in NETWORKS]
    inner = [s.flow for s in systems if isinstance(s, Euler)]
    cells = [cell for s in systems if isinstance(s, Stack) for cell in s.layers]
    # what another library steps is neither cast nor saved: tests/systems/test_host.py has its conformance
    assert kinds(AbstractSystem) - {"HostMap"} == {type(s).__name__ for s in (*systems, *inner)}
    assert kinds(AbstractCell) == {type(c).__name__ for c in cells}
    assert kinds(AbstractReadout) == {type(network_called(name).readout).__name__ for name in NETWORKS}
    assert kinds(AbstractInputManifold) == {type(m).__name__ for m in MANIFOLDS}
    assert kinds(AbstractDomain) == {type(d).__name__ for d in DOMAINS}


def test_jit_equals_eager_and_vmap_equals_a_loop(network):
    xs, us = point(network, 3)
    eager = np.stack([advance(network, x, u) for x, u in zip(xs, us, strict=True)])
    jitted = np.stack([compiled(network, x, u) for x, u in zip(xs, us, strict=True)])
    batched = eqx.filter_vmap(compiled, in_axes=(None, 0, 0))(network, xs, us)
    # the same sums of at most ten products, fused or ordered differently
    np.testing.assert_allclose(jitted, eager, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(batched, eager, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_system_keeps_the_number_type(network, dtype):
    network = eqx.filter_eval_shape(lambda net: rc.cast(net, dtype), network)
    out = eqx.filter_eval_shape(advance, network, *point(network))
    assert (out.shape, out.dtype) == ((network.system.state_size + 1,), dtype)


def test_system_survives_the_round_trip_through_its_leaves(network):
    leaves, structure = jax.tree.flatten(network)
    again = jax.tree.unflatten(structure, [leaf.copy() if eqx.is_array(leaf) else leaf for leaf in leaves])
    assert eqx.tree_equal(jax.device_get(network), jax.device_get(again))
    # the same program on the same numbers
    np.testing.assert_array_equal(compiled(network, *point(network)), compiled(again, *point(again)))


def test_every_weight_matters_and_has_a_finite_gradient(network):
    gradients = eqx.filter_jit(eqx.filter_grad(_answer))(network)
    arrays = [leaf for leaf in jax.tree.leaves(gradients) if eqx.is_array(leaf)]
    assert len(arrays) == len([leaf for leaf in jax.tree.leaves(network) if eqx.is_inexact_array(leaf)])
    for gradient in map(np.asarray, arrays):
        assert np.isfinite(gradient).all()
        assert np.any(gradient != 0)


def _answer(network: Network) -> Array:
    """A number that depends on two steps from the initial state, as training would."""
    system, u = network.system, jnp.array([0.3, -0.7])
    x = network.x0
    for _ in range(3):
        x = system.step(x, u) if isinstance(system, AbstractMap) else x + 0.1 * advance(network, x, u)[:-1]
    return network.outputs(x).sum() + (x**2).sum()


class Count:
    """How often something happened; one object is equal to itself alone, as a static field must be."""

    def __init__(self) -> None:
        self.total = 0


class Counted(AbstractMap):
    """A map that counts how often it is traced."""

    inner: AbstractMap
    count: Count = eqx.field(static=True)

    @property
    def state_size(self) -> int:
        return self.inner.state_size

    @property
    def input_size(self) -> int:
        return self.inner.input_size

    @property
    def dt(self) -> float:
        return self.inner.dt

    def rates(self, x: Array) -> Array:
        return self.inner.rates(x)

    def step(self, x: Array, u: Array) -> Array:
        self.count.total += 1
        return self.inner.step(x, u)


def test_simulation_traces_the_step_once(network):
    if isinstance(network.system, AbstractFlow):
        network = eqx.tree_at(lambda n: n.system, network, Euler(network.system, 0.1))
    count = Count()
    for k in range(4):
        other = jax.tree.map(
            lambda leaf, k=k: jnp.asarray(np.asarray(leaf) + 0.1 * k) if eqx.is_array(leaf) else leaf, network
        )
        counted = Network(Counted(other.system, count), other.readout, other.x0)
        rc.systems.simulate(counted, jnp.asarray(np.full((2, 4, 2), 0.1 * k)))
    assert count.total == 1


# ---- input manifolds


@manifolds
def test_inputs_by_jit_and_vmap_equal_a_loop(manifold):
    theta = jnp.asarray(manifold.grid(2))
    for time in (0.0, 1.25, 3.0):
        each = np.stack([manifold.inputs(jnp.array(time), row) for row in theta])
        batched = jax.jit(jax.vmap(lambda row, t: manifold.inputs(t, row), in_axes=(0, None)))(theta, jnp.array(time))
        # one or two elementary functions, fused or not
        np.testing.assert_allclose(batched, each, rtol=1e-14, atol=1e-15)


@manifolds
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inputs_keep_the_number_type(manifold, dtype):
    theta = jnp.asarray(manifold.grid(1)[0], dtype)
    assert manifold.inputs(jnp.ones((), dtype), theta).dtype == dtype


@manifolds
def test_inputs_are_continuous_from_the_right_and_jump_only_where_declared(manifold):
    theta = jnp.full(manifold.dimension, 0.6)
    for time in sorted({0.5, 1.2, *manifold.jump_times}):
        before, at, after = (
            np.asarray(manifold.inputs_at(theta, t))
            for t in (math.nextafter(time, -math.inf), time, math.nextafter(time, math.inf))
        )
        # a step of one rounding moves a smooth function by roundings
        np.testing.assert_allclose(after, at, atol=1e-15)
        assert (np.abs(at - before).max() > 0.1) == (time in manifold.jump_times)


@manifolds
def test_manifold_survives_the_round_trip_through_its_leaves(manifold):
    leaves, structure = jax.tree.flatten(manifold)
    again = jax.tree.unflatten(structure, leaves)
    assert (again.coordinates, again.jump_times) == (manifold.coordinates, manifold.jump_times)
    np.testing.assert_array_equal(again.inputs_at(0.6, 0.5), manifold.inputs_at(0.6, 0.5))


@domains
def test_embeddings_have_full_rank_inside_the_chart(domain):
    middle = jnp.array([0.3 * c.low + 0.7 * c.high for c in domain.coordinates])
    jacobian = jax.jacfwd(domain.embed)(middle)
    singular = np.linalg.svd(jacobian, compute_uv=False)
    assert singular.shape == (domain.dimension,)
    # of a product of intervals, circles and spheres: 1, or the sine of a polar angle of 0.7 π, which is 0.81
    assert singular.min() > 0.8


# ---- words


@pytest.mark.parametrize("name", sorted(n for n in dir(rc.systems) if not n.startswith("_")))
def test_public_names_say_what_they_are(name):
    thing = getattr(rc.systems, name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return
    own = thing.__doc__
    assert own, f"{name} has no docstring"
    assert own.strip()[0].isupper() or own.strip()[0] in "`$("
    if inspect.isclass(thing):
        fields = [f.name for f in dataclasses.fields(thing)] if dataclasses.is_dataclass(thing) else []
        public = [m for m, f in vars(thing).items() if inspect.isfunction(f) and not m.startswith("_")]
        assert all(inspect.getdoc(getattr(thing, m)) for m in public if m not in fields)
