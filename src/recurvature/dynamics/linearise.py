r"""The linear system beside a point: its modes, and whether slow modes stand apart from the others."""

from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError, check_positive
from recurvature._result import AbstractResult, Citation, Values
from recurvature.dynamics.fixed_points import SUSSILLO
from recurvature.dynamics.problem import value_and_jacobian
from recurvature.dynamics.rate import euler_step, kind_of, rate_of
from recurvature.systems.base import AbstractSystem, Network

SEUNG = Citation(
    "seung1996integrator",
    "Seung (1996). How the brain keeps the eyes still. PNAS 93, 13339-13344.",
    "https://doi.org/10.1073/pnas.93.23.13339",
)
UNCLEAR, POINT, LINE, RING, PLANE = range(5)
ATTRACTORS = ("unclear", "point", "line", "ring", "plane")
"""What the slow modes of a set of points say.

- `point`: no mode is slow.
- `line`: one slow mode at every point, along the set, which has two ends.
- `ring`: one slow mode at every point, along the set, which closes.
- `plane`: more than one slow mode at most points.
- `unclear`: slow modes do not stand apart (the gap is below `least_gap`), or do not lie along the set.
"""


class Linearisation(AbstractResult):
    r"""The linear system beside a point: $\delta x' = A\,\delta x$ (map) or $\tau\,\delta\dot x = A\,\delta x$ (flow).

    Modes are ordered by the time in which they fall to 1/e, the slowest first. `right` and `left` hold the vectors of
    mode k in row k, with `left[k] @ right[k] = 1` (no complex conjugation): the share of mode k in a perturbation v is
    `left[k] @ v`. `time_constants` are in units of tau (flow, Euler map) or steps; negative where a mode grows.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUSSILLO,)

    state: Float[Values, " n"]
    matrix: Float[Values, "i j"]
    growth: Float[Values, " k"]
    rotation: Float[Values, " k"]
    time_constants: Float[Values, " k"]
    right_real: Float[Values, "k n"]
    right_imag: Float[Values, "k n"]
    left_real: Float[Values, "k n"]
    left_imag: Float[Values, "k n"]
    speed: float
    """Norm of the rate at the point: the linear system describes it where this is small."""
    kind: str

    @property
    def eigenvalues(self) -> np.ndarray:
        """`growth` + i `rotation`."""
        return np.asarray(self.growth) + 1j * np.asarray(self.rotation)

    @property
    def right(self) -> np.ndarray:
        """Right eigenvectors (k, n), of length one."""
        return np.asarray(self.right_real) + 1j * np.asarray(self.right_imag)

    @property
    def left(self) -> np.ndarray:
        """Left eigenvectors (k, n)."""
        return np.asarray(self.left_real) + 1j * np.asarray(self.left_imag)


def linearise(network: Network | AbstractSystem, state: Float[Any, " n"], inputs: Any = None) -> Linearisation:
    """The linear system beside a state under a constant input (None: zero): matrix, modes, time constants (eq. D.10).

    Raises `InputError` on a state of the wrong shape, and where the matrix is defective (no basis of modes).
    """
    rate = rate_of(network, inputs)
    x = np.asarray(state, rate.inputs.dtype)
    if x.shape != (rate.system.state_size,):
        raise InputError(f"`state` must have shape ({rate.system.state_size},); got {x.shape}.")
    value, jacobian = (np.asarray(a) for a in value_and_jacobian(rate, x))
    kind, step = kind_of(rate.system), euler_step(rate.system) or 1.0
    matrix = jacobian if kind == "flow" else np.eye(len(x), dtype=x.dtype) + x.dtype.type(step) * jacobian
    values, vectors = np.linalg.eig(matrix)
    if not np.linalg.cond(vectors) < 1 / np.finfo(x.dtype).eps:
        raise InputError("the matrix at `state` has no basis of eigenvectors; use `FixedPoints.eigenvalues` instead.")
    decay = decay_rates(values, kind, step)
    order = np.argsort(decay, kind="stable")
    with np.errstate(divide="ignore"):
        times = 1 / decay
    left = np.linalg.inv(vectors)
    return Linearisation(
        state=x,
        matrix=matrix,
        growth=values[order].real,
        rotation=values[order].imag,
        time_constants=times[order],
        right_real=vectors.T[order].real,
        right_imag=vectors.T[order].imag,
        left_real=left[order].real,
        left_imag=left[order].imag,
        speed=float(np.linalg.norm(value)),
        kind=kind,
    )


def decay_rates(values: np.ndarray, kind: str, step: float = 1.0) -> np.ndarray:
    r"""$-\mathrm{Re}\,\lambda$ (flow) or $-\ln|\lambda|/h$ (map): negative where a mode grows."""
    with np.errstate(divide="ignore"):
        return -values.real if kind == "flow" else -np.log(np.abs(values)) / step


class AttractorTest(AbstractResult):
    r"""What slow modes say of a set of points: a point, line, ring or plane attractor.

    `gap` is the ratio of the slowest decay time to the next (docs eq. D.11); `along` the share of the slowest mode's
    direction that lies along the set, 1 where it is a tangent.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUSSILLO, SEUNG)

    time_constants: Float[Values, "point k"]
    gap: Float[Values, " point"]
    along: Float[Values, " point"]
    slow_modes: Int[Values, " point"]
    """Modes slower than `slower_than`."""
    order: Int[Values, " point"]
    """The points in their order along the set."""
    kind: str
    """`dynamics.ATTRACTORS`."""
    slower_than: float
    least_gap: float


def attractor_test(
    network: Network | AbstractSystem,
    states: Float[Any, "point n"],
    inputs: Any = None,
    *,
    slower_than: float = 10.0,
    least_gap: float = 5.0,
) -> AttractorTest:
    """Whether points (fixed and slow ones of a search) form a line or ring attractor, by their spectral gaps.

    At every point the modes slower than `slower_than` (in units of tau, or steps) are counted, and the slowest decay
    time is compared with the next. A line or a ring needs one slow mode at nine points of ten, a median gap of
    `least_gap` or more, and the slow direction along the set (median share above 0.8). It is a ring if the set closes:
    its two ends are no farther apart than three times the largest step along it. At least 5 points are needed to tell
    more than `point`.
    """
    check_positive(slower_than=slower_than, least_gap=least_gap)
    points = np.asarray(states)
    if points.ndim != 2 or len(points) < 1:
        raise InputError(f"`states` must have shape (points, state) with at least one; got {points.shape}.")
    spectra = [linearise(network, x, inputs) for x in points]
    times = np.array([s.time_constants for s in spectra])
    lasting = np.where(times < 0, np.inf, times)
    slow = (lasting > slower_than).sum(1)
    with np.errstate(invalid="ignore"):
        gap = lasting[:, 0] / lasting[:, 1] if times.shape[1] > 1 else np.full(len(points), np.inf)
    order, closed = _chain(points)
    along = _share_along(points[order], [spectra[i].right[0].real for i in order], closed)
    return AttractorTest(
        time_constants=times,
        gap=np.nan_to_num(gap, nan=1.0, posinf=np.inf),
        along=along[np.argsort(order)],
        slow_modes=slow,
        order=order,
        kind=ATTRACTORS[_verdict(slow, gap, along, closed, least_gap)],
        slower_than=slower_than,
        least_gap=least_gap,
    )


def _verdict(slow: np.ndarray, gap: np.ndarray, along: np.ndarray, closed: bool, least_gap: float) -> int:
    if (slow == 0).mean() > 0.9:
        return POINT
    if (slow > 1).mean() > 0.5:
        return PLANE
    lined = (slow == 1).mean() >= 0.9 and np.median(gap) >= least_gap and np.median(along) > 0.8
    if len(slow) < 5 or not lined:
        return UNCLEAR
    return RING if closed else LINE


def _chain(points: Float[np.ndarray, "point n"]) -> tuple[Int[np.ndarray, " point"], bool]:
    """An order along a curve by nearest neighbours from one end, and whether the ends meet."""
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    # a point farthest from the rest is an end, if there is an end
    order = [int(apart.sum(1).argmax())]
    while len(order) < len(points):
        left = np.setdiff1d(np.arange(len(points)), order)
        order.append(int(left[apart[order[-1], left].argmin()]))
    steps = apart[order[:-1], order[1:]]
    return np.array(order, int), len(order) > 2 and bool(apart[order[0], order[-1]] <= 3 * steps.max())


def _share_along(points: np.ndarray, directions: list[np.ndarray], closed: bool) -> Float[np.ndarray, " point"]:
    """The cosine between the slow direction and the chord through the neighbours, point by point."""
    count = len(points)
    if count < 2:
        return np.full(count, np.nan)
    ahead = np.arange(1, count + 1) % count if closed else np.minimum(np.arange(1, count + 1), count - 1)
    behind = np.arange(-1, count - 1) % count if closed else np.maximum(np.arange(-1, count - 1), 0)
    chords = points[ahead] - points[behind]
    sizes = np.linalg.norm(chords, axis=1) * np.linalg.norm(directions, axis=1)
    return np.abs((chords * np.array(directions)).sum(1)) / np.where(sizes > 0, sizes, 1)
