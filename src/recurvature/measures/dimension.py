r"""Dimension of a cloud of points: of the set it fills (intrinsic), of its surroundings (local), and of its span."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError, check_count, check_positive
from recurvature._keys import PRNGKey, stream
from recurvature._result import AbstractResult, Citation, Values

TWO_NN = Citation(
    "facco2017estimating",
    "Facco, d'Errico, Rodriguez & Laio (2017). Estimating the intrinsic dimension of datasets by a minimal "
    "neighborhood information. Scientific Reports 7, 12140.",
    "https://arxiv.org/abs/1803.06992",
)


class IntrinsicDimension(AbstractResult):
    r"""The dimension seen by the two nearest neighbours, at one or several sample sizes (docs eq. W.43).

    `maximum_likelihood` uses every point; `slope` leaves out the tail, and suffers less from outliers. Both come out
    too low above about ten dimensions, where neighbours are far away.
    """

    citations: ClassVar[tuple[Citation, ...]] = (TWO_NN,)

    size: Int[Values, " size"]
    """Points used; a dimension that depends on it depends on the scale."""
    maximum_likelihood: Float[Values, " size"]
    standard_error: Float[Values, " size"] = eqx.field(metadata={"long_name": "of the maximum likelihood"})
    slope: Float[Values, " size"]
    duplicates: int
    """Points left out because another lies on them."""
    discard: float


class LocalRank(AbstractResult):
    """Singular values of the neighbourhood of each point, and how many are above a share of the largest."""

    singular_values: Float[Values, "point k"]
    rank: Int[Values, " point"]
    neighbours: int
    tolerance: float


def two_nn(
    points: Float[Any, "point n"],
    *,
    discard: float = 0.1,
    sizes: tuple[int, ...] = (),
    key: PRNGKey | None = None,
) -> IntrinsicDimension:
    r"""Intrinsic dimension from $\mu = r_2/r_1$, the ratio of the distances to two nearest neighbours (docs eq. W.43).

    If the density is even over the distance to the second neighbour, $\mu$ is Pareto distributed with the dimension as
    its exponent, whatever that density is. `sizes` asks for random subsets as well, which need a `key`; `discard` is
    the share of the largest ratios that the slope leaves out.
    """
    cloud = _cloud(points, 3)
    if not 0 <= discard < 1:
        raise InputError(f"`discard` must lie in [0, 1); got {discard!r}.")
    if sizes and key is None:
        raise InputError("`sizes` draws subsets at random: give a `key`.")
    if any(not 3 <= size <= len(cloud) for size in sizes):
        raise InputError(f"`sizes` must lie in 3…{len(cloud)}; got {sizes}.")
    distinct = np.unique(cloud, axis=0)
    subsets = [_subset(distinct, min(size, len(distinct)), key) for size in sizes] + [distinct]
    rows = np.array([_two_nn(subset, discard) for subset in subsets])
    return IntrinsicDimension(
        size=np.array([len(subset) for subset in subsets]),
        maximum_likelihood=rows[:, 0],
        standard_error=rows[:, 0] / np.sqrt([len(subset) for subset in subsets]),
        slope=rows[:, 1],
        duplicates=len(cloud) - len(distinct),
        discard=discard,
    )


def local_rank(points: Float[Any, "point n"], *, neighbours: int = 20, tolerance: float = 0.25) -> LocalRank:
    """How many directions the neighbourhood of each point fills, by principal components.

    A direction counts whose singular value is above `tolerance` times the largest. What a curved manifold bends away
    from its tangent space within a neighbourhood counts too, once it is that large: take fewer neighbours or more
    points.
    """
    cloud = _cloud(points, 3)
    check_count(neighbours=neighbours)
    check_positive(tolerance=tolerance)
    if neighbours >= len(cloud):
        raise InputError(f"`neighbours` must be fewer than the {len(cloud)} points; got {neighbours}.")
    near = cloud[_nearest(cloud, neighbours)[1]]
    values = np.linalg.svd(near - near.mean(1, keepdims=True), compute_uv=False) / np.sqrt(neighbours)
    rank = ((values > tolerance * values[:, :1]) & (values > 0)).sum(-1)
    return LocalRank(values, rank, neighbours, tolerance)


def participation_ratio(points: Float[Any, "point n"], *, corrected: bool = False) -> float:
    r"""$(\sum\lambda)^2/\sum\lambda^2$ of the covariance: over how many axes the variance is spread (docs eq. W.44).

    Of n points in d dimensions it is at most about nd/(n + d), however evenly they spread. `corrected` removes that,
    exactly in the mean of both sums, for Gaussian points, of which it needs 3; it may then exceed n.
    """
    cloud = _cloud(points, 3 if corrected else 2)
    centred, m = cloud - cloud.mean(0), len(cloud) - 1
    small = (centred.T @ centred if cloud.shape[1] <= len(cloud) else centred @ centred.T) / m
    trace, square = float(np.trace(small)), float(np.sum(small**2))
    if trace == 0:
        raise InputError("`points` are all the same: they spread over no axis.")
    if not corrected:
        return trace**2 / square
    mixing = np.array([[1 + 1 / m, 1 / m], [2 / m, 1]])
    squares, squared = np.linalg.solve(mixing, [square, trace**2])
    return float(squared / squares)


def variance_dimension(points: Float[Any, "point n"], *, share: float = 0.99) -> int:
    """The least number of principal components that hold a share of the variance."""
    cloud = _cloud(points, 2)
    if not 0 < share <= 1:
        raise InputError(f"`share` must lie in (0, 1]; got {share!r}.")
    variance = np.linalg.svd(cloud - cloud.mean(0), compute_uv=False) ** 2
    if not variance.sum() > 0:
        raise InputError("`points` are all the same: they have no variance to share.")
    held = np.cumsum(variance) / variance.sum()
    # rounding of the sum
    return int(np.searchsorted(held, share - len(held) * np.finfo(held.dtype).eps) + 1)


def _cloud(points: Any, least: int) -> np.ndarray:
    cloud = np.asarray(points, np.float64)
    if cloud.ndim != 2 or len(cloud) < least or not np.isfinite(cloud).all():
        raise InputError(f"`points` must be at least {least} rows of finite numbers; got shape {cloud.shape}.")
    return cloud


def _subset(cloud: np.ndarray, size: int, key: PRNGKey | None) -> np.ndarray:
    assert key is not None
    return cloud[np.asarray(jax.random.choice(stream(key, f"subset of {size}"), len(cloud), (size,), replace=False))]


def _nearest(cloud: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices of the nearest points, each point its own first."""
    from scipy.spatial import cKDTree

    return cKDTree(cloud).query(cloud, k=count)


def _two_nn(cloud: np.ndarray, discard: float) -> tuple[float, float]:
    if len(cloud) < 3:
        raise InputError(f"`points` must hold at least 3 that differ; got {len(cloud)}.")
    distances = _nearest(cloud, 3)[0]
    logs = np.sort(np.log(distances[:, 2] / distances[:, 1]))
    n = len(logs)
    likely = (n - 1) / logs.sum() if logs.sum() > 0 else np.inf
    kept = slice(0, max(1, int(n * (1 - discard))))
    heights = -np.log1p(-np.arange(1, n) / n)[: kept.stop]
    steps = logs[: len(heights)]
    square = steps @ steps
    return likely, float(steps @ heights / square) if square > 0 else np.inf
