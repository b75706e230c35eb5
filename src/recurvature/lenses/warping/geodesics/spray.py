r"""What a curve needs to know of the metric at a point: lengths, a frame, and how straight on is (docs eq. W.25)."""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve, solve_triangular
from jaxtyping import Array, Float

from recurvature.lenses.warping.immersion import Immersion
from recurvature.systems.inputs import Coordinate
from recurvature.systems.tangent import pairs

Vector = Float[Array, " m"]

BLOCK = 64
"""Points evaluated at once."""


class MetricField(eqx.Module):
    """A metric by itself, θ (m,) ↦ G (m, m): of data, learned, or in closed form. No vector need belong to a point."""

    function: Callable[[Vector], Float[Array, "m m"]]
    coordinates: tuple[Coordinate, ...] = eqx.field(static=True)

    @property
    def dimension(self) -> int:
        """Number of coordinates, m."""
        return len(self.coordinates)


Space = Immersion | MetricField
S = TypeVar("S", bound=Immersion | MetricField)


def christoffel(space: Space, theta: Vector, first: Vector, second: Vector) -> Vector:
    r"""$\Gamma^k_{ij}u^iw^j$ (docs eq. W.25), without a table of the symbols.

    Of an immersion, $R^{-1}Q^\top D^2x[u, w]$ with $V = QR$: the part of the second derivative within the tangent
    space. Of a metric field, from its directional derivatives.
    """
    if isinstance(space, MetricField):
        return _christoffel_of_metric(space.function, theta, first, second)
    m = theta.shape[0]
    rows = space.rows(theta[None], 2)[:, 0]
    weights = [first[i] * second[j] + (first[j] * second[i] if i != j else 0) for i, j in pairs(m)]
    q, r = jnp.linalg.qr(rows[1 : 1 + m].T)
    return solve_triangular(r, q.T @ (jnp.stack(weights) @ rows[1 + m :]))


def _christoffel_of_metric(
    metric: Callable[[Vector], Float[Array, "m m"]], theta: Vector, first: Vector, second: Vector
) -> Vector:
    value, along_first = jax.jvp(metric, (theta,), (first,))
    along_second = jax.jvp(metric, (theta,), (second,))[1]
    gradient = jax.grad(lambda point: first @ metric(point) @ second)(theta)
    return 0.5 * cho_solve((jnp.linalg.cholesky(value), True), along_first @ second + along_second @ first - gradient)


def factor(space: Space, theta: Vector) -> Float[Array, "m m"]:
    r"""The upper triangular $R$ of positive diagonal with $G = R^\top R$: lengths of $Rv$ are lengths of $v$."""
    if isinstance(space, MetricField):
        return jnp.linalg.cholesky(space.function(theta)).T
    upper = jnp.linalg.qr(space.rows(theta[None], 1)[1:, 0].T, mode="r")
    return jnp.where(jnp.diagonal(upper) < 0, -1, 1).astype(upper.dtype)[:, None] * upper


def bare(space: S) -> S:
    """The same space without names and ranges of its coordinates, on which no compiled program needs to depend."""
    return type(space)(space.function, ())


def factors(space: Space, theta: Float[np.ndarray, "*shape m"]) -> Float[np.ndarray, "*shape m m"]:
    """The factors at many points."""
    flat = theta.reshape(-1, theta.shape[-1])
    padded = np.concatenate([flat, np.repeat(flat[-1:], -len(flat) % BLOCK, 0)])
    upper = [_factors(bare(space), jnp.asarray(padded[k : k + BLOCK])) for k in range(0, len(padded), BLOCK)]
    return np.concatenate(upper)[: len(flat)].reshape(*theta.shape, theta.shape[-1])


@eqx.filter_jit
def _factors(space: Space, theta: Float[Array, "point m"]) -> Float[Array, "point m m"]:
    return jax.vmap(lambda point: factor(space, point))(theta)
