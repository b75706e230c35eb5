r"""Memories designed by least squares: random tuning, and an encoding fitted to the field that is wanted.

No training: the field of random neurons can be given any form (docs eq. L.48). Both units are of the rate form and keep
what pulses of one step tell them: signs, or a running sum. Unlike those of `approximate` they have no bias: fields are
odd.
"""

from collections.abc import Callable

import jax.random as jr
import numpy as np
from jaxtyping import Float

from recurvature._errors import check_count, check_positive
from recurvature._keys import PRNGKey, stream
from recurvature._precision import require_float64
from recurvature.lenses.latent.regression import ridge_rows
from recurvature.lenses.latent.unit import LatentUnit, from_encoding

GAIN, DRIVE = 1.5, 2.5
"""Steepness of the wanted field at zero, and its value under a pulse: half of it is added in a step of tau/2."""

Target = Callable[[Float[np.ndarray, "sample k"], Float[np.ndarray, "sample d"]], Float[np.ndarray, "sample k"]]


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
    check_count(bits=bits, samples=samples)

    def target(kappa: np.ndarray, u: np.ndarray) -> np.ndarray:
        return np.where(u == 0, np.tanh(GAIN * kappa) / np.tanh(GAIN), DRIVE * u)

    signs = _generator(key, "sampled signs").choice([-1.0, 1.0], (samples, bits))
    return _fitted(bits, size, target, signs, 1.6, key=key, dt=dt, tuning=tuning, samples=samples, ridge=ridge)


def line_memory(
    size: int,
    *,
    key: PRNGKey,
    dt: float = 0.5,
    tuning: float = 1.0,
    reach: float = 2.0,
    samples: int = 4000,
    ridge: float = 1e-10,
) -> LatentUnit:
    r"""A unit of one variable that adds up pulses of one step, at most 1 each: $\kappa\to\kappa + u$ (docs eq. L.48).

    The field is fitted to $\kappa + u\tau/dt$ for $|\kappa|\le$ `reach`: a line of states at rest, as far as the fit is
    exact. Without a pulse the sum stays, which is what delayed addition asks for. Needs float64.
    """
    check_positive(dt=dt, reach=reach)
    check_count(samples=samples)
    drive = _generator(key, "sampled pulse sizes").uniform(-1.0, 1.0, (samples, 1))
    target = lambda kappa, u: kappa + u / dt  # noqa: E731
    return _fitted(1, size, target, drive, reach, key=key, dt=dt, tuning=tuning, samples=samples, ridge=ridge)


def _fitted(
    bits: int,
    size: int,
    target: Target,
    pulses: Float[np.ndarray, "sample d"],
    reach: float,
    *,
    key: PRNGKey,
    dt: float,
    tuning: float,
    samples: int,
    ridge: float,
) -> LatentUnit:
    """A unit whose field is fitted at random latent variables, in half of the samples under some of the pulses."""
    check_count(size=size, samples=samples)
    check_positive(tuning=tuning, ridge=ridge)
    embedding = tuning * _generator(key, "embedding").standard_normal((size, bits))
    input_weights = _generator(key, "inputs").standard_normal((size, bits))
    generator = _generator(key, "samples")
    kappa = generator.uniform(-reach, reach, (samples, bits))
    given = (generator.random((samples, bits)) < 0.5) & (np.arange(samples) % 2 == 0)[:, None]
    u = np.where(given, pulses, 0.0)
    # states and inputs of both signs: the field is odd, and so is what is asked of it
    kappa, u = np.concatenate([kappa, -kappa]), np.concatenate([u, -u])
    encoding = ridge_rows(np.tanh(kappa @ embedding.T + u @ input_weights.T), target(kappa, u), ridge)
    found = from_encoding(embedding, encoding, input_weights=input_weights, dt=dt)
    require_float64(embedding=found.embedding)
    return found


def _generator(key: PRNGKey, name: str) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jr.key_data(stream(key, name))))
