"""Training of small networks against a PyTorch loop, PyTorch's own RNN and a JAX scan written by hand; and of seeds.

Every arm makes the same steps of Adam from the same weights on the same trials, and returns its weights. `fresh
trials` draws new ones each step, as `fit` does; `fit` is the whole public call, its bookkeeping included.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from benchmarks.harness import Arm, Built, Case, Goal, Work, temp_bytes

import recurvature as rc
from recurvature._keys import PRNGKey
from recurvature._result import Citation
from recurvature.systems import Network, leaky_current, vanilla
from recurvature.tasks.base import AbstractTask, Phases, Trials
from recurvature.training import fit
from recurvature.training.descent import train_block
from recurvature.training.ensemble import stack
from recurvature.training.loss import mean_squared_error
from recurvature.training.options import Options, split
from recurvature.training.run import Run, new_run

INPUTS, OUTPUTS, DT, RATE = 3, 1, 0.2, 1e-3
SEEDS = 8
GOALS = {64: (6.0, 3.0), 128: (3.0, 1.7), 256: (1.1, 0.9)}
"""Units: times faster than the PyTorch loop, than `torch.nn.RNN`."""


@dataclasses.dataclass(frozen=True)
class Size:
    """How large the network is, how long it is trained."""

    n: int
    time: int
    trials: int
    steps: int

    @property
    def work(self) -> Work:
        """Three products of W with a batch per time step: forward, backward, gradient of W."""
        sequence = self.trials * self.time * self.steps
        return Work(flop=6.0 * sequence * self.n**2, tanh=sequence * self.n, seq_steps=2.0 * self.time * self.steps)


SIZES = {
    "ci": (Size(64, 100, 32, 20),),
    "std": (Size(64, 100, 32, 20), Size(128, 100, 32, 20)),
    "full": (Size(64, 100, 32, 20), Size(128, 100, 32, 20), Size(256, 200, 64, 10)),
}


def numbers(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """The inputs and targets that all arms train on."""
    rng = np.random.default_rng(0)
    inputs, targets = (rng.standard_normal((size.trials, size.time, k)) for k in (INPUTS, OUTPUTS))
    return inputs.astype(np.float32), targets.astype(np.float32)


class Draws(AbstractTask):
    """Random inputs and targets: `numbers` every step, or `fresh` ones."""

    size: Size = eqx.field(static=True)
    fresh: bool = eqx.field(static=True)
    dt: float = eqx.field(static=True, default=DT)
    name: str = eqx.field(static=True, default="draws")
    input_size: int = eqx.field(static=True, default=INPUTS)
    output_size: int = eqx.field(static=True, default=OUTPUTS)
    input_noise: float = eqx.field(static=True, default=0.0)
    reference: Citation = eqx.field(static=True, default=Citation("none", ""))

    @property
    def steps(self) -> int:
        return self.size.time

    def draw(self, key: PRNGKey, n: int) -> Trials:
        inputs, targets = map(jnp.asarray, numbers(self.size))
        if self.fresh:
            inputs = jr.normal(rc.stream(key, "inputs"), inputs.shape, jnp.float32)
            targets = jr.normal(rc.stream(key, "targets"), targets.shape, jnp.float32)
        return Trials(inputs, targets, jnp.ones((n, self.steps), jnp.float32))

    def correct(self, outputs: Any, trials: Trials) -> Any:
        raise NotImplementedError

    def manifold(self, *_: Any, **condition: Any) -> Any:
        raise NotImplementedError

    def views(self) -> dict[str, dict[str, Any]]:
        return {}

    def phases(self, *_: Any, **condition: Any) -> Phases:
        return {}


def network(size: Size, seed: int = 0) -> Network:
    """The network that all arms but `torch nn.RNN` start from."""
    return leaky_current(size.n, inputs=INPUTS, outputs=OUTPUTS, key=rc.key(seed), dt=DT)


def options(size: Size) -> Options:
    """Plain Adam: no clipping, no penalties, one block."""
    return Options(
        steps=size.steps,
        batch=size.trials,
        learning_rate=RATE,
        optimiser=optax.adam,
        loss=mean_squared_error,
        penalties=(),
        noise=None,
        clip_norm=None,
        target_loss=None,
        frozen=(),
        block=size.steps,
    )


def weights(trained: Network) -> list[jax.Array]:
    """The arrays of a leaky network in one order for all arms: W, input, bias, readout, initial state."""
    return [leaf for leaf in jax.tree.leaves(trained) if eqx.is_inexact_array(leaf)]


def block_arm(run: Run) -> Built:
    """One compiled block, from the start each time."""
    steps = jnp.asarray(run.options.steps, jnp.int32)
    call = (run.recipe, run.skeleton, run.fixed, run.now, run.key, steps, run.batching)
    compiled = train_block.lower(*call).compile()  # type: ignore[attr-defined]
    return Built(lambda: jax.tree.leaves(compiled(*call)[0].parameters), temp_bytes(compiled.compiled))


def ours(size: Size, *, fresh: bool = False) -> Built:
    """The block that `fit` runs."""
    return block_arm(new_run(options(size), Draws(size, fresh), split(network(size), ()), rc.key(1), {}))


def plain(size: Size) -> Built:
    """The block that `fit` runs on the network of `torch.nn.RNN`."""
    start = vanilla(size.n, inputs=INPUTS, outputs=OUTPUTS, key=rc.key(0), dt=DT)
    return block_arm(new_run(options(size), Draws(size, False), split(start, ()), rc.key(1), {}))


def seeds(size: Size, batching: Any) -> Built:
    """The block that `fit_ensemble` runs."""
    parts = stack([split(network(size, seed), ()) for seed in range(SEEDS)])
    keys = jnp.stack([rc.key(seed) for seed in range(SEEDS)])
    return block_arm(new_run(options(size), Draws(size, False), parts, keys, {}, batching))


def whole_fit(size: Size) -> Built:
    """The public call: five blocks, so that it does not measure the set-up alone."""
    task, start = Draws(size, False), network(size)
    call = functools.partial(fit, start, task, steps=5 * size.steps, block=size.steps, batch=size.trials)
    return Built(lambda: weights(call(key=rc.key(1), learning_rate=RATE, clip_norm=None).network))


def by_hand(size: Size) -> Built:
    """What one would write in JAX: a scan over time in a scan over steps."""
    inputs, targets = map(jnp.asarray, numbers(size))
    inputs, targets = inputs.swapaxes(0, 1), targets.swapaxes(0, 1)
    adam = optax.adam(RATE)
    start = rc.cast(tuple(weights(network(size))), jnp.float32)

    def loss(p: tuple[jax.Array, ...]) -> jax.Array:
        w, w_in, b, w_out, x0 = p

        def step(x: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
            x = x + DT * (-x + jnp.tanh(x) @ w.T + u @ w_in.T + b)
            return x, x

        states = jax.lax.scan(step, jnp.broadcast_to(x0, (size.trials, size.n)), inputs)[1]
        return jnp.mean((jnp.tanh(states) @ w_out.T - targets) ** 2)

    def update(carry: Any, _: None) -> tuple[Any, jax.Array]:
        p, s = carry
        value, grads = jax.value_and_grad(loss)(p)
        changes, s = adam.update(grads, s)
        return (optax.apply_updates(p, changes), s), value

    train = jax.jit(lambda p, s: jax.lax.scan(update, (p, s), None, length=size.steps))
    state = adam.init(start)
    compiled = train.lower(start, state).compile()
    return Built(lambda: list(compiled(start, state)[0][0]), temp_bytes(compiled))


def torch_loop(size: Size) -> Built:
    """What one would write in PyTorch."""
    import torch

    torch.set_num_threads(1)
    inputs, targets = map(torch.from_numpy, numbers(size))
    start = [np.asarray(leaf, np.float32) for leaf in weights(network(size))]

    def train() -> Any:
        p = [torch.nn.Parameter(torch.tensor(array)) for array in start]
        w, w_in, b, w_out, x0 = p
        adam = torch.optim.Adam(p, RATE)
        for _ in range(size.steps):
            x, outputs = x0.expand(size.trials, size.n), []
            for t in range(size.time):
                x = x + DT * (-x + torch.tanh(x) @ w.T + inputs[:, t] @ w_in.T + b)
                outputs.append(torch.tanh(x) @ w_out.T)
            _torch_step(adam, torch.mean((torch.stack(outputs, 1) - targets) ** 2))
        return p

    return Built(train)


def torch_rnn(size: Size) -> Built:
    """`torch.nn.RNN` with a linear readout and an initial state: tanh, without leak."""
    import torch

    torch.set_num_threads(1)
    inputs, targets = map(torch.from_numpy, numbers(size))
    start = [
        np.asarray(leaf, np.float32) for leaf in weights(vanilla(size.n, inputs=INPUTS, outputs=OUTPUTS, key=rc.key(0)))
    ]

    def train() -> Any:
        rnn: Any = torch.nn.RNN(INPUTS, size.n, batch_first=True)
        w_out, x0 = (torch.nn.Parameter(torch.tensor(array)) for array in start[4:])
        p: list[Any] = [rnn.weight_ih_l0, rnn.weight_hh_l0, rnn.bias_ih_l0, rnn.bias_hh_l0, w_out, x0]
        with torch.no_grad():
            for parameter, array in zip(p, start, strict=True):
                parameter.copy_(torch.tensor(array))
        adam = torch.optim.Adam(p, RATE)
        for _ in range(size.steps):
            states = rnn(inputs, x0.expand(1, size.trials, size.n).contiguous())[0]
            _torch_step(adam, torch.mean((states @ w_out.T - targets) ** 2))
        return p

    return Built(train)


def _torch_step(adam: Any, loss: Any) -> None:
    adam.zero_grad()
    loss.backward()
    adam.step()


def cases(size: str) -> Iterator[Case]:
    """One case per network size, one for ensembles of seeds."""
    for s in SIZES[size]:
        yield single(s)
    yield ensemble(SIZES[size][0])


def single(s: Size) -> Case:
    """One network of size `s`."""
    loop, rnn = GOALS[s.n]
    build: Callable[..., Any] = functools.partial
    arms = [
        Arm("torch loop", build(torch_loop, s)),
        Arm("torch nn.RNN", build(torch_rnn, s), group="plain"),
        Arm("JAX by hand", build(by_hand, s)),
        Arm("recurvature", build(ours, s)),
        Arm("recurvature, plain", build(plain, s), group="plain"),
        Arm("recurvature, fresh trials", build(ours, s, fresh=True), group=None),
        Arm("fit", build(whole_fit, s), units=5, group=None),
    ]
    goals = [
        Goal("torch loop", "recurvature", at_least=loop),
        Goal("torch nn.RNN", "recurvature", at_least=rnn),
        Goal("torch nn.RNN", "recurvature, plain"),
        # not slower than a scan written by hand, up to the spread between rounds
        Goal("JAX by hand", "recurvature", at_least=0.95),
        Goal("recurvature, fresh trials", "recurvature"),
        Goal("fit", "recurvature"),
    ]
    # Adam divides by the size of a gradient: float32 rounding in small ones grows to some 1e-4 of the largest weight
    return Case("train", dataclasses.asdict(s), arms, goals, s.work, rtol=2e-3)


def ensemble(s: Size) -> Case:
    """Several seeds, per seed."""
    arms = [
        Arm("one seed", functools.partial(ours, s), group=None),
        Arm("map", functools.partial(seeds, s, "map"), units=SEEDS),
        Arm("vmap", functools.partial(seeds, s, "vmap"), units=SEEDS),
    ]
    goals = [Goal("one seed", "map", at_least=0.9), Goal("vmap", "map")]
    return Case("train", {**dataclasses.asdict(s), "seeds": SEEDS}, arms, goals, s.work, rtol=2e-3)
