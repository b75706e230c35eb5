r"""A unit that keeps bits, designed by least squares: random tuning, and an encoding fitted to the wanted field.

No training: by the approximation theorem the field of random neurons can be given any form (docs eqs. L.18, L.48). What
comes out is a network of the rate form for flip-flop inputs, of one pulse a step.
"""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import check_count, check_positive
from recurvature._keys import PRNGKey, stream
from recurvature._precision import require_float64
from recurvature.lenses.latent.design import fit_encoding
from recurvature.lenses.latent.unit import LatentUnit, from_mean_convention

GAIN, DRIVE = 1.5, 2.5
"""Steepness of the wanted field at zero, and its value under a pulse: half of it is added in a step of tau/2."""


def bit_memory(
    bits: int,
    size: int,
    *,
    key: PRNGKey,
    dt: float = 0.5,
    tuning: float = 1.0,
    samples: int = 4000,
    ridge: float = 1e-2,
) -> LatentUnit:
    r"""A unit with $2^K$ attractors near $\{\pm1\}^K$; a pulse on channel $k$ sets variable $k$ (docs eq. L.48).

    $\mathbf N\phi(M\kappa + W_\mathrm{in}u)$ is fitted to $\tanh(1.5\kappa_k)/\tanh1.5$ where channel $k$ is silent and
    to $\pm2.5$ where it has a pulse, at random $\kappa$ in $[-1.6, 1.6]^K$ and inputs of which half are silent. $M$ and
    $W_\mathrm{in}$ are normal of standard deviation `tuning` and 1; there is no bias.

    Needs float64. `ridge`, in units of the mean square of the rates, trades accuracy against the length of the
    encoding, which is what noise and drift are multiplied with.
    """
    check_count(bits=bits, size=size, samples=samples)
    check_positive(tuning=tuning, ridge=ridge)
    embedding = tuning * jr.normal(stream(key, "embedding"), (size, bits), float)
    require_float64(embedding=embedding)
    input_weights = jr.normal(stream(key, "inputs"), (size, bits), float)
    kappa, u = _samples(bits, samples, key)
    features = jnp.tanh(kappa @ embedding.T + u @ input_weights.T)
    silent = jnp.tanh(GAIN * kappa) / float(np.tanh(GAIN))
    encoding = fit_encoding(features, jnp.where(u == 0, silent, DRIVE * u), ridge=ridge)
    return from_mean_convention(embedding, encoding, input_weights=input_weights, dt=dt)


def _samples(bits: int, count: int, key: PRNGKey) -> tuple[Float[Array, "sample k"], Float[Array, "sample d"]]:
    kappa = jr.uniform(stream(key, "sampled states"), (count, bits), float, -1.6, 1.6)
    signs = jr.rademacher(stream(key, "sampled signs"), (count, bits), float)
    pulses = jr.bernoulli(stream(key, "sampled pulses"), 0.5, (count, bits))
    some = jnp.arange(count) % 2 == 0
    u = jnp.where(pulses & some[:, None], signs, 0.0)
    # states and inputs of both signs: the field is odd, and so is what is asked of it
    return jnp.concatenate([kappa, -kappa]), jnp.concatenate([u, -u])
