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
    found = warping.metric(network, ConstantInputs(circle("angle")), points=12, duration=STEPS * 0.1, space="rates")
    return found


def rates(network: rc.systems.Network, angles: np.ndarray) -> np.ndarray:
    """Expected counts of the units at two moments, (trial, 2, unit): tanh of the state, shifted to be positive."""
    inputs = np.repeat(np.stack([np.cos(angles), np.sin(angles)], -1)[:, None], STEPS, 1)
    states = simulate(network, jnp.asarray(inputs)).states
    return GAIN * (1.2 + np.tanh(np.asarray(states)[:, [BIN - 1, STEPS - 1]]))


def recorded(network: rc.systems.Network, trials: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Spike counts in two bins with a gain that all units and both bins of a trial share, and the angle of each trial."""
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
    repeats = 24
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
