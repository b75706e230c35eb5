"""Elementwise nonlinearities by name, with what analysis must know of each: how smooth it is."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from recurvature._errors import unknown

Activation = Callable[[Array], Array]


def identity(x: Array) -> Array:
    r"""$\phi(x) = x$."""
    return x


def erf(x: Array) -> Array:
    r"""$\mathrm{erf}(\sqrt\pi x/2)$: the error function with unit slope at zero."""
    return jax.scipy.special.erf(0.5 * jnp.sqrt(jnp.pi).astype(x.dtype) * x)


def gelu(x: Array) -> Array:
    r"""$x\,\Phi(x)$ with the exact normal distribution function, as in `torch.nn.GELU()`."""
    return jax.nn.gelu(x, approximate=False)


def relu(x: Array) -> Array:
    r"""$\max(x, 0)$."""
    return jax.nn.relu(x)


def softplus(x: Array) -> Array:
    r"""$\log(1 + e^x)$."""
    return jax.nn.softplus(x)


ACTIVATIONS: dict[str, Activation] = {
    "tanh": jnp.tanh,
    "relu": relu,
    "softplus": softplus,
    "gelu": gelu,
    "erf": erf,
    "identity": identity,
    "sigmoid": jax.nn.sigmoid,
}


def activation(phi: str | Activation) -> Activation:
    """The function called `phi`, or `phi` itself if it is a function."""
    if callable(phi):
        return phi
    if phi not in ACTIVATIONS:
        raise unknown("activation", str(phi), ACTIVATIONS)
    return ACTIVATIONS[phi]
