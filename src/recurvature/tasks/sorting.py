"""Sequence sorting: numbers are shown one after another, and given out in order of size."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float

from recurvature._errors import InputError, check_count, check_positive
from recurvature._keys import PRNGKey, stream
from recurvature._result import Citation
from recurvature.systems.inputs import Box, Coordinate, PulsedInputs
from recurvature.systems.leaky import leaky_rate
from recurvature.tasks.base import AbstractTask, Phases, Recipe, Trials
from recurvature.tasks.draws import fixed_window, window_mean
from recurvature.tasks.flipflop import LATENT


class SequenceSorting(AbstractTask):
    r"""`length` numbers from (-1, 1), each shown for `slot_steps`; then, under a go signal, the smallest first.

    Inputs are the number and go, which is on while numbers are given out, each for `slot_steps`. Of these the first
    `settle_steps` weigh 0, as does the time in which numbers are shown; the rest weighs 1. `theta` holds the numbers in
    the order shown. A trial is right if every number given out, averaged over the steps that count, is within
    `tolerance` of what it should be, and no nearer to another number of the trial.

    The task of Dinc et al. 2025 (arXiv 2502.14337), one number to five steps; the go signal is this library's choice.
    Raises `InputError` unless 0 <= `settle_steps` < `slot_steps` and there are two numbers or more.
    """

    name: ClassVar[str] = "sequence-sorting"
    reference: ClassVar[Citation] = LATENT
    input_size: ClassVar[int] = 2
    """The number and go."""
    output_size: ClassVar[int] = 1
    """The number given out."""
    input_names: ClassVar[tuple[str, ...]] = ("number", "go")
    output_names: ClassVar[tuple[str, ...]] = ("number given out",)

    length: int = eqx.field(static=True, default=3)
    dt: float = eqx.field(static=True, default=0.5)
    slot_steps: int = eqx.field(static=True, default=5)
    settle_steps: int = eqx.field(static=True, default=2)
    tolerance: float = eqx.field(static=True, default=0.25)
    input_noise: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        check_count(length=self.length, slot_steps=self.slot_steps)
        check_positive(tolerance=self.tolerance)
        if self.length < 2:
            raise InputError(f"`length` must be at least 2: one number is sorted; got {self.length}.")
        if not 0 <= self.settle_steps < self.slot_steps:
            raise InputError(
                f"`settle_steps` must lie in [0, `slot_steps` = {self.slot_steps}); got {self.settle_steps}."
            )

    @property
    def steps(self) -> int:
        """All numbers in and out."""
        return 2 * self.length * self.slot_steps

    def pulses(self, numbers: Float[Array, " m"]) -> Float[Array, "pulse 2"]:
        """Each number in its turn, and go."""
        go = jnp.asarray([[0, 1]], numbers.dtype)
        return jnp.concatenate([jnp.stack([numbers, jnp.zeros_like(numbers)], axis=-1), go])

    def draw(self, key: PRNGKey, n: int) -> Trials:
        """`n` trials without noise."""
        numbers = jr.uniform(stream(key, "numbers"), (n, self.length), jnp.float32, -1.0, 1.0)
        slots = jnp.repeat(numbers, self.slot_steps, axis=1)
        ranked = jnp.repeat(jnp.sort(numbers, axis=1), self.slot_steps, axis=1)
        half = jnp.zeros_like(slots)
        go = jnp.concatenate([half, jnp.ones_like(half)], axis=1)
        inputs = jnp.stack([jnp.concatenate([slots, half], axis=1), go], axis=-1)
        targets = jnp.concatenate([half, ranked], axis=1)[:, :, None]
        mask = jnp.stack([self._window(i, n) for i in range(self.length)]).sum(0)
        return Trials(inputs, targets, mask, numbers)

    def _window(self, index: int, n: int) -> Float[Array, "trial time"]:
        """The steps that count of one number given out."""
        start = (self.length + index) * self.slot_steps + self.settle_steps
        return fixed_window(start, self.slot_steps - self.settle_steps, n=n, steps=self.steps)

    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which trials give out every number within `tolerance`, and no nearer to another number of the trial."""
        windows = [self._window(i, len(outputs)) for i in range(self.length)]
        given = jnp.stack([window_mean(outputs, on)[:, 0] for on in windows], axis=1)
        asked = jnp.stack([window_mean(trials.targets, on)[:, 0] for on in windows], axis=1).astype(given.dtype)
        distances = jnp.abs(given[:, :, None] - asked[:, None, :])
        own = jnp.abs(given - asked)[:, :, None]
        return ((own <= distances) & (own <= self.tolerance)).all((1, 2))

    def manifold(self) -> PulsedInputs:
        """The cube of the numbers in the order shown."""
        windows = tuple(self.phases()[f"number {i + 1}"] for i in range(self.length))
        domain = Box(tuple(Coordinate(f"number_{i + 1}", -1.0, 1.0) for i in range(self.length)))
        return PulsedInputs(domain, self.pulses, (*windows, (self.duration / 2, self.duration)))

    def views(self) -> dict[str, dict[str, int]]:
        """The one manifold."""
        return {"numbers": {}}

    def phases(self) -> Phases:
        """Every number as it is shown, then by its place as it is given out."""
        names = [f"{kind} {i + 1}" for kind in ("number", "place") for i in range(self.length)]
        slot = self.slot_steps
        return {name: (i * slot * self.dt, (i + 1) * slot * self.dt) for i, name in enumerate(names)}

    def recipe(self) -> Recipe:
        """A rate network of 128 tanh units at gain 1, batches of 128, Adam at 2e-3, 3000 steps (paper: 10 000)."""
        make = lambda key: leaky_rate(128, inputs=2, outputs=1, key=key, dt=self.dt, gain=1.0)  # noqa: E731
        return Recipe(make, {"steps": 3000, "batch": 128, "learning_rate": 2e-3})
