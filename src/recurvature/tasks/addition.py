"""Delayed addition: two pulses of any strength with a delay between them; report their sum some time later."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Bool, Float

from recurvature._errors import InputError
from recurvature._keys import PRNGKey, stream
from recurvature._result import Citation
from recurvature.systems.inputs import PulsedInputs, box
from recurvature.systems.leaky import leaky_rate
from recurvature.tasks.base import AbstractTask, Phases, Recipe, Trials
from recurvature.tasks.draws import beats_silence, whole_steps, window
from recurvature.tasks.flipflop import LATENT


class DelayedAddition(AbstractTask):
    r"""One input with two pulses of strengths from (-1, 1); one output, their sum, for `report` at the end.

    The first pulse begins with the trial, the second after a delay (from one beginning to the other) drawn in whole
    steps evenly between the two `delays`; the report is due from `wait` after the beginning of the second pulse on, and
    alone counts in the loss. Every trial has the length of the longest delay. `theta` holds the two strengths.

    The task of Dinc et al. 2025 (arXiv 2502.14337) with delays of 100 to 300 ms and a report 200 ms later, at tau =
    10 ms; the length of pulses and of the report are this library's choice. Raises `InputError` unless durations are
    whole numbers of steps, the pulses do not overlap, and `wait` is at least `pulse`.
    """

    name: ClassVar[str] = "delayed-addition"
    reference: ClassVar[Citation] = LATENT
    input_size: ClassVar[int] = 1
    """The pulses."""
    output_size: ClassVar[int] = 1
    """The sum."""
    input_names: ClassVar[tuple[str, ...]] = ("pulses",)
    output_names: ClassVar[tuple[str, ...]] = ("sum",)

    dt: float = eqx.field(static=True, default=0.5)
    pulse: float = eqx.field(static=True, default=1.0)
    delays: tuple[float, float] = eqx.field(static=True, default=(10.0, 30.0), converter=tuple)
    wait: float = eqx.field(static=True, default=20.0)
    report: float = eqx.field(static=True, default=10.0)
    input_noise: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        whole_steps(self.dt, pulse=self.pulse, wait=self.wait, report=self.report)
        if len(self.delays) != 2 or self.delays[0] > self.delays[1]:
            raise InputError(f"`delays` must be a pair (shortest, longest); got {self.delays}.")
        whole_steps(self.dt, shortest_delay=self.delays[0], longest_delay=self.delays[1])
        if self.pulse > min(self.wait, self.delays[0]):
            raise InputError(f"`pulse` must be at most `wait` and the shortest delay; got {self.pulse}.")

    @property
    def steps(self) -> int:
        """Steps of a trial with the longest delay."""
        return sum(whole_steps(self.dt, delay=self.delays[1], wait=self.wait, report=self.report))

    def pulses(self, strengths: Float[Array, "2"]) -> Float[Array, "2 1"]:
        """The two pulses, one to a row."""
        return strengths[:, None]

    def draw(self, key: PRNGKey, n: int) -> Trials:
        """`n` trials without noise."""
        low, high, length = whole_steps(self.dt, low=self.delays[0], high=self.delays[1], pulse=self.pulse)
        wait, report = whole_steps(self.dt, wait=self.wait, report=self.report)
        theta = jr.uniform(stream(key, "strengths"), (n, 2), jnp.float32, -1.0, 1.0)
        second = jr.randint(stream(key, "delays"), (n,), low, high + 1, jnp.int32)
        on = jnp.stack([window(jnp.zeros_like(second), length, self.steps), window(second, length, self.steps)], -1)
        mask = window(second + wait, report, self.steps)
        inputs = (on * theta[:, None, :]).sum(-1, keepdims=True)
        return Trials(inputs, (mask * theta.sum(1)[:, None])[:, :, None], mask, theta)

    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which trials leave at most a quarter of the square error that silence makes."""
        return beats_silence(outputs, trials.targets, trials.mask)

    def manifold(self, *, delay: float | None = None) -> PulsedInputs:
        """The square of the two strengths, at one of the possible delays (None: the longest)."""
        phases = self.phases(delay=delay)
        domain = box(first=(-1.0, 1.0), second=(-1.0, 1.0))
        return PulsedInputs(domain, self.pulses, (phases["first pulse"], phases["second pulse"]))

    def views(self) -> dict[str, dict[str, float]]:
        """The longest and the shortest delay."""
        return {f"delay of {delay:g} tau": {"delay": delay} for delay in sorted(set(self.delays), reverse=True)}

    def phases(self, *, delay: float | None = None) -> Phases:
        """Both pulses and the report, at one of the possible delays (None: the longest)."""
        delay = self.delays[1] if delay is None else delay
        whole_steps(self.dt, delay=delay)
        if not self.delays[0] <= delay <= self.delays[1]:
            raise InputError(f"`delay` must lie between {self.delays[0]} and {self.delays[1]}; got {delay!r}.")
        due = delay + self.wait
        return {
            "first pulse": (0.0, self.pulse),
            "second pulse": (delay, delay + self.pulse),
            "report": (due, due + self.report),
        }

    def recipe(self) -> Recipe:
        """A rate network of 64 tanh units at gain 1, Adam from 5e-4 down a cosine, 1000 steps (all of it our choice).

        At a steady 2e-3 training diverged slowly: a sum is kept on a line, which is lost at the least change of a rate.
        """
        make = lambda key: leaky_rate(64, inputs=1, outputs=1, key=key, dt=self.dt, gain=1.0)  # noqa: E731
        return Recipe(make, {"steps": 1000, "batch": 32, "learning_rate": optax.cosine_decay_schedule(5e-4, 1000)})
