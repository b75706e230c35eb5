r"""Is the state torus flat, and if not, by overlap of its codes or by their mixing (docs eq. W.49–W.51)?"""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping.curvature import local_geometry
from recurvature.lenses.warping.geodesics.distances import graph_points
from recurvature.lenses.warping.geodesics.graph import grid_spacing
from recurvature.lenses.warping.geodesics.sampling import number_type, rows_at
from recurvature.lenses.warping.immersion import Immersion, check_immersion
from recurvature.lenses.warping.metric import WARPING, relative_stretches


class Flatness(AbstractResult):
    r"""How far a surface of states is from flat, and what keeps it from it (docs eq. W.49–W.51).

    Integrals are over the grid, by a rule that is spectrally accurate around periodic coordinates and of second order
    along others; points with a singular metric are left out and counted. All but `curvature` and the areas are pure
    numbers, the same for any units of states and coordinates.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    theta: Float[Values, "point m"]
    curvature: Float[Values, " point"] = eqx.field(metadata={"units": "1/space²"})
    """Gaussian curvature; NaN where `status` says why."""
    area_element: Float[Values, " point"]
    status: Int[Values, " point"]
    area: float
    largest: float
    r"""$\max|K|$ times the area: 0 of a flat surface."""
    total: float
    r"""$\int K\,dA$: 0 of any torus, flat or not."""
    total_absolute: float
    r"""$\int |K|\,dA$: of a torus, how much curvature of either sign there is."""
    metric_spread: float
    r"""Root mean square over points of the affine-invariant distance of $G$ from its mean: 0 where $G$ is constant."""
    overlap: float
    r"""Root mean square of $\cos\alpha = G_{12}/\sqrt{G_{11}G_{22}}$: 0 where coordinate lines are at right angles."""
    mixing: float
    r"""$\|X_{12}\|/\sqrt{\|X_{11}\|\|X_{22}\|}$ by root mean squares: 0 of a sum $a(\theta_1) + b(\theta_2)$."""
    additive_residual: float
    r"""The share of the variance of states that no additive code on the grid explains."""
    masked: int
    grid: tuple[int, ...]
    coordinates: tuple[str, ...]
    dtype: str

    def reading(self, tolerance: float = 1e-3) -> str:
        """`flat`, `additive, curved by overlap`, `mixed`, `mixed, flat`: numbers below `tolerance` count as 0.

        `unknown` where the metric is singular, or a state not finite, at all points.

        Curvature alone is evidence against orthogonal codes, not for nonlinear ones: a linear network that adds two
        codes with overlap has a curved torus.
        """
        if np.isnan(self.largest) or np.isnan(self.mixing):
            return "unknown"
        if self.mixing > tolerance:
            return "mixed" if self.largest > tolerance else "mixed, flat"
        return "additive, curved by overlap" if self.largest > tolerance else "flat"


def flatness(immersion: Immersion, *, points: int | tuple[int, ...] = 24, allow_piecewise: bool = False) -> Flatness:
    """Curvature and separability of a surface of states on a grid (docs eq. W.49–W.51).

    `points` are the counts of the grid. Raises `InputError` unless there are two coordinates, and on kinks without
    `allow_piecewise`.
    """
    check_immersion(immersion)
    if immersion.dimension != 2:
        raise InputError(f"`immersion` must have 2 coordinates to be a surface; it has {immersion.dimension}.")
    theta, shape = graph_points(immersion, points)
    if not shape or min(shape) < 3:
        raise InputError(f"`points` must be counts of a grid, at least 3 each; got {points!r}.")
    dtype = number_type(immersion)
    local = local_geometry(immersion, theta.astype(dtype), allow_piecewise=allow_piecewise)
    rows = rows_at(immersion, theta, 2, dtype).astype(float)
    factor, curved = np.asarray(local.factor, float), np.asarray(local.gaussian, float)
    known = np.isfinite(curved)
    element = np.abs(factor[:, 0, 0] * factor[:, 1, 1])
    area = np.where(known, element * cell_weights(immersion, shape), 0.0)
    bent = np.where(known, curved, 0.0)
    return Flatness(
        theta=theta.astype(dtype),
        curvature=curved.astype(dtype),
        area_element=element.astype(dtype),
        status=local.status,
        area=float(area.sum()),
        largest=float(np.abs(bent).max() * area.sum()) if known.any() else np.nan,
        total=float(bent @ area),
        total_absolute=float(np.abs(bent) @ area),
        metric_spread=_spread(factor[known]),
        overlap=_overlap(factor[known]),
        mixing=_mixing(rows[3:]),
        additive_residual=additive_residual(rows[0].reshape(*shape, -1)),
        masked=int((~known).sum()),
        grid=shape,
        coordinates=tuple(c.name for c in immersion.coordinates),
        dtype=str(np.dtype(dtype)),
    )


def cell_weights(immersion: Immersion, shape: tuple[int, ...]) -> Float[np.ndarray, " point"]:
    """Quadrature weights of a grid: equal around periodic coordinates, trapezoidal along others."""
    weights = []
    for coordinate, count, step in zip(immersion.coordinates, shape, grid_spacing(immersion, shape), strict=True):
        along = np.full(count, step)
        if not coordinate.periodic:
            along[[0, -1]] /= 2
        weights.append(along)
    return np.asarray(np.multiply.outer(*weights).ravel() if len(weights) == 2 else weights[0])


def additive_residual(states: Float[Any, "a b n"]) -> float:
    r"""The share of variance on a grid beyond the best $a(\theta_1) + b(\theta_2)$ (docs eq. W.51).

    The best sums are the means over either coordinate, as in an analysis of variance.
    """
    centred = np.asarray(states, float) - np.mean(states, (0, 1))
    total = float(np.sum(centred**2))
    rest = centred - centred.mean(0, keepdims=True) - centred.mean(1, keepdims=True)
    return float(np.sum(rest**2)) / total if total > 0 else float("nan")


def _mixing(second: Float[np.ndarray, "3 point n"]) -> float:
    x11, x12, x22 = (float(np.sqrt(np.mean(np.sum(x**2, -1)))) for x in second)
    scale = np.sqrt(x11 * x22)
    # straight in both coordinates: additive if it does not twist either
    return x12 / float(scale) if scale > 0 else (0.0 if x12 == 0 else float("inf"))


def _overlap(factor: Float[np.ndarray, "point i j"]) -> float:
    f, g, h = factor[:, 0, 0], factor[:, 0, 1], factor[:, 1, 1]
    # G₁₂/√(G₁₁G₂₂) = g/√(g² + h²), whatever the sign of f
    return float(np.sqrt(np.mean((g / np.hypot(g, h)) ** 2))) if len(f) else float("nan")


def _spread(factor: Float[np.ndarray, "point i j"]) -> float:
    if not len(factor):
        return float("nan")
    metric = np.einsum("pki,pkj->pij", factor, factor)
    middle = np.linalg.cholesky(metric.mean(0)).T
    logs = 2 * np.log(relative_stretches(factor[None], np.broadcast_to(middle, factor.shape)))
    return float(np.sqrt(np.mean(np.sum(logs**2, -1))))
