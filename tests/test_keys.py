"""One integer, one key: in every process and for either number type."""

import jax
import numpy as np
import pytest

import recurvature as rc
from recurvature._keys import streams


def test_a_seed_gives_the_same_key_whether_64_bit_numbers_are_on_or_off() -> None:
    for seed in (0, 7, 2**32 - 1):
        wide = jax.random.key_data(rc.key(seed))
        with jax.enable_x64(False):
            np.testing.assert_array_equal(jax.random.key_data(rc.key(seed)), wide)


@pytest.mark.parametrize("seed", [-1, 2**32, True])
def test_seeds_whose_key_would_depend_on_it_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="`seed` must be an integer from 0"):
        rc.key(seed)


def test_streams_of_several_names_are_those_of_each() -> None:
    key, names = rc.key(3), ("weights", "noise")
    each = [jax.random.key_data(rc.stream(key, name)) for name in names]
    np.testing.assert_array_equal(jax.random.key_data(streams(key, names)), each)
