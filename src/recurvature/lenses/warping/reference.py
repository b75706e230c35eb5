r"""Reference metrics: what stretches are measured against, as upper factors $R_0$ with $g^0 = R_0^\top R_0$."""

from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError
from recurvature._precision import cast, float_dtype
from recurvature.lenses.warping import triangular
from recurvature.systems.base import AbstractMap, Network
from recurvature.systems.inputs import AbstractInputManifold
from recurvature.systems.simulate import step_times
from recurvature.systems.tangent import gram, input_rows

if TYPE_CHECKING:
    from recurvature.lenses.warping.metric import AbstractMetric, Factors

    Reference = str | float | AbstractMetric | Float[Any, "*shape i j"]
else:
    Reference = Any


def reference_name(reference: Reference) -> str:
    """How a reference is called in a result."""
    if isinstance(reference, str):
        return reference
    if isinstance(reference, int | float):
        return f"metric at time {float(reference):g}"
    return "given metric" if isinstance(reference, np.ndarray | jax.Array) else "another metric"


def reference_factor(
    reference: Reference,
    network: Network,
    manifold: AbstractInputManifold,
    theta: Float[np.ndarray, "point m"],
    factors: "Factors",
) -> Float[np.ndarray, "*shape i j"]:
    r"""The factor of a reference metric, for all times (point, i, j) or for each (time, point, i, j).

    - `"inputs"`: the mean over time of the inputs' own metric, $\frac1T\int\partial_iu\cdot\partial_ju\,dt$;
    - `"coordinates"`: the identity, so that stretches are per unit of coordinate;
    - a number: the metric of the network itself at that time;
    - an array (…, point, i, j), or another metric's result on the same points: a given metric.
    """
    count, m = theta.shape
    if isinstance(reference, str):
        if reference == "coordinates":
            return np.broadcast_to(np.eye(m), (count, m, m))
        if reference == "inputs":
            return upper_factors(input_metric(network, manifold, theta, factors.time), float_dtype(network))
        raise InputError(f"`reference` must be 'inputs', 'coordinates', a time or a metric; got {reference!r}.")
    if isinstance(reference, int | float):
        nearest = int(np.abs(factors.time - reference).argmin())
        # half the finest spacing: nearer than that is the same sample
        if abs(factors.time[nearest] - reference) > 0.51 * factors.time[0]:
            raise InputError(f"`reference` = {reference} is outside the times {factors.time[0]}…{factors.time[-1]}.")
        return factors.factor[nearest]
    given = np.asarray(reference if isinstance(reference, np.ndarray | jax.Array) else reference.metric, np.float64)
    if given.shape[-3:] != (count, m, m) or given.shape[:-3] not in ((), factors.time.shape):
        raise InputError(
            f"`reference` must have shape ({count}, {m}, {m}) or ({len(factors.time)}, {count}, {m}, {m}); "
            f"got {given.shape}."
        )
    return upper_factors(given, float_dtype(network))


def upper_factors(metrics: Float[np.ndarray, "*shape point i j"], dtype: Any) -> Float[np.ndarray, "*shape point i j"]:
    """Upper factors; zero where a metric is singular, NaN where it is not positive semi-definite.

    Singular is what cannot be told from it in the number type in which the metric was computed, whatever the units of
    the coordinates: each is measured against its own largest entry over the points.
    """
    m = metrics.shape[-1]
    finite = np.isfinite(metrics).all((-1, -2), keepdims=True)
    metrics = np.where(finite, metrics, -np.eye(m))
    largest = np.sqrt(np.diagonal(metrics, axis1=-2, axis2=-1).max(-2, keepdims=True, initial=0))
    scale = np.where(largest > 0, largest, 1)
    values = np.linalg.eigvalsh(metrics)
    floor = m * np.finfo(np.float64).eps * np.abs(values).max(-1, keepdims=True)
    scaled = np.linalg.eigvalsh(metrics / (scale[..., :, None] * scale[..., None, :]))
    resolved = (scaled > m * np.finfo(dtype).eps * scaled.max(-1, keepdims=True)).all(-1)
    good = ((values > floor).all(-1) & resolved)[..., None, None]
    bad = np.where((values >= -floor).all(-1), 0.0, np.nan)[..., None, None]
    return np.where(good, np.swapaxes(np.linalg.cholesky(np.where(good, metrics, np.eye(m))), -1, -2), bad)


def input_metric(
    network: Network,
    manifold: AbstractInputManifold,
    theta: Float[np.ndarray, "point m"],
    time: Float[np.ndarray, " time"],
) -> Float[np.ndarray, "point i j"]:
    """The inputs' own metric, averaged over the instants at which the network reads them."""
    system, dtype = network.system, float_dtype(network)
    if isinstance(system, AbstractMap):
        instants = step_times(manifold, system.dt, len(time))
    else:
        # midpoints of the samples: no instant falls on a jump that is itself a sample
        instants = np.concatenate([[0.0], time[:-1]]) + np.diff(time, prepend=0.0) / 2
    packed = _mean_input_gram(cast(manifold, dtype), jnp.asarray(theta, dtype), jnp.asarray(instants, dtype))
    return triangular.symmetric(triangular.unpack(np.asarray(packed, np.float64), theta.shape[1]))


@eqx.filter_jit
def _mean_input_gram(
    manifold: AbstractInputManifold, theta: Float[Array, "point m"], times: Float[Array, " time"]
) -> Float[Array, "point entry"]:
    def body(total: Array, time: Array) -> tuple[Array, None]:
        return total + gram(input_rows(manifold, time, theta, 1)[1:]), None

    m = theta.shape[1]
    zero = jnp.zeros((theta.shape[0], m * (m + 1) // 2), theta.dtype)
    return jax.lax.scan(body, zero, times)[0] / times.shape[0]
