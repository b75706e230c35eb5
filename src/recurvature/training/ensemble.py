"""Train one architecture from many seeds."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from recurvature._errors import InputError, check_choice, check_count
from recurvature._keys import PRNGKey, stream
from recurvature._progress import Report, silent
from recurvature.systems.base import Network
from recurvature.systems.simulate import Noise
from recurvature.tasks.base import AbstractTask
from recurvature.training.checkpoint import TrainingState
from recurvature.training.descent import Batching, LossFunction, Optimiser, Schedule
from recurvature.training.history import Fit
from recurvature.training.loss import mean_squared_error
from recurvature.training.options import Options, check_fits, sequence, split
from recurvature.training.penalty import Penalty
from recurvature.training.run import OnBlock, blocks, finished, follow, new_run, resumed
from recurvature.training.workers import blocks_in_workers

TINY = 1e4
"""Below this batch · N² the overhead of an operation costs more than its work, and `vmap` spreads it over seeds."""


def fit_ensemble(
    make_network: Callable[[PRNGKey], Network],
    task: AbstractTask,
    *,
    seeds: int | Sequence[int],
    steps: int,
    key: PRNGKey,
    batching: Literal["auto", "map", "vmap"] = "auto",
    workers: int = 1,
    batch: int = 64,
    learning_rate: float | Schedule = 1e-3,
    optimiser: Optimiser = optax.adam,
    loss: LossFunction = mean_squared_error,
    penalties: Sequence[Penalty] = (),
    noise: Noise | None = None,
    clip_norm: float | None = 1.0,
    target_loss: float | None = None,
    frozen: Sequence[str] = (),
    block: int = 50,
    report: Report = silent,
    resume: TrainingState | None = None,
    on_block: OnBlock | None = None,
) -> Fit:
    """Train `make_network(key)` for every seed, each with trials of its own; the options not named here are `fit`'s.

    - `seeds`: how many (0, 1, …), or which. A seed gives the same network and trials whatever the others are:
      those of `fit(make_network(weights), task, key=training)` with `weights, training = seed_keys(key, seed)`.
    - `batching`: `"map"` trains the seeds in turn within one program, `"vmap"` all in each operation. `"auto"` takes
      `vmap` on accelerators and for tiny networks (batch · N² < 10⁴), else `map`: on a CPU a larger batch of seeds only
      falls out of its cache.
    - `workers`: processes that share the seeds, each on one core and one thread of a CPU; they start afresh (spawned),
      so a script needs `if __name__ == "__main__":`, and functions among the options must be importable.

    A seed whose loss, gradient or parameters are not finite stops alone, keeps its last finite parameters, and is
    marked in `History.status` and `Fit.failed`; nothing is raised. Raises `InputError` as `fit` does, and where
    `make_network` gives seeds of different structure.
    """
    check_count(workers=workers)
    options = Options(
        steps=steps,
        batch=batch,
        learning_rate=learning_rate,
        optimiser=optimiser,
        loss=loss,
        penalties=sequence("penalties", penalties),
        noise=noise,
        clip_norm=clip_norm,
        target_loss=target_loss,
        frozen=sequence("frozen", frozen),
        block=block,
    )
    numbers = _seeds(seeds)
    pairs = [seed_keys(key, seed) for seed in numbers]
    networks = [make_network(weights) for weights, _ in pairs]
    for network in networks:
        check_fits(network, task)
    parts = stack([split(network, options.frozen) for network in networks])
    keys = jnp.stack([training for _, training in pairs])
    spec = options.spec(task, eqx.combine(*parts), keys, numbers)
    how = choose_batching(batching, networks[0], batch)
    run = resumed(new_run(options, task, parts, keys, {**spec, "batching": how}, how), resume)
    after = blocks(run) if workers == 1 else blocks_in_workers(run, min(workers, len(numbers)))
    return finished(follow(run, after, report, on_block), numbers)


def seed_keys(key: PRNGKey, seed: int) -> tuple[PRNGKey, PRNGKey]:
    """The keys of one seed of an ensemble: of its initial weights, and of its training."""
    own = stream(key, f"seed {seed}")
    return stream(own, "weights"), stream(own, "training")


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, int | np.integer):
        check_count(seeds=int(seeds))
        return tuple(range(int(seeds)))
    numbers = tuple(int(seed) for seed in seeds)
    if not numbers or len(set(numbers)) < len(numbers):
        raise InputError(f"`seeds` must be a number, or a list of different integers; got {list(seeds)}.")
    return numbers


def stack(parts: list[tuple[PyTree, PyTree, PyTree]]) -> tuple[PyTree, PyTree, PyTree]:
    """The parts of many networks as those of one with a leading seed axis. Raises where they are built differently."""
    skeleton = parts[0][2]
    same = [eqx.tree_equal(skeleton, each[2]) is True and _shapes(each) == _shapes(parts[0]) for each in parts]
    if not all(same):
        raise InputError(
            "`make_network` must give every seed the same structure; only the numbers may depend on the key."
        )
    stack = lambda *leaves: jnp.stack(leaves)  # noqa: E731
    parameters, fixed = (jax.tree.map(stack, *(each[i] for each in parts)) for i in (0, 1))
    return parameters, fixed, skeleton


def _shapes(parts: tuple[PyTree, PyTree, PyTree]) -> list[Any]:
    return [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(parts[:2])]


def choose_batching(asked: str, network: Network, batch: int) -> Batching:
    """How seeds go through one program: as asked, or as suits the device and the size of the network."""
    check_choice("batching", asked, ("auto", "map", "vmap"))
    if asked == "auto":
        tiny = batch * network.system.state_size**2 < TINY
        return "vmap" if tiny or jax.default_backend() != "cpu" else "map"
    return "map" if asked == "map" else "vmap"
