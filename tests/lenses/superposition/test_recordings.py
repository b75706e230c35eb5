"""Directions of recordings: those of the network that was recorded, with errors that hold, and a plain no where linear
directions do not describe it."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.superposition.conftest import random_weights

from recurvature._errors import InputError
from recurvature.lenses.superposition import Weights, geometry, recorded_directions

AGES = 5


def nilpotent(seed: int, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """A recurrence that forgets after n steps: the last n inputs say all."""
    generator = np.random.default_rng(seed)
    return np.triu(generator.normal(size=(n, n)), 1), generator.normal(size=(n, d))


def recorded(recurrent, inputs, x, hidden=lambda h: h):
    h, states = np.zeros((len(x), len(recurrent))), []
    for t in range(x.shape[1]):
        h = x[:, t] @ inputs.T + hidden(h) @ recurrent.T
        states.append(h)
    return np.stack(states, 1)


def colours(generator, shape, memory=0.8):
    """Inputs that are correlated in time, so that ages taken one by one would be wrong."""
    x = generator.normal(size=shape)
    for t in range(1, shape[1]):
        x[:, t] += memory * x[:, t - 1]
    return x


def test_without_noise_the_directions_are_those_of_the_network_however_inputs_are_correlated():
    recurrent, inputs = nilpotent(0, 4, 2)
    x = colours(np.random.default_rng(1), (8, 30, 2))
    readout = np.random.default_rng(2).normal(size=(2, 4))
    states = 3.0 + recorded(recurrent, inputs, x)
    found = recorded_directions(states, x, outputs=states @ readout.T, ages=AGES)
    expected = np.stack([np.linalg.matrix_power(recurrent, s) @ inputs for s in range(AGES)])
    # least squares of 200 samples on ten inputs, without noise
    np.testing.assert_allclose(found.direction, expected, atol=1e-11)
    np.testing.assert_allclose(found.projection, readout @ expected, atol=1e-10)
    np.testing.assert_allclose(found.intercept, 3, atol=1e-11)
    # nothing is left over
    assert found.total == pytest.approx(1, abs=1e-12)
    assert (found.ridge, found.samples) == (0.0, 8 * 26)
    # the same directions lead to the same geometry
    np.testing.assert_allclose(
        found.geometry(1).order_parameter, geometry_of_weights(recurrent, inputs, readout), rtol=1e-9
    )


def geometry_of_weights(recurrent, inputs, readout):
    return geometry(Weights(*map(jnp.asarray, (recurrent, inputs, readout))), 1, ages=AGES).order_parameter


def test_errors_of_noisy_directions_are_as_large_as_they_are_said_to_be():
    recurrent, inputs = nilpotent(3, 3, 1)
    expected = np.stack([np.linalg.matrix_power(recurrent, s) @ inputs for s in range(AGES)])
    generator, quotients = np.random.default_rng(4), []
    for _ in range(40):
        x = colours(generator, (20, 20, 1), memory=0.5)
        # noise that lasts for a whole trial counts once for each trial, which errors from single samples would miss
        noise = 0.5 * generator.normal(size=(20, 20, 3)) + 0.5 * generator.normal(size=(20, 1, 3))
        found = recorded_directions(recorded(recurrent, inputs, x) + noise, x, ages=AGES, ridges=(0.0,))
        error = np.linalg.norm(found.direction - expected, axis=1)
        quotients.append(error**2 / np.asarray(found.standard_error) ** 2)
    # 40 recordings of five directions: a mean of 200 quotients of spread about 1, whose denominators rest on 5 folds
    assert 0.6 < np.mean(quotients) < 1.8


def test_age_beyond_the_memory_is_not_significant_and_repeats_set_a_ceiling():
    recurrent, inputs = nilpotent(5, 3, 1)
    generator = np.random.default_rng(6)
    x = np.repeat(generator.normal(size=(30, 20, 1)), 2, axis=0)
    clean = recorded(recurrent, inputs, x)
    noise = clean.std() * generator.normal(size=clean.shape)
    found = recorded_directions(clean + noise, x, ages=6)
    assert found.significant[:3].all()
    assert not found.significant[4:].any()
    variance = clean.var((0, 1)).sum()
    share = variance / (variance + 3 * clean.std() ** 2)
    # 30 pairs of 15 steps of three units: the variance of the noise is known to some percent
    assert found.ceiling == pytest.approx(share, abs=0.06)
    # a model of the inputs explains what can be explained, and no more
    assert found.total == pytest.approx(share, abs=0.06)
    assert found.described
    assert "of 5" in found.reading() or "of 4" in found.reading()


def test_a_network_of_products_is_not_described():
    generator = np.random.default_rng(7)
    x = generator.normal(size=(20, 30, 1))
    states = np.zeros((20, 30, 1))
    states[:, 2:] = x[:, 1:-1] * x[:, :-2]
    found = recorded_directions(states, x, ages=4)
    # zero but for the chance correlations of 540 samples
    assert abs(found.total) < 0.05
    assert not found.described
    assert found.reading().startswith("Linear feature directions do not describe this network")


def test_a_single_long_trial_is_cut_and_missing_steps_are_left_out():
    weights = random_weights(1, 3, 1, radius=0.3)
    x = np.random.default_rng(8).normal(size=(1, 200, 1))
    states = recorded(np.asarray(weights.recurrent), np.asarray(weights.inputs), x)
    states[0, 50:60] = np.nan
    found = recorded_directions(states, x, ages=8)
    assert found.samples == 193 - 10
    # 0.3^8 is left out
    np.testing.assert_allclose(found.direction[0], weights.inputs, atol=1e-3)


def test_what_cannot_be_regressed_is_refused():
    x, states = np.zeros((4, 10, 1)), np.zeros((4, 10, 2))
    for words, change in (
        ("`inputs` must be finite", {"inputs": np.full((4, 10, 1), np.nan)}),
        ("`ages` must be below the number of steps, 10; got 10", {"ages": 10}),
        ("`folds` must be at least 2", {"folds": 1}),
        ("`ridges` must be finite", {"ridges": (-1.0,)}),
        ("samples in 5 folds are too few", {"ages": 9}),
    ):
        given: Any = {"states": states, "inputs": x, "ages": 3} | change
        with pytest.raises(InputError, match=words):
            recorded_directions(**given)
    found = recorded_directions(
        np.random.default_rng(0).normal(size=(6, 10, 2)), np.random.default_rng(1).normal(size=(6, 10, 1)), ages=2
    )
    with pytest.raises(InputError, match="pass `outputs`"):
        found.geometry(0)
