"""Graph distances improved: every path taken as the first guess of a boundary value problem."""

import itertools

import numpy as np
from jaxtyping import Float, Int

from recurvature.lenses.warping.geodesics.connecting import AGREEMENT, Measured, measure
from recurvature.lenses.warping.geodesics.graph import Graph, Paths
from recurvature.lenses.warping.geodesics.joining import solve
from recurvature.lenses.warping.immersion import Immersion

Pairs = Int[np.ndarray, "pair 2"]


def refine_pairs(immersion: Immersion, graph: Graph, paths: Paths, pairs: Pairs, segments: int) -> Measured:
    """Lengths of the geodesics that the paths between these pairs relax to, each in its own homotopy class."""
    steps = _steps(graph)
    guess = np.stack([path_nodes(graph, paths, steps, int(i), int(j), segments) for i, j in pairs])
    return measure(immersion, solve(immersion, guess.astype(graph.dtype)), AGREEMENT)


def _steps(graph: Graph) -> dict[tuple[int, int], int]:
    """The number of the edge between two points, plus one; negative against its direction."""
    first, second = graph.edges.first.tolist(), graph.edges.second.tolist()
    forward = {(i, j): k + 1 for k, (i, j) in enumerate(zip(first, second, strict=True))}
    return forward | {(j, i): -k for (i, j), k in forward.items()}


def path_nodes(
    graph: Graph, paths: Paths, steps: dict[tuple[int, int], int], start: int, end: int, segments: int
) -> Float[np.ndarray, "node m"]:
    """The shortest path over the graph as nodes evenly spaced in its length, coordinates unwrapped."""
    points = [end]
    while points[-1] != start:
        points.append(int(paths.before[start, points[-1]]))
    points.reverse()
    edges = np.array([steps[p] for p in itertools.pairwise(points)])
    number, sign = np.abs(edges) - 1, np.sign(edges)
    vertices = graph.theta[start] + np.concatenate(
        [np.zeros((1, graph.theta.shape[1])), np.cumsum(sign[:, None] * graph.edges.step[number], axis=0)]
    )
    at = np.concatenate([[0.0], np.cumsum(graph.length[number])])
    even = np.linspace(0, at[-1], segments + 1)
    return np.stack([np.interp(even, at, column) for column in vertices.T], axis=-1)
