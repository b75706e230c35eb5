r"""Fisher memory is warping too: past inputs as coordinates, the inverse covariance of the noise as inner product."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_not_negative, check_shape
from recurvature._precision import require_float64
from recurvature._result import AbstractResult, Citation, Values
from recurvature.identities.agreement import LIMIT, LOOSEST, SINGULAR, difference, verdict
from recurvature.identities.past import checked_course, state_before
from recurvature.lenses.superposition import directions
from recurvature.lenses.superposition.stationary import JAEGER, check_stable
from recurvature.lenses.warping import metric
from recurvature.lenses.warping.metric import WARPING
from recurvature.systems.base import AbstractMap, Network
from recurvature.systems.connectivity import Dense
from recurvature.systems.linear import LinearMap
from recurvature.systems.past import PastInputs
from recurvature.systems.readout import LinearReadout

GANGULI = Citation(
    "ganguli2008memory",
    "Ganguli, Huh & Sompolinsky (2008). Memory traces in dynamical systems. PNAS 105, 18970-18975.",
    "https://doi.org/10.1073/pnas.0804451105",
)


class FisherMemory(AbstractResult):
    r"""What a noisy state tells of every past input: the Fisher memory matrix (docs eq. I.14).

    `matrix` is $\mathcal J_{\alpha\beta} = w_\alpha^\top C^{-1}w_\beta$ of feature directions and the covariance $C$
    that noise gives the state, ages first, the youngest in front; `metric` is the metric of the manifold of past
    inputs under the inner product $C^{-1}$, by the warping lens. `curve` is the diagonal, the Fisher memory curve.
    `recall` is the share of a past input's variance that a linear readout recovers from the noisy state when inputs
    are white with unit variance; it is at most $\mathcal J/(1+\mathcal J)$ (docs eq. I.18). Along a trajectory inputs
    older than those listed are taken as known. `total` sums the curve over all ages (NaN along a trajectory), `bound`
    is the most that it can be (docs eq. I.15).
    """

    citations: ClassVar[tuple[Citation, ...]] = (GANGULI, WARPING, JAEGER)

    age: Float[Values, " age"] = eqx.field(metadata={"units": "steps"})
    curve: Float[Values, "age d"]
    recall: Float[Values, "age d"]
    matrix: Float[Values, "direction other"]
    metric: Float[Values, "direction other"]
    covariance: Float[Values, "i j"]
    """Of the state, by the noise alone."""
    total: float
    bound: float
    error: float
    """Of `metric` against `matrix`."""
    recall_error: float
    r"""Of $\mathcal J(1+\mathcal J)^{-1}$ against `recall`; NaN where older inputs take part in the recall."""
    tolerance: float
    status: int
    """`identities.STATUS`."""


def fisher_memory(
    recurrent: Float[Any, "n n"],
    inputs: Float[Any, "n d"],
    *,
    noise: float | Float[Any, "n n"] = 1.0,
    ages: int = 10,
) -> FisherMemory:
    r"""The Fisher memory of $x_{k+1} = Wx_k + Bu_k + \text{noise}$ at rest (Ganguli et al. 2008; docs eq. I.14).

    `noise` is the variance of every unit's own noise in a step, or a covariance (n, n). $C$ is the stationary one,
    $C = WCW^\top + Q$. Raises `InputError` unless the spectral radius is below 1, and `ValueError` unless in float64.
    """
    require_float64(recurrent=recurrent, inputs=inputs)
    check_count(ages=ages)
    weights, drive = np.asarray(recurrent), np.asarray(inputs)
    check_shape("recurrent", weights, (len(weights), len(weights)))
    check_shape("inputs", drive, (len(weights), None))
    check_stable(jnp.asarray(weights))
    q = noise_covariance(noise, len(weights))
    covariance = _stationary(weights, q)
    w = np.asarray(directions(jnp.asarray(weights), jnp.asarray(drive), ages))
    signal = _stationary(weights, drive @ drive.T)
    system = LinearMap(Dense(jnp.asarray(weights)), jnp.asarray(drive))
    start = jnp.zeros(len(weights))
    network = Network(system, LinearReadout(jnp.zeros((1, len(weights)))), start)
    silence = jnp.zeros((ages, drive.shape[1]))
    factor, _ = _factor(covariance)
    total, bound = np.nan, np.nan
    if factor is not None:
        total = float(np.trace(scipy.linalg.cho_solve((factor, True), signal)))
        bound = total_bound(drive, q)
    return _memory(network, silence, ages, w, covariance, signal, total, bound, exact=False)


def local_fisher_memory(
    network: Network, inputs: Float[Any, "time d"], *, noise: float | Float[Any, "n n"] = 1.0, ages: int = 4
) -> FisherMemory:
    r"""The Fisher memory of any map after a course of inputs, for small noise from its start on (docs eq. I.19).

    Jacobians along the noise-free trajectory carry the directions and the covariance, $C_{t+1} = J_tC_tJ_t^\top + Q$;
    of a linear map this is its memory after finitely many steps. Raises `InputError` on flows (wrap one in `Euler`),
    and `ValueError` unless in float64.
    """
    course = checked_course(network, inputs, ages)
    if not isinstance(network.system, AbstractMap):
        raise InputError("`network` is a flow: noise in steps needs a map. Wrap it as Euler(flow, dt).")
    q = noise_covariance(noise, network.system.state_size)
    covariance, w = (np.asarray(part) for part in _along(network, course, jnp.asarray(q), ages))
    columns = np.moveaxis(w, 1, 0).reshape(len(q), -1)
    return _memory(network, course, ages, w, covariance, columns @ columns.T, np.nan, np.nan, exact=True)


def noise_covariance(noise: float | Float[Any, "n n"], size: int) -> Float[np.ndarray, "n n"]:
    """The covariance of one step's noise. Raises unless it is a variance, or symmetric and positive semi-definite."""
    if np.ndim(noise) == 0:
        check_not_negative(noise=float(noise))
        return float(noise) * np.eye(size)
    matrix = np.asarray(noise, float)
    check_shape("noise", matrix, (size, size))
    slack = size * np.finfo(float).eps * np.abs(matrix).max(initial=0)
    if not np.isfinite(matrix).all() or np.abs(matrix - matrix.T).max() > slack:
        raise InputError("`noise` must be a variance or a finite symmetric covariance matrix.")
    if np.linalg.eigvalsh(matrix)[0] < -slack:
        raise InputError("`noise` must be positive semi-definite, as covariances are.")
    return matrix


def total_bound(drive: Float[np.ndarray, "n d"], noise: Float[np.ndarray, "n n"]) -> float:
    r"""The most that the memory of all ages can be: $N\lambda_\max(B^\top Q^{-1}B)$ (docs eq. I.15)."""
    factor, _ = _factor(noise)
    if factor is None:
        return float("nan")
    whitened = scipy.linalg.solve_triangular(factor, drive, lower=True)
    return len(noise) * float(np.linalg.norm(whitened, 2) ** 2)


def _memory(
    network: Network,
    course: Float[Array, "time d"],
    ages: int,
    w: Float[np.ndarray, "age n d"],
    covariance: Float[np.ndarray, "n n"],
    signal: Float[np.ndarray, "n n"],
    total: float,
    bound: float,
    *,
    exact: bool,
) -> FisherMemory:
    """Both routes to the Fisher matrix, and the recall that goes with it."""
    shape, columns = (ages, w.shape[2]), np.moveaxis(w, 1, 0).reshape(w.shape[1], -1)
    factor, condition = _factor(covariance)
    nothing = np.full((columns.shape[1],) * 2, np.nan)
    matrix = warped = recall = nothing
    error = recall_error = np.nan
    if factor is not None:
        whitened = scipy.linalg.solve_triangular(factor, columns, lower=True)
        matrix = whitened.T @ whitened
        warped = _warped(network, course, ages, covariance)
        recall = columns.T @ np.linalg.solve(signal + covariance, columns)
        error = difference(matrix, warped)
        identity = np.eye(len(matrix))
        recall_error = difference(np.linalg.solve(identity + matrix, matrix), recall) if exact else np.nan
    worst = float(np.max([error, recall_error])) if exact else error
    # an inverse is known to the condition of its matrix times the rounding of its entries
    tolerance = float(np.clip(100 * np.finfo(float).eps * condition, LIMIT, LOOSEST))
    return FisherMemory(
        age=np.arange(ages, dtype=float),
        curve=np.diag(matrix).reshape(shape),
        recall=np.diag(recall).reshape(shape),
        matrix=matrix,
        metric=warped,
        covariance=covariance,
        total=total,
        bound=bound,
        error=error,
        recall_error=recall_error,
        tolerance=tolerance,
        status=SINGULAR if factor is None else verdict(worst, tolerance),
    )


def _warped(
    network: Network, course: Float[Array, "time d"], ages: int, covariance: Float[np.ndarray, "n n"]
) -> Float[np.ndarray, "direction other"]:
    """The metric of past inputs under the inverse covariance, at the end of the course, by the warping lens."""
    assert isinstance(network.system, AbstractMap)
    before = state_before(network, course, ages, network.system.dt)
    manifold = PastInputs(course[-ages:], ages, network.system.dt)
    inverse = np.linalg.inv(covariance)
    found = metric(
        before,
        manifold,
        points=np.zeros((1, manifold.dimension)),
        duration=manifold.duration,
        inner=(inverse + inverse.T) / 2,
        reference="coordinates",
    )
    return np.asarray(found.metric)[-1, 0]


def _stationary(weights: Float[np.ndarray, "n n"], drive: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """The stationary covariance under noise of covariance `drive` in every step."""
    found = scipy.linalg.solve_discrete_lyapunov(weights, drive)
    return (found + found.T) / 2


def _factor(covariance: Float[np.ndarray, "n n"]) -> tuple[Float[np.ndarray, "n n"] | None, float]:
    """The lower Cholesky factor and the condition; None and 1 where the matrix is singular to rounding."""
    values = np.linalg.eigvalsh(covariance) if np.isfinite(covariance).all() else np.zeros(1)
    if not values[0] > len(covariance) * np.finfo(float).eps * values[-1]:
        return None, 1.0
    return np.linalg.cholesky(covariance), float(values[-1] / values[0])


@eqx.filter_jit
def _along(
    network: Network, course: Float[Array, "time d"], noise: Float[Array, "n n"], ages: int
) -> tuple[Float[Array, "n n"], Float[Array, "age n d"]]:
    """The covariance of the state after the course, and its feature directions, through Jacobians of the steps."""
    system = network.system
    assert isinstance(system, AbstractMap)
    n, d = network.x0.shape[0], course.shape[1]

    def step(carry: tuple[Array, Array, Array], u: Array) -> tuple[tuple[Array, Array, Array], None]:
        x, covariance, w = carry
        jacobian, entry = jax.jacfwd(system.step, argnums=(0, 1))(x, u)
        older = jnp.einsum("ij,sjd->sid", jacobian, w[:-1])
        spread = jacobian @ covariance @ jacobian.T + noise
        return (system.step(x, u), (spread + spread.T) / 2, jnp.concatenate([entry[None], older])), None

    start = network.x0, jnp.zeros((n, n), course.dtype), jnp.zeros((ages, n, d), course.dtype)
    (_, covariance, w), _ = jax.lax.scan(step, start, course)
    return covariance, w
