r"""What populations that recall are trained on: sampled trials or windows of endless ones, or the exact expectation.

A loss is called with a population and a key and gives the normalised loss of every network (docs eq. S.7). All
networks see the same sample, so that differences between them are known much better than their losses.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count
from recurvature._keys import PRNGKey, stream
from recurvature.lenses.superposition.models import check_delay
from recurvature.lenses.superposition.population import Population, product, pulses, readouts
from recurvature.lenses.superposition.statistics import (
    AbstractAmplitude,
    Levels,
    Statistics,
    Uniform,
    check_density,
    gated,
    importances,
    some_feature,
)
from recurvature.systems.activations import activation


class Sample(eqx.Module):
    """What a sample says of every network: its loss, and the mean square of its outputs, over the loss of silence."""

    loss: Float[Array, " seed"]
    power: Float[Array, " seed"]


class RecallLoss(eqx.Module):
    r"""The loss of sampled trials that hold at least one feature (docs eq. S.19), for networks of every kind.

    With `stationary`, a trial is a window of the last `steps` inputs of an endless one and only its last step counts:
    right for a linear recurrence once $\rho^T$ is small. Otherwise trials start at rest and every step counts.

    A linear recurrence is not run: what is read out of a window is its product with the impulse responses of all
    networks, one matrix product for the whole population (docs eq. S.40). Others are run, all networks abreast.
    """

    density: Float[Array, ""]
    importance: Float[Array, " o"]
    amplitude: AbstractAmplitude
    steps: int = eqx.field(static=True)
    trials: int = eqx.field(static=True)
    stationary: bool = eqx.field(static=True)
    shared_gate: bool = eqx.field(static=True, default=False)

    def __call__(self, population: Population, key: PRNGKey) -> Float[Array, " seed"]:
        """The normalised loss of every network on one sample."""
        return self.sample(population, key).loss

    @property
    def silence(self) -> Float[Array, ""]:
        """What an output of 0 costs a step that has a target."""
        return self.density * self.amplitude.square * self.importance.sum()

    def sample(self, population: Population, key: PRNGKey) -> Sample:
        """Loss and power of every network on one sample; for use inside a compiled program."""
        check_delay(population.longest, self.steps)
        _check_features(population, self.importance)
        dtype, features = population.inputs.dtype, population.features
        gates = self.steps * (1 if self.shared_gate else features)
        x = self._inputs(key, features, dtype)
        if population.hidden == "identity":
            seen, wanted = _by_responses(population, x if self.stationary else _windows(x))
        else:
            seen, wanted = _by_running(population, x, self.stationary)
        outputs = activation(population.seen)(seen)
        # a trial has as many steps with a target as it has beyond the delay; a window has one
        counted = 1.0 if self.stationary else self.steps / (self.steps - population.delay).astype(dtype)
        scale = counted * (some_feature(self.density, gates) / self.silence).astype(dtype)
        weigh = lambda square: scale * (self.importance.astype(dtype) @ square.mean(0))  # noqa: E731
        return Sample(weigh((wanted - outputs) ** 2), weigh(outputs**2))

    def _inputs(self, key: PRNGKey, features: int, dtype: Any) -> Float[Array, "trial time d"]:
        shape = (self.trials, self.steps, features)
        if not self.shared_gate:
            gates = (self.trials, self.steps * features)
            return gated(key, gates, self.density, self.amplitude, dtype).reshape(shape)
        there = gated(key, shape[:2], self.density, Levels(), dtype)
        chance = jr.uniform(stream(key, "amplitudes"), shape, dtype)
        return there[:, :, None] * self.amplitude.quantile(chance).astype(dtype)

    def fits(self, population: Population, memory: float = 1e9) -> int:
        """How many networks of this population can be trained at once within so many bytes."""
        rows = self.trials * (1 if self.stationary else self.steps)
        per_step = population.features if population.hidden == "identity" else sum(population.inputs.shape[:2])
        # outputs, errors and what a gradient keeps of them: compiled programs were seen to take two to five such arrays
        return max(1, int(memory / (6 * rows * per_step * population.inputs.dtype.itemsize)))


def recall_loss(
    density: float,
    *,
    steps: int = 40,
    trials: int = 2048,
    stationary: bool = True,
    features: int = 1,
    amplitude: AbstractAmplitude | None = None,
    importance: float | Float[Array, " o"] = 1.0,
    shared_gate: bool = False,
) -> RecallLoss:
    """A `RecallLoss` of `trials` trials of `steps` steps; `amplitude` is `Uniform()` unless given.

    With `shared_gate` all features of a step are there or absent together.

    Losses that differ in their density only share a compiled program. Raises `InputError` unless 0 < density ≤ 1.
    """
    check_density(density)
    check_count(steps=steps, trials=trials, features=features)
    u = Uniform() if amplitude is None else amplitude
    weight = importances(importance, features)
    return RecallLoss(jnp.asarray(density, float), weight, u, steps, trials, stationary, shared_gate)


def _check_features(population: Population, importance: Float[Array, " o"]) -> None:
    if population.features != len(importance):
        raise InputError(
            f"the loss is of {len(importance)} features, and the networks have {population.features}: make either with "
            "the other's."
        )


def _windows(x: Float[Array, "trial time d"]) -> Float[Array, "window age d"]:
    """The inputs up to every step of every trial, the youngest first, with zeros before the first step.

    A trial counts its steps backwards in time here, so that the youngest input of a whole trial is the first.
    """
    trials, steps, features = x.shape
    later = np.arange(steps)[:, None] + np.arange(steps)[None, :]
    padded = jnp.concatenate([x, jnp.zeros_like(x)], axis=1)
    return padded[:, later].reshape(trials * steps, steps, features)


def _by_responses(
    population: Population, x: Float[Array, "window age d"]
) -> tuple[Float[Array, "window o seed"], Float[Array, "window o seed"]]:
    """Readouts of linear recurrences before their activation, and the targets (docs eq. S.40)."""
    (windows, ages, features), seeds = x.shape, len(population)
    directions = pulses(population, ages)
    responses = product(readouts(population, directions)[None], directions)
    by_input = jnp.swapaxes(responses, 1, 2).reshape(ages * features, features * seeds)
    seen = x.reshape(windows, ages * features) @ by_input
    return seen.reshape(windows, features, seeds), jnp.swapaxes(x[:, population.delay], 1, 2)


def _by_running(
    population: Population, x: Float[Array, "trial age d"], last: bool
) -> tuple[Float[Array, "window o seed"], Float[Array, "window o seed"]]:
    """The same of recurrences of any kind, run over the trials."""
    steps = x.shape[1]
    readout = readouts(population, pulses(population, steps))
    phi = activation(population.hidden)
    in_time = jnp.moveaxis(x[:, ::-1], 1, 0)

    def body(h: Float[Array, "n trial seed"], u: Float[Array, "trial d"]) -> tuple[Array, Array]:
        drive = product(population.inputs, jnp.broadcast_to(u.T[:, :, None], (*u.T.shape, len(population))))
        h = drive + product(population.recurrent, phi(h))
        return h, h

    rest = jnp.zeros((population.recurrent.shape[0], len(x), len(population)), x.dtype)
    end, states = jax.lax.scan(body, rest, in_time)
    if last:
        return jnp.swapaxes(product(readout, end), 0, 1), jnp.swapaxes(x[:, population.delay], 1, 2)
    seen = jnp.swapaxes(product(readout[None], states), 1, 2)
    index = steps + np.arange(steps, dtype=np.int32)[:, None] - population.delay[None, :]
    wanted = jnp.moveaxis(jnp.concatenate([jnp.zeros_like(in_time), in_time])[index], 1, -1)
    return seen.reshape(-1, *seen.shape[2:]), wanted.reshape(-1, *wanted.shape[2:])


class ExpectedLoss(eqx.Module):
    r"""The exact expected loss of populations of kind `linear`, from impulse responses: no sample, no noise.

    Over trials of `steps` steps (docs eq. S.5), or for endless ones, with ages cut at `steps` (docs eq. S.41).
    """

    statistics: Statistics
    importance: Float[Array, " o"]
    steps: int = eqx.field(static=True)
    stationary: bool = eqx.field(static=True)

    def __call__(self, population: Population, key: PRNGKey | None = None) -> Float[Array, " seed"]:
        """The normalised loss of every network; `key` is not used."""
        if population.kind != "linear":
            raise InputError(f"the expected loss is known for the kind `linear`; got {population.kind!r}.")
        check_delay(population.longest, self.steps)
        _check_features(population, self.importance)
        dtype, d = population.inputs.dtype, population.features
        directions = pulses(population, self.steps)
        age = jnp.arange(self.steps, dtype=jnp.int32)[:, None, None, None]
        wanted = (age == population.delay[None, None, None, :]) & jnp.eye(d, dtype=bool)[None, :, :, None]
        off = product(readouts(population, directions)[None], directions) - wanted.astype(dtype)
        mean, covariance, weight = (
            a.astype(dtype) for a in (self.statistics.mean, self.statistics.covariance, self.importance)
        )
        spread = jnp.einsum("aids,de,aies->ais", off, covariance, off)
        drift = jnp.cumsum(jnp.einsum("aids,d->ais", off, mean), axis=0) ** 2
        # in a trial age a counts in T - a steps, and there are T - k steps with a target
        count = np.ones(self.steps) if self.stationary else self.steps - np.arange(self.steps)
        squares = jnp.einsum("a,ais->is", jnp.asarray(count, dtype), spread)
        squares = squares + (drift[-1] if self.stationary else drift.sum(0))
        with_target = 1 if self.stationary else (self.steps - population.delay).astype(dtype)
        silence = weight @ self.statistics.square.astype(dtype)
        return weight @ squares / (silence * with_target)


def expected_recall(
    statistics: Statistics,
    *,
    steps: int = 40,
    stationary: bool = True,
    importance: float | Float[Array, " o"] = 1.0,
) -> ExpectedLoss:
    """An `ExpectedLoss` of features with these `statistics` (`sparse`, `white`)."""
    check_count(steps=steps)
    return ExpectedLoss(statistics, importances(importance, statistics.mean.shape[0]), steps, stationary)
