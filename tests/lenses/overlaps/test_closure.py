"""The Gaussian closure of nonlinear units: what of it is exact, what is not, and that it says so."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from tests.lenses.overlaps.prescribed import DT, RANK1, overlaps_along, some_overlaps, some_vectors

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov
from recurvature.lenses.overlaps.closure import Mixture, excess_kurtosis, kurtosis_of_chance, row_kurtosis
from recurvature.lenses.overlaps.descent import closure_of
from recurvature.lenses.overlaps.span import outside_span

SATURATED = ov.matrix(RANK1, {"z·m": 0.2, "z·u": 0.5, "v·m": 0.6, "v·u": 1.3, "m·u": 0.2}, diagonal=2.0)
"""Overlaps of a network whose units saturate."""
MANY = 20_000


@functools.cache
def pulses(phi: str = "erf", size: float = 2.0) -> ov.DataLoss:
    """Pulses of either sign, to be remembered."""
    rng = np.random.default_rng(0)
    x = np.zeros((3, 24, 1))
    for trial in x:
        for start in rng.choice(18, 2):
            trial[start : start + 3] = size * rng.choice([-1, 1])
    return ov.DataLoss(jnp.asarray(x), jnp.asarray(0.25 * np.sign(np.cumsum(x, axis=1))), RANK1, DT, phi=phi)


@functools.cache
def gaussian(units: int, seed: int = 0) -> np.ndarray:
    """Whitened Gaussian vectors with the saturated overlaps."""
    return np.asarray(ov.vectors(SATURATED, RANK1, units, key=rc.key(seed)))


@functools.cache
def seen(units: int) -> ov.Closure:
    return ov.closure(gaussian(units), pulses(), key=rc.key(1))


@pytest.mark.parametrize("phi", ["erf", *(pytest.param(p, marks=pytest.mark.slow) for p in ("identity", "tanh"))])
def test_all_units_are_run_as_the_network_runs(phi: str) -> None:
    theta = some_vectors(RANK1, 40, 2)
    outputs = rc.systems.simulate(ov.assemble(theta, RANK1, dt=DT, phi=phi), pulses().inputs).outputs
    # sums over units in another order
    np.testing.assert_allclose(ov.simulated(theta, RANK1, pulses().inputs, DT, phi), outputs, rtol=0, atol=1e-13)


def test_a_bias_and_a_start_need_no_inputs_of_their_own() -> None:
    layout = ov.Layout(1, 1, 3, ("m", "bias", "start"))
    theta = some_vectors(layout, 30, 2)
    x = pulses().inputs[:1]
    # by hand: unit by unit, with a constant and an initial state
    z, v, m, bias, start, u = np.asarray(theta).T
    h, expected = start, []
    for t in range(x.shape[1]):
        h = h + DT * (-h + u * (v @ np.tanh(h)) / 30 + m * float(x[0, t, 0]) + bias)
        expected.append(z @ np.tanh(h) / 30)
    # rounding
    np.testing.assert_allclose(ov.simulated(theta, layout, x, DT, "tanh")[0, :, 0], expected, rtol=0, atol=1e-14)
    s = jnp.asarray(theta.T @ theta / 30)
    linear = ov.respond(s, layout, x[0], DT)
    np.testing.assert_allclose(linear, ov.simulated(theta, layout, x, DT)[0], rtol=0, atol=1e-13)


def test_linear_units_close() -> None:
    found = ov.closure(gaussian(400), pulses("identity"), key=rc.key(1))
    # identities, to rounding
    np.testing.assert_allclose(found.energy_ratio, 1, rtol=1e-12)
    for defect in (found.closure_defect, found.gain_defect, found.velocity_defect, found.outside):
        assert defect[0] < 1e-12
    assert found.trusted


def test_gaussian_units_answer_and_begin_to_learn_as_the_effective_network() -> None:
    found = seen(MANY)
    chance = 1 / np.sqrt(MANY)
    # by Stein's lemma all of these vanish but for sampling: five standard errors of quantities of order one
    assert found.closure_defect[0] < 5 * chance
    assert found.gain_defect[0] < 5 * chance
    assert found.velocity_defect[0] < 5 * chance
    assert abs(found.loss[0] / found.predicted_loss[0] - 1) < 5 * chance
    assert found.trusted
    # but one unit's force is no linear function of its weights: energy is lost to the closure, however many units
    assert found.energy_ratio[0] > 1.05
    assert found.outside[0] == pytest.approx(np.sqrt(1 - 1 / found.energy_ratio[0]), abs=5 * chance)


def test_units_that_hardly_saturate_nearly_close() -> None:
    small, smaller = (
        ov.closure(gaussian(MANY), pulses("erf", size), key=rc.key(1)).energy_ratio[0] - 1 for size in (0.2, 0.1)
    )
    assert small < 1e-2
    # the loss of energy goes with a power of the variance of the state, which goes with the square of the input
    assert smaller < small / 2


def test_the_effective_gradient_does_not_know_the_vectors_that_read() -> None:
    gamma = ov.to_pairs(ov.symmetric_gradient(pulses(), jnp.asarray(SATURATED)), RANK1)
    visible = RANK1.visible("gaussian")
    # zero, not small
    assert (gamma[~visible] == 0).all()
    assert (gamma[visible] != 0).all()


@pytest.mark.parametrize("phi", ["erf", pytest.param("tanh", marks=pytest.mark.slow)])
def test_the_effective_gradient_is_that_of_its_loss(phi: str) -> None:
    s, loss = np.asarray(some_overlaps(RANK1)), pulses(phi)
    gamma = np.asarray(ov.symmetric_gradient(loss, jnp.asarray(s)))
    rng = np.random.default_rng(0)
    change = rng.normal(size=s.shape)
    change = 1e-5 * (change + change.T)
    difference = (loss(jnp.asarray(s + change)) - loss(jnp.asarray(s - change))) / 2
    # central differences: the square of the step
    assert float(difference) == pytest.approx(np.trace(gamma @ change), rel=1e-6)


@pytest.mark.slow  # a claim follows it over many sizes
def test_learning_leaves_the_closure_and_is_seen_to() -> None:
    theta = gaussian(400)
    full = ov.descend_units(pulses(), theta, 2.0, steps=60, every=10, layout=RANK1)
    forecast = ov.descend(pulses(), SATURATED, 2.0, steps=60, every=10, layout=RANK1)
    assert forecast.method == "gradient descent of the effective network"
    np.testing.assert_allclose(full.matrix, overlaps_along(jnp.asarray(full.vectors)), rtol=0, atol=1e-13)
    # it began where it was said to, and the loss falls
    np.testing.assert_allclose(full.matrix[0], SATURATED, rtol=0, atol=1e-13)
    assert full.loss[-1] < 0.5 * full.loss[0]
    # weights leave the span of the first ones, and the overlaps leave the forecast by more than sampling
    assert full.outside[-1] > 0.1
    assert np.abs(full.matrix[-1] - forecast.matrix[-1]).max() > 2 / np.sqrt(400)
    # more coupling than one is no instability of units that saturate, and that it is wrong the forecast knows itself
    assert (forecast.margin < 0).all()
    assert [ov.STATUS[code] for code in forecast.status] == ["ok"] + ["not_gaussian"] * 6
    # what the forecast itself would have said
    foretold = ov.closure(theta, pulses(), key=rc.key(1), learning=forecast)
    np.testing.assert_allclose(foretold.predicted_loss, forecast.loss, rtol=1e-10)
    assert foretold.energy_ratio[-1] > 1.1
    # the units of this network were not given: others were drawn
    assert forecast.closure == "drawn"
    one_fails = dataclasses.replace(foretold, status=np.array([0, 0, 5, 0, 0, 0, 0], np.int8))
    untold = ov.descend(pulses(), SATURATED, 2.0, steps=60, every=10, layout=RANK1, looks=0)
    assert (untold.closure, untold.diagnostics) == ("unchecked", {"untested": "nobody has looked: `looks` is 0"})
    told = ov.checked(untold, one_fails)
    assert told.closure == "checked"
    # what has been lost stays lost
    assert [ov.STATUS[code] for code in told.status] == ["ok"] * 2 + ["not_gaussian"] * 5
    with pytest.raises(InputError, match="`found` tests 1 records"):
        ov.checked(forecast, seen(MANY))
    after = ov.closure(full.vectors[[0, -1]], pulses(), key=rc.key(1))
    assert ov.STATUS[after.status[-1]] == "not_gaussian"
    assert not after.trusted


def test_a_course_of_overlaps_says_whether_it_assumed_anything() -> None:
    assert closure_of(pulses("identity")) == "exact"
    # one phase with nonlinear units is enough, and so is a caller who says that they are
    assert closure_of(pulses("identity"), pulses()) == closure_of(pulses("identity"), regime="gaussian") == "unchecked"
    assert {closure_of(pulses()), "exact", "drawn", "checked"} == set(ov.CLOSURE)


def test_weights_that_are_not_gaussian_are_called_so() -> None:
    theta = np.random.default_rng(0).laplace(size=(MANY, 4))
    found = ov.closure(theta, pulses(), key=rc.key(1))
    # the excess kurtosis of the Laplace distribution is 3; that of a sample of heavy tails scatters
    np.testing.assert_allclose(found.kurtosis[0], 3, atol=0.6)
    assert ov.STATUS[found.status[0]] == "not_gaussian"
    assert found.largest_kurtosis == 0.3


def test_kurtosis_is_that_of_scipy_and_of_mardia() -> None:
    rng = np.random.default_rng(0)
    # two populations of 200 and 300 units
    group = np.repeat([0, 1], [200, 300])
    mean = Mixture.of(group, np.array([0.4, 0.6]), float).mean
    mardia = jax.jit(lambda y: row_kurtosis(y, mean(y[:, :, None] * y[:, None, :]), mean))
    x = rng.laplace(size=(500, 3))
    for k in (0, 1):
        x[group == k] -= x[group == k].mean(0)
    expected = [scipy.stats.kurtosis(x[group == k]) for k in (0, 1)]
    # the same moments
    np.testing.assert_allclose(excess_kurtosis(jnp.asarray(x), mean), expected, rtol=1e-12)
    assert (excess_kurtosis(jnp.zeros((500, 3)), mean) == 0).all()
    # a copy of one column is no second one: the excess kurtosis itself
    np.testing.assert_allclose(mardia(jnp.asarray(x[:, [0, 0, 0]])), np.array(expected)[:, 0], rtol=1e-9)
    # the same in every basis
    turned = x @ rng.normal(size=(3, 3))
    np.testing.assert_allclose(mardia(jnp.asarray(turned)), mardia(jnp.asarray(x)), rtol=1e-9)


def test_what_sampling_does_to_the_tests_is_no_fault() -> None:
    # rows at random: a reading and a drive that are all but zero, of some units and of very many
    rng, found = np.random.default_rng(0), []
    for units in (400, MANY):
        seen = ov.closure(rng.normal(size=(8, units, 4)), pulses(), key=rc.key(1))
        assert seen.trusted
        found.append(seen)
    # what is read is itself of the size of a sampling error: its error does not become smaller beside it, and with it
    # neither does the standard error; of eight draws each
    sizes = [np.sqrt(np.mean(np.square(each.closure_defect))) for each in found]
    assert sizes[1] > 3 / np.sqrt(MANY)
    for each, size in zip(found, sizes, strict=True):
        # root mean squares of eight: to a factor of two
        assert 0.5 < size / np.sqrt(np.mean(np.square(each.closure_error))) < 2
    # the limit of a kurtosis: of 2000 samples at most 2 in a hundred are beyond it, and some are
    draws = rng.normal(size=(2000, 500, 4))
    beyond = np.abs(scipy.stats.kurtosis(draws, axis=1)).max(1) > kurtosis_of_chance(500, 4)
    assert 0 < beyond.mean() < 0.02


def test_vectors_that_depend_on_one_another_span_no_more_than_they_do() -> None:
    rng = np.random.default_rng(0)
    theta, moves = rng.normal(size=(30, 3)), rng.normal(size=(2, 30, 4))
    dependent = np.column_stack([theta, theta[:, 0], np.zeros(30)])
    # by least squares, rounding
    expected = [x - theta @ np.linalg.lstsq(theta, x, rcond=None)[0] for x in moves]
    np.testing.assert_allclose(outside_span(jnp.asarray(moves), jnp.asarray(dependent)), expected, rtol=0, atol=1e-12)
    shares = [np.linalg.norm(left) / np.linalg.norm(x) for left, x in zip(expected, moves, strict=True)]
    np.testing.assert_allclose(ov.share_outside(moves, dependent), shares, rtol=1e-12)
    assert float(ov.share_outside(0 * moves[0], dependent)) == 0


def test_few_units_are_no_sample() -> None:
    with pytest.raises(InputError, match="4 units are no sample"):
        ov.closure(np.eye(4), pulses(), key=rc.key(0))


@pytest.mark.slow
def test_the_velocity_of_gaussian_units_is_exact_at_a_known_rate() -> None:
    sizes = [100, 400, 1600, 6400]

    def defect(units: int) -> float:
        found = [ov.closure(gaussian(units, k), pulses(), key=rc.key(1)).velocity_defect[0] for k in range(8)]
        return float(np.sqrt(np.mean(np.square(found))))

    slope = np.polyfit(np.log(sizes), np.log([defect(n) for n in sizes]), 1)[0]
    # sampling: -1/2; eight seeds leave a standard error of about 0.06
    assert abs(slope + 0.5) < 0.15


@pytest.mark.slow
def test_the_error_of_the_forecast_does_not_vanish_with_more_units() -> None:
    options: dict = {"steps": 60, "every": 10, "layout": RANK1}
    forecast = ov.descend(pulses(), SATURATED, 2.0, **options).matrix[-1]

    def error(units: int) -> float:
        ends = [ov.descend_units(pulses(), gaussian(units, k), 2.0, **options).matrix[-1] for k in range(2)]
        return float(np.sqrt(np.mean([np.abs(end - forecast).max() ** 2 for end in ends])))

    # sampling would bring it down to 0.35 with eight times the units; that the velocity is exact does not help
    assert error(3200) > 0.7 * error(400) > 0.07


def test_several_times_of_learning_are_one_result() -> None:
    found = ov.closure(np.stack([gaussian(400), 1.1 * gaussian(400)]), pulses(), key=rc.key(1))
    assert found.kurtosis.shape == (2, 4)
    # kurtosis does not know the scale
    np.testing.assert_allclose(found.kurtosis[0], found.kurtosis[1], rtol=1e-9)
    assert ov.Closure.from_xarray(found.to_xarray()).columns == ("z", "v", "m", "u")
