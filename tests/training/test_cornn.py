"""The one-step fit: exact on activity of a network, one optimum, robust, and clear about what it did."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
from jaxtyping import Array

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import Network, leaky_current, leaky_rate, simulate
from recurvature.training import Activity, OneStepFit, cornn, sample_activity, scan_alpha

UNITS, TRIALS, TIME = 20, 20, 41


@pytest.fixture(scope="module")
def truth() -> Network:
    """Twenty units, rich enough in activity of their own to leave no direction out."""
    return leaky_rate(UNITS, inputs=2, outputs=1, key=rc.key(1), dt=0.5, gain=1.2)


@pytest.fixture(scope="module")
def recorded(truth: Network) -> Activity:
    """What they do from other states than rest, under random inputs that saturate none of them."""
    rng = np.random.default_rng(0)
    start = rng.uniform(-0.8, 0.8, size=(TRIALS, UNITS))
    inputs = 0.5 * rng.normal(size=(TRIALS, TIME, 2))
    step = jax.jit(jax.vmap(truth.system.step))  # type: ignore[attr-defined]
    x, rates = jnp.asarray(start), []
    for t in range(TIME):
        x = step(x, jnp.asarray(inputs[:, t]))
        rates.append(np.asarray(x))
    return Activity(np.stack(rates, axis=1), inputs, 0.5, start)


@pytest.fixture(scope="module")
def noisy(recorded: Activity) -> Activity:
    """The same with a little noise on every sample."""
    noise = 0.02 * np.random.default_rng(1).normal(size=(TRIALS, TIME, UNITS))
    return dataclasses.replace(recorded, rates=np.asarray(recorded.rates) + noise)


def weights(network: Network) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    flow = network.system.flow  # type: ignore[attr-defined]
    return np.asarray(flow.connectivity.weight), np.asarray(flow.input_weights), np.asarray(flow.bias)


def rows(activity: Activity) -> tuple[np.ndarray, np.ndarray]:
    """Features and targets, written out once more."""
    rates = np.concatenate([np.asarray(activity.start)[:, None], np.asarray(activity.rates)], axis=1)
    before, after = rates[:, :-1].reshape(-1, UNITS), rates[:, 1:].reshape(-1, UNITS)
    features = np.concatenate([before, np.asarray(activity.inputs).reshape(-1, 2)], axis=1)
    return features, 2 * after - before


def test_activity_of_a_network_gives_the_network_back_from_least_squares_alone(truth, recorded):
    fit = cornn(recorded, ridge=1e-14)
    # targets within 1e-6 of ±1 would have lost digits; of a share of samples that is none
    assert np.asarray(fit.report.clipped).max() == 0
    for found, true in zip(weights(fit.network)[:2], weights(truth)[:2], strict=True):
        # the ridge of 1e-14 over the least variance of the activity, about 1e-5, and rounding of artanh
        np.testing.assert_allclose(found, true, atol=1e-8)
    report = fit.report
    # before the first iteration
    assert report.objective[0] < 1e-12
    assert (report.r2 > 1 - 1e-12).all()
    assert (np.asarray(report.status) == 0).all()
    assert report.scale == 1.0
    assert report.samples == TRIALS * TIME


def objective(features, d, ridge, weighting, free):
    """The objective of one unit from its textbook form, and its gradient."""
    c = 1 / (1 - d**2) if weighting == "curvature" else np.ones_like(d)
    p = (1 + d) / 2

    def both(theta):
        full = np.zeros(features.shape[1])
        full[free] = theta
        z = features @ full
        loss = (c * (np.logaddexp(0, 2 * z) - p * 2 * z)).mean() + ridge / 2 * full @ full
        slope = features.T @ (c * (np.tanh(z) - d)) / len(d) + ridge * full
        return loss, slope[free]

    return both


@pytest.mark.parametrize(("weighting", "self_coupling"), [("curvature", True), ("equal", False)])
def test_there_is_one_optimum_and_a_general_minimiser_finds_it_too(noisy, weighting, self_coupling):
    fit = cornn(noisy, outlier=None, weighting=weighting, self_coupling=self_coupling, iterations=300)
    weight, inputs, _ = weights(fit.network)
    features, targets = rows(noisy)
    unit = int(np.abs(targets).max(0).argmin())
    free = np.asarray([k for k in range(UNITS + 2) if self_coupling or k != unit])
    assert np.abs(targets[:, unit]).max() < 1
    fun = objective(features, targets[:, unit], 1e-4, weighting, free)
    found = scipy.optimize.minimize(
        fun, np.zeros(len(free)), jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-10}
    )
    ours = np.concatenate([weight[unit], inputs[unit]])
    # gradients of 1e-8 over the least curvature of the objective, its ridge and activity of 1e-4
    np.testing.assert_allclose(ours[free], found.x, atol=1e-4)
    assert fun(ours[free])[0] <= found.fun + 1e-10
    if not self_coupling:
        assert (np.diag(weight) == 0).all()


def test_the_objective_never_rises_and_is_the_excess_plus_the_penalty(noisy):
    fit = cornn(noisy, outlier=None, iterations=30)
    report = fit.report
    # the slack of a line search, a thousandth of a millionth
    assert (np.diff(report.objective) <= 1e-8 * report.objective[:-1]).all()
    weight, inputs, _ = weights(fit.network)
    penalty = 0.5e-4 * ((weight**2).sum() + (inputs**2).sum()) / UNITS
    # sums of 440 squares
    np.testing.assert_allclose(report.objective[-1] - report.excess[-1], penalty, rtol=1e-8)
    features, targets = rows(noisy)
    d = np.clip(targets, -1 + 1e-6, 1 - 1e-6)
    z = features @ np.concatenate([weight, inputs], axis=1).T
    # from the textbook: cross-entropy of two-valued distributions, less the entropy of the first
    p, log = (1 + d) / 2, scipy.special.log_expit
    cross = -p * log(2 * z) - (1 - p) * log(-2 * z)
    excess = ((cross - scipy.special.entr(p) - scipy.special.entr(1 - p)) / (1 - d**2)).mean()
    # logarithms that cancel to 1e-3, weighted by up to 5e5 at clipped targets
    np.testing.assert_allclose(report.excess[-1], excess, rtol=1e-6)


def test_wild_samples_are_left_out(truth, recorded):
    rng = np.random.default_rng(2)
    spoilt = np.where(rng.random(np.shape(recorded.rates)) < 0.002, 0.9, np.asarray(recorded.rates))
    hit = dataclasses.replace(recorded, rates=spoilt)
    error = lambda fit: np.abs(weights(fit.network)[0] - weights(truth)[0]).mean()  # noqa: E731
    robust, plain = cornn(hit, ridge=1e-10), cornn(hit, ridge=1e-10, outlier=None)
    # a sample is both a target twice and a feature of all units: about 4 % of the rows are touched
    assert error(robust) < error(plain) / 3
    assert 0 < robust.report.dropped[-1] < 0.05
    assert (plain.report.dropped == 0).all()


def test_a_bias_is_found_and_blocks_change_nothing(truth, recorded):
    shift = np.linspace(-0.2, 0.2, UNITS)
    flow = truth.system.flow
    shifted = dataclasses.replace(flow, bias=jnp.asarray(shift))
    network = dataclasses.replace(truth, system=dataclasses.replace(truth.system, flow=shifted))
    activity = sample_activity(network, np.asarray(recorded.inputs))
    fits = [cornn(activity, ridge=1e-13, bias=True, block=block, iterations=2) for block in (7, 512)]
    # as above, with less variance from rest
    np.testing.assert_allclose(weights(fits[0].network)[2], shift, atol=1e-6)
    for a, b in zip(weights(fits[0].network), weights(fits[1].network), strict=True):
        # the same sums in other orders, over the least variance
        np.testing.assert_allclose(a, b, atol=1e-8)
    again = np.asarray(simulate(fits[0].network, jnp.asarray(recorded.inputs)).states)
    # errors of 1e-6 in weights; the network contracts
    np.testing.assert_allclose(again, activity.rates, atol=1e-4)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.slow  # the same fit, partly seen
def test_half_of_the_units_still_show_how_they_drive_one_another(truth, recorded):
    some = np.arange(0, UNITS, 2)
    seen = dataclasses.replace(
        recorded, rates=np.asarray(recorded.rates)[..., some], start=np.asarray(recorded.start)[:, some]
    )
    fit = cornn(seen)
    # chance correlations of 100 pairs have a standard deviation of 0.1
    assert correlation(weights(fit.network)[0], weights(truth)[0][np.ix_(some, some)]) > 0.5
    assert fit.network.system.state_size == UNITS // 2


@pytest.mark.slow  # a sweep over the fit that is tested by default
def test_a_wrong_time_constant_spoils_the_weights_little_and_the_run_of_a_trial_shows_it(truth, noisy):
    wrong = dataclasses.replace(noisy, alpha=0.6)
    found, _, _ = weights(cornn(wrong).network)
    off = ~np.eye(UNITS, dtype=bool)
    # a wrong alpha shifts targets by a multiple of the unit's own rate: the diagonal takes that up
    assert correlation(found[off], weights(truth)[0][off]) > 0.9
    scan = scan_alpha(noisy, [0.3, 0.5, 0.8], held_out=5, iterations=5)
    assert scan.best == 0.5
    assert scan.run_r2[1] > 0.9
    assert np.ptp(scan.step_r2) < 0.2


def test_rates_beyond_the_range_of_tanh_are_scaled(truth, recorded):
    tall = dataclasses.replace(
        recorded, rates=3 * np.asarray(recorded.rates), start=3 * np.asarray(recorded.start), tau=2.0
    )
    fit = cornn(tall, ridge=1e-12, scale=3.0)
    # the same problem but for the rounding of two products by 3
    np.testing.assert_allclose(weights(fit.network)[0], weights(truth)[0], atol=1e-6)
    assert (fit.report.scale, fit.network.system.dt) == (3.0, 1.0)  # type: ignore[attr-defined]
    assert cornn(tall).report.scale == np.abs(np.asarray(tall.rates)).max()


def test_without_inputs_and_with_too_few_steps(recorded):
    short = Activity(np.asarray(recorded.rates)[:2, :8].astype(np.float32), None, 0.5)
    fit: OneStepFit = cornn(short, iterations=3)
    assert fit.network.system.input_size == 1
    assert (weights(fit.network)[1] == 0).all()
    assert {leaf.dtype for leaf in jax.tree.leaves(fit.network) if isinstance(leaf, Array)} == {jnp.dtype("float32")}
    # 14 steps, 21 weights to a unit
    assert fit.report.samples == 14
    assert {fit.report.statuses[k] for k in np.asarray(fit.report.status)} == {"undetermined"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, r"`alpha` must lie in \(0, 1\]"),
        # jaxtyping may see a clash of shapes first, and says which field
        ({"inputs": np.zeros((3, 4, 1))}, r"`inputs` must have shape \(20, 41, any\)|'inputs'"),
        ({"start": np.zeros(3)}, r"`start` must have shape \(20,\) or \(20, 20\); got \(3,\)|'start'"),
        ({"rates": np.full((TRIALS, TIME, UNITS), np.nan)}, "`rates` has values that are NaN or infinite"),
        ({"rates": np.zeros((TRIALS, 1, UNITS)), "inputs": None, "start": None}, "`rates` must hold a step"),
    ],
)
def test_activity_that_cannot_be_fitted_is_refused(recorded, options, message):
    with pytest.raises((InputError, TypeError), match=message):
        dataclasses.replace(recorded, **options)


def test_options_that_make_no_sense_are_refused(recorded):
    for options, message in (
        ({"ridge": 0.0}, "`ridge` must be a finite number greater than 0"),
        ({"outlier": -1.0}, "`outlier` must be a finite number greater than 0"),
        ({"block": 0}, "`block` must be a whole number of at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            cornn(recorded, **options)
    with pytest.raises(InputError, match="`held_out` must leave trials to fit"):
        scan_alpha(recorded, [0.5], held_out=TRIALS)
    with pytest.raises(InputError, match="Euler map of a tanh rate network"):
        sample_activity(leaky_current(4, inputs=2, outputs=1, key=rc.key(0)), recorded.inputs)
