"""Clip rates and linearity gaps against all sequences written out."""

import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.superposition.conftest import every_sequence, random_weights, run, square_errors

from recurvature._errors import InputError
from recurvature.lenses.superposition import Levels, Weights, clipping, recall_network

relu = lambda z: np.maximum(z, 0)  # noqa: E731


def test_rate_and_gap_are_those_of_all_sequences(planar, getkey):
    steps, delay, values = 6, 2, (0.5, 1.0)
    # at rest the readout is below 0, so that empty trials clip
    network = recall_network(planar, kind="ssm", bias=jnp.array([-0.1]))
    for density in (0.05, 0.4):
        x, chance = every_sequence(steps, 1, density, values)
        linear = run(planar, x) - 0.1
        losses = [chance @ square_errors(x, y, delay) for y in (relu(linear), linear)]
        rate = chance @ (linear < 0).mean((1, 2))
        found = clipping(
            network, steps=steps, delay=delay, density=density, amplitude=Levels(values), trials=4000, key=getkey()
        )
        # 4 standard errors
        assert abs(found.rate[0] - rate) < 4 * found.rate_error[0]
        assert abs(found.gap - losses[1] / losses[0]) < 4 * found.gap_error
        assert found.rate[0] > 0.01
        assert found.gap_error < 0.1 * found.gap
        assert found.linear_loss / found.loss == pytest.approx(found.gap, rel=1e-12)


def test_a_network_that_is_never_negative_is_linear(getkey):
    weights = Weights(jnp.eye(2) * 0.5, jnp.ones((2, 1)), jnp.ones((1, 2)))
    network = recall_network(weights, kind="ssm", bias=jnp.zeros(1))
    # the sizes and levels of the test above: one compiled program
    found = clipping(network, steps=6, delay=2, density=0.4, amplitude=Levels((0.5, 1.0)), trials=4000, key=getkey())
    assert (found.rate[0], found.gap, found.gap_error) == (0.0, 1.0, 0.0)


def test_other_readouts_clip_nothing(getkey):
    with pytest.raises(InputError, match="needs an ActivatedReadout with a relu"):
        clipping(recall_network(random_weights(0, 2, 1)), steps=6, delay=2, density=0.4, key=getkey())
