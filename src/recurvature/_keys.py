"""One seeding path: an integer becomes a key, and every use of it takes a stream of its own by name."""

import zlib
from collections.abc import Sequence

import jax
import jax.random as jr
import numpy as np
from jaxtyping import Array, Key

PRNGKey = Key[Array, ""]


def key(seed: int) -> PRNGKey:
    """The root key of a seed (0 to 2³² - 1): the only place where a number becomes randomness.

    Raises `ValueError` beyond that range, where JAX makes keys that depend on whether 64-bit numbers are on.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ValueError(f"`seed` must be an integer from 0 to 2**32 - 1; got {seed!r}.")
    return jr.key(int(seed))


def stream(key: PRNGKey, name: str) -> PRNGKey:
    """The stream of `key` called `name`; streams do not depend on the order in which they are asked for."""
    if not isinstance(key, jax.Array):
        raise ValueError(f"`key` must be a key; got {key!r}. Pass recurvature.key(seed), or a stream of it.")
    return jr.fold_in(key, np.uint32(zlib.crc32(name.encode())))


def streams(key: PRNGKey, names: Sequence[str]) -> Key[Array, " name"]:
    """The streams of several names, in one program."""
    hashes = np.array([zlib.crc32(name.encode()) for name in names], np.uint32)
    return jax.vmap(jr.fold_in, (None, 0))(key, hashes)


def at_step(key: PRNGKey, step: int | jax.Array) -> PRNGKey:
    """The key of one step of a long run, the same whether or not the run was resumed."""
    return jr.fold_in(key, step)
