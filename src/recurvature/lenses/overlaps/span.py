"""What of a motion of the weights lies outside of the span of the vectors, where no overlap can see it."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def outside_span(moves: Float[Array, "*step n b"], theta: Float[Array, "n a"]) -> Float[Array, "*step n b"]:
    """`moves` less their projections on the span of the columns of `theta`, which may be linearly dependent."""
    left, strengths, _ = jnp.linalg.svd(theta, full_matrices=False)
    # what rounding leaves of a zero singular value spans nothing
    kept = strengths > max(theta.shape) * jnp.finfo(theta.dtype).eps * jnp.max(strengths)
    basis = left * kept[None].astype(left.dtype)
    return moves - basis @ (basis.T @ moves)


def share_outside(moves: Float[Any, "*step n b"], theta: Float[Any, "n a"]) -> Float[np.ndarray, "*step"]:
    r"""The share (in norm) of every move of the weights that lies outside the span of the columns of `theta`.

    No overlap sees it. 0 for every rule that closes, and where nothing moved.
    """
    path = np.asarray(moves)
    outside = np.asarray(outside_span(jnp.asarray(path), jnp.asarray(theta)))
    whole, left_over = (np.linalg.norm(x, axis=(-1, -2)) for x in (path, outside))
    return np.asarray(left_over / np.where(whole > 0, whole, 1))
