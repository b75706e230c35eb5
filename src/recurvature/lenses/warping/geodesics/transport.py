r"""Vectors carried along a curve without turning, and how far a loop turns them (docs eq. W.34–W.36)."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from recurvature._errors import InputError, check_count, check_positive
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping.geodesics.curve import curve_status
from recurvature.lenses.warping.geodesics.sampling import PointLike, number_type, periods, point_rows
from recurvature.lenses.warping.geodesics.shooting import DRIFT_LIMIT, default_tolerance, integrate
from recurvature.lenses.warping.geodesics.spray import Space, Vector, bare, christoffel, factors
from recurvature.lenses.warping.geodesics.status import NOT_CONVERGED, OK
from recurvature.lenses.warping.metric import WARPING
from recurvature.systems.inputs import chart_fields

PIECE_STEPS = 128
"""Most steps of the solver between two samples."""

Curve = Callable[[Float[Array, ""]], Vector] | PointLike


class Transport(AbstractResult):
    """Vectors carried parallel to themselves along a curve; their lengths and angles do not change on the way."""

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    theta: Float[Values, "sample m"]
    vector: Float[Values, "vector sample m"] = eqx.field(metadata={"long_name": "components in the coordinates"})
    drift: Float[Values, " vector"] = eqx.field(metadata={"long_name": "largest relative change of length"})
    status: int
    """Reason code, `warping.GEODESIC_STATUS`."""
    coordinates: tuple[str, ...]
    units: tuple[str, ...]
    periodic: tuple[bool, ...]
    method: str
    dtype: str


class Holonomy(AbstractResult):
    r"""What a loop does to the vectors carried around it: a rotation of the tangent space.

    `matrix` is written in the orthonormal frame at the start whose first axis points along the first coordinate. On a
    surface `angle` is the rotation in radians, counted along the way against that frame; around a region without
    singular points of the chart it is $\int K\,dA$, positive for a loop that turns from the first coordinate to the
    second. It is NaN in other dimensions.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    theta: Float[Values, "sample m"]
    matrix: Float[Values, "i j"]
    angle: Float[Values, ""] = eqx.field(metadata={"units": "rad"})
    drift: Float[Values, ""] = eqx.field(metadata={"long_name": "departure of the matrix from a rotation"})
    status: int
    """Reason code, `warping.GEODESIC_STATUS`."""
    coordinates: tuple[str, ...]
    units: tuple[str, ...]
    periodic: tuple[bool, ...]
    method: str
    dtype: str


def transport(
    space: Space,
    curve: Curve,
    vector: PointLike,
    *,
    samples: int = 33,
    tolerance: float | None = None,
) -> Transport:
    r"""Carry vectors along a curve: $\dot w = -\Gamma(\dot\theta, w)$ (docs eq. W.34).

    **Arguments**

    - `space`: an immersion, or a `MetricField`.
    - `curve`: a function of one number from 0 to 1 with a point (m,) as its value; or rows of coordinates (vertex, m),
      joined by straight lines in the coordinates. Around a periodic coordinate, let them run on beyond its range.
    - `vector`: one (m,) or many (vector, m), in components of the coordinates, at the start of the curve.
    - `samples`: points kept, ends included; of rows, to each line.
    - `tolerance`: of the solver; by default as `geodesic`.

    Raises `InputError` on arguments that do not fit; a singular metric on the way is marked in `status`.
    """
    vectors = point_rows("vector", vector, space.dimension)
    carried = _carry(space, curve, samples, tolerance, (vector,))
    moved = np.einsum("sij,vj->vsi", carried.along, vectors.astype(carried.along.dtype))
    with np.errstate(invalid="ignore", divide="ignore"):
        length = np.linalg.norm(np.einsum("sij,vsj->vsi", carried.upper, moved), axis=-1)
        drift = np.where(length[:, 0] > 0, np.abs(length / length[:, :1] - 1).max(-1), 0)
    return Transport(
        theta=carried.theta,
        vector=moved,
        drift=drift,
        status=_with_drift(carried.status, float(drift.max()), drift.dtype),
        **chart_fields(space.coordinates),
        method=carried.method,
        dtype=str(carried.theta.dtype),
    )


def holonomy(space: Space, loop: Curve, *, samples: int = 33, tolerance: float | None = None) -> Holonomy:
    r"""The rotation of vectors carried once around a loop; on a surface its angle is $\int K\,dA$ (W.35, W.36).

    Arguments as `transport`. Rows are closed by a line back to the first, unless the last is a copy of it; a function
    must end where it began, up to whole periods. Raises `InputError` where it does not.
    """
    carried = _carry(space, loop if callable(loop) else _closed(space, loop), samples, tolerance, ())
    gap = _gap(space, carried.theta[-1] - carried.theta[0])
    # the rounding of a function of coordinates
    if not gap <= 1e4 * np.finfo(carried.theta.dtype).eps:
        raise InputError(f"`loop` must end where it began; it ends {gap:.3g} of a range away.")
    first = carried.upper[0]
    back = np.linalg.inv(first) if np.diagonal(first).all() else np.full_like(first, np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        turned = carried.upper @ carried.along @ back
        drift = np.abs(turned[-1].T @ turned[-1] - np.eye(space.dimension)).max()
    angle = np.nan
    if space.dimension == 2:
        angle = np.unwrap(np.arctan2(turned[:, 1, 0], turned[:, 0, 0]))[-1]
    dtype = carried.theta.dtype
    return Holonomy(
        theta=carried.theta,
        matrix=turned[-1],
        angle=np.asarray(angle, dtype),
        drift=np.asarray(drift, dtype),
        status=_with_drift(carried.status, float(drift), dtype),
        **chart_fields(space.coordinates),
        method=carried.method,
        dtype=str(dtype),
    )


class _Carried(eqx.Module):
    """A curve, what carries vectors from its start to each of its samples, and the metric factors there."""

    theta: Float[np.ndarray, "sample m"]
    along: Float[np.ndarray, "sample i j"]
    upper: Float[np.ndarray, "sample i j"]
    status: int
    method: str


def _carry(space: Space, curve: Curve, samples: int, tolerance: float | None, given: tuple[Any, ...]) -> _Carried:
    """Short pieces of the curve are solved side by side, each from the identity, and their matrices multiplied."""
    check_count(samples=samples - 1 if isinstance(samples, int) else samples)
    dtype = np.dtype(number_type(space, *given, *([] if callable(curve) else [curve])))
    tolerance = default_tolerance(space, dtype) if tolerance is None else tolerance
    check_positive(tolerance=tolerance)
    if callable(curve):
        time = np.linspace(0.0, 1.0, samples)
        path: Any = curve
    else:
        rows = point_rows("curve", curve, space.dimension).astype(dtype)
        if len(rows) < 2:
            raise InputError("`curve` needs two rows of coordinates at least.")
        time = np.linspace(0.0, len(rows) - 1, (len(rows) - 1) * (samples - 1) + 1)
        path = Polygon(jnp.asarray(rows))
    ranges = jnp.asarray([c.high - c.low for c in space.coordinates], dtype)
    solution = _pieces(bare(space), path, ranges, jnp.asarray(time, dtype), jnp.asarray(tolerance, dtype))
    theta, pieces, solved = (np.asarray(part) for part in solution)
    along = [np.eye(space.dimension, dtype=dtype)]
    with np.errstate(invalid="ignore", over="ignore"):
        for piece in pieces:
            along.append(piece @ along[-1])
    upper = factors(space, theta)
    status = curve_status(space, theta[None], upper[None], np.array([solved.all()]))
    return _Carried(theta, np.stack(along), upper, int(status[0]), f"Dopri8, tolerance {tolerance:g}")


class Polygon(eqx.Module):
    """Straight lines in the coordinates from row to row, at the whole numbers."""

    rows: Float[Array, "vertex m"]

    def __call__(self, time: Float[Array, ""]) -> Vector:
        """The point at a time."""
        return self.rows[0] + self._passed(time) @ jnp.diff(self.rows, axis=0)

    def _passed(self, time: Float[Array, ""]) -> Float[Array, " line"]:
        """The share of every line that lies behind."""
        return jnp.clip(time - jnp.arange(len(self.rows) - 1, dtype=time.dtype), 0, 1)


@eqx.filter_jit
def _pieces(
    space: Space,
    path: Callable[[Float[Array, ""]], Vector],
    scale: Float[Array, " m"],
    time: Float[Array, " sample"],
    tolerance: Float[Array, ""],
) -> tuple[Float[Array, "sample m"], Float[Array, "piece i j"], Bool[Array, " piece"]]:
    basis = jnp.diag(scale)

    def piece(begin: Float[Array, ""], end: Float[Array, ""]) -> tuple[Array, Array]:
        middle = (begin + end) / 2

        def rate(now: Array, matrix: Float[Array, "i j"], _: Any) -> Float[Array, "i j"]:
            # a polygon has one velocity along a piece, and none at a vertex
            inside = middle if isinstance(path, Polygon) else now
            velocity = jax.jvp(path, (inside,), (jnp.ones_like(inside),))[1]
            turn = jax.vmap(lambda e: christoffel(space, path(now), velocity, e), out_axes=1)(basis)
            return -(turn / scale[:, None]) @ matrix

        whole = jnp.stack([begin, end])
        matrices, solved = integrate(
            rate, jnp.eye(len(scale), dtype=scale.dtype), whole, tolerance, None, max_steps=PIECE_STEPS
        )
        return scale[:, None] * matrices[-1] / scale[None], solved

    matrices, solved = jax.vmap(piece)(time[:-1], time[1:])
    return jax.vmap(path)(time), matrices, solved


def _with_drift(status: int, drift: float, dtype: Any) -> int:
    return NOT_CONVERGED if status == OK and not drift <= DRIFT_LIMIT[str(dtype)] else status


def _gap(space: Space, difference: Float[np.ndarray, " m"]) -> float:
    """How far a difference is from whole periods, in units of the coordinates' ranges."""
    period, ranges = periods(space), np.array([c.high - c.low for c in space.coordinates])
    safe = np.where(period > 0, period, 1)
    return float(np.abs((difference - np.where(period > 0, period * np.round(difference / safe), 0)) / ranges).max())


def _closed(space: Space, loop: PointLike) -> Float[np.ndarray, "vertex m"]:
    rows = point_rows("loop", loop, space.dimension)
    copy = len(rows) > 1 and _gap(space, np.asarray(rows[-1] - rows[0], float)) <= 1e-6
    return rows if copy else np.concatenate([rows, rows[:1]])
