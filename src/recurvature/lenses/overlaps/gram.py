r"""The Gram matrix that turns gradients in the overlaps into their velocities under learning."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature.lenses.overlaps.descent import Loss
from recurvature.lenses.overlaps.layout import Layout, from_pairs, to_pairs


def gram(overlaps: Float[Any, "a a"], layout: Layout) -> Float[np.ndarray, "pair pair"]:
    r"""$\bar G = N\,DD^\top$, $D = \partial\sigma/\partial\Theta$, over unordered pairs (docs eq. O.22).

    $\bar G_{(ab),(cd)} = \delta_{ac}S_{bd}+\delta_{ad}S_{bc}+\delta_{bc}S_{ad}+\delta_{bd}S_{ac}$, rows and columns as
    `layout.names`. Gradient flow is $\dot\sigma = -\bar G\,\partial\ell/\partial\sigma$, each pair one variable.
    """
    s = np.asarray(overlaps)
    same = np.eye(layout.size, dtype=s.dtype)
    a, b = (x[:, None] for x in layout.pairs.T)
    c, d = (x[None, :] for x in layout.pairs.T)
    return same[a, c] * s[b, d] + same[a, d] * s[b, c] + same[b, c] * s[a, d] + same[b, d] * s[a, c]


def largest_rate(loss: Loss, overlaps: Float[Any, "a a"], layout: Layout) -> float:
    r"""The rate beyond which gradient descent leaves a minimum: $2/\lambda_\max(\bar G\nabla^2\ell)$ (docs eq. O.23).

    Away from a minimum a rule of thumb; infinite where the loss is flat.
    """

    def of_pairs(values: Array) -> Array:
        return loss(from_pairs(values, layout))

    hessian = jax.jit(jax.hessian(of_pairs))(jnp.asarray(to_pairs(overlaps, layout)))
    largest = np.linalg.eigvals(gram(overlaps, layout) @ np.asarray(hessian)).real.max()
    return float(2 / largest) if largest > 0 else np.inf
