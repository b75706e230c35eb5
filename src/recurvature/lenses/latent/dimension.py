r"""Flat or curved: how many linear dimensions the tuning of units gives to few latent variables."""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError, check_count
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import LatentUnit, from_encoding
from recurvature.measures.dimension import variance_dimension
from recurvature.systems.activations import Activation, activation

VERDICTS = ("flat", "curved")


class LinearDimension(AbstractResult):
    r"""The linear dimension of rates by both definitions, which may differ without bound (docs eq. L.30).

    `rank` counts the directions that the points (about their mean) fill at all, `components` those that hold a share of
    the variance. A manifold of K variables is flat where the count is at most K, else curved. Both counts are limited
    by the number of units and of samples.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    singular_values: Float[Values, " k"]
    """Of the points about their mean, over the root of their number."""
    rank: int
    components: int
    latents: int
    share: float
    tolerance: float
    """Relative to the largest singular value: what is below counts as rounding."""
    samples: int
    units: int

    @property
    def by_rank(self) -> str:
        """`flat` or `curved` by the exact rank."""
        return VERDICTS[self.rank > self.latents]

    @property
    def by_variance(self) -> str:
        """`flat` or `curved` by the share of variance."""
        return VERDICTS[self.components > self.latents]


def linear_dimension(
    rates: Float[Any, "*sample n"], latents: int, *, share: float = 0.99, tolerance: float | None = None
) -> LinearDimension:
    """Both linear dimensions of rates (…, unit), and whether they say that K = `latents` variables lie flat.

    `tolerance` (None: the rounding of the number type) is relative to the largest singular value.
    """
    check_count(latents=latents)
    values = np.asarray(rates)
    points = values.reshape(-1, values.shape[-1])
    components = variance_dimension(points, share=share)
    strengths = np.linalg.svd(points.astype(float) - points.astype(float).mean(0), compute_uv=False)
    rounding = float(np.finfo(values.dtype).eps) if np.issubdtype(values.dtype, np.floating) else 0.0
    floor = max(points.shape) * rounding if tolerance is None else float(tolerance)
    return LinearDimension(
        singular_values=strengths / len(points) ** 0.5,
        rank=int((strengths > floor * strengths[0]).sum()),
        components=components,
        latents=latents,
        share=share,
        tolerance=floor,
        samples=len(points),
        units=points.shape[1],
    )


def staircase(units: int, *, phi: str | Activation = "relu", threshold: float = 0.0) -> LatentUnit:
    r"""One variable on a curve that fills all N dimensions: unit i starts to fire at $\kappa = (i-1)/N$.

    $r_i = \phi(\kappa + x_0 - (i-1)/N)$ for a $\phi$ that is zero up to $x_0$ = `threshold` and positive above: at
    $\kappa_j = j/N$ the rates are a triangular matrix (docs eq. L.31; Proposition 2). The encoding is zero: the
    construction is about tuning alone.
    """
    check_count(units=units)
    below = float(np.asarray(activation(phi)(jnp.asarray([threshold])))[0])
    if below != 0:
        raise InputError(f"`phi` must be zero at the threshold {threshold:g}; it is {below:.3g}. Use relu or a step.")
    bias = threshold - np.arange(units) / units
    return from_encoding(np.ones((units, 1)), np.zeros((1, units)), bias=bias, phi=phi)
