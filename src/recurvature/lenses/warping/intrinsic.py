r"""Curvature from a metric alone: a function $\theta\mapsto G(\theta)$, or values on a grid (recorded, learned)."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Real

from recurvature._errors import InputError, check_shape
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping import local, triangular
from recurvature.lenses.warping.metric import WARPING, AbstractMetric
from recurvature.lenses.warping.reference import upper_factors
from recurvature.lenses.warping.status import NON_FINITE, OK, RANK_DEFICIENT

MetricFunction = Callable[[Float[Array, " m"]], Float[Array, "i j"]]


class Jet(NamedTuple):
    """A metric with its first and second derivatives, derivative indices last."""

    value: Float[Any, "point i j"]
    first: Float[Any, "point i j k"]
    second: Float[Any, "point i j k l"]


class Intrinsic(AbstractResult):
    r"""Curvature from first and second derivatives of a metric (docs eq. W.19, W.20).

    `christoffel` is $\Gamma^k_{ij}$, k first; signs as `AbstractCurvature`. `scalar_error` estimates the error of
    central differences by the same with doubled spacing; None where derivatives are exact. NaN where the metric is not
    finite (`non_finite`) or not positive definite (`rank_deficient`).
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    metric: Float[Values, "point i j"]
    christoffel: Float[Values, "point k i j"]
    riemann: Float[Values, "point i j k l"]
    scalar: Float[Values, " point"]
    scalar_error: Float[Values, " point"] | None
    status: Int[Values, " point"]
    grid: tuple[int, ...]
    method: str

    @property
    def ricci(self) -> Float[np.ndarray, "point j l"]:
        r"""$\mathrm{Ric}_{jl} = G^{ik}R_{ijkl}$."""
        return local.ricci(np.asarray(self.riemann), upper_factors(np.asarray(self.metric), self.metric.dtype))

    @property
    def gaussian(self) -> Float[np.ndarray, " point"]:
        """The Gaussian curvature K = S/2. Raises `InputError` unless there are two coordinates."""
        if self.metric.shape[-1] != 2:
            raise InputError(f"`gaussian` belongs to 2 coordinates, this has {self.metric.shape[-1]}: use `scalar`.")
        return np.asarray(self.scalar) / 2


def intrinsic(metric: MetricFunction, theta: Real[Any, "point m"]) -> Intrinsic:
    """Curvature of a metric given as a differentiable function of one point; `theta` are rows of coordinates."""
    check_shape("theta", theta, (None, None))
    count, m = np.shape(theta)
    if not count:
        raise InputError("`theta` must hold at least one row of coordinates.")
    if jax.eval_shape(metric, jax.ShapeDtypeStruct((m,), jnp.result_type(float))).shape != (m, m):
        raise InputError(f"`metric` must give a matrix ({m}, {m}) for a point of {m} coordinates.")
    return _result(_jet(metric, theta), None, (), "forward derivatives")


def intrinsic_on_grid(
    metric: Float[Any, "*grid i j"], *, spacing: tuple[float, ...], periodic: tuple[bool, ...]
) -> Intrinsic:
    """Curvature of a metric sampled on a grid of even `spacing`, one number for each coordinate.

    Central differences of second order in the spacing, wrapped where `periodic`, one-sided of the same order at other
    ends. Values that were rounded or are noisy by ε make errors of ε over the square of the spacing.
    """
    values = np.asarray(metric)
    m = values.shape[-1]
    check_shape("metric", values, (None,) * m + (m, m))
    if len(spacing) != m or len(periodic) != m or min(spacing) <= 0:
        raise InputError(f"`spacing` (> 0) and `periodic` need one value for each of {m} coordinates.")
    if min(values.shape[:m]) < 5:
        raise InputError(f"`metric` needs at least 5 values along each coordinate; its grid is {values.shape[:m]}.")
    wide = values.astype(np.float64)
    jets = [_differences(wide, spacing, periodic, stride) for stride in (1, 2)]
    fine, coarse = (np.asarray(_result(jet, None, (), "").scalar) for jet in jets)
    return _result(jets[0], np.abs(coarse - fine) / 3, values.shape[:m], "central differences, order 2")


def intrinsic_of(metric: AbstractMetric, *, time: float) -> Intrinsic:
    """Curvature from a computed metric alone, on its grid, at the time nearest to `time`: an audit of `curvature`."""
    if not metric.grid or min(metric.grid) < 5:
        raise InputError("`metric` needs a grid of 5 or more points along each coordinate.")
    theta = np.asarray(metric.theta).reshape(*metric.grid, -1)
    m = theta.shape[-1]
    spacing = tuple(float(theta[(0,) * a + (1,) + (0,) * (m - a - 1)][a] - theta[(0,) * m][a]) for a in range(m))
    nearest = int(np.abs(np.asarray(metric.time) - time).argmin())
    values = np.asarray(metric.metric)[nearest].reshape(*metric.grid, m, m)
    return intrinsic_on_grid(values, spacing=spacing, periodic=metric.periodic)


def brioschi(metric: MetricFunction, theta: Real[Any, "point 2"]) -> Float[np.ndarray, " point"]:
    """Gaussian curvature of a metric in two coordinates by Brioschi's determinants (docs eq. W.21).

    NaN where the metric is not positive definite.
    """
    check_shape("theta", theta, (None, 2))
    value, first, second = _jet(metric, theta)
    (e, f, g), (e1, f1, g1), (e2, f2, g2) = (
        (part[:, 0, 0], part[:, 0, 1], part[:, 1, 1]) for part in (value, first[..., 0], first[..., 1])
    )
    corner = second[:, 0, 1, 0, 1] - (second[:, 0, 0, 1, 1] + second[:, 1, 1, 0, 0]) / 2
    zero = np.zeros_like(e)
    left = _stacked([[corner, e1 / 2, f1 - e2 / 2], [f2 - g1 / 2, e, f], [g2 / 2, f, g]])
    right = _stacked([[zero, e2 / 2, g1 / 2], [e2 / 2, e, f], [g1 / 2, f, g]])
    area = np.where((e > 0) & (e * g > f**2), e * g - f**2, np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        return (np.linalg.det(left) - np.linalg.det(right)) / area**2


def _stacked(rows: list[list[np.ndarray]]) -> Float[np.ndarray, "point 3 3"]:
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _jet(metric: MetricFunction, theta: Real[Any, "point m"]) -> Jet:
    points = jnp.asarray(theta)
    points = points if jnp.issubdtype(points.dtype, jnp.floating) else points.astype(float)
    return Jet(*(np.asarray(part) for part in _compiled_jet(metric, points)))


@eqx.filter_jit
def _compiled_jet(metric: MetricFunction, theta: Float[Array, "point m"]) -> Jet:
    slope = jax.jacfwd(metric)
    return jax.vmap(lambda point: Jet(metric(point), slope(point), jax.jacfwd(slope)(point)))(theta)


def _result(jet: Jet, error: Float[np.ndarray, " point"] | None, grid: tuple[int, ...], method: str) -> Intrinsic:
    """The tensors of a metric and its derivatives, masked where it is singular."""
    value, first, second = jet
    m, dtype = value.shape[-1], value.dtype
    finite = (
        np.isfinite(value).all((-1, -2)) & np.isfinite(first).all((1, 2, 3)) & np.isfinite(second).all((1, 2, 3, 4))
    )
    known = np.where(finite[:, None, None], value, np.eye(m))
    factor = upper_factors(known.astype(np.float64), dtype)
    definite = (np.diagonal(factor, axis1=-2, axis2=-1) > 0).all(-1)
    usable = finite & definite
    keep = lambda part: np.where(usable[(...,) + (None,) * (part.ndim - 1)], part, 0).astype(np.float64)  # noqa: E731
    inverse = triangular.inverse(np.where(usable[:, None, None], factor, np.eye(m)))
    lowered, christoffel = _christoffel(inverse, keep(first))
    tensor = _riemann(lowered, christoffel, keep(second))
    every = np.asarray(local.planes(m), int).reshape(-1, 2)
    (i, j), both = every.T, slice(None)
    operator = tensor[both, i[:, None], j[:, None], i, j]
    found = (christoffel, tensor, local.scalar_curvature(operator, inverse))
    symbols, curved, scalar = (
        np.where(usable[(...,) + (None,) * (v.ndim - 1)], v, np.nan).astype(dtype) for v in found
    )
    status = np.where(finite, np.where(definite, OK, RANK_DEFICIENT), NON_FINITE).astype(np.int8)
    return Intrinsic(value, symbols, curved, scalar, error, status, grid, method)


def _christoffel(
    inverse: Float[np.ndarray, "point i j"], first: Float[np.ndarray, "point i j k"]
) -> tuple[Float[np.ndarray, "point k i j"], Float[np.ndarray, "point k i j"]]:
    r"""$\Gamma_{k,ij} = \frac12(\partial_iG_{jk} + \partial_jG_{ik} - \partial_kG_{ij})$ and $\Gamma^k_{ij}$."""
    moved = np.einsum("pjki->pkij", first)
    lowered = (moved + np.swapaxes(moved, -1, -2) - np.moveaxis(first, -1, 1)) / 2
    return lowered, np.einsum("pka,pla,plij->pkij", inverse, inverse, lowered)


def _riemann(
    lowered: Float[np.ndarray, "point k i j"],
    christoffel: Float[np.ndarray, "point k i j"],
    second: Float[np.ndarray, "point i j k l"],
) -> Float[np.ndarray, "point i j k l"]:
    """Riemann's tensor from second derivatives and Christoffel symbols (docs eq. W.20)."""
    bent = np.einsum("piljk->pijkl", second) + np.einsum("pjkil->pijkl", second)
    bent = bent - np.einsum("pjlik->pijkl", second) - np.einsum("pikjl->pijkl", second)
    turned = np.einsum("pajk,pail->pijkl", lowered, christoffel) - np.einsum("pajl,paik->pijkl", lowered, christoffel)
    return bent / 2 + turned


def _differences(
    values: Float[np.ndarray, "*grid i j"], spacing: tuple[float, ...], periodic: tuple[bool, ...], stride: int
) -> Jet:
    """A sampled metric with its first and second derivatives at every point of the grid, derivative indices last."""
    m = values.shape[-1]
    matrices = [_stencils(values.shape[a], spacing[a], periodic[a], stride) for a in range(m)]

    def along(array: np.ndarray, axis: int, order: int) -> np.ndarray:
        matrix, lost = matrices[axis][order - 1], ~np.isfinite(array)
        found = np.tensordot(matrix, np.where(lost, 0, array), (1, axis))
        # a product would carry what is missing along the whole line, not to neighbours alone
        reached = np.tensordot((matrix != 0).astype(float), lost.astype(float), (1, axis)) > 0
        return np.moveaxis(np.where(reached, np.nan, found), 0, axis)

    slopes = [along(values, a, 1) for a in range(m)]
    second = [[along(values, a, 2) if a == b else along(slopes[a], b, 1) for b in range(m)] for a in range(m)]
    stacked = np.stack([np.stack(row, -1) for row in second], -2)
    return Jet(values.reshape(-1, m, m), np.stack(slopes, -1).reshape(-1, m, m, m), stacked.reshape(-1, *(m,) * 4))


def _stencils(
    count: int, spacing: float, periodic: bool, stride: int
) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "n n"]]:
    """Matrices of first and second differences over `stride` spacings, of second order everywhere."""
    h, first, second = stride * spacing, np.zeros((count, count)), np.zeros((count, count))
    for row in range(count):
        inside = periodic or stride <= row < count - stride
        side = 1 if row < stride else -1
        # at an end, as many terms as fit: where even those do not, the row stays NaN
        steps = (-1, 0, 1) if inside else (0, side, 2 * side, 3 * side)
        columns = row + stride * np.asarray(steps)
        if not periodic and not 0 <= columns.min() <= columns.max() < count:
            first[row], second[row] = np.nan, np.nan
            continue
        slope = (-0.5, 0.0, 0.5) if inside else tuple(side * c for c in (-1.5, 2.0, -0.5, 0.0))
        bend = (1.0, -2.0, 1.0) if inside else (2.0, -5.0, 4.0, -1.0)
        np.add.at(first[row], columns % count, np.asarray(slope) / h)
        np.add.at(second[row], columns % count, np.asarray(bend) / h**2)
    return first, second
