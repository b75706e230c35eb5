"""Populations of tiny recurrent networks that learn to recall, against a loop over networks in PyTorch.

The peer trains one network at a time, as a script would: a loop over steps of time, `backward`, clipping, Adam. It is
given its inputs, the very ones that ours draws for itself. Both run the same steps of training from the same weights,
and must end at the same weights.

A second kind of case measures the phase diagram of 20 densities, 8 delays and 32 seeds: from the CPU time of a few
steps, how long all of it takes on two cores, sampled and with exact losses, and how much memory.
"""

import time
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from benchmarks.harness import Arm, Built, Case, Goal, Work, temp_bytes

import recurvature as rc
from recurvature._keys import at_step
from recurvature.lenses.superposition import (
    ExpectedLoss,
    Population,
    RecallLoss,
    expected_recall,
    random_population,
    recall_loss,
    sparse,
)
from recurvature.lenses.superposition.statistics import gated
from recurvature.training import fit_population

N, T, B, DELAY, DENSITY, RATE = 6, 30, 32, 3, 0.3, 0.02
SIZES = {"ci": ("linear", 64, 10), "std": ("linear", 256, 20), "full": ("linear", 256, 50)}
"""Kind, networks, steps of one run."""

DENSITIES, DELAYS, SEEDS, STEPS = 20, tuple(range(1, 9)), 32, 5000
"""The diagram: 5120 networks, 25.6 million steps of one network."""
CORES = 2


def cases(size: str) -> Iterable[Case]:
    """The two kinds of recurrence against the loop, and the diagram."""
    _, networks, steps = SIZES[size]
    # one goal for both: a rectified recurrence has no impulse responses and is run, over all networks at once
    yield against_loop("linear", networks, steps, at_least=50)
    yield against_loop("nonlinear", networks, steps, at_least=50)
    yield diagram(20 if size == "ci" else 100)


def against_loop(kind: Any, networks: int, steps: int, at_least: float) -> Case:
    """The same training by a population and by a loop over one of its networks."""
    key = rc.key(0)
    population = random_population(N, delays=(DELAY,), seeds=networks, kind=kind, tied=False, gain=0.5, key=key)
    loss = recall_loss(DENSITY, steps=T, trials=B, stationary=False)

    def ours() -> Built:
        def run() -> list[np.ndarray]:
            fitted = fit_population(population, loss, steps=steps, key=key, learning_rate=RATE, block=steps)
            one = fitted.population
            return [np.asarray(part)[..., 0] for part in (one.recurrent, one.inputs, one.readout)]

        return Built(run)

    flop = 3 * 2 * B * T * (N * N + 2 * N)
    return Case(
        "superposition",
        {"kind": kind, "N": N, "T": T, "B": B, "networks": networks, "steps": steps},
        [Arm("ours", ours, units=networks), Arm("torch_loop", lambda: loop(population, loss, steps, key))],
        [Goal("torch_loop", "ours", at_least=at_least)],
        Work(flop=steps * flop),
        # float32 through tens of steps of Adam, which divides small gradients by their own size
        rtol=2e-3,
    )


def samples(loss: RecallLoss, steps: int, key: Any) -> np.ndarray:
    """The inputs of every step (step, trial, time), the youngest last."""
    shape = (loss.trials, loss.steps)
    drawn = jax.jit(lambda k: gated(k, shape, loss.density, loss.amplitude, np.float32))
    own = [at_step(rc.stream(key, "steps"), step) for step in range(steps)]
    return np.stack([np.asarray(drawn(k))[:, ::-1] for k in own])


def loop(population: Population, loss: RecallLoss, steps: int, key: Any) -> Built:
    """The first network of the population, trained by a hand-written loop."""
    import torch

    torch.set_num_threads(1)
    x = torch.tensor(np.ascontiguousarray(samples(loss, steps, key)))
    starts = [np.array(part)[..., 0] for part in (population.recurrent, population.inputs, population.readout)]
    hidden, seen = (torch.relu if name == "relu" else (lambda z: z) for name in (population.hidden, population.seen))
    chance = 1 - (1 - DENSITY) ** T
    scale = chance / (DENSITY / 3) / (T - DELAY) / B

    def train() -> list[np.ndarray]:
        parameters = [torch.tensor(start, requires_grad=True) for start in starts]
        recurrent, inputs, readout = parameters
        optimiser = torch.optim.Adam(parameters, lr=RATE)
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = RATE * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * step / steps)))
            optimiser.zero_grad()
            h, total = torch.zeros(B, N), torch.zeros(())
            for t in range(T):
                h = x[step][:, t, None] @ inputs.T + hidden(h) @ recurrent.T
                wanted = x[step][:, t - DELAY] if t >= DELAY else torch.zeros(B)
                total = total + ((seen(h @ readout.T)[:, 0] - wanted) ** 2).sum()
            (scale * total).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
        return [p.detach().numpy() for p in parameters]

    return Built(train)


def diagram(steps: int) -> Case:
    """Minutes for the whole phase diagram on two cores, from the rate of `steps` steps of one density."""
    population = random_population(2, delays=DELAYS, seeds=SEEDS, key=rc.key(0))
    linear = random_population(2, delays=DELAYS, seeds=SEEDS, kind="linear", key=rc.key(0))
    sampled, exact = recall_loss(DENSITY), expected_recall(sparse(DENSITY))
    minutes = {
        name: DENSITIES * STEPS / steps * _seconds(who, loss, steps) / 60 / CORES
        for name, who, loss in (("sampled", population, sampled), ("exact", linear, exact))
    }
    total = DENSITIES * len(population) * STEPS
    rate = {name: total / (60 * CORES * spent) for name, spent in minutes.items()}
    everyone = random_population(2, delays=DELAYS, seeds=SEEDS * DENSITIES, key=rc.key(0))
    return Case(
        "superposition_diagram",
        {"networks": DENSITIES * len(population), "steps": STEPS, **{k: f"{v:.3g}/s" for k, v in rate.items()}},
        [Arm("one_density", lambda: Built(lambda: _trained(population, sampled, steps)), group=None)],
        limits={
            "minutes_sampled": (minutes["sampled"], 40.0),
            "minutes_exact": (minutes["exact"], 10.0),
            "gigabytes_of_5120_at_once": (_temporary(everyone, sampled) / 1e9, 1.0),
        },
        rounds=3,
    )


def _trained(population: Population, loss: RecallLoss | ExpectedLoss, steps: int) -> Any:
    return fit_population(population, loss, steps=steps, key=rc.key(1), block=steps).population.recurrent


def _seconds(population: Population, loss: RecallLoss | ExpectedLoss, steps: int) -> float:
    """CPU seconds of training, the fastest of three after the compilation."""
    _trained(population, loss, steps)
    times = []
    for _ in range(3):
        start = time.process_time()
        jax.block_until_ready(_trained(population, loss, steps))
        times.append(time.process_time() - start)
    return min(times)


def _temporary(population: Population, loss: RecallLoss) -> int:
    """Temporary bytes of a gradient of all networks at once, by the compiler's account."""
    gradient = jax.grad(lambda recurrent, p, key: loss(_with(p, recurrent), key).sum())
    compiled = jax.jit(gradient).lower(population.recurrent, population, rc.key(0)).compile()
    return temp_bytes(compiled) or 0


def _with(population: Population, recurrent: Any) -> Population:
    import equinox as eqx

    return eqx.tree_at(lambda p: p.recurrent, population, recurrent)
