"""Reaching: decode the velocity of a hand from the spike counts of units that are tuned to its direction and speed."""

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float

from recurvature._errors import InputError, check_count, check_positive
from recurvature._keys import PRNGKey, stream
from recurvature._result import Citation
from recurvature.systems.inputs import TWO_PI, FunctionInputs, circle, interval
from recurvature.systems.linear import state_space
from recurvature.tasks.base import AbstractTask, Phases, Recipe, Trials, numbered
from recurvature.tasks.context import WARPING
from recurvature.tasks.draws import whole_steps, window_mean


class BellCourse(eqx.Module):
    r"""The speed of a reach over time, 1 at its peak: $16s^2(1-s)^2$ with $s = (t - \mathrm{onset})/\mathrm{movement}$.

    The time course of least jerk (Flash & Hogan, J. Neurosci. 1985); 0 outside the movement, with a continuous slope.
    """

    onset: float = eqx.field(static=True)
    movement: float = eqx.field(static=True)

    def __call__(self, time: Float[Array, "*time"]) -> Float[Array, "*time"]:
        """The relative speed at a time or at many."""
        s = jnp.clip((time - self.onset) / self.movement, 0, 1)
        return 16 * s**2 * (1 - s) ** 2


class CosinePopulation(eqx.Module):
    r"""Expected spike counts a bin of cosine-tuned units, $dt\,(b + g\,v(t)\cos(\theta - \theta_n))$.

    Preferred directions $\theta_n = 2\pi n/N$ are even (Georgopoulos et al., J. Neurosci. 1982; with the speed as
    a factor: Moran & Schwartz, J. Neurophysiol. 1999). As a function of time and $(\theta, v)$ this is an input.
    """

    course: BellCourse
    units: int = eqx.field(static=True)
    baseline: float = eqx.field(static=True)
    gain: float = eqx.field(static=True)
    dt: float = eqx.field(static=True)

    def __call__(self, time: Float[Array, ""], theta: Float[Array, "2"]) -> Float[Array, " unit"]:
        """The expected counts of all units in the bin that starts at `time`."""
        preferred = jnp.arange(self.units, dtype=theta.dtype) * (TWO_PI / self.units)
        speed = theta[1] * self.course(time)
        return self.dt * (self.baseline + self.gain * speed * jnp.cos(theta[0] - preferred))


class Reaching(AbstractTask):
    r"""`units` inputs, the spike counts of cosine-tuned units a bin of `dt`; two outputs, the velocity $(v_x, v_y)$.

    A hand rests for `onset`, moves in a direction $\theta$ for `movement` with a bell-shaped speed (`BellCourse`) of
    peak $v$, and rests until the end: one $(\theta, v)$ fixes the whole input function. Unit $n$ fires at rate
    $b + g\,v(t)\cos(\theta - \theta_n)$ (`CosinePopulation`); counts are Poisson, or their mean without `spikes`. Every
    step counts in the loss. Directions are uniform, speeds uniform between `slowest` and `fastest`. `theta` holds
    $(\theta, v)$ (rad; speed in units of the fastest reach by default).

    Here tau is a second: times in s, rates in 1/s. After the decoding task of Pellegrino & Chadwick, NeurIPS 2025,
    whose sizes are not public: all sizes are this library's choice. Raises `InputError` where a rate could be negative,
    where speeds are out of order, and unless times are whole numbers of steps.
    """

    name: ClassVar[str] = "reaching"
    reference: ClassVar[Citation] = WARPING
    output_size: ClassVar[int] = 2
    """The velocity."""
    output_names: ClassVar[tuple[str, ...]] = ("velocity x", "velocity y")

    dt: float = eqx.field(static=True, default=0.02)
    units: int = eqx.field(static=True, default=200)
    baseline: float = eqx.field(static=True, default=20.0)
    gain: float = eqx.field(static=True, default=20.0)
    slowest: float = eqx.field(static=True, default=0.2)
    fastest: float = eqx.field(static=True, default=1.0)
    onset: float = eqx.field(static=True, default=0.1)
    movement: float = eqx.field(static=True, default=0.8)
    rest: float = eqx.field(static=True, default=0.1)
    spikes: bool = eqx.field(static=True, default=True)
    input_noise: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        check_count(units=self.units)
        whole_steps(self.dt, onset=self.onset, movement=self.movement, rest=self.rest)
        check_positive(baseline=self.baseline, gain=self.gain, slowest=self.slowest, fastest=self.fastest)
        if self.slowest >= self.fastest:
            raise InputError(f"`slowest` must be less than `fastest`; got {self.slowest} and {self.fastest}.")
        if self.gain * self.fastest > self.baseline:
            raise InputError(
                f"`baseline` must be at least `gain` times `fastest`, or rates would be negative; got "
                f"{self.baseline} and {self.gain * self.fastest}."
            )

    @property
    def input_size(self) -> int:
        """The units."""
        return self.units

    @property
    def input_names(self) -> tuple[str, ...]:
        """The units, by number."""
        return numbered("unit", self.input_size)

    @property
    def steps(self) -> int:
        """Rest, movement, rest."""
        return sum(whole_steps(self.dt, onset=self.onset, movement=self.movement, rest=self.rest))

    @property
    def course(self) -> BellCourse:
        """The relative speed over time."""
        return BellCourse(self.onset, self.movement)

    def draw(self, key: PRNGKey, n: int) -> Trials:
        """`n` trials without `input_noise`; their counts are random where there are `spikes`."""
        low, high = jnp.asarray([[0, self.slowest], [TWO_PI, self.fastest]], jnp.float32)
        share = jr.uniform(stream(key, "reach"), (n, 2), jnp.float32)
        theta = low[None, :] + share * (high - low)[None, :]
        time = jnp.arange(self.steps, dtype=jnp.float32) * self.dt
        counts = jax.vmap(lambda reach: jax.vmap(lambda t: self._population(t, reach))(time))(theta)
        if self.spikes:
            counts = jr.poisson(stream(key, "spikes"), counts, dtype=jnp.int32).astype(jnp.float32)
        direction = jnp.stack([jnp.cos(theta[:, 0]), jnp.sin(theta[:, 0])], axis=-1)
        targets = (theta[:, 1:] * direction)[:, None, :] * self.course(time)[None, :, None]
        return Trials(counts, targets, jnp.ones((n, self.steps), jnp.float32), theta)

    @property
    def _population(self) -> CosinePopulation:
        return CosinePopulation(self.course, self.units, self.baseline, self.gain, self.dt)

    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which reaches end, by the decoded velocity, less than half their length away from where they end."""
        return ends_near(outputs, trials)

    def manifold(self) -> FunctionInputs:
        """Directions × speeds: the expected counts of every reach as a function of time."""
        domain = circle("direction") * interval("speed", self.slowest, self.fastest)
        return FunctionInputs(domain, self._population, ())

    def views(self) -> dict[str, dict[str, int]]:
        """The one manifold."""
        return {"reaches": {}}

    def phases(self) -> Phases:
        """Rest, movement, rest."""
        stop = self.onset + self.movement
        return {"rest": (0.0, self.onset), "movement": (self.onset, stop), "hold": (stop, self.duration)}

    def recipe(self) -> Recipe:
        """A state-space network of 64 modes with a gated readout; Adam at 3e-3 for 1000 steps of 64 trials."""
        make = lambda key: state_space(64, inputs=self.units, outputs=2, key=key, dt=self.dt)  # noqa: E731
        return Recipe(make, {"steps": 1000, "batch": 64, "learning_rate": 3e-3})


def ends_near(outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
    """Whether the average output of a trial lies within half the length of the average target of it."""
    answer = window_mean(outputs, trials.mask)
    wanted = window_mean(trials.targets, trials.mask).astype(answer.dtype)
    return jnp.linalg.norm(answer - wanted, axis=-1) < jnp.linalg.norm(wanted, axis=-1) / 2


def explained(outputs: Float[Array, "trial time o"], trials: Trials) -> float:
    r"""$R^2 = 1 - \sum m|y-\hat y|^2 / \sum m|y-\bar y|^2$ over all trials, steps and outputs, under the mask $m$.

    1 is perfect, 0 as good as the mean target $\bar y$ (one for each output); it has no lower bound.
    """
    weight = trials.mask.astype(outputs.dtype)[:, :, None]
    targets = trials.targets.astype(outputs.dtype)
    mean = (weight * targets).sum((0, 1), keepdims=True) / weight.sum()
    error, spread = (weight * (targets - outputs) ** 2).sum(), (weight * (targets - mean) ** 2).sum()
    return float(1 - error / spread) if spread > 0 else math.nan
