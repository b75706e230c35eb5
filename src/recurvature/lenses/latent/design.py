r"""Bistable latent units by design: the statistics of their neurons, and three ways to draw the neurons.

One latent variable with $\tau_\mathrm{lat}\dot\kappa\approx\kappa-\kappa^3$ near the origin: it leaves $0$ at the rate
$1/\tau_\mathrm{lat} = 1/(\beta\tau)$ and settles at $\pm1$. The weights are $W = mn^\top/N$; nothing here is N × N.
"""

import functools
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import scipy.optimize
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_choice, check_count
from recurvature._keys import PRNGKey, stream
from recurvature._precision import require_float64
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.error_laws import check_slowness
from recurvature.lenses.latent.regression import ridge_rows
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import LatentUnit, from_mean_convention
from recurvature.systems.activations import activation

NODES = 180
"""Nodes of the Gauss-Hermite rule: averages of tanh are good to 1e-11 up to a standard deviation of 1.34."""
ODD = ("tanh", "erf")
"""Activations with slope 1 at zero, odd and bounded: those that the design is for."""
MOST_CORRECTED = 2.0
"""How much longer rescaling may make an encoding. An overlap of half its mean is a draw of too few neurons."""
Method = Literal["gaussian", "rescaled", "least squares"]
METHODS: tuple[Method, ...] = ("gaussian", "rescaled", "least squares")


class BistableStatistics(AbstractResult):
    r"""What the neurons of a bistable unit have to be like, for every slowness (docs eqs. L.40-L.42).

    `overlap` is $E[mn] = 1+1/\beta$; `embedding_scale` and `encoding_scale` are the standard deviations of $m$ and $n$;
    `relaxation` is the time constant at the attractors $\pm1$ of infinitely many neurons.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    slowness: Float[Values, " slowness"]
    overlap: Float[Values, " slowness"]
    embedding_scale: Float[Values, " slowness"]
    encoding_scale: Float[Values, " slowness"]
    relaxation: Float[Values, " slowness"] = eqx.field(metadata={"units": "tau"})
    correlation: float
    phi: str


def bistable_statistics(
    slowness: Float[Any, " slowness"] | tuple[float, ...], *, correlation: float = 1.0, phi: str = "tanh"
) -> BistableStatistics:
    r"""Statistics of Gaussian pairs $(m, n)$ whose unit has time scale $\beta\tau$ and attractors at $\pm1$.

    $\sigma_{mn} = 1+1/\beta$ fixes the rate at the origin; $\sigma_{mn}E[\phi'(\sigma_mz)] = 1$ puts the attractors at
    $\pm1$ (docs eq. L.41), and $\sigma_n = \sigma_{mn}/(\rho\sigma_m)$. Averages by a Gauss-Hermite rule.

    Raises `ValueError` without 64-bit numbers.
    """
    check_choice("phi", phi, ODD)
    require_float64(slowness=jnp.zeros(()))
    times = np.atleast_1d(np.asarray(slowness, np.float64))
    for time in times.tolist():
        check_slowness(time, correlation)
    scales = np.array([_embedding_scale(1 + 1 / time, phi) for time in times.tolist()])
    overlap = 1 + 1 / times
    relaxation = np.array([_relaxation(s, a, phi) for s, a in zip(scales.tolist(), overlap.tolist(), strict=True)])
    return BistableStatistics(
        times, overlap, scales, overlap / (correlation * scales), relaxation, float(correlation), phi
    )


def bistable_unit(
    size: int,
    *,
    slowness: float,
    correlation: float = 1.0,
    key: PRNGKey,
    method: Method = "gaussian",
    phi: str = "tanh",
    dt: float | None = None,
    ridge: float = 1e-12,
) -> LatentUnit:
    r"""A bistable unit of `size` neurons, $W = mn^\top/N$, without inputs, in float64 (docs eqs. L.43, L.48).

    - `gaussian`: sampled pairs. Their growth rate misses $1/\beta$ by `growth_rate_error`.
    - `rescaled`: the same with $n$ multiplied by $\sigma_{mn}/\hat\sigma$: the growth rate is exact.
    - `least squares`: $m$ standard normal, $n$ fitted so that $\frac1N\sum n_i\phi(m_i\kappa)$ is
      $\kappa+(\kappa-\kappa^3)/\beta$ for $|\kappa|\le1.5$. A few hundred neurons hold any slowness; `ridge` is in
      units of the mean square of the features, `correlation` is not used.

    Raises `InputError` on a size below 1, an unknown method, and a sample whose overlap is less than half of the wanted
    one (`rescaled`); `ValueError` without 64-bit numbers.
    """
    check_count(size=size)
    check_choice("method", method, METHODS)
    check_choice("phi", phi, ODD)
    check_slowness(slowness, correlation)
    generator = np.random.default_rng(np.asarray(jr.key_data(stream(key, "pairs"))))
    first, second = generator.standard_normal((2, size))
    if method == "least squares":
        if size > MOST_FITTED:
            raise InputError(
                f"`size` must be at most {MOST_FITTED} for a fit; got {size}. Fit hundreds and `tile` them."
            )
        return _unit(first, _fitted(first, slowness, phi, ridge), phi, dt)
    law = bistable_statistics((slowness,), correlation=correlation, phi=phi)
    m = float(np.asarray(law.embedding_scale)[0]) * first
    n = float(np.asarray(law.encoding_scale)[0]) * (correlation * first + np.sqrt(1 - correlation**2) * second)
    if method == "rescaled":
        n = n * _correction(m, n, slowness)
    return _unit(m, n, phi, dt)


def _correction(m: Float[np.ndarray, " n"], n: Float[np.ndarray, " n"], slowness: float) -> float:
    """What a sampled overlap is to be multiplied with; an overlap near zero or below cannot be put right that way."""
    found, wanted = float(np.mean(m * n)), 1 + 1 / slowness
    if not found > wanted / MOST_CORRECTED:
        raise InputError(
            f"`size` = {len(m)} neurons have an overlap of {found:.3g} where {wanted:.3g} is wanted, too far to be "
            f"rescaled: sample more of them, at a higher `correlation`, or take method='least squares'."
        )
    return wanted / found


def _unit(m: Float[np.ndarray, " n"], n: Float[np.ndarray, " n"], phi: str, dt: float | None) -> LatentUnit:
    found = from_mean_convention(m[:, None], n[:, None], phi=phi, dt=dt)
    require_float64(embedding=found.embedding)
    return found


REACH, GRID, MOST_FITTED = 1.5, 151, 10_000
"""Latent values at which a designed field is fitted, and the most neurons to fit at once."""


def _fitted(m: Float[np.ndarray, " n"], slowness: float, phi: str, ridge: float) -> Float[np.ndarray, " n"]:
    kappa = np.linspace(-REACH, REACH, GRID)
    target = kappa + (kappa - kappa**3) / slowness
    rates = np.asarray(activation(phi)(jnp.asarray(np.outer(kappa, m))), np.float64)
    return len(m) * ridge_rows(rates, target[:, None], ridge)[0]


@functools.cache
def gauss_hermite(nodes: int = NODES) -> tuple[Float[np.ndarray, " node"], Float[np.ndarray, " node"]]:
    """Nodes and weights of averages over a standard normal variable."""
    z, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return z, weights / weights.sum()


@functools.partial(jax.jit, static_argnames="phi")
def mean_slope(scale: Float[Array, ""], phi: str) -> Float[Array, ""]:
    r"""$E[\phi'(sz)]$ of a standard normal $z$, for a standard deviation $s$ = `scale`."""
    z, weights = (jnp.asarray(a, scale.dtype) for a in gauss_hermite())
    return weights @ jax.vmap(jax.grad(activation(phi)))(scale * z)


@functools.partial(jax.jit, static_argnames="phi")
def _slope_and_derivative(scale: Float[Array, ""], phi: str) -> tuple[Float[Array, ""], Float[Array, ""]]:
    return jax.value_and_grad(mean_slope)(scale, phi)


def _embedding_scale(overlap: float, phi: str) -> float:
    """The standard deviation of m that puts the attractors at ±1 (docs eq. L.41)."""
    excess = lambda s: overlap * float(mean_slope(jnp.asarray(s, float), phi)) - 1  # noqa: E731
    high = 1.0
    while excess(high) > 0:
        high *= 2
        if high > 1e6:
            raise InputError(f"no embedding of {phi} neurons has its attractors at 1 with an overlap of {overlap}.")
    return float(scipy.optimize.brentq(excess, 0.0, high, xtol=1e-15, rtol=1e-14))


def _relaxation(scale: float, overlap: float, phi: str) -> float:
    """-1 over the slope of the latent field at an attractor, in tau (docs eq. L.42)."""
    derivative = _slope_and_derivative(jnp.asarray(scale, float), phi)[1]
    return -1 / (overlap * scale * float(derivative))
