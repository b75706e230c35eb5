"""Systems whose fixed points are known by another route, shared by the tests of the room."""

import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature.systems import Dense, LeakyCurrent, LeakyRate, LowRank

STARTS = np.linspace(-2, 2, 8)[:, None]


def one_unit(gain):
    """τ ṙ = -r + tanh(g r)."""
    return LeakyRate(Dense(jnp.full((1, 1), gain)), jnp.zeros((1, 1)), jnp.zeros(1))


@pytest.fixture(scope="package")
def rank_one():
    """A rank-one current network of 24 units with a bias and an input: one latent variable."""
    rng = np.random.default_rng(0)
    left = rng.standard_normal((24, 1))
    right = 2.0 * left + 0.5 * rng.standard_normal((24, 1))
    w_in, bias = rng.standard_normal((24, 1)), 0.1 * rng.standard_normal(24)
    return LeakyCurrent(LowRank(jnp.asarray(left), jnp.asarray(right)), jnp.asarray(w_in), jnp.asarray(bias))


@pytest.fixture(scope="package")
def rank_one_points(rank_one):
    """Its fixed points under the input 0.05, searched in the latent variable."""
    return rc.dynamics.fixed_points(rank_one, [0.05], key=rc.key(0), count=32)
