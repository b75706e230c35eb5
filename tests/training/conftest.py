"""What the tests of training share: a short task and a small network."""

import jax.numpy as jnp
import pytest

import recurvature as rc
from recurvature.systems import Network, leaky_current
from recurvature.tasks import RandomDots
from recurvature.tasks.base import Trials


@pytest.fixture
def task() -> RandomDots:
    """Random dots in eight steps."""
    return RandomDots(fixation_steps=1, stimulus_steps=3, delay_steps=1, response_steps=3)


@pytest.fixture
def network() -> Network:
    """Six leaky units in float64, which training is to cast."""
    return leaky_current(6, inputs=1, outputs=1, key=rc.key(0))


@pytest.fixture
def small(network: Network) -> Network:
    """`network` as training starts from it: in float32."""
    return rc.cast(network, jnp.float32)


@pytest.fixture
def trials(task: RandomDots) -> Trials:
    """Five trials."""
    return task.trials(rc.key(3), 5)
