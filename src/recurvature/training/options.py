"""What `fit` and `fit_ensemble` were asked to do, checked before anything is computed."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from recurvature._errors import InputError, check_count, check_kind, check_positive, unknown
from recurvature._precision import cast
from recurvature.systems.base import AbstractMap, Network
from recurvature.systems.simulate import Noise
from recurvature.tasks.base import AbstractTask
from recurvature.training.checkpoint import path_name
from recurvature.training.descent import LossFunction, Optimiser, Recipe, Schedule
from recurvature.training.penalty import Penalty
from recurvature.training.spec import describe, digest


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of `fit`, documented there. `steps` alone may differ when a run is resumed."""

    steps: int
    batch: int
    learning_rate: float | Schedule
    optimiser: Optimiser
    loss: LossFunction
    penalties: tuple[Penalty, ...]
    noise: Noise | None
    clip_norm: float | None
    target_loss: float | None
    frozen: tuple[str, ...]
    block: int

    def __post_init__(self) -> None:
        if self.noise is not None:
            check_kind("noise", self.noise, Noise, "pass systems.Noise(std)")
        for penalty in self.penalties:
            check_kind("penalties", penalty, Penalty, "pass a sequence of training.Penalty")
        check_count(steps=self.steps, batch=self.batch, block=self.block)
        if not callable(self.learning_rate):
            check_positive(learning_rate=self.learning_rate)
        if not callable(self.optimiser):
            raise InputError(
                "`optimiser` must be a function from a learning rate to an optax transformation, such as optax.adam; "
                f"got {type(self.optimiser).__name__}. Pass `lambda rate: optax.chain(..., optax.sgd(rate))`."
            )
        for name in ("clip_norm", "target_loss"):
            if getattr(self, name) is not None:
                check_positive(**{name: getattr(self, name)})
        names = [p.name for p in self.penalties]
        if len(set(names)) < len(names):
            raise InputError(f"`penalties` must have different names; got {', '.join(names)}.")

    @property
    def penalty_names(self) -> tuple[str, ...]:
        """The names of the penalties, in order."""
        return tuple(p.name for p in self.penalties)

    def recipe(self, task: AbstractTask) -> Recipe:
        """How one step is made."""
        scheduled = callable(self.learning_rate)
        return Recipe(
            task=task,
            noise=self.noise,
            learning_rate=jnp.asarray(np.nan if scheduled else self.learning_rate, jnp.float32),
            clip_norm=jnp.asarray(np.inf if self.clip_norm is None else self.clip_norm, jnp.float32),
            penalty_weights=jnp.asarray([p.weight for p in self.penalties], jnp.float32),
            penalty_functions=tuple(p.function for p in self.penalties),
            schedule=self.learning_rate if callable(self.learning_rate) else None,
            loss=self.loss,
            optimiser=self.optimiser,
            batch=int(self.batch),
            block=int(self.block),
        )

    def spec(self, task: AbstractTask, network: Network, keys: Any, seeds: Sequence[int] | None) -> dict[str, Any]:
        """All of it in plain JSON, with digests of the structure and the initial weights of the network."""
        options = {f.name: describe(getattr(self, f.name)) for f in dataclasses.fields(self)}
        parameters = {path_name(p): digest(leaf) for p, leaf in _arrays(network)}
        about = {"task": describe(task), "network": _kinds(network), "initial": parameters}
        seed = {} if seeds is None else {"seeds": list(seeds)}
        return {**options, **about, "key": describe(keys), **seed, "dtype": "float32"}


def sequence(name: str, value: Any) -> tuple[Any, ...]:
    """The items of a list or tuple; one by itself is refused: a string would fall into letters."""
    check_kind(name, value, (list, tuple), "pass a list or tuple, if only of one")
    return tuple(value)


def _arrays(network: Network) -> list[tuple[Any, Any]]:
    return [(p, leaf) for p, leaf in jax.tree_util.tree_leaves_with_path(network) if eqx.is_array(leaf)]


def _kinds(network: Network) -> Any:
    """What the network is made of, without its arrays."""
    return describe(eqx.filter(network, eqx.is_array, inverse=True))


def check_fits(network: Network, task: AbstractTask) -> None:
    """Raise unless the network is a map with the inputs, the outputs and the step of the task."""
    check_kind("network", network, Network, "pass a systems.Network (of a fit, its `.network`)")
    check_kind("task", task, AbstractTask, "pass an instance of a task, such as tasks.ContextDecision()")
    system = network.system
    if not isinstance(system, AbstractMap):
        raise InputError("`network` has a flow, which trials in steps cannot train. Wrap it as Euler(flow, dt).")
    for name, got, wanted in (
        ("inputs", system.input_size, task.input_size),
        ("outputs", network.readout.output_size, task.output_size),
    ):
        if got != wanted:
            raise InputError(f"`network` has {got} {name} and task {task.name!r} has {wanted}: make it with {wanted}.")
    if not math.isclose(system.dt, task.dt, rel_tol=1e-6):
        raise InputError(
            f"`network` has steps of dt={system.dt:g} and task {task.name!r} of dt={task.dt:g}: the time of its trials "
            "would not be the network's. Make either with the dt of the other."
        )


def split(network: Network, frozen: tuple[str, ...]) -> tuple[PyTree, PyTree, PyTree]:
    """What learns (floating-point arrays not under a name in `frozen`), the other arrays, and what is no array.

    All in float32. Raises `InputError` on names that are not there.
    """
    network = cast(network, jnp.float32)
    names = [path_name(path) for path, _ in _arrays(network)]
    for word in frozen:
        if not any(_under(name, word) for name in names):
            raise unknown("parameter in `frozen`", word, names)

    def learns(path: Any, leaf: Any) -> bool:
        return eqx.is_inexact_array(leaf) and not any(_under(path_name(path), word) for word in frozen)

    parameters, rest = eqx.partition(network, jax.tree_util.tree_map_with_path(learns, network))
    fixed, skeleton = eqx.partition(rest, eqx.is_array)
    if not jax.tree.leaves(parameters):
        raise InputError("`frozen` leaves nothing to train: name fewer parameters.")
    return parameters, fixed, skeleton


def _under(name: str, word: str) -> bool:
    return name == word or name.startswith(word + ".")
