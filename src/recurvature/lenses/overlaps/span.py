"""What of a motion of the weights lies outside of the span of the vectors, where no overlap can see it."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def outside_span(moves: Float[Array, "*step n b"], theta: Float[Array, "n a"]) -> Float[Array, "*step n b"]:
    """`moves` less their projections on the span of the columns of `theta`, which may be linearly dependent."""
    left, strengths, _ = jnp.linalg.svd(theta, full_matrices=False)
    # what rounding leaves of a zero singular value spans nothing
    kept = strengths > max(theta.shape) * jnp.finfo(theta.dtype).eps * jnp.max(strengths)
    basis = left * kept[None].astype(left.dtype)
    return moves - basis @ (basis.T @ moves)
