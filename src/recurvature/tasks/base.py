"""What is asked of a network: a task draws trials, says what a right answer is, and owns its input manifolds."""

import abc
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from recurvature._errors import InputError, check_count, check_positive, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature._result import Citation
from recurvature.systems.base import Network
from recurvature.systems.inputs import AbstractInputManifold

Phases = dict[str, tuple[float, float]]
"""Name of a part of a trial → (start, stop) in units of tau."""


class Trials(eqx.Module):
    """A batch of trials in float32. `targets[:, k]` is what the output should be once `inputs[:, k]` is consumed."""

    inputs: Float[Array, "trial time d"]
    targets: Float[Array, "trial time o"]
    mask: Float[Array, "trial time"]
    """Weight of each time step in the loss; 0 where anything goes."""
    theta: Float[Array, "trial m"] | None = None
    """Task variables of each trial, in the coordinates of the task's manifold."""


class Recipe(NamedTuple):
    """How a paper trains a network on a task.

    `recurvature.training.fit(recipe.network(key), task, key=key, **recipe.training)` is the whole of it; change what
    you like with `{**recipe.training, "steps": 100}`.
    """

    network: Callable[[PRNGKey], Network]
    """An untrained network from a key."""
    training: dict[str, Any]
    """Options of `recurvature.training.fit`."""


def numbered(word: str, count: int) -> tuple[str, ...]:
    """`count` names: the word itself for one, else with a number from 1 on."""
    return (word,) if count == 1 else tuple(f"{word} {i + 1}" for i in range(count))


class AbstractTask(eqx.Module):
    """A frozen description of a task.

    Fields are its parameters: a time is in units of tau, a number of steps where the name ends in `steps`, in
    milliseconds where it ends in `_ms`. All fields are static, so equal tasks share their compiled programs.
    """

    # A field or a property of the final class; type checkers are told the read-only half of that.
    if TYPE_CHECKING:

        @property
        def dt(self) -> float:
            """Length of one step."""
            ...

        @property
        def name(self) -> str:
            """Name on the command line, in kebab-case."""
            ...

        @property
        def input_size(self) -> int:
            """Number of input channels."""
            ...

        @property
        def output_size(self) -> int:
            """Number of outputs."""
            ...

        @property
        def steps(self) -> int:
            """Steps of one trial."""
            ...

        @property
        def input_noise(self) -> float:
            """Standard deviation of the Gaussian noise on every input channel at every step."""
            ...

        @property
        def reference(self) -> Citation:
            """The paper that the task is taken from."""
            ...

    else:
        dt: eqx.AbstractVar[float]
        name: eqx.AbstractVar[str]
        input_size: eqx.AbstractVar[int]
        output_size: eqx.AbstractVar[int]
        steps: eqx.AbstractVar[int]
        input_noise: eqx.AbstractVar[float]
        reference: eqx.AbstractVar[Citation]

    def __check_init__(self) -> None:
        check_positive(dt=self.dt)
        noise = self.input_noise
        if not (isinstance(noise, int | float | np.number) and 0 <= noise < float("inf")):
            raise InputError(f"`input_noise` must be a finite number of at least 0; got {noise!r}.")

    @abc.abstractmethod
    def draw(self, key: PRNGKey, n: int) -> Trials:
        """`n` random trials without input noise, in float32; runs inside a compiled program."""

    @abc.abstractmethod
    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which trials were answered right."""

    # `*_` is there for type checkers, which then accept the named conditions of each task; nothing is positional.
    @abc.abstractmethod
    def manifold(self, *_: Any, **condition: Any) -> AbstractInputManifold:
        """The manifold of noise-free inputs over which the task's geometry is looked at."""

    @abc.abstractmethod
    def views(self) -> dict[str, dict[str, Any]]:
        """The conditions worth a look, by title: keyword arguments of `manifold` and `phases`."""

    @abc.abstractmethod
    def phases(self, *_: Any, **condition: Any) -> Phases:
        """The parts of a trial in order, for marking figures; `condition` as for `manifold`."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """What each input channel carries, in a word or two."""
        return numbered("input", self.input_size)

    @property
    def output_names(self) -> tuple[str, ...]:
        """What each output says."""
        return numbered("output", self.output_size)

    @property
    def duration(self) -> float:
        """Length of one trial, `steps * dt`."""
        return self.steps * self.dt

    def trials(self, key: PRNGKey, n: int) -> Trials:
        """`n` random trials: one compiled program, the same numbers for the same key, in float32 always.

        The conditions drawn do not depend on `input_noise`, which has a random stream of its own.
        """
        check_count(n=n)
        return _trials(self, key, int(n))

    def accuracy(self, outputs: Float[Array, "trial time o"], trials: Trials) -> float:
        """The fraction of trials answered right, of those that have an answer (a target other than 0).

        Raises `InputError` when none of the trials has an answer.
        """
        check_shape("outputs", outputs, tuple(trials.targets.shape))
        right, answerable = map(int, _count(self, jnp.asarray(outputs), trials))
        if not answerable:
            raise InputError("`trials` hold no trial with an answer: every target is 0. Draw more trials.")
        return right / answerable


@eqx.filter_jit
def _trials(task: AbstractTask, key: PRNGKey, n: int) -> Trials:
    clean = task.draw(key, n)
    if not task.input_noise:
        return clean
    noise = jr.normal(stream(key, "input noise"), clean.inputs.shape, jnp.float32)
    return dataclasses.replace(clean, inputs=clean.inputs + task.input_noise * noise)


@eqx.filter_jit
def _count(
    task: AbstractTask, outputs: Float[Array, "trial time o"], trials: Trials
) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """How many trials were answered right, of how many that have an answer."""
    answerable = ((trials.mask[:, :, None] != 0) & (trials.targets != 0)).any((1, 2))
    return (task.correct(outputs, trials) & answerable).sum(), answerable.sum()
