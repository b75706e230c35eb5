"""Decoding the velocity of reaches from tuned units."""

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.tasks import Reaching, Trials, explained
from recurvature.training import fit

SMALL = Reaching(units=12, dt=0.05, baseline=40.0, gain=40.0)


def bell(time):
    s = np.clip((time - 0.1) / 0.8, 0, 1)
    return 16 * s**2 * (1 - s) ** 2


def test_expected_counts_and_velocities_are_those_written_out(getkey):
    trials = dataclasses.replace(SMALL, spikes=False).trials(getkey(), 6)
    time, preferred = np.arange(20) * 0.05, 2 * np.pi * np.arange(12) / 12
    for k, (direction, speed) in enumerate(np.asarray(trials.theta, float)):
        assert 0.2 <= speed <= 1
        counts = 0.05 * (40 + 40 * speed * bell(time)[:, None] * np.cos(direction - preferred))
        # float32 cosines of angles up to 4π, times numbers of order one
        np.testing.assert_allclose(trials.inputs[k], counts, atol=4e-6)
        velocity = speed * bell(time)[:, None] * np.array([np.cos(direction), np.sin(direction)])
        # the same
        np.testing.assert_allclose(trials.targets[k], velocity, atol=2e-6)


def test_counts_are_poisson_about_their_expectation(getkey):
    key = getkey()
    counts = np.asarray(SMALL.trials(key, 400).inputs)
    expected = np.asarray(dataclasses.replace(SMALL, spikes=False).trials(key, 400).inputs)
    assert (counts == np.round(counts)).all()
    assert (counts >= 0).all()
    z = (counts - expected) / np.sqrt(expected.clip(1e-6))
    fine = expected > 0.1
    # mean 0 and variance 1 over about 9·10⁴ counts; z² has variance 2 + 1/mean, at most 12: 4 standard errors
    assert abs(z[fine].mean()) < 4 / np.sqrt(fine.sum())
    # the same
    assert abs((z[fine] ** 2).mean() - 1) < 4 * np.sqrt(12 / fine.sum())


@pytest.mark.slow  # a claim holds it
def test_a_linear_decoder_has_circles_for_speeds(getkey):
    network = rc.systems.state_space(3, inputs=12, outputs=2, key=getkey(), dt=0.05)
    speeds = np.array([0.2, 0.5, 1.0])
    theta = np.stack(np.meshgrid([0.3, 0.3 + np.pi, 1.9], speeds, indexing="ij"), -1).reshape(-1, 2)
    metric = rc.warping.metric(network, SMALL.manifold(), points=theta, duration=SMALL.duration)
    g = np.asarray(metric.metric)[5:].reshape(-1, 3, 3, 2, 2)
    assert metric.coordinates == ("direction", "speed")
    # the state is linear in the velocity (v cos θ, v sin θ): its metric is that of a plane in polar coordinates
    np.testing.assert_allclose(g[..., 0, 0], g[:, :, 2:, 0, 0] * speeds**2, rtol=1e-9)
    # the same
    np.testing.assert_allclose(g[..., 1, 1], np.broadcast_to(g[:, :, 2:, 1, 1], g.shape[:3]), rtol=1e-9)
    time = rc.warping.extended_metric(network, SMALL.manifold(), points=theta, duration=SMALL.duration)
    squared_speed = np.asarray(time.metric)[:, :, 2, 2].reshape(-1, 3, 3)
    # the mean over opposite directions is a + b v²: what rest alone does, and the reach
    opposite = squared_speed[:, :2].mean(1)
    reach = (opposite[:, 2] - opposite[:, 0]) / (1 - 0.04)
    # differences of numbers a hundred times larger, at worst
    np.testing.assert_allclose((opposite[:, 1] - opposite[:, 0]) / 0.21, reach, rtol=1e-8, atol=1e-10)
    assert (reach[4:] > 0).all()


@pytest.mark.slow
def test_a_decoder_learns(getkey):
    network = rc.systems.state_space(8, inputs=12, outputs=2, key=getkey(), dt=0.05)
    done = fit(network, SMALL, key=getkey(), steps=150, learning_rate=1e-2, batch=32, block=150)
    trials = SMALL.trials(getkey(), 200)
    outputs = jnp.asarray(rc.systems.simulate(done.network, trials.inputs).outputs)
    # twelve noisy units; a decoder that knows nothing explains 0 and is right by chance in about a tenth
    assert explained(outputs, trials) > 0.4
    assert SMALL.accuracy(outputs, trials) > 0.7


def test_explained_is_one_less_the_share_of_error():
    rng = np.random.default_rng(0)
    targets, outputs = rng.normal(size=(2, 3, 4, 2))
    mask = rng.integers(0, 2, (3, 4)).astype(float)
    trials = Trials(jnp.zeros((3, 4, 1)), jnp.asarray(targets), jnp.asarray(mask))
    seen, said = targets[mask > 0], outputs[mask > 0]
    expected = 1 - ((seen - said) ** 2).sum() / ((seen - seen.mean(0)) ** 2).sum()
    # sums of two dozen numbers
    assert explained(jnp.asarray(outputs), trials) == pytest.approx(expected, rel=1e-12)
    assert explained(jnp.asarray(targets), trials) == 1
    assert np.isnan(explained(jnp.asarray(targets), dataclasses.replace(trials, targets=jnp.ones((3, 4, 2)))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gain": 25.0}, "`baseline` must be at least `gain` times `fastest`"),
        ({"slowest": 1.0}, "`slowest` must be less than `fastest`"),
        ({"slowest": 0.0}, "`slowest` must be a finite number greater than 0"),
        ({"movement": 0.85, "dt": 0.1}, "`movement` must be a whole number of steps"),
        ({"units": 0}, "`units` must be a whole number"),
    ],
)
def test_parameters_that_make_no_reach_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Reaching(**options)


def test_the_recipe_fits_the_task(getkey):
    network: Any = eqx.filter_eval_shape(SMALL.recipe().network, getkey())
    assert (network.system.input_size, network.readout.output_size, network.system.dt) == (12, 2, 0.05)
