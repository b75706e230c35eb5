r"""Expected losses under a rectified readout: the exact polynomial in the density, its first orders, and samples."""

import itertools
import math
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_shape
from recurvature._keys import PRNGKey
from recurvature._precision import float_dtype
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.models import check_delay
from recurvature.lenses.superposition.statistics import (
    AbstractAmplitude,
    Levels,
    Uniform,
    amplitude_with_moments,
    check_density,
    gated,
    importances,
    some_feature,
)
from recurvature.systems.base import Network
from recurvature.systems.simulate import simulate
from recurvature.tasks.recall import SUPERPOSITION, delayed

MOST = 2**20
"""Input sequences that are enumerated at most."""


class SparsePolynomial(AbstractResult):
    r"""The expected loss of a trial as a polynomial in the density, $E L = \sum_j c_jp^j$, exactly (docs eq. S.16)."""

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    coefficient: Float[Values, " order"]
    """$c_0$ to $c_n$; $c_0$ is the loss of a trial without features."""
    active: Float[Values, " order"]
    """The sum of the expected losses of all sets of so many active features."""
    steps: int
    delay: int
    silence: float
    """The loss of an output of 0, over the density."""

    def __call__(self, density: float) -> float:
        """The expected loss at one density, by the sum over numbers of active features: no cancellation."""
        check_density(density)
        active = np.asarray(self.active, float)
        n = len(active) - 1
        return math.fsum(e * density**a * (1 - density) ** (n - a) for a, e in enumerate(active))

    def normalised(self, density: float) -> float:
        """The loss over that of an output of 0."""
        return self(density) / (density * self.silence)


def sparse_polynomial(
    network: Network,
    *,
    steps: int,
    delay: int,
    amplitude: AbstractAmplitude | None = None,
    importance: float | Float[Array, " o"] = 1.0,
    block: int = 2**14,
) -> SparsePolynomial:
    r"""The exact expected loss of k-delay recall of any network, by running it on every input sequence.

    Every feature of every step has a gate of its own; amplitudes are the `Levels` given, by default 1. With L levels
    and d features there are $(1+L)^{Td}$ sequences, of which `block` are run at once.

    Raises `InputError` where those are more than 2²⁰, or the amplitudes are no `Levels`.
    """
    d, levels = network.system.input_size, Levels() if amplitude is None else amplitude
    check_count(steps=steps, block=block)
    check_delay(delay, steps)
    if not isinstance(levels, Levels):
        raise InputError("`amplitude` must be `Levels`, which can be enumerated. Otherwise use `sampled_loss`.")
    gates, choices = steps * d, 1 + len(levels.values)
    if choices**gates > MOST:
        raise InputError(
            f"{choices}^{gates} sequences are too many to run (at most {MOST}): pass fewer `steps`, or use "
            "`sampled_loss`."
        )
    weight = importances(importance, network.readout.output_size, float_dtype(network))
    active = np.zeros(gates + 1)
    for start in range(0, choices**gates, block):
        which = _digits(np.arange(start, min(start + block, choices**gates)), choices, gates)
        x = np.array([0.0, *levels.values])[which].reshape(-1, steps, d)
        errors = np.asarray(_errors_of(network, jnp.asarray(x, weight.dtype), delay, weight), float)
        count = (which > 0).sum(1)
        active += np.bincount(count, errors / float(len(levels.values)) ** count, gates + 1)
    silence = (steps - delay) * levels.square * float(weight.sum())
    return SparsePolynomial(_monomials(active), active, steps, delay, silence)


def _digits(numbers: Any, base: int, count: int) -> Any:
    return numbers[:, None] // base ** np.arange(count) % base


def _monomials(active: Float[np.ndarray, " order"]) -> Float[np.ndarray, " order"]:
    """Coefficients of powers of p from those of $p^a(1-p)^{n-a}$."""
    n = len(active) - 1
    terms = [
        math.fsum((-1) ** (j - a) * math.comb(n - a, j - a) * active[a] for a in range(j + 1)) for j in range(n + 1)
    ]
    return np.array(terms)


@eqx.filter_jit
def _errors_of(
    network: Network, x: Float[Array, "trial time d"], delay: int, weight: Float[Array, " o"]
) -> Float[Array, " trial"]:
    """The loss of each input sequence."""
    outputs = jnp.asarray(simulate(network, x).outputs)
    check_shape("outputs", outputs, tuple(x.shape))
    targets = delayed(x, jnp.full(len(x), delay, jnp.int32)).astype(outputs.dtype)
    return ((outputs - targets) ** 2 @ weight).sum(1)


class SampledLoss(AbstractResult):
    """An expected loss from sampled trials, all of which hold a feature, and its standard error (docs eq. S.19)."""

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    loss: float
    standard_error: float
    normalised: float
    """Over the loss of an output of 0."""
    errors: Float[Values, " trial"]
    """The losses of the sampled trials, each of which holds a feature."""
    empty: float
    """The chance of a trial without features."""
    unasked: float
    """The loss of such a trial: 0 where a network is silent without input."""


def sampled_loss(
    network: Network,
    *,
    steps: int,
    delay: int,
    density: float,
    amplitude: AbstractAmplitude | None = None,
    importance: float | Float[Array, " o"] = 1.0,
    trials: int = 4096,
    key: PRNGKey,
) -> SampledLoss:
    r"""The expected loss of k-delay recall of any network, from sampled trials.

    Trials without a feature are all alike, and one of them is run: the loss is the mean over trials with at least one
    feature times the chance of those, $1-(1-p)^{Td}$, and that of the empty one for the rest. Exact in expectation.
    """
    check_count(steps=steps, trials=trials)
    check_delay(delay, steps)
    check_density(density)
    d, u = network.system.input_size, amplitude_with_moments(amplitude)
    weight = importances(importance, network.readout.output_size, float_dtype(network))
    x = drawn(key, (trials, steps * d), jnp.asarray(density), u, weight.dtype).reshape(trials, steps, d)
    errors = np.asarray(_errors_of(network, x, delay, weight), float)
    chance = float(some_feature(density, steps * d))
    unasked = float(_errors_of(network, jnp.zeros((1, steps, d), weight.dtype), delay, weight)[0])
    loss = float(chance * errors.mean()) + (1 - chance) * unasked
    error = float(chance * errors.std(ddof=1)) / math.sqrt(trials)
    silence = (steps - delay) * density * u.square * float(weight.sum())
    return SampledLoss(loss, error, loss / silence, errors, 1 - chance, unasked)


drawn = eqx.filter_jit(gated)


def order_one(
    projections: Float[Array, "age o d"],
    delay: int,
    *,
    amplitude: AbstractAmplitude | None = None,
    importance: float | Float[Array, " o"] = 1.0,
) -> Float[Array, ""]:
    r"""The coefficient of $p$ in the expected loss under a relu readout, over T = ages steps (docs eq. S.17).

    Amplitudes of at least 0 make negative projections free: the interference-free half-space. Holds for the pulse
    responses of relu recurrences if amplitudes are positive. Differentiable.
    """
    u = amplitude_with_moments(amplitude)
    ages, outputs, features = projections.shape
    check_delay(delay, ages)
    own = jnp.zeros((ages, outputs, features), bool).at[delay].set(jnp.eye(outputs, features, dtype=bool))
    cost = jnp.zeros_like(projections)
    for square, sign in zip(u.squares, (1, -1), strict=True):
        seen = jnp.maximum(sign * projections, 0)
        wanted = own.astype(projections.dtype) * sign
        cost = cost + square * (wanted - seen) ** 2
    count = jnp.asarray(ages - np.arange(ages), projections.dtype)
    return (count @ cost.sum(2)) @ importances(importance, outputs, projections.dtype)


def order_two(
    response: Float[Any, " age"] | Float[Any, "age o d"],
    delay: int,
    *,
    amplitude: AbstractAmplitude | None = None,
    importance: float | Float[Array, " o"] = 1.0,
) -> float:
    r"""The coefficient of $p^2$ under a relu readout: sums over pairs of ages and features (docs eq. S.18).

    `response` holds the projections of one feature by age, or those (age, output, feature) of several with gates of
    their own. `amplitude` is `Uniform()` from 0 to 1, for which the pairs have a closed form, or `Levels`.
    """
    a, u = np.asarray(response, float), amplitude_with_moments(amplitude)
    a = a[:, None, None] if a.ndim == 1 else a
    ages, outputs, features = a.shape
    check_delay(delay, ages)
    weight = np.asarray(importances(importance, outputs), float)
    return sum(weight[i] * _pairs(a[:, i].ravel(), delay * features + i, features, u) for i in range(outputs))


def _pairs(a: Float[np.ndarray, " direction"], due: int, features: int, u: AbstractAmplitude) -> float:
    """One output's part: what pairs of directions (age first), of which one may be due, cost beyond either alone."""
    total, ages = 0.0, len(a) // features
    for s, r in itertools.combinations(range(len(a)), 2):
        both = _pair(a[s], a[r], s == due, r == due, u)
        alone = _single(a[s], s == due, u) + _single(a[r], r == due, u)
        total += (ages - r // features) * (both - alone)
    return total


def _single(a: float, target: bool, u: AbstractAmplitude) -> float:
    return sum(q * (sign * target - max(sign * a, 0.0)) ** 2 for q, sign in zip(u.squares, (1, -1), strict=True))


def _pair(a: float, b: float, first: bool, second: bool, u: AbstractAmplitude) -> float:
    """The expected loss where two ages are active, of which one may be the target."""
    if isinstance(u, Levels):
        x, y = np.meshgrid(u.values, u.values)
        return float(np.mean((first * x + second * y - np.maximum(a * x + b * y, 0)) ** 2))
    if u != Uniform():
        raise InputError("`amplitude` must be Uniform() from 0 to 1 or `Levels`: other pairs have no closed form here.")
    crossed = first * _cross(a, b) + second * _cross(b, a)
    return _square(a, b) - 2 * crossed + (first or second) * u.square


def _square(a: float, b: float) -> float:
    r"""$E[aU+bV]_+^2$ for U, V uniform between 0 and 1."""
    if a <= 0 and b <= 0:
        return 0.0
    if a >= 0 and b >= 0:
        return (a * a + b * b) / 3 + a * b / 2
    a, b = max(a, b), -min(a, b)
    return (a**4 - max(a - b, 0.0) ** 4) / (12 * a * b)


def _cross(a: float, b: float) -> float:
    r"""$E\,U[aU+bV]_+$ for U, V uniform between 0 and 1."""
    if a <= 0 and b <= 0:
        return 0.0
    if a >= 0 and b >= 0:
        return a / 3 + b / 4
    if a > 0:
        b, d = -b, max(a + b, 0.0)
        return (a * a / 4 - (d**4 / 4 + b * d**3 / 3) / a**2) / (2 * b)
    # V must exceed -aU/b, which it can only for U below the edge
    a, edge = -a, min(1.0, -b / a)
    return b * edge**2 / 4 - a * edge**3 / 3 + a * a * edge**4 / (8 * b)
