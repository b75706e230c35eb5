r"""Geodesics between two points: the boundary value problem, by the energy of chords (docs eq. W.30–W.32).

Nodes of a curve are placed so that the sum of their squared chords is least. Levenberg–Marquardt brings a first guess
near the solution; Newton's method on the gradient, whose Hessian has the second derivatives that Gauss–Newton leaves
out, finishes: where the curve bends in space, Gauss–Newton alone closes only a fixed share of the gap a step.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx  # type: ignore[import-untyped]
import numpy as np
import optimistix as optx
from jaxtyping import Array, Bool, Float

from recurvature.lenses.warping.geodesics.sampling import block_size
from recurvature.lenses.warping.geodesics.spray import bare
from recurvature.lenses.warping.immersion import Immersion
from recurvature.lenses.warping.local import pair_index

Nodes = Float[Array, "node m"]
Inner = Float[Array, "inner m"]
"""All nodes but the two ends, in units of the ranges of the coordinates."""

APPROACH, APPROACH_STEPS = 1e-4, 100
"""Of Levenberg–Marquardt: relative change at which it hands over to Newton, and steps it is given."""
FINISH, FINISH_STEPS = {"float64": 1e-11, "float32": 1e-5}, 20
"""Of Newton: relative change at which it ends, and steps it is given."""
SETTLED = {"float64": 1e-7, "float32": 1e-3}
"""Largest next Newton step, in units of the coordinates' ranges, at which a curve counts as solved."""
WORK = 4_000_000
"""Numbers at work at once."""


class Solved(NamedTuple):
    """Nodes of curves, whether they are stationary, and whether the energy bends upwards there."""

    theta: Float[np.ndarray, "curve node m"]
    stationary: Bool[np.ndarray, " curve"]
    minimal: Bool[np.ndarray, " curve"]


class _Problem(NamedTuple):
    immersion: Immersion
    ends: Float[Array, "2 m"]
    scale: Float[Array, " m"]
    unit: Float[Array, ""]
    """The energy of the guess, so that residuals are of order 1."""


@eqx.filter_custom_jvp
def _vectors(immersion: Immersion, theta: Nodes) -> Float[Array, "node n"]:
    return immersion.rows(theta, 1)[0]


@_vectors.def_jvp
def _vectors_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    (immersion, theta), (_, along) = primals, tangents
    rows = immersion.rows(theta, 1)
    return rows[0], _contract(along, rows[1:])


@eqx.filter_custom_jvp
def _frames(immersion: Immersion, theta: Nodes) -> Float[Array, "c node n"]:
    return immersion.rows(theta, 1)


@_frames.def_jvp
def _frames_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    """Rows and their derivatives from one pass: what depends on the direction is a product alone."""
    (immersion, theta), (_, along) = primals, tangents
    m = theta.shape[1]
    rows = immersion.rows(theta, 2)
    bend = [_contract(along, rows[1 + m + number]) for number in pair_index(m)]
    return rows[: 1 + m], jnp.stack([_contract(along, rows[1 : 1 + m]), *bend])


def _contract(along: Nodes, rows: Float[Array, "m node n"]) -> Float[Array, "node n"]:
    return jnp.einsum("km,mkn->kn", along, rows)


def _nodes(problem: _Problem, inner: Inner) -> Nodes:
    """All nodes in the number type of the ends; the solvers work in that of `inner`, the widest there is."""
    between = (inner * problem.scale[None]).astype(problem.ends.dtype)
    return jnp.concatenate([problem.ends[:1], between, problem.ends[1:]])


def _residual(inner: Inner, problem: _Problem) -> Float[Array, "chord n"]:
    r"""$\sqrt{M/E_0}\,(x_{k+1} - x_k)$, of which the energy is half the sum of squares (docs eq. W.30)."""
    vectors = _vectors(problem.immersion, _nodes(problem, inner)).astype(inner.dtype)
    return jnp.diff(vectors, axis=0) * jnp.sqrt((len(vectors) - 1) / problem.unit)


def _gradient(inner: Inner, problem: _Problem) -> Inner:
    r"""$\frac M{E_0}\,\partial_ix_k\cdot(2x_k - x_{k-1} - x_{k+1})$ (docs eq. W.31)."""
    rows = _frames(problem.immersion, _nodes(problem, inner)).astype(inner.dtype)
    bend = 2 * rows[0, 1:-1] - rows[0, :-2] - rows[0, 2:]
    slope = jnp.einsum("kn,mkn->km", bend, rows[1:, 1:-1])
    return slope * problem.scale[None] * ((rows.shape[1] - 1) / problem.unit)


def _solve_one(immersion: Immersion, guess: Nodes, scale: Float[Array, " m"]) -> tuple[Nodes, Array, Array]:
    """The nodes, the size of the next Newton step, and the least curvature of the energy over the largest."""
    wide = jnp.result_type(float)
    start, scale = _vectors(immersion, guess).astype(wide), scale.astype(wide)
    unit = (len(guess) - 1) * jnp.sum(jnp.diff(start, axis=0) ** 2)
    problem = _Problem(immersion, guess[jnp.asarray([0, -1])], scale, jnp.where(unit > 0, unit, 1))
    solver: Any = optx.LevenbergMarquardt(APPROACH, APPROACH, linear_solver=lx.Normal(lx.Cholesky()))
    first = guess[1:-1].astype(wide) / scale[None]
    near = optx.least_squares(_residual, solver, first, problem, max_steps=APPROACH_STEPS, throw=False).value
    finish = FINISH[str(guess.dtype)]
    newton: Any = optx.Newton(finish, finish)
    last = optx.root_find(_gradient, newton, near, problem, max_steps=FINISH_STEPS, throw=False).value
    energy = lambda inner: jnp.sum(_residual(inner, problem) ** 2)  # noqa: E731
    # Newton may run off to another stationary curve, or to nowhere: then the approach is what there is
    inner = jnp.where(energy(last) <= energy(near) * (1 + APPROACH), last, near)
    hessian = jax.jacfwd(_gradient)(inner, problem).reshape(inner.size, inner.size)
    values, vectors = jnp.linalg.eigh((hessian + hessian.T) / 2)
    step = vectors @ ((vectors.T @ _gradient(inner, problem).ravel()) / values)
    return _nodes(problem, inner), jnp.max(jnp.abs(step), initial=0), values[0] / values[-1]


@eqx.filter_jit
def _solve_block(
    immersion: Immersion, guess: Float[Array, "curve node m"], scale: Float[Array, " m"]
) -> tuple[Float[Array, "curve node m"], Float[Array, " curve"], Float[Array, " curve"]]:
    return jax.vmap(lambda one: _solve_one(immersion, one, scale))(guess)


def solve(immersion: Immersion, guess: Float[np.ndarray, "curve node m"]) -> Solved:
    """Geodesics between the first and the last node of every guess, block by block as one program."""
    curves, nodes, m = guess.shape
    space = bare(immersion)
    scale = jnp.asarray([c.high - c.low for c in immersion.coordinates], guess.dtype)
    size = jax.eval_shape(immersion, jax.ShapeDtypeStruct((m,), guess.dtype)).shape[0]
    block = block_size(curves, max(1, WORK // (nodes * size * (1 + m) ** 2 + (nodes * m) ** 2)))
    found = []
    for start in range(0, curves, block):
        chunk = guess[start : start + block]
        # the last block is filled up with copies of its last curve: one shape, one compilation
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], block - len(chunk), 0)])
        found.append([np.asarray(part)[: len(chunk)] for part in _solve_block(space, jnp.asarray(padded), scale)])
    theta, step, curvature = (np.concatenate(parts) for parts in zip(*found, strict=True))
    with np.errstate(invalid="ignore"):
        # a curvature of the size of rounding is that of a family of equally long curves, not of a saddle
        return Solved(theta, step <= SETTLED[str(theta.dtype)], curvature > -(np.finfo(theta.dtype).eps ** 0.5))
