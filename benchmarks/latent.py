"""Latent units of many neurons: without rates, as a series, and under drift at many strengths.

NumPy keeps the rates where it says so, and sums in the order of its matrix products. In the drift cases noise is drawn
before the clock starts, the same for both arms; the public sweep, which draws its own, has a limit by extrapolation.
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks.harness import Arm, Built, Case, Goal, Work, cpu_time

import recurvature as rc
from recurvature import latent
from recurvature.lenses.latent.drift_sweep import Blocks, follow, in_blocks, read_out

ALPHA = 0.5
NODES, POINTS = 88, 256
"""Of the series, and where its error is looked for."""
SWEEP_STEPS, KINDS, CORES = 500, 3, 2
"""Of a whole drift sweep: steps of its trial, kinds of drift, and cores that it is split over."""
SIZES = {
    "ci": {"neurons": 1_000_000, "steps": 150, "long": 10_000, "drift": 100_000, "strengths": 20, "drift_steps": 4},
    "std": {"neurons": 1_000_000, "steps": 150, "long": 10_000, "drift": 300_000, "strengths": 20, "drift_steps": 8},
    "full": {"neurons": 1_000_000, "steps": 300, "long": 10_000, "drift": 300_000, "strengths": 20, "drift_steps": 20},
}


def cases(size: str) -> Iterable[Case]:
    """Simulation, series, and a drift sweep of one and of three variables."""
    how = SIZES[size]
    rc.enable_float64()
    yield simulation(how["neurons"], how["steps"])
    yield series(how["neurons"], how["long"])
    for rank in (1, 3):
        yield drift(how["drift"], rank, how["strengths"], how["drift_steps"])


def _pairs(neurons: int, dtype: Any) -> tuple[np.ndarray, np.ndarray]:
    """Embedding of standard deviation 2, and an encoding that keeps the variable between -1.5 and 1.5."""
    rng = np.random.default_rng(0)
    m = rng.standard_normal(neurons) * 2
    n = (rng.standard_normal(neurons) + m / 2) / 2
    return m.astype(dtype), n.astype(dtype)


def _unit(neurons: int, dtype: Any) -> latent.LatentUnit:
    m, n = _pairs(neurons, dtype)
    return latent.from_mean_convention(jnp.asarray(m)[:, None], jnp.asarray(n)[:, None], dt=ALPHA)


def simulation(neurons: int, steps: int) -> Case:
    """One variable, float32: NumPy with rates and without, against rates eliminated in JAX."""
    m, n = _pairs(neurons, np.float32)
    unit, start = _unit(neurons, np.float32), np.float32(0.5)
    bias = np.zeros(neurons, np.float32)

    def with_rates() -> Built:
        def run() -> np.ndarray:
            kappa, path = start, []
            rates = np.full(neurons, 0, np.float32)
            for step in range(steps):
                rates = np.float32(1 - ALPHA) * rates + np.float32(ALPHA) * np.tanh(m * kappa + bias)
                # the first variable is given, not read from rates: what it leaves fades by 1 - alpha a step
                kappa = n @ rates / np.float32(neurons) + np.float32((1 - ALPHA) ** (step + 1)) * start
                path.append(kappa)
            return np.array(path)

        return Built(run)

    def without() -> Built:
        def run() -> np.ndarray:
            kappa, path = start, []
            for _ in range(steps):
                kappa = np.float32(1 - ALPHA) * kappa + np.float32(ALPHA) * (n @ np.tanh(m * kappa + bias)) / neurons
                path.append(kappa)
            return np.array(path)

        return Built(run)

    def ours() -> Built:
        inputs, at = np.zeros((1, steps, 0), np.float32), np.array([[start]])
        return Built(lambda: np.asarray(latent.rollout(unit, inputs, at).kappa)[0, :, 0])

    return Case(
        "latent rollout",
        {"N": neurons, "K": 1, "T": steps},
        [Arm("NumPy, rates kept", with_rates), Arm("NumPy, no rates", without), Arm("rollout", ours)],
        # both need every tanh: where NumPy's own comes near its limit the ratio cannot be reached, and the table shows
        # how near to it each arm is
        [Goal("NumPy, rates kept", "rollout", at_least=3.5), Goal("NumPy, no rates", "rollout")],
        Work(tanh=neurons * steps, bytes=3 * 4 * neurons * steps),
        # float32 sums of 10⁶ terms in different orders, fed back
        rtol=1e-4,
        rounds=4,
        limits={"CPU seconds of 10 000 steps": (_seconds(ours().run) * 10_000 / steps * 1e6 / neurons, 12.0)},
    )


def series(neurons: int, steps: int) -> Case:
    """Many steps of a million neurons as a Chebyshev series, built and run, beside a rollout of the first 20."""
    unit, start, few = _unit(neurons, np.float64), np.array([[0.5]]), 20
    key = rc.key(0)

    def made(**checks: int) -> latent.Surrogate:
        return latent.surrogate(unit, key=key, nodes=NODES, tolerance=1e-7, **checks)

    def surrogate() -> Built:
        def run() -> np.ndarray:
            found = latent.surrogate_rollout(made(), np.zeros((1, steps), int), start)
            return np.asarray(found.kappa)[0, :few, 0]

        return Built(run)

    def neurons_themselves() -> Built:
        inputs = np.zeros((1, few, 0))
        return Built(lambda: np.asarray(latent.rollout(unit, inputs, start).kappa)[0, :, 0])

    seconds = _seconds(surrogate().run) * 10_000 / steps
    # timed as it is called, with the check points that are its default; held to account at more of them
    error = float(np.asarray(made(checks=POINTS).error).max())
    return Case(
        "latent series",
        {"N": neurons, "K": 1, "T": steps},
        [Arm("rollout", neurons_themselves, units=few), Arm("series", surrogate, units=steps)],
        [Goal("rollout", "series", at_least=50)],
        dtype="float64",
        # the error of the series is checked below; fed back over 20 steps
        rtol=1e-6,
        rounds=3,
        limits={
            f"relative field error at {POINTS} random points": (error, 1e-7),
            "CPU seconds of 10 000 steps, the series included": (seconds, 0.3),
        },
    )


def _seconds(run: Callable[[], Any]) -> float:
    """CPU seconds of a run: the median of three after the one that compiles."""
    times = []
    for _ in range(4):
        begun = cpu_time()
        run()
        times.append(cpu_time() - begun)
    return float(np.median(times[1:]))


def drift(neurons: int, rank: int, strengths: int, steps: int) -> Case:
    """All strengths of one drift, with the noise shared: a product per block, against NumPy strength by strength.

    The naive loop draws noise for every strength, and the arm beside it draws its own as well.
    """
    rng = np.random.default_rng(1)
    m, n, d = (rng.standard_normal((neurons, rank)).astype(np.float32) for _ in range(3))
    noise = (0.1 * rng.standard_normal((steps, neurons))).astype(np.float32)
    delta = np.geomspace(0.01, 10, strengths).astype(np.float32)
    start = np.full((strengths, rank), 0.5, np.float32)
    columns = np.ascontiguousarray(m.T), np.ascontiguousarray(n.T), np.ascontiguousarray(d.T)

    def numpy_arm() -> Built:
        rows, read, moved = columns

        def run() -> np.ndarray:
            kappa = start.copy()
            for step in range(steps):
                for q, size in enumerate(delta):
                    currents = (
                        kappa[q] @ rows + (size * kappa[q]) @ moved if rank > 1 else _one(rows, moved, size, kappa[q])
                    )
                    kappa[q] = (1 - ALPHA) * kappa[q] + ALPHA * (read @ np.tanh(currents + noise[step])) / neurons
            return kappa

        return Built(run)

    def naive_arm() -> Built:
        rows, read, moved = columns
        generator = np.random.Generator(np.random.SFC64(2))

        def run() -> np.ndarray:
            kappa = start.copy()
            for _ in range(steps):
                for q, size in enumerate(delta):
                    own = np.float32(0.1) * generator.standard_normal(neurons, np.float32)
                    currents = kappa[q] @ (rows + size * moved) + own
                    kappa[q] = (1 - ALPHA) * kappa[q] + ALPHA * (read @ np.tanh(currents)) / neurons
            return kappa

        return Built(run)

    def drawn() -> Built:
        unit = latent.from_mean_convention(jnp.asarray(m), jnp.asarray(n), dt=ALPHA)
        blocks = in_blocks(unit, jnp.asarray(d), strengths)
        silent, key = jnp.zeros((1, steps, 0), jnp.float32), rc.key(4)
        return Built(lambda: follow(blocks, silent, jnp.asarray(start[:1]), jnp.asarray(delta), ALPHA, 0.1, key))

    def ours() -> Built:
        unit = latent.from_mean_convention(jnp.asarray(m), jnp.asarray(n), dt=ALPHA)
        blocks = in_blocks(unit, jnp.asarray(d), strengths)
        length = blocks.drive.shape[2]
        cut = np.pad(noise, ((0, 0), (0, -neurons % length))).reshape(steps, -1, length)
        compiled = jax.jit(_advance).lower(blocks, jnp.asarray(start), jnp.asarray(delta), jnp.asarray(cut)).compile()
        arguments = blocks, jnp.asarray(start), jnp.asarray(delta), jnp.asarray(cut)
        return Built(lambda: compiled(*arguments))

    return Case(
        "drift sweep",
        {"N": neurons, "K": rank, "strengths": strengths, "T": steps},
        [
            Arm("NumPy, shared noise", numpy_arm),
            Arm("blocks", ours),
            # other noise, other answers
            Arm("NumPy, noise of each", naive_arm, group=None),
            Arm("blocks, noise drawn", drawn, group=None),
        ],
        [
            Goal("NumPy, shared noise", "blocks", at_least=2.5),
            Goal("NumPy, noise of each", "blocks, noise drawn", at_least=10),
        ],
        Work(tanh=neurons * strengths * steps),
        rtol=1e-4,
        limits={f"minutes of {KINDS} kinds, {SWEEP_STEPS} steps, on two cores": (sweep(neurons, rank, strengths), 3.0)},
    )


def sweep(neurons: int, rank: int, strengths: int) -> float:
    """Minutes that the public sweep takes for 300 000 neurons, with its own noise, from one kind and two lengths.

    What does not go with the number of steps (the drift itself) is told apart by the difference of the two.
    """
    rng = np.random.default_rng(2)
    m, n = (rng.standard_normal((neurons, rank)).astype(np.float32) for _ in range(2))
    entry = np.zeros((neurons, rank), np.float32)
    unit = latent.from_mean_convention(jnp.asarray(m), jnp.asarray(n), input_weights=jnp.asarray(entry), dt=ALPHA)
    delta = np.geomspace(0.01, 10, strengths - 1)

    def seconds(steps: int) -> float:
        silent = np.zeros((1, steps, rank), np.float32)
        trials = rc.tasks.Trials(jnp.asarray(silent), jnp.asarray(silent + 1), jnp.ones((1, steps), np.float32))
        return _seconds(
            lambda: latent.drift_sweep(unit, trials, delta, key=rc.key(3), kinds=("random",), restarts=1).accuracy
        )

    few, many = 10, 60
    fixed, all_of_it = seconds(few), seconds(many)
    a_step = max(all_of_it - fixed, 0.0) / (many - few)
    whole = fixed + a_step * (SWEEP_STEPS - few)
    return KINDS * whole * 300_000 / neurons / CORES / 60


def _one(rows: np.ndarray, moved: np.ndarray, size: np.float32, kappa: np.ndarray) -> np.ndarray:
    """The currents of one variable: the drifted weights are made once, and multiplied."""
    return (rows[0] + size * moved[0]) * kappa[0]


def _advance(blocks: Blocks, kappa: jax.Array, delta: jax.Array, noise: jax.Array) -> jax.Array:
    """Steps of the library's sweep with noise that was drawn before."""

    def step(kappa: jax.Array, now: jax.Array) -> tuple[jax.Array, None]:
        rows = jnp.concatenate([kappa, delta[:, None] * kappa, jnp.ones_like(kappa[:, :1])], axis=1)
        return (1 - ALPHA) * kappa + ALPHA * read_out(blocks, rows, now), None

    return jax.lax.scan(step, kappa, noise)[0]
