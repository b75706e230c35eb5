r"""Feature directions along the trajectories that a network really runs: products of its Jacobians, step after step."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_kind, check_shape
from recurvature._precision import float_dtype
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.geometry import Geometry, geometry_of
from recurvature.systems.base import AbstractMap, Network
from recurvature.tasks.recall import SUPERPOSITION


class TrajectoryDirections(AbstractResult):
    r"""Feature directions at every time of given trials, in summary (docs eq. S.64).

    $W_0^{(t)} = \partial h_t/\partial x_t$ and $W_s^{(t)} = J_tW_{s-1}^{(t-1)}$. `direction` and `projection` are means
    over all times that have enough past and all trials. `spread` is the root mean square distance from the mean, over
    its length: 0 for a linear recurrence. `length` is the root mean square length over trials at every time.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    age: Float[Values, " age"] = eqx.field(metadata={"units": "steps"})
    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    direction: Float[Values, "age n d"]
    projection: Float[Values, "age o d"]
    spread: Float[Values, "age d"]
    projection_spread: Float[Values, "age o d"]
    """Standard deviation of the projections over times and trials."""
    length: Float[Values, "time age d"]
    dtype: str

    def geometry(self, delay: int) -> Geometry:
        """The geometry of the mean directions."""
        return geometry_of(np.asarray(self.projection), np.asarray(self.direction), delay)


def trajectory_directions(
    network: Network, inputs: Float[Any, "trial time d"], *, ages: int = 10
) -> TrajectoryDirections:
    """The feature directions of a map along the trajectories that `inputs` drive it through, from its `x0` on.

    Tangents are pushed from step to step and no Jacobian is formed: `ages` · d products with Jacobians a step. A flow
    has no steps; for one, use `feature_directions` with `around` and `dt`.

    Raises `InputError` on flows, and on fewer steps than ages.
    """
    check_kind("network", network, Network, "pass a network, as `recurvature.io.load` gives")
    check_count(ages=ages)
    if not isinstance(network.system, AbstractMap):
        raise InputError("`network` is a flow, which has no steps: use `feature_directions` with `around` and `dt`.")
    check_shape("inputs", inputs, (None, None, network.system.input_size))
    dtype = float_dtype(network)
    x = jnp.asarray(inputs, dtype)
    if ages > x.shape[1]:
        raise InputError(f"`ages` must be at most the number of steps, {x.shape[1]}; got {ages}.")
    lengths, w, w_apart, a, a_apart = (np.asarray(part) for part in _summaries(network, x, ages))
    late = slice(ages - 1, None)
    mean = w[late].mean(0)
    # between trials, and between the means of times: no difference of large squares
    apart = np.sqrt((w_apart[late] + ((w[late] - mean) ** 2).sum(2)).mean(0))
    scale = np.linalg.norm(mean, axis=1)
    return TrajectoryDirections(
        age=np.arange(ages, dtype=float),
        time=network.system.dt * np.arange(1, x.shape[1] + 1),
        direction=mean,
        projection=a[late].mean(0),
        spread=np.divide(apart, scale, out=np.where(apart > 0, np.inf, 0.0), where=scale > 0),
        projection_spread=np.sqrt(a_apart[late].mean(0) + a[late].var(0)),
        length=lengths,
        dtype=str(dtype),
    )


@eqx.filter_jit
def _summaries(network: Network, inputs: Float[Array, "trial time d"], ages: int) -> tuple[Array, ...]:
    """At every time, over trials: root mean square lengths; means and variances of directions and projections."""
    system = network.system
    assert isinstance(system, AbstractMap)
    trials, _, d = inputs.shape
    unit = jnp.eye(d, dtype=inputs.dtype)

    def advance(x: Array, w: Array, u: Array) -> tuple[Array, Array, Array]:
        new, push = jax.linearize(system.step, x, u)
        older = jax.vmap(lambda v: push(v, jnp.zeros_like(u)))(w[:-1].swapaxes(1, 2).reshape(-1, x.shape[0]))
        young = jax.vmap(lambda v: push(jnp.zeros_like(x), v))(unit)
        rows = jnp.concatenate([young, older]).reshape(ages, d, -1)
        _, see = jax.linearize(network.outputs, new)
        return new, rows.swapaxes(1, 2), jax.vmap(jax.vmap(see))(rows).swapaxes(1, 2)

    def step(carry: tuple[Array, Array], u: Array) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        x, w, a = jax.vmap(advance)(*carry, u)
        spread = ((w - w.mean(0, keepdims=True)) ** 2).sum(2).mean(0)
        return (x, w), (jnp.sqrt((w**2).sum(2).mean(0)), w.mean(0), spread, a.mean(0), a.var(0))

    n = network.x0.shape[0]
    start = jnp.broadcast_to(network.x0, (trials, n)), jnp.zeros((trials, ages, n, d), inputs.dtype)
    return jax.lax.scan(step, start, inputs.swapaxes(0, 1))[1]
