r"""The best linear networks for recall of white input, among all stable recurrences, by their reflections."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from recurvature._errors import InputError, NumericalError, check_count
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.models import Weights, check_delay, projections, tied
from recurvature.tasks.recall import SUPERPOSITION


class LinearOptimum(AbstractResult):
    r"""The linear network of least loss for delay `delay`, white scalar input and endless trials (docs eq. S.14).

    In coordinates in which the state is white, where the best readout is the tied one. `loss` is $L/q$, 1 for silence.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    recurrent: Float[Values, "i j"]
    inputs: Float[Values, "i d"]
    readout: Float[Values, "o i"]
    reflections: Float[Values, " i"]
    modulus: Float[Values, " k"]
    """Moduli of the eigenvalues, the largest first."""
    angle: Float[Values, " k"]
    """Their arguments (rad), in [0, π]; of the same order."""
    response: Float[Values, " age"]
    """The projections $a_s$ of ages 0 to 2k + 1."""
    loss: float
    delay: int

    @property
    def weights(self) -> Weights:
        """The network."""
        return Weights(*(jnp.asarray(w) for w in (self.recurrent, self.inputs, self.readout)))


@jax.jit
def balanced_network(reflections: Float[Array, " n"]) -> tuple[Float[Array, "n n"], Float[Array, "n 1"]]:
    r"""Recurrence and input weights (A, B) with $AA^\top + BB^\top = 1$ from reflections between -1 and 1.

    The first n rows of a product of n rotations of neighbouring axes among n + 1: its leading block is A, its last
    column B. Every stable spectrum of a real matrix belongs to one set of reflections (docs eq. S.14).
    """
    n = reflections.shape[0]
    total = jnp.eye(n + 1, dtype=reflections.dtype)
    for j in range(n):
        g = reflections[j]
        s = jnp.sqrt(1 - g**2)
        turn = jnp.stack([jnp.stack([-g, s]), jnp.stack([s, g])])
        total = total.at[:, j : j + 2].set(total[:, j : j + 2] @ turn)
    return total[:n, :n], total[:n, n:]


_SPACINGS, _DECAYS = (0.6, 0.8), (0.7, 1.2, 2.0)
"""Of combs of eigenvalues: what is left of the spacing 2π/(k + 1), and by how much they decay over the delay."""


def optimal_linear(delay: int, size: int, *, starts: int = 32) -> LinearOptimum:
    r"""The least $L/q = 1 - \lVert A^kB\rVert^2$ over all stable recurrences of `size` units, by descent.

    From a few combs of eigenvalues, of equal modulus and evenly spaced about the positive axis (docs eq. S.80), and
    from `starts` of a fixed low-discrepancy set of reflections. There are many local optima, and it is not proved that
    the least of those that are found is the least of all; no other start is known to lead lower than combs do. Needs
    float64. Raises `NumericalError` where no descent ends at a point of zero slope.
    """
    import scipy.optimize
    import scipy.stats

    check_delay(delay)
    check_count(size=size, starts=starts)
    if jnp.zeros(1).dtype != jnp.float64:
        raise InputError("optima are found in 64-bit numbers: call `recurvature.enable_float64()` first.")
    spread = 1.9 * scipy.stats.qmc.Halton(size, scramble=False).random(starts + 1)[1:] - 0.95
    points = np.arctanh(np.concatenate([_combs(delay, size), spread]))
    found = [
        scipy.optimize.minimize(
            lambda x: tuple(map(np.asarray, _loss_and_slope(x, delay))), x, jac=True, method="BFGS", tol=1e-11
        )
        for x in points
    ]
    best = min(found, key=lambda run: float(run.fun))
    # a slope of 1e-6 leaves 1e-12 of loss where the curvature is of order 1
    if not np.abs(best.jac).max() < 1e-6:
        raise NumericalError(f"no descent converged for `delay` {delay} and `size` {size}: pass more `starts`.", best)
    return _optimum(jnp.tanh(jnp.asarray(best.x)), delay, float(best.fun))


def _combs(delay: int, size: int) -> Float[np.ndarray, "start n"]:
    r"""Reflections of combs: at long delays they lie near a corner of their cube, where few other starts do."""
    tooth = 2 * np.pi / (delay + 1) * (np.arange(size) - (size - 1) / 2)
    each = [(share, np.exp(-decay / (delay + 1))) for share in _SPACINGS for decay in _DECAYS]
    return np.stack([reflections_of(radius * np.exp(1j * share * tooth)) for share, radius in each])


def reflections_of(eigenvalues: Complex[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The reflections of a recurrence with these eigenvalues, inside the unit circle and in conjugate pairs.

    By Szegő's recurrence, downwards from the characteristic polynomial (docs eq. S.14).
    """
    polynomial, found = np.real(np.poly(eigenvalues)), []
    while len(polynomial) > 1:
        last = polynomial[-1]
        found.append(last)
        polynomial = ((polynomial - last * polynomial[::-1]) / (1 - last**2))[:-1]
    return np.array(found[::-1])


@jax.jit
def _loss_and_slope(free: Float[Array, " n"], delay: Int[Array, ""]) -> tuple[Float[Array, ""], Float[Array, " n"]]:
    """The loss at reflections tanh(free) and its slope: forward, since the delay is a number of the program's input."""

    def lost(free: Array) -> tuple[Array, Array]:
        value = _lost(jnp.tanh(free), delay)
        return value, value

    slope, value = jax.jacfwd(lost, has_aux=True)(free)
    return value, slope


def _lost(reflections: Float[Array, " n"], delay: int | Int[Array, ""]) -> Float[Array, ""]:
    recurrent, inputs = balanced_network(reflections)
    return 1 - (jax.lax.fori_loop(0, delay, lambda _, w: recurrent @ w, inputs) ** 2).sum()


def _optimum(reflections: Float[Array, " n"], delay: int, loss: float) -> LinearOptimum:
    recurrent, inputs = balanced_network(reflections)
    weights = tied(recurrent, inputs, delay=delay)
    eigenvalues = np.linalg.eigvals(np.asarray(recurrent))
    eigenvalues = eigenvalues[np.argsort(-np.abs(eigenvalues), kind="stable")]
    return LinearOptimum(
        recurrent=recurrent,
        inputs=inputs,
        readout=weights.readout,
        reflections=reflections,
        modulus=np.abs(eigenvalues),
        angle=np.abs(np.angle(eigenvalues)),
        response=projections(weights, 2 * delay + 2)[:, 0, 0],
        loss=loss,
        delay=delay,
    )
