"""How learning goes with the number of latent variables and of units: sorting by rank, and training through time."""

import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax

import recurvature as rc
from recurvature import measures
from recurvature.app.claims import Measured
from recurvature.systems import LowRank, Network, leaky_rate, simulate
from recurvature.tasks import FlipFlop, SequenceSorting

from .settings import Lab
from .theorems import STEP

PERSISTENCE = 1.3
"""Eigenvalues of the latent variables' weights before training: they keep what they are given, but for saturation."""
RATE = 2e-2
"""The learning rate of sorting at its start, for up to 64 units."""


def sorting_network(lab: Lab, units: int, rank: int, width: int, seed: int) -> Network:
    r"""A network whose first `rank` of `width` latent variables keep their values; the others have no weights.

    In training the gradient of either factor is a product with the other, so that columns of zeros stay: all ranks
    share one compiled program.
    """
    key = rc.stream(lab.key, f"sorting {units} {seed}")
    network = leaky_rate(units, inputs=2, outputs=1, key=key, dt=STEP, rank=width)
    flow: Any = network.system.flow  # type: ignore[attr-defined]
    frame = np.linalg.qr(np.asarray(flow.connectivity.left))[0] * np.sqrt(units) * (np.arange(width) < rank)
    low = LowRank(jnp.asarray(frame, jnp.float32), jnp.asarray(PERSISTENCE * frame, jnp.float32))
    return eqx.tree_at(lambda net: net.system.flow.connectivity, network, low)


@functools.cache
def falling(rate: float, steps: int) -> Any:
    """One schedule for all networks that learn alike, so that they share one program."""
    return optax.cosine_decay_schedule(rate, steps)


@dataclasses.dataclass(frozen=True)
class Sorted:
    """What a network that learnt to sort does on trials that it has not seen."""

    accuracy: float
    dimension: int
    """Components of its rates for 99 % of their variance."""


def sorts(lab: Lab, length: int, rank: int, units: int, seed: int) -> Sorted:
    """Train one network to sort `length` numbers."""
    how, task = lab.settings.scaling, SequenceSorting(length=length)
    steps = how.long_steps if length > 2 else how.steps if units == how.units else how.size_steps
    fitted = lab.fit(
        f"sorting {length}, rank {rank}, {units} units, seed {seed}",
        sorting_network(lab, units, rank, max(how.ranks), seed),
        task,
        steps=steps,
        batch=how.batch,
        # a step of Adam moves the output by the rate times the number of units, if all units pull one way
        learning_rate=falling(RATE * min(1.0, (64 / units) ** 0.5), steps),
    )
    trials = task.trials(rc.stream(lab.key, f"sorted {length}"), 1000)
    run = simulate(fitted.network, trials.inputs)
    rates = np.asarray(run.states, float).reshape(-1, units)
    return Sorted(task.accuracy(jnp.asarray(run.outputs), trials), measures.variance_dimension(rates))


def _by_rank(lab: Lab, length: int, ranks: tuple[int, ...], seeds: int) -> dict[int, list[Sorted]]:
    units = lab.settings.scaling.units
    return {rank: [sorts(lab, length, rank, units, seed) for seed in range(seeds)] for rank in ranks}


def _least_rank(found: dict[int, list[Sorted]], enough: float = 0.95) -> float:
    """The least rank at which every network sorts."""
    return float(min((rank for rank, all_ in found.items() if min(s.accuracy for s in all_) > enough), default=np.nan))


def _seen(found: dict[int, list[Sorted]]) -> dict[str, Any]:
    return {
        "rank": list(found),
        "accuracy": [[s.accuracy for s in all_] for all_ in found.values()],
        "dimension": [[s.dimension for s in all_] for all_ in found.values()],
        "least_rank_that_sorts": _least_rank(found),
    }


def sorting_two_takes_two_variables(lab: Lab) -> Measured:
    """Networks of each rank, trained as such, sort two numbers: the worst, or the best, of the seeds."""
    how = lab.settings.scaling
    found = _by_rank(lab, 2, how.ranks, how.seeds)
    accuracy = {rank: [s.accuracy for s in all_] for rank, all_ in found.items()}
    mean = {rank: float(np.mean(values)) for rank, values in accuracy.items()}
    return Measured(
        {
            "best_with_one": max(accuracy[1]),
            "worst_with_two": min(accuracy[2]),
            "least_rank": _least_rank(found),
            "gain_of_further_variables": mean[max(how.ranks)] - mean[2],
        },
        _seen(found),
    )


def sorting_three_takes_more_than_two(lab: Lab) -> Measured:
    """The same for three numbers: one variable too few, and one more than there are numbers."""
    how = lab.settings.scaling
    found = _by_rank(lab, 3, how.long_ranks, how.long_seeds)
    accuracy = {rank: [s.accuracy for s in all_] for rank, all_ in found.items()}
    return Measured({"best_with_two": max(accuracy[2]), "worst_with_four": min(accuracy[4])}, _seen(found))


def dimension_of_sorting_goes_with_rank(lab: Lab) -> Measured:
    """Linear dimensions of networks that sort two numbers, over their ranks and over their units."""
    how = lab.settings.scaling
    ranks = {rank: all_ for rank, all_ in _by_rank(lab, 2, how.ranks, how.seeds).items() if rank > 1}
    sizes = {units: [sorts(lab, 2, 2, units, seed) for seed in range(how.seeds)] for units in how.sizes}
    mean = lambda all_: float(np.mean([s.dimension for s in all_]))  # noqa: E731
    few, many = min(how.sizes), max(how.sizes)
    return Measured(
        {
            "growth_with_variables": mean(ranks[max(ranks)]) / mean(ranks[2]),
            "growth_with_units": mean(sizes[many]) / mean(sizes[few]),
            "least_accuracy": min(s.accuracy for all_ in (*ranks.values(), *sizes.values()) for s in all_),
        },
        {"ranks": _seen(ranks), "units": {str(units): _seen({2: all_}) for units, all_ in sizes.items()}},
    )


def larger_networks_learn_as_well(lab: Lab) -> Measured:
    """Two-bit memories of full rank after a fixed number of steps, over sizes and a grid of learning rates."""
    how, task = lab.settings.scaling, FlipFlop(bits=2, steps=40)
    trials = task.trials(rc.stream(lab.key, "memories"), 500)
    accuracy = np.zeros((len(how.memory_sizes), len(how.memory_rates), how.seeds))
    for i, units in enumerate(how.memory_sizes):
        for seed in range(how.seeds):
            key = rc.stream(lab.key, f"memory {units} {seed}")
            network = leaky_rate(units, inputs=2, outputs=2, key=key, dt=STEP, gain=1.0)
            for j, rate in enumerate(how.memory_rates):
                name = f"memory of {units} units, rate {rate:g}, seed {seed}"
                fitted = lab.fit(name, network, task, steps=how.memory_steps, batch=32, learning_rate=rate)
                run = simulate(fitted.network, trials.inputs)
                accuracy[i, j, seed] = task.accuracy(jnp.asarray(run.outputs), trials)
    mean = accuracy.mean(2)
    best = mean.max(1)
    rates = np.asarray(how.memory_rates)[mean.argmax(1)]
    return Measured(
        {
            "best_of_largest_less_smallest": float(best[-1] - best[0]),
            "slowest_of_largest_less_smallest": float(mean[-1, 0] - mean[0, 0]),
            "rate_of_largest_over_smallest": float(rates[-1] / rates[0]),
        },
        {
            "units": list(how.memory_sizes),
            "rates": list(how.memory_rates),
            "accuracy": mean.tolist(),
            "best_rate": rates.tolist(),
        },
    )
