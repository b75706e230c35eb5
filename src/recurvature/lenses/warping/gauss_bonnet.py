r"""The theorem of Gauss and Bonnet as an audit: $\int K\,dA = 2\pi\chi$ on closed surfaces, but for kinks."""

from typing import ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping.curvature import LocalGeometry, local_geometry
from recurvature.lenses.warping.immersion import Immersion, check_immersion
from recurvature.lenses.warping.metric import WARPING
from recurvature.lenses.warping.status import CONDITION_LIMIT, OK, PIECEWISE
from recurvature.systems.inputs import Coordinate


class GaussBonnet(AbstractResult):
    r"""Total curvature of a closed surface by quadrature, against $2\pi\chi$ (docs eq. W.23).

    `defect` is $\int K\,dA - 2\pi\chi$ in radians: of a smooth map zero up to `quadrature_error`, which is the change
    from three quarters of the points in each direction. What a piecewise map lacks is in its kinks. NaN where some of
    the points are masked (`masked`).
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    theta: Float[Values, "point m"]
    """Points of the quadrature."""
    gaussian: Float[Values, " point"] = eqx.field(metadata={"units": "1/space²"})
    element: Float[Values, " point"] = eqx.field(metadata={"units": "space²", "long_name": "area of a point"})
    total_curvature: float
    absolute_curvature: float
    r"""$\int|K|\,dA$, which only flat surfaces bring to zero."""
    area: float
    euler_characteristic: int
    quadrature_error: float
    masked: int
    points: tuple[int, ...]
    kinks: tuple[str, ...]

    @property
    def defect(self) -> float:
        r"""$\int K\,dA - 2\pi\chi$."""
        return self.total_curvature - 2 * np.pi * self.euler_characteristic


def gauss_bonnet(immersion: Immersion, *, points: int | tuple[int, int] = 48) -> GaussBonnet:
    """The total curvature of a torus (two periodic coordinates) or a sphere (polar angle and azimuth).

    Periodic coordinates are integrated by even points, the polar angle by Gauss–Legendre points in its cosine: for
    smooth maps the error falls faster than any power of `points`. Piecewise maps are allowed, their kinks named. Raises
    `InputError` on surfaces with a boundary.
    """
    check_immersion(immersion)
    if immersion.dimension != 2:
        raise InputError(f"`immersion` must have 2 coordinates; it has {immersion.dimension}.")
    counts = (int(points), int(points)) if isinstance(points, int | np.integer) else points
    if len(counts) != 2 or min(counts) < 4:
        raise InputError(f"`points` must be at least 4 along each of 2 coordinates; got {points}.")
    chi = _euler_characteristic(immersion)
    geometry, element = _quadrature(immersion, counts)
    coarse = _quadrature(immersion, (3 * counts[0] // 4, 3 * counts[1] // 4))
    curved = geometry.gaussian * element
    return GaussBonnet(
        theta=geometry.theta,
        gaussian=geometry.gaussian,
        element=element,
        total_curvature=float(curved.sum()),
        absolute_curvature=float(np.abs(curved).sum()),
        area=float(element.sum()),
        euler_characteristic=chi,
        quadrature_error=float(abs(curved.sum() - (coarse[0].gaussian * coarse[1]).sum())),
        masked=int((~np.isin(np.asarray(geometry.status), (OK, PIECEWISE))).sum()),
        points=tuple(counts),
        kinks=geometry.kinks,
    )


def _quadrature(immersion: Immersion, counts: tuple[int, int]) -> tuple[LocalGeometry, Float[np.ndarray, " point"]]:
    """Local geometry at the points of a product rule, and the area that each stands for."""
    (first, u), (second, v) = (_rule(c, n) for c, n in zip(immersion.coordinates, counts, strict=True))
    theta = np.stack([a.ravel() for a in np.meshgrid(first, second, indexing="ij")], -1)
    geometry = local_geometry(immersion, theta, allow_piecewise=True)
    factor = np.asarray(geometry.factor, np.float64)
    return geometry, np.abs(factor[:, 0, 0] * factor[:, 1, 1]) * np.outer(u, v).ravel()


def _rule(coordinate: Coordinate, count: int) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Points and weights along a coordinate; a coordinate with ends is taken for a polar angle."""
    span = coordinate.high - coordinate.low
    if coordinate.periodic:
        return coordinate.grid(count), np.full(count, span / count)
    cosine, weight = np.polynomial.legendre.leggauss(count)
    angle = np.arccos(cosine)
    return coordinate.low + span * angle / np.pi, span / np.pi * weight / np.sin(angle)


def _euler_characteristic(immersion: Immersion) -> int:
    """0 where both coordinates are periodic; 2 where the ends of one shrink to points; nothing else is closed."""
    ends = [k for k, c in enumerate(immersion.coordinates) if not c.periodic]
    if not ends:
        return 0
    if len(ends) == 1:
        (polar,) = ends
        axis = immersion.coordinates[polar]
        probe = np.tile(np.stack([c.grid(5) for c in immersion.coordinates], -1), (3, 1))
        probe[:5, polar], probe[5:10, polar] = axis.low, axis.high
        factor = np.asarray(local_geometry(immersion, probe, allow_piecewise=True).factor)
        low, high, between = np.linalg.norm(factor[..., 1 - polar], axis=-1).reshape(3, 5).max(-1)
        if max(low, high) <= between / CONDITION_LIMIT[str(factor.dtype)]:
            return 2
    raise InputError(
        "the surface has a boundary, so that its total curvature is not fixed: `immersion` needs two periodic "
        "coordinates, or one and a polar angle at whose ends it shrinks to a point."
    )
