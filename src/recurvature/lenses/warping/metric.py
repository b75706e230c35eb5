r"""The representational metric: how far the state moves when the input moves, over the manifold and over time."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_choice
from recurvature._precision import float_dtype
from recurvature._progress import Report, silent
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping import triangular
from recurvature.lenses.warping.field import (
    Course,
    Grid,
    Initial,
    Space,
    check_network,
    observed_tangents,
    points_of,
    stream,
)
from recurvature.lenses.warping.reference import Reference, reference_factor, reference_name
from recurvature.lenses.warping.status import NON_FINITE, classify
from recurvature.systems.base import AbstractMap, Network
from recurvature.systems.inputs import AbstractInputManifold, chart_fields
from recurvature.systems.simulate import unaligned_jumps
from recurvature.systems.tangent import Frame, gram_factor

WARPING = Citation(
    "pellegrino2025warping",
    "Pellegrino & Chadwick (2025). RNNs perform task computations by dynamically warping neural representations. "
    "NeurIPS 2025.",
    "https://arxiv.org/abs/2512.04310",
)


class AbstractMetric(eqx.Module):
    r"""What every metric over a manifold and over time holds, whether it comes from a network or from a recording."""

    time: eqx.AbstractVar[Float[Values, " time"]]
    theta: eqx.AbstractVar[Float[Values, "point m"]]
    metric: eqx.AbstractVar[Float[Values, "time point i j"]]
    stretches: eqx.AbstractVar[Float[Values, "time point k"]]
    log_volume: eqx.AbstractVar[Float[Values, "time point"]]
    status: eqx.AbstractVar[Int[Values, "time point"]]
    coordinates: eqx.AbstractVar[tuple[str, ...]]
    units: eqx.AbstractVar[tuple[str, ...]]
    periodic: eqx.AbstractVar[tuple[bool, ...]]
    grid: eqx.AbstractVar[tuple[int, ...]]
    space: eqx.AbstractVar[str]
    inner: eqx.AbstractVar[str]
    reference: eqx.AbstractVar[str]
    dtype: eqx.AbstractVar[str]
    method: eqx.AbstractVar[str]

    @property
    def anisotropy(self) -> Float[np.ndarray, "time point"]:
        r"""Largest over smallest stretch, $s_1/s_m$ (infinite where the smallest is 0)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.stretches)[..., 0] / np.asarray(self.stretches)[..., -1]


class Metric(AbstractMetric, AbstractResult):
    r"""The metric $G_{ij}(t,\theta) = \partial_i x\cdot\partial_j x$ pulled back onto an input manifold.

    `stretches` are the generalised stretches against the reference metric, the largest first: square roots of the
    eigenvalues of $Gw = \lambda g^0 w$. `log_volume` is the logarithm of their product. `status` says where a number
    may be used (`warping.STATUS`); stretches are NaN where the reference is singular.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    theta: Float[Values, "point m"]
    metric: Float[Values, "time point i j"] = eqx.field(metadata={"units": "space²/(coordinate²)"})
    stretches: Float[Values, "time point k"]
    log_volume: Float[Values, "time point"]
    status: Int[Values, "time point"]
    coordinates: tuple[str, ...]
    units: tuple[str, ...]
    periodic: tuple[bool, ...]
    grid: tuple[int, ...]
    """Points along each coordinate, the last running fastest; empty when the points form no grid."""
    space: str
    inner: str
    """The ambient inner product: `euclidean`, `per_unit`, or `given`."""
    reference: str
    dtype: str
    method: str
    unaligned_jumps: tuple[float, ...]
    """Declared jumps of the input that fall between the steps of a map."""


class FactorEmitter(eqx.Module):
    """Emits the Gram factor of the tangents in a space, under an ambient inner product."""

    space: Space = eqx.field(static=True)
    ambient: Float[Array, "k r"] | None

    def __call__(self, network: Network, frame: Frame) -> Float[Array, "b entry"]:
        """The packed upper triangular factor, one row for each point."""
        vectors = observed_tangents(network, frame, self.space)
        return gram_factor(vectors if self.ambient is None else vectors @ self.ambient.T)


def metric(
    network: Network,
    manifold: AbstractInputManifold,
    *,
    points: int | tuple[int, ...] | Float[Any, "point m"] = 11,
    duration: float,
    space: Space = "state",
    inner: str | Float[Any, "r r"] = "euclidean",
    reference: Reference = "inputs",
    samples: int = 50,
    initial: Initial | None = None,
    block: int | None = None,
    report: Report = silent,
) -> Metric:
    r"""The metric that a network pulls back onto an input manifold, at every step (arXiv 2512.04310, Theorem 3.3).

    Derivatives are carried forward with the state (docs eq. W.2), never differenced. Maps are followed step by step;
    flows are solved with steps onto the declared jumps and sampled `samples` times.

    **Arguments**

    - `points`: a grid (a count for each coordinate), or rows of coordinates (point, m).
    - `duration`: how long the input lasts, in the unit of `tau`.
    - `space`: `state`, `rates` or `readout`: which vector moves.
    - `inner`: the ambient inner product: `euclidean`, `per_unit` (divided by the number of units), or a symmetric
      positive semi-definite matrix (r, r), for instance an inverse noise covariance.
    - `reference`: what stretches are measured against; see `Reference`.
    - `initial`: the state at time 0 as a function of the coordinates, if it is not the network's `x0`.
    - `block`: points at work at once.

    Raises `InputError` on arguments that do not fit; singular metrics are masked in `status`, never regularised.
    """
    check_network(network, manifold, space)
    grid = points_of(manifold, points)
    course = Course(duration, samples, block, initial)
    factors = gram_factors(network, manifold, grid, space=space, inner=inner, course=course, report=report)
    against = reference_factor(reference, network, manifold, grid.theta, factors)
    stretches = relative_stretches(factors.factor, against)
    status = classify(factors.factor, stretches, against, float_dtype(network))
    status[:, ~factors.solved] = NON_FINITE
    with np.errstate(divide="ignore"):
        log_volume = np.log(stretches).sum(-1)
    dt = network.system.dt if isinstance(network.system, AbstractMap) else None
    return Metric(
        time=factors.time,
        theta=grid.theta,
        metric=triangular.gram(factors.factor),
        stretches=stretches,
        log_volume=log_volume,
        status=status,
        **chart_fields(grid.coordinates),
        grid=grid.shape,
        space=space,
        inner=inner if isinstance(inner, str) else "given",
        reference=reference_name(reference),
        dtype=str(float_dtype(network)),
        method="forward tangents, " + (f"steps of {dt:g}" if dt else "Tsit5, rtol 1e-8"),
        unaligned_jumps=() if dt is None else unaligned_jumps(manifold, dt),
    )


class Factors(eqx.Module):
    r"""Gram factors over a manifold: the upper triangular $R$ with $G = R^\top R$."""

    time: Float[np.ndarray, " time"]
    factor: Float[np.ndarray, "time point i j"]
    solved: Any


def gram_factors(
    network: Network,
    manifold: AbstractInputManifold,
    grid: Grid,
    *,
    space: Space,
    inner: str | Float[Any, "r r"],
    course: Course,
    report: Report,
) -> Factors:
    """The Gram factors of the tangents at every time and point."""
    size = vector_size(network, space)
    emitter = FactorEmitter(space, ambient_factor(inner, size, float_dtype(network)))
    scale = size**-0.5 if isinstance(inner, str) and inner == "per_unit" else 1.0
    time, packed, solved = stream(
        network, manifold, grid.theta, emitter, course, report=report, task=f"metric of {space}"
    )
    return Factors(time, triangular.unpack(packed, manifold.dimension) * packed.dtype.type(scale), solved)


def vector_size(network: Network, space: Space) -> int:
    """How many numbers the vector has that moves."""
    if space == "readout":
        return network.readout.output_size
    return network.system.state_size if space == "state" else network.readout.rate_size


def ambient_factor(inner: str | Float[Any, "r r"], size: int, dtype: Any) -> Float[Array, "k r"] | None:
    r"""A matrix A with $A^\top A$ = the inner product; None for the Euclidean one, scaled or not."""
    if isinstance(inner, str):
        check_choice("inner", inner, ("euclidean", "per_unit"))
        return None
    matrix = np.asarray(inner, np.float64)
    if matrix.shape != (size, size) or not np.allclose(
        matrix, matrix.T, rtol=0, atol=1e-10 * np.abs(matrix).max(initial=0)
    ):
        raise InputError(f"`inner` must be a symmetric matrix of shape ({size}, {size}); got shape {matrix.shape}.")
    values, vectors = np.linalg.eigh(matrix)
    # rounding of an eigenvalue solver: n eps times the largest eigenvalue
    if values[0] < -size * np.finfo(float).eps * values[-1]:
        raise InputError(f"`inner` must be positive semi-definite; its smallest eigenvalue is {values[0]:.3g}.")
    return jnp.asarray((np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T), dtype)


def relative_stretches(
    factor: Float[np.ndarray, "time point i j"], against: Float[np.ndarray, "*shape i j"]
) -> Float[np.ndarray, "time point k"]:
    r"""Singular values of $R\,R_0^{-1}$, the largest first: from the factors, so that no digits are squared away."""
    usable = np.isfinite(against).all((-1, -2)) & (np.diagonal(against, axis1=-2, axis2=-1) != 0).all(-1)
    safe = np.where(usable[..., None, None], against, np.eye(against.shape[-1]))
    finite = np.isfinite(factor).all((-1, -2))
    relative = triangular.product(np.where(finite[..., None, None], factor, 0), np.triu(np.linalg.inv(safe)))
    return np.where((finite & usable)[..., None], triangular.singular_values(relative), np.nan)
