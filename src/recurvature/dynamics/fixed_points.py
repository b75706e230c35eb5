r"""Fixed points of any system under a constant input: searched, polished, proved, typed and counted."""

from functools import partial
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError, check_count, check_positive
from recurvature._keys import PRNGKey
from recurvature._result import AbstractResult, Citation, Values
from recurvature.dynamics import stability
from recurvature.dynamics.certificate import PROVED
from recurvature.dynamics.problem import Candidates, Problem, candidates, describe, prepare
from recurvature.dynamics.rate import kind_of, own_spectrum
from recurvature.dynamics.search import Searched, search
from recurvature.dynamics.starts import Begin
from recurvature.systems.base import AbstractSystem, Network

SUSSILLO = Citation(
    "sussillo2013opening",
    "Sussillo & Barak (2013). Opening the black box: low-dimensional dynamics in high-dimensional recurrent neural "
    "networks. Neural Computation 25, 626-649.",
    "https://doi.org/10.1162/NECO_a_00409",
)
GOLUB = Citation(
    "golub2018fixedpointfinder",
    "Golub & Sussillo (2018). FixedPointFinder: a TensorFlow toolbox for identifying and characterizing fixed points "
    "in recurrent neural networks. Journal of Open Source Software 3(31), 1003.",
    "https://doi.org/10.21105/joss.01003",
)

FIXED, SLOW, FAST, UNFINISHED, NON_FINITE, FAR = range(6)
STATUS = ("fixed", "slow", "fast", "unfinished", "non_finite", "far")
"""What became of a start.

- `fixed`: it led to a fixed point.
- `slow`: to a slow point: no fixed point, but a minimum of the speed below `slow`.
- `fast`: to a minimum of the speed above `slow`: nothing is returned for it.
- `unfinished`: it was still moving after `max_steps`.
- `non_finite`: the rate overflowed.
- `far`: it slowed down beyond `reach`, as a gated network does where its gates saturate; nothing is returned for it.
"""

SEARCH_TOLERANCE = 1e-5
"""Relative speed at which the search in float32 hands over to Newton's method."""


class FixedPoints(AbstractResult):
    r"""Fixed points of a system under one constant input, and apart from them its slow points.

    A point is fixed only if its relative speed $\lVert g\rVert/(a\sqrt N + \lVert x\rVert)$ is at most `tolerance`
    after polishing (docs eq. D.2); $g$ is $\tau\dot x$, or $F(x) - x$ for a map that is no Euler scheme. Points are
    ordered by the number of growing directions, then by their states. `eigenvalues` are growth rates per tau (flow) or
    multipliers per step (map), the least stable first. A low-rank leaky network lists K of them; the other
    `leak_copies` are all equal to `leak`.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUSSILLO, GOLUB)

    states: Float[Values, "point n"]
    speed: Float[Values, " point"] = eqx.field(metadata={"units": "state/tau or state/step"})
    relative_speed: Float[Values, " point"]
    growth: Float[Values, "point k"]
    """Real parts of the eigenvalues."""
    rotation: Float[Values, "point k"]
    """Imaginary parts of the eigenvalues."""
    unstable: Int[Values, " point"]
    """Number of growing directions."""
    stability: Int[Values, " point"]
    """`dynamics.TYPES`."""
    index: Int[Values, " point"]
    r"""Sign of $\det(-\partial g)$."""
    error_bound: Float[Values, " point"]
    """Distance within which the true fixed point lies (2-norm; NaN: not known)."""
    alone_within: Float[Values, " point"]
    """Distance within which there is no other (2-norm; NaN: not known)."""
    certificate: Int[Values, " point"]
    """`dynamics.CERTIFICATES`."""
    slow_states: Float[Values, "slow n"]
    slow_speed: Float[Values, " slow"]
    inputs: Float[Values, " d"]
    status: Int[Values, " start"]
    """`dynamics.STATUS` of every start."""
    reached: Int[Values, " start"]
    """The point that a start led to: an index into `states` or, if its status is `slow`, `slow_states`; else -1."""
    completeness: str
    """`consistent`, `incomplete` or `unknown`: what the sum of indices says (docs eq. D.9)."""
    kind: str
    leak: float
    leak_copies: int
    tolerance: float
    unique: float
    scale: float
    dtype: str
    """The number type of the polish: float64 only where 64-bit numbers are on."""
    method: str

    @property
    def eigenvalues(self) -> np.ndarray:
        """`growth` + i `rotation` (point, k)."""
        return np.asarray(self.growth) + 1j * np.asarray(self.rotation)

    @property
    def index_sum(self) -> int:
        """The sum of the indices of all points."""
        return int(np.sum(self.index))

    @property
    def types(self) -> tuple[str, ...]:
        """The stability types in words."""
        return tuple(stability.TYPES[int(code)] for code in self.stability)

    @property
    def proved(self) -> np.ndarray:
        """Which points are proved to lie within `error_bound` of a fixed point."""
        return np.asarray(self.certificate) == PROVED


def fixed_points(
    network: Network | AbstractSystem,
    inputs: Any = None,
    *,
    starts: Float[Any, "start n"] | None = None,
    trajectory: Any = None,
    count: int = 256,
    noise: float = 0.1,
    key: PRNGKey | None = None,
    scale: float = 1.0,
    tolerance: float | None = None,
    slow: float = 1e-3,
    unique: float = 1e-4,
    marginal: float = 1e-6,
    reach: float = 10.0,
    max_steps: int = 100,
    descent: int = 0,
    between: int = 0,
    latent: bool = True,
) -> FixedPoints:
    r"""The fixed points that a search from many states finds, under one constant input (None: zero).

    Two phases: Levenberg-Marquardt from every start in float32, then Newton's method in float64 on the points that are
    distinct (docs eq. D.3, D.4). **Without 64-bit numbers** (`recurvature.enable_float64`) both phases run in float32:
    `dtype` says so, `tolerance` is then that of float32, and error bounds are as wide as its rounding. A system that
    is a bare function (no arrays of its own to cast) is searched and polished in the type of its `starts`.

    A low-rank leaky network is searched in its K latent variables, where all of its fixed points are (docs eq. D.8),
    one of several low-rank synapses in those of all of them (docs eq. D.20); `latent=False` searches the full state.

    **Arguments**

    - `starts`: states to start from (start, n); or `trajectory`: a `Trajectory` or states (…, n) that the network
      visits, of which `count` are drawn, with Gaussian `noise` added; or neither: `count` random states. The last two
      need a `key`.
    - `scale`: the typical size of one entry of the state; speeds and distances are relative to it.
    - `tolerance`: the relative speed below which a point is fixed (None: the rounding unit to the power 3/4).
    - `slow`: the relative speed below which a minimum of the speed is a slow point.
    - `unique`: points closer than `unique * scale * sqrt(N)` in the 2-norm are one point (docs eq. D.5), before and
      after the polish.
    - `reach`: slow points with $\lVert x\rVert$ above `reach * scale * sqrt(N)` are left out; fixed points never.
    - `marginal`: how close to the boundary of stability an eigenvalue must be for the type `marginal`.
    - `max_steps`: how many steps the search may take from every start; and `descent`, how many of Adam on the speed it
      takes before, as finders do that take no others (docs eq. D.22). After 100 of these, starts near what a network
      stores come to the saddles of such finders, but for a few that rounding decides.
    - `between`: how often to search again from the midpoints of pairs of fixed points found so far, of `count` pairs at
      most, the closest not yet tried. Saddles lie between stable points and few starts come to them by themselves.
      `status` then goes on with the midpoints.

    Raises `InputError` on arguments that do not fit. A search that finds nothing returns no points; `status` says what
    became of every start.
    """
    check_positive(scale=scale, slow=slow, unique=unique, marginal=marginal, reach=reach)
    check_count(max_steps=max_steps, count=count)
    for name, times in {"descent": descent, "between": between}.items():
        if isinstance(times, bool) or not isinstance(times, int | np.integer) or times < 0:
            raise InputError(f"`{name}` must be a whole number of at least 0; got {times!r}.")
    problem = prepare(network, inputs, scale, latent, starts)
    limit = float(jnp.finfo(problem.dtype).eps) ** 0.75 if tolerance is None else tolerance
    check_positive(tolerance=limit)
    if limit > slow:
        raise InputError(f"`tolerance` must not exceed `slow`; got {limit:g} and {slow:g}.")
    begun = problem.starts(Begin(starts, trajectory, count, noise, key))
    hand_over = max(min(SEARCH_TOLERANCE, slow), 10 * float(jnp.finfo(problem.coarse_dtype).eps))
    follow = partial(search, problem.coarse, tolerance=hand_over, scale=scale, max_steps=max_steps)
    found = candidates(problem, follow(begun, descent=descent), slow, unique * scale)
    tried = np.empty((0, found.points.shape[1]))
    for _ in range(between):
        fixed = found.points[found.relative_speed <= limit]
        middle = midpoints(fixed, count, tried, unique * scale * fixed.shape[1] ** 0.5)
        tried = np.concatenate([tried, middle])
        after = follow(middle.astype(problem.coarse_dtype))
        joined = [np.concatenate(parts) for parts in zip(found.searched, after, strict=True)]
        found = candidates(problem, Searched(*joined), slow, unique * scale)
    return _result(problem, found, Limits(limit, slow, unique, marginal, reach))


def midpoints(
    points: Float[np.ndarray, "point k"], most: int, tried: Float[np.ndarray, "old k"], same: float
) -> Float[np.ndarray, "pair k"]:
    """Half-way between the points of so many pairs, the closest, but not within `same` of what was tried before."""
    if len(points) < 2:
        return points[:0]
    one, other = np.triu_indices(len(points), 1)
    apart = np.concatenate([np.linalg.norm(points[i + 1 :] - x, axis=1) for i, x in enumerate(points)])
    nearest = np.argsort(apart, kind="stable")[: most + len(tried)]
    middle = (points[one[nearest]] + points[other[nearest]]) / 2
    new = [bool((np.linalg.norm(tried - x, axis=1) > same).all()) for x in middle]
    return middle[new][:most]


class Limits(NamedTuple):
    """Where what is found is divided."""

    tolerance: float
    slow: float
    unique: float
    marginal: float
    reach: float


def _result(problem: Problem, found: Candidates, limits: Limits) -> FixedPoints:
    is_fixed, marginal = found.relative_speed <= limits.tolerance, limits.marginal
    size = np.linalg.norm(found.states, axis=1) / found.states.shape[1] ** 0.5
    is_slow = ~is_fixed & (size <= limits.reach * problem.scale)
    parts = [describe(problem, point) for point in found.points[is_fixed]]
    kind, k = kind_of(problem.full.system), problem.points_size
    values = np.array([p.eigenvalues for p in parts], complex).reshape(-1, k)
    growing = (stability.excess(values, kind) > marginal).sum(1)
    states = found.states[is_fixed]
    order = np.lexsort([*np.round(states, 6).T[::-1], growing])
    fixed, slowly = np.flatnonzero(is_fixed)[order], np.flatnonzero(is_slow)
    place = np.full(len(is_fixed) + 1, -1)
    place[fixed], place[slowly] = np.arange(len(fixed)), np.arange(len(slowly))
    types = stability.stability_types(stability.excess(values[order], kind), marginal)
    indices = np.array([parts[i].sign for i in order], int)
    column = lambda name: np.array([getattr(parts[i].bound, name) for i in order])  # noqa: E731
    return FixedPoints(
        states=states[order],
        speed=found.speed[fixed],
        relative_speed=found.relative_speed[fixed],
        growth=values[order].real,
        rotation=values[order].imag,
        unstable=growing[order],
        stability=types,
        index=indices,
        error_bound=column("error").astype(float),
        alone_within=column("alone").astype(float),
        certificate=column("certificate").astype(np.int8),
        slow_states=found.states[slowly],
        slow_speed=found.relative_speed[slowly],
        inputs=np.asarray(problem.full.inputs),
        status=_status(found, is_fixed, is_slow),
        reached=place[found.came],
        completeness=stability.completeness(indices, types, stability.is_bounded(problem.full.system)),
        kind=kind,
        leak=float(own_spectrum(problem.full.system, -1.0)),
        leak_copies=problem.full.system.state_size - k,
        tolerance=limits.tolerance,
        unique=limits.unique,
        scale=problem.scale,
        dtype=str(problem.dtype),
        method=f"Levenberg-Marquardt in {problem.coarse_dtype}, Newton in {problem.dtype}, {problem.space}",
    )


def _status(found: Candidates, is_fixed: Any, is_slow: Any) -> Int[np.ndarray, " start"]:
    """What became of every start (`STATUS`)."""
    # the last entry is for the starts that came to none
    came_to = np.append(np.where(is_fixed, FIXED, np.where(is_slow, SLOW, FAR)), FAST)[found.came]
    searched = found.searched
    status = np.where((came_to == FIXED) | searched.stopped, came_to, UNFINISHED)
    return np.where(np.isfinite(searched.speed), status, NON_FINITE).astype(np.int8)
