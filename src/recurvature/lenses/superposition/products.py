r"""How past inputs meet in a state: what a product of two of them leaves there, to second order (docs eq. S.83).

A target such as $x_{t-k}x_{t-l}$ has no feature direction of first order. What a network holds of it are the mixed
second derivatives of its state, from the same tangents of a rollout as the feature directions.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recurvature._errors import check_count, check_kind, check_shape
from recurvature._precision import cast, float_dtype
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.responses import duration, last_rows, past_inputs
from recurvature.systems.base import Network
from recurvature.systems.tangent import pairs
from recurvature.tasks.recall import SUPERPOSITION


class ProductDirections(AbstractResult):
    r"""The response of a state to products of two inputs of its past (docs eq. S.83).

    `direction` is $\partial^2x/\partial u_{t-s,i}\,\partial u_{t-r,j}$, in the mean over the histories it was taken
    about: what $u_{t-s,i}u_{t-r,j}$ adds to the state, and of a square twice that. All are 0 for a linear recurrence.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    age: Float[Values, " age"] = eqx.field(metadata={"units": "steps"})
    direction: Float[Values, "age i other j n"]
    projection: Float[Values, "age i other j o"]
    """The same of the outputs."""
    spread: Float[Values, "age i other j"]
    """Root mean square distance of the directions of single histories from their mean."""
    dt: float
    dtype: str


def product_directions(
    network: Network, *, ages: int = 6, around: Float[Any, "point age d"] | None = None, dt: float | None = None
) -> ProductDirections:
    """The directions of products of any two of the last inputs of any network: map or flow.

    The arguments are those of `feature_directions`: histories `around` which derivatives are taken, the youngest input
    first, by default rest; `dt` for a flow. Costs (ages · d)²/2 tangents a step. A relu has no second derivative.
    """
    check_kind("network", network, Network, "pass a network, as `recurvature.io.load` gives")
    check_count(ages=ages)
    features, dtype = network.system.input_size, float_dtype(network)
    step, m = duration(network, dt), ages * features
    if around is not None:
        check_shape("around", around, (None, ages, features))
    points = jnp.zeros((1, m), dtype) if around is None else jnp.asarray(around, dtype).reshape(-1, m)
    manifold = cast(past_inputs(features, ages, dt=step), dtype)
    states, outputs = (np.asarray(part)[1 + m :] for part in last_rows(network, manifold, points, order=2))
    apart = np.sqrt(((states - states.mean(1, keepdims=True)) ** 2).sum(2).mean(1))
    direction, projection, spread = (_by_pair(part, m) for part in (states.mean(1), outputs.mean(1), apart))
    shape = (ages, features, ages, features)
    return ProductDirections(
        age=np.arange(ages, dtype=float),
        direction=direction.reshape(*shape, -1),
        projection=projection.reshape(*shape, -1),
        spread=spread.reshape(shape),
        dt=step,
        dtype=str(dtype),
    )


def _by_pair(values: Float[np.ndarray, "entry *k"], m: int) -> Float[np.ndarray, "m m *k"]:
    """Both halves of what is kept for i ≤ j."""
    first, second = np.transpose(pairs(m))
    full = np.empty((m, m, *values.shape[1:]), values.dtype)
    full[first, second] = full[second, first] = values
    return full
