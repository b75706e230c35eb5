"""The dimension theorem, checked: inputs on an m-dimensional manifold keep the states on m + 1 dimensions at most."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._precision import float_dtype
from recurvature._progress import Report, silent
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping import triangular
from recurvature.lenses.warping.field import Course, check_network, points_of, stream
from recurvature.lenses.warping.metric import WARPING
from recurvature.lenses.warping.status import COLLAPSED, NO_INPUT_YET, NON_FINITE, OK, RANK_DEFICIENT, unmoved
from recurvature.systems.base import Network
from recurvature.systems.inputs import AbstractInputManifold
from recurvature.systems.tangent import Frame, gram_factor, tangents

TOLERANCE = {"float64": 1e-8, "float32": 1e-4}
"""Relative size below which a singular value counts as zero."""


class DimensionCheck(AbstractResult):
    r"""Singular values of $[\partial_\theta x, \dot x]$ and their numerical rank (arXiv 2512.04310, Theorem 3.1).

    The rank is at most m + 1 by construction; where it is less, `status` says why (where nothing is finite it is 0). It
    speaks of the neighbourhood of a point only: a manifold that crosses itself passes.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    theta: Float[Values, "point m"]
    singular_values: Float[Values, "time point k"]
    rank: Int[Values, "time point"]
    smallest_over_largest: Float[Values, "time point"]
    status: Int[Values, "time point"]
    tolerance: float
    bound: int
    """m + 1."""
    grid: tuple[int, ...]


class ExtendedEmitter(eqx.Module):
    """Emits the factor of the tangents extended by the velocity: the metric on (θ, t), time last."""

    def __call__(self, network: Network, frame: Frame) -> Float[Array, "b entry"]:
        """The packed upper triangular factor of size m + 1."""
        m = frame.drive.shape[0] - 1
        assert frame.rate is not None
        return gram_factor(jnp.concatenate([tangents(frame.rows, m), frame.rate[:1]]))


def extended_factors(
    network: Network,
    manifold: AbstractInputManifold,
    theta: Float[np.ndarray, "point m"],
    course: Course,
    report: Report,
) -> tuple[Float[np.ndarray, " time"], Float[np.ndarray, "time point i j"]]:
    """Times, and factors of the metric extended by time (docs eq. W.6)."""
    emitter, task = ExtendedEmitter(), "extended metric"
    field = stream(network, manifold, theta, emitter, course, report=report, task=task, rates=True)
    return field.time, triangular.unpack(field.values, theta.shape[1] + 1)


class ExtendedMetric(AbstractResult):
    r"""The metric on $(\theta, t)$, time last: $\hat G = \hat V^\top\hat V$ with $\hat V = [V, \dot x]$.

    `metric[..., m, m]` is the squared speed, `metric[..., i, m]` the tilt of the flow against the code. At an input
    jump the velocity is the one after it.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    theta: Float[Values, "point m"]
    metric: Float[Values, "time point i j"]
    coordinates: tuple[str, ...]
    grid: tuple[int, ...]


def extended_metric(
    network: Network,
    manifold: AbstractInputManifold,
    *,
    points: int | tuple[int, ...] | Float[Any, "point m"] = 11,
    duration: float,
    samples: int = 50,
    block: int | None = None,
    report: Report = silent,
) -> ExtendedMetric:
    """The state metric extended by time (arguments as `metric`)."""
    check_network(network, manifold)
    grid = points_of(manifold, points)
    time, factor = extended_factors(network, manifold, grid.theta, Course(duration, samples, block), report)
    return ExtendedMetric(time, grid.theta, triangular.gram(factor), (*grid.names, "time"), grid.shape)


def dimension_check(
    network: Network,
    manifold: AbstractInputManifold,
    *,
    points: int | tuple[int, ...] | Float[Any, "point m"] = 11,
    duration: float,
    samples: int = 50,
    tolerance: float | None = None,
    block: int | None = None,
    report: Report = silent,
) -> DimensionCheck:
    r"""Map the rank of $[\partial_\theta x, \dot x]$ over points and time (arXiv 2512.04310, Theorem 3.1).

    `tolerance` is relative to the largest singular value: 1e-8, in float32 1e-4. Other arguments as `metric`.
    """
    check_network(network, manifold)
    grid = points_of(manifold, points)
    tolerance = TOLERANCE[str(float_dtype(network))] if tolerance is None else tolerance
    time, factor = extended_factors(network, manifold, grid.theta, Course(duration, samples, block), report)
    finite = np.isfinite(factor).all((-1, -2))
    values = triangular.singular_values(np.where(finite[..., None, None], factor, 0))
    largest = values.max(-1)
    rank = (values > tolerance * largest[..., None]).sum(-1)
    full = values.shape[-1]
    was_full = np.maximum.accumulate(rank == full, axis=0)
    missing = np.where(unmoved(factor)[..., :-1].any(-1), NO_INPUT_YET, RANK_DEFICIENT)
    status = np.where(rank == full, OK, np.where(was_full, COLLAPSED, missing))
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient = np.where(largest > 0, values[..., -1] / largest, 0.0)
    return DimensionCheck(
        time=time,
        theta=grid.theta,
        singular_values=np.where(finite[..., None], values, np.nan),
        rank=rank,
        smallest_over_largest=np.where(finite, quotient, np.nan),
        status=np.where(finite, status, NON_FINITE).astype(np.int8),
        tolerance=float(tolerance),
        bound=full,
        grid=grid.shape,
    )
