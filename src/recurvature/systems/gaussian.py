"""Averages of nonlinearities over Gaussian inputs: the mean slope that a jointly Gaussian population responds with."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import unknown

Slope = Callable[[Array], Array]

# beyond these a normal density, and the slope of tanh, are below the rounding of float64
_REACH, _DECAYED = 8.5, 19.0
_NODES = 81


def mean_slope(phi: str) -> Slope:
    r"""$g(\Delta) = \langle\phi'(\sqrt\Delta\,\xi)\rangle$, $\xi\sim\mathcal N(0,1)$, as a function of $\Delta\ge0$.

    For jointly Gaussian $a, h$ of zero mean $\langle a\,\phi(h)\rangle = g(\Delta)\langle ah\rangle$ (Stein). Closed
    forms for `identity`, `relu` and `erf`, where $g = (1+\pi\Delta/2)^{-1/2}$; for `tanh` the trapezoidal rule, to
    rounding at every $\Delta$ (64 Gauss–Hermite nodes err by 2e-4 at $\Delta = 4$ and by 9e-3 at 9). The
    function may be differentiated as often as one likes, at $\Delta = 0$ too (docs eq. O.28). Raises `InputError` for
    another name.
    """
    if phi not in SLOPES:
        raise unknown("activation with a known mean slope", str(phi), SLOPES)
    return SLOPES[phi]


def _identity(variance: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    return jnp.ones_like(variance)


def _relu(variance: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    return jnp.full_like(variance, 0.5)


def _erf(variance: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    return jax.lax.rsqrt(1 + np.pi / 2 * variance)


def _tanh(variance: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    return _even_average(_sech_squared, variance)


SLOPES: dict[str, Slope] = {"identity": _identity, "erf": _erf, "tanh": _tanh, "relu": _relu}


def _sech_squared(x: Array) -> Array:
    return 1 - jnp.tanh(x) ** 2


def _twice_differentiated(f: Slope) -> Slope:
    def along(x: Array) -> Array:
        return jax.jvp(f, (x,), (jnp.ones_like(x),))[1]

    return lambda x: jax.jvp(along, (x,), (jnp.ones_like(x),))[1]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _even_average(f: Slope, variance: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    r"""$\langle f(\sqrt\Delta\,\xi)\rangle$ of an even function that decays like the slope of tanh.

    The integrand is analytic in a strip, so that the trapezoidal rule converges exponentially; its nodes cover what
    the narrower of the two factors leaves.
    """
    root = jnp.sqrt(jnp.maximum(variance, 0))
    reach = jnp.minimum(_REACH, _DECAYED / jnp.maximum(root, 1))
    grid = jnp.linspace(0, 1, _NODES, dtype=variance.dtype)
    nodes = reach[..., None] * jnp.expand_dims(grid, tuple(range(variance.ndim)))
    terms = f(root[..., None] * nodes) * jnp.exp(-(nodes**2) / 2)
    total = jnp.sum(terms, axis=-1) - terms[..., 0] / 2 - terms[..., -1] / 2
    return total * reach * float(np.sqrt(2 / np.pi) / (_NODES - 1))


@_even_average.defjvp
def _by_price(f: Slope, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    r"""$d\langle f\rangle/d\Delta = \frac12\langle f''\rangle$ (Price): no square root is differentiated."""
    (variance,), (change,) = primals, tangents
    return _even_average(f, variance), _even_average(_twice_differentiated(f), variance) * change / 2
