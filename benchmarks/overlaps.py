"""Learning of a low-rank network followed in its overlaps, against training all its units.

The trainer is our own and as lean as the problem allows: the network in its low-rank form, never N × N, one compiled
loop of steps, the same loss, the same float64. All arms descend by the same rate from the same weights and must end
with the same overlaps to rounding. `descend_units` is the trainer as users call it, with its records and reports: the
goal is held against the leaner loop. `through overlaps` shows what a trainer could gain that knows the theory by half:
it keeps all N × P weights but takes their gradient through the overlaps; neither has a goal.
"""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks.harness import Arm, Built, Case, Goal, cpu_time, temp_bytes
from jaxtyping import Array

import recurvature as rc
from recurvature import overlaps as ov

LAYOUT, DT, RATE = ov.Layout(1, 1, 1), 0.1, 5e-3
SIZES = {"ci": [(500, 30.0)], "std": [(500, 30.0), (5000, 300.0)], "full": [(500, 30.0), (5000, 300.0)]}
STEPS = {"ci": 20, "std": 50, "full": 200}
TRIALS, TIMES = 16, 50
BATCHED, BATCH_STEPS = 64, 200
"""Starting points that learn side by side, and steps of each."""
LEAST = 60_000
"""Steps a core-second that they should make together."""
ALONE, ALONE_STEPS, ALONE_CPU = 10_000, 50_000, 8.0
"""Steps of one starting point that are timed, steps that they stand for, and the core-seconds these may take."""
FOLLOWED = 2000
"""Steps of descent where numbers of units are compared."""


def cases(size: str) -> Iterable[Case]:
    """One case for each number of units, one across numbers of units, one of many starting points."""
    rc.enable_float64()
    for units, goal in SIZES[size]:
        yield against_units(units, STEPS[size], goal)
    yield across_sizes()
    yield many_starts()


def data() -> tuple[np.ndarray, np.ndarray]:
    """White noise, and what a filter makes of it."""
    x = np.random.default_rng(0).standard_normal((TRIALS, TIMES, 1)) / np.sqrt(DT)
    kernel = DT * np.exp(-0.2 * DT * np.arange(TIMES))
    return x, np.stack([np.convolve(row[:, 0], kernel)[:TIMES] for row in x])[..., None]


def loss() -> ov.DataLoss:
    """The mean squared error on those data."""
    x, y = data()
    return ov.DataLoss(jnp.asarray(x), jnp.asarray(y), LAYOUT, DT)


def vectors(units: int) -> Array:
    """Weights with overlaps that the filter has to be learned from."""
    start = ov.matrix(LAYOUT, {"z·m": 0.2, "z·u": 0.3, "v·m": 0.4, "v·u": 0.3, "m·u": 0.1})
    return ov.vectors(start, LAYOUT, units, key=rc.key(0))


def against_units(units: int, steps: int, goal: float) -> Case:
    """The map against the training of all units."""
    theta = vectors(units)
    return Case(
        "overlaps",
        {"N": units, "steps": steps, "trials": TRIALS, "time": TIMES},
        [
            Arm("map", lambda: mapped(theta, steps)),
            Arm("units", lambda: trained(theta, steps, unit_loss())),
            Arm("descend_units", lambda: library(theta, steps)),
            Arm("through overlaps", lambda: trained(theta, steps, overlap_loss())),
        ],
        [Goal("units", "map", at_least=goal), Goal("descend_units", "map"), Goal("through overlaps", "map")],
        dtype="float64",
        rtol=1e-10,
        rounds=5,
    )


def across_sizes() -> Case:
    """A network's overlaps extracted and its learning followed, as users do it, for few and for many units."""
    few, many = 64, 50_000
    return Case(
        "overlaps",
        {"N": f"{few} and {many}", "steps": FOLLOWED},
        [Arm(f"descend {n}", functools.partial(followed, n)) for n in (few, many)],
        [Goal(f"descend {many}", f"descend {few}", at_most=1.3)],
        dtype="float64",
        rtol=1e-10,
    )


def followed(units: int) -> Built:
    """The overlaps of a network before and after descent; its size is inside the clock."""
    network, measured = ov.assemble(vectors(units), LAYOUT, dt=DT), loss()

    def run() -> np.ndarray:
        learning = ov.descend(measured, ov.extract(network), RATE, steps=FOLLOWED, every=FOLLOWED // 5)
        return np.asarray(learning.matrix)

    return Built(run, None)


def library(theta: Array, steps: int) -> Built:
    """The overlaps after `descend_units`."""
    measured = loss()

    def run() -> np.ndarray:
        learned = ov.descend_units(measured, theta, RATE, steps=steps, layout=LAYOUT, every=steps)
        return np.asarray(learned.matrix[-1])

    return Built(run, None)


def many_starts() -> Case:
    """Steps a core-second of many starting points at once, on the finite impulse loss of the paper's filter."""
    rng = np.random.default_rng(0)
    draws = rng.standard_normal((BATCHED, LAYOUT.size, 12))
    starts = jnp.asarray(0.6 * np.eye(LAYOUT.size) + 0.4 * draws @ draws.swapaxes(1, 2) / 12)
    target = ov.FilterLoss(ov.exponential(1.0, 0.2), LAYOUT, DT, 20.0)
    rule = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), ov.Rule(RATE))

    def one(start: Array) -> Array:
        return ov.follow(target, start, rule, LAYOUT, 1, BATCH_STEPS).weights[-1]

    def batched() -> Built:
        compiled = jax.jit(jax.vmap(one)).lower(starts).compile()
        return Built(lambda: compiled(starts), temp_bytes(compiled))

    def alone() -> Built:
        compiled = jax.jit(one).lower(starts[0]).compile()
        return Built(lambda: compiled(starts[0]), temp_bytes(compiled))

    def long(start: Array) -> Array:
        return ov.follow(target, start, rule, LAYOUT, 1, ALONE).weights[-1]

    built = batched()
    together = _seconds(built.run) / (BATCHED * BATCH_STEPS)
    compiled = jax.jit(long).lower(starts[0]).compile()
    by_itself = _seconds(lambda: compiled(starts[0])) / ALONE
    return Case(
        "overlaps",
        {"starts": BATCHED, "steps": BATCH_STEPS},
        [Arm("batched", lambda: built, units=BATCHED, group=None), Arm("one", alone, group=None)],
        [Goal("one", "batched")],
        dtype="float64",
        limits={
            "core_seconds_per_million_steps": (1e6 * together, 1e6 / LEAST),
            f"core_seconds_of_{ALONE_STEPS}_steps_of_one": (ALONE_STEPS * by_itself, ALONE_CPU),
        },
    )


def _seconds(run: Callable[[], Any]) -> float:
    """Core-seconds of a run, the median of five."""
    seconds = []
    for _ in range(5):
        begin = cpu_time()
        jax.block_until_ready(run())
        seconds.append(cpu_time() - begin)
    return float(np.median(seconds))


def mapped(theta: Array, steps: int) -> Built:
    """The overlaps after descent, by products of P × P matrices."""
    start = theta.T @ theta / theta.shape[0]
    rule = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), ov.Rule(RATE))
    measured = loss()

    def run(s: Array) -> Array:
        turn = ov.follow(measured, s, rule, LAYOUT, 1, steps).weights[-1]
        return turn.T @ s @ turn

    compiled = jax.jit(run).lower(start).compile()
    return Built(lambda: compiled(start), temp_bytes(compiled))


def trained(theta: Array, steps: int, measured: Callable[[Array], Array]) -> Built:
    """The overlaps after descent of all weights at the rate that corresponds."""
    units = theta.shape[0]

    def run(start: Array) -> Array:
        after = jax.lax.fori_loop(0, steps, lambda _, at: at - RATE * units * jax.grad(measured)(at), start)
        return after.T @ after / units

    compiled = jax.jit(run).lower(theta).compile()
    return Built(lambda: compiled(theta), temp_bytes(compiled))


def unit_loss() -> Callable[[Array], Array]:
    """The loss of all units: states (trial, N), two thin products a step."""
    x, y = (jnp.asarray(a).swapaxes(0, 1) for a in data())

    def measured(theta: Array) -> Array:
        z, v, m, u = (theta[:, k : k + 1] for k in range(4))
        reads = jnp.concatenate([z, v], axis=1) / theta.shape[0]

        def step(carry: tuple[Array, Array], drive: Array) -> tuple[tuple[Array, Array], Array]:
            h, latent = carry
            h = (1 - DT) * h + DT * (latent @ u.T + drive @ m.T)
            read = h @ reads
            return (h, read[:, 1:]), read[:, :1]

        zero = jnp.zeros((TRIALS, theta.shape[0]))
        outputs = jax.lax.scan(step, (zero, jnp.zeros((TRIALS, 1))), x)[1]
        return jnp.mean((outputs - y) ** 2)

    return measured


def overlap_loss() -> Callable[[Array], Array]:
    """The same loss through the overlaps of the weights."""
    measured: Any = loss()
    return lambda theta: measured(theta.T @ theta / theta.shape[0])
