r"""The tangent of a rollout: how the state moves when a coordinate of the input manifold moves.

A block of `b` points carries its states and their derivatives as one array of rows, `(c, b, n)`: row 0 the state, rows
1…m its first derivatives, then (order 2) the m(m+1)/2 second derivatives with i ≤ j. One step pushes all rows at once
(docs eq. W.2, W.3), and what is wanted of them is emitted inside the scan, so that nothing else is kept over time.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recurvature._errors import check_choice
from recurvature.systems.activations import activation
from recurvature.systems.base import AbstractFlow, AbstractMap, AbstractSystem, Euler
from recurvature.systems.inputs import AbstractInputManifold, AbstractSeparableInputs
from recurvature.systems.leaky import AbstractLeaky
from recurvature.systems.simulate import solve_flow

Rows = Float[Array, "c b n"]

RTOL, ATOL = 1e-8, 1e-10
"""Tolerances of flow solves whose derivatives are wanted."""


class Frame(NamedTuple):
    """What an emitter sees of a block at one time."""

    time: Float[Array, ""]
    rows: Rows
    """State and derivatives, (c, b, n)."""
    drive: Float[Array, "c b d"]
    """Input and its derivatives, (c, b, d)."""
    rate: Rows | None
    """Rate of change of `rows`: the velocity of a flow, the forward difference over one step of a map if asked for."""


Emit = Callable[[Frame], Any]


def pairs(m: int) -> list[tuple[int, int]]:
    """The index pairs i ≤ j in the order in which second derivatives and Gram entries are stored."""
    return [(i, j) for i in range(m) for j in range(i, m)]


def n_rows(m: int, order: int) -> int:
    """Rows of a state with its derivatives up to `order` (1 or 2) in m coordinates."""
    check_choice("order", order, (1, 2))
    return 1 + m + (len(pairs(m)) if order == 2 else 0)


def lift(
    function: Callable[..., Array], m: int, order: int, *arguments: Float[Array, "c b _"]
) -> Float[Array, "c b k"]:
    """The value and derivatives of `function(*arguments)`, given those of its arguments: the chain rule, for one point.

    Written for any differentiable function of vectors; batched over the points of the block.
    """

    def one(*args: Float[Array, "c _"]) -> Float[Array, "c k"]:
        values, firsts = [a[0] for a in args], [a[1 : 1 + m] for a in args]
        value, tangent = jax.linearize(function, *values)
        parts = [value[None], jax.vmap(tangent)(*firsts)]
        if order == 2:
            first, second = (jnp.asarray(index) for index in zip(*pairs(m), strict=True))
            mixed = [a[1 + m :] for a in args]

            def directional(primals: list[Array], direction: list[Array]) -> Array:
                return jax.jvp(function, tuple(primals), tuple(direction))[1]

            def curve(along: list[Array], other: list[Array], both: list[Array]) -> Array:
                return jax.jvp(directional, (values, along), (other, both))[1]

            parts.append(jax.vmap(curve)([f[first] for f in firsts], [f[second] for f in firsts], mixed))
        return jnp.concatenate(parts)

    return jax.vmap(one, in_axes=1, out_axes=1)(*arguments)


def lift_elementwise(phi: Callable[[Array], Array], m: int, order: int) -> Callable[[Rows], Rows]:
    r"""The action of an elementwise function on rows: $\phi$, $\phi' x_i$, $\phi' x_{ij} + \phi'' x_i x_j$."""

    def slope(x: Array) -> Array:
        return jax.jvp(phi, (x,), (jnp.ones_like(x),))[1]

    def lifted(rows: Rows) -> Rows:
        value, first = rows[0], rows[1 : 1 + m]
        gain = slope(value)[None]
        if order == 1:
            return jnp.concatenate([phi(value)[None], gain * first])
        bend = jax.jvp(slope, (value,), (jnp.ones_like(value),))[1][None]
        left, right = (jnp.stack([first[p[k]] for p in pairs(m)]) for k in (0, 1))
        return jnp.concatenate([phi(value)[None], gain * first, gain * rows[1 + m :] + bend * left * right])

    return lifted


def input_rows(
    manifold: AbstractInputManifold, time: Float[Array, ""], theta: Float[Array, "b m"], order: int
) -> Float[Array, "c b d"]:
    """The input at `time` and its derivatives in the coordinates, for a block of points, in their number type."""
    return function_rows(lambda point: manifold.inputs(time, point).astype(theta.dtype), theta, order)


def function_rows(
    function: Callable[[Float[Array, " m"]], Float[Array, " d"]], theta: Float[Array, "b m"], order: int
) -> Float[Array, "c b d"]:
    """A function of the coordinates with its derivatives, for a block of points."""
    m = theta.shape[1]
    upper = jnp.asarray([i for i, _ in pairs(m)]), jnp.asarray([j for _, j in pairs(m)])

    def one(point: Float[Array, " m"]) -> Float[Array, "c d"]:
        parts = [function(point)[None], jax.jacfwd(function)(point).T]
        if order == 2:
            parts.append(jax.jacfwd(jax.jacfwd(function))(point)[:, upper[0], upper[1]].T)
        return jnp.concatenate(parts)

    return jax.vmap(one, out_axes=1)(theta)


class Drive(NamedTuple):
    """The input at one time, with its derivatives."""

    rows: Float[Array, "c b d"]
    current: Rows | None = None
    """What units of a leaky network receive of it, where it was made beforehand."""


def driver(
    system: AbstractSystem, manifold: AbstractInputManifold, theta: Float[Array, "b m"], order: int
) -> Callable[[Float[Array, ""]], Drive]:
    """The drive of a block as a function of time; what does not depend on time is made once."""
    if not isinstance(manifold, AbstractSeparableInputs):
        return lambda time: Drive(input_rows(manifold, time, theta, order))
    shape = jax.eval_shape(manifold.parts, theta[0]).shape
    flat = function_rows(lambda point: manifold.parts(point).ravel().astype(theta.dtype), theta, order)
    parts = list(jnp.moveaxis(flat.reshape(*flat.shape[:2], *shape), 2, 0))
    flow = system.flow if isinstance(system, Euler) else system
    # a product with few inputs is slower than reading what it gives, of one or two parts
    weights = flow.input_weights if isinstance(flow, AbstractLeaky) and len(parts) <= 2 else None
    currents = None if weights is None else [part @ weights.T for part in parts]

    def at(time: Float[Array, ""]) -> Drive:
        amplitudes = manifold.amplitudes(time).astype(theta.dtype)
        total = lambda terms: sum(a * term for a, term in zip(amplitudes, terms, strict=True))  # noqa: E731
        return Drive(total(parts), None if currents is None else total(currents))

    return at


def rate_of_change(system: AbstractSystem, rows: Rows, drive: Drive, m: int, order: int) -> Rows:
    """The rate of change of all rows: closed form for the leaky families, the chain rule for any other system."""
    if isinstance(system, Euler):
        return rate_of_change(system.flow, rows, drive, m, order)
    if isinstance(system, AbstractLeaky):
        current = drive.rows @ system.input_weights.T if drive.current is None else drive.current
        bias = jnp.zeros((len(rows), 1, rows.shape[2]), rows.dtype).at[0].set(system.bias[None])
        return system.field(rows, current + bias, lift_elementwise(activation(system.phi), m, order))
    if isinstance(system, AbstractFlow):
        return lift(system.velocity, m, order, rows, drive.rows)
    assert isinstance(system, AbstractMap)
    return advance(system, rows, drive, m, order)[1]


def advance(system: AbstractMap, rows: Rows, drive: Drive, m: int, order: int) -> tuple[Rows, Rows]:
    """The rows one step later, and their rate of change over the step.

    A map that is no Euler scheme steps by itself: a rate added back to the rows would round what it forgets to the
    size of what it remembered.
    """
    if isinstance(system, Euler):
        rate = rate_of_change(system.flow, rows, drive, m, order)
        return rows + system.dt * rate, rate
    after = lift(system.step, m, order, rows, drive.rows)
    return after, (after - rows) / system.dt


def start_rows(
    x0: Float[Array, " n"] | Callable[[Float[Array, " m"]], Float[Array, " n"]],
    theta: Float[Array, "b m"],
    order: int,
) -> Rows:
    """The rows at time 0: a fixed state has zero derivatives; a function of the coordinates brings its own."""
    if callable(x0):
        return function_rows(x0, theta, order)
    b, m = theta.shape
    return jnp.zeros((n_rows(m, order), b, x0.shape[0]), x0.dtype).at[0].set(x0[None])


def propagate(
    system: AbstractMap,
    manifold: AbstractInputManifold,
    theta: Float[Array, "b m"],
    start: Rows,
    times: Float[Array, " times"],
    emit: Emit,
    *,
    order: int = 1,
    rates: bool = False,
) -> Any:
    """Push a block through a map and emit after each step: leaves of shape (time, …), one entry fewer than `times`.

    `times` are the instants at which the input is read, from 0 to the last time wanted (`simulate.step_times`); entry
    k of the output belongs to `times[k + 1]`. With `rates` the frame holds the forward rate there, so that one more
    step than entries is computed, and the rows of both are held at once.
    """
    m, drive_at = theta.shape[1], driver(system, manifold, theta, order)

    def step(rows: Rows, time: Float[Array, ""]) -> tuple[Rows, Frame]:
        drive = drive_at(time)
        after, rate = advance(system, rows, drive, m, order)
        return after, Frame(time, rows, drive.rows, rate)

    def emit_before(rows: Rows, time: Float[Array, ""]) -> tuple[Rows, Any]:
        after, now = step(rows, time)
        return after, emit(now)

    def emit_after(rows: Rows, pair: tuple[Array, Array]) -> tuple[Rows, Any]:
        rows, _ = step(rows, pair[0])
        return rows, emit(Frame(pair[1], rows, drive_at(pair[1]).rows, None))

    if rates:
        return jax.lax.scan(emit_before, step(start, times[0])[0], times[1:])[1]
    return jax.lax.scan(emit_after, start, (times[:-1], times[1:]))[1]


def propagate_flow(
    system: AbstractFlow,
    manifold: AbstractInputManifold,
    theta: Float[Array, "b m"],
    start: Rows,
    times: Float[Array, " time"],
    emit: Emit,
    *,
    order: int = 1,
) -> tuple[Any, Array]:
    """Push a block through a flow by diffrax, stepping onto declared jumps; emitted at `times` > 0, (time, …) leaves.

    The second value says whether the solver succeeded. All points of the block share their steps, so the steps depend
    on no single point's coordinates.
    """
    m, drive_at = theta.shape[1], driver(system, manifold, theta, order)

    def velocity(time: Array, rows: Rows) -> Rows:
        return rate_of_change(system, rows, drive_at(time), m, order)

    def at(time: Array, rows: Rows) -> Any:
        drive = drive_at(time)
        return emit(Frame(time, rows, drive.rows, rate_of_change(system, rows, drive, m, order)))

    states, solved = solve_flow(velocity, start, times, manifold.jump_times, rtol=RTOL, atol=ATOL)
    return jax.lax.map(lambda pair: at(*pair), (times, states)), solved


def tangents(rows: Rows, m: int) -> Float[Array, "m b n"]:
    """The first derivatives among the rows."""
    return rows[1 : 1 + m]


def gram(vectors: Float[Array, "m b n"]) -> Float[Array, "b entry"]:
    """The Gram entries of m vectors, in the order of `pairs`."""
    return jnp.stack([dot(vectors[i], vectors[j]) for i, j in pairs(vectors.shape[0])], -1)


def dot(left: Float[Array, "b n"], right: Float[Array, "b n"]) -> Float[Array, " b"]:
    """Row by row. Summed by a product with ones, which XLA vectorises on a CPU where it does not vectorise a sum."""
    return jnp.matmul(left * right, jnp.ones(left.shape[-1], left.dtype), precision="highest")


def gram_factor(vectors: Float[Array, "m b n"]) -> Float[Array, "b entry"]:
    r"""The upper triangular factor $R$ of $V = QR$, in the order of `pairs`; $G = R^\top R$ (docs eq. W.5).

    As many numbers as the Gram matrix, but singular values taken from $R$ keep all digits, those from $G$ half of them.
    Modified Gram–Schmidt: its $R$ is backward stable. A zero vector gives a zero row.
    """
    return gram_schmidt(vectors)[1]


def gram_schmidt(vectors: Float[Array, "m b n"]) -> tuple[list[Float[Array, "b n"]], Float[Array, "b entry"]]:
    """The orthogonal vectors of `gram_factor`, as long as the diagonal of its factor; and the factor."""
    m = vectors.shape[0]
    rest, entries = [vectors[i] for i in range(m)], {}
    for i in range(m):
        products = [dot(rest[i], rest[j]) for j in range(i, m)]
        zero = products[0] == 0
        # the double `where` keeps the derivative of the root finite at zero, and lets NaN through
        square = jnp.where(zero, 1, products[0])
        entries[i, i] = jnp.where(zero, 0, jnp.sqrt(square))
        for j in range(i + 1, m):
            share = products[j - i] / square
            entries[i, j] = share * entries[i, i]
            rest[j] = rest[j] - share[:, None] * rest[i]
    return rest, jnp.stack([entries[p] for p in pairs(m)], -1)
