r"""Steps of many starts: Levenberg–Marquardt by factorisation, or by products with Jacobians alone; and plain descent.

A step of Levenberg and Marquardt minimises $\lVert g + Js\rVert^2 + \lambda\bar d\lVert s\rVert^2$ with $\bar d$ the
mean diagonal entry of $J^\top J$ (docs eq. D.3). A factorisation of the normal equations costs N³ for every start.
Conjugate gradients, which stop early, cost N² for every start and iteration, and all starts go through the weights
together (docs eq. D.21).

A library's solver was tried first. On a GRU of 128 units and 32 starts in float32, a step of optimistix's
`LevenbergMarquardt` costs 5 times as much (it factorises the stacked matrix by QR), one of its `Dogleg` 2.4 times, both
took more steps, and neither runs in float32 once 64-bit numbers are switched on: they keep their radius in float64.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from recurvature.dynamics.rate import AbstractRate

CHUNK = 4
"""Steps between two looks at who has arrived."""
MOST_ITERATIONS = 12
"""Of conjugate gradients in one step: what is found by then still goes down, and one start keeps its block waiting."""
LOOSEST, TIGHTEST = 0.1, 1e-3
"""What conjugate gradients leave of the gradient: the relative speed, within these bounds."""
PACE = 0.05
"""Of Adam, in units of `scale` per step: the rate that the finders begin with which take no other steps."""

Block = Float[Array, "block n"]
Numbers = Float[Array, " block"]
Linear = Callable[[Block], Block]


def relative_speed(rate: AbstractRate, x: Float[Array, " n"], scale: float) -> Float[Array, ""]:
    r"""$\lVert g(x)\rVert/(a\sqrt N + \lVert x\rVert)$ with $a$ = `scale` (docs eq. D.2)."""
    norm = jnp.linalg.norm
    size = jnp.asarray(scale * len(x) ** 0.5, x.dtype)
    return norm(rate(x)) / (size + norm(x))


@eqx.filter_jit
def factorised(
    rate: AbstractRate, x: Float[Any, "block n"], damping: Float[Any, " block"], scale: float, tolerance: float
) -> tuple[Block, Numbers, Numbers]:
    """`CHUNK` steps of a block by Cholesky, or fewer if all arrive before; its states, dampings and relative speeds."""
    speeds = jax.vmap(lambda x: relative_speed(rate, x, scale))

    def creeping(x: Block) -> tuple[Block, Numbers]:
        x = jax.vmap(lambda x: _newton_step_if_better(rate, x))(x)
        return x, speeds(x)

    step = jax.vmap(lambda x, lam, speed: marquardt_step(rate, x, lam))
    x, damping, speed = _chunk(step, speeds, jnp.asarray(x), jnp.asarray(damping), tolerance)
    x, speed = jax.lax.cond((speed <= tolerance).all(), lambda x: (x, speed), creeping, x)
    return x, damping, speed


@eqx.filter_jit
def matrix_free(
    rate: AbstractRate, x: Float[Any, "block n"], damping: Float[Any, " block"], scale: float, tolerance: float
) -> tuple[Block, Numbers, Numbers]:
    """The same by conjugate gradients."""
    speeds = jax.vmap(lambda x: relative_speed(rate, x, scale))
    step = lambda x, lam, speed: _descent_step(jax.vmap(rate), x, lam, speed)  # noqa: E731
    return _chunk(step, speeds, jnp.asarray(x), jnp.asarray(damping), tolerance)


@eqx.filter_jit
def descended(
    rate: AbstractRate, x: Float[Any, "block n"], scale: float, steps: Int[Array, ""], products: bool
) -> Block:
    """A block after so many steps of Adam on q, start by start (docs eq. D.22); without `products` by Jacobians."""
    optimiser = optax.adam(PACE * scale)

    def slopes(x: Block) -> Block:
        if products:
            value, back = jax.vjp(jax.vmap(rate), x)
            return back(value)[0]
        return jax.vmap(lambda x: rate.jacobian(x).T @ rate(x))(x)

    def step(_: Any, course: tuple[Block, optax.OptState]) -> tuple[Block, optax.OptState]:
        x, state = course
        gradient = slopes(x)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes Python numbers, floats and integer counters
            update, state = optimiser.update(gradient, state)
        return x + update, state

    x = jnp.asarray(x)
    return jax.lax.fori_loop(0, steps, step, (x, optimiser.init(x)))[0]


def _chunk(
    step: Callable[[Block, Numbers, Numbers], tuple[Block, Numbers]],
    speeds: Callable[[Block], Numbers],
    x: Block,
    damping: Numbers,
    tolerance: float,
) -> tuple[Block, Numbers, Numbers]:
    Course = tuple[Any, Block, Numbers, Numbers]

    def unfinished(course: Course) -> Bool[Array, ""]:
        return (course[0] < CHUNK) & ~(course[3] <= tolerance).all()

    def advance(course: Course) -> Course:
        taken, *now = course
        x, damping = step(*now)
        return taken + 1, x, damping, speeds(x)

    return jax.lax.while_loop(unfinished, advance, (0, x, damping, speeds(x)))[1:]


def _newton_step_if_better(rate: AbstractRate, x: Float[Array, " n"]) -> Float[Array, " n"]:
    """A step by LU, which converges where a damped one creeps: along nearly singular directions."""
    value = rate(x)
    tried = x - jnp.linalg.solve(rate.jacobian(x), value)
    return jnp.where(jnp.sum(rate(tried) ** 2) < value @ value, tried, x)  # false for NaN


def marquardt_step(
    rate: AbstractRate, x: Float[Array, " n"], damping: Float[Array, ""]
) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    r"""One trial step: taken if it lowers $q = \lVert g\rVert^2/2$."""
    value, jac = rate(x), rate.jacobian(x)
    normal, slopes = jac.T @ jac, jac.T @ value
    mean = jnp.trace(normal) / len(x) + jnp.finfo(x.dtype).tiny
    damped = normal + damping * mean * jnp.eye(len(x), dtype=x.dtype)
    step = -jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(damped), slopes)
    then = jnp.sum(rate(x + step) ** 2)
    better, damping = _judged(value @ value, then, jnp.sum((value + jac @ step) ** 2), damping)
    return jnp.where(better, x + step, x), damping


def _judged(now: Array, then: Array, hoped: Array, damping: Array) -> tuple[Array, Array]:
    """Whether a step goes down, and the damping of the next: it follows how well the linear model foresaw this one."""
    ratio = (now - then) / (now - hoped)
    better = then < now  # false for NaN
    smallest, largest = 100 * jnp.finfo(damping.dtype).eps, jnp.asarray(1e8, damping.dtype)
    factor = jnp.where(~better, 8.0, jnp.where(ratio > 0.75, 0.1, jnp.where(ratio < 0.25, 4.0, 1.0)))
    return better, jnp.clip(damping * factor.astype(damping.dtype), smallest, largest)


def _descent_step(rates: Linear, x: Block, damping: Numbers, speed: Numbers) -> tuple[Block, Numbers]:
    value, forward = jax.linearize(rates, x)
    transpose = jax.linear_transpose(forward, x)
    # the trace of JᵀJ by one vector of signs, in no order that weights could have
    signs = jnp.where(jnp.cos(jnp.arange(x.shape[1]) ** 2) < 0, -1, 1).astype(x.dtype)
    mean = (forward(jnp.broadcast_to(signs, x.shape)) ** 2).mean(1) + jnp.finfo(x.dtype).tiny
    goal = jnp.clip(speed, TIGHTEST, LOOSEST)
    step, hoped = _least_squares(forward, lambda y: transpose(y)[0], value, damping * mean, goal)
    now, then = ((y**2).sum(1) for y in (value, rates(x + step)))
    better, damping = _judged(now, then, (hoped**2).sum(1), damping)
    return jnp.where(better[:, None], x + step, x), damping


def _least_squares(forward: Linear, back: Linear, value: Block, ridge: Numbers, goal: Numbers) -> tuple[Block, Block]:
    r"""$s$ of least $\lVert g + Js\rVert^2 + \mathrm{ridge}\lVert s\rVert^2$, and $g + Js$, by conjugate gradients.

    Hestenes and Stiefel's method on the normal equations, which are never formed; it stops where the gradient has
    fallen to `goal` of its size.
    """
    Course = tuple[Any, Block, Block, Block, Numbers, Bool[Array, " block"]]

    def unfinished(course: Course) -> Bool[Array, ""]:
        return (course[0] < MOST_ITERATIONS) & course[5].any()

    def iterate(course: Course) -> Course:
        count, step, left, along, size, open_ = course
        moved = forward(along)
        bend = (moved**2).sum(1) + ridge * (along**2).sum(1)
        length = jnp.where(open_ & (bend > 0), size / bend, 0)[:, None]
        step, left = step + length * along, left + length * moved
        gradient = back(left) + ridge[:, None] * step
        now = (gradient**2).sum(1)
        along = jnp.where(size > 0, now / size, 0)[:, None] * along - gradient
        return count + 1, step, left, along, now, open_ & (now > floor)

    downhill = -back(value)
    size = (downhill**2).sum(1)
    floor = goal**2 * size
    start = (0, jnp.zeros_like(value), value, downhill, size, size > 0)
    return jax.lax.while_loop(unfinished, iterate, start)[1:3]
