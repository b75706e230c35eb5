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
_REACH, _DECAYED = 9.0, 20.0
_NODES, _TERMS = 401, 44


def mean_slope(phi: str) -> Slope:
    r"""$g(\Delta) = \langle\phi'(\sqrt\Delta\,\xi)\rangle$, $\xi\sim\mathcal N(0,1)$, as a function of $\Delta\ge0$.

    For jointly Gaussian $a, h$ of zero mean $\langle a\,\phi(h)\rangle = g(\Delta)\langle ah\rangle$ (Stein). Closed
    forms for `identity`, `relu` and `erf`, where $g = (1+\pi\Delta/2)^{-1/2}$; for `tanh` that times a Chebyshev series
    in it, to 1e-13 at every $\Delta$ (64 Gauss–Hermite nodes err by 2e-4 at $\Delta = 4$ and by 9e-3 at 9). The
    function may be differentiated, at $\Delta = 0$ too; every derivative of the series costs up to three digits (docs
    eq. O.28). Raises `InputError` for
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
    like = _erf(variance)
    return like * _chebyshev(_ratio_to_erf(), 2 * like - 1)


SLOPES: dict[str, Slope] = {"identity": _identity, "erf": _erf, "tanh": _tanh, "relu": _relu}


@functools.cache
def _ratio_to_erf() -> tuple[float, ...]:
    r"""The Chebyshev series of the mean slope of tanh over that of erf, $u$, in $2u-1$, for all variances at once."""
    places = np.cos(np.pi * (np.arange(_TERMS) + 0.5) / _TERMS)
    like = (places + 1) / 2
    ratio = _averaged((like**-2 - 1) * 2 / np.pi) / like
    return tuple(np.polynomial.chebyshev.chebfit(places, ratio, _TERMS - 1).tolist())


def _averaged(variance: Float[np.ndarray, " point"]) -> Float[np.ndarray, " point"]:
    r"""$\langle\mathrm{sech}^2(\sqrt\Delta\,\xi)\rangle$ by the trapezoidal rule.

    The integrand is analytic in a strip, so that the rule converges exponentially; its nodes cover what the narrower of
    the two factors leaves.
    """
    root = np.sqrt(variance)
    reach = np.minimum(_REACH, _DECAYED / np.maximum(root, 1))
    nodes = reach[:, None] * np.linspace(0, 1, _NODES)
    terms = np.cosh(root[:, None] * nodes) ** -2 * np.exp(-(nodes**2) / 2)
    total = terms.sum(axis=1) - terms[:, 0] / 2 - terms[:, -1] / 2
    return total * reach * np.sqrt(2 / np.pi) / (_NODES - 1)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _chebyshev(series: tuple[float, ...], x: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The sum of a Chebyshev series, by Clenshaw's recurrence."""
    after = later = jnp.zeros_like(x)
    for coefficient in series[:0:-1]:
        after, later = coefficient + 2 * x * after - later, after
    return series[0] + x * after - later


@_chebyshev.defjvp
def _differentiated(series: tuple[float, ...], primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """The derivative is another series: nothing is kept of the recurrence."""
    (x,), (change,) = primals, tangents
    slope = tuple(np.polynomial.chebyshev.chebder(series).tolist())
    return _chebyshev(series, x), _chebyshev(slope, x) * change
