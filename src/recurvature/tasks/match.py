"""Delayed match to sample: were the two stimuli, a random delay apart, the same?"""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float

from recurvature._errors import InputError, check_count
from recurvature._keys import PRNGKey, stream
from recurvature._result import Citation
from recurvature.systems.inputs import PulsedInputs, box
from recurvature.tasks.base import AbstractTask, Phases, Trials
from recurvature.tasks.decision import LOW_RANK
from recurvature.tasks.draws import balanced, pulsed, same_sign, window


class DelayedMatch(AbstractTask):
    r"""Two inputs, one to each stimulus, on in turn at 1 with a random delay between; one output, +1 match, −1 not.

    The delay is uniform over the whole numbers of steps from `shortest_delay_steps` to `longest_delay_steps`; the
    response window follows the second stimulus at once and alone counts in the loss. Every trial has the length of the
    longest delay: what comes after the response window is silent and weighs 0. Pairs of stimuli are balanced over
    trials. `theta` holds the two mixtures $(s_1, s_2)$, each 0 or 1; the delay of a trial shows in its `mask`.

    Lengths are in steps of `dt` tau (0.2: 20 ms at tau = 100 ms). Timing and noise as in the public release of Valente,
    Pillow & Ostojic, NeurIPS 2022. Raises `InputError` on lengths that are not positive and delays out of order.
    """

    name: ClassVar[str] = "delayed-match"
    reference: ClassVar[Citation] = LOW_RANK
    input_size: ClassVar[int] = 2
    """One channel to each stimulus."""
    output_size: ClassVar[int] = 1
    """The decision."""
    input_names: ClassVar[tuple[str, ...]] = ("stimulus 1", "stimulus 2")
    output_names: ClassVar[tuple[str, ...]] = ("decision",)

    dt: float = eqx.field(static=True, default=0.2)
    fixation_steps: int = eqx.field(static=True, default=5)
    stimulus_steps: int = eqx.field(static=True, default=25)
    shortest_delay_steps: int = eqx.field(static=True, default=25)
    longest_delay_steps: int = eqx.field(static=True, default=150)
    response_steps: int = eqx.field(static=True, default=50)
    input_noise: float = eqx.field(static=True, default=0.03)

    def __check_init__(self) -> None:
        check_count(fixation_steps=self.fixation_steps, stimulus_steps=self.stimulus_steps)
        check_count(shortest_delay_steps=self.shortest_delay_steps, longest_delay_steps=self.longest_delay_steps)
        check_count(response_steps=self.response_steps)
        if self.shortest_delay_steps > self.longest_delay_steps:
            raise InputError(
                f"`shortest_delay_steps` must not exceed `longest_delay_steps`; "
                f"got {self.shortest_delay_steps} and {self.longest_delay_steps}."
            )

    @property
    def steps(self) -> int:
        """Steps of a trial with the longest delay."""
        return self._edges(self.longest_delay_steps)[-1]

    def _edges(self, delay: int) -> tuple[int, ...]:
        """The steps at which the parts of a trial end."""
        first = self.fixation_steps + self.stimulus_steps
        second = first + delay + self.stimulus_steps
        return (self.fixation_steps, first, first + delay, second, second + self.response_steps)

    def pulses(self, mixture: Float[Array, "2"]) -> Float[Array, "2 2"]:
        """Both stimuli, one to a row: mixture s weighs the channels (1 − s, s)."""
        return jnp.stack([1 - mixture, mixture], axis=-1)

    def draw(self, key: PRNGKey, n: int) -> Trials:
        """`n` trials without noise."""
        pair = jnp.unravel_index(balanced(stream(key, "condition"), n, 4), (2, 2))
        theta = jnp.stack(pair, axis=-1).astype(jnp.float32)
        shortest, longest = self.shortest_delay_steps, self.longest_delay_steps
        delay = jr.randint(stream(key, "delay"), (n,), shortest, longest + 1, jnp.int32)
        first = jnp.full_like(delay, self.fixation_steps)
        second = first + self.stimulus_steps + delay
        on = tuple(window(start, self.stimulus_steps, self.steps) for start in (first, second))
        mask = window(second + self.stimulus_steps, self.response_steps, self.steps)
        target = jnp.where(theta[:, 0] == theta[:, 1], 1, -1).astype(jnp.float32)
        targets = (target[:, None] * mask)[:, :, None]
        return Trials(pulsed(jax.vmap(self.pulses)(theta), on), targets, mask, theta)

    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which trials have the right sign of the average output over the later half of the response window."""
        late = jnp.where(jnp.cumsum(trials.mask != 0, axis=1) > self.response_steps // 2, trials.mask, 0)
        return same_sign(outputs, trials.targets, late)

    def manifold(self, *, delay: int | None = None) -> PulsedInputs:
        """The box of both stimuli's mixtures, for one `delay` in steps (none: the longest). Corners are trials."""
        phases = self.phases(delay=delay)
        domain = box(stimulus_1=(0.0, 1.0), stimulus_2=(0.0, 1.0))
        return PulsedInputs(domain, self.pulses, (phases["stimulus 1"], phases["stimulus 2"]))

    def views(self) -> dict[str, dict[str, int]]:
        """The longest and the shortest delay."""
        return {f"delay of {d} steps": {"delay": d} for d in (self.longest_delay_steps, self.shortest_delay_steps)}

    def phases(self, *, delay: int | None = None) -> Phases:
        """Fixation, stimulus 1, delay, stimulus 2, response, for one `delay` in steps (none: the longest)."""
        delay = self.longest_delay_steps if delay is None else delay
        check_count(delay=delay)
        if not self.shortest_delay_steps <= delay <= self.longest_delay_steps:
            span = f"{self.shortest_delay_steps} to {self.longest_delay_steps}"
            raise InputError(f"`delay` must lie in the task's range of {span} steps; got {delay}.")
        edges = (0, *self._edges(int(delay)))
        names = ("fixation", "stimulus 1", "delay", "stimulus 2", "response")
        return {name: (a * self.dt, b * self.dt) for name, a, b in zip(names, edges[:-1], edges[1:], strict=True)}
