r"""Distances and dimension of condition means from noisy trials, without the share of noise (docs eq. W.69, W.70)."""

from typing import Any, ClassVar, NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Float

from recurvature._errors import InputError
from recurvature._result import AbstractResult, Citation, Values

CROSSNOBIS = Citation(
    "walther2016reliability",
    "Walther et al. (2016). Reliability of dissimilarity measures for multi-voxel pattern analysis. NeuroImage 137, "
    "188-200.",
    "https://doi.org/10.1016/j.neuroimage.2015.12.012",
)
LEAST_PARTS = 5
"""Four that share no trial, and one to leave out."""


class MeanGeometry(AbstractResult):
    r"""How far condition means are apart, and over how many axes they spread, by products of disjoint trials.

    Squared distances are unbiased by noise that is independent between parts, so they can be negative. `dimension` is
    the participation ratio $(\mathrm{tr}\,C)^2/\mathrm{tr}\,C^2$ of the means' covariance with both sums unbiased;
    `naive` is that of means over all trials. `low` and `high` are the ends of a 95 % interval, by leaving out one part
    after the other; they are NaN, as is `dimension`, where noise hides how the means spread.
    """

    citations: ClassVar[tuple[Citation, ...]] = (CROSSNOBIS,)

    squared_distance: Float[Values, "point other"]
    standard_error: Float[Values, "point other"]
    dimension: float
    low: float
    high: float
    naive: float
    variance: float
    """Of the means, summed over units."""
    noise: float
    """What noise would add to it in means over all trials."""
    parts: int


class _Sums(NamedTuple):
    squared: Float[np.ndarray, "point other"]
    variance: float
    dimension: float


def mean_geometry(parts: Float[Any, "part point n"]) -> MeanGeometry:
    """Geometry of means that several disjoint parts of the trials estimate: each has the mean of every condition.

    Raises `InputError` unless there are five parts, two points, and no NaN.
    """
    x = np.asarray(parts, np.float64)
    if x.ndim != 3 or len(x) < LEAST_PARTS or x.shape[1] < 2 or not np.isfinite(x).all():
        raise InputError(f"`parts` must be finite of shape ({LEAST_PARTS} or more, 2 or more, n); got {x.shape}.")
    centred = x - x.mean(1, keepdims=True)
    grams = np.einsum("apn,bqn->abpq", centred, centred, optimize=True)
    every = list(range(len(x)))
    whole = _sums(grams, every)
    without = [_sums(grams, [k for k in every if k != a]) for a in every]
    shrink = (len(x) - 1) / len(x)
    squared = np.stack([each.squared for each in without])
    error = np.sqrt(shrink * ((squared - squared.mean(0)) ** 2).sum(0))
    means = centred.mean(0)
    naive = float((means**2).sum())
    around = np.array([each.dimension for each in without])
    spread = np.sqrt(shrink * ((around - around.mean()) ** 2).sum())
    reach = scipy.special.stdtrit(len(x) - 1, 0.975) * spread
    return MeanGeometry(
        squared_distance=whole.squared,
        standard_error=error,
        dimension=whole.dimension,
        low=float(whole.dimension - reach),
        high=float(whole.dimension + reach),
        naive=naive**2 / float(((means @ means.T) ** 2).sum()),
        variance=whole.variance / (x.shape[1] - 1),
        noise=(naive - whole.variance) / (x.shape[1] - 1),
        parts=len(x),
    )


def _sums(grams: Float[np.ndarray, "part other point q"], kept: list[int]) -> _Sums:
    """Squared distances, variance and dimension from products over two or four parts that all differ."""
    g = grams[np.ix_(kept, kept)]
    k = len(kept)
    differ = ~np.eye(k, dtype=bool)
    mean = g[differ].mean(0)
    own = np.diagonal(mean)
    traces = np.einsum("abpp->ab", g)
    flat = g.reshape(k * k, -1)
    pairs = (flat @ flat.T).reshape(k, k, k, k)
    four = differ[:, :, None, None] & differ[None, None, :, :]
    for a, b in ((0, 2), (0, 3), (1, 2), (1, 3)):
        shape = [1, 1, 1, 1]
        shape[a] = shape[b] = k
        four = four & differ.reshape(shape)
    square, squared = pairs[four].mean(), (traces[:, :, None, None] * traces)[four].mean()
    dimension = float(squared / square) if square > 0 and squared > 0 else float("nan")
    return _Sums(own[:, None] + own[None, :] - mean - mean.T, float(np.trace(mean)), dimension)
