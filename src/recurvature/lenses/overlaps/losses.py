r"""Losses as functions of the overlaps: closed forms for linear networks that imitate a filter, and any data."""

import dataclasses
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_choice, check_positive, check_shape
from recurvature._keys import PRNGKey
from recurvature.lenses.overlaps.gramians import finite_integrals, finite_sums, lyapunov_continuous, lyapunov_discrete
from recurvature.lenses.overlaps.layout import Layout
from recurvature.lenses.overlaps.response import StateSpace, coloured, difference, respond, sampled, state_space
from recurvature.lenses.overlaps.units import simulated
from recurvature.systems.gaussian import mean_slope
from recurvature.tasks.base import AbstractTask

Input = Literal["impulse", "white"]


class FilterLoss(eqx.Module):
    r"""The squared error of a linear network that is to respond like the filter `target` (docs eq. O.13).

    $L = \int_0^T\lVert k-k^*\rVert^2dt$ after an impulse in each input, or the mean over a trial of length $T$ from a
    zero state with white noise of unit intensity, $\int_0^T(1-t/T)\lVert k-k^*\rVert^2dt$. For networks in steps of
    `dt`, $dt\sum_{n<T/dt}$; the target is sampled at $n\,dt$. Outputs and inputs are summed over.

    - `target`: a `StateSpace` in continuous time; `exponential`, `damped_oscillator`.
    - `dt`: the Euler step in time constants; None for continuous time.
    - `duration`: $T$ in time constants; None for the stationary loss, the same for both inputs.
    - `input`: `impulse` or `white`.
    - `correlation`: the correlation time of the noise, in time constants, of a stationary loss: white noise of unit
      intensity behind one pole, an Ornstein-Uhlenbeck process (docs eq. O.59). None leaves it white. Sinusoids:
      `SinusoidLoss`.

    Called with overlaps it gives a number, infinite where the recurrence is unstable and $T$ is not finite.
    """

    target: StateSpace
    """The target as it is compared: sampled at `dt` where there is one."""
    layout: Layout
    dt: float | None = eqx.field(static=True)
    duration: float | None = eqx.field(static=True)
    input: Input = eqx.field(static=True)
    correlation: float | None = eqx.field(static=True, default=None)

    def __init__(
        self,
        target: StateSpace,
        layout: Layout,
        dt: float | None = None,
        duration: float | None = None,
        input: Input = "impulse",
        correlation: float | None = None,
    ):
        self.target = target if dt is None else sampled(target, dt)
        self.layout, self.dt, self.duration, self.input, self.correlation = layout, dt, duration, input, correlation

    def __check_init__(self) -> None:
        check_choice("input", self.input, ("impulse", "white"))
        if self.dt is not None:
            check_positive(dt=self.dt)
        if self.correlation is not None:
            check_positive(correlation=self.correlation)
            if self.duration is not None:
                raise InputError("correlated noise has a stationary loss: leave `duration` None, or `correlation`.")
        if self.duration is not None:
            check_positive(duration=self.duration)
            # a duration that is no whole number of steps would be cut in silence
            if self.dt is not None and abs(self.steps * self.dt - self.duration) > 1e-9 * self.duration:
                raise InputError(f"`duration` = {self.duration} is no whole number of steps of `dt` = {self.dt}.")
        if self.layout.inputs != self.target.input.shape[1] or self.layout.outputs != self.target.output.shape[0]:
            raise InputError(
                f"the target has {self.target.input.shape[1]} inputs and {self.target.output.shape[0]} outputs, the "
                f"layout {self.layout.inputs} and {self.layout.outputs}."
            )

    @property
    def steps(self) -> int:
        """Steps in a trial of a network in steps; 0 otherwise."""
        return 0 if self.dt is None or self.duration is None else round(self.duration / self.dt)

    @eqx.filter_jit
    def error_system(self, overlaps: Float[Array, "a a"]) -> StateSpace:
        """The state space whose impulse response is $k - k^*$ (in steps: times `dt`)."""
        system = difference(state_space(overlaps, self.layout, self.dt), self.target)
        return system if self.correlation is None else coloured(system, self.correlation, self.dt)

    @eqx.filter_jit
    def __call__(self, overlaps: Float[Array, "a a"]) -> Float[Array, ""]:
        """The loss."""
        error = self.error_system(overlaps)
        f, x = error.transition, error.input @ error.input.T
        if self.duration is None:
            gramian = lyapunov_continuous(f, x) if self.dt is None else lyapunov_discrete(f, x)
        else:
            taper = self.input == "white"
            if self.dt is None:
                gramian = finite_integrals(f, x, self.duration, taper=taper)
            else:
                gramian = finite_sums(f, x, self.steps, taper=taper)
        value = jnp.trace(error.output @ gramian @ error.output.T)
        value = value if self.dt is None else value / self.dt
        return value if self.duration is not None else jnp.where(self.stable(f), value, jnp.inf)

    def stable(self, f: Float[Array, "k k"]) -> Array:
        """Whether powers of $F$ die out (of a flow: those of the step of the trapezoidal rule, stable when it is)."""
        power = jax.lax.stop_gradient(f)
        if self.dt is None:
            identity = jnp.eye(f.shape[0], dtype=f.dtype)
            power = jnp.linalg.solve(identity - power / 2, identity + power / 2)
        # the power of order 2^30 is small; or else large, infinite or NaN
        power = jax.lax.fori_loop(0, 30, lambda _, x: x @ x, power)
        return jnp.abs(power).max() < 1


@eqx.filter_jit
def lyapunov_gradient(loss: FilterLoss, overlaps: Float[Array, "a a"]) -> Float[Array, "a a"]:
    r"""$\Gamma$ of a stationary loss from two Lyapunov equations, without differentiating a solver (docs eq. O.16).

    $\partial_FL = 2QP$ (in steps $2QFP$) and $\partial_CL = 2CP$, read off at the places of the overlaps.
    """
    if loss.duration is not None:
        raise InputError("the gradient by Lyapunov equations is that of the stationary loss: leave `duration` None.")
    layout, error = loss.layout, loss.error_system(overlaps)
    f, c = error.transition, error.output
    x, y = error.input @ error.input.T, c.T @ c
    if loss.dt is None:
        p, q = lyapunov_continuous(f, x), lyapunov_continuous(f.T, y)
        by_transition, by_output = 2 * q @ p, 2 * c @ p
    else:
        p, q = lyapunov_discrete(f, x), lyapunov_discrete(f.T, y)
        # F holds dt times the overlaps, and the loss carries a factor 1/dt
        by_transition, by_output = 2 * q @ f @ p, 2 * c @ p / loss.dt
    inputs, size = layout.inputs, layout.inputs + layout.rank
    gradient = jnp.zeros_like(overlaps)
    gradient = gradient.at[layout.z, layout.m].set(by_output[:, :inputs])
    gradient = gradient.at[layout.z, layout.u].set(by_output[:, inputs:size])
    gradient = gradient.at[layout.v, layout.m].set(by_transition[inputs:size, :inputs])
    gradient = gradient.at[layout.v, layout.u].set(by_transition[inputs:size, inputs:size])
    return (gradient + gradient.T) / 2


class DataLoss(eqx.Module):
    r"""The mean squared error of a network on any finite data, run in the reduced model (docs eq. O.17).

    `inputs` (trial, time, d), `targets` (trial, time, o), steps of `dt` time constants, initial state and input
    columns as for `respond`; `mask` (trial, time) weighs the instants, and the mean is over what it weighs. With `phi`
    other than `identity` the effective network of Gaussian weights answers (docs eq. O.29). `of_units` is the same loss
    of all units of a network. Other data for every step of learning: `BatchLoss`, `TaskLoss`, `NoisyTargets`.
    """

    inputs: Float[Array, "trial time d"]
    targets: Float[Array, "trial time o"]
    layout: Layout
    dt: float = eqx.field(static=True)
    mask: Float[Array, "trial time"] | None = None
    phi: str = eqx.field(static=True, default="identity")

    def __check_init__(self) -> None:
        check_positive(dt=self.dt)
        mean_slope(self.phi)
        check_channels(self.inputs, self.layout)
        check_shape("targets", self.targets, (*self.inputs.shape[:2], self.layout.outputs))
        if self.mask is not None:
            check_shape("mask", self.mask, tuple(self.inputs.shape[:2]))

    def __call__(self, overlaps: Float[Array, "a a"]) -> Float[Array, ""]:
        """The loss of the overlaps."""
        return self._rule(overlaps, self._batch)

    def of_units(self, theta: Float[Array, "n a"]) -> Float[Array, ""]:
        """The loss of the network of these vectors, all its units run."""
        return self._rule.of_units(theta, self._batch)

    def of_populations(
        self, overlaps: Float[Array, "population a a"], fractions: Float[Array, " population"]
    ) -> Float[Array, ""]:
        """The loss of the effective network of several populations (docs eq. O.48)."""
        said = respond(overlaps, self.layout, self.inputs, self.dt, self.phi, fractions=fractions)
        return self._rule.error(said, self._batch)

    def sample(self) -> "DataLoss":
        """The data themselves: what the units of a network are run on to test the closure."""
        return self

    @property
    def _rule(self) -> "BatchLoss":
        return BatchLoss(self.layout, self.dt, self.phi)

    @property
    def _batch(self) -> "Batch":
        mask = jnp.ones(self.inputs.shape[:2], self.inputs.dtype) if self.mask is None else self.mask
        return Batch(self.inputs, self.targets, mask)


def check_channels(inputs: Any, layout: Layout) -> None:
    """Raise unless `inputs` are (trial, time, column of M), or (trial, time, channel)."""
    own = np.ndim(inputs) == 3 and inputs.shape[2] == layout.channels
    check_shape("inputs", inputs, (None, None, layout.channels if own else layout.inputs))


class Batch(NamedTuple):
    """Inputs, targets and weights of some trials; `tasks.Trials` will do as well."""

    inputs: Float[Array, "*step trial time d"]
    targets: Float[Array, "*step trial time o"]
    mask: Float[Array, "*step trial time"]


class BatchLoss(eqx.Module):
    """`DataLoss` of the data of a step: a function of overlaps and a `Batch` (or `tasks.Trials`).

    For `descend(loss, …, data=batches)` with a leading axis of steps in every array of the batches.
    """

    layout: Layout
    dt: float = eqx.field(static=True)
    phi: str = eqx.field(static=True, default="identity")
    output_bias: Float[Array, " o"] | None = None
    """A constant added to the outputs that does not learn."""

    def __call__(self, overlaps: Float[Array, "a a"], batch: Any) -> Float[Array, ""]:
        """The loss of the overlaps on a batch."""
        return self.error(respond(overlaps, self.layout, batch.inputs, self.dt, self.phi), batch)

    def of_units(self, theta: Float[Array, "n a"], batch: Any) -> Float[Array, ""]:
        """The loss of the network of these vectors, all its units run."""
        return self.error(simulated(theta, self.layout, batch.inputs, self.dt, self.phi), batch)

    def sample(self, batch: Any) -> DataLoss:
        """The loss on a batch as one on fixed data."""
        targets = batch.targets
        if self.output_bias is not None:
            targets = targets - self.output_bias[None, None].astype(targets.dtype)
        return DataLoss(batch.inputs, targets, self.layout, self.dt, batch.mask, self.phi)

    def error(self, outputs: Float[Array, "trial time o"], batch: Any) -> Float[Array, ""]:
        """The mean square of what outputs are off by, over what counts."""
        outputs = outputs if self.output_bias is None else outputs + self.output_bias[None, None]
        squares = jnp.mean((outputs - batch.targets.astype(outputs.dtype)) ** 2, axis=-1)
        weights = batch.mask.astype(outputs.dtype)
        return jnp.sum(squares * weights) / jnp.sum(weights)


class TaskLoss(eqx.Module):
    """The loss on `batch` fresh trials of a task, a function of overlaps and a key: `descend(loss, …, data=keys)`.

    Nothing but the keys of the steps is held in memory: trials are drawn where they are used.
    """

    task: AbstractTask
    rule: BatchLoss
    batch: int = eqx.field(static=True)

    @property
    def phi(self) -> str:
        """The nonlinearity of the units."""
        return self.rule.phi

    def __call__(self, overlaps: Float[Array, "a a"], key: PRNGKey) -> Float[Array, ""]:
        """The loss of the overlaps on the trials of a key."""
        return self.rule(overlaps, self.task.trials(key, self.batch))

    def of_units(self, theta: Float[Array, "n a"], key: PRNGKey) -> Float[Array, ""]:
        """The loss of the network of these vectors on the trials of a key."""
        return self.rule.of_units(theta, self.task.trials(key, self.batch))

    def sample(self, key: PRNGKey) -> DataLoss:
        """The loss on the trials of a key as one on fixed data."""
        return self.rule.sample(self.task.trials(key, self.batch))


class NoisyTargets(eqx.Module):
    """`loss` with Gaussian noise of standard deviation `std` on every target, drawn anew at every step.

    A function of overlaps and a key: `descend(loss, …, data=jax.random.split(key, steps))`.
    """

    loss: DataLoss
    std: float

    @property
    def phi(self) -> str:
        """The nonlinearity of the units."""
        return self.loss.phi

    def __call__(self, overlaps: Float[Array, "a a"], key: PRNGKey) -> Float[Array, ""]:
        """The loss of the overlaps at the noise of a key."""
        return self.sample(key)(overlaps)

    def of_units(self, theta: Float[Array, "n a"], key: PRNGKey) -> Float[Array, ""]:
        """The loss of the network of these vectors at the noise of a key."""
        return self.sample(key).of_units(theta)

    def sample(self, key: PRNGKey) -> DataLoss:
        """The loss at the noise of a key as one on fixed data."""
        clean = self.loss.targets
        noise = jnp.asarray(self.std, clean.dtype) * jr.normal(key, clean.shape, clean.dtype)
        return dataclasses.replace(self.loss, targets=clean + noise)
