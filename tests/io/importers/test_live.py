"""Live modules of PyTorch: the numbers of the converted cells, and a refusal of what is no function of its state."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import FunctionInputs, LinearReadout, Network, circle

torch = pytest.importorskip("torch", reason="a live module is run by PyTorch, which is an optional extra")

UNITS, INPUTS, OUTPUTS = 6, 2, 2
STEPS = 5


class Pair(NamedTuple):
    """A live cell and its converted twin."""

    name: str
    live: Network
    converted: Network


def weights(module: Any, name: str) -> jnp.ndarray:
    return jnp.asarray(getattr(module, name).detach().double().numpy())


def converted(name: str, cell: Any, readout: Any) -> Network:
    kind = {"rnn": rc.systems.VanillaCell, "gru": rc.systems.GRUCell, "lstm": rc.systems.LSTMCell}[name]
    layer = kind(*(weights(cell, part) for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")))
    system = rc.systems.Stack((layer,))
    return Network(
        system, LinearReadout(weights(readout, "weight"), weights(readout, "bias")), jnp.zeros(system.state_size)
    )


@pytest.fixture(
    scope="module", params=["lstm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("rnn", "gru"))]
)
def pair(request: pytest.FixtureRequest) -> Pair:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        make = {"rnn": torch.nn.RNNCell, "gru": torch.nn.GRUCell, "lstm": torch.nn.LSTMCell}[request.param]
        cell, readout = make(INPUTS, UNITS), torch.nn.Linear(UNITS, OUTPUTS)
    live = rc.io.wrap_torch(cell, readout=readout)
    return Pair(request.param, live, converted(request.param, cell, readout))


def both(pair: Pair, of: Callable[[Network], Any]) -> None:
    """The two networks give the same numbers."""
    for one, other in zip(*(jax.tree.leaves(of(net)) for net in (pair.live, pair.converted)), strict=True):
        # two libraries sum a dozen products of numbers of order one in their own order: rounding, a few times over
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def at(network: Network) -> tuple[jnp.ndarray, jnp.ndarray]:
    n = network.system.state_size
    return jnp.linspace(-1.0, 1.0, n), jnp.linspace(0.5, -1.0, INPUTS)


def test_trajectories_and_outputs_are_those_of_the_converted_cell(pair: Pair) -> None:
    drive = jnp.asarray(np.random.default_rng(0).standard_normal((3, STEPS, INPUTS)))
    both(pair, lambda net: [(run := rc.systems.simulate(net, drive)).states, run.outputs])


@pytest.mark.parametrize(
    "derivative",
    [
        lambda f: f,
        lambda f: jax.jacfwd(f, (0, 1)),
        lambda f: jax.jacrev(f, (0, 1)),
        lambda f: jax.jacfwd(jax.jacrev(f), 1),
        lambda f: jax.jacrev(jax.jacfwd(f)),
        lambda f: lambda x, u: jax.jacfwd(jax.grad(lambda y: jnp.sum(f(f(y, u), u) ** 2)))(x),
    ],
    ids=["step", "forward", "reverse", "mixed", "reverse of forward", "Hessian of two steps"],
)
def test_derivatives_of_the_step_either_way_and_to_second_order(pair: Pair, derivative: Callable) -> None:
    both(pair, lambda net: jax.jit(derivative(lambda x, u: net.system.step(x, u)))(*at(net)))  # type: ignore[attr-defined]


def turning(t: jnp.ndarray, theta: jnp.ndarray) -> jnp.ndarray:
    return jnp.where(t < 2.0, 1.0, 0.0) * jnp.array([jnp.cos(theta[0]), jnp.sin(theta[0])])


CIRCLE = FunctionInputs(circle(), turning, jump_times=(2.0,))


def test_the_metric_of_a_ring_of_inputs(pair: Pair) -> None:
    both(pair, lambda net: rc.warping.metric(net, CIRCLE, points=4, duration=float(STEPS)).metric)


def test_directions_of_past_inputs(pair: Pair) -> None:
    both(pair, lambda net: rc.superposition.feature_directions(net, ages=4).direction)


@pytest.mark.slow
def test_fixed_points_and_their_spectra(pair: Pair) -> None:
    live, twin = (rc.dynamics.fixed_points(net, np.zeros(INPUTS), count=4, key=rc.key(0)) for net in pair[1:])
    assert live.states.shape == twin.states.shape
    assert len(live.states) >= 1
    # points are refined to rounding, and their eigenvalues are well conditioned at these sizes
    np.testing.assert_allclose(live.states, twin.states, rtol=0, atol=1e-10)
    np.testing.assert_allclose(np.sort_complex(live.eigenvalues), np.sort_complex(twin.eigenvalues), rtol=0, atol=1e-9)


def test_the_gradient_through_a_rollout(pair: Pair) -> None:
    drive = jnp.asarray(np.random.default_rng(1).standard_normal((STEPS, INPUTS)))

    def loss(system: Any, x0: jnp.ndarray, inputs: jnp.ndarray) -> jnp.ndarray:
        last, _ = jax.lax.scan(lambda x, u: (system.step(x, u), None), x0, inputs)
        return jnp.sum(last**2)

    both(pair, lambda net: jax.jit(jax.grad(lambda x, u: loss(net.system, x, u), (0, 1)))(at(net)[0], drive))


class Own(torch.nn.Module):
    """A cell that cannot be converted, called its own way, with dropout, which evaluation switches off."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.drop = torch.nn.Linear(5, 3), torch.nn.Dropout(0.5)

    def forward(self, inputs: dict[str, Any]) -> Any:
        mixed = self.drop(self.inner(torch.cat([inputs["h"], inputs["u"]], -1)))
        return inputs["h"] + 0.1 * torch.sin(mixed) * torch.nn.functional.softplus(inputs["h"])


def call(module: Any, state: Any, inputs: Any) -> Any:
    return module({"h": state, "u": inputs})


def own(step: Callable = call, module: Any = None, **more: Any) -> Network:
    torch.manual_seed(0)
    options = {"state_size": 3, "input_size": 2, **more}
    return rc.io.wrap_torch(Own() if module is None else module, step=step, **options)


def test_a_module_of_ones_own_is_copied_and_left_as_it_is() -> None:
    module = Own()
    net = own(module=module, rates=2, x0=np.ones(3), dt=0.1)
    assert module.training
    assert module.inner.weight.dtype == torch.float32
    assert module.inner.weight.requires_grad
    assert net.readout.rate_size == 2
    assert net.system.dt == 0.1  # type: ignore[attr-defined]
    x, u = np.array([0.2, -0.5, 1.0]), np.array([1.0, -1.0])
    w, b = (p.detach().double().numpy() for p in module.inner.parameters())
    by_hand = x + 0.1 * np.sin(w @ np.concatenate([x, u]) + b) * np.log1p(np.exp(x))
    before = net.system.step(jnp.asarray(x), jnp.asarray(u))  # type: ignore[attr-defined]
    # rounding of a few operations on numbers of order one
    np.testing.assert_allclose(before, by_hand, rtol=1e-14, atol=1e-15)
    with torch.no_grad():
        module.inner.weight.zero_()
    np.testing.assert_array_equal(net.system.step(jnp.asarray(x), jnp.asarray(u)), before)  # type: ignore[attr-defined]


def test_tensors_with_gradients_are_taken_and_no_generator_is_left_changed() -> None:
    seeded: list[int] = []
    module, before = Own(), torch.get_rng_state()
    with pytest.MonkeyPatch.context() as patch:
        # it seeds every device, of which only the CPU's state is put back
        patch.setattr(torch, "manual_seed", seeded.append)
        weight, start = torch.nn.Parameter(torch.ones(2, 3)), torch.ones(3, requires_grad=True)
        net = rc.io.wrap_torch(module, step=call, state_size=3, input_size=2, readout=weight, x0=start)
    assert not seeded
    np.testing.assert_array_equal(net.readout.weight, np.ones((2, 3)))  # type: ignore[attr-defined]
    np.testing.assert_array_equal(net.x0, np.ones(3))
    assert torch.equal(torch.get_rng_state(), before)


class Counting(torch.nn.Module):
    """A module that keeps what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, state: Any, inputs: Any) -> Any:
        self.seen += 1
        return 0.5 * state


class Floor(torch.autograd.Function):
    """A step function with the slope of a line: a surrogate gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Any) -> Any:
        return torch.floor(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad

    @staticmethod
    def jvp(ctx: Any, grad: Any) -> Any:
        return grad.clone()


@pytest.mark.parametrize(
    ("step", "module", "says"),
    [
        (lambda m, h, u: torch.dropout(h, 0.5, True), None, "random"),
        (lambda m, h, u: h - h.mean(0), None, "mixes the rows"),
        (lambda m, h, u: h.detach() * u[:, :1] + h, None, "derivatives that are not its own"),
        (lambda m, h, u: Floor.apply(h), None, "derivatives that are not its own"),
        (lambda m, h, u: m(h, u), Counting(), "changes its buffer 'seen'"),
        (lambda m, h, u: h[:, :2], None, "must give finite float64 states of shape"),
        (lambda m, h, u: h.float(), None, "must give finite float64 states"),
        (lambda m, h, u: h / 0.0, None, "with NaN or infinity"),
        (lambda m, h, u: m(u), None, r"fails on states \(3, 3\)"),
        (lambda m, h, u: torch.as_tensor(h.numpy()), None, "cannot be differentiated by torch.func"),
    ],
)
def test_what_is_no_function_of_state_and_input_is_refused(step: Callable, module: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        own(step, module)


def test_misuse_names_the_cure() -> None:
    with pytest.raises(InputError, match="`step`, `state_size` and `input_size` are needed for a Own"):
        rc.io.wrap_torch(Own())
    with pytest.raises(InputError, match=r"must be a torch.nn.Module; got function.*FunctionMap"):
        rc.io.wrap_torch(call)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="`rates` must be at most"):
        own(rates=4)
    with pytest.raises(InputError, match="`state_size` of this GRUCell is 3; got 6"):
        rc.io.wrap_torch(torch.nn.GRUCell(2, 3), state_size=6)
    with pytest.raises(InputError, match=r"`readout` must be a torch.nn.Linear or a matrix; got Tanh"):
        own(readout=torch.nn.Tanh())


def test_it_is_not_saved_and_the_message_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"computed by another library.*wrap it anew"):
        rc.io.save(own(), tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_threads_may_step_and_differentiate_it_at_once() -> None:
    net = own()
    drive = jnp.asarray(np.random.default_rng(2).standard_normal((40, 2)))

    @jax.jit
    def last(x0: jnp.ndarray) -> jnp.ndarray:
        def go(x: jnp.ndarray) -> jnp.ndarray:
            return jax.lax.scan(lambda x, u: (net.system.step(x, u), None), x, drive)[0]  # type: ignore[attr-defined]

        return jax.jacfwd(go)(x0)

    alone = np.asarray(last(net.x0))
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(np.asarray(last(net.x0)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(found) == 4
    for one in found:
        np.testing.assert_array_equal(one, alone)


def test_without_pytorch_the_way_to_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from recurvature.io.importers.torch import live

    monkeypatch.setattr(live, "available", lambda: False)
    with pytest.raises(InputError, match=r"pip install 'recurvature\[torch\]'"):
        own()
