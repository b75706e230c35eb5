"""Units of sampled neurons: how far they miss their time scale, and what design does instead."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import recurvature as rc
from recurvature import latent
from recurvature.app.claims import Measured

from .settings import Lab
from .theorems import generator

CORRELATIONS = (0.5, 1.0)
SLOWNESS = (1.0, 10.0, 100.0)
SLOW = (30.0, 100.0, 300.0)
"""Where the error is all but proportional to the slowness."""
SHARES = (0.01, 0.1, 0.3, 0.5, 0.9)


def _overlap_errors(rng: np.random.Generator, draws: int, size: int, slowness: float, correlation: float) -> np.ndarray:
    """Relative errors of the growth rate of sampled units, one each draw."""
    law = latent.bistable_statistics((slowness,), correlation=correlation)
    scale, other = float(law.embedding_scale[0]), float(law.encoding_scale[0])
    found = []
    for _ in range(draws):
        first, second = rng.standard_normal((2, size))
        n = other * (correlation * first + np.sqrt(1 - correlation**2) * second)
        found.append((scale * first @ n / size - 1) * slowness - 1)
    return np.array(found)


def _slope(x: Any, y: Any) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def growth_rates_err_as_the_law_says(lab: Lab) -> Measured:
    """Root mean square errors over draws, by number of neurons, slowness and correlation."""
    how, rng = lab.settings.design, generator(lab, "growth rates")
    slopes, ratios = [], []
    for correlation in CORRELATIONS:
        for slowness in SLOWNESS:
            errors = [_rms(_overlap_errors(rng, how.law_draws, n, slowness, correlation)) for n in how.sizes]
            law = latent.growth_rate_error(np.array(how.sizes), slowness=slowness, correlation=correlation)
            slopes.append(_slope(how.sizes, errors))
            ratios += (np.array(errors) / law).tolist()
    in_slowness = _slope(SLOW, [_rms(_overlap_errors(rng, how.law_draws, how.sizes[0], beta, 1.0)) for beta in SLOW])
    return Measured(
        {
            "slope_farthest_from_half": max(slopes, key=lambda slope: abs(slope + 0.5)),
            "largest_relative_difference": float(np.abs(np.array(ratios) - 1).max()),
            "slope_in_slowness": in_slowness,
        },
        {"slopes": slopes, "measured_over_law": ratios},
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def seeing_some_errs_as_the_law_says(lab: Lab) -> Measured:
    """The growth rate from some of the neurons of a unit, against that of all of them."""
    how, rng = lab.settings.design, generator(lab, "partial observation")
    counts = np.array([round(share * how.observed_size) for share in SHARES])
    law = latent.bistable_statistics((10.0,))
    scale = float(law.embedding_scale[0]) * float(law.encoding_scale[0])
    differences = []
    for _ in range(how.draws):
        sums = np.cumsum(scale * rng.standard_normal(how.observed_size) ** 2)
        differences.append(10.0 * (sums[counts - 1] / counts - sums[-1] / how.observed_size))
    measured = np.sqrt(np.mean(np.square(differences), 0))
    expected = latent.partial_observation_error(counts, size=how.observed_size, slowness=10.0)
    # the law's own steepness where half is seen, from measurements on both sides
    local = _slope(counts[2:4] / 1.0, measured[2:4])
    wanted = _slope(counts[2:4] / 1.0, expected[2:4])
    return Measured(
        {
            "largest_relative_difference": float(np.abs(measured / expected - 1).max()),
            "slope_around_half_minus_law": local - wanted,
            "slope_around_half": local,
        },
        {"share": SHARES, "measured": measured.tolist(), "law": expected.tolist()},
    )


def a_million_neurons_hold_for_a_second(lab: Lab) -> Measured:
    """Draws of a million neurons a thousand times slower than one, and three hundred neurons that were fitted."""
    how, rng = lab.settings.design, generator(lab, "a million neurons")
    size, slowness = 10**6, 1000.0
    errors = np.array([_squares(rng, size) for _ in range(how.million_draws)])
    relative = slowness * ((1 + 1 / slowness) * errors - 1) - 1
    fitted = latent.bistable_unit(300, slowness=slowness, key=rc.stream(lab.key, "fitted"), method="least squares")
    m, n = np.asarray(fitted.embedding)[:, 0], np.asarray(fitted.encoding)[0]
    kappa = generator(lab, "fitted field").uniform(-1.4, 1.4, 200)
    field = slowness * (np.tanh(np.outer(kappa, m)) @ n - kappa)
    return Measured(
        {
            "relative_error": _rms(relative),
            "share_without_two_states": float(np.mean(relative < -1)),
            "largest_field_error_of_300_fitted": float(np.abs(field - kappa + kappa**3).max()),
        },
        {"law": float(latent.growth_rate_error(size, slowness=slowness))},
    )


def _squares(rng: np.random.Generator, size: int) -> float:
    """The mean of squares of normal numbers: products of pairs of perfect correlation, over their mean."""
    block = rng.standard_normal(size, dtype=np.float32)
    return float(np.square(block, dtype=np.float64).mean())


def statistics_set_the_time_scale(lab: Lab) -> Measured:
    """Growth from near the origin, and where the variable settles, in a run of a rescaled unit."""
    how = lab.settings.design
    slowness, dt = 20.0, 0.5
    unit = latent.bistable_unit(
        how.run_size, slowness=slowness, key=rc.stream(lab.key, "time scale"), method="rescaled", dt=dt
    )
    small = np.asarray(latent.rollout(unit, np.zeros((1, 40, 0)), np.array([[1e-5]])).kappa)[0, :, 0]
    factors = small[1:] / small[:-1]
    series = latent.surrogate(unit, key=rc.stream(lab.key, "series"), reach=2.0)
    long = latent.surrogate_rollout(series, np.zeros((1, 4000), int), np.array([[0.1]]))
    path = np.asarray(long.kappa)[0, :, 0]
    settled = path[-1]
    late = np.abs(path - settled)
    window = (late < 1e-2) & (late > 1e-5)
    relaxation = -dt / np.polyfit(np.arange(window.sum()), np.log(late[window]), 1)[0]
    law = latent.bistable_statistics((slowness,))
    return Measured(
        {
            "growth_over_law": float(np.mean(factors - 1) * slowness / dt),
            "attractor": float(settled),
            "relaxation_over_law": float(relaxation / float(law.relaxation[0])),
            "field_error_of_series": float(np.asarray(series.error).max()),
        },
        {"nodes": series.nodes},
    )


def single_precision_is_enough(lab: Lab) -> Measured:
    """The slow part of a field of many neurons in float32, and with operands cut to ten bits as tensor cores do."""
    size, slowness = lab.settings.design.precision_size, 1000.0
    unit = latent.bistable_unit(size, slowness=slowness, key=rc.stream(lab.key, "precision"), method="rescaled")
    m, n = np.asarray(unit.embedding)[:, 0], np.asarray(unit.encoding)[0]
    worst = {"float32": 0.0, "ten_bits": 0.0}
    for kappa in np.linspace(0.3, 0.7, 9):
        exact = float(n @ np.tanh(m * kappa)) - kappa
        for name, cut in (("float32", _single), ("ten_bits", _ten_bits)):
            rates = np.tanh(_single(cut(m) * cut(np.array([kappa]))))
            found = float((cut(n).astype(np.float64) * cut(rates)).sum()) - kappa
            worst[name] = max(worst[name], abs(found - exact) * slowness / kappa)
    narrow = rc.cast(unit, jnp.float32)
    stepped = latent.LatentUnit(narrow.flow, 0.5)
    start = np.array([[0.5]])
    run = np.asarray(latent.rollout(stepped, np.zeros((1, 1, 0)), start).kappa)[0, 0, 0]
    exact = 0.25 + 0.5 * float(n @ np.tanh(m * 0.5))
    return Measured(
        {
            "error_in_float32": worst["float32"],
            "error_with_ten_bits": worst["ten_bits"],
            "error_of_rollout_in_float32": abs(float(run) - exact) / 0.5 * slowness / 0.5,
        },
        {"devices": jax.default_backend()},
    )


def _single(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)


def _ten_bits(values: np.ndarray) -> np.ndarray:
    """Rounded to the ten explicit bits of a fraction that TF32 operands have."""
    bits = _single(values).view(np.uint32)
    return ((bits + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32)
