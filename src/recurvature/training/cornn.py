r"""Fit a rate network to activity, one step ahead: a convex problem for each unit, one matrix factored for all."""

import dataclasses
from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from recurvature._errors import check_choice, check_count, check_kind, check_positive
from recurvature._progress import Progress, Report, silent
from recurvature._result import AbstractResult, Citation, Values
from recurvature.systems.base import Euler, Network
from recurvature.systems.connectivity import AbstractConnectivity, Dense
from recurvature.systems.leaky import LeakyRate
from recurvature.systems.readout import LinearReadout
from recurvature.training.activity import Activity, Steps, steps_of

CORNN = Citation(
    "dinc2023cornn",
    "Dinc, Shai, Schnitzer & Tanaka. CORNN: convex optimization of recurrent neural networks for rapid inference of "
    "neural dynamics. NeurIPS 2023.",
    "https://arxiv.org/abs/2311.10200",
)
CONVERGED, SPENT, UNDETERMINED = range(3)
STATUS = ("converged", "iterations-spent", "undetermined")
"""What `OneStepReport.status` means, unit by unit.

- `converged`: the last iteration lowered the objective by less than `TOLERANCE` of what all of them did, or of itself.
- `iterations-spent`: it was still falling.
- `undetermined`: there are fewer steps than weights to a unit, so the penalty alone decides between many solutions.
"""
TOLERANCE = 1e-6
Weighting = Literal["curvature", "equal"]
HALVINGS = 20


class OneStepReport(AbstractResult):
    r"""How a one-step fit went. `iteration` 0 is the least-squares start (docs eq. L.71–L.76)."""

    citations: ClassVar[tuple[Citation, ...]] = (CORNN,)

    objective: Float[Values, " iteration"]
    """Weighted cross-entropy of a step above its least possible, plus the penalty; mean over units."""
    excess: Float[Values, " iteration"]
    """The same without the penalty: 0 where every step is predicted exactly."""
    dropped: Float[Values, " iteration"]
    """Share of all targets that were left out as outliers."""
    r2: Float[Values, " n"]
    r"""Of the targets $d$ of each unit, over all steps; 1 where a unit has but one value, and it is met."""
    clipped: Float[Values, " n"]
    """Share of the targets that were clipped to the range of tanh."""
    status: Int[Values, " n"]
    alpha: float
    ridge: float
    scale: float
    """What rates were divided by to fit into the range of tanh."""
    samples: int
    rank: int | None = None
    statuses: tuple[str, ...] = STATUS


@dataclasses.dataclass(frozen=True)
class OneStepFit:
    """A network fitted to activity, and how it went."""

    network: Network
    report: OneStepReport


class Problem(NamedTuple):
    """The features of every step, the penalty, and the factor that serves all units."""

    features: Float[Array, "sample p"]
    penalty: Float[Array, " p"]
    r"""$\lambda$ for weights, 0 for a bias."""
    factor: Float[Array, "p p"]
    r"""Upper triangular $R$ with $R^\top R = X^\top X + T\Lambda$."""

    def solve(self, right: Float[Array, "p n"]) -> Float[Array, "p n"]:
        r"""$(X^\top X + T\Lambda)^{-1}$ times `right`."""
        below = jax.scipy.linalg.solve_triangular(self.factor, right, trans="T")
        return jax.scipy.linalg.solve_triangular(self.factor, below)


def cornn(
    activity: Activity,
    *,
    ridge: float = 1e-4,
    iterations: int = 30,
    outlier: float | None = 1.0,
    bias: bool = False,
    self_coupling: bool = True,
    weighting: Weighting = "curvature",
    scale: float | None = None,
    block: int = 512,
    report: Report = silent,
) -> OneStepFit:
    r"""The rate network that predicts every step of `activity` best: recurrent and input weights, unit by unit.

    Minimises, for each unit by itself, $\frac1T\sum_t c_t\,\mathrm{CE}(d_t, \tanh\theta^\top x_t) + \frac\lambda2
    \lVert\theta\rVert^2$ with the cross-entropy of $(1 + d)/2$, $x = [r, u]$ and $c = 1/(1 - d^2)$, which makes the
    curvature $X^\top X$ for all units at a perfect prediction (docs eq. L.71–L.74). From the ridge regression of
    $\mathrm{artanh}\,d$, which is exact on activity of such a network, steps go along that shared curvature and are
    halved until they lower the objective: convex, so there is one optimum (Dinc et al., NeurIPS 2023, arXiv
    2311.10200).

    **Arguments**

    - `ridge`: $\lambda > 0$, beside a *mean* over steps. `bias`: fit one, without penalty.
    - `outlier`: targets with $c\,|d - \tanh\theta^\top x|$ above this are left out of a step, and the others taken for
      more; None keeps all, and only then is the objective one and the same convex function throughout.
    - `weighting`: `"curvature"` is $c$ above; `"equal"` is $c = 1$, which noise near ±1 moves less, and for which
      every whole step lowers the objective, though slowly where units saturate.
    - `self_coupling`: whether a unit may drive itself ($W_{ii}\ne0$).
    - `scale`: rates are divided by it, the network speaks of rates so scaled; None: 1, or the largest absolute rate if
      that is above 1.
    - `block`: units that are solved together; memory is a few times steps × `block`.

    The network starts from `activity.initial` and reads out every unit. Computes in the number type of `rates`; with
    nearly collinear rates float32 has too few digits. Raises `InputError` on options that make no sense.
    """
    size = checked(activity, ridge, iterations, outlier, scale)
    check_count(block=block)
    check_choice("weighting", weighting, ("curvature", "equal"))
    steps = steps_of(activity, size)
    problem = prepare(joined(steps, bias), penalties(activity, ridge, bias, steps.before.dtype))
    theta, rows = _all_blocks(problem, steps.targets, iterations, outlier, (self_coupling, weighting), block, report)
    n, d = activity.units, activity.input_size
    shift = theta[n + d] if bias else jnp.zeros(n, theta.dtype)
    network = network_of(activity, Dense(theta[:n].T), theta[n : n + d].T, shift, size)
    told = summary(steps, problem, theta, rows)
    return OneStepFit(network, OneStepReport(**told, alpha=activity.alpha, ridge=ridge, scale=size))


def checked(activity: Activity, ridge: float, iterations: int, outlier: float | None, scale: float | None) -> float:
    """Raise on options that make no sense; the scale of the rates."""
    check_kind("activity", activity, Activity, "pass training.Activity(rates, inputs, alpha)")
    check_positive(ridge=ridge)
    check_count(iterations=iterations)
    if outlier is not None:
        check_positive(outlier=outlier)
    if scale is None:
        return max(1.0, float(np.abs(np.asarray(activity.rates)).max()))
    check_positive(scale=scale)
    return float(scale)


def joined(steps: Steps, bias: bool) -> Float[Array, "sample p"]:
    """The features of every step: rates, inputs, and 1 for a bias."""
    one = [jnp.ones((len(steps.before), 1), steps.before.dtype)] if bias else []
    return jnp.concatenate([steps.before, steps.inputs, *one], axis=1)


def penalties(activity: Activity, ridge: float, bias: bool, dtype: Any) -> Float[Array, " p"]:
    """The penalty of every feature."""
    return jnp.asarray([ridge] * (activity.units + activity.input_size) + [0.0] * bias, dtype)


@jax.jit
def prepare(features: Float[Array, "sample p"], penalty: Float[Array, " p"]) -> Problem:
    """The problem with its factor. By QR of the features themselves: their squares would halve the digits."""
    with jax.default_matmul_precision("highest"):
        below = jnp.diag(jnp.sqrt(penalty * features.shape[0]))
        factor = jnp.linalg.qr(jnp.concatenate([features, below]), mode="r")
    return Problem(features, penalty, factor)


class Aim(NamedTuple):
    """What is to be met at every step."""

    d: Float[Array, "sample n"]
    weight: Float[Array, "sample n"]
    r"""$c$: $1/(1 - d^2)$, or 1."""
    least: Float[Array, "sample n"]
    r"""$\log\cosh z - dz$ at $z = \mathrm{artanh}\,d$, where it is least."""


def aim(d: Float[Array, "sample n"], weighting: Weighting) -> Aim:
    """The targets with their weights."""
    weight = 1 / (1 - d**2) if weighting == "curvature" else jnp.ones_like(d)
    return Aim(d, weight, _log_cosh(jnp.arctanh(d)) - d * jnp.arctanh(d))


def _log_cosh(z: Float[Array, "*rows"]) -> Float[Array, "*rows"]:
    """Up to the constant log 2; it does not overflow."""
    return jnp.abs(z) + jnp.log1p(jnp.exp(-2 * jnp.abs(z)))


def excess(z: Float[Array, "sample n"], to: Aim) -> Float[Array, "sample n"]:
    r"""The cross-entropy of a prediction $\tanh z$ above that of $d$ itself, weighted (docs eq. L.73)."""
    return to.weight * jnp.maximum(_log_cosh(z) - to.d * z - to.least, 0)


class Now(NamedTuple):
    """Weights, and what follows from them at every step."""

    theta: Float[Array, "p n"]
    z: Float[Array, "sample n"]
    miss: Float[Array, "sample n"]
    """`excess` at z."""


class Rows(NamedTuple):
    """What is known of every iteration, unit by unit."""

    objective: Float[Array, "iteration n"]
    excess: Float[Array, "iteration n"]
    dropped: Float[Array, "iteration n"]


def _all_blocks(
    problem: Problem,
    targets: Float[Array, "sample n"],
    iterations: int,
    outlier: float | None,
    how: tuple[bool, Weighting],
    block: int,
    report: Report,
) -> tuple[Float[Array, "p n"], Rows]:
    """The weights of all units, block by block; blocks are of one size, so that there is one program."""
    n = targets.shape[1]
    width = min(block, n)
    count = -(-n // width)
    padded = jnp.pad(targets, ((0, 0), (0, count * width - n)))
    limit = jnp.asarray(np.inf if outlier is None else outlier, targets.dtype)
    parts = []
    for i in range(count):
        units = jnp.arange(i * width, (i + 1) * width, dtype=jnp.int32)
        part = jax.lax.dynamic_slice_in_dim(padded, i * width, width, axis=1)
        parts.append(_solve(problem, part, units, limit, iterations, *how))
        report(Progress("one-step fit", min((i + 1) * width, n), n))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1)[:, :n], *parts)


@eqx.filter_jit
def _solve(
    problem: Problem,
    d: Float[Array, "sample n"],
    units: Int[Array, " n"],
    limit: Float[Array, ""],
    iterations: int,
    self_coupling: bool,
    weighting: Weighting,
) -> tuple[Float[Array, "p n"], Rows]:
    """The weights of some units, and the rows of every iteration."""
    with jax.default_matmul_precision("highest"):
        to = aim(d, weighting)
        allowed = (lambda change: change) if self_coupling else _without_self(problem, units)
        start = allowed(problem.solve(problem.features.T @ jnp.arctanh(d)))
        now = at(problem, start, to)

        def body(now: Now, _: None) -> tuple[Now, Rows]:
            error = to.weight * (d - jnp.tanh(now.z))
            kept, rows = look(problem, now, error, limit)
            slope = problem.features.T @ (kept * error) - len(d) * problem.penalty[:, None] * now.theta
            return shortened(problem, now, allowed(problem.solve(slope)), kept, to), rows

        now, rows = jax.lax.scan(body, now, None, length=iterations)
        _, last = look(problem, now, to.weight * (d - jnp.tanh(now.z)), limit)
    return now.theta, jax.tree.map(lambda all_, one: jnp.concatenate([all_, one[None]]), rows, last)


def at(problem: Problem, theta: Float[Array, "p n"], to: Aim) -> Now:
    """Where weights stand."""
    z = problem.features @ theta
    return Now(theta, z, excess(z, to))


def _without_self(problem: Problem, units: Int[Array, " n"]) -> Any:
    r"""A function that takes out of a change of weights what would make $\theta_{ii}$ differ from 0.

    The step of least objective within that plane: $\Delta - A^{-1}e_i\,\Delta_i/(A^{-1})_{ii}$.
    """
    unit = jax.nn.one_hot(units, problem.features.shape[1], axis=0, dtype=problem.features.dtype)
    column = problem.solve(unit)
    own = (unit * column).sum(0)

    def take_out(change: Float[Array, "p n"]) -> Float[Array, "p n"]:
        left = change - column * ((unit * change).sum(0) / own)[None, :]
        return left * (1 - jnp.minimum(unit, 1))

    return take_out


def look(
    problem: Problem, now: Now, error: Float[Array, "sample n"], limit: Float[Array, ""]
) -> tuple[Float[Array, "sample n"], Rows]:
    """The share of every target in the sum, 0 for outliers and more than 1 for the others; and how good it is."""
    fine = jnp.abs(error) <= limit
    share = jnp.maximum(fine.mean(0), 1 / len(error)).astype(error.dtype)
    kept = fine.astype(error.dtype) / share[None, :]
    miss = (kept * now.miss).mean(0)
    return kept, Rows(miss + cost(problem, now.theta), miss, 1 - fine.mean(0).astype(error.dtype))


def cost(problem: Problem, theta: Float[Array, "p n"]) -> Float[Array, " n"]:
    """The penalty of the weights of each unit."""
    return 0.5 * (problem.penalty[:, None] * theta**2).sum(0)


def shortened(problem: Problem, now: Now, change: Float[Array, "p n"], kept: Float[Array, "sample n"], to: Aim) -> Now:
    """A step along `change`, of each unit halved until it lowers its objective; none where nothing does."""
    along = problem.features @ change
    here = (kept * now.miss).mean(0) + cost(problem, now.theta)
    # as far as rounding of the terms of `excess`, and a thousandth of what ends the fit: no search for less
    slack = (
        4 * jnp.finfo(here.dtype).eps * (kept * to.weight * (1 + jnp.abs(to.least))).mean(0) + 1e-3 * TOLERANCE * here
    )

    def moved(size: Float[Array, " n"]) -> tuple[Now, Bool[Array, " n"]]:
        z = now.z + size[None, :] * along
        there = Now(now.theta + size[None, :] * change, z, excess(z, to))
        return there, (kept * there.miss).mean(0) + cost(problem, there.theta) <= here + slack

    def halve(state: tuple[Array, Array, Now, Array]) -> tuple[Array, Array, Now, Array]:
        count, size, _, lower = state
        size = jnp.where(lower, size, 0.5 * size)
        return count + 1, size, *moved(size)

    size = jnp.ones(len(here), here.dtype)
    start = (jnp.zeros((), jnp.int32), size, *moved(size))
    _, _, there, lower = jax.lax.while_loop(lambda s: (s[0] < HALVINGS) & ~s[3].all(), halve, start)
    return jax.tree.map(lambda new, old: jnp.where(lower[None, :], new, old), there, now)


def summary(steps: Steps, problem: Problem, theta: Float[Array, "p n"], rows: Rows) -> dict[str, Any]:
    """The fields of a report that are numbers of the fit."""
    d = np.asarray(steps.targets)
    missed = ((d - np.tanh(np.asarray(problem.features @ theta))) ** 2).sum(0)
    spread = ((d - d.mean(0)) ** 2).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.where(spread > 0, 1 - missed / spread, np.where(missed > 0, -np.inf, 1.0))
    objective = np.asarray(rows.objective)
    gain, whole = objective[-2] - objective[-1], objective[0] - objective[-1]
    # what rounding leaves of an objective of order 1
    least = 1e3 * np.finfo(objective.dtype).eps
    done = gain <= np.maximum(TOLERANCE * np.maximum(whole, objective[-1]), least)
    status = np.where(done, CONVERGED, SPENT)
    if len(d) < problem.features.shape[1]:
        status = np.full_like(status, UNDETERMINED)
    means = {name: np.asarray(getattr(rows, name)).mean(1) for name in Rows._fields}
    return {**means, "r2": r2, "clipped": np.asarray(steps.clipped), "status": status, "samples": len(d)}


def network_of(
    activity: Activity,
    connectivity: AbstractConnectivity,
    input_weights: Float[Array, "n d"],
    shift: Float[Array, " n"],
    scale: float,
    readout: LinearReadout | None = None,
) -> Network:
    """The fitted weights as a network that starts where the activity does; it reads out every unit unless told."""
    flow = LeakyRate(connectivity, input_weights, shift, "tanh", activity.tau)
    start = jnp.asarray(activity.initial / scale, input_weights.dtype)
    read = LinearReadout(jnp.eye(activity.units, dtype=input_weights.dtype)) if readout is None else readout
    return Network(Euler(flow, activity.alpha * activity.tau), read, start)
