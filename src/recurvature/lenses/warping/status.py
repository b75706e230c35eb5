"""Where a metric may be used: reason codes in place of silent regularisation."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

OK, NO_INPUT_YET, COLLAPSED, RANK_DEFICIENT, CHART_SINGULARITY, NON_FINITE = range(6)
STATUS = ("ok", "no_input_yet", "collapsed", "rank_deficient", "chart_singularity", "non_finite")
"""What the numbers in a `status` array mean.

- `no_input_yet`: along some coordinate the state has not moved at all.
- `collapsed`: of full rank earlier, no longer.
- `rank_deficient`: some direction has never been told apart, though every coordinate moves the state.
- `chart_singularity`: the reference metric is singular there (a pole of the chart, or a coordinate without input).
- `non_finite`: the state or its derivative overflowed, or the solver failed.
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
    # column i of the factor has the length of the tangent along coordinate i
    silent = (np.sqrt((factor**2).sum(-2)) == 0).any(-1)
    full_rank = stretches[..., -1] * CONDITION_LIMIT[str(np.dtype(dtype))] > stretches[..., 0]
    was_full = np.maximum.accumulate(full_rank, axis=0)
    status = np.where(full_rank, OK, np.where(was_full, COLLAPSED, RANK_DEFICIENT))
    status = np.where(silent & ~was_full, NO_INPUT_YET, status)
    diagonal = np.abs(np.diagonal(against, axis1=-2, axis2=-1))
    singular = (diagonal.min(-1) <= m * np.finfo(np.float64).eps * diagonal.max(-1)) | ~np.isfinite(diagonal).all(-1)
    status = np.where(np.broadcast_to(singular, status.shape), CHART_SINGULARITY, status)
    return np.where(np.isfinite(factor).all((-1, -2)), status, NON_FINITE).astype(np.int8)


def usable(status: Int[np.ndarray, "*shape"]) -> np.ndarray:
    """Where `status` is OK."""
    return np.asarray(status) == OK


def counts(status: Int[np.ndarray, "*shape"]) -> dict[str, int]:
    """How often each reason occurs, without those that do not."""
    return {name: int(n) for code, name in enumerate(STATUS) if (n := (np.asarray(status) == code).sum())}
