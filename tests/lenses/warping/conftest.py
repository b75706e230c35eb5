"""One small network and one manifold with two pulses, shared by the tests of the lens."""

import jax.numpy as jnp
import pytest
from jaxtyping import Array

import recurvature as rc
from recurvature.systems import Network, PulsedInputs, torus

DT = 0.1


def two_pulses(theta: Array) -> Array:
    """Two items, one after the other, each a point of a circle in input channels of its own."""
    a, b = theta
    zero = jnp.zeros_like(a)
    return jnp.stack([jnp.stack([jnp.cos(a), jnp.sin(a), zero, zero]), jnp.stack([zero, zero, jnp.cos(b), jnp.sin(b)])])


@pytest.fixture(scope="session")
def network() -> Network:
    """A random leaky-current network of 30 units."""
    return rc.systems.leaky_current(30, inputs=4, outputs=2, key=rc.key(0), dt=DT, gain=1.2)


@pytest.fixture(scope="session")
def manifold() -> PulsedInputs:
    """A torus of two items: on [0, 0.5) and [1, 1.5)."""
    return PulsedInputs(torus("a", "b"), two_pulses, ((0.0, 0.5), (1.0, 1.5)))
