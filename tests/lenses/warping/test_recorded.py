"""The metric of recordings, held against the model metric of the network that made them."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import recurvature as rc
from recurvature import warping
from recurvature._errors import InputError
from recurvature.lenses.warping.recorded.crossed import Moments, crossed, halves
from recurvature.lenses.warping.recorded.rows import dealt, gathered
from recurvature.lenses.warping.recorded.smooth import expansion
from recurvature.systems import ConstantInputs, Coordinate, circle, simulate

RING = (Coordinate("angle", 0.0, 2 * np.pi, True, "rad"),)
BIN, STEPS, GAIN = 10, 20, 4.0
"""The step at which a recording is taken, of how many, and spikes a bin of a unit of rate."""


@pytest.fixture(scope="module")
def network() -> rc.systems.Network:
    return rc.systems.leaky_current(30, inputs=2, outputs=1, key=rc.key(3), dt=0.1)


@pytest.fixture(scope="module")
def model(network: rc.systems.Network) -> warping.Metric:
    """What is to be found: the model metric of spike counts, 12 angles, at the end."""
    return warping.metric(network, ConstantInputs(circle("angle")), points=12, duration=STEPS * 0.1, space="rates")


def rates(network: rc.systems.Network, angles: np.ndarray) -> np.ndarray:
    """Expected counts of the units at two moments, (trial, 2, unit): tanh of the state, shifted to be positive."""
    inputs = np.repeat(np.stack([np.cos(angles), np.sin(angles)], -1)[:, None], STEPS, 1)
    states = simulate(network, jnp.asarray(inputs)).states
    return GAIN * (1.2 + np.tanh(np.asarray(states)[:, [BIN - 1, STEPS - 1]]))


def recorded(network: rc.systems.Network, trials: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Spike counts in two bins, with a gain that all units and both bins of a trial share, and the angle of each."""
    angles = rng.uniform(0, 2 * np.pi, trials)
    gain = np.exp(0.2 * rng.standard_normal((trials, 1, 1)) - 0.02)
    return rng.poisson(gain * rates(network, angles)).astype(float), angles[:, None]


def coverage(network: rc.systems.Network, model: warping.Metric, trials: int, repeats: int, seed: int) -> float:
    """The share of intervals, over repeats, times and angles, that hold the model metric."""
    rng, held = np.random.default_rng(seed), []
    truth = GAIN**2 * np.asarray(model.metric)[[BIN - 1, STEPS - 1]]
    for _ in range(repeats):
        y, x = recorded(network, trials, rng)
        found = warping.recorded_metric(y, x, coordinates=RING, points=12)
        held.append((np.asarray(found.low) <= truth) & (truth <= np.asarray(found.high)))
    return float(np.mean(held))


def test_intervals_hold_the_model_metric(network: rc.systems.Network, model: warping.Metric) -> None:
    """Nine in ten are demanded; intervals are made for 95 %."""
    repeats = 12
    # neighbouring angles and both times share their trials: a repeat counts as no more than 3 independent intervals (an
    # expansion of order 2 has 5 coefficients), and a share of 0.95 falls below this bound in 1 of 1000 such tests
    bound = scipy.stats.binom.ppf(1e-3, 3 * repeats, 0.95) / (3 * repeats)
    assert coverage(network, model, 80, repeats, seed=0) > bound


@pytest.mark.slow
@pytest.mark.parametrize("trials", [40, 80, 320])
def test_nine_in_ten_intervals_hold_the_model_metric(
    network: rc.systems.Network, model: warping.Metric, trials: int
) -> None:
    assert coverage(network, model, trials, 400, seed=trials) >= 0.9


def planar(rng: np.random.Generator, trials: int, bins: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Activity linear in two coordinates of every bin, of metric [[2, 1], [1, 3]], with noise of trials."""
    x = rng.uniform(-1, 1, (trials, bins, 2))
    slopes = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, np.sqrt(2.0)]])
    return x @ slopes + noise * rng.standard_normal((trials, 1, 3)), x


SQUARE = (Coordinate("a", -1.0, 1.0), Coordinate("b", -1.0, 1.0))


def test_intervals_hold_with_as_few_trials_as_are_taken() -> None:
    """Five trials of four bins, noise of whole trials; with four trials 2 in 5 intervals held the truth."""
    rng, repeats, held = np.random.default_rng(6), 40, 0
    for _ in range(repeats):
        x = rng.uniform(-1, 1, (5, 4, 1))
        y = x * np.array([1.0, 0.5, 0, 0, 0, 0, 0, 0]) + 8 * rng.standard_normal((5, 1, 8))
        found = warping.recorded_metric(y, x, coordinates=SQUARE[:1], points=np.zeros((1, 1)), smoothness=1.0, folds=5)
        held += int(np.asarray(found.low).item() <= 1.25 <= np.asarray(found.high).item())
    # 40 intervals at 95 % hold more than this in all but 1 of 1000 tests
    assert held > scipy.stats.binom.ppf(1e-3, repeats, 0.95)


@pytest.mark.parametrize("method", ["smooth", "local"])
def test_without_noise_the_metric_is_exact_and_there_is_no_floor(method: Any) -> None:
    y, x = planar(np.random.default_rng(0), 40, 3, 0.0)
    found = warping.recorded_metric(
        y, x, coordinates=SQUARE, points=(3, 3), method=method, smoothness=0.9 if method == "local" else 1.0
    )
    wanted = np.broadcast_to([[2.0, 1.0], [1.0, 3.0]], (1, 9, 2, 2))
    # roundings of a least squares fit with up to 10 coefficients
    np.testing.assert_allclose(found.metric, wanted, rtol=1e-9)
    np.testing.assert_allclose(found.noise, 0, atol=1e-9)
    np.testing.assert_allclose(
        np.asarray(found.stretches) ** 2, np.broadcast_to(np.linalg.eigvalsh(wanted[0, 0])[::-1], (1, 9, 2)), rtol=1e-9
    )
    assert found.grid == (3, 3)
    assert (np.asarray(found.status) == warping.STATUS.index("ok")).all()
    assert found.time_units == ""


def test_noise_adds_nothing_on_average_though_bins_of_a_trial_share_it() -> None:
    """The naive product is off by the noise floor, many standard errors; what is reported is not."""
    rng, repeats, found = np.random.default_rng(1), 50, []
    for _ in range(repeats):
        y, x = (np.repeat(part, 3, axis=1) for part in planar(rng, 30, 1, 6.0))
        found.append(warping.recorded_metric(y, x, coordinates=SQUARE, points=np.zeros((1, 2)), smoothness=1.0))
    metric, noise = (
        np.stack([np.asarray(v)[0, 0] for v in each]) for each in ([f.metric for f in found], [f.noise for f in found])
    )
    error = metric.std(0) / np.sqrt(repeats)
    # five standard errors of a mean
    assert (np.abs(metric.mean(0) - [[2, 1], [1, 3]]) < 5 * error).all()
    assert (np.diagonal(noise.mean(0)) > 5 * np.diagonal(error)).all()
    low, high = (np.stack([np.asarray(getattr(f, name))[0, 0] for f in found]) for name in ("low", "high"))
    held = ((low <= [[2, 1], [1, 3]]) & (high >= [[2, 1], [1, 3]])).mean(0)
    # 50 intervals at 95 % hold more than this in all but 1 of 1000 tests
    assert (held > scipy.stats.binom.ppf(1e-3, repeats, 0.95) / repeats).all()


def test_halves_share_no_fold_and_products_are_those_of_separate_fits() -> None:
    rng, folds = np.random.default_rng(2), 5
    y, x = planar(rng, 20, 2, 1.0)
    rows = gathered(y, x, dealt(x, folds))
    split = halves(folds)
    assert not (split.one & split.two).any()
    assert (split.one + split.two)[0].all()
    assert not (split.one + split.two)[3][:, 2].any()
    z = expansion(rows.theta, 1, SQUARE)[0]
    parts = [(z[rows.fold == f], rows.activity[rows.fold == f]) for f in range(folds)]
    found = crossed(Moments(np.stack([a.T @ a for a, _ in parts]), np.stack([a.T @ b for a, b in parts])), split)
    products = []
    for one, two in zip(split.one[0], split.two[0], strict=True):
        fits = [
            np.linalg.lstsq(z[side[rows.fold] > 0], rows.activity[side[rows.fold] > 0], rcond=None)[0]
            for side in (one, two)
        ]
        products.append(fits[0] @ fits[1].T)
    wanted = np.mean(products, 0)
    # two ways to solve one least squares problem
    np.testing.assert_allclose(found.product, (wanted + wanted.T) / 2, rtol=1e-9, atol=1e-12)


def test_every_time_has_its_own_metric_and_points_without_trials_none() -> None:
    rng = np.random.default_rng(3)
    angle = rng.uniform(0, np.pi, (80, 1))
    y = np.stack([np.cos(angle), np.sin(angle)], -1) * np.array([1.0, 2.0, 3.0])[None, :, None]
    y = y + 0.05 * rng.standard_normal(y.shape)
    y[:20, 2] = np.nan
    found = warping.recorded_metric(y, angle, coordinates=RING, points=8, bin_width=0.5, time_units="s", smoothness=4.0)
    np.testing.assert_array_equal(found.time, [0, 0.5, 1])
    np.testing.assert_array_equal(found.trials, [80, 80, 60])
    status = np.asarray(found.status)
    assert (status[:, [5, 6]] == warping.STATUS.index("unsampled")).all()
    assert np.isnan(np.asarray(found.metric)[:, 5]).all()
    # a quarter of the way round: squared radii, known to five standard errors
    inside = np.asarray(found.metric)[:, 2, 0, 0]
    assert (np.abs(inside - [1, 4, 9]) < 5 * np.asarray(found.standard_error)[:, 2, 0, 0]).all()
    assert warping.ratio(found, 0, 0).median.shape == (3,)
    # radii of 1, 2 and 3: the mean of their squares, in an interval of 95 % of a single draw
    assert np.asarray(found.overall_low)[0, 0] < 14 / 3 < np.asarray(found.overall_high)[0, 0]


def test_the_inner_product_is_that_of_the_model_route() -> None:
    y, x = planar(np.random.default_rng(4), 60, 1, 0.3)
    plain, per_unit, weighted = (
        warping.recorded_metric(y, x, coordinates=SQUARE, points=(2, 2), smoothness=1.0, inner=inner)
        for inner in ("euclidean", "per_unit", np.diag([1.0, 0.0, 4.0]))
    )
    # the same sums in another order
    np.testing.assert_allclose(np.asarray(per_unit.metric) * 3, plain.metric, rtol=1e-9)
    other = warping.recorded_metric(y * [1, 0, 2], x, coordinates=SQUARE, points=(2, 2), smoothness=1.0)
    np.testing.assert_allclose(weighted.metric, other.metric, rtol=1e-9)
    np.testing.assert_allclose(weighted.position, plain.position, rtol=1e-9)


def test_a_choice_at_the_limit_of_what_is_tried_is_said() -> None:
    rng = np.random.default_rng(7)
    angle = rng.uniform(0, 2 * np.pi, (120, 1))
    for waves, trials, limit in ((7, 120, "finest"), (2, 120, ""), (3, 24, "few_bins")):
        x = angle[:trials]
        y = np.stack([np.cos(waves * x), np.sin(waves * x)], -1) + 0.05 * rng.standard_normal((trials, 1, 2))
        assert warping.recorded_metric(y, x, coordinates=RING, points=2, folds=5).limit == limit
    assert warping.recorded_metric(y, x, coordinates=RING, points=2, folds=5, smoothness=3.0).limit == "given"


def test_what_does_not_fit_is_named() -> None:
    y, x = planar(np.random.default_rng(5), 20, 2, 1.0)
    for arguments, words in (
        ({"folds": 4}, "`folds` must lie in 5"),
        ({"points": (3,)}, "`points` must have a count for each of 2"),
        ({"smoothness": 1.5}, "a whole number"),
        ({"coordinates": SQUARE[:1]}, "`theta` must have shape"),
        ({"coordinates": (Coordinate("a", 5.0, 6.0), SQUARE[1])}, "no bin has both activity and coordinates"),
    ):
        with pytest.raises(InputError, match=words):
            warping.recorded_metric(y, x, **{"coordinates": SQUARE, **arguments})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="may be at most the number of trials, 20"):
        dealt(x, 21)
