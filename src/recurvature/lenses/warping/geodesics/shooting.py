r"""Geodesics from a start and a velocity: the initial value problem, solved to many digits by diffrax."""

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from recurvature._errors import InputError, check_count, check_positive
from recurvature.lenses.warping.geodesics.curve import Geodesic, ambient_lengths, curve_status
from recurvature.lenses.warping.geodesics.sampling import PointLike, number_type, periods, point_rows
from recurvature.lenses.warping.geodesics.spray import Space, Vector, bare, christoffel, factor, factors
from recurvature.lenses.warping.geodesics.status import NOT_CONVERGED, OK
from recurvature.lenses.warping.immersion import StateAt
from recurvature.systems.base import AbstractFlow
from recurvature.systems.inputs import chart_fields
from recurvature.systems.tangent import RTOL

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
DRIFT_LIMIT = {"float64": 1e-6, "float32": 1e-3}
"""Largest drift of the speed at which a curve counts as a geodesic."""
MAX_STEPS = 4096


def geodesic(
    space: Space,
    start: PointLike,
    velocity: PointLike,
    *,
    length: float | None = None,
    duration: float | None = None,
    samples: int = 65,
    tolerance: float | None = None,
    steps: int | None = None,
) -> Geodesic:
    r"""Geodesics from `start` with initial `velocity` (docs eq. W.26).

    **Arguments**

    - `space`: an immersion, or a `MetricField`.
    - `start`, `velocity`: one (m,) or many (curve, m); one start serves many velocities (a fan, see `fan`).
    - `length`: how far to follow every curve, at unit speed; or `duration`: for how long, at the speed given.
    - `samples`: points kept of each curve, evenly in time, ends included.
    - `tolerance`: of the adaptive solver (Dopri8), relative to the range of each coordinate; by default 1e-12, 1e-5 in
      float32, and that of the network's own solver where it is a flow.
    - `steps`: a fixed number of steps instead, frozen, so that the end is a smooth function of the start.

    The speed is constant on a geodesic; its largest relative change is `drift`. Raises `InputError` on arguments that
    do not fit; curves that run into a singular metric, or out of the chart, are marked in `status`.
    """
    starts, velocities, dtype = _starts(space, start, velocity)
    total = _total(length, duration)
    check_count(samples=samples - 1 if isinstance(samples, int) else samples)
    upper = factors(space, starts)
    speed = np.linalg.norm(np.einsum("cij,cj->ci", upper, velocities), axis=-1)
    if length is not None:
        velocities, speed = velocities / np.where(speed > 0, speed, 1)[:, None], np.where(speed > 0, 1, 0).astype(dtype)
    tolerance = default_tolerance(space, dtype) if tolerance is None else tolerance
    check_positive(tolerance=tolerance)
    if steps is not None:
        check_count(steps=steps)
        steps = -(-steps // (samples - 1)) * (samples - 1)
    time = np.linspace(0.0, 1.0, samples).astype(dtype)
    ranges = [c.high - c.low for c in space.coordinates]
    given = (jnp.asarray(part, dtype) for part in (starts, velocities, total, ranges, time, tolerance))
    theta, along, solved = (np.asarray(part) for part in _shoot(bare(space), *given, steps=steps))
    return _result(
        space, time * dtype.type(total), theta, along, speed * dtype.type(total), solved, _method(steps, tolerance)
    )


def _starts(
    space: Space, start: PointLike, velocity: PointLike
) -> tuple[Float[np.ndarray, "curve m"], Float[np.ndarray, "curve m"], Any]:
    dtype = np.dtype(number_type(space, start, velocity))
    starts = point_rows("start", start, space.dimension).astype(dtype)
    velocities = point_rows("velocity", velocity, space.dimension).astype(dtype)
    count = max(len(starts), len(velocities))
    if {len(starts), len(velocities)} - {1, count}:
        raise InputError(f"`start` and `velocity` must have as many rows; got {len(starts)} and {len(velocities)}.")
    if not (velocities != 0).any(-1).all():
        raise InputError("`velocity` must not be zero.")
    shape = (count, space.dimension)
    return np.broadcast_to(starts, shape), np.broadcast_to(velocities, shape), dtype


def _total(length: float | None, duration: float | None) -> float:
    if (length is None) == (duration is None):
        raise InputError("give either `length` or `duration`.")
    if length is not None:
        check_positive(length=length)
        return float(length)
    assert duration is not None
    check_positive(duration=duration)
    return float(duration)


def default_tolerance(space: Space, dtype: Any) -> float:
    """The tolerance of a solver whose right-hand side has second derivatives of the space."""
    inner = space.function
    if isinstance(inner, StateAt) and isinstance(inner.network.system, AbstractFlow):
        # a state that is smooth to RTOL only has second derivatives with that noise
        return max(10 * RTOL, TOLERANCE[str(dtype)])
    return TOLERANCE[str(dtype)]


def _method(steps: int | None, tolerance: float) -> str:
    return f"Dopri8, tolerance {tolerance:g}" if steps is None else f"Dopri8, {steps} fixed steps"


@eqx.filter_jit
def _shoot(
    space: Space,
    starts: Float[Array, "curve m"],
    velocities: Float[Array, "curve m"],
    total: Float[Array, ""],
    scale: Float[Array, " m"],
    time: Float[Array, " sample"],
    tolerance: Float[Array, ""],
    *,
    steps: int | None,
) -> tuple[Float[Array, "curve sample m"], Float[Array, "curve sample m"], Bool[Array, " curve"]]:
    """Every curve with steps of its own; coordinates in units of their range and time in units of the total."""

    def rate(_: Any, state: tuple[Vector, Vector], __: Any) -> tuple[Vector, Vector]:
        place, along = state
        return along, -christoffel(space, place * scale, along * scale, along * scale) / scale

    def one(start: Vector, velocity: Vector) -> tuple[Array, Array, Array]:
        begin = start / scale, velocity * total / scale
        (place, along), solved = integrate(rate, begin, time, tolerance, steps)
        return place * scale[None], along * (scale / total)[None], solved

    return jax.vmap(one)(starts, velocities)


def integrate(
    rate: Any,
    begin: Any,
    time: Float[Array, " sample"],
    tolerance: Float[Array, ""],
    steps: int | None,
    *,
    max_steps: int = MAX_STEPS,
) -> tuple[Any, Bool[Array, ""]]:
    """Solve from the first to the last of `time`, with steps onto each of them; and whether the solver succeeded."""
    controller: dfx.AbstractStepSizeController = dfx.ConstantStepSize()
    if steps is None:
        # interpolation between steps has fewer digits than the steps themselves
        controller = dfx.ClipStepSizeController(dfx.PIDController(rtol=tolerance, atol=tolerance), step_ts=time)
    solution = dfx.diffeqsolve(
        dfx.ODETerm(rate),
        dfx.Dopri8(),
        t0=time[0],
        t1=time[-1],
        dt0=None if steps is None else (time[-1] - time[0]) / steps,
        y0=begin,
        saveat=dfx.SaveAt(ts=time),
        stepsize_controller=controller,
        max_steps=max_steps if steps is None else steps + 1,
        throw=False,
    )
    return solution.ys, solution.result == dfx.RESULTS.successful


def _result(
    space: Space,
    time: Float[np.ndarray, " sample"],
    theta: Float[np.ndarray, "curve sample m"],
    velocity: Float[np.ndarray, "curve sample m"],
    length: Float[np.ndarray, " curve"],
    solved: Bool[np.ndarray, " curve"],
    method: str,
) -> Geodesic:
    upper = factors(space, theta)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        speed = np.linalg.norm(np.einsum("ctij,ctj->cti", upper, velocity), axis=-1)
        drift = np.abs(speed / speed[:, :1] - 1).max(-1)
    status = curve_status(space, theta, upper, solved)
    status = np.where((status == OK) & ~(drift <= DRIFT_LIMIT[str(theta.dtype)]), NOT_CONVERGED, status)
    polygon, chord = ambient_lengths(space, theta)
    period = periods(space)
    with np.errstate(invalid="ignore"):
        turns = np.where(period > 0, (theta[:, -1] - theta[:, 0]) / np.where(period > 0, period, 1), 0)
    return Geodesic(
        time=time,
        theta=theta,
        velocity=velocity,
        length=length,
        length_error=length * drift,
        polygon=polygon,
        chord=chord,
        drift=drift,
        pair=np.arange(len(theta)),
        winding=np.nan_to_num(np.trunc(turns), posinf=0, neginf=0).astype(int),
        shortest=status == OK,
        status=status.astype(np.int8),
        **chart_fields(space.coordinates),
        problem="initial value",
        method=method,
        dtype=str(theta.dtype),
    )


def fan(space: Space, start: PointLike, count: int) -> Float[np.ndarray, "curve m"]:
    """Unit velocities at a point of a surface in `count` directions, evenly in the angle that its metric measures.

    Raises `InputError` where the space is no surface, or its metric at the point is singular.
    """
    if space.dimension != 2:
        raise InputError(f"a fan needs a surface, two coordinates; this has {space.dimension}.")
    check_count(count=count)
    point = point_rows("start", start, 2).astype(np.dtype(number_type(space, start)))
    upper = np.asarray(factor(space, jnp.asarray(point[0])))
    if not (np.isfinite(upper).all() and np.diagonal(upper).all()):
        raise InputError(f"the metric at `start` = {point[0]} is singular: no directions can be told apart.")
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.linalg.solve(upper, np.stack([np.cos(angle), np.sin(angle)]).astype(upper.dtype)).T
