"""Shared by all tests: float64, strict promotion of types and ranks, and one source of keys."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import jax
import pytest
from jax._src.interpreters import mlir
from jaxlib.mlir import ir

import recurvature as rc
from recurvature._keys import PRNGKey

gc.disable()  # while tests are collected
rc.enable_float64()
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# JAX loads its dialects anew for every program it lowers, and notes for every operation where it was called: together a
# quarter of the time of programs that run once. One context holds all programs as well, but for those lowered while
# another is being lowered: they would be written into it.
_new_context = mlir.make_ir_context
_context = _new_context()
mlir.make_ir_context = lambda: _new_context() if ir.Context.current else _context
jax.config.update("jax_traceback_in_locations_limit", 0)

# The first example of every shape pays for a compilation, so a time limit per example would only measure that.
hypothesis.settings.register_profile("recurvature", deadline=None, max_examples=20, derandomize=True)
hypothesis.settings.load_profile("recurvature")


@pytest.fixture
def getkey() -> Callable[[], PRNGKey]:
    """A function that gives a fresh key each time, the same ones in every run."""
    count = iter(range(10**9))
    return lambda: rc.stream(rc.key(0), f"test {next(count)}")


def pytest_collection_finish() -> None:
    """What imports have made stays: the collector need not go through its millions of objects again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 20)


MOST_MAPS = 40_000
"""Of the 65,530 maps of memory that Linux allows a process; one more, and compilation ends in a crash."""


@pytest.fixture(autouse=True, scope="module")
def few_programs() -> Iterator[None]:
    """Let compiled programs go, a few maps of memory each, before there are too many; the cache on disk keeps them."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()
