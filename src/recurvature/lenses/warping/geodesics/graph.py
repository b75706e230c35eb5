r"""Neighbours joined by edges as long as the vectors are apart, and shortest paths over them."""

from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree

from recurvature._errors import InputError, check_count
from recurvature.lenses.warping.geodesics.sampling import periods, rows_at
from recurvature.lenses.warping.geodesics.stencil import RADIUS, metrication, stencil
from recurvature.lenses.warping.immersion import Immersion
from recurvature.lenses.warping.status import CONDITION_LIMIT

EdgeLength = Literal["chord", "arc"]
CHUNK = 4096
"""Edges measured at once."""


class Edges(NamedTuple):
    """Pairs of neighbours, each once, and the step in the coordinates from the first to the second."""

    first: Int[np.ndarray, " edge"]
    second: Int[np.ndarray, " edge"]
    step: Float[np.ndarray, "edge m"]


class Graph(NamedTuple):
    """A graph over points of a state manifold."""

    theta: Float[np.ndarray, "point m"]
    edges: Edges
    length: Float[np.ndarray, " edge"]
    finite: Bool[np.ndarray, " point"]
    metrication: Float[np.ndarray, " point"]
    dtype: Any


def grid_edges(immersion: Immersion, shape: tuple[int, ...], neighbours: int) -> Edges:
    """The edges of a grid: the stencil at every point, around periodic coordinates (docs eq. W.27).

    Raises `InputError` where a periodic coordinate has too few points for the stencil.
    """
    offsets = stencil(neighbours, len(shape))
    spacing = grid_spacing(immersion, shape)
    for coordinate, count in zip(immersion.coordinates, shape, strict=True):
        least = 2 * RADIUS[neighbours] + 1
        if coordinate.periodic and count < least:
            raise InputError(
                f"`points` must be at least {least} along `{coordinate.name}` for {neighbours} neighbours; got {count}."
            )
    index = np.arange(np.prod(shape)).reshape(shape)
    parts = []
    for offset in offsets.tolist():
        second = np.roll(index, tuple(-o for o in offset), axis=tuple(range(len(shape))))
        inside = np.ix_(*[_starts(c, n, o) for c, n, o in zip(immersion.coordinates, shape, offset, strict=True)])
        first, second = index[inside].ravel(), second[inside].ravel()
        parts.append(Edges(first, second, np.broadcast_to(np.array(offset) * spacing, (len(first), len(shape)))))
    return Edges(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def grid_spacing(immersion: Immersion, shape: tuple[int, ...]) -> Float[np.ndarray, " m"]:
    """The distance in each coordinate between neighbours of a grid."""
    intervals = [n if c.periodic else max(1, n - 1) for c, n in zip(immersion.coordinates, shape, strict=True)]
    ranges = [c.high - c.low for c in immersion.coordinates]
    return np.array(ranges) / np.array(intervals)


def _starts(coordinate: Any, count: int, offset: int) -> Int[np.ndarray, " start"]:
    """From which indices a step of `offset` stays on the grid."""
    if coordinate.periodic:
        return np.arange(count)
    return np.arange(max(0, -offset), min(count, count - offset))


def nearest_edges(immersion: Immersion, theta: Float[np.ndarray, "point m"], neighbours: int) -> Edges:
    """Each point joined to its `neighbours` nearest, by coordinates in units of their range, the short way around."""
    check_count(neighbours=neighbours)
    period = periods(immersion)
    low, high = (np.array([getattr(c, end) for c in immersion.coordinates], float) for end in ("low", "high"))
    scaled = (theta - low) / (high - low)
    around = period > 0
    # a remainder can round up to 1, which a tree of period 1 does not take
    scaled = np.where(around, np.minimum(scaled % 1.0, np.nextafter(1.0, 0.0)), scaled)
    tree = KDTree(scaled, boxsize=around.astype(float) if around.any() else None)
    near = np.atleast_2d(tree.query(scaled, k=min(neighbours + 1, len(theta)))[1])
    first, second = np.repeat(np.arange(len(theta)), near.shape[1]), near.ravel()
    pairs = np.unique(np.sort(np.stack([first, second])[:, first != second], axis=0), axis=1)
    step = theta[pairs[1]] - theta[pairs[0]]
    safe = np.where(around, period, 1.0)
    return Edges(pairs[0], pairs[1], step - np.where(around, period * np.round(step / safe), 0.0))


def build(
    immersion: Immersion,
    theta: Float[np.ndarray, "point m"],
    edges: Edges,
    directions: Float[np.ndarray, "edge m"] | None,
    *,
    lengths: EdgeLength,
    dtype: Any,
) -> Graph:
    """Measure the edges, and at every point what its `directions` (None: its own edges) are worth under its metric."""
    rows = rows_at(immersion, theta, 1, dtype)
    finite = np.isfinite(rows).all((0, 2))
    measured = [
        _edge_lengths(immersion, rows[0], theta, Edges(*(e[k : k + CHUNK] for e in edges)), lengths, dtype)
        for k in range(0, len(edges.first), CHUNK)
    ]
    length = np.concatenate([*measured, np.zeros(0)])
    excess = _metrication(np.where(finite[:, None], rows[1:], 0), edges, directions)
    return Graph(theta, edges, length, finite, excess, dtype)


def _edge_lengths(
    immersion: Immersion,
    vectors: Float[np.ndarray, "point n"],
    theta: Float[np.ndarray, "point m"],
    edges: Edges,
    lengths: EdgeLength,
    dtype: Any,
) -> Float[np.ndarray, " edge"]:
    """Chords; or the arcs of straight steps in the coordinates, by Richardson from one chord and two (W.29)."""
    first, second = vectors[edges.first], vectors[edges.second]
    chord = _norm(second - first)
    if lengths == "chord":
        return chord
    middle = rows_at(immersion, theta[edges.first] + edges.step / 2, 0, dtype)[0]
    return (4 * (_norm(middle - first) + _norm(second - middle)) - chord) / 3


def _norm(vectors: Float[np.ndarray, "edge n"]) -> Float[np.ndarray, " edge"]:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.linalg.norm(vectors.astype(float), axis=-1)


def _metrication(
    tangents: Float[np.ndarray, "m point n"], edges: Edges, directions: Float[np.ndarray, "edge m"] | None
) -> Float[np.ndarray, " point"]:
    """The largest excess at every point: over common directions, or over those of its own edges."""
    factor = np.linalg.qr(np.moveaxis(tangents, 0, -1).astype(float), mode="r")
    stretch = np.linalg.svd(factor, compute_uv=False)
    usable = np.flatnonzero(stretch[:, -1] * CONDITION_LIMIT[str(tangents.dtype)] > stretch[:, 0])
    out = np.full(len(factor), np.inf)
    if directions is not None:
        out[usable] = metrication(np.einsum("ed,pcd->pec", directions, factor[usable]))
        return out
    ends, steps = np.concatenate([edges.first, edges.second]), np.concatenate([edges.step, edges.step])
    order = np.argsort(ends, kind="stable")
    starts = np.searchsorted(ends[order], np.arange(len(factor) + 1))
    for point in usable:
        own = steps[order[starts[point] : starts[point + 1]]]
        # to a point given twice there is no direction
        own = own[(own != 0).any(-1)]
        if len(own):
            out[point] = metrication(own @ factor[point].T)
    return out


class Paths(NamedTuple):
    """Lengths of shortest paths, and the last point before the end of each (negative: none)."""

    length: Float[np.ndarray, "source point"]
    before: Int[np.ndarray, "source point"]


def shortest_paths(graph: Graph) -> Paths:
    """Dijkstra's shortest paths from every point: infinite where there is none."""
    first, second, _ = graph.edges
    kept = graph.finite[first] & graph.finite[second] & np.isfinite(graph.length)
    n = len(graph.theta)
    matrix = scipy.sparse.csr_array((graph.length[kept], (first[kept], second[kept])), shape=(n, n))
    return Paths(*dijkstra(matrix, directed=False, return_predecessors=True))
