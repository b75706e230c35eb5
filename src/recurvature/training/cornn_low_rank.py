r"""The one-step fit with recurrent weights of low rank: no longer convex, but convex in either factor alone."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_choice, check_count
from recurvature.measures.weighted_svd import weighted_svd
from recurvature.systems.connectivity import Dense, LowRank
from recurvature.systems.leaky import LeakyRate
from recurvature.systems.readout import LinearReadout
from recurvature.training.activity import Activity, Steps, rate_flow, steps_of
from recurvature.training.cornn import (
    HALVINGS,
    Aim,
    Now,
    OneStepFit,
    OneStepReport,
    Problem,
    Rows,
    Weighting,
    aim,
    at,
    checked,
    cornn,
    excess,
    joined,
    look,
    network_of,
    penalties,
    prepare,
    shortened,
    summary,
)


class Factors(NamedTuple):
    r"""$W = MN$ with $M$ = `left` and $N$ = `right.T`, and what does not depend on rates."""

    left: Float[Array, "n k"]
    right: Float[Array, "n k"]
    rest: Float[Array, "q n"]
    """Input weights, and a bias below them if there is one."""


class _Data(NamedTuple):
    """What does not change from one iteration to the next."""

    rates: Problem
    """The rates as features, with the factor of their own."""
    others: Float[Array, "sample q"]
    other_penalty: Float[Array, " q"]
    ridge: Float[Array, ""]
    to: Aim
    limit: Float[Array, ""]


def cornn_low_rank(
    activity: Activity,
    *,
    rank: int,
    ridge: float = 1e-4,
    iterations: int = 50,
    outlier: float | None = 1.0,
    bias: bool = False,
    weighting: Weighting = "equal",
    scale: float | None = None,
) -> OneStepFit:
    r"""The rate network of rank `rank` that predicts the steps of `activity`: $W = MN$, and input weights.

    The dense fit `cornn`, with the options given, is cut to the directions in which its recurrent input goes
    (`measures.weighted_svd`); from there the objective of `cornn`, with $\frac\lambda2(\lVert M\rVert^2 + \lVert
    N\rVert^2)$ for a penalty, is lowered in turn over $M$ with the input weights, unit by unit on the latent variables
    $Nr$, and over $N$ for all units together, each along the curvature that it has at a perfect prediction, halved as
    needed (docs eq. L.77–L.79). This ends in a local minimum. $M$ and $N$ are as large as each other at the start.

    Of the network made, the connectivity is `LowRank` with normalisation `"1"`, and the outputs are the latent
    variables. A small one-step loss does not make a network that keeps what the activity keeps: run it, look at its
    fixed points, and train it through time (`two_step` does). Options as in `cornn`; raises `InputError` alike.
    """
    size = checked(activity, ridge, iterations, outlier, scale)
    check_count(rank=rank)
    check_choice("weighting", weighting, ("curvature", "equal"))
    if rank > activity.units:
        raise InputError(f"`rank` must be at most the number of units, {activity.units}; got {rank}.")
    steps = steps_of(activity, size)
    dense = cornn(
        activity, ridge=ridge, iterations=10, outlier=outlier, bias=bias, weighting=weighting, scale=size
    ).network
    first = cut(rate_flow(dense), steps.before, rank, bias)
    dtype = steps.before.dtype
    own = penalties(activity, ridge, bias, dtype)
    data = _Data(
        prepare(steps.before, own[: activity.units]),
        joined(steps, bias)[:, activity.units :],
        own[activity.units :],
        jnp.asarray(ridge, dtype),
        aim(steps.targets, weighting),
        jnp.asarray(np.inf if outlier is None else outlier, dtype),
    )
    factors, rows = _solve(data, first, iterations)
    return _result(activity, steps, factors, rows, (data, ridge, size, bias))


def cut(flow: LeakyRate, rates: Float[Array, "sample n"], rank: int, bias: bool) -> Factors:
    r"""The `rank` directions in which the recurrent input of a dense network goes: $U(U^\top W)$, evenly shared out."""
    assert isinstance(flow.connectivity, Dense)
    weight = np.asarray(flow.connectivity.weight)
    onto = weighted_svd(np.asarray(rates), weight).left[:, :rank]
    turn, sizes, right = np.linalg.svd(onto.T @ weight, full_matrices=False)
    rest = [flow.input_weights.T, *([flow.bias[None]] if bias else [])]
    left, right = onto @ turn * np.sqrt(sizes), right.T * np.sqrt(sizes)
    return Factors(jnp.asarray(left), jnp.asarray(right), jnp.concatenate(rest))


@eqx.filter_jit
def _solve(data: _Data, first: Factors, iterations: int) -> tuple[Factors, Rows]:
    with jax.default_matmul_precision("highest"):

        def body(factors: Factors, _: None) -> tuple[Factors, Rows]:
            factors, rows = _outward(data, factors)
            return _inward(data, factors), rows

        factors, rows = jax.lax.scan(body, first, None, length=iterations)
        _, last = _outward(data, factors)
    return factors, jax.tree.map(lambda all_, one: jnp.concatenate([all_, one[None]]), rows, last)


def _latent(data: _Data, factors: Factors) -> tuple[Problem, Now]:
    """The problem of every unit on the latent variables, and where it stands."""
    features = jnp.concatenate([data.rates.features @ factors.right, data.others], axis=1)
    variables = jnp.full(factors.left.shape[1], data.ridge)
    problem = prepare(features, jnp.concatenate([variables, data.other_penalty]))
    return problem, at(problem, jnp.concatenate([factors.left.T, factors.rest]), data.to)


def _error(data: _Data, now: Now) -> Float[Array, "sample n"]:
    return data.to.weight * (data.to.d - jnp.tanh(now.z))


def _outward(data: _Data, factors: Factors) -> tuple[Factors, Rows]:
    """A step of $M$ and the input weights, unit by unit; and how good the factors were before it."""
    problem, now = _latent(data, factors)
    error = _error(data, now)
    kept, rows = look(problem, now, error, data.limit)
    slope = problem.features.T @ (kept * error) - len(error) * problem.penalty[:, None] * now.theta
    theta = shortened(problem, now, problem.solve(slope), kept, data.to).theta
    rank = factors.left.shape[1]
    shared = 0.5 * data.ridge * (factors.right**2).sum() / len(factors.right)
    told = Rows(rows.objective + shared, rows.excess, rows.dropped)
    return Factors(theta[:rank].T, factors.right, theta[rank:]), told


def _inward(data: _Data, factors: Factors) -> Factors:
    r"""A step of $N$ for all units together, along $(X^\top X + T\lambda)^{-1}(\cdot)(M^\top M)^{-1}$."""
    problem, now = _latent(data, factors)
    error = _error(data, now)
    kept, _ = look(problem, now, error, data.limit)
    slope = data.rates.features.T @ ((kept * error) @ factors.left) - len(error) * data.ridge * factors.right
    gram = factors.left.T @ factors.left
    # a column of M that has died would make the curvature singular
    floor = 1e-6 * jnp.trace(gram) * jnp.eye(len(gram), dtype=gram.dtype)
    change = jnp.linalg.solve(gram + floor, data.rates.solve(slope).T).T
    along = (data.rates.features @ change) @ factors.left.T

    def total(size: Float[Array, ""]) -> Float[Array, ""]:
        miss = (kept * excess(now.z + size * along, data.to)).mean(0).sum()
        return miss + 0.5 * data.ridge * ((factors.right + size * change) ** 2).sum()

    here = total(jnp.zeros((), gram.dtype))
    start = (jnp.zeros((), jnp.int32), jnp.ones((), gram.dtype), total(jnp.ones((), gram.dtype)) <= here)

    def halve(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        size = 0.5 * state[1]
        return state[0] + 1, size, total(size) <= here

    _, size, lower = jax.lax.while_loop(lambda s: (s[0] < HALVINGS) & ~s[2], halve, start)
    return factors._replace(right=factors.right + jnp.where(lower, size, 0) * change)


def _result(
    activity: Activity, steps: Steps, factors: Factors, rows: Rows, rest: tuple[_Data, float, float, bool]
) -> OneStepFit:
    data, ridge, size, bias = rest
    problem, now = _latent(data, factors)
    inputs = factors.rest[: activity.input_size].T
    shift = factors.rest[-1] if bias else jnp.zeros(activity.units, inputs.dtype)
    connectivity = LowRank(factors.left, factors.right, "1")
    network = network_of(activity, connectivity, inputs, shift, size, LinearReadout(factors.right.T))
    told = summary(steps, problem, now.theta, rows)
    report = OneStepReport(**told, alpha=activity.alpha, ridge=ridge, scale=size, rank=connectivity.rank)
    return OneStepFit(network, report)
