r"""Which points of a grid are joined, and how far the shortest path over them may exceed the shortest curve."""

import itertools
import math

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import ConvexHull, QhullError

from recurvature._errors import check_choice

RADIUS = {8: 1, 16: 2, 32: 3}
"""Largest step along a coordinate of the stencil with so many neighbours in the plane."""


def stencil(neighbours: int, m: int) -> Int[np.ndarray, "edge m"]:
    """Steps to the neighbours of a grid point, one of each pair ±: all primitive steps up to a radius (docs eq. W.27).

    `neighbours` counts them in the plane: 8 (king's moves), 16 (with knight's moves) or 32. The same radius gives
    2 on a line, and 26, 98 or 290 in three dimensions.
    """
    check_choice("neighbours", neighbours, RADIUS)
    radius = RADIUS[neighbours]
    steps = itertools.product(range(-radius, radius + 1), repeat=m)
    # the first entry that is not 0 is positive in one of each pair; multiples of a shorter step add no direction
    kept = [s for s in steps if s > (0,) * m and math.gcd(*s) == 1]
    return np.array(kept)


def metrication(directions: Float[np.ndarray, "*point edge m"]) -> Float[np.ndarray, "*point"]:
    r"""The largest relative excess of a path that may only use these directions and their opposites (docs eq. W.28).

    With unit steps $\hat v$ the unit ball of path length is their convex hull, so that the excess is one over the
    inradius of that hull, minus one. Infinite where the directions do not span the space.
    """
    m = directions.shape[-1]
    if m == 1:
        return np.zeros(directions.shape[:-2])
    if m == 2:
        angle = np.sort(np.arctan2(directions[..., 1], directions[..., 0]) % np.pi, axis=-1)
        gap = np.diff(np.concatenate([angle, angle[..., :1] + np.pi], -1), axis=-1).max(-1)
        with np.errstate(divide="ignore"):
            return np.where(gap < np.pi, 1 / np.cos(gap / 2) - 1, np.inf)
    flat = directions.reshape(-1, *directions.shape[-2:])
    return np.array([_hull_excess(d) for d in flat]).reshape(directions.shape[:-2])


def _hull_excess(directions: Float[np.ndarray, "edge m"]) -> float:
    norms = np.linalg.norm(directions, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        return math.inf
    try:
        hull = ConvexHull(np.concatenate([directions / norms, -directions / norms]))
    except QhullError:  # the directions lie in a plane through the origin
        return math.inf
    return float(1 / np.min(-hull.equations[:, -1]) - 1)
