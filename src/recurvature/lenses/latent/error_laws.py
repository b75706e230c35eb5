r"""How far a latent unit made of finitely many random neurons, or seen through some of them, misses its time scale.

All laws are for one latent variable, $W = mn^\top/N$ with independent Gaussian pairs $(m_i, n_i)$ of zero mean and
correlation $\rho$, and $\phi'(0) = 1$. The slowness $\beta = \tau_\mathrm{lat}/\tau$ sets $E[mn] = 1 + 1/\beta$.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax.random as jr
import numpy as np
import scipy.special
from jaxtyping import Float, Int, Num

from recurvature._errors import InputError, check_count, check_positive, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.source import DINC

DECIDED, UNDECIDED = range(2)
GROWTH_STATUS = ("decided", "undecided")
"""What the numbers in `status` mean: with an error above half of the rate, its sign is not to be relied upon."""


class SampledErrors(AbstractResult):
    r"""How far sampled units miss their growth rate, beside the law, for every number of neurons (docs eq. L.44).

    `measured` is the root mean square over `draws`, relative to the rate that was asked for; `flipped` the share of
    draws with the other sign, `flip_law` what the normal distribution makes of the law (docs eq. L.45).
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    size: Int[Values, " size"] = eqx.field(metadata={"long_name": "neurons"})
    measured: Float[Values, " size"]
    law: Float[Values, " size"]
    flipped: Float[Values, " size"]
    flip_law: Float[Values, " size"]
    slowness: float
    correlation: float
    draws: int


Sizes = Num[np.ndarray, "*size"] | float | int
"""One value or an array of them; the result has the same shape."""

LARGEST_CV = 0.5
"""Relative error above which the sign of a growth rate is not claimed: at 0.5 a draw in 44 has the other sign."""


class GrowthRate(AbstractResult):
    r"""The rate at which a unit leaves its origin, from the first `observed` of its neurons (docs eqs. L.46, L.47).

    `standard_error` is of the difference to the whole population, from the spread of the products $m_in_i$ in the
    sample: it assumes independent pairs, not Gaussian ones. `law` is the Gaussian law with the slowness and the
    correlation measured in the same sample. `cv` is the standard error over the size of the rate; above 0.5 the status
    is `undecided`, and whether the unit has two states must not be claimed.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    observed: Int[Values, " observed"]
    """Neurons used."""
    rate: Float[Values, " observed"] = eqx.field(metadata={"units": "1/tau"})
    standard_error: Float[Values, " observed"] = eqx.field(metadata={"units": "1/tau"})
    law: Float[Values, " observed"] = eqx.field(metadata={"units": "1/tau"})
    cv: Float[Values, " observed"]
    status: Int[Values, " observed"]
    size: int | None
    """Neurons of the whole population; None stands for one so large that the sample is nothing of it."""
    statuses: tuple[str, ...] = GROWTH_STATUS


def growth_rate_error(
    size: Sizes, *, slowness: float | int, correlation: float | int = 1.0
) -> Float[np.ndarray, "*size"]:
    r"""Relative error of the growth rate of `size` sampled neurons, $(1+\beta)\sqrt{(1+\rho^{-2})/N}$ (docs eq. L.44).

    Relative to the rate that was asked for; draws of one realised unit may be nearer to or further from that.
    """
    return np.asarray(_law(slowness, correlation) / np.sqrt(_sizes("size", size)))


def partial_observation_error(
    observed: Sizes, *, size: float | int, slowness: float | int, correlation: float | int = 1.0
) -> Float[np.ndarray, "*size"]:
    r"""Relative error of the growth rate seen in `observed` of `size` neurons (docs eq. L.46).

    $(1+\beta)\sqrt{1+\rho^{-2}}\,\sqrt{1/N_\mathrm{obs}-1/N}$: it vanishes as $\sqrt{1-N_\mathrm{obs}/N}$ once nearly
    all neurons are seen. `size` may be infinite.
    """
    seen = _sizes("observed", observed)
    if not (seen <= size).all():
        raise InputError(f"`observed` must not exceed `size` = {size}; got {observed}.")
    return np.asarray(_law(slowness, correlation) * np.sqrt(1 / seen - 1 / size))


def partial_observation_slope(share: Sizes) -> Float[np.ndarray, "*size"]:
    r"""$d\log e/d\log N_\mathrm{obs} = -\frac12/(1-N_\mathrm{obs}/N)$ at a share of neurons seen (docs eq. L.46)."""
    seen = np.asarray(share, np.float64)
    if not ((seen > 0) & (seen < 1)).all():
        raise InputError(f"`share` must lie between 0 and 1; got {share}.")
    return np.asarray(-0.5 / (1 - seen))


def sign_flip_probability(cv: Sizes) -> Float[np.ndarray, "*size"]:
    r"""$\Phi(-1/\mathrm{cv})$: how often a Gaussian growth rate has the wrong sign (docs eq. L.45).

    For a bistable unit: how often the sampled neurons have one state in place of two.
    """
    error = np.asarray(cv, np.float64)
    if not (error >= 0).all():
        raise InputError(f"`cv` must not be negative; got {cv}.")
    with np.errstate(divide="ignore"):
        return np.asarray(scipy.special.ndtr(-1 / error))


def sample_growth_rates(
    sizes: tuple[int, ...], *, slowness: float | int, correlation: float | int = 1.0, draws: int = 1000, key: PRNGKey
) -> SampledErrors:
    """Errors of growth rates by Monte Carlo: `draws` units of every size, beside the laws.

    The scales of embedding and encoding do not matter for it, only their correlation. Raises `InputError` on no sizes.
    """
    check_slowness(slowness, correlation)
    check_count(draws=draws, **{f"sizes: {size}": size for size in sizes})
    if not sizes:
        raise InputError("`sizes` must hold one number of neurons or more; got none.")
    generator = np.random.default_rng(np.asarray(jr.key_data(stream(key, "growth rates"))))
    errors = np.array([[_one_error(generator, n, slowness, correlation) for _ in range(draws)] for n in sizes])
    law = growth_rate_error(np.array(sizes), slowness=slowness, correlation=correlation)
    return SampledErrors(
        np.array(sizes),
        np.sqrt(np.mean(errors**2, 1)),
        law,
        np.mean(errors < -1, 1),
        sign_flip_probability(law),
        float(slowness),
        float(correlation),
        draws,
    )


def _one_error(generator: np.random.Generator, size: int, slowness: float, correlation: float) -> float:
    """(σ̂ - 1)β - 1 of one draw of pairs."""
    first, second = generator.standard_normal((2, size))
    along = correlation * first @ first + np.sqrt(1 - correlation**2) * first @ second
    return float(((1 + 1 / slowness) / correlation * along / size - 1) * slowness - 1)


def growth_rate(
    embedding: Float[Any, " n"],
    encoding: Float[Any, " n"],
    *,
    observed: tuple[int, ...] | None = None,
    size: int | None = None,
) -> GrowthRate:
    r"""The growth rate $(\hat\sigma-1)/\tau$, $\hat\sigma = \frac1{N_\mathrm{obs}}\sum m_in_i$, with an error bar.

    **Arguments**

    - `embedding`, `encoding`: $m$ and $n$ of the neurons at hand, with $W = mn^\top/N$ ("1/N").
    - `observed`: how many of them to use, one result each, always the first ones; None takes all.
    - `size`: neurons of the network, of which those at hand are some; None for very many.

    Raises `InputError` on fewer than 2 neurons, or more than there are.
    """
    m, n = np.asarray(embedding, np.float64), np.asarray(encoding, np.float64)
    if m.ndim != 1 or len(m) < 2:
        raise InputError(f"`embedding` must be a vector of 2 neurons or more; got shape {m.shape}.")
    check_shape("encoding", n, m.shape)
    counts = np.atleast_1d(np.asarray(len(m) if observed is None else observed, np.int64))
    most = len(m) if size is None else min(len(m), size)
    if not ((counts >= 2) & (counts <= most)).all():
        raise InputError(f"`observed` must lie in 2…{most}; got {counts.tolist()}.")
    rows = np.array([_observed(m[:count], n[:count], size) for count in counts.tolist()])
    rate, error, law = rows.T
    with np.errstate(divide="ignore", invalid="ignore"):
        cv = error / np.abs(rate)
    # NaN is not decided either
    status = np.where(cv <= LARGEST_CV, DECIDED, UNDECIDED).astype(np.int8)
    return GrowthRate(counts, rate, error, law, cv, status, size)


def _observed(m: Float[np.ndarray, " n"], n: Float[np.ndarray, " n"], size: int | None) -> tuple[float, float, float]:
    """Rate, its standard error, and the standard error by the Gaussian law."""
    products, count = m * n, len(m)
    unseen = np.sqrt(1 / count - (0 if size is None else 1 / size))
    # the law of a product of Gaussians: var(mn) = var(m) var(n) + cov(m, n)²
    spread = np.sqrt(m.var() * n.var() + np.mean((m - m.mean()) * (n - n.mean())) ** 2)
    return float(products.mean() - 1), float(products.std(ddof=1) * unseen), float(spread * unseen)


def _law(slowness: float, correlation: float) -> float:
    check_slowness(slowness, correlation)
    return (1 + slowness) * float(np.sqrt(1 + correlation**-2))


def check_slowness(slowness: float, correlation: float) -> None:
    """Raise unless the slowness is positive and the correlation in (0, 1]."""
    check_positive(slowness=slowness)
    if not 0 < correlation <= 1:
        raise InputError(f"`correlation` must lie in (0, 1]; got {correlation!r}.")


def _sizes(name: str, value: Any) -> Float[np.ndarray, "*size"]:
    sizes = np.asarray(value, np.float64)
    if not (sizes >= 1).all():
        raise InputError(f"`{name}` must be at least 1; got {value}.")
    return sizes
