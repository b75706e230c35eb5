from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import Dense, LowRank
from recurvature.systems.connectivity import random_connectivity

LARGE = 10_000
times = eqx.filter_jit(lambda connectivity, rates: connectivity(rates))
multiplied_out = eqx.filter_jit(lambda connectivity: connectivity.dense())


@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([3, 20]), rank=st.just(2))
def test_low_rank_equals_its_dense_matrix(seed, size, rank):
    generator = np.random.default_rng(seed)
    left, right, rates = (jnp.asarray(generator.normal(size=shape)) for shape in [(size, rank)] * 2 + [(4, size)])
    for low, scale in ((LowRank(left, right), 1 / size), (LowRank(left, right, "1"), 1.0)):
        matrix = np.asarray(left) @ np.asarray(right).T * scale
        # sums of at most 40 products in another order
        np.testing.assert_allclose(multiplied_out(low), matrix, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(times(low, rates), np.asarray(rates) @ matrix.T, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(times(low, rates), times(Dense(multiplied_out(low)), rates), rtol=1e-11, atol=1e-12)


def gradient(network: rc.systems.Network, inputs: jax.Array) -> rc.systems.Network:
    return jax.grad(lambda net: rc.systems.simulate(net, inputs).outputs.sum())(network)


@pytest.mark.parametrize("make", ["leaky-current", "leaky-rate", "linear"])
def test_low_rank_never_forms_the_matrix(make, getkey):
    net = rc.systems.CONSTRUCTORS[make](LARGE, inputs=2, outputs=1, key=getkey(), rank=2)
    inputs = jnp.ones((2, 3, 2))
    square = f"{LARGE},{LARGE}"
    assert square not in str(jax.make_jaxpr(gradient)(net, inputs))
    compiled = jax.jit(gradient).lower(net, inputs).compile()
    assert square not in str(compiled.as_text())
    # 80 kB a vector; the matrix alone would be 800 MB
    memory: Any = compiled.memory_analysis()
    assert memory.temp_size_in_bytes < 20e6
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(compiled(net, inputs)))


def test_the_search_for_square_matrices_finds_a_dense_one(getkey):
    net = rc.systems.leaky_current(50, inputs=2, outputs=1, key=getkey())
    assert "50,50" in str(jax.make_jaxpr(gradient)(net, jnp.ones((2, 3, 2))))


def test_random_weights_have_the_gain_asked_for(getkey):
    dense = random_connectivity(200, rank=None, gain=0.7, key=getkey())
    # standard deviation of 40,000 normal draws: relative standard error 1/sqrt(80,000), times 4
    assert abs(np.std(dense.dense()) * np.sqrt(200) / 0.7 - 1) < 4 / np.sqrt(80_000)
    low = random_connectivity(2000, rank=2, gain=0.7, key=getkey())
    assert isinstance(low, LowRank)
    assert (low.size, low.rank, low.normalisation) == (2000, 2, "1/N")
    # 4,000 draws each: relative standard error 1/sqrt(8,000), times 4
    assert abs(np.std(low.left) - 1) < 4 / np.sqrt(8_000)
    assert abs(np.std(low.right) / 0.7 - 1) < 4 / np.sqrt(8_000)


def test_weights_that_do_not_fit_are_named(getkey):
    with pytest.raises((InputError, TypeError), match="weight"):
        Dense(jnp.ones((2, 3)))
    with pytest.raises((InputError, TypeError), match="right"):
        LowRank(jnp.ones((4, 2)), jnp.ones((4, 3)))
    with pytest.raises((InputError, TypeError), match="normalisation"):
        LowRank(jnp.ones((4, 2)), jnp.ones((4, 2)), "1/sqrt(N)")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="`rank`"):
        random_connectivity(4, rank=0, gain=1.0, key=getkey())
    with pytest.raises(InputError, match="`size`"):
        random_connectivity(0, rank=None, gain=1.0, key=getkey())
