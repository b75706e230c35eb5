r"""The search for zeros of a rate of change: Levenberg–Marquardt on a pool of starts, then Newton on what was found.

Steps are taken in blocks of equal size; starts that have arrived, or that no longer move, leave the pool, so that the
slowest start costs its own steps only. A step solves $(J^\top J + \lambda\bar d\,1)\,s = -J^\top g$ by Cholesky, with
$\bar d$ the mean diagonal entry of $J^\top J$ (docs eq. D.3).

A library's solver was tried first. On a GRU of 128 units and 32 starts in float32, a step of optimistix's
`LevenbergMarquardt` costs 5 times as much (it factorises the stacked matrix by QR), one of its `Dogleg` 2.4 times, both
took more steps, and neither runs in float32 once 64-bit numbers are switched on: they keep their radius in float64.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from recurvature.dynamics.rate import AbstractRate

BLOCK = 32
"""States that step together."""
CHUNK = 4
"""Steps between two looks at who has arrived."""
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


def relative_speed(rate: AbstractRate, x: Float[Array, " n"], scale: float) -> Float[Array, ""]:
    r"""$\lVert g(x)\rVert/(a\sqrt N + \lVert x\rVert)$ with $a$ = `scale` (docs eq. D.2)."""
    norm = jnp.linalg.norm
    size = jnp.asarray(scale * len(x) ** 0.5, x.dtype)
    return norm(rate(x)) / (size + norm(x))


def search(
    rate: AbstractRate, starts: Float[np.ndarray, "start n"], *, tolerance: float, scale: float, max_steps: int
) -> Searched:
    """Follow every start until its relative speed is below `tolerance`, it is at rest, or `max_steps` are taken."""
    states = np.array(starts)
    total, block = len(states), min(BLOCK, len(states))
    damping, speed = np.ones(total, states.dtype), np.full(total, np.inf, states.dtype)
    stalls, arrived = np.zeros(total, int), np.zeros(total, bool)
    for _ in range(-(-max_steps // CHUNK)):
        active = np.flatnonzero(~arrived & (stalls < 2))
        for first in range(0, len(active), block):
            part = active[first : first + block]
            where = np.resize(part, block)  # the last block is filled up by repetition
            moved, lam, after = map(np.asarray, _advance(rate, states[where], damping[where], scale, tolerance))
            before, kept = speed[part], slice(len(part))
            states[part], damping[part], speed[part] = moved[kept], lam[kept], after[kept]
            still = after[kept] ** 2 >= STALLED * before**2
            stalls[part] = np.where(still | ~np.isfinite(after[kept]), stalls[part] + 1, 0)
            arrived[part] = after[kept] <= tolerance
        if not len(active):
            break
    return Searched(states, speed, arrived | ((stalls >= 2) & np.isfinite(speed)))


@eqx.filter_jit
def _advance(
    rate: AbstractRate, x: Float[Any, "block n"], damping: Float[Any, " block"], scale: float, tolerance: float
) -> tuple[Float[Array, "block n"], Float[Array, " block"], Float[Array, " block"]]:
    """`CHUNK` steps of a block, or fewer if all arrive before; its states, dampings and relative speeds."""
    Course = tuple[Any, Float[Array, "block n"], Float[Array, " block"], Float[Array, " block"]]
    speeds = jax.vmap(lambda x: relative_speed(rate, x, scale))

    def unfinished(course: Course) -> Bool[Array, ""]:
        return (course[0] < CHUNK) & ~(course[3] <= tolerance).all()

    def step(course: Course) -> Course:
        taken, x, lam, _ = course
        x, lam = jax.vmap(lambda x, lam: marquardt_step(rate, x, lam))(x, lam)
        return taken + 1, x, lam, speeds(x)

    def creeping(x: Float[Array, "block n"]) -> tuple[Float[Array, "block n"], Float[Array, " block"]]:
        x = jax.vmap(lambda x: _newton_step_if_better(rate, x))(x)
        return x, speeds(x)

    x, damping = jnp.asarray(x), jnp.asarray(damping)
    _, x, damping, speed = jax.lax.while_loop(unfinished, step, (0, x, damping, speeds(x)))
    x, speed = jax.lax.cond((speed <= tolerance).all(), lambda x: (x, speed), creeping, x)
    return x, damping, speed


def _newton_step_if_better(rate: AbstractRate, x: Float[Array, " n"]) -> Float[Array, " n"]:
    """A step by LU, which converges where a damped one creeps: along nearly singular directions."""
    value = rate(x)
    tried = x - jnp.linalg.solve(rate.jacobian(x), value)
    return jnp.where(jnp.sum(rate(tried) ** 2) < value @ value, tried, x)  # false for NaN


def marquardt_step(
    rate: AbstractRate, x: Float[Array, " n"], damping: Float[Array, ""]
) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    r"""One trial step: taken if it lowers $q = \lVert g\rVert^2/2$; the damping follows how well that was foreseen."""
    value, jac = rate(x), rate.jacobian(x)
    normal, slopes = jac.T @ jac, jac.T @ value
    mean = jnp.trace(normal) / len(x) + jnp.finfo(x.dtype).tiny
    damped = normal + damping * mean * jnp.eye(len(x), dtype=x.dtype)
    step = -jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(damped), slopes)
    now, then = value @ value, jnp.sum(rate(x + step) ** 2)
    foreseen = now - jnp.sum((value + jac @ step) ** 2)
    ratio = (now - then) / foreseen
    better = then < now  # false for NaN
    smallest, largest = 100 * jnp.finfo(x.dtype).eps, jnp.asarray(1e8, x.dtype)
    factor = jnp.where(~better, 8.0, jnp.where(ratio > 0.75, 0.1, jnp.where(ratio < 0.25, 4.0, 1.0)))
    return jnp.where(better, x + step, x), jnp.clip(damping * factor.astype(x.dtype), smallest, largest)


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
    def step(
        carry: tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, ""]], _: None
    ) -> tuple[tuple[Float[Array, " n"], Float[Array, " n"], Float[Array, ""]], None]:
        x, best, speed = carry
        x = x - jnp.linalg.solve(rate.jacobian(x), rate(x))
        now = relative_speed(rate, x, scale)
        slower = now < speed  # false for NaN, of a singular Jacobian
        return (x, jnp.where(slower, x, best), jnp.where(slower, now, speed)), None

    x = jnp.asarray(x)
    (_, best, speed), _ = jax.lax.scan(step, (x, x, relative_speed(rate, x, scale)), length=NEWTON_STEPS)
    return best, speed


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
