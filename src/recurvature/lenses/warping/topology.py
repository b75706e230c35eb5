r"""The shape of the state manifold: persistent homology of distances that the sampling can resolve."""

import dataclasses
from typing import ClassVar, Literal

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int
from scipy.sparse.csgraph import csgraph_from_dense, shortest_path

from recurvature._errors import InputError, check_choice
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping.geodesics.distances import Points, geodesic_distances
from recurvature.lenses.warping.geodesics.graph import Graph, grid_edges, nearest_edges, shortest_paths
from recurvature.lenses.warping.immersion import Immersion, check_immersion
from recurvature.lenses.warping.injectivity import Sample, closest_pairs, sample
from recurvature.lenses.warping.metric import WARPING
from recurvature.lenses.warping.status import OK
from recurvature.measures import PERSISTENCE_STATUS, Persistence, persistence
from recurvature.measures.topology import RIPSER, STABILITY

Distances = Literal["geodesic", "normalised", "euclidean"]
DISTANCES = ("geodesic", "normalised", "euclidean")
SHAPES = {
    (1, 0): "contractible",
    (1, 1): "circle",
    (1, 2): "two loops",
    (1, 0, 0): "contractible",
    (1, 1, 0): "circle",
    (1, 0, 1): "sphere",
    (1, 2, 1): "torus",
}
"""What Betti numbers of a connected curve or surface are called; other shapes can share them."""
SEPARATION = 0.2


class Topology(AbstractResult):
    r"""Holes of the state manifold at one time (docs eq. W.40–W.47).

    `betti` counts the bars that the sampling vouches for (`measures.Persistence`). `flags` say what stands against it:
    a status of a degree with its number (`no_gap 2`), `unresolved NAME` where the lines of a periodic coordinate are
    too short for the floor (a circle there would not be seen), `disconnected` (the image of a chart is in one piece;
    its sample is too coarse along some coordinate), `singular` and `non_finite` points, and `near_itself` where
    distances within the manifold pass by that it touches itself.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING, RIPSER, STABILITY)

    theta: Float[Values, "point m"]
    birth: Float[Values, " bar"] = eqx.field(metadata={"units": "distance"})
    death: Float[Values, " bar"] = eqx.field(metadata={"units": "distance"})
    bar_degree: Int[Values, " bar"]
    significant: Int[Values, " bar"]
    betti: Int[Values, " degree"]
    floor: Float[Values, " degree"] = eqx.field(metadata={"units": "distance"})
    margin: Float[Values, " degree"]
    status: Int[Values, " degree"]
    landmark: Int[Values, " landmark"]
    line_length: Float[Values, " m"] = eqx.field(metadata={"units": "space", "long_name": "mean length of its lines"})
    """Of each coordinate, in state space whatever the `distances`."""
    covering_radius: float
    connection_scale: float
    diameter: float
    closeness: float
    """The least distance of the manifold from itself, in units of the spacing of the sample."""
    noise: float
    resolution: float
    """States nearer than this were taken for one."""
    factor: float
    points: int
    distances: str
    coordinates: tuple[str, ...]
    flags: tuple[str, ...]
    dtype: str

    @property
    def barcode(self) -> Persistence:
        """The barcode alone, for the functions of `measures`."""
        return Persistence(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Persistence)})

    @property
    def shape(self) -> str:
        """A name for the Betti numbers, or the numbers."""
        numbers = tuple(np.asarray(self.betti).tolist())
        return SHAPES.get(numbers, str(numbers))


def topology(
    immersion: Immersion,
    *,
    points: Points,
    landmarks: int | None = 200,
    distances: Distances = "geodesic",
    degrees: int | None = None,
    neighbours: int = 16,
    resolution: float = 0.0,
    factor: float = 3.0,
) -> Topology:
    r"""Holes of the state manifold by persistent homology (docs eq. W.40–W.47). Needs the extra `topology`.

    **Arguments**

    - `points`: a grid (a count for each coordinate), or rows of coordinates (point, m).
    - `landmarks`: how many farthest points stand for all; None takes all. With voids 200 take seconds, 400 a minute.
    - `distances`: `geodesic`, within the manifold; `normalised`, the same with every coordinate stretched to one
      length, for manifolds one circle of which is smaller than the spacing along the other; `euclidean`, straight
      through state space: the only ones that see where the manifold touches itself.
    - `degrees`: the highest degree; None is the number of coordinates, at most 2.
    - `neighbours`: edges at each point of the graph that paths run on.
    - `resolution`: states nearer than this are taken for one, for instance the amplitude of noise.
    - `factor`: how many covering radii a bar must be longer than.
    """
    check_immersion(immersion)
    check_choice("distances", distances, DISTANCES)
    if not (np.isfinite(resolution) and resolution >= 0):
        raise InputError(f"`resolution` must be a finite number of at least 0; got {resolution!r}.")
    degrees = min(immersion.dimension, 2) if degrees is None else degrees
    taken = sample(immersion, points)
    table = _table(immersion, taken, points, distances, neighbours)
    usable = np.isfinite(taken.rows).all((0, 2))
    if usable.sum() < 2:
        raise InputError("`immersion` is finite at fewer than two of the `points`: nothing to measure.")
    merged = merge(table[np.ix_(usable, usable)], taken.chords[np.ix_(usable, usable)], resolution)
    bars = persistence(merged.astype(taken.dtype), degrees=degrees, landmarks=landmarks, factor=factor)
    lengths = line_lengths(immersion, taken)
    closeness = float(np.nanmin(closest_pairs(immersion, taken, SEPARATION).closeness, initial=np.inf))
    return Topology(
        theta=taken.theta[usable].astype(taken.dtype),
        **{f.name: getattr(bars, f.name) for f in dataclasses.fields(Persistence)},
        line_length=lengths.astype(taken.dtype),
        closeness=closeness,
        resolution=float(resolution),
        distances=distances,
        coordinates=tuple(c.name for c in immersion.coordinates),
        flags=_flags(immersion, taken, bars, lengths, closeness, distances),
        dtype=str(np.dtype(taken.dtype)),
    )


def _table(
    immersion: Immersion, taken: Sample, points: Points, distances: str, neighbours: int
) -> Float[np.ndarray, "point other"]:
    if distances == "euclidean":
        return taken.chords
    if distances == "geodesic":
        found = geodesic_distances(immersion, points=points, neighbours=neighbours, edges="arc")
        return np.asarray(found.distances, float)
    return normalised_distances(immersion, taken, neighbours)


def normalised_distances(immersion: Immersion, taken: Sample, neighbours: int = 16) -> Float[np.ndarray, "point other"]:
    r"""Shortest paths under the metric in which all coordinate lines have one mean length, 2π (docs eq. W.46)."""
    edges = (
        grid_edges(immersion, taken.grid, neighbours)
        if taken.grid
        else nearest_edges(immersion, taken.theta, neighbours)
    )
    lengths = line_lengths(immersion, taken)
    scale = np.divide(2 * np.pi, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    tangents = np.moveaxis(taken.rows[1:], 0, -1).astype(float)
    step = edges.step * scale
    ends = [np.linalg.norm(np.einsum("eni,ei->en", tangents[k], step), axis=-1) for k in (edges.first, edges.second)]
    graph = Graph(
        theta=taken.theta,
        edges=edges,
        length=(ends[0] + ends[1]) / 2,
        finite=np.isfinite(taken.rows).all((0, 2)),
        metrication=np.zeros(len(taken.theta)),
        dtype=taken.dtype,
    )
    return np.asarray(shortest_paths(graph).length, float)


def line_lengths(immersion: Immersion, taken: Sample) -> Float[np.ndarray, " m"]:
    r"""Mean length of the lines of each coordinate: its mean stretch times its range."""
    finite = np.isfinite(taken.rows).all((0, 2))
    ranges = np.array([c.high - c.low for c in immersion.coordinates])
    return np.asarray(np.linalg.norm(taken.factor[finite], axis=1).mean(0) * ranges)


def merge(
    table: Float[np.ndarray, "point other"], chords: Float[np.ndarray, "point other"], resolution: float
) -> Float[np.ndarray, "point other"]:
    """The distances left when states nearer than `resolution` are one: shortest ways, free through such pairs."""
    table = np.minimum(table, table.T)
    if resolution == 0:
        return table
    free = np.where(chords <= resolution, 0.0, table)
    return np.asarray(shortest_path(csgraph_from_dense(free, null_value=np.inf), method="D", directed=False))


def _flags(
    immersion: Immersion, taken: Sample, bars: Persistence, lengths: np.ndarray, closeness: float, distances: str
) -> tuple[str, ...]:
    flags = [f"{PERSISTENCE_STATUS[code]} {degree}" for degree, code in enumerate(bars.status) if code]
    if distances != "normalised":
        # a closed geodesic of length c has a bar that ends at c/3
        hidden = lengths / 3 <= np.asarray(bars.floor)[1]
        flags += [
            f"unresolved {c.name}" for c, h in zip(immersion.coordinates, hidden, strict=True) if c.periodic and h
        ]
    flags += ["disconnected"] if np.asarray(bars.betti)[0] > 1 else []
    finite = np.isfinite(taken.rows).all((0, 2))
    flags += ["singular"] if (taken.status[finite] != OK).any() else []
    flags += ["non_finite"] if not finite.all() else []
    flags += ["near_itself"] if distances != "euclidean" and closeness < 1 else []
    return tuple(flags)
