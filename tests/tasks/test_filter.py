"""Filters: targets by another route, the loss they amount to, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov
from recurvature.systems import sample_inputs
from recurvature.tasks import DampedOscillator, ExponentialFilter

STEPS, DT = 40, 0.25
RANK1 = ov.Layout(1, 1, 1)


def test_the_response_to_an_impulse_is_the_kernel_on_the_grid(getkey):
    task = DampedOscillator(dt=DT, steps=STEPS)
    trials = task.trials(getkey(), 6)
    sign = np.asarray(trials.theta)
    assert {-1.0, 1.0} == set(np.unique(sign))
    n = np.arange(STEPS)
    expected = sign * (np.exp(-0.3 * n * DT) * np.cos(2.0 * n * DT))[None]
    # float32 of numbers up to 1
    np.testing.assert_allclose(np.asarray(trials.targets)[..., 0], expected, atol=2e-7)
    np.testing.assert_array_equal(np.asarray(trials.inputs)[:, 0, 0], sign[:, 0] / DT)
    assert (np.asarray(trials.inputs)[:, 1:] == 0).all()


def test_targets_of_noise_are_those_of_a_recursive_filter(getkey):
    task = ExponentialFilter(dt=DT, steps=STEPS, amplitude=1.5, rate=0.4, input="white")
    trials = task.trials(getkey(), 5)
    x = np.asarray(trials.inputs)[..., 0].astype(float)
    # the same filter as a difference equation: y_n = e^{-c dt} y_{n-1} + a dt x_n
    expected = scipy.signal.lfilter([1.5 * DT], [1, -np.exp(-0.4 * DT)], x)
    # float32 sums of 40 products at values up to 5
    np.testing.assert_allclose(np.asarray(trials.targets)[..., 0], expected, atol=1e-5)


def test_noise_has_unit_intensity_and_fills_its_chart(getkey):
    task = ExponentialFilter(dt=DT, steps=STEPS, input="white")
    trials = task.trials(getkey(), 500)
    x = np.asarray(trials.inputs)[..., 0].astype(float)
    # the mean of 20 000 squares of relative spread sqrt(2): four standard errors
    assert abs((x**2).mean() * DT - 1) < 4 * np.sqrt(2 / x.size)
    manifold = task.manifold()
    assert manifold.dimension == STEPS
    assert np.abs(np.asarray(trials.theta)).max() <= manifold.coordinates[0].high
    sampled = sample_inputs(manifold, jnp.asarray(trials.theta)[:2], dt=DT, steps=STEPS)
    # one product in float32
    np.testing.assert_allclose(sampled, np.asarray(trials.inputs)[:2], rtol=1e-6)


@pytest.mark.parametrize("kind", ["impulse", "white"])
def test_the_mean_square_error_is_the_closed_form_loss(kind, getkey):
    task = ExponentialFilter(dt=DT, steps=STEPS, input=kind)
    overlaps = jnp.asarray(ov.matrix(RANK1, {"z·m": 0.6, "z·u": 0.5, "v·m": 0.4, "v·u": 0.3}))
    loss = ov.FilterLoss(ov.exponential(1.0, 0.2), RANK1, DT, task.duration, kind)
    count = 2 if kind == "impulse" else 4000
    trials = task.trials(getkey(), count)
    response = np.asarray(ov.kernel(overlaps, RANK1, STEPS, DT))[:, 0, 0] * DT
    x = np.asarray(trials.inputs)[..., 0].astype(float)
    outputs = np.stack([np.convolve(row, response)[:STEPS] for row in x])
    error = ((outputs - np.asarray(trials.targets)[..., 0]) ** 2).mean(1)
    if kind == "impulse":
        # float32 targets
        np.testing.assert_allclose(error, float(loss(overlaps)) / task.duration, rtol=1e-5)
    else:
        # four standard errors of the mean over trials
        assert abs(error.mean() - float(loss(overlaps))) < 4 * error.std() / np.sqrt(count)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExponentialFilter(input="sine"), "`input` must be one of impulse, white; got 'sine'"),
        (lambda: ExponentialFilter(rate=-0.2), "`rate` must be a finite number greater than 0"),
        (lambda: ExponentialFilter(amplitude=0.0), "`amplitude` must be a finite number other than 0"),
        (lambda: DampedOscillator(frequency=0.0), "`frequency` must be a finite number greater than 0"),
        (lambda: DampedOscillator(steps=0), "`steps` must be a whole number of at least 1"),
        (lambda: DampedOscillator().manifold(context=1), "a filter has no conditions; got context"),
    ],
)
def test_what_makes_no_filter_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
