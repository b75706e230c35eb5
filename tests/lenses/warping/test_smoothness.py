"""What switches is found in the program of a function; what only looks as if it did is not."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses.warping import STATUS, Immersion, curvature, immersion, kinks, local_geometry
from recurvature.lenses.warping.smoothness import kinks_of_immersion, kinks_of_network
from recurvature.systems import ConstantInputs, FunctionMap, LinearReadout, Network, box, circle
from recurvature.systems.activations import ACTIVATIONS

X = jax.ShapeDtypeStruct((3,), np.float64)

SMOOTH: dict[str, Callable[..., Any]] = {
    **{name: phi for name, phi in ACTIVATIONS.items() if name != "relu"},
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
    "softmax": jax.nn.softmax,
    "logaddexp": lambda x: jnp.logaddexp(x, 2 * x),
    "sinc": jnp.sinc,
    "rational": lambda x: x**3 / (1 + x**2),
    "slope of softplus": jax.grad(lambda x: jax.nn.softplus(x).sum()),
    "softplus of many": lambda x: jax.vmap(jax.nn.softplus)(x),
    "loop": lambda x: jax.lax.fori_loop(0, 3, lambda _, c: jnp.tanh(c), x),
    "largest of constants": lambda x: x * jnp.maximum(1.0, 2.0),
    "what is thrown away": lambda x: (jnp.abs(x), x)[1],
}
PIECEWISE: dict[str, tuple[Callable[..., Any], str]] = {
    "relu": (jax.nn.relu, "gt"),
    "elu": (jax.nn.elu, "gt"),
    "leaky relu": (jax.nn.leaky_relu, "ge"),
    "soft sign": (jax.nn.soft_sign, "abs"),
    "clip": (lambda x: jnp.clip(x, -1, 1), "max"),
    "where": (lambda x: jnp.where(x > 0, x, 0.1 * x), "gt"),
    "slope of relu": (jax.grad(lambda x: jax.nn.relu(x).sum()), "gt"),
    "step": (lambda x: jnp.heaviside(x, 0.5), "gt"),
    "rounded": (lambda x: x * x.astype(int).astype(float), "convert_element_type"),
    "straight through": (lambda x: x + jax.lax.stop_gradient(jnp.round(x) - x), "round"),
    "in a scan": (lambda x: jax.lax.scan(lambda c, _: (jnp.abs(c), None), x, None, length=2)[0], "abs"),
    "in a branch": (lambda x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x), "cond"),
    "in a while": (lambda x: jax.lax.while_loop(lambda c: c.sum() < 9, lambda c: 2 * c, x), "while"),
    "sorted": (jnp.sort, "sort"),
    "looked up": (lambda x: jnp.searchsorted(jnp.arange(3.0), x), "le_to"),
    "pooled": (lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (2,), (1,), "SAME"), "reduce_window_max"),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions_pass(name: str) -> None:
    assert kinks(SMOOTH[name], X) == ()


@pytest.mark.parametrize("name", PIECEWISE)
def test_piecewise_functions_are_found(name: str) -> None:
    function, switch = PIECEWISE[name]
    assert switch in kinks(function, X)


def test_the_order_that_is_asked_matters() -> None:
    # softplus is smooth, ReLU continuous, its slope is not
    assert kinks(jax.nn.relu, X, order=0) == ()
    assert kinks(jax.nn.relu, X, order=1) != ()


def test_a_function_is_judged_by_the_derivative_that_it_brings() -> None:
    @jax.custom_jvp
    def spike(x: jax.Array) -> jax.Array:
        return (x > 0).astype(x.dtype)

    spike.defjvp(lambda primals, tangents: (spike(*primals), jax.nn.sigmoid(primals[0]) * tangents[0]))
    # a smooth stand-in for the derivative does not make a jump continuous
    assert kinks(spike, X) == ("gt",)

    @jax.custom_jvp
    def cube(x: jax.Array) -> jax.Array:
        return jnp.maximum(x, 0) ** 3

    assert kinks(jax.jit(lambda x: jnp.maximum(x, 0) ** 3), X) == ("max",)
    cube.defjvp(lambda primals, tangents: (cube(*primals), 3 * cube(*primals) ** (2 / 3) * tangents[0]))
    assert kinks(cube, X) == ()


def test_every_way_into_a_network_is_looked_at() -> None:
    manifold = ConstantInputs(box(a=(-1.0, 1.0), b=(-1.0, 1.0)))
    bent = ConstantInputs(manifold.domain, jnp.abs)
    for phi, expected in (("relu", ("gt",)), ("softplus", ())):
        for make in (rc.systems.leaky_current, rc.systems.leaky_rate, rc.systems.vanilla):
            network = make(5, inputs=2, outputs=1, key=rc.key(0), phi=phi)
            assert kinks_of_network(network, manifold, space="readout") == expected
    assert kinks_of_network(network, bent) == ("abs",)
    assert kinks_of_network(network, manifold, initial=lambda t: jnp.round(jnp.ones(5) * t[0])) == ("round",)
    linear = FunctionMap(lambda x, u: x + u, 2, 2, rate_function=jnp.abs)
    seen = Network(linear, LinearReadout(jnp.ones((1, 2))), jnp.zeros(2))
    assert kinks_of_network(seen, manifold) == ()
    assert kinks_of_network(seen, manifold, space="rates") == ("abs",)
    assert kinks_of_immersion(immersion(seen, manifold, time=1.0, space="rates")) == ("abs",)


def test_curvature_of_kinks_is_refused_unless_asked_for() -> None:
    manifold = ConstantInputs(box(a=(0.1, 1.0), b=(0.1, 1.0)))
    network = rc.systems.leaky_current(6, inputs=2, outputs=1, key=rc.key(0), phi="relu", dt=0.5)
    with pytest.raises(InputError, match=r"continuous second derivatives \(gt\).*allow_piecewise=True"):
        curvature(network, manifold, points=2, duration=1.0)
    got = curvature(network, manifold, points=2, duration=1.0, allow_piecewise=True)
    assert got.kinks == ("gt",)
    assert {STATUS[code] for code in np.asarray(got.status).ravel()} == {"piecewise"}
    # linear pieces of a linear input are flat up to rounding
    assert (np.abs(got.scalar) <= got.scalar_error).all()
    arc = Immersion(lambda t: jnp.stack([jnp.abs(t[0]), t[0]]), circle().coordinates)
    with pytest.raises(InputError, match="abs"):
        local_geometry(arc, np.ones((2, 1)))
    assert local_geometry(arc, np.ones((2, 1)), allow_piecewise=True).kinks == ("abs",)
