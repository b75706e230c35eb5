r"""Places on a curve of fixed points: what is computed at each, and where stability changes between two of them."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from recurvature.dynamics.criticality import Pair, first_lyapunov
from recurvature.dynamics.curve import Branching, Corrector, Critical, Curve, Oscillating, bending
from recurvature.dynamics.problem import value_and_jacobian
from recurvature.dynamics.rate import AbstractRate, Kind
from recurvature.dynamics.search import polish
from recurvature.dynamics.stability import excess, unstable_first

FOLD, PITCHFORK, TRANSCRITICAL, HOPF, NEIMARK_SACKER, DOUBLING, MULTIPLE = range(7)
SPECIAL = ("fold", "pitchfork", "transcritical", "hopf", "neimark-sacker", "period-doubling", "multiple")
"""What happens at a special point of a branch.

- `fold`: the branch turns back; two fixed points meet and vanish.
- `pitchfork`, `transcritical`: two branches cross; at a pitchfork one of them turns back there.
- `hopf` (flow), `neimark-sacker` (map): a complex pair loses or gains stability, and an oscillation is born
  (`CRITICALITY` says which).
- `period-doubling` (map): a multiplier passes -1.
- `multiple`: several eigenvalues pass at once, as symmetries force them to; nothing more is said of it.
"""
CRITICALITY = ("supercritical", "subcritical")
"""What oscillation is born at a Hopf or Neimark-Sacker point (docs eq. D.18, D.19).

- `supercritical`: a stable one, beside the unstable point.
- `subcritical`: an unstable one, beside the stable point; beyond the special point states go far away.
"""

UPRIGHT = 1e-3
"""The share of the parameter in the unit tangent below which a branch counts as turning back."""
HIT = 1e-9
"""An eigenvalue nearer to the boundary than this is on it."""
NEAR = 20.0
"""A solution of the critical equations is believed within so many times the bracket that the search left."""


class Setting(NamedTuple):
    """What stays the same along a continuation."""

    curve: Curve
    kind: Kind
    step: float | None
    """The step h of an Euler map in units of tau."""
    tolerance: float
    """Largest relative speed of a place."""

    def own(self, growth: np.ndarray) -> Complex[np.ndarray, " k"]:
        """Eigenvalues of the rate's Jacobian as the system's own."""
        scale = 1.0 if self.step is None else self.step
        return np.asarray(growth if self.kind == "flow" else 1 + scale * growth, complex)


class Place(NamedTuple):
    """A place on a curve of fixed points."""

    y: Float[np.ndarray, " k1"]
    tangent: Float[np.ndarray, " k1"]
    jacobian: Float[np.ndarray, "k k"]
    """In the variables, unscaled."""
    eigenvalues: Complex[np.ndarray, " k"]
    crossing: float
    """Sign of the determinant of the derivative over the tangent: it changes where curves cross."""
    flipping: float
    """Sign of the product of multipliers plus one (maps)."""
    unstable: int
    orientation: int
    r"""Sign of $\det(-\partial_z g)$."""
    speed: float

    @property
    def light(self) -> "Place":
        """The same without its Jacobian: of a long branch of many units, all of them would fill the memory."""
        return self._replace(jacobian=np.empty((0, 0)))

    @property
    def reversed(self) -> "Place":
        """The same place, to be left in the other direction."""
        return self._replace(tangent=-self.tangent, crossing=-self.crossing)

    def doubtful(self, kind: Kind) -> bool:
        """Whether it lies on a special point to rounding, so that its signature is a matter of luck."""
        return bool(np.abs(excess(self.eigenvalues[None], kind)).min() < HIT)

    @property
    def signature(self) -> tuple[float, float, float, int]:
        """What changes at a special point and only there (docs eq. D.15)."""
        return float(np.sign(self.tangent[-1])), self.crossing, self.flipping, self.unstable


def arrive(setting: Setting, predicted: Float[np.ndarray, " k1"], across: Float[np.ndarray, " k1"]) -> Place | None:
    """The place on the curve in the plane through `predicted` across a direction; None where Newton finds none."""
    corrector = Corrector(setting.curve, jnp.asarray(predicted), jnp.asarray(across))
    found, _ = polish(corrector, predicted[None], 1.0)
    return place_at(setting, found[0], across)


def place_at(setting: Setting, y: Float[np.ndarray, " k1"], across: Float[np.ndarray, " k1"]) -> Place | None:
    """The place at `y`, its tangent on the side of `across`; None if it is no fixed point."""
    corrector = Corrector(setting.curve, jnp.asarray(y), jnp.asarray(across))
    value, derivative = (np.asarray(a) for a in value_and_jacobian(corrector, y))
    unit = float(setting.curve.unit)
    speed = float(np.linalg.norm(value[:-1])) / (unit * (1 + float(np.linalg.norm(y[:-1]))))
    if not speed <= setting.tolerance:  # NaN too
        return None
    sign = float(np.linalg.slogdet(derivative)[0])
    tangent = np.linalg.svd(derivative[:-1])[2][-1]
    tangent = tangent * (np.sign(tangent @ across) or 1.0)
    jacobian = derivative[:-1, :-1] / unit
    values = unstable_first(setting.own(np.linalg.eigvals(jacobian)), setting.kind)
    flipping = 1.0 if setting.kind == "flow" else float(np.sign(np.prod(values + 1).real))
    unstable = int((excess(values[None], setting.kind) > 0).sum())
    orientation = int(np.linalg.slogdet(-jacobian)[0])
    return Place(y, tangent, jacobian, values, sign, flipping, unstable, orientation, speed)


class Special(NamedTuple):
    """A special point between two places."""

    y: Float[np.ndarray, " k1"]
    kind: int
    frequency: float
    """Of the pair that passes; NaN for other kinds."""
    refined: bool
    """Whether the critical equations were solved; if not, the place is that of a bisection."""
    other: Float[np.ndarray, " k1"] | None = None
    """The tangent of the curve that is crossed."""
    first_lyapunov: float = np.nan
    """Of the pair that passes; NaN for other kinds."""


def special_between(setting: Setting, before: Place, after: Place) -> Special:
    """What happens between two places close to each other whose signatures differ (docs eq. D.16, D.17)."""
    turned, crossed, flipped, more = (a != b for a, b in zip(before.signature, after.signature, strict=True))
    change = abs(after.unstable - before.unstable)
    if crossed and not flipped and change <= 1:
        return _crossing(setting, before, after)
    if turned and not crossed and not flipped and change == 1:
        return _critical(setting, before, after, FOLD)
    if flipped and not crossed and not turned and change == 1:
        return _critical(setting, before, after, DOUBLING)
    if more and change == 2 and not (turned or crossed or flipped):
        return _oscillation(setting, before, after)
    return Special((before.y + after.y) / 2, MULTIPLE, np.nan, False)


def _solve(
    rate: AbstractRate, guess: Float[np.ndarray, " u"], before: Place, after: Place
) -> tuple[Float[np.ndarray, " u"], bool]:
    """A solution of critical equations near two places, and whether it is one."""
    (solution,), (speed,) = polish(rate, guess[None], 1.0)
    size, middle = len(before.y), (before.y + after.y) / 2
    near = np.linalg.norm(solution[:size] - middle) <= NEAR * np.linalg.norm(after.y - before.y)
    # the unknowns are of order 1: an error of 1e-9 is far below what a bisection leaves
    good = bool(near and speed <= 1e-9)
    return (solution if good else np.concatenate([middle, guess[size:]])), good


def _critical(setting: Setting, before: Place, after: Place, kind: int) -> Special:
    """A fold or a period doubling."""
    growth = 0.0 if kind == FOLD else -2.0 / (setting.step or 1.0)
    vector = np.linalg.svd(before.jacobian - growth * np.eye(len(before.jacobian)))[2][-1]
    rate = Critical(setting.curve, jnp.asarray(growth))
    solution, good = _solve(rate, np.concatenate([before.y, vector]), before, after)
    return Special(solution[: len(before.y)], kind, np.nan, good)


def _oscillation(setting: Setting, before: Place, after: Place) -> Special:
    """A complex pair that passes the boundary; `multiple` if the eigenvalues that pass are real."""
    values, vectors = np.linalg.eig(before.jacobian)
    own = setting.own(values)
    passing = int(np.abs(excess(own[None], setting.kind)[0] - 1e9 * (own.imag <= 0)).argmin())
    if not own[passing].imag > 0:
        return Special((before.y + after.y) / 2, MULTIPLE, np.nan, False)
    vector = vectors[:, passing]
    # turned so that real and imaginary part are orthogonal, then scaled to the condition on the reference
    vector = vector * np.exp(-0.5j * np.angle(np.sum(vector**2)))
    reference = vector.real / (vector.real @ vector.real)
    omega = own[passing].imag if setting.kind == "flow" else float(np.angle(own[passing]))
    step = 0.0 if setting.kind == "flow" else (setting.step or 1.0)
    rate = Oscillating(setting.curve, jnp.asarray(reference), jnp.asarray(step))
    guess = np.concatenate([before.y, vector.real, vector.imag, [omega]])
    solution, good = _solve(rate, guess, before, after)
    size, k = len(before.y), len(vector)
    y, (real, imaginary), omega = solution[:size], np.split(solution[size:-1], [k]), float(solution[-1])
    pair = Pair(y, real + 1j * imaginary, omega, step)
    kind = HOPF if setting.kind == "flow" else NEIMARK_SACKER
    return Special(y, kind, omega, good, first_lyapunov=first_lyapunov(setting.curve, pair) if good else np.nan)


def _crossing(setting: Setting, before: Place, after: Place) -> Special:
    """The point where two curves cross, and the tangent of the other (docs eq. D.17)."""
    corrector = Corrector(setting.curve, jnp.asarray(before.y), jnp.asarray(before.tangent))
    derivative = np.asarray(value_and_jacobian(corrector, before.y)[1])[:-1]
    psi = np.linalg.svd(derivative)[0][:, -1]
    guess = np.concatenate([before.y, [0.0], psi])
    solution, good = _solve(Branching(setting.curve), guess, before, after)
    size = len(before.y)
    y, psi = solution[:size], solution[size + 1 :]
    good = good and abs(float(solution[size])) < 1e-9
    derivative = np.asarray(value_and_jacobian(corrector, y)[1])[:-1]
    null = np.linalg.svd(derivative)[2][-2:]
    along = null.T @ (null @ (before.tangent + after.tangent))
    along /= np.linalg.norm(along)
    second = null.T @ np.array([-null[1] @ along, null[0] @ along])
    mixed, square = (float(v) for v in bending(setting.curve, y, psi, along, second))
    other = -square * along + 2 * mixed * second
    if not good or not np.linalg.norm(other) > 0:
        return Special(y, TRANSCRITICAL if good else MULTIPLE, np.nan, good)
    other /= np.linalg.norm(other)
    upright = min(abs(along[-1]), abs(other[-1])) < UPRIGHT
    return Special(y, PITCHFORK if upright else TRANSCRITICAL, np.nan, True, other)
