r"""Recurrences under an activation, run on one sample by all networks of a population: what their errors cost, and how
that changes with the weights, in one pass.

No network touches the loss of another, so that the gradient of each can be taken while its errors are summed (docs eq.
S.78): trials go through in blocks whose states stay in the cache, and of a block only states and errors are kept. The
activation and its slope are taken anew from the states on the way back.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from recurvature.lenses.superposition.population import UNROLLED, product
from recurvature.systems.activations import Activation, activation

BLOCK = 32
"""Trials that are run together; sums over them are written out."""


class Matrices(eqx.Module):
    r"""$W_h$, $W_x$, $W_y^\top$ and perhaps a bias of what is read out, of all networks, networks last."""

    recurrent: Float[Array, "n n seed"]
    inputs: Float[Array, "n d seed"]
    readout: Float[Array, "o n seed"]
    bias: Float[Array, "o 1 seed"] | None = None


class Course(eqx.Module):
    """What is run: the inputs of all trials, after how many steps they are due, and what an error counts.

    `delay` and `weight` have a row for each trial or one for all, and a column for each network or one for all. The
    first features of the inputs are to be recalled, as many as there are outputs. With `last`, the last step counts.
    """

    inputs: Float[Array, "*block time trial d"]
    delay: Int[Array, "*block row column"]
    weight: Float[Array, "*block row_ column_"]
    importance: Float[Array, "*block o"]
    hidden: str = eqx.field(static=True)
    seen: str = eqx.field(static=True)
    last: bool = eqx.field(static=True)


class Sums(eqx.Module):
    """Weighted sums over trials and steps for every network: squares of errors, and of outputs."""

    error: Float[Array, " seed"]
    power: Float[Array, " seed"]


@eqx.filter_custom_vjp
def squares(weights: Matrices, course: Course) -> Sums:
    """The sums for every network. The gradient is that of `error`; `power` has none.

    The activation of the recurrence must be 0 at 0. Trials are filled up to whole blocks with some that do not count.
    """
    return jax.lax.scan(lambda sums, block: (_add(sums, _there(weights, block)[0]), None), *_over(weights, course))[0]


@squares.def_fwd
def _squares_and_slopes(perturbed: Any, weights: Matrices, course: Course) -> tuple[Sums, Matrices]:
    def one(total: tuple[Sums, Matrices], block: Course) -> tuple[tuple[Sums, Matrices], None]:
        sums, states, slopes = _there(weights, block)
        return _add(total, (sums, _back(weights, block, states, slopes))), None

    silent, blocks = _over(weights, course)
    nothing = jax.tree.map(jnp.zeros_like, weights)
    return jax.lax.scan(one, (silent, nothing), blocks)[0]


@squares.def_bwd
def _scaled(slopes: Matrices, wanted: Any, perturbed: Any, weights: Matrices, course: Course) -> Matrices:
    return jax.tree.map(lambda slope: slope * wanted.error[None, None], slopes)


def _add(total: Any, more: Any) -> Any:
    return jax.tree.map(jnp.add, total, more)


def _over(weights: Matrices, course: Course) -> tuple[Sums, Course]:
    """Sums of nothing, and the blocks of a course along a leading axis."""
    steps, trials, features = course.inputs.shape
    size = min(BLOCK, trials)
    count = -(-trials // size)

    more = size * count - trials

    def rows(values: Array, one_for_all: bool) -> Array:
        if len(values) == 1 and one_for_all:
            return jnp.broadcast_to(values, (count, *values.shape))
        each = jnp.broadcast_to(values, (trials, values.shape[1]))
        return _filled(each, more).reshape(count, size, -1)

    by_trial = _filled(jnp.swapaxes(course.inputs, 0, 1), more)
    inputs = jnp.swapaxes(by_trial.reshape(count, size, steps, features), 1, 2)
    importance = jnp.broadcast_to(course.importance, (count, *course.importance.shape))
    # what fills the last block has a weight of its own, 0: a bias may read out of a silent trial what is not there
    parts = (inputs, rows(course.delay, True), rows(course.weight, not more), importance)
    nothing = jnp.zeros(weights.recurrent.shape[-1], weights.recurrent.dtype)
    return Sums(nothing, nothing), Course(*parts, course.hidden, course.seen, course.last)


def _filled(values: Array, more: int) -> Array:
    return jnp.concatenate([values, jnp.zeros((more, *values.shape[1:]), values.dtype)])


def _there(weights: Matrices, block: Course) -> tuple[Sums, Float[Array, "..."], Float[Array, "..."]]:
    """Run a block: its sums, the states of all steps, and the slopes of the error along what is read out."""
    (steps, trials, _), seeds = block.inputs.shape, weights.recurrent.shape[-1]
    phi, seen = activation(block.hidden), activation(block.seen)
    weight = 2 * block.weight[None] * block.importance[:, None, None]
    due = _due(block, len(weights.readout))

    def body(now: tuple[Array, Sums], at: tuple[Array, Array]) -> tuple[tuple[Array, Sums], tuple[Array, Array]]:
        (h, sums), (t, u) = now, at
        h = product(weights.inputs, _for_all(u, seeds)) + product(weights.recurrent, phi(h))
        z = product(weights.readout, h)
        z = z if weights.bias is None else z + weights.bias
        outputs = seen(z)
        counts = (t == steps - 1).astype(z.dtype) if block.last else jnp.ones((), z.dtype)
        slope = counts * weight * (outputs - due(t))
        half = jnp.asarray(0.5, z.dtype)
        error, power = slope * (outputs - due(t)), counts * weight * outputs**2
        sums = _add(sums, Sums(half * error.sum((0, 1)), half * power.sum((0, 1))))
        return (h, sums), (h, slope * _slope(seen, z))

    nothing = jnp.zeros(seeds, weights.recurrent.dtype)
    rest = jnp.zeros((len(weights.recurrent), trials, seeds), nothing.dtype)
    at = (jnp.arange(steps, dtype=jnp.int32), block.inputs)
    (_, sums), (states, slopes) = jax.lax.scan(body, (rest, Sums(nothing, nothing)), at)
    return sums, states, slopes


def _due(block: Course, outputs: int) -> Any:
    """The features that are due at a step, (o, trial, seed): zeros before there are any."""
    features = block.inputs[:, :, :outputs]
    history = jnp.concatenate([jnp.zeros_like(features), features])
    trial = jnp.arange(features.shape[1], dtype=jnp.int32)[:, None]
    return lambda t: jnp.moveaxis(history[len(features) + t - block.delay, trial], 2, 0)


def _back(
    weights: Matrices,
    block: Course,
    states: Float[Array, "time n trial seed"],
    slopes: Float[Array, "time o trial seed"],
) -> Matrices:
    """Backwards through a block: how its error changes with the weights."""
    phi, seeds = activation(block.hidden), states.shape[-1]
    recurrent, readout = (jnp.swapaxes(w, 0, 1) for w in (weights.recurrent, weights.readout))

    def body(now: tuple[Array, Matrices], at: tuple[Array, Array, Array]) -> tuple[tuple[Array, Matrices], None]:
        (later, total), (h, slope, u) = now, at
        own = _slope(phi, h) * product(recurrent, later) + product(readout, slope)
        more = (_outer(later, phi(h)), _outer(own, _for_all(u, seeds)), _outer(slope, h))
        bias = None if weights.bias is None else slope.sum(1, keepdims=True)
        return (own, _add(total, Matrices(*more, bias))), None

    start = (jnp.zeros_like(states[0]), jax.tree.map(jnp.zeros_like, weights))
    return jax.lax.scan(body, start, (states, slopes, block.inputs), reverse=True)[0][1]


def _slope(phi: Activation, z: Array) -> Array:
    return jax.jvp(phi, (z,), (jnp.ones_like(z),))[1]


def _for_all(u: Float[Array, "trial d"], seeds: int) -> Float[Array, "d trial seed"]:
    return jnp.broadcast_to(u.T[:, :, None], (*u.T.shape, seeds))


def _outer(a: Float[Array, "i trial seed"], b: Float[Array, "j trial seed"]) -> Float[Array, "i j seed"]:
    """Products summed over trials, network by network."""
    few = max(len(a), len(b)) <= UNROLLED
    return product(a, jnp.swapaxes(b, 0, 1), unrolled=BLOCK if few else 0)
