r"""Curvature of the state manifold over time, and of any immersion at points: one pass with second derivatives."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_shape
from recurvature._precision import float_dtype
from recurvature._progress import Report, silent
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping import local, triangular
from recurvature.lenses.warping.field import (
    Course,
    Initial,
    Space,
    check_network,
    instants_of,
    observe,
    points_of,
    stream,
)
from recurvature.lenses.warping.immersion import Immersion, check_immersion
from recurvature.lenses.warping.metric import WARPING, ambient_factor, relative_stretches, vector_size
from recurvature.lenses.warping.reference import input_metric, upper_factors
from recurvature.lenses.warping.smoothness import check_smooth, kinks_of_immersion, kinks_of_network
from recurvature.lenses.warping.status import NON_FINITE, OK, PIECEWISE, TOO_FEW_DIMENSIONS, classify
from recurvature.systems.base import Network
from recurvature.systems.inputs import AbstractInputManifold, chart_fields
from recurvature.systems.tangent import Frame, Rows

BLOCK = 256
"""Points of an immersion at work at once."""


class AbstractCurvature(eqx.Module):
    r"""Local geometry at points: what is stored, and the tensors that follow from it.

    `factor` is $R$ with $G = R^\top R$; `christoffel` is $\Gamma^k_{ij}$, k first; `second_form` holds the inner
    products $\langle II_{ij}, II_{kl}\rangle$ by pairs i ≤ j; `scalar` is the scalar curvature S (0 for a curve),
    `scalar_error` an estimate of its rounding error; `mean_curvature` is $|H| = |G^{ij}II_{ij}|/m$, for a curve its
    curvature. All but `factor` are NaN where `status` is neither `ok` nor `piecewise`.
    """

    factor: eqx.AbstractVar[Float[Values, "*batch i j"]]
    christoffel: eqx.AbstractVar[Float[Values, "*batch k i j"]]
    second_form: eqx.AbstractVar[Float[Values, "*batch ij kl"]]
    scalar: eqx.AbstractVar[Float[Values, "*batch"]]
    mean_curvature: eqx.AbstractVar[Float[Values, "*batch"]]
    status: eqx.AbstractVar[Int[Values, "*batch"]]

    @property
    def metric(self) -> Float[np.ndarray, "*batch i j"]:
        """$G$."""
        return triangular.gram(np.asarray(self.factor))

    @property
    def riemann(self) -> Float[np.ndarray, "*batch i j k l"]:
        """$R_{ijkl}$, all indices down, such that $R_{1212}$ is positive on a sphere."""
        return local.riemann(np.asarray(self.second_form), self.factor.shape[-1])

    @property
    def ricci(self) -> Float[np.ndarray, "*batch i j"]:
        r"""$\mathrm{Ric}_{jl} = G^{ik}R_{ijkl}$."""
        return local.ricci(self.riemann, np.asarray(self.factor))

    @property
    def gaussian(self) -> Float[np.ndarray, "*batch"]:
        """The Gaussian curvature K = S/2. Raises `InputError` unless there are two coordinates."""
        if self.factor.shape[-1] != 2:
            raise InputError(
                f"`gaussian` belongs to 2 coordinates, this has {self.factor.shape[-1]}: use `scalar` or `sectional`."
            )
        return np.asarray(self.scalar) / 2


class Curvature(AbstractCurvature, AbstractResult):
    """Local geometry of the state manifold of a network, over time; fields as `AbstractCurvature`."""

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    theta: Float[Values, "point m"]
    factor: Float[Values, "time point i j"] = eqx.field(metadata={"units": "space/coordinate"})
    christoffel: Float[Values, "time point k i j"]
    second_form: Float[Values, "time point ij kl"]
    scalar: Float[Values, "time point"] = eqx.field(metadata={"units": "1/space²"})
    scalar_error: Float[Values, "time point"] = eqx.field(metadata={"units": "1/space²"})
    mean_curvature: Float[Values, "time point"] = eqx.field(metadata={"units": "1/space"})
    status: Int[Values, "time point"]
    coordinates: tuple[str, ...]
    units: tuple[str, ...]
    periodic: tuple[bool, ...]
    grid: tuple[int, ...]
    """Points along each coordinate, the last running fastest; empty when the points form no grid."""
    space: str
    inner: str
    dtype: str
    kinks: tuple[str, ...]
    """What makes the network piecewise, if that was allowed."""


class LocalGeometry(AbstractCurvature, AbstractResult):
    """Local geometry of an immersion at points; fields as `AbstractCurvature`."""

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    theta: Float[Values, "point m"]
    factor: Float[Values, "point i j"] = eqx.field(metadata={"units": "space/coordinate"})
    christoffel: Float[Values, "point k i j"]
    second_form: Float[Values, "point ij kl"]
    scalar: Float[Values, " point"] = eqx.field(metadata={"units": "1/space²"})
    scalar_error: Float[Values, " point"] = eqx.field(metadata={"units": "1/space²"})
    mean_curvature: Float[Values, " point"] = eqx.field(metadata={"units": "1/space"})
    status: Int[Values, " point"]
    coordinates: tuple[str, ...]
    units: tuple[str, ...]
    periodic: tuple[bool, ...]
    dtype: str
    kinks: tuple[str, ...]
    """What makes the immersion piecewise, if that was allowed."""


class ContactEmitter(eqx.Module):
    """Emits the contact of the manifold with its tangent planes, where a time is wanted (None: always)."""

    space: Space = eqx.field(static=True)
    m: int = eqx.field(static=True)
    ambient: Float[Array, "k r"] | None
    wanted: Float[Array, " wanted"] | None
    tolerance: Float[Array, ""]

    def __call__(self, network: Network, frame: Frame) -> local.Contact:
        """The contacts of a block; zeros at other times."""
        if self.wanted is None:
            return self._contact(network, frame.rows)
        shapes = eqx.filter_eval_shape(self._contact, network, frame.rows)
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        now = (jnp.abs(frame.time - self.wanted) < self.tolerance).any()
        return jax.lax.cond(now, lambda: self._contact(network, frame.rows), lambda: nothing)

    def _contact(self, network: Network, rows: Rows) -> local.Contact:
        vectors = observe(network, rows, self.space, self.m, 2)[1:]
        return local.contact(vectors if self.ambient is None else vectors @ self.ambient.T, self.m)


def curvature(
    network: Network,
    manifold: AbstractInputManifold,
    *,
    points: int | tuple[int, ...] | Float[Any, "point m"] = 11,
    duration: float,
    space: Space = "state",
    inner: str | Float[Any, "r r"] = "euclidean",
    times: tuple[float, ...] | None = None,
    samples: int = 50,
    initial: Initial | None = None,
    block: int | None = None,
    allow_piecewise: bool = False,
    report: Report = silent,
) -> Curvature:
    r"""Christoffel symbols and curvatures of the state manifold, by the Gauss equation (docs eq. W.12–W.18).

    Second derivatives are carried forward with the state (docs eq. W.3), nothing is differenced.

    **Arguments** (others as `metric`)

    - `times`: only at the steps, or samples of a flow, nearest to these times; None: at all of them.
    - `allow_piecewise`: compute the curvature of the smooth pieces of a network with kinks, such as ReLU; the status
      says `piecewise`, and what the kinks carry is missing (`gauss_bonnet`, `smoothing_sweep`).

    Raises `InputError` on arguments that do not fit, and on kinks that are not allowed. Where the metric is singular,
    status says why and curvature is NaN; where a network moves fewer numbers than there are coordinates, everywhere.
    """
    check_network(network, manifold, space)
    kinks = kinks_of_network(network, manifold, space=space, initial=initial)
    check_smooth(kinks, allow_piecewise=allow_piecewise)
    grid, dtype = points_of(manifold, points), float_dtype(network)
    size, instants = vector_size(network, space), instants_of(network, duration, samples)[1:]
    at = _nearest(times, instants)
    emitter = ContactEmitter(
        space,
        manifold.dimension,
        ambient_factor(inner, size, dtype),
        None if times is None else jnp.asarray(instants[at], dtype),
        jnp.asarray(0.25 * instants[0], dtype),
    )
    course = Course(duration, samples, block, initial)
    field = stream(network, manifold, grid.theta, emitter, course, report=report, task=f"curvature of {space}", order=2)
    scale = size**-0.5 if isinstance(inner, str) and inner == "per_unit" else 1.0
    contact = _scaled(local.Contact(*(leaf[at] for leaf in field.values)), scale)
    against = upper_factors(input_metric(network, manifold, grid.theta, instants), dtype)
    tensors, status = _assess(contact, against, grid.theta.shape[1], size, kinks, dtype, field.solved)
    return Curvature(
        time=instants[at],
        theta=grid.theta,
        **tensors._asdict(),
        status=status,
        **chart_fields(grid.coordinates),
        grid=grid.shape,
        space=space,
        inner=inner if isinstance(inner, str) else "given",
        dtype=str(dtype),
        kinks=kinks,
    )


def local_geometry(
    immersion: Immersion, theta: Float[Any, "point m"], *, allow_piecewise: bool = False
) -> LocalGeometry:
    r"""Christoffel symbols and curvatures of an immersion at points, by the Gauss equation (docs eq. W.12–W.18).

    Stretches are judged, for `status`, against the longest tangent along each coordinate among the points. Raises
    `InputError` on points that do not fit, and on kinks that are not `allow_piecewise`.
    """
    check_immersion(immersion)
    check_shape("theta", theta, (None, immersion.dimension))
    theta = np.asarray(theta) if np.issubdtype(np.asarray(theta).dtype, np.floating) else np.asarray(theta, float)
    if not len(theta):
        raise InputError("`theta` must hold at least one row of coordinates.")
    kinks = kinks_of_immersion(immersion)
    check_smooth(kinks, allow_piecewise=allow_piecewise)
    size = jax.eval_shape(immersion, jnp.asarray(theta[0])).shape[0]
    packed = _contacts(immersion, theta)
    m, dtype = immersion.dimension, packed.factor.dtype
    longest = np.nanmax(np.linalg.norm(triangular.unpack(packed.factor, m), axis=-2), axis=(0, 1), initial=0)
    against = np.broadcast_to(np.diag(np.where(longest > 0, longest, 1)), (len(theta), m, m))
    tensors, status = _assess(packed, against, m, size, kinks, dtype, np.ones(len(theta), bool))
    return LocalGeometry(
        theta=theta,
        **{name: leaf[0] for name, leaf in tensors._asdict().items()},
        status=status[0],
        **chart_fields(immersion.coordinates),
        dtype=str(dtype),
        kinks=kinks,
    )


def sectional(result: AbstractCurvature, a: Float[Any, "*batch m"], b: Float[Any, "*batch m"]) -> Float[Any, "*batch"]:
    r"""Sectional curvature of the planes spanned by the directions `a` and `b` (docs eq. W.16).

    Directions are in coordinates: one for all points, or one for each. NaN where they are parallel.
    """
    m = result.factor.shape[-1]
    if m < 2 or np.shape(a)[-1:] != (m,) or np.shape(b)[-1:] != (m,):
        raise InputError(
            f"`a` and `b` must be directions in {m} coordinates, and 2 or more; got {np.shape(a)}, {np.shape(b)}."
        )
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    area = np.stack([a[..., i] * b[..., j] - a[..., j] * b[..., i] for i, j in local.planes(m)], -1)
    above = np.einsum("...a,...ab,...b->...", area, local.operator(np.asarray(result.second_form), m), area)
    size = np.einsum("...ab,...b->...a", local.compound(np.asarray(result.factor)), area)
    below = np.sum(size**2, -1)
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)


def second_form(
    immersion: Immersion, theta: Float[Any, "point m"], *, allow_piecewise: bool = False
) -> Float[np.ndarray, "point i j n"]:
    r"""The vectors $II_{ij} = (1 - QQ^\top)\,\partial_i\partial_jx$ (docs eq. W.12), by a QR factorisation.

    NaN, and `InputError`, where `local_geometry` has them.
    """
    return _normals(immersion, theta, allow_piecewise)[1]


def mean_curvature_vector(
    immersion: Immersion, theta: Float[Any, "point m"], *, allow_piecewise: bool = False
) -> Float[np.ndarray, "point n"]:
    r"""$H = \frac1m G^{ij}II_{ij}$ (docs eq. W.14); NaN, and `InputError`, where `local_geometry` has them."""
    geometry, normal = _normals(immersion, theta, allow_piecewise)
    known, out = np.isfinite(geometry.mean_curvature), np.full_like(normal[:, 0, 0], np.nan)
    inverse = triangular.inverse(np.asarray(geometry.factor)[known])
    out[known] = np.einsum("bik,bjk,bijn->bn", inverse, inverse, normal[known]) / immersion.dimension
    return out


def _normals(
    immersion: Immersion, theta: Float[Any, "point m"], allow_piecewise: bool
) -> tuple[LocalGeometry, Float[np.ndarray, "point i j n"]]:
    """The geometry at points, and the second derivatives less their tangent parts; NaN where that is masked."""
    geometry = local_geometry(immersion, theta, allow_piecewise=allow_piecewise)
    normal = np.array(_normal_part(immersion, jnp.asarray(geometry.theta)))
    normal[~np.isfinite(geometry.mean_curvature)] = np.nan
    return geometry, normal


@eqx.filter_jit
def _normal_part(immersion: Immersion, theta: Float[Array, "b m"]) -> Float[Array, "b i j n"]:
    m = immersion.dimension
    rows = jnp.moveaxis(immersion.rows(theta, 2), 0, 1)
    basis = jnp.linalg.qr(jnp.swapaxes(rows[:, 1 : 1 + m], 1, 2))[0]
    second = rows[:, 1 + m :]
    # twice is enough: what is left of the tangent part is then rounding of the normal part
    for _ in range(2):
        second = second - jnp.einsum("bna,bka,bpk->bpn", basis, basis, second)
    return second[:, local.pair_index(m)]


def _contacts(immersion: Immersion, theta: Float[np.ndarray, "point m"]) -> local.Contact:
    """The contacts at points, as those of one time, block by block; the last is filled up with copies."""
    block = min(len(theta), BLOCK)
    starts = range(0, len(theta), block)
    padded = np.concatenate([theta, np.repeat(theta[-1:], -len(theta) % block, 0)])
    parts = [_contact_of(immersion, jnp.asarray(padded[start : start + block])) for start in starts]
    return local.Contact(*(np.concatenate(leaves)[None, : len(theta)] for leaves in zip(*parts, strict=True)))


@eqx.filter_jit
def _contact_of(immersion: Immersion, theta: Float[Array, "b m"]) -> local.Contact:
    return local.contact(immersion.rows(theta, 2)[1:], immersion.dimension)


def _nearest(times: tuple[float, ...] | None, instants: Float[np.ndarray, " time"]) -> np.ndarray:
    if times is None:
        return np.arange(len(instants))
    given = np.asarray(times, float)
    if given.ndim != 1 or not given.size or not (given > 0).all() or given.max() > instants[-1] + 0.51 * instants[0]:
        raise InputError(
            f"`times` must be a row of times between 0 and `duration`; got {times}, with times to {instants[-1]:g}."
        )
    return np.unique([np.abs(instants - t).argmin() for t in given])


def _scaled(contact: local.Contact, scale: float) -> local.Contact:
    """The contact of vectors `scale` times as long."""
    kind = contact.factor.dtype.type
    return local.Contact(
        contact.factor * kind(scale), contact.tangential * kind(scale), contact.normal * kind(scale**2)
    )


def _assess(
    contact: local.Contact,
    against: Float[np.ndarray, "point i j"],
    m: int,
    size: int,
    kinks: tuple[str, ...],
    dtype: Any,
    solved: np.ndarray,
) -> tuple[local.LocalTensors, Int[np.ndarray, "time point"]]:
    """The tensors, and where they may be used."""
    factor = triangular.unpack(contact.factor, m)
    status = classify(factor, relative_stretches(factor, against), against, dtype)
    finite = np.isfinite(contact.tangential).all((-1, -2)) & np.isfinite(contact.normal).all(-1) & solved
    status = np.where(finite, status, NON_FINITE).astype(np.int8)
    if size < m:
        status = np.where(status == NON_FINITE, status, TOO_FEW_DIMENSIONS).astype(np.int8)
    tensors = local.local_tensors(contact, m, status == OK, dtype)
    if kinks:
        status = np.where(status == OK, PIECEWISE, status).astype(np.int8)
    return tensors, status
