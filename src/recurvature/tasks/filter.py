r"""Be a filter: the output is the input, convolved with a kernel that is known in closed form."""

import abc
import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import scipy.linalg
from jaxtyping import Array, Bool, Float

from recurvature._errors import InputError, check_choice, check_count, check_positive
from recurvature._keys import PRNGKey, stream
from recurvature._result import Citation
from recurvature.systems.inputs import Box, Coordinate, PulsedInputs
from recurvature.tasks.base import AbstractTask, Phases, Trials

OVERLAPS = Citation(
    "ger2026overlaps",
    "Ger & Barak (2026). Learning reveals invisible structure in low-rank RNNs.",
    "https://arxiv.org/abs/2605.04115",
)

INPUTS = ("impulse", "white")
REACH = 4.0
"""White noise stays within so many standard deviations, so that its chart ends somewhere."""
# variance of a standard normal cut at ± REACH
_KEPT = 1 - REACH * math.sqrt(2 / math.pi) * math.exp(-(REACH**2) / 2) / math.erf(REACH / math.sqrt(2))
_LARGEST = REACH / math.sqrt(_KEPT)


class _Steps(eqx.Module):
    """Inputs of the first steps, one to a row, from numbers of unit intensity."""

    scale: float = eqx.field(static=True)

    def __call__(self, theta: Float[Array, " m"]) -> Float[Array, "time d"]:
        return theta[:, None] * self.scale


class AbstractFilter(AbstractTask):
    r"""What filters share: input, targets on the grid $n\,dt$, and when an output counts as right."""

    reference: ClassVar[Citation] = OVERLAPS
    input_size: ClassVar[int] = 1
    """One."""
    output_size: ClassVar[int] = 1
    """One."""

    input: eqx.AbstractVar[str]
    """`impulse` or `white`."""

    @abc.abstractmethod
    def kernel(self, time: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
        r"""The impulse response $k^*(t)$, in float64."""

    @property
    def _scale(self) -> float:
        """What numbers of unit intensity are multiplied by."""
        return 1 / self.dt if self.input == "impulse" else 1 / math.sqrt(self.dt)

    def draw(self, key: PRNGKey, n: int) -> Trials:
        """`n` trials without noise."""
        if self.input == "impulse":
            theta = jr.rademacher(stream(key, "sign"), (n, 1), jnp.float32)
        else:
            noise = jr.truncated_normal(stream(key, "white noise"), -REACH, REACH, (n, self.steps), jnp.float32)
            theta = noise / math.sqrt(_KEPT)
        later = ((0, 0), (0, self.steps - theta.shape[1]))
        x = jnp.pad(theta * self._scale, later)
        k = self.kernel(np.arange(self.steps) * self.dt) * self.dt
        causal = jnp.asarray(scipy.linalg.toeplitz(k, np.zeros(self.steps)), jnp.float32)
        targets = jnp.matmul(x, causal.T, precision=jax.lax.Precision.HIGHEST)
        return Trials(x[..., None], targets[..., None], jnp.ones((n, self.steps), jnp.float32), theta)

    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which trials leave at most a hundredth of the square error that silence makes."""
        targets = trials.targets.astype(outputs.dtype)
        left = ((outputs - targets) ** 2).sum((1, 2))
        return left <= 0.01 * (targets**2).sum((1, 2))

    # nothing varies between trials but their input
    def manifold(self, *_: Any, **condition: Any) -> PulsedInputs:
        """Impulses of every size up to 1, or all courses of the noise: coordinates `amplitude`, or `x_1` to `x_T`."""
        _check_no_condition(condition)
        if self.input == "impulse":
            return PulsedInputs(Box((Coordinate("amplitude", -1.0, 1.0),)), _Steps(self._scale), ((0.0, self.dt),))
        names = [f"x_{t + 1}" for t in range(self.steps)]
        domain = Box(tuple(Coordinate(name, -_LARGEST, _LARGEST) for name in names))
        windows = tuple((t * self.dt, (t + 1) * self.dt) for t in range(self.steps))
        return PulsedInputs(domain, _Steps(self._scale), windows)

    def views(self) -> dict[str, dict[str, Any]]:
        """One."""
        return {"filter": {}}

    def phases(self, *_: Any, **condition: Any) -> Phases:
        """The whole trial."""
        _check_no_condition(condition)
        return {"response": (0.0, self.duration)}


def _check_no_condition(condition: dict[str, Any]) -> None:
    if condition:
        raise InputError(f"a filter has no conditions; got {', '.join(condition)}.")


class ExponentialFilter(AbstractFilter):
    r"""The target is the input filtered by $k^*(t) = a\,e^{-ct}$, with $a$ = `amplitude` and $c$ = `rate` per tau.

    `impulse`: a single step of $\pm1/dt$ at time 0, of random sign, so that the target is $\pm k^*(n\,dt)$. `white`:
    noise of unit intensity, standard deviation $1/\sqrt{dt}$ at every step, cut at four of them with its variance
    kept. Targets are those of the grid $n\,dt$ itself, $y_n = dt\sum_{j\le n}k^*(j\,dt)\,x_{n-j}$, and include the
    input of their own step. The mean square error is in the mean the `overlaps.FilterLoss` of the same input;
    for an impulse divided by the length of the trial.

    The task of Ger & Barak, arXiv 2605.04115 (there $a^* = 1$, $c^* = 0.2$). Raises `InputError` unless `rate` and
    `steps` are positive and `amplitude` is finite and not 0.
    """

    name: ClassVar[str] = "filter"

    dt: float = eqx.field(static=True, default=0.1)
    steps: int = eqx.field(static=True, default=200)
    amplitude: float = eqx.field(static=True, default=1.0)
    rate: float = eqx.field(static=True, default=0.2)
    input: str = eqx.field(static=True, default="impulse")
    input_noise: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        check_choice("input", self.input, INPUTS)
        check_count(steps=self.steps)
        check_positive(rate=self.rate)
        if not (math.isfinite(self.amplitude) and self.amplitude):
            raise InputError(f"`amplitude` must be a finite number other than 0; got {self.amplitude!r}.")

    def kernel(self, time: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
        """$a e^{-ct}$."""
        return self.amplitude * np.exp(-self.rate * time)


class DampedOscillator(AbstractFilter):
    r"""The target is the input filtered by $k^*(t) = e^{-\gamma t}\cos\omega t$; a linear network needs rank 2 for it.

    $\gamma$ = `damping` and $\omega$ = `frequency`, both per tau; inputs and targets as those of `ExponentialFilter`.
    The task of Ger & Barak, arXiv 2605.04115 (there $\gamma = 0.3$, $\omega = 2$). Raises `InputError` unless
    `damping`, `frequency` and `steps` are positive.
    """

    name: ClassVar[str] = "oscillator"

    dt: float = eqx.field(static=True, default=0.1)
    steps: int = eqx.field(static=True, default=200)
    damping: float = eqx.field(static=True, default=0.3)
    frequency: float = eqx.field(static=True, default=2.0)
    input: str = eqx.field(static=True, default="impulse")
    input_noise: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        check_choice("input", self.input, INPUTS)
        check_count(steps=self.steps)
        check_positive(damping=self.damping, frequency=self.frequency)

    def kernel(self, time: Float[np.ndarray, " time"]) -> Float[np.ndarray, " time"]:
        r"""$e^{-\gamma t}\cos\omega t$."""
        return np.exp(-self.damping * time) * np.cos(self.frequency * time)
