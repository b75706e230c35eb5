"""Memory of two angles, shown in turn and kept over a delay: report both in turn, or their difference."""

import abc
import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int

from recurvature._errors import InputError, check_count
from recurvature._keys import PRNGKey, stream
from recurvature._result import Citation
from recurvature.systems.inputs import TWO_PI, PulsedInputs, torus
from recurvature.systems.leaky import leaky_current
from recurvature.tasks.base import AbstractTask, Phases, Recipe, Trials
from recurvature.tasks.context import WARPING
from recurvature.tasks.draws import balanced, pulsed, whole_steps, window, window_mean


class AbstractTwoItems(AbstractTask):
    r"""Two angles are shown in turn; after a delay and a go signal, what `reports` says is to be given out.

    With slot = `pulse` + `gap`: item $i = 1, 2$ is on for `pulse` from $(i - 1)$ slots on; after a delay, one of
    `delays`, go is on for `pulse` from 2 slots + delay on; response $i$ is due for `pulse` from $(2 + i)$ slots + delay
    on; the trial ends with `quiet`, one slot after the last response began, in which, as before go, the output should
    be 0. Every trial has the length of the longest delay; what is left of it at the end weighs 0.

    The weights make the loss the mean square error over the responses plus the mean square over the quiet times
    (halved, as an average under the weights): 1 in the responses, and the same total over the quiet times of the trial.
    """

    reference: ClassVar[Citation] = WARPING
    input_size: ClassVar[int] = 3
    """(cos, sin) of the item that is on, and go."""
    output_size: ClassVar[int] = 2
    """(cos, sin) of the angle to report."""
    input_names: ClassVar[tuple[str, ...]] = ("cosine of the item", "sine of the item", "go")
    output_names: ClassVar[tuple[str, ...]] = ("cosine", "sine")

    responses: eqx.AbstractClassVar[tuple[str, ...]]
    """The names of the responses."""
    turns: eqx.AbstractClassVar[int]
    """Random angles by which a trial is turned: 1, the same for both items, or 2."""

    pulse: eqx.AbstractVar[float]
    gap: eqx.AbstractVar[float]
    delays: eqx.AbstractVar[tuple[float, ...]]
    quiet: eqx.AbstractVar[float]
    angles: eqx.AbstractVar[int]

    def __check_init__(self) -> None:
        whole_steps(self.dt, pulse=self.pulse, gap=self.gap, quiet=self.quiet)
        check_count(angles=self.angles)
        if self.angles < 2:
            raise InputError(f"`angles` must be at least 2: one angle asks for no memory; got {self.angles}.")
        if not self.delays:
            raise InputError("`delays` must hold at least one delay; got none.")
        for delay in self.delays:
            whole_steps(self.dt, delays=delay)

    @abc.abstractmethod
    def reports(self, angles: Float[Array, "2"]) -> Float[Array, "response 2"]:
        """What is to be given out in each response, one to a row: (cos, sin) of an angle."""

    @property
    def steps(self) -> int:
        """Steps of a trial with the longest delay."""
        slot, quiet, delay = whole_steps(self.dt, slot=self._slot, quiet=self.quiet, delays=max(self.delays))
        return (3 + len(self.responses)) * slot + delay + quiet

    @property
    def _slot(self) -> float:
        return self.pulse + self.gap

    def pulses(self, angles: Float[Array, "2"]) -> Float[Array, "3 3"]:
        """Item 1, item 2 and go, one to a row."""
        items = jnp.concatenate([_directions(angles), jnp.zeros((2, 1), angles.dtype)], axis=-1)
        go = jnp.asarray([[0, 0, 1]], angles.dtype)
        return jnp.concatenate([items, go])

    def _angles(self, key: PRNGKey, pair: Int[Array, "trial 2"]) -> Float[Array, "trial 2"]:
        turn = TWO_PI * jr.uniform(key, (len(pair), self.turns), jnp.float32)
        return jnp.mod(pair.astype(jnp.float32) * (TWO_PI / self.angles) + turn, TWO_PI)

    def draw(self, key: PRNGKey, n: int) -> Trials:
        """`n` trials without noise."""
        shape = (self.angles, self.angles, len(self.delays))
        index = balanced(stream(key, "condition"), n, math.prod(shape))
        first, second, which = jnp.unravel_index(index, shape)
        theta = self._angles(stream(key, "turn"), jnp.stack([first, second], axis=-1))
        pulse, slot, quiet = whole_steps(self.dt, pulse=self.pulse, slot=self._slot, quiet=self.quiet)
        go = 2 * slot + jnp.asarray([whole_steps(self.dt, delay=d)[0] for d in self.delays], jnp.int32)[which]

        def on(start: Int[Array, " trial"]) -> Float[Array, "trial time"]:
            return window(start, pulse, self.steps)

        inputs = pulsed(jax.vmap(self.pulses)(theta), (on(jnp.zeros_like(go)), on(jnp.full_like(go, slot)), on(go)))
        count = len(self.responses)
        answering = tuple(on(go + (1 + i) * slot) for i in range(count))
        clock, end = jnp.arange(self.steps, dtype=jnp.int32)[None, :] - go[:, None], (1 + count) * slot
        silent = ((clock < 0) | ((clock >= end) & (clock < end + quiet))).astype(jnp.float32)
        mask = sum(answering, silent * (count * pulse / silent.sum(1))[:, None])
        return Trials(inputs, pulsed(jax.vmap(self.reports)(theta), answering), mask, theta)

    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which trials report every angle to within half the spacing of the angles.

        A report is the direction of the average output over its response window.
        """
        (pulse,) = whole_steps(self.dt, pulse=self.pulse)
        response = (trials.targets != 0).any(-1)
        count = jnp.cumsum(response, axis=1)
        windows = [response & (count > i * pulse) & (count <= (i + 1) * pulse) for i in range(len(self.responses))]
        return jnp.stack([self._near(outputs, trials, on) for on in windows]).all(0)

    def _near(
        self, outputs: Float[Array, "trial time o"], trials: Trials, on: Bool[Array, "trial time"]
    ) -> Bool[Array, " trial"]:
        weight = on.astype(jnp.float32)
        answer = window_mean(outputs, weight)
        item = window_mean(trials.targets, weight).astype(answer.dtype)
        return (answer * item).sum(-1) > jnp.linalg.norm(answer, axis=-1) * math.cos(math.pi / self.angles)

    def manifold(self, *, delay: float | None = None) -> PulsedInputs:
        """The torus of the two angles, for one of the task's delays (none: the longest)."""
        phases = self.phases(delay=delay)
        windows = tuple(phases[name] for name in ("item 1", "item 2", "go"))
        return PulsedInputs(torus("item_1", "item_2"), self.pulses, windows)

    def views(self) -> dict[str, dict[str, float]]:
        """The longest and the shortest delay."""
        return {f"delay of {d} tau": {"delay": d} for d in (max(self.delays), min(self.delays))}

    def phases(self, *, delay: float | None = None) -> Phases:
        """Both items, delay, go, the responses, quiet, for one of the task's delays (none: the longest)."""
        delay = max(self.delays) if delay is None else delay
        if delay not in self.delays:
            raise InputError(f"`delay` must be one of the task's delays {self.delays}; got {delay!r}.")
        slot, go = self._slot, 2 * self._slot + delay
        starts = {"item 1": 0.0, "item 2": slot, "go": go}
        starts |= {name: go + (1 + i) * slot for i, name in enumerate(self.responses)}
        end = go + (1 + len(self.responses)) * slot
        parts = {name: (start, start + self.pulse) for name, start in starts.items()}
        parts |= {"delay": (2 * slot, go), "quiet": (end, end + self.quiet)}
        return dict(sorted(parts.items(), key=lambda part: part[1]))

    def _recipe(self, gain: float, **training: Any) -> Recipe:
        """100 tanh units, all pairs and delays in a batch."""
        make = lambda key: leaky_current(100, inputs=3, outputs=2, key=key, dt=self.dt, gain=gain)  # noqa: E731
        return Recipe(make, {"batch": self.angles**2 * len(self.delays), **training})


def _directions(angles: Float[Array, " item"]) -> Float[Array, "item 2"]:
    return jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class WorkingMemory(AbstractTwoItems):
    r"""Three inputs (cos, sin, go) and two outputs (cos, sin), on a torus of two remembered angles.

    The first item is to be reported in the first response, the second in the second. With the default times, those of
    Pellegrino & Chadwick, NeurIPS 2025: items at 0 and 1, go at 2 + delay, responses at 3 + delay and 4 + delay, the
    end at 9 + delay; every trial lasts 12.5. See `AbstractTwoItems` for the weights of the loss.

    Angles come from `angles` even ones per item, balanced over pairs and delays, and every trial is turned as a whole
    by a random angle. `theta` holds the two angles (rad, in [0, 2π)); the delay of a trial shows in its go input.

    Raises `InputError` unless durations are positive whole numbers of steps, and on fewer than 2 angles.
    """

    name: ClassVar[str] = "working-memory"

    responses: ClassVar[tuple[str, ...]] = ("response 1", "response 2")
    turns: ClassVar[int] = 1
    dt: float = eqx.field(static=True, default=0.1)
    pulse: float = eqx.field(static=True, default=0.5)
    gap: float = eqx.field(static=True, default=0.5)
    delays: tuple[float, ...] = eqx.field(static=True, default=(0.5, 1.5, 2.5, 3.5), converter=tuple)
    quiet: float = eqx.field(static=True, default=4.0)
    angles: int = eqx.field(static=True, default=6)
    input_noise: float = eqx.field(static=True, default=0.0)

    def reports(self, angles: Float[Array, "2"]) -> Float[Array, "2 2"]:
        """Item 1, then item 2."""
        return _directions(angles)

    def recipe(self) -> Recipe:
        """A tanh network of 100 units at gain 0.5, all pairs and delays in a batch, Adam at 5e-3, 3000 steps, no noise.

        As in the public code of Pellegrino & Chadwick, whose AdamW has no weight decay and so is Adam. Where that steps
        by Heun this library trains the Euler map of the same step.
        """
        return self._recipe(0.5, steps=3000, learning_rate=5e-3, clip_norm=None)


class MemorySubtraction(AbstractTwoItems):
    r"""Three inputs (cos, sin, go) and two outputs, $(\cos, \sin)(\theta_1 - \theta_2)$ of two remembered angles.

    One go and one response; else as `WorkingMemory`, so that a trial lasts 11.5. The response needs but one angle of
    the two: the torus may collapse along $\theta_1 + \theta_2$ (Pellegrino & Chadwick, NeurIPS 2025; their times and
    sizes for this task are not public, and those of `WorkingMemory` stand in).

    Angles come from `angles` even ones per item, balanced over pairs and delays, and either item is turned by a random
    angle of its own: turned together, only `angles` differences would ever be asked for. `theta` holds the two angles
    (rad, in [0, 2π)); the delay of a trial shows in its go input.

    Raises `InputError` unless durations are positive whole numbers of steps, and on fewer than 2 angles.
    """

    name: ClassVar[str] = "memory-subtraction"

    responses: ClassVar[tuple[str, ...]] = ("response",)
    turns: ClassVar[int] = 2
    dt: float = eqx.field(static=True, default=0.1)
    pulse: float = eqx.field(static=True, default=0.5)
    gap: float = eqx.field(static=True, default=0.5)
    delays: tuple[float, ...] = eqx.field(static=True, default=(0.5, 1.5, 2.5, 3.5), converter=tuple)
    quiet: float = eqx.field(static=True, default=4.0)
    angles: int = eqx.field(static=True, default=6)
    input_noise: float = eqx.field(static=True, default=0.0)

    def reports(self, angles: Float[Array, "2"]) -> Float[Array, "1 2"]:
        """The first angle less the second."""
        return _directions(angles[:1] - angles[1:])

    def recipe(self) -> Recipe:
        """As `WorkingMemory.recipe`, but at gain 1.2, gradients clipped at 1, Adam at 2e-3, 1500 steps.

        The published sizes for this task are not public. At gain 0.5 and 5e-3 nothing was learnt in 3000 steps: the
        product of two memories that a difference needs has a gradient that fades with both.
        """
        return self._recipe(1.2, steps=1500, learning_rate=2e-3, clip_norm=1.0)
