"""A history keeps its dimensions by name, of one network and of an ensemble."""

import jax.numpy as jnp
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.systems import Network
from recurvature.training import Fit, History
from recurvature.training.history import NON_FINITE, RUNNING, TARGET_REACHED, status_in_words


def history(lead: tuple[int, ...], status: object) -> History:
    row = jnp.ones((*lead, 4))
    seed = jnp.arange(10, 10 + lead[0]) if lead else None
    counts = jnp.full(lead, 4)
    return History(jnp.arange(4), row, row, row, jnp.ones((*lead, 4, 2)), counts, jnp.asarray(status), seed, ("a", "b"))


@pytest.mark.parametrize(("lead", "status"), [((), 0), ((3,), [0, 0, 0])])
def test_dimensions_have_names(lead: tuple[int, ...], status: object) -> None:
    made = history(lead, status)
    dataset = made.to_xarray()
    assert dataset["penalties"].dims == (("seed",) if lead else ()) + ("step", "penalty")
    assert dataset["loss"].dims == (("seed",) if lead else ()) + ("step",)
    assert set(dataset.coords) == ({"step", "seed"} if lead else {"step"})


@pytest.mark.parametrize(
    ("lead", "status", "words"),
    [
        ((), RUNNING, "trained"),
        ((), TARGET_REACHED, "target reached"),
        ((), NON_FINITE, "non-finite at step 3"),
        ((3,), [RUNNING, TARGET_REACHED, RUNNING], "trained"),
        ((2,), [TARGET_REACHED, TARGET_REACHED], "target reached"),
        ((3,), [NON_FINITE, RUNNING, NON_FINITE], "2 of 3 seeds non-finite: seed 10, 12"),
    ],
)
def test_the_end_is_told_in_words(lead: tuple[int, ...], status: object, words: str) -> None:
    assert status_in_words(history(lead, status)) == words


def test_one_network_has_no_members(small: Network) -> None:
    single = Fit(small, history((), RUNNING), {}, "trained")
    assert not single.failed
    with pytest.raises(InputError, match="holds one network"):
        single.member(0)
    several = Fit(small, history((2,), [NON_FINITE, RUNNING]), {}, "")
    np.testing.assert_array_equal(several.failed, [True, False])
    with pytest.raises(InputError, match=r"`index` must lie in \[-2, 2\); got 2"):
        several.member(2)
