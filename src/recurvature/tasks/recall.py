r"""Delayed serial recall: at every step, give out what came in a fixed number of steps ago."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from recurvature._errors import InputError, check_choice, check_count
from recurvature._keys import PRNGKey, stream
from recurvature._result import Citation
from recurvature.systems.inputs import Box, Coordinate, PulsedInputs
from recurvature.tasks.base import AbstractTask, Phases, Trials, numbered
from recurvature.tasks.draws import balanced, beats_silence

SUPERPOSITION = Citation(
    "sharma2026superposition",
    "Sharma, Proca, Prieto & Mediano. Temporal superposition and feature geometry of RNNs under memory demands. "
    "ICLR 2026.",
    "https://openreview.net/forum?id=7cMzTpbJHC",
)


class _Sequence(eqx.Module):
    """The inputs of all steps, one to a row: the features of that step, then the cue."""

    features: int = eqx.field(static=True)
    cue: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, theta: Float[Array, " m"]) -> Float[Array, "time d"]:
        values = theta.reshape(-1, self.features)
        cue = jnp.broadcast_to(jnp.asarray(self.cue, theta.dtype), (values.shape[0], len(self.cue)))
        return jnp.concatenate([values, cue], axis=1)


class Recall(AbstractTask):
    r"""The target at step $t$ is $x_{t-k}$, the features of $k$ steps ago, and 0 as long as there are none.

    Each of `features` inputs is, at every step and independently, 0 with chance 1 - `density`, else uniform between
    `low` and `high`; with `shared_gate` all features of a step are there or absent together. `delay_steps` holds $k$:
    if it holds several delays, each trial has one of them, and a one-hot cue of it follows the features in the input.
    $k = 0$ is the autoencoding task of toy models of superposition (Elhage et al. 2022, arXiv 2209.10652).

    `importance` is the weight $I_i$ of feature $i$ in the loss, a number for each feature or one for all. The targets
    are $\sqrt{I_i}\,x_{t-k,i}$, so that the plain square error is $\sum_i I_i(x_{t-k,i} - \hat y_i)^2$ for the outputs
    $\sqrt{I_i}\,\hat y_i$. Every step weighs 1. `theta` holds the features of all steps, those of the first step first.

    The task of Sharma, Proca, Prieto & Mediano, ICLR 2026 (OpenReview 7cMzTpbJHC); amplitudes, gates and the length
    are this library's choice. Raises `InputError` unless 0 <= k < `steps`, 0 < `density` <= 1 and `low` < `high`.
    """

    name: ClassVar[str] = "recall"
    reference: ClassVar[Citation] = SUPERPOSITION

    dt: float = eqx.field(static=True, default=1.0)
    steps: int = eqx.field(static=True, default=17)
    delay_steps: tuple[int, ...] = eqx.field(static=True, default=(3,))
    features: int = eqx.field(static=True, default=1)
    density: float = eqx.field(static=True, default=1.0)
    low: float = eqx.field(static=True, default=0.0)
    high: float = eqx.field(static=True, default=1.0)
    shared_gate: bool = eqx.field(static=True, default=False)
    importance: tuple[float, ...] = eqx.field(static=True, default=(1.0,))
    input_noise: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        check_count(steps=self.steps, features=self.features)
        _check_delays(self.delay_steps, self.steps)
        if not 0 < self.density <= 1:
            raise InputError(f"`density` must lie in (0, 1]; got {self.density!r}.")
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise InputError(f"amplitudes need finite `low` < `high`; got {self.low} and {self.high}.")
        if len(self.importance) not in (1, self.features) or not all(0 <= i < np.inf for i in self.importance):
            raise InputError(
                f"`importance` must hold 1 or {self.features} finite numbers of at least 0; got {self.importance}."
            )

    @property
    def input_size(self) -> int:
        """The features, and the cue if there are several delays."""
        return self.features + len(self._cue(self.delay_steps[0]))

    @property
    def output_size(self) -> int:
        """The features."""
        return self.features

    @property
    def input_names(self) -> tuple[str, ...]:
        """The features, and the cue of each delay if there are several."""
        return numbered("feature", self.features) + tuple(f"cue of delay {k}" for k in self.delay_steps if self._cue(k))

    @property
    def output_names(self) -> tuple[str, ...]:
        """The features."""
        return numbered("feature", self.features)

    def _cue(self, delay: int) -> tuple[float, ...]:
        return () if len(self.delay_steps) == 1 else tuple(float(k == delay) for k in self.delay_steps)

    @property
    def _scale(self) -> Float[np.ndarray, " o"]:
        return np.broadcast_to(np.sqrt(np.asarray(self.importance, np.float32)), (self.features,))

    def draw(self, key: PRNGKey, n: int) -> Trials:
        """`n` trials without noise."""
        shape = (n, self.steps, self.features)
        gates = shape if not self.shared_gate else (n, self.steps, 1)
        there = jr.uniform(stream(key, "gates"), gates, jnp.float32) < self.density
        values = jr.uniform(stream(key, "amplitudes"), shape, jnp.float32, self.low, self.high)
        x = jnp.where(there, values, jnp.zeros((), jnp.float32))
        which = balanced(stream(key, "delays"), n, len(self.delay_steps))
        delays = jnp.asarray(self.delay_steps, jnp.int32)[which]
        cues = jnp.asarray([self._cue(k) for k in self.delay_steps], jnp.float32)[which]
        inputs = jnp.concatenate([x, jnp.broadcast_to(cues[:, None, :], (n, self.steps, cues.shape[1]))], axis=-1)
        targets = delayed(x, delays) * jnp.asarray(self._scale)[None, None, :]
        return Trials(inputs, targets, jnp.ones((n, self.steps), jnp.float32), x.reshape(n, -1))

    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which trials leave at most a quarter of the square error that silence makes."""
        return beats_silence(outputs, trials.targets, trials.mask)

    def manifold(self, *, delay: int | None = None) -> PulsedInputs:
        """The manifold of all input sequences of a trial with one of the delays (None: the first).

        Coordinates `x_1` to `x_T`, or `x_1_1` (step, feature) to `x_T_d`.
        """
        delay = self._known(delay)
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        tail = [""] if self.features == 1 else [f"_{j + 1}" for j in range(self.features)]
        names = [f"x_{t + 1}{end}" for t in range(self.steps) for end in tail]
        windows = tuple((t * self.dt, (t + 1) * self.dt) for t in range(self.steps))
        domain = Box(tuple(Coordinate(name, low, high) for name in names))
        return PulsedInputs(domain, _Sequence(self.features, self._cue(delay)), windows)

    def views(self) -> dict[str, dict[str, int]]:
        """One for each delay."""
        return {f"delay of {k} steps": {"delay": k} for k in self.delay_steps}

    def phases(self, *, delay: int | None = None) -> Phases:
        """Until the first target there is silence to be kept; recall is the rest."""
        start = self._known(delay) * self.dt
        filling = {"filling": (0.0, start)} if start else {}
        return {**filling, "recall": (start, self.duration)}

    def _known(self, delay: int | None) -> int:
        delay = self.delay_steps[0] if delay is None else delay
        check_choice("delay", delay, self.delay_steps)
        return delay


def _check_delays(delays: tuple[int, ...], steps: int) -> None:
    if not delays or len(set(delays)) < len(delays):
        raise InputError(f"`delay_steps` must hold one or more different delays; got {delays}.")
    for k in delays:
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 0 <= k < steps:
            raise InputError(f"`delay_steps` must be whole numbers from 0 to `steps` - 1 = {steps - 1}; got {k!r}.")


def delayed(x: Float[Array, "trial time d"], delays: Int[Array, " trial"]) -> Float[Array, "trial time d"]:
    """Every trial moved later by its delay (steps), with zeros in front."""
    source = jnp.arange(x.shape[1], dtype=delays.dtype)[None, :] - delays[:, None]
    moved = jnp.take_along_axis(x, jnp.maximum(source, 0)[:, :, None], axis=1)
    return jnp.where((source >= 0)[:, :, None], moved, jnp.zeros((), x.dtype))
