"""Flip-flop: channels carry brief pulses, and every output keeps the sign of the last pulse of its channel."""

import math
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from recurvature._errors import InputError, check_choice, check_count, check_kind, check_positive
from recurvature._keys import PRNGKey, stream
from recurvature._result import Citation
from recurvature.systems.inputs import Box, Coordinate, PulsedInputs
from recurvature.systems.leaky import leaky_rate
from recurvature.tasks.base import AbstractTask, Phases, Recipe, Trials, numbered
from recurvature.tasks.draws import whole_steps

LATENT = Citation(
    "dinc2025latent",
    "Dinc et al. Latent computing by biological neural networks: a dynamical systems framework. 2025.",
    "https://arxiv.org/abs/2502.14337",
)


class FlipFlop(AbstractTask):
    r"""`bits` channels with pulses of ± `amplitude`; output $k$ is ± `level`, the sign of channel $k$'s last pulse.

    A pulse lasts `pulse` and has either sign with equal chance, in each channel for itself. Pulses begin at every step
    with the chance `chance`, a new one cutting short what is left of the last; or, where `gaps` = (shortest, longest)
    is given, in whole steps drawn evenly from there after the end of the last one, the first of a trial from 0 to the
    shortest gap.

    The target is the new sign from the first step of a pulse on, and 0 before the first pulse of its channel. Steps
    weigh 1, but 0 before the first pulse of the trial, and for `settle` from the first step of each pulse on any
    channel. `theta` holds the inputs of all steps, those of the first step first.

    Defaults are the three bits of the latent paper (Dinc et al. 2025, arXiv 2502.14337): pulses of one step with chance
    0.05, `dt` = tau/2; the length of a trial is this library's choice. With `bits=1, dt=0.025, steps=800, pulse=0.5,
    gaps=(4.0, 10.0), settle=2.0, level=0.5` it is that of Ger & Barak 2026 (arXiv 2605.04115).

    Raises `InputError` unless durations are whole numbers of steps, 0 < `chance` < 1 and the shortest gap is at least
    one step.
    """

    name: ClassVar[str] = "flip-flop"
    reference: ClassVar[Citation] = LATENT

    bits: int = eqx.field(static=True, default=3)
    dt: float = eqx.field(static=True, default=0.5)
    steps: int = eqx.field(static=True, default=100)
    pulse: float = eqx.field(static=True, default=0.5)
    chance: float = eqx.field(static=True, default=0.05)
    gaps: tuple[float, float] | None = eqx.field(static=True, default=None)
    amplitude: float = eqx.field(static=True, default=1.0)
    level: float = eqx.field(static=True, default=1.0)
    settle: float = eqx.field(static=True, default=0.0)
    input_noise: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        check_count(bits=self.bits, steps=self.steps)
        check_positive(amplitude=self.amplitude, level=self.level)
        whole_steps(self.dt, pulse=self.pulse)
        if self.settle:
            whole_steps(self.dt, settle=self.settle)
        if not 0 < self.chance < 1:
            raise InputError(f"`chance` of a pulse at a step must lie between 0 and 1; got {self.chance!r}.")
        if self.gaps is not None:
            check_kind("gaps", self.gaps, tuple, "pass a pair (shortest, longest)")
            ordered = len(self.gaps) == 2
            if ordered:
                shortest, longest = whole_steps(self.dt, shortest_gap=self.gaps[0], longest_gap=self.gaps[1])
                ordered = shortest <= longest
            if not ordered:
                raise InputError(f"`gaps` must be a pair (shortest, longest); got {self.gaps}.")
        if self._longest_wait > self.steps:
            raise InputError(
                f"`steps` = {self.steps} may end before the first pulse: pass at least {self._longest_wait}, "
                "or shorter `gaps`."
            )

    @property
    def _longest_wait(self) -> int:
        """Steps after which there has been a pulse for certain, where gaps say so."""
        return 1 if self.gaps is None else 1 + whole_steps(self.dt, shortest_gap=self.gaps[0])[0]

    @property
    def input_size(self) -> int:
        """The channels."""
        return self.bits

    @property
    def output_size(self) -> int:
        """The bits."""
        return self.bits

    @property
    def input_names(self) -> tuple[str, ...]:
        """The channels, by number."""
        return numbered("channel", self.bits)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The bits, by number."""
        return numbered("bit", self.bits)

    def draw(self, key: PRNGKey, n: int) -> Trials:
        """`n` trials without noise."""
        shape = (n, self.steps, self.bits)
        begins = self._onsets(stream(key, "onsets"), n)
        signs = jr.rademacher(stream(key, "signs"), shape, jnp.float32)
        clock = jnp.arange(self.steps, dtype=jnp.int32)[None, :, None]
        # the step of the last onset so far, -1 before the first
        last = jnp.maximum.accumulate(jnp.where(begins, clock, -1), axis=1)
        bit = jnp.take_along_axis(signs, jnp.maximum(last, 0), axis=1) * (last >= 0).astype(jnp.float32)
        (length,) = whole_steps(self.dt, pulse=self.pulse)
        inputs = self.amplitude * bit * (clock - last < length).astype(jnp.float32)
        return Trials(inputs, self.level * bit, self._weights(last, clock), inputs.reshape(n, -1))

    def _onsets(self, key: PRNGKey, n: int) -> Bool[Array, "trial time bit"]:
        if self.gaps is None:
            return jr.bernoulli(key, jnp.float32(self.chance), (n, self.steps, self.bits))
        shortest, longest, length = whole_steps(self.dt, low=self.gaps[0], high=self.gaps[1], pulse=self.pulse)
        count = math.ceil(self.steps / (shortest + length)) + 1
        gaps = jr.randint(stream(key, "gaps"), (n, count, self.bits), shortest, longest + 1, jnp.int32)
        first = jr.randint(stream(key, "first"), (n, 1, self.bits), 0, shortest + 1, jnp.int32)
        at = first + jnp.cumsum(gaps + length, axis=1) - (gaps + length)[:, :1]
        clock = jnp.arange(self.steps, dtype=jnp.int32)
        return (at[:, :, None, :] == clock[None, None, :, None]).any(1)

    def _weights(self, last: Int[Array, "trial time bit"], clock: Int[Array, "1 time 1"]) -> Float[Array, "trial time"]:
        settle = whole_steps(self.dt, settle=self.settle)[0] if self.settle else 0
        settled = ((last < 0) | (clock - last >= settle)).all(-1)
        return (settled & (last >= 0).any(-1)).astype(jnp.float32)

    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which trials have every bit that was set right at the last step that counts."""
        steps = jnp.arange(self.steps, dtype=jnp.int32)
        last = jnp.where(trials.mask > 0, steps[None, :], 0).max(1)
        return jnp.take_along_axis(self._right(outputs, trials), last[:, None], axis=1)[:, 0]

    def held(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Float[Array, " trial"]:
        """The fraction of the steps that count at which every bit that was set is right."""
        weight = trials.mask.astype(outputs.dtype)
        return (self._right(outputs, trials).astype(outputs.dtype) * weight).sum(1) / weight.sum(1)

    def _right(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, "trial time"]:
        """At which steps all bits that were set have the right sign; never for NaN."""
        signs = jnp.sign(trials.targets)
        return ((signs == 0) | (jnp.sign(outputs) == signs.astype(outputs.dtype))).all(-1)

    def manifold(self, *, channels: tuple[int, ...] | None = None) -> PulsedInputs:
        """The manifold of all input sequences (coordinates `x_1_1` to `x_T_k`: step, channel); or, with `channels`,
        of one pulse to each of them, in turn and of any strength (`pulse_1`, …), while the others are silent.
        """
        strength = (-self.amplitude, self.amplitude)
        encode: _Rows | _OneEach
        if channels is None:
            names = [f"x_{t + 1}_{k + 1}" for t in range(self.steps) for k in range(self.bits)]
            windows = tuple((t * self.dt, (t + 1) * self.dt) for t in range(self.steps))
            encode = _Rows(self.bits)
        else:
            windows = tuple(self.phases(channels=channels).values())
            names = [f"pulse_{k + 1}" for k in channels]
            encode = _OneEach(self.bits, channels)
        return PulsedInputs(Box(tuple(Coordinate(name, *strength) for name in names)), encode, windows)

    def views(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """A pulse of any strength to the first channel, or to the first two in turn."""
        shown = tuple(range(min(2, self.bits)))
        return {"pulse" if len(shown) == 1 else "pulses on channels 1 and 2": {"channels": shown}}

    def phases(self, *, channels: tuple[int, ...] | None = None) -> Phases:
        """The whole trial; or the pulses to `channels`, each in the middle of an equal part of the trial."""
        if channels is None:
            return {"trial": (0.0, self.duration)}
        if not channels or len(set(channels)) < len(channels):
            raise InputError(f"`channels` must hold one or more different channels; got {channels}.")
        (length,) = whole_steps(self.dt, pulse=self.pulse)
        parts = {}
        for i, channel in enumerate(channels):
            check_choice("channels", channel, range(self.bits))
            start = ((2 * i + 1) * self.steps) // (2 * len(channels))
            parts[f"pulse {channel + 1}"] = (start * self.dt, min(start + length, self.steps) * self.dt)
        return parts

    def recipe(self) -> Recipe:
        """A rate network of 64 tanh units at gain 1, Adam at 3e-3, 1000 steps (sizes and times of the paper: 100 units,
        5000 epochs at 1e-3, on larger batches of fixed trials).
        """
        make = lambda key: leaky_rate(  # noqa: E731
            64, inputs=self.bits, outputs=self.bits, key=key, dt=self.dt, gain=1.0
        )
        return Recipe(make, {"steps": 1000, "batch": 32, "learning_rate": 3e-3})


class _Rows(eqx.Module):
    """One row of channels for each step."""

    bits: int = eqx.field(static=True)

    def __call__(self, theta: Float[Array, " m"]) -> Float[Array, "time d"]:
        return theta.reshape(-1, self.bits)


class _OneEach(eqx.Module):
    """A pulse to one channel after another."""

    bits: int = eqx.field(static=True)
    channels: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, theta: Float[Array, " m"]) -> Float[Array, "pulse d"]:
        return theta[:, None] * jnp.asarray(np.eye(self.bits)[list(self.channels)], theta.dtype)
