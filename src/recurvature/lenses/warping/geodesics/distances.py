r"""Geodesic distances between all pairs of points: over a graph of neighbours, improved on request."""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from recurvature._errors import InputError, check_choice
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping.geodesics.connecting import check_segments
from recurvature.lenses.warping.geodesics.graph import (
    EdgeLength,
    Graph,
    build,
    grid_edges,
    grid_spacing,
    nearest_edges,
    shortest_paths,
)
from recurvature.lenses.warping.geodesics.refining import refine_pairs
from recurvature.lenses.warping.geodesics.sampling import number_type, point_rows
from recurvature.lenses.warping.geodesics.status import NON_FINITE, OK, UNREACHABLE
from recurvature.lenses.warping.geodesics.stencil import metrication, stencil
from recurvature.lenses.warping.immersion import Immersion, check_immersion
from recurvature.lenses.warping.metric import WARPING
from recurvature.systems.inputs import chart_fields

Points = int | tuple[int, ...] | Float[Any, "point m"]


class GeodesicDistances(AbstractResult):
    r"""Distances within a state manifold, between all pairs of points.

    Paths over a graph are too long by up to `metrication`, because they know only some directions; the chords that
    they are made of are too short, by a share of second order in the spacing (of fourth for `edges="arc"`).
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    theta: Float[Values, "point m"]
    distances: Float[Values, "point other"] = eqx.field(metadata={"units": "space"})
    """Over the graph, except where `refined`. Infinite where there is no path, NaN where a state is not finite."""
    graph: Float[Values, "point other"] = eqx.field(metadata={"units": "space", "long_name": "distance over the graph"})
    refined: Bool[Values, "point other"]
    """Which distances are lengths of geodesics."""
    status: Int[Values, "point other"]
    """Reason codes, `warping.GEODESIC_STATUS`; of a pair that was to be refined, what became of its geodesic."""
    metrication: Float[Values, " point"] = eqx.field(metadata={"long_name": "largest relative excess of graph paths"})
    """Over directions at a point, under its metric and for its neighbours; infinite where the metric is singular."""
    flat_metrication: float | None
    """The same on a square grid in the plane, or its like in m dimensions, under an isotropic metric; None for rows."""
    coordinates: tuple[str, ...]
    units: tuple[str, ...]
    periodic: tuple[bool, ...]
    grid: tuple[int, ...]
    """Points along each coordinate, the last running fastest; empty when the points form no grid."""
    neighbours: int
    edges: str
    measure: str
    """`graph`, `refined`, or `refined in part` where only some pairs were asked for."""
    dtype: str

    @property
    def converged(self) -> Bool[np.ndarray, "point other"]:
        """Which pairs have the distance that was asked for."""
        return np.asarray(self.status) == OK


def geodesic_distances(
    immersion: Immersion,
    *,
    points: Points,
    neighbours: int = 16,
    edges: EdgeLength = "chord",
    refine: bool | Int[Any, "pair 2"] = False,
    segments: int = 16,
) -> GeodesicDistances:
    r"""Geodesic distances between all pairs of points of a state manifold (docs eq. W.27–W.29).

    **Arguments**

    - `points`: a grid (a count for each coordinate), or rows of coordinates (point, m).
    - `neighbours`: on a grid, 8, 16 or 32 as counted in the plane (in m dimensions, all primitive steps of that reach);
      of rows, how many nearest points each is joined to.
    - `edges`: how an edge is measured: the `chord` between its ends, or the `arc` of the straight step in the
      coordinates (one more evaluation to each edge).

    - `refine`: solve the boundary value problem (`connect`) for all pairs, or for rows of two numbers of points,
      beginning with the path over the graph; where it does not converge or leaves a box, the distance remains that
      over the graph, and `status` says why.
    - `segments`: chords of a refined geodesic.

    Memory: a few n² numbers for n points. Raises `InputError` on arguments that do not fit; pairs without a distance
    are marked in `status`.
    """
    check_choice("edges", edges, ("chord", "arc"))
    check_segments(segments)
    theta, shape = graph_points(immersion, points)
    dtype = number_type(immersion, points)
    joined = grid_edges(immersion, shape, neighbours) if shape else nearest_edges(immersion, theta, neighbours)
    directions = stencil(neighbours, len(shape)) * grid_spacing(immersion, shape) if shape else None
    graph = build(immersion, theta, joined, directions, lengths=edges, dtype=dtype)
    paths = shortest_paths(graph)
    # the same edges summed from either end differ in rounding
    length = np.minimum(paths.length, paths.length.T)
    status = np.where(_lost(graph), NON_FINITE, np.where(np.isfinite(length), OK, UNREACHABLE))
    distances, refined = np.where(_lost(graph), np.nan, length), np.zeros(length.shape, bool)
    pairs = _pairs(refine, status, length)
    if len(pairs):
        first, second = pairs.T
        found = refine_pairs(immersion, graph, paths, pairs, segments)
        good = found.status == OK
        for i, j in ((first, second), (second, first)):
            refined[i, j], status[i, j] = good, found.status
            distances[i, j] = np.where(good, found.length, distances[i, j])
    return GeodesicDistances(
        theta=theta.astype(dtype),
        distances=distances.astype(dtype),
        graph=length.astype(dtype),
        refined=refined,
        status=status.astype(np.int8),
        metrication=graph.metrication,
        flat_metrication=float(metrication(stencil(neighbours, len(shape)).astype(float))) if shape else None,
        **chart_fields(immersion.coordinates),
        grid=shape,
        neighbours=int(neighbours),
        edges=edges,
        measure="graph" if refine is False else "refined" if refine is True else "refined in part",
        dtype=str(np.dtype(dtype)),
    )


def _lost(graph: Graph) -> Bool[np.ndarray, "point other"]:
    return ~(graph.finite[:, None] & graph.finite[None, :])


def _pairs(
    refine: bool | Int[Any, "pair 2"], status: Int[np.ndarray, "point other"], length: Float[np.ndarray, "point other"]
) -> Int[np.ndarray, "pair 2"]:
    """The pairs to be refined, among those that have a path of some length."""
    if refine is False:
        return np.zeros((0, 2), int)
    count = len(status)
    pairs = np.argwhere(np.triu(np.ones((count, count), bool), 1)) if refine is True else np.asarray(refine)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind != "i" or not ((pairs >= 0) & (pairs < count)).all():
        raise InputError(f"`refine` needs rows of two numbers of points below {count}, or True; got {refine!r}.")
    first, second = pairs.T
    return pairs[(status[first, second] == OK) & (length[first, second] > 0)]


def graph_points(immersion: Immersion, points: Points) -> tuple[Float[np.ndarray, "point m"], tuple[int, ...]]:
    """Rows of coordinates, and the shape of the grid that they form (empty: none)."""
    check_immersion(immersion)
    if not isinstance(points, int | np.integer | tuple):
        if np.ndim(points) == 1:
            raise InputError(
                f"`points` must be rows (point, {immersion.dimension}), or a tuple of counts; got {points!r}."
            )
        return point_rows("points", points, immersion.dimension).astype(float), ()
    counts = (int(points),) * immersion.dimension if isinstance(points, int | np.integer) else points
    if len(counts) != immersion.dimension:
        raise InputError(f"`points` needs one count for each of {immersion.dimension} coordinates; got {counts}.")
    axes = [c.grid(n) for c, n in zip(immersion.coordinates, counts, strict=True)]
    return np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=-1), counts
