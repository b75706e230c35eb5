"""Shared by all tests: float64, strict promotion of types and ranks, and one source of keys."""

import os
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import jax
import pytest

import recurvature as rc
from recurvature._keys import PRNGKey

rc.enable_float64()
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# The first example of every shape pays for a compilation, so a time limit per example would only measure that.
hypothesis.settings.register_profile("recurvature", deadline=None, max_examples=20, derandomize=True)
hypothesis.settings.load_profile("recurvature")


@pytest.fixture
def getkey() -> Callable[[], PRNGKey]:
    """A function that gives a fresh key each time, the same ones in every run."""
    count = iter(range(10**9))
    return lambda: rc.stream(rc.key(0), f"test {next(count)}")
