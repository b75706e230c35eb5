r"""The state manifold at one time as a map from coordinates to a vector: what geodesics and topology are asked of."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_kind, check_positive
from recurvature._precision import cast, float_dtype
from recurvature.lenses.warping.field import Space, check_network, instants_of, observe
from recurvature.lenses.warping.metric import ambient_factor, vector_size
from recurvature.systems.base import AbstractFlow, AbstractMap, Network
from recurvature.systems.inputs import AbstractInputManifold, Coordinate
from recurvature.systems.simulate import solve_flow, step_times
from recurvature.systems.tangent import ATOL, RTOL, Rows, advance, driver, function_rows, propagate_flow, start_rows


class Immersion(eqx.Module):
    r"""A differentiable map $\theta\mapsto x$ from coordinates to a Euclidean vector.

    `function` is any JAX function of one point (m,) with a vector (n,) as its value: a closed form, or the state of a
    network (`immersion`). Where it brings a method `rows`, that gives its derivatives; else they are taken by nested
    forward differentiation.
    """

    function: Callable[[Float[Array, " m"]], Float[Array, " n"]]
    coordinates: tuple[Coordinate, ...] = eqx.field(static=True)

    def __call__(self, theta: Float[Array, " m"]) -> Float[Array, " n"]:
        """The vector at one point."""
        return self.function(theta)

    @property
    def dimension(self) -> int:
        """Number of coordinates, m."""
        return len(self.coordinates)

    def rows(self, theta: Float[Array, "b m"], order: int = 1) -> Rows:
        """Vectors and derivatives at a block of points, (c, b, n), in the order of `systems.tangent`."""
        rows = getattr(self.function, "rows", None)
        return function_rows(self.function, theta, order) if rows is None else rows(theta, order)


def check_immersion(value: Any) -> None:
    """Raise unless `value` is an immersion."""
    check_kind("immersion", value, Immersion, "pass warping.immersion(network, manifold, time=...), or an Immersion")


class StateAt(eqx.Module):
    """The state, the rates or the readout of a network at a fixed time, as a function of the coordinates."""

    network: Network
    manifold: AbstractInputManifold
    times: Float[Array, " times"]
    """The instants at which a map reads its input; of a flow, the one time wanted."""
    ambient: Float[Array, "k r"] | None
    space: Space = eqx.field(static=True)

    def __call__(self, theta: Float[Array, " m"]) -> Float[Array, " k"]:
        """The vector at one point."""
        return _value(self, theta)

    def rows(self, theta: Float[Array, "b m"], order: int) -> Rows:
        """The vector and its derivatives at a block of points, carried forward with the state (docs eq. W.2, W.3)."""
        m = theta.shape[1]
        seen = observe(self.network, self._state_rows(theta, order), self.space, m, order)
        return seen if self.ambient is None else seen @ self.ambient.T

    def _state_rows(self, theta: Float[Array, "b m"], order: int) -> Rows:
        system, m = self.network.system, theta.shape[1]
        start = start_rows(self.network.x0, theta, order)
        if isinstance(system, AbstractFlow):
            last = lambda frame: frame.rows  # noqa: E731
            return propagate_flow(system, self.manifold, theta, start, self.times, last, order=order)[0][-1]
        assert isinstance(system, AbstractMap)
        drive_at = driver(system, self.manifold, theta, order)

        def body(rows: Rows, time: Array) -> tuple[Rows, None]:
            return advance(system, rows, drive_at(time), m, order)[0], None

        return jax.lax.scan(body, start, self.times)[0]


@eqx.filter_custom_jvp
def _value(at: StateAt, theta: Float[Array, " m"]) -> Float[Array, " k"]:
    network, drive = at.network, lambda time: at.manifold.inputs(time, theta).astype(theta.dtype)
    system = network.system
    if isinstance(system, AbstractFlow):
        velocity = lambda t, x: system.velocity(x, drive(t))  # noqa: E731
        state = solve_flow(velocity, network.x0, at.times, at.manifold.jump_times, rtol=RTOL, atol=ATOL)[0][-1]
    else:
        assert isinstance(system, AbstractMap)
        state = jax.lax.scan(lambda x, t: (system.step(x, drive(t)), None), network.x0, at.times)[0]
    seen = {"state": lambda x: x, "rates": system.rates, "readout": network.outputs}[at.space](state)
    return seen if at.ambient is None else at.ambient @ seen


@_value.def_jvp
def _value_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    """The derivative in θ from the tangent rows: one pass, for flows as well, whose solver has no forward mode."""
    (at, theta), (along_network, along) = primals, tangents
    if any(leaf is not None for leaf in jax.tree.leaves(along_network)):
        raise InputError("an immersion can be differentiated in its coordinates, not in the weights of its network.")
    rows = at.rows(theta[None], 1)[:, 0]
    return rows[0], jnp.zeros_like(rows[0]) if along is None else along @ rows[1:]


def immersion(
    network: Network,
    manifold: AbstractInputManifold,
    *,
    time: float,
    space: Space = "state",
    inner: str | Float[Any, "r r"] = "euclidean",
) -> Immersion:
    """The state manifold of a network at one time; arguments as `metric`.

    A map is taken at its step nearest to `time`. Its vectors are such that their Euclidean product is the `inner` one.
    """
    check_network(network, manifold, space)
    check_positive(time=time)
    dtype, system = float_dtype(network), network.system
    size = vector_size(network, space)
    if isinstance(system, AbstractMap):
        steps = len(instants_of(network, time, 1)) - 1
        times = step_times(manifold, system.dt, steps)
    else:
        times = instants_of(network, time, 1)[1:]
    ambient = ambient_factor(inner, size, dtype)
    if isinstance(inner, str) and inner == "per_unit":
        ambient = jnp.eye(size, dtype=dtype) * size**-0.5
    state_at = StateAt(network, cast(manifold, dtype), jnp.asarray(times, dtype), ambient, space)
    return Immersion(state_at, tuple(manifold.coordinates))
