r"""Persistent homology of a table of distances: which holes a sample has, and which of them it can vouch for."""

import importlib
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError, check_count, check_positive
from recurvature._keys import PRNGKey, stream
from recurvature._result import AbstractResult, Citation, Values

RIPSER = Citation(
    "bauer2021ripser",
    "Bauer (2021). Ripser: efficient computation of Vietoris-Rips persistence barcodes. "
    "Journal of Applied and Computational Topology 5, 391-423.",
    "https://arxiv.org/abs/1908.02518",
)
STABILITY = Citation(
    "chazal2014persistence",
    "Chazal, de Silva & Oudot (2014). Persistence stability for geometric complexes. Geometriae Dedicata 173, 193-214.",
    "https://arxiv.org/abs/1207.3885",
)

OK, NO_GAP, UNDERSAMPLED = range(3)
PERSISTENCE_STATUS = ("ok", "no_gap", "undersampled")
"""What the numbers in `Persistence.status` mean, for each degree.

- `no_gap`: the shortest bar that counts (or the floor, if none does) is less than twice the longest that does not: the
  Betti number hangs on `factor`.
- `undersampled`: the floor is above half of the diameter, so that hardly any bar could pass it.
"""
CLEAR_GAP = 2.0
NULL_LEVEL = 0.95


class Persistence(AbstractResult):
    r"""The barcode of the Vietoris–Rips filtration, and the Betti numbers that its sampling can vouch for.

    A bar is *significant* when it is longer than the `floor` of its degree (docs eq. W.42). `betti` counts those;
    `margin` is the shortest of them over the longest other bar (or over the floor, if there is no other).
    """

    citations: ClassVar[tuple[Citation, ...]] = (RIPSER, STABILITY)

    birth: Float[Values, " bar"] = eqx.field(metadata={"units": "distance"})
    death: Float[Values, " bar"] = eqx.field(metadata={"units": "distance"})
    """Infinite for what never dies."""
    bar_degree: Int[Values, " bar"]
    significant: Int[Values, " bar"]
    """1 or 0."""
    betti: Int[Values, " degree"]
    floor: Float[Values, " degree"] = eqx.field(metadata={"units": "distance"})
    margin: Float[Values, " degree"]
    status: Int[Values, " degree"]
    landmark: Int[Values, " landmark"]
    """Which points of the sample stand for all."""
    covering_radius: float
    """Largest distance of a point of the sample from its nearest landmark."""
    connection_scale: float
    """The scale at which the landmarks of each component hang together."""
    diameter: float
    noise: float
    factor: float
    points: int

    def bars(self, degree: int) -> Float[np.ndarray, "bar end"]:
        """Birth and death of the bars of one degree, the longest first."""
        of = np.asarray(self.bar_degree) == degree
        pairs = np.stack([np.asarray(self.birth)[of], np.asarray(self.death)[of]], -1)
        return pairs[np.argsort(pairs[:, 0] - pairs[:, 1], kind="stable")]


def farthest_points(
    distances: Float[Any, "point other"], count: int, *, start: int = 0
) -> tuple[Int[np.ndarray, " landmark"], float]:
    """Landmarks, each the farthest from those before it, and the radius at which they cover all points.

    `start` is the first landmark. The radius is at most twice the best that any `count` landmarks reach.
    """
    check_count(count=count)
    table = np.asarray(distances)
    if not 0 <= start < len(table):
        raise InputError(f"`start` must be one of the {len(table)} points; got {start}.")
    chosen, nearest = [start], table[start].copy()
    for _ in range(min(count, len(table)) - 1):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, table[chosen[-1]])
    return np.array(chosen), float(nearest.max())


def persistence(
    distances: Float[Any, "point other"],
    *,
    degrees: int = 2,
    landmarks: int | None = 200,
    noise: float = 0.0,
    factor: float = 3.0,
    null: Float[Any, "draw point other"] | None = None,
) -> Persistence:
    r"""Barcodes up to a degree and Betti numbers with a stated rule (docs eq. W.40–W.42).

    **Arguments**

    - `distances`: symmetric, zero on the diagonal; infinite between what no path joins.
    - `degrees`: the highest degree of a hole: 1 loops, 2 voids.
    - `landmarks`: how many farthest points stand for the sample; None takes all. 200 with voids takes seconds.
    - `noise`: the largest error of a distance.
    - `factor`: a bar counts when it is longer than `factor` covering radii (or half connection scales, if those are
      larger) plus twice the noise.
    - `null`: tables of distances of samples without structure (`shuffled_units`): a bar must also be longer than the
      longest bar of its degree in 95 % of them.

    Raises `InputError` where the extra `topology` is not installed or the table is no table of distances.
    """
    check_positive(factor=factor)
    table = _check_distances(distances)
    if not (np.isfinite(noise) and noise >= 0):
        raise InputError(f"`noise` must be a finite number of at least 0; got {noise!r}.")
    chosen, radius = farthest_points(table, len(table) if landmarks is None else landmarks)
    small = table[np.ix_(chosen, chosen)]
    diagrams = _ripser(small, degrees)
    components, scale = _components(diagrams[0][:, 1], factor, noise)
    diameter = float(small[np.isfinite(small)].max(initial=0))
    floor = np.full(degrees + 1, factor * max(radius, scale / 2) + 2 * noise)
    if null is not None:
        longest = [[_longest(bars) for bars in _null_bars(draw, degrees, len(chosen))] for draw in np.asarray(null)]
        floor = np.maximum(floor, np.quantile(np.array(longest), NULL_LEVEL, axis=0))
    readings = [_components_reading(diagrams[0], components, scale)]
    readings += [_reading(bars, limit, diameter) for bars, limit in zip(diagrams[1:], floor[1:], strict=True)]
    floor[0] = scale
    bars, dtype = np.concatenate(diagrams), table.dtype
    return Persistence(
        birth=bars[:, 0].astype(dtype),
        death=bars[:, 1].astype(dtype),
        bar_degree=np.repeat(np.arange(degrees + 1), [len(d) for d in diagrams]),
        significant=np.concatenate([r.significant for r in readings]).astype(np.int8),
        betti=np.array([r.significant.sum() for r in readings]),
        floor=floor.astype(dtype),
        margin=np.array([r.margin for r in readings], dtype),
        status=np.array([r.status for r in readings], np.int8),
        landmark=chosen,
        covering_radius=radius,
        connection_scale=scale,
        diameter=diameter,
        noise=float(noise),
        factor=float(factor),
        points=len(table),
    )


def bottleneck(a: Persistence, b: Persistence, degree: int) -> float:
    """The bottleneck distance of two barcodes in one degree: at most twice the Gromov–Hausdorff distance of samples.

    Bars that never die are left out.
    """
    persim = _extra("persim")
    finite = [bars[np.isfinite(bars[:, 1])].astype(float) for bars in (a.bars(degree), b.bars(degree))]
    if not len(finite[0]) and not len(finite[1]):
        return 0.0
    # an empty diagram is one bar of no length
    padded = [bars if len(bars) else np.zeros((1, 2)) for bars in finite]
    return float(persim.bottleneck(*padded))


def shuffled_units(points: Float[Any, "point n"], *, key: PRNGKey) -> Float[np.ndarray, "point n"]:
    """A sample without structure: the values of every unit in an order of their own."""
    cloud = np.asarray(points)
    seed = np.asarray(jax.random.key_data(stream(key, "shuffled units"))).ravel().tolist()
    return np.random.default_rng(seed).permuted(cloud, axis=0)


class _Reading(NamedTuple):
    significant: np.ndarray
    margin: float
    status: int


def _check_distances(distances: Any) -> np.ndarray:
    table = np.asarray(distances)
    table = table if table.dtype == np.float32 else table.astype(np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or len(table) < 2:
        raise InputError(f"`distances` must be a square table of at least 2 points; got shape {table.shape}.")
    finite = table[np.isfinite(table)]
    # rounding of the sums that distances are made of, which need not be taken in one order
    slack = 1e3 * np.finfo(table.dtype).eps * np.abs(finite).max(initial=0)
    upper, lower = np.where(np.isinf(table), 0, table), np.where(np.isinf(table), 0, table).T
    if np.isnan(table).any() or (finite < 0).any() or np.abs(np.diagonal(table)).max() > slack:
        raise InputError("`distances` must be at least 0, zero on the diagonal and nowhere NaN.")
    if np.abs(upper - lower).max() > slack or (np.isinf(table) != np.isinf(table).T).any():
        raise InputError("`distances` must be symmetric: take the mean of the table and its transpose.")
    clean = np.minimum(table, table.T)
    np.fill_diagonal(clean, 0)
    return clean


def _extra(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"persistent homology needs {name}: pip install 'recurvature[topology]'.") from error


def _ripser(table: np.ndarray, degrees: int) -> list[np.ndarray]:
    """Bars of positive length in each degree, (bar, 2)."""
    check_count(degrees=degrees)
    options = {} if np.isfinite(table).all() else {"thresh": float(table[np.isfinite(table)].max())}
    found = _extra("ripser").ripser(table, maxdim=degrees, distance_matrix=True, **options)["dgms"]
    return [d[d[:, 1] > d[:, 0]].astype(np.float64) for d in found]


def _null_bars(draw: np.ndarray, degrees: int, count: int) -> list[np.ndarray]:
    table = _check_distances(draw)
    chosen, _ = farthest_points(table, count)
    return _ripser(table[np.ix_(chosen, chosen)], degrees)


def _longest(bars: np.ndarray) -> float:
    lengths = bars[:, 1] - bars[:, 0]
    return float(lengths[np.isfinite(lengths)].max(initial=0))


def _components(deaths: np.ndarray, factor: float, noise: float) -> tuple[int, float]:
    """Components, and the scale at which each hangs together: the largest gap among the edges that join the points.

    Edges above the gap join components if they are `factor` times as long as the longest below it, noise left out.
    """
    endless = int(np.isinf(deaths).sum())
    edges = np.sort(deaths[np.isfinite(deaths)])[::-1]
    if len(edges) < 2:
        return endless, float(edges.max(initial=0))
    ratios = (edges[:-1] - 2 * noise) / edges[1:]
    # a sample of a component has more points than gaps: the upper half of the edges are candidates
    best = int(ratios[: max(1, len(ratios) // 2)].argmax())
    if ratios[best] >= factor:
        return endless + best + 1, float(edges[best + 1])
    return endless, float(edges[0])


def _components_reading(bars: np.ndarray, components: int, scale: float) -> _Reading:
    ranks = np.argsort(np.argsort(-bars[:, 1], kind="stable"), kind="stable")
    significant = ranks < components
    least = bars[significant, 1].min(initial=np.inf)
    return _Reading(significant, float(least / scale) if scale > 0 else np.inf, OK)


def _reading(bars: np.ndarray, floor: float, diameter: float) -> _Reading:
    lengths = bars[:, 1] - bars[:, 0]
    significant = lengths > floor
    shortest = lengths[significant].min(initial=np.inf)
    longest_other = lengths[~significant].max(initial=0)
    below = longest_other if longest_other > 0 else floor
    margin = float(shortest / below) if below > 0 else np.inf
    if floor >= diameter / 2:
        return _Reading(significant, margin, UNDERSAMPLED)
    lowest = shortest if significant.any() else floor
    return _Reading(significant, margin, NO_GAP if longest_other > lowest / CLEAR_GAP else OK)
