r"""Fixed points followed along an input or a parameter, with the points at which they meet, part or start to swing."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from recurvature._errors import InputError, check_count, check_positive
from recurvature._precision import cast
from recurvature._result import AbstractResult, Citation, Values
from recurvature.dynamics import stability
from recurvature.dynamics.curve import Curve, Family
from recurvature.dynamics.rate import AbstractLatentRate, euler_step, kind_of, lift, system_of
from recurvature.dynamics.special import CRITICALITY, SPECIAL, Place, Setting, arrive
from recurvature.dynamics.starts import latent_of
from recurvature.dynamics.tracing import Branch, Steps, follow
from recurvature.systems.base import AbstractSystem, Network

KELLER = Citation(
    "keller1977numerical",
    "Keller (1977). Numerical solution of bifurcation and nonlinear eigenvalue problems. In: Rabinowitz (ed.), "
    "Applications of Bifurcation Theory, Academic Press, 359-384.",
)
KUZNETSOV = Citation(
    "kuznetsov2004elements",
    "Kuznetsov (2004). Elements of Applied Bifurcation Theory, 3rd edition, chapter 10. Springer.",
    "https://doi.org/10.1007/978-1-4757-3978-9",
)
ORDINARY = -1
"""The code of a point at which nothing special happens."""


class Continuation(AbstractResult):
    r"""Branches of fixed points over one parameter (docs eq. D.14-D.19).

    Points stand in the order of their branch, branch after branch; `branch` says whose they are. Special points are
    points of their branch. A low-rank network is followed in its K latent variables, and `eigenvalues` are
    those K; all others equal the leak.
    """

    citations: ClassVar[tuple[Citation, ...]] = (KELLER, KUZNETSOV)

    value: Float[Values, " point"]
    """The parameter."""
    states: Float[Values, "point n"]
    growth: Float[Values, "point k"]
    """Real parts of the eigenvalues: growth rates per tau (flow) or multipliers per step (map)."""
    rotation: Float[Values, "point k"]
    """Imaginary parts of the eigenvalues."""
    unstable: Int[Values, " point"]
    """Number of growing directions."""
    stability: Int[Values, " point"]
    """`dynamics.TYPES`; special points are `marginal`."""
    index: Int[Values, " point"]
    r"""Sign of $\det(-\partial g)$; 0 at special points where it changes."""
    speed: Float[Values, " point"]
    """Relative speed."""
    branch: Int[Values, " point"]
    special: Int[Values, " point"]
    """`dynamics.SPECIAL`, or -1."""
    frequency: Float[Values, " point"] = eqx.field(metadata={"units": "rad/tau or rad/step"})
    """Of the oscillation that is born at a Hopf or Neimark-Sacker point; NaN elsewhere."""
    first_lyapunov: Float[Values, " point"]
    """Of a Hopf or Neimark-Sacker point (docs eq. D.18, D.19), for an eigenvector of length 1 in the variables that
    were followed; negative if the oscillation that is born is stable. 0 where its terms cancel; NaN elsewhere, at
    points that are not `refined` and at strong resonances of maps.
    """
    refined: Bool[Values, " point"]
    """False at a special point whose own equations were not solved: it is as good as the bisection before."""
    ends: Int[Values, "branch end"]
    """`dynamics.ENDS`: why each branch ends, at its first and at its last point."""
    kind: str
    name: str
    """What the parameter is called."""
    span: tuple[float, ...]
    variables: str
    """`latent` or `state`: in what the branches were followed."""
    left_out: int
    """Branches that cross others, and states, that were not followed."""

    @property
    def eigenvalues(self) -> np.ndarray:
        """`growth` + i `rotation` (point, k)."""
        return np.asarray(self.growth) + 1j * np.asarray(self.rotation)

    @property
    def special_points(self) -> Int[np.ndarray, " special"]:
        """Indices of special points."""
        return np.flatnonzero(np.asarray(self.special) != ORDINARY)

    @property
    def special_kinds(self) -> tuple[str, ...]:
        """What they are, in words."""
        return tuple(SPECIAL[int(self.special[i])] for i in self.special_points)

    @property
    def special_names(self) -> tuple[str, ...]:
        """Kinds with what kind of oscillation is born, where that is known: "hopf, subcritical"."""
        born = np.asarray(self.first_lyapunov)[self.special_points]
        side = [f", {CRITICALITY[int(c > 0)]}" if c > 0 or c < 0 else "" for c in born]
        return tuple(kind + more for kind, more in zip(self.special_kinds, side, strict=True))

    def at(self, value: float) -> tuple[Float[np.ndarray, "crossing n"], Int[np.ndarray, " crossing"]]:
        """States at one value of the parameter, and the index of each, interpolated linearly along the branches.

        Two branches that cross are both counted: a value at which a special point lies is no good choice.
        """
        v, branch = np.asarray(self.value), np.asarray(self.branch)
        # half-open segments, so that a point on the value is counted once
        above = v >= value
        first = np.flatnonzero((above[1:] != above[:-1]) & (branch[1:] == branch[:-1]))
        ends = np.flatnonzero(v == value) if value == min(self.span) else np.array([], int)
        share = ((value - v[first]) / (v[first + 1] - v[first]))[:, None]
        x, index = np.asarray(self.states), np.asarray(self.index)
        found = (1 - share) * x[first] + share * x[first + 1]
        # the nearer of the two that has an index of its own
        between = np.where(index[first] != 0, index[first], index[first + 1])
        states = np.concatenate([found, x[ends]])
        return states, np.concatenate([between, index[ends]])


def continuation(
    network: Network | AbstractSystem | Callable[[Any], Any],
    states: Float[Any, "*start n"],
    span: tuple[float, float],
    *,
    inputs: Any = None,
    channel: int | None = None,
    start: float | None = None,
    switch: bool = True,
    scale: float = 1.0,
    first_step: float = 0.01,
    largest_step: float = 0.05,
    smallest_step: float = 1e-6,
    points: int = 1000,
    branches: int = 20,
    marginal: float = 1e-6,
    reach: float = 10.0,
    latent: bool = True,
    name: str | None = None,
) -> Continuation:
    r"""Branches of fixed points over one parameter, by pseudo-arclength, with special points found and named.

    The parameter is one of three:

    - an input: `channel=i` varies input i and holds the others at `inputs` (None: zero);
    - a path of inputs: `inputs=function` of the parameter, in JAX, to (inputs,);
    - anything else of the system: `network=function` of the parameter, in JAX, to a system (its `tau` and `dt` are
      fixed numbers and cannot vary).

    `states` are fixed points at the value `start` (default: the channel's own value in `inputs`, else the lower end),
    one (n,) or several (start, n), each good enough for Newton's method: those of `fixed_points`. Each is followed in
    both directions through `span`, unless it lies on a branch that is there already. With `switch`, branches that
    cross are followed too, both of their arms (docs eq. D.17).

    Steps are in scaled arc length: 1 is the span, or a state whose entries have the size `scale` (of latent variables:
    half of the box that holds all fixed points for rates of that size). `points` is the most for half of a branch,
    `branches` the most in all; `left_out` counts what was not followed. `marginal` as in `fixed_points`; a branch whose
    state grows beyond `reach` times that size ends.

    Float64 always: raises `InputError` without 64-bit numbers, on arguments that do not fit, and where a state is not
    near a fixed point.
    """
    check_positive(scale=scale, first_step=first_step, largest_step=largest_step, smallest_step=smallest_step)
    check_positive(marginal=marginal, reach=reach)
    check_count(points=points, branches=branches)
    low, high = _span(span)
    family, named = _family(network, inputs, channel, latent, low)
    begin = _start(start, family, low, high)
    setting = _setting(family, scale, low, high)
    seeds = [_seed(setting, row, begin) for row in np.atleast_2d(np.asarray(states, float))]
    steps = Steps(min(first_step, largest_step), largest_step, smallest_step, points, reach)
    found, left = follow(setting, seeds, steps, switch=switch, most=branches)
    return _result(setting, found, left, marginal, name or named, (low, high))


def _family(network: Any, inputs: Any, channel: int | None, latent: bool, low: float) -> tuple[Family, str]:
    if jnp.result_type(float) != jnp.float64:
        raise InputError("continuation needs 64-bit numbers: call `recurvature.enable_float64()` first.")
    whole = isinstance(network, Network | AbstractSystem)
    varied = {"a function as `network`": not whole, "a function as `inputs`": callable(inputs)}
    chosen = [what for what, holds in (varied | {"`channel`": channel is not None}).items() if holds]
    if len(chosen) != 1:
        raise InputError(
            "one parameter is followed: pass `channel=`, or a function as `inputs`, or a function as `network`; "
            f"got {' and '.join(chosen) or 'none of them'}."
        )
    if whole:
        system: Any = cast(system_of(network), jnp.float64)
        size = system.input_size
    elif callable(network):
        system = network
        size = system_of(network(jnp.asarray(low))).input_size
    else:
        system_of(network)
    given = inputs if callable(inputs) else jnp.zeros(size) if inputs is None else jnp.asarray(inputs, float)
    shape = jax.eval_shape(given, jnp.asarray(low)).shape if callable(given) else given.shape
    if shape != (size,):
        raise InputError(f"`inputs` must have shape ({size},), or be a function to it; got {shape}.")
    if channel is not None and not 0 <= channel < size:
        raise InputError(f"`channel` must lie between 0 and {size - 1}; got {channel}.")
    words = "parameter" if channel is None else f"input {channel + 1}"
    return Family(system, given, channel, latent), words


def _span(span: Any) -> tuple[float, float]:
    if len(span) != 2 or not np.isfinite(span).all() or not span[0] < span[1]:
        raise InputError(f"`span` must be two finite numbers, the lower first; got {span!r}.")
    return float(span[0]), float(span[1])


def _start(start: float | None, family: Family, low: float, high: float) -> float:
    if start is None:
        start = low if family.channel is None or callable(family.inputs) else float(family.inputs[family.channel])
    if not low <= start <= high:
        raise InputError(f"`start` must lie in `span`, {low:g} to {high:g}; got {start:g}.")
    return float(start)


def _setting(family: Family, scale: float, low: float, high: float) -> Setting:
    here = family.full(jnp.asarray(low))
    rate = family.at(jnp.asarray(low))
    if isinstance(rate, AbstractLatentRate):
        unit = scale * float(np.linalg.norm(rate.box)) / 2
    else:
        unit = scale * here.system.state_size**0.5
    curve = Curve(family, jnp.asarray(unit), jnp.asarray(low), jnp.asarray(high - low))
    tolerance = float(np.finfo(float).eps) ** 0.75
    return Setting(curve, kind_of(here.system), euler_step(here.system), tolerance)


def _seed(setting: Setting, state: Float[np.ndarray, " n"], start: float) -> Place:
    family = setting.curve.family
    full, rate = family.full(jnp.asarray(start)), family.at(jnp.asarray(start))
    if state.shape != (full.system.state_size,) or not np.isfinite(state).all():
        raise InputError(f"`states` must be finite rows of length {full.system.state_size}; got {state.shape}.")
    z = latent_of(rate, full, state[None])[0] if isinstance(rate, AbstractLatentRate) else state
    share = (start - float(setting.curve.low)) / float(setting.curve.width)
    y, across = np.append(z / float(setting.curve.unit), share), np.zeros(len(z) + 1)
    across[-1] = 1.0
    place = arrive(setting, y, across)
    if place is None:
        raise InputError(
            f"no fixed point was found beside a row of `states` at `start` = {start:g}: pass states of "
            "`dynamics.fixed_points` under that input."
        )
    if place.doubtful(setting.kind):
        raise InputError(
            f"a row of `states` lies on a special point at `start` = {start:g} (an eigenvalue is on the boundary of "
            "stability): start beside it."
        )
    return place


@eqx.filter_jit
def _lifted(curve: Curve, y: Float[Any, "point k1"]) -> Float[Array, "point n"]:
    def one(y: Float[Array, " k1"]) -> Float[Array, " n"]:
        rate = curve.family.at(curve.value(y))
        if isinstance(rate, AbstractLatentRate):
            return lift(curve.family.full(curve.value(y)), rate, curve.state(y)[None])[0]
        return curve.state(y)

    return jax.vmap(one)(y)


def _result(
    setting: Setting, found: list[Branch], left: int, marginal: float, name: str, span: tuple[float, float]
) -> Continuation:
    points = [p for branch in found for p in branch.points]
    places, special = [p.place for p in points], [p.special for p in points]
    values = np.array([p.eigenvalues for p in places])
    growth = stability.excess(values, setting.kind)
    types = stability.stability_types(growth, marginal)
    is_special = np.array([s is not None for s in special])
    index = np.array([p.orientation for p in places])
    types[is_special] = stability.MARGINAL
    steady = [s is not None and SPECIAL[s.kind] in ("fold", "pitchfork", "transcritical", "multiple") for s in special]
    y = np.array([p.y for p in places])
    return Continuation(
        value=float(setting.curve.low) + float(setting.curve.width) * y[:, -1],
        states=np.asarray(_lifted(setting.curve, y)),
        growth=values.real,
        rotation=values.imag,
        unstable=(growth > marginal).sum(1),
        stability=types,
        index=np.where(steady, 0, index),
        speed=np.array([p.speed for p in places]),
        branch=np.repeat(np.arange(len(found)), [len(branch.points) for branch in found]),
        special=np.array([ORDINARY if s is None else s.kind for s in special], np.int8),
        frequency=np.array([np.nan if s is None else s.frequency for s in special]),
        first_lyapunov=np.array([np.nan if s is None else s.first_lyapunov for s in special]),
        refined=np.array([s is None or s.refined for s in special]),
        ends=np.array([branch.ends for branch in found], np.int8).reshape(-1, 2),
        kind=setting.kind,
        name=name,
        span=span,
        variables="latent" if setting.curve.is_latent else "state",
        left_out=left,
    )
