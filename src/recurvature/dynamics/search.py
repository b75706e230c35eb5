r"""The search for zeros of a rate of change: Levenberg–Marquardt on a pool of starts, then Newton on what was found.

Steps are taken in blocks of equal size; starts that have arrived, or that no longer move, leave the pool, so that the
slowest start costs its own steps only. If asked, all starts descend first. Large states step without matrices; a start
that comes to rest so, without having arrived, goes on by factorisation (docs eq. D.3, D.21, D.22).
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from recurvature.dynamics.rate import AbstractRate, Rate, flow_of
from recurvature.dynamics.steps import CHUNK, descended, factorised, matrix_free, relative_speed
from recurvature.systems.base import FunctionFlow, FunctionMap

LEAST_FREE = 64
"""Of fewer variables a factorisation is cheaper."""
BLOCK = 32
"""States that step together without matrices."""
MATRICES = 2**17
"""Entries of the Jacobians of a block, 32 states at most: large systems need them for few starts."""
NEWTON_STEPS = 6
"""From the search's tolerance two or three reach rounding; near a bifurcation convergence is slower."""
STALLED = 0.9
"""A start is at rest without having arrived once two chunks in a row left this share of q or more."""


class Searched(NamedTuple):
    """Where the starts ended."""

    states: Float[np.ndarray, "start n"]
    speed: Float[np.ndarray, " start"]
    """Relative speed."""
    stopped: Bool[np.ndarray, " start"]
    """At rest: arrived, or at a minimum of the speed. The others ran out of steps."""


def search(
    rate: AbstractRate,
    starts: Float[np.ndarray, "start n"],
    *,
    tolerance: float,
    scale: float,
    max_steps: int,
    descent: int = 0,
) -> Searched:
    """Follow every start until its relative speed is below `tolerance`, it is at rest, or `max_steps` are taken.

    `descent` steps of Adam come before these.
    """
    states = descend(rate, starts, descent, scale)
    total = len(states)
    damping, speed = np.ones(total, states.dtype), np.full(total, np.inf, states.dtype)
    stalls, arrived, free = np.zeros(total, int), np.zeros(total, bool), np.full(total, _has_products(rate))
    for _ in range(-(-max_steps // CHUNK)):
        active = np.flatnonzero(~arrived & (stalls < 2))
        if not len(active):
            break
        for advance, part, where in _turns(active, free, states.shape):
            moved, lam, after = map(np.asarray, advance(rate, states[where], damping[where], scale, tolerance))
            before, kept = speed[part], slice(len(part))
            states[part], damping[part], speed[part] = moved[kept], lam[kept], after[kept]
            still = (after[kept] ** 2 >= STALLED * before**2) | ~np.isfinite(after[kept])
            stalls[part] = np.where(still & ~free[part], stalls[part] + 1, 0)
            free[part] &= ~still
            arrived[part] = after[kept] <= tolerance
    return Searched(states, speed, arrived | ((stalls >= 2) & np.isfinite(speed)))


def _turns(
    active: Int[np.ndarray, " some"], free: Bool[np.ndarray, " start"], shape: tuple[int, int]
) -> Iterator[tuple[Callable[..., Any], Int[np.ndarray, " part"], Int[np.ndarray, " block"]]]:
    """How to step, whom, and those filled up by repetition to a block of one size."""
    pools = (matrix_free, BLOCK, active[free[active]]), (factorised, _narrow(shape[1]), active[~free[active]])
    for advance, size, pool in pools:
        for part, where in _blocks(pool, min(size, shape[0])):
            yield advance, part, where


def _blocks(
    pool: Int[np.ndarray, " some"], block: int
) -> Iterator[tuple[Int[np.ndarray, " part"], Int[np.ndarray, " block"]]]:
    """Parts of a pool, and those filled up by repetition to one size."""
    for first in range(0, len(pool), block):
        part = pool[first : first + block]
        yield part, np.resize(part, block)


def _narrow(size: int) -> int:
    """How many states with their Jacobians make a block."""
    return int(np.clip(MATRICES // size**2, 1, 32))


def _has_products(rate: AbstractRate) -> bool:
    """Whether steps without matrices pay, and can be had."""
    return isinstance(rate, Rate) and rate.system.state_size >= LEAST_FREE and _has_transposes(rate)


def _has_transposes(rate: AbstractRate) -> bool:
    """Whether products with the transposed derivative are sure to exist: a bare function may have none."""
    return not (isinstance(rate, Rate) and isinstance(flow_of(rate.system) or rate.system, FunctionMap | FunctionFlow))


def descend(
    rate: AbstractRate, starts: Float[np.ndarray, "start n"], steps: int, scale: float
) -> Float[np.ndarray, "start n"]:
    """Every start after `steps` of Adam on its q (docs eq. D.22)."""
    states = np.array(starts)
    if steps:
        products = _has_transposes(rate)
        block = min(BLOCK if products else _narrow(states.shape[1]), len(states))
        for part, where in _blocks(np.arange(len(states)), block):
            moved = descended(rate, starts[where], scale, jnp.asarray(steps), products)
            states[part] = np.asarray(moved)[: len(part)]
    return states


def polish(
    rate: AbstractRate, points: Float[np.ndarray, "point n"], scale: float
) -> tuple[Float[np.ndarray, "point n"], Float[np.ndarray, " point"]]:
    """Newton steps by LU from every point; the slowest state on the way, and its relative speed (docs eq. D.4).

    One after another: points are few, and memory stays at one Jacobian.
    """
    best = [_newton(rate, x, scale) for x in points]
    return np.array([x for x, _ in best]).reshape(points.shape), np.array([float(v) for _, v in best])


@eqx.filter_jit
def _newton(rate: AbstractRate, x: Float[Any, " n"], scale: float) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    Course = tuple[Any, Float[Array, " n"], Float[Array, " n"], Float[Array, ""], Bool[Array, ""]]
    rounding = jnp.finfo(x.dtype).eps

    def unfinished(course: Course) -> Bool[Array, ""]:
        return (course[0] < NEWTON_STEPS) & ~course[4]

    def step(course: Course) -> Course:
        taken, x, best, speed, _ = course
        x = x - jnp.linalg.solve(rate.jacobian(x), rate(x))
        now = relative_speed(rate, x, scale)
        slower = now < speed  # false for NaN, of a singular Jacobian
        best, speed = jnp.where(slower, x, best), jnp.where(slower, now, speed)
        return taken + 1, x, best, speed, (speed <= rounding) | (~slower & (speed <= rounding**0.75))

    x = jnp.asarray(x)
    begun = (0, x, x, relative_speed(rate, x, scale), jnp.asarray(False))
    return jax.lax.while_loop(unfinished, step, begun)[2:4]


def distinct(states: Float[np.ndarray, "point n"], speed: Float[np.ndarray, " point"], distance: float) -> np.ndarray:
    r"""Which states stay when those within `distance` of a slower one are the same point (docs eq. D.5).

    The single definition of "unique": from the slowest on, a state stays if it is farther than `distance` (2-norm, per
    root of the number of units) from all that stay. Every state then lies within `distance` of one that stays, and
    those that stay lie farther apart. Ties in speed are broken by the states, so that the order of states is without
    effect. Returns indices, slowest first.
    """
    order = np.lexsort([*states.T[::-1], speed])
    kept: list[int] = []
    radius = distance * states.shape[1] ** 0.5
    for index in order:
        if not kept or np.linalg.norm(states[kept] - states[index], axis=1).min() > radius:
            kept.append(int(index))
    return np.array(kept, int)
