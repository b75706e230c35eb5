"""What is asked of a network: a task draws trials, says what a right answer is, and owns its input manifolds."""

import abc
from typing import TYPE_CHECKING, Any

import equinox as eqx
from jaxtyping import Array, Bool, Float

from recurvature._keys import PRNGKey
from recurvature._result import Citation
from recurvature.systems.inputs import AbstractInputManifold


class Trials(eqx.Module):
    """A batch of trials in float32. `targets[:, k]` is what the output should be once `inputs[:, k]` is consumed."""

    inputs: Float[Array, "trial time d"]
    targets: Float[Array, "trial time o"]
    mask: Float[Array, "trial time"]
    """Weight of each time step in the loss; 0 where anything goes."""
    theta: Float[Array, "trial m"] | None = None
    """Task variables of each trial, in the coordinates of the task's manifold."""


class AbstractTask(eqx.Module):
    """A frozen description of a task. Fields are its parameters; times are in units of tau unless they end in `_ms`."""

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
        def reference(self) -> Citation:
            """The paper that the task is taken from."""
            ...

    else:
        dt: eqx.AbstractVar[float]
        name: eqx.AbstractVar[str]
        input_size: eqx.AbstractVar[int]
        output_size: eqx.AbstractVar[int]
        steps: eqx.AbstractVar[int]
        reference: eqx.AbstractVar[Citation]

    @abc.abstractmethod
    def trials(self, key: PRNGKey, n: int) -> Trials:
        """`n` random trials: one compiled program, the same numbers for the same key."""

    @abc.abstractmethod
    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which trials were answered right."""

    @abc.abstractmethod
    def manifold(self, **condition: Any) -> AbstractInputManifold:
        """The manifold of noise-free inputs over which the task's geometry is looked at."""

    @abc.abstractmethod
    def views(self) -> dict[str, dict[str, Any]]:
        """The conditions worth a look, by title: keyword arguments of `manifold`."""
