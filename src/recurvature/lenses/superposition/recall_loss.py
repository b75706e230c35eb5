r"""What populations that recall are trained on: sampled trials or windows of endless ones, or the exact expectation.

A loss is called with a population and a key and gives the normalised loss of every network (docs eq. S.7). All
networks see the same sample, so that differences between them are known much better than their losses.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_count
from recurvature._keys import PRNGKey, stream
from recurvature.lenses.superposition.models import check_delay
from recurvature.lenses.superposition.population import Population, product, pulses, readouts
from recurvature.lenses.superposition.running import BLOCK, Course, Matrices, squares
from recurvature.lenses.superposition.statistics import (
    AbstractAmplitude,
    Levels,
    Statistics,
    amplitude_with_moments,
    check_density,
    gated,
    importances,
    some_feature,
)
from recurvature.systems.activations import activation

MEMORY = 2.5e8
"""Bytes for what a step of training needs at once: with the half a gigabyte that JAX and its compiled programs take,
well below one."""


class Sample(eqx.Module):
    """What a sample says of every network: its loss, and the mean square of its outputs, over the loss of silence."""

    loss: Float[Array, " seed"]
    power: Float[Array, " seed"]


class RecallLoss(eqx.Module):
    r"""The loss of sampled trials that hold at least one feature (docs eq. S.19), for networks of every kind.

    With `stationary`, a trial is a window of the last `steps` inputs of an endless one and only its last step counts:
    right for a linear recurrence once $\rho^T$ is small. Otherwise trials start at rest and every step counts.

    A linear recurrence is not run: what is read out of a window is its product with the impulse responses of all
    networks, one matrix product for the whole population (docs eq. S.40). Others are run, all networks abreast, with
    their gradients in the same pass (docs eq. S.78).

    With `delays`, every trial has one of them, and a cue of it as further inputs of the networks (docs eq. S.79).
    """

    density: Float[Array, ""]
    importance: Float[Array, " o"]
    amplitude: AbstractAmplitude
    steps: int = eqx.field(static=True)
    trials: int = eqx.field(static=True)
    stationary: bool = eqx.field(static=True)
    shared_gate: bool = eqx.field(static=True, default=False)
    delays: tuple[int, ...] = eqx.field(static=True, default=())

    def __call__(self, population: Population, key: PRNGKey) -> Float[Array, " seed"]:
        """The normalised loss of every network on one sample."""
        return self.sample(population, key).loss

    @property
    def silence(self) -> Float[Array, ""]:
        """What an output of 0 costs a step that has a target."""
        return self.density * self.amplitude.square * self.importance.sum()

    def sample(self, population: Population, key: PRNGKey) -> Sample:
        """Loss and power of every network on one sample; for use inside a compiled program.

        Where networks are run, power has no gradient but that of a bias.
        """
        check_delay(max(population.longest, *self.delays, 0), self.steps)
        _check_features(population, self.importance, self.delays)
        x = self._inputs(key, population.features, population.inputs.dtype)
        x, delay, chance = self._cued(x) if self.delays else (x, population.delay[None], jnp.ones((1, 1), x.dtype))
        weight = chance * (self._some(population.features) / (self.trials * self.silence)).astype(x.dtype)
        if not self.stationary:
            # a trial has as many steps with a target as it has beyond the delay; a window has one
            weight = weight / (self.steps - delay).astype(x.dtype)
        found = self._found(population, x, delay, weight)
        unasked = self._unasked(population, delay)
        return Sample(found.loss + unasked, found.power + unasked)

    def _found(
        self,
        population: Population,
        x: Float[Array, "trial time d"],
        delay: Int[Array, "row column"],
        weight: Float[Array, "row_ column_"],
    ) -> Sample:
        """What the trials at hand say."""
        if population.hidden == "identity":
            return self._by_responses(population, x, delay, weight)
        readout = readouts(population, pulses(population, population.longest + 1))
        in_time, importance = jnp.moveaxis(x[:, ::-1], 1, 0), self.importance.astype(x.dtype)
        course = Course(in_time, delay, weight, importance, population.hidden, population.seen, self.stationary)
        bias = None if population.bias is None else population.bias[:, None]
        sums = squares(Matrices(population.recurrent, population.inputs, readout, bias), course)
        return Sample(sums.error, sums.power)

    def _unasked(self, population: Population, delay: Int[Array, "row column"]) -> Float[Array, "..."]:
        """What a bias reads out of trials without a feature, which are not drawn (docs eq. S.81); 0 without one."""
        bias = population.bias
        # with cues, such trials are among those that are run
        if bias is None or self.delays:
            return jnp.zeros((), population.inputs.dtype)
        outputs = activation(population.seen)(bias)
        empty = ((1 - self._some(population.features)) / self.silence).astype(bias.dtype)
        steps = 1 if self.stationary else self.steps / (self.steps - delay[0]).astype(bias.dtype)
        return empty * steps * (self.importance.astype(bias.dtype) @ outputs**2)

    def _some(self, features: int) -> Float[Array, ""]:
        """The chance that there is a feature in a trial."""
        return some_feature(self.density, self.steps * (1 if self.shared_gate else features))

    def _cued(
        self, x: Float[Array, "trial time d"]
    ) -> tuple[Float[Array, "row time input"], Int[Array, "row 1"], Float[Array, "row 1"]]:
        r"""Trials with cues of their delays, one without any feature for each cue after them; delays; and weights.

        A cue may make outputs without a feature: the last trials stand for all that have none (docs eq. S.79).
        """
        trials, steps, features = x.shape
        count = len(self.delays)
        which = np.concatenate([np.arange(trials) % count, np.arange(count)])
        cue = jnp.asarray(np.eye(count)[which], x.dtype)[:, None, :]
        everything = jnp.concatenate([x, jnp.zeros((count, steps, features), x.dtype)])
        inputs = jnp.concatenate([everything, jnp.broadcast_to(cue, (len(which), steps, count))], axis=2)
        share = trials / count / np.bincount(which[:trials])[which[:trials]]
        some = self._some(features).astype(x.dtype)
        empty = jnp.broadcast_to(trials / count * (1 - some) / some, (count,))
        chance = jnp.concatenate([jnp.asarray(share, x.dtype), empty])
        return inputs, jnp.asarray(np.asarray(self.delays, np.int32)[which])[:, None], chance[:, None]

    def _by_responses(
        self,
        population: Population,
        x: Float[Array, "trial age d"],
        delay: Int[Array, "row column"],
        weight: Float[Array, "row_ column_"],
    ) -> Sample:
        """What linear recurrences read out of windows, by their responses (docs eq. S.40)."""
        if not self.stationary:
            x = _windows(x)
            delay, weight = (
                part if len(part) == 1 else jnp.repeat(part, self.steps, axis=0) for part in (delay, weight)
            )
        outputs = activation(population.seen)(_read(population, x))
        # one gather of whole columns where delays are those of networks
        due = x[:, delay[0]] if len(delay) == 1 else x[np.arange(len(x))[:, None], delay]
        wanted = jnp.swapaxes(due[:, :, : population.features], 1, 2)
        importance = self.importance.astype(x.dtype)

        def weigh(square: Array) -> Array:
            # weights of networks, after the sum: it is then a plain one, several times as fast
            if len(weight) == 1:
                return weight[0] * (importance @ square.sum(0))
            return importance @ (weight[:, None, :] * square).sum(0)

        return Sample(weigh((wanted - outputs) ** 2), weigh(outputs**2))

    def _inputs(self, key: PRNGKey, features: int, dtype: Any) -> Float[Array, "trial time d"]:
        shape = (self.trials, self.steps, features)
        if not self.shared_gate:
            gates = (self.trials, self.steps * features)
            return gated(key, gates, self.density, self.amplitude, dtype).reshape(shape)
        there = gated(key, shape[:2], self.density, Levels(), dtype)
        chance = jr.uniform(stream(key, "amplitudes"), shape, dtype)
        return there[:, :, None] * self.amplitude.quantile(chance).astype(dtype)

    def fits(self, population: Population, memory: float = MEMORY) -> int:
        """How many networks of this population can be trained at once within so many bytes, by default `MEMORY`."""
        (units, inputs, _), trials = population.inputs.shape, self.trials + len(self.delays)
        if population.hidden == "identity":
            entries = trials * (1 if self.stationary else self.steps) * population.features
        else:
            # of trials that are run the states of a block are kept
            entries = min(trials, BLOCK) * self.steps * (units + population.features)
        # outputs, errors and what a gradient keeps of them, gradients and moments of weights: compiled programs were
        # seen to take two to five such arrays
        entries += units * (units + inputs + population.features)
        return max(1, int(memory / (6 * entries * population.inputs.dtype.itemsize)))


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
    delays: tuple[int, ...] = (),
) -> RecallLoss:
    """A `RecallLoss` of `trials` trials of `steps` steps; `amplitude` is `Uniform()` unless given.

    With `shared_gate` all features of a step are there or absent together. With two or more `delays`, trials have them
    in turn, told by a one-hot cue that follows the features in the input, as in `tasks.Recall`: for networks with as
    many cues (`random_population`). The loss is then the mean over delays of the normalised losses.

    Losses that differ in their density only share a compiled program. Raises `InputError` unless 0 < density ≤ 1.
    """
    check_density(density)
    check_count(steps=steps, trials=trials, features=features)
    if delays and not 2 <= len(set(delays)) == len(delays) <= trials:
        raise InputError(f"`delays` must hold two or more different delays, at most one for each trial; got {delays}.")
    for delay in delays:
        check_delay(delay, steps)
    u = amplitude_with_moments(amplitude)
    weight = importances(importance, features)
    return RecallLoss(jnp.asarray(density, float), weight, u, steps, trials, stationary, shared_gate, tuple(delays))


def _check_features(population: Population, importance: Float[Array, " o"], delays: tuple[int, ...] = ()) -> None:
    if population.features != len(importance):
        raise InputError(
            f"the loss is of {len(importance)} features, and the networks have {population.features}: make either with "
            "the other's."
        )
    if population.cues != len(delays):
        raise InputError(
            f"the loss has {len(delays)} cues, and the networks have {population.cues}: pass as many `delays` to the "
            "loss as `cues` to the networks."
        )


def _windows(x: Float[Array, "trial time d"]) -> Float[Array, "window age d"]:
    """The inputs up to every step of every trial, the youngest first, with zeros before the first step.

    A trial counts its steps backwards in time here, so that the youngest input of a whole trial is the first.
    """
    trials, steps, features = x.shape
    later = np.arange(steps)[:, None] + np.arange(steps)[None, :]
    padded = jnp.concatenate([x, jnp.zeros_like(x)], axis=1)
    return padded[:, later].reshape(trials * steps, steps, features)


def _read(population: Population, x: Float[Array, "window age d"]) -> Float[Array, "window o seed"]:
    """Readouts of linear recurrences before their activation: one product for all networks (docs eq. S.40)."""
    (windows, ages, inputs), seeds = x.shape, len(population)
    directions = pulses(population, ages)
    responses = product(readouts(population, directions)[None], directions)
    by_input = jnp.swapaxes(responses, 1, 2).reshape(ages * inputs, population.features * seeds)
    read = (x.reshape(windows, ages * inputs) @ by_input).reshape(windows, population.features, seeds)
    return read if population.bias is None else read + population.bias[None]


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
        drift = jnp.cumsum(jnp.einsum("aids,d->ais", off, mean), axis=0)
        drift = (drift if population.bias is None else drift + population.bias[None]) ** 2
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
