"""Where a metric may be used: reason codes in place of silent regularisation."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

OK, NO_INPUT_YET, COLLAPSED, RANK_DEFICIENT, CHART_SINGULARITY, NON_FINITE, PIECEWISE, TOO_FEW_DIMENSIONS = range(8)
BELOW_NOISE, UNSAMPLED = 8, 9
STATUS = (
    "ok",
    "no_input_yet",
    "collapsed",
    "rank_deficient",
    "chart_singularity",
    "non_finite",
    "piecewise",
    "too_few_dimensions",
    "below_noise",
    "unsampled",
)
"""What the numbers in a `status` array mean.

- `no_input_yet`: along some coordinate the state has not moved at all.
- `collapsed`: of full rank earlier, no longer.
- `rank_deficient`: some direction has never been told apart, though every coordinate moves the state.
- `chart_singularity`: the reference metric is singular there (a pole of the chart).
- `non_finite`: the state or its derivative overflowed, or the solver failed.
- `piecewise` (curvature only): the number is that of a smooth piece, right there, but the kinks between pieces carry
  curvature that no point shows.
- `too_few_dimensions` (curvature only): fewer numbers move than there are coordinates, so that no metric has full rank.
- `below_noise` (recordings only): the estimate is not positive definite: along some direction noise hides any change.
- `unsampled` (recordings only): too few trials near the point to estimate tangents from disjoint halves of them.
"""

CONDITION_LIMIT = {"float64": 1e7, "float32": 1e3}
"""Largest ratio of stretches at which a metric counts as non-singular: curvature loses the square of it in digits."""


def classify(
    factor: Float[np.ndarray, "time point i j"],
    stretches: Float[np.ndarray, "time point k"],
    against: Float[np.ndarray, "*shape i j"],
    dtype: Any,
) -> Int[np.ndarray, "time point"]:
    """The reason code of every time and point."""
    m = factor.shape[-1]
    silent = unmoved(factor)
    full_rank = stretches[..., -1] * CONDITION_LIMIT[str(np.dtype(dtype))] > stretches[..., 0]
    was_full = np.maximum.accumulate(full_rank, axis=0)
    status = np.where(full_rank, OK, np.where(was_full, COLLAPSED, RANK_DEFICIENT))
    status = np.where(silent.any(-1) & ~was_full, NO_INPUT_YET, status)
    diagonal = np.abs(np.diagonal(against, axis1=-2, axis2=-1))
    singular = (diagonal.min(-1) <= m * np.finfo(np.float64).eps * diagonal.max(-1)) | ~np.isfinite(diagonal).all(-1)
    # a coordinate that moves no point at all is one without input; one that moves some, but not this, is the chart's
    waiting = silent.all(1, keepdims=True).any(-1)
    status = np.where(np.broadcast_to(singular, status.shape) & ~waiting, CHART_SINGULARITY, status)
    return np.where(np.isfinite(factor).all((-1, -2)), status, NON_FINITE).astype(np.int8)


def unmoved(factor: Float[np.ndarray, "time point i j"]) -> Bool[np.ndarray, "time point j"]:
    """Along which coordinates the state does not move at all: column j has the length of tangent j."""
    return (factor == 0).all(-2)
