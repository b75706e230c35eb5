"""An immersion evaluated at many points: in blocks, in its own number type; what curves must know of its chart."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real

from recurvature._errors import InputError
from recurvature._precision import float_dtype
from recurvature.lenses.warping.geodesics.spray import Space, bare
from recurvature.lenses.warping.immersion import Immersion
from recurvature.systems.tangent import Rows

PointLike = Sequence[Any] | Real[Any, "..."]
"""One point (m,) or rows of points (…, m)."""

MOST = 256
"""Points evaluated at once: enough to make products large, few enough to stay small next to what is kept."""


def block_size(count: int, most: int) -> int:
    """The least power of two that holds `count`, up to `most`: few shapes, few compilations."""
    return max(1, min(1 << (count - 1).bit_length(), most))


def number_type(space: Space, *given: Any) -> Any:
    """The floating-point type of the arrays that a space holds; if it holds none, that of the `given` arrays."""
    for tree in (space, given):
        if any(eqx.is_inexact_array(leaf) for leaf in jax.tree.leaves(tree)):
            return jax.dtypes.canonicalize_dtype(float_dtype(tree))
    return jnp.result_type(float)


def periods(space: Space) -> Float[np.ndarray, " m"]:
    """The period of every coordinate; 0 for those that have none."""
    return np.array([c.high - c.low if c.periodic else 0.0 for c in space.coordinates])


def outside(space: Space, theta: Float[Any, "*shape m"]) -> np.ndarray:
    """Which points lie beyond the range of a coordinate that is not periodic (beyond rounding)."""
    theta = np.asarray(theta)
    low, high = (np.array([getattr(c, end) for c in space.coordinates]) for end in ("low", "high"))
    bounded = np.array([not c.periodic for c in space.coordinates])
    slack = 1e3 * np.finfo(theta.dtype).eps * (high - low)
    return (((theta < low - slack) | (theta > high + slack)) & bounded).any(-1)


def rows_at(
    immersion: Immersion, theta: Float[Any, "point m"], order: int, dtype: Any
) -> Float[np.ndarray, "c point n"]:
    """Values and derivatives (order 0, 1 or 2) at many points, block by block, in the order of `systems.tangent`."""
    points, space = np.asarray(theta, np.dtype(dtype)), bare(immersion)
    block = block_size(len(points), MOST)
    parts = []
    for start in range(0, len(points), block):
        chunk = points[start : start + block]
        # the last block is filled up with copies of its last point: one shape, one compilation
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], block - len(chunk), 0)])
        parts.append(np.asarray(_rows(space, jnp.asarray(padded), order))[:, : len(chunk)])
    return np.concatenate(parts, axis=1)


@eqx.filter_jit
def _rows(space: Immersion, theta: Float[Array, "b m"], order: int) -> Rows:
    return space.rows(theta, order) if order else jax.vmap(space)(theta)[None]


def point_rows(name: str, value: Any, dimension: int) -> Float[np.ndarray, "point m"]:
    """One point or many as rows of coordinates. Raises `InputError` where they do not fit the chart."""
    rows = np.asarray(value, float) if not hasattr(value, "dtype") else np.asarray(value)
    rows = rows[None] if rows.ndim == 1 else rows
    if rows.ndim != 2 or rows.shape[1] != dimension or not len(rows):
        raise InputError(
            f"`{name}` must be one point ({dimension},) or rows (point, {dimension}); got {np.shape(value)}."
        )
    if not np.isfinite(rows).all():
        raise InputError(f"`{name}` must hold finite coordinates.")
    return rows
