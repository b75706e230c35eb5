r"""Whether the oscillation that is born at a Hopf or Neimark-Sacker point is stable: its first Lyapunov coefficient."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from recurvature.dynamics.curve import Curve, second_derivatives, third_derivatives

ROUNDING = 1e-9
"""A sum of terms below this share of their sizes is zero: special points are solved to some 1e-12."""
RESONANCE = 1e-6
"""The distance of $e^{ik\\omega}$ from 1, k = 1 to 4, below which a map has no normal form of this kind."""


class Pair(NamedTuple):
    """A complex pair of eigenvalues on the boundary of stability, at a place on a curve."""

    y: Float[np.ndarray, " k1"]
    vector: Complex[np.ndarray, " k"]
    omega: float
    """Of the flow, or the angle of the multiplier."""
    step: float
    """The step h of a map; 0 for a flow."""


def first_lyapunov(curve: Curve, pair: Pair) -> float:
    r"""The first Lyapunov coefficient $l_1$ of a Hopf point, or $d$ of a Neimark-Sacker point (docs eq. D.18, D.19).

    Negative: supercritical, a stable oscillation is born; positive: subcritical. 0 where its terms cancel to rounding,
    NaN at a strong resonance of a map, or where the eigenvalue is not simple. The eigenvector has length 1 in the
    variables that are followed; its scale does not change the sign.
    """
    q = pair.vector / np.linalg.norm(pair.vector)
    jacobian, h = np.asarray(curve.in_state(jnp.asarray(pair.y))), pair.step or 1.0
    matrix = np.eye(len(q)) + h * jacobian if pair.step else jacobian
    own = np.exp(1j * pair.omega) if pair.step else 1j * pair.omega
    p = _adjoint(matrix, own, q)
    if p is None or (pair.step and min(abs(own**k - 1) for k in range(1, 5)) < RESONANCE):
        return float("nan")
    return _coefficient(_Derivatives(curve, pair.y, h), matrix, q, p, (own, pair.omega, bool(pair.step)))


def _adjoint(
    matrix: Float[np.ndarray, "k k"], own: complex, q: Complex[np.ndarray, " k"]
) -> Complex[np.ndarray, " k"] | None:
    r"""$p$ with $A^\top p = \bar\lambda p$ and $\bar p\cdot q = 1$; None where left and right vector are orthogonal."""
    values, vectors = np.linalg.eig(matrix.T)
    p = vectors[:, np.abs(values - np.conj(own)).argmin()]
    overlap = np.vdot(p, q)
    # of a double eigenvalue without a second vector; rounding of a solved point leaves the root of 1e-16
    return None if abs(overlap) < 1e-7 else p / np.conj(overlap)


class _Derivatives:
    """Second and third derivatives of a step, or of the rate, along complex vectors: linear in each of them."""

    def __init__(self, curve: Curve, y: Float[np.ndarray, " k1"], scale: float) -> None:
        self.curve, self.y, self.scale = curve, jnp.asarray(y), scale

    def two(self, u: np.ndarray, v: np.ndarray) -> Complex[np.ndarray, " k"]:
        """$B(u, v)$."""
        first = np.stack([u.real, u.real, u.imag, u.imag])
        second = np.stack([v.real, v.imag, v.real, v.imag])
        rr, ri, ir, ii = np.asarray(second_derivatives(self.curve, self.y, jnp.asarray(first), jnp.asarray(second)))
        return self.scale * (rr - ii + 1j * (ri + ir))

    def three(self, q: np.ndarray) -> Complex[np.ndarray, " k"]:
        r"""$C(q, q, \bar q)$."""
        a, b = q.real, q.imag
        rows = [np.stack(row) for row in ([a, a, a, b], [a, b, a, b], [a, b, b, b])]
        aaa, abb, aab, bbb = np.asarray(third_derivatives(self.curve, self.y, *map(jnp.asarray, rows)))
        return self.scale * (aaa + abb + 1j * (aab + bbb))


def _coefficient(
    derivatives: _Derivatives,
    matrix: Float[np.ndarray, "k k"],
    q: Complex[np.ndarray, " k"],
    p: Complex[np.ndarray, " k"],
    about: tuple[complex, float, bool],
) -> float:
    own, omega, is_map = about
    one = np.eye(len(q))
    mean, double = derivatives.two(q, np.conj(q)), derivatives.two(q, q)
    # what the oscillation shifts the state by, and its second harmonic
    shift = np.linalg.solve((one if is_map else 0 * one) - matrix, mean)
    harmonic = np.linalg.solve((own**2 if is_map else 2 * own) * one - matrix, double)
    terms = np.array(
        [
            np.vdot(p, derivatives.three(q)),
            2 * np.vdot(p, derivatives.two(q, shift)),
            np.vdot(p, derivatives.two(np.conj(q), harmonic)),
        ]
    )
    factor = np.conj(own) / 2 if is_map else 1 / (2 * omega)
    value, size = float((factor * terms.sum()).real), float(np.abs(factor * terms).sum())
    return value if abs(value) > ROUNDING * size else 0.0
