r"""Two ways to pack under a relu readout, and the density at which they cost the same: without samples or training.

The response of two units with a complex pair of eigenvalues has four numbers that matter, and the distribution of what
is read out is a convolution of as many one-dimensional distributions as there are ages (docs eq. S.72-S.74).
"""

import functools
from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Complex, Float

from recurvature._errors import InputError, NumericalError, check_choice, check_count, check_shape
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.geometry import packing_regimes, silent_share
from recurvature.lenses.superposition.models import check_delay
from recurvature.lenses.superposition.statistics import (
    AbstractAmplitude,
    Levels,
    Uniform,
    amplitude_with_moments,
    check_density,
    check_memory,
)
from recurvature.tasks.recall import SUPERPOSITION

TURN = {"dense": 85.0, "sparse": 270.0}
"""Where the search for each branch starts: the turn over the delay (degrees)."""


def rectified_loss(
    response: Float[Values, " age"],
    delay: int,
    density: float,
    *,
    amplitude: AbstractAmplitude | None = None,
    bias: float = 0.0,
    memory: float = 0.0,
    points: int = 4096,
) -> float:
    r"""The loss per step of endless recall of one feature under a relu, $E(x_{t-k}-[b+\sum_sa_sx_{t-s}]_+)^2$.

    `response` holds $a_s$ of ages 0 on; older ages count as 0. The distribution of the sum is convolved on `points`
    points, and the error falls with their square (docs eq. S.72, S.73). `amplitude` is `Uniform()` from 0 to 1 unless
    given, or any `Uniform` or `Levels`. `bias` is b. With `memory`, the correlation of the gate from step to step,
    features come in bursts, as those of `persistent_gates` do (docs eq. S.82).

    Without memory it does not matter what is an age and what another feature with a gate of its own: a list of the
    projections on one output, whichever they are, will do.
    """
    a, u = np.asarray(response, float), amplitude_with_moments(amplitude)
    check_shape("response", a, (None,))
    check_delay(delay, len(a))
    check_density(density)
    check_memory(memory)
    check_count(points=points)
    if not np.isfinite([*a, bias]).all():
        raise InputError("`response` and `bias` must be finite.")
    # the grid has room for the steps at its ends, one for each age, and for as many in between
    if points < 4 * (len(a) + 2):
        raise InputError(f"`points` must be at least {4 * (len(a) + 2)} for {len(a)} ages; got {points}.")
    values, chances = amplitude_nodes(u)
    # all that can ever be positive together: who falls below its negative is silent, by how much does not matter
    floor = -np.outer(a, _ends(u)).max(1, initial=0).sum() - max(bias, 0.0)
    grid, (closed, mass) = _others(a, delay, density, memory, u, points, floor)
    seen = np.maximum(a[delay] * values[:, None] + grid + bias, 0)
    due = chances @ (values**2 - 2 * values * (seen @ mass) + seen**2 @ mass)
    unasked = np.maximum(grid + bias, 0) ** 2 @ closed
    return float(density * due + (1 - density) * unasked)


def amplitude_nodes(u: AbstractAmplitude) -> tuple[Float[np.ndarray, " node"], Float[np.ndarray, " node"]]:
    """Values and chances over which the mean of a smooth function of the amplitude is a sum: of levels, or Gauss's."""
    if isinstance(u, Levels):
        return np.asarray(u.values, float), np.full(len(u.values), 1 / len(u.values))
    if isinstance(u, Uniform):
        nodes, weights = _gauss()
        return u.low + (u.high - u.low) * (nodes + 1) / 2, weights / 2
    raise InputError(f"`amplitude` must be `Uniform` or `Levels`; got {type(u).__name__}.")


@functools.cache
def _gauss() -> tuple[Float[np.ndarray, " node"], Float[np.ndarray, " node"]]:
    return np.polynomial.legendre.leggauss(48)


def _ends(u: AbstractAmplitude) -> Float[np.ndarray, " end"]:
    return np.asarray(u.values if isinstance(u, Levels) else (u.low, u.high) if isinstance(u, Uniform) else (), float)


def _others(
    a: Float[np.ndarray, " age"],
    delay: int,
    density: float,
    memory: float,
    u: AbstractAmplitude,
    points: int,
    floor: float,
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, "gate point"]]:
    """Points, 0 among them, and the chances of the sum of all ages but the one that is due, given its gate.

    The gate is closed in row 0 and open in row 1. No age is taken below `floor`.
    """
    others = np.delete(a, delay)
    ends = np.maximum(np.outer(others, np.append(_ends(u), 0.0)), floor)
    low, high = ends.min(1, initial=0).sum(), ends.max(1, initial=0).sum()
    step = max(high - low, 1e-12) / (points - 2 * len(a) - 2)
    grid = step * (np.arange(points) - np.ceil(-low / step) - len(a))
    # where the points of this grid are on one that starts with 0 and wraps around, as transforms want it
    order = np.round(grid / step).astype(int) % points
    alone, there = np.zeros((len(others), points)), others != 0
    alone[:, 0] = ~there
    alone[np.ix_(there, order)] = _alone(grid, others[there, None], u, step, floor)
    each = np.fft.rfft(alone, axis=1)
    both = _beside(each[:delay][::-1], density, memory) * _beside(each[delay:], density, memory)
    return grid, np.fft.irfft(both, points, axis=1)[:, order]


def _beside(
    each: Complex[np.ndarray, "age frequency"], density: float, memory: float
) -> Complex[np.ndarray, "gate frequency"]:
    """Transforms of what comes together of some ages, the nearest first, given the gate before them (docs eq. S.82)."""
    change = (1 - memory) * np.array([density, 1 - density])
    together = np.ones((2, each.shape[1]), complex)
    for one in each[::-1]:
        closed, open_ = together[0], one * together[1]
        together = np.stack([closed + change[0] * (open_ - closed), open_ + change[1] * (closed - open_)])
    return together


def _alone(
    grid: Float[np.ndarray, " point"], a: Float[np.ndarray, "age 1"], u: AbstractAmplitude, step: float, floor: float
) -> Float[np.ndarray, "age point"]:
    r"""Chances of the points for each $aU$, none below `floor`: second differences of $E(z-aU)_+$ (docs eq. S.72)."""
    z = np.concatenate([grid[:1] - step, grid, grid[-1:] + step])
    return np.diff(_mean_above(z, a, u, floor), n=2, axis=1) / step


def _mean_above(
    z: Float[np.ndarray, " point"], a: Float[np.ndarray, "age 1"], u: AbstractAmplitude, floor: float
) -> Float[np.ndarray, "age point"]:
    """The mean of what z is above each $aU$, none of which is below `floor`."""
    if isinstance(u, Levels):
        each = (np.maximum(z - np.maximum(a * value, floor), 0) for value in u.values)
        return np.asarray(sum(each) / len(u.values))
    ends = np.sort(a * _ends(u), axis=1)
    low, high = ends[:, :1], ends[:, 1:]
    # the integral of the distribution function from the floor on, without a difference of large squares
    first = np.clip(floor, low, high)
    last = np.clip(z, first, high)
    return (last - first) * (last + first - 2 * low) / (2 * (high - low)) + np.maximum(z - np.maximum(high, floor), 0)


class SpiralOptimum(AbstractResult):
    r"""The best response of one branch (docs eq. S.74).

    $a_s = \rho^{s-k}(\alpha\cos(s-k)\theta + \beta\sin(s-k)\theta)$ for ages s from 0 on.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    response: Float[Values, " age"]
    loss: float
    """Over that of silence."""
    modulus: float
    k_theta: float = eqx.field(metadata={"units": "deg"})
    order_parameter: float
    delay: int
    density: float
    branch: str
    memory: float = 0.0

    @property
    def regime(self) -> int:
        """Where the descent ended, a place in `REGIMES` (docs eq. S.26)."""
        own, psi, angle = np.asarray(self.response)[:, None], self.order_parameter, self.k_theta / self.delay
        return int(packing_regimes(own, self.delay, np.array([psi]), np.array([angle]))[0])

    @property
    def parameters(self) -> Float[np.ndarray, " parameter"]:
        r"""$\rho$, $k\theta$ (degrees), $\alpha$ and $\beta$, from which a search at another density may start."""
        k, a = self.delay, np.asarray(self.response)
        angle = np.deg2rad(self.k_theta / k)
        beta = (a[k + 1] / self.modulus - a[k] * np.cos(angle)) / np.sin(angle)
        return np.array([self.modulus, self.k_theta, a[k], beta])


def spiral_optimum(
    delay: int,
    density: float,
    branch: str,
    *,
    start: SpiralOptimum | None = None,
    amplitude: AbstractAmplitude | None = None,
    memory: float = 0.0,
    ages: int = 40,
    points: int = 4096,
) -> SpiralOptimum:
    r"""The least `rectified_loss` of two units near a `branch`, `dense` or `sparse`, by descent from `start`.

    Every response of two units with a complex pair is one of these, under any readout, tied or not. A descent may leave
    a branch that is no longer a minimum: `k_theta` and `order_parameter` say where it ended. Raises `NumericalError`
    where it does not converge.
    """
    import scipy.optimize

    check_choice("branch", branch, TURN)
    if delay < 1:
        raise InputError(f"`delay` must be at least 1; got {delay}. Without one there is nothing to turn.")
    check_delay(delay, ages)
    begin = np.array([0.8 if branch == "dense" else 0.55, TURN[branch], 0.9, 0.0])
    if start is not None:
        begin = start.parameters
    u = amplitude_with_moments(amplitude)
    silence = density * u.square

    def lost(free: Float[np.ndarray, " parameter"]) -> float:
        response = _spiral(free, delay, ages)
        return rectified_loss(response, delay, density, amplitude=u, memory=memory, points=points) / silence

    # the logit of the modulus keeps it below 1; one unit of every number is a change of the same order
    free = np.array([np.log(begin[0] / (1 - begin[0])), np.deg2rad(begin[1]), begin[2], begin[3]])
    # the loss bends sharply where a projection changes its sign, which a simplex does not mind
    sides = np.diag([0.2, 0.1, 0.1, 0.1]) * (1.0 if start is None else 0.3)
    simplex = free + np.concatenate([np.zeros((1, 4)), sides])
    options = {"initial_simplex": simplex, "xatol": 1e-4, "fatol": 1e-8, "maxfev": 2000}
    found = scipy.optimize.minimize(lost, free, method="Nelder-Mead", options=options)
    if not found.success:
        raise NumericalError(
            f"no descent converged for `delay` {delay}, `density` {density}, `branch` {branch}.", found
        )
    return _summary(
        found.x, _spiral(found.x, delay, ages), float(found.fun), delay, density=density, branch=branch, memory=memory
    )


def _spiral(free: Float[np.ndarray, " parameter"], delay: int, ages: int) -> Float[np.ndarray, " age"]:
    later = np.arange(ages) - delay
    angle, modulus = later * free[1] / delay, 1 / (1 + np.exp(-free[0]))
    return modulus**later * (free[2] * np.cos(angle) + free[3] * np.sin(angle))


def _summary(
    free: Float[np.ndarray, " parameter"], a: Float[np.ndarray, " age"], loss: float, delay: int, **asked: Any
) -> SpiralOptimum:
    return SpiralOptimum(
        response=a,
        loss=loss,
        modulus=float(1 / (1 + np.exp(-free[0]))),
        k_theta=float(np.rad2deg(free[1])),
        order_parameter=float(silent_share(a[:, None], delay)[0]),
        delay=delay,
        **asked,
    )
