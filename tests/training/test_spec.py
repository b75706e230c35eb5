"""A spec is the same for the same run, in plain JSON, and differs where a run would."""

import functools
import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import Noise, leaky_current
from recurvature.tasks import RandomDots
from recurvature.training import l2_rates
from recurvature.training.spec import check_same, describe, digest

PAIRS: list[tuple[Any, Any]] = [
    (lambda: RandomDots(), lambda: RandomDots(strength=3.0)),
    (lambda: optax.cosine_decay_schedule(1e-3, 100), lambda: optax.cosine_decay_schedule(1e-3, 200)),
    (lambda: lambda step: 1e-3, lambda: lambda step: 2e-3),
    (lambda: optax.adam, lambda: optax.sgd),
    (
        lambda: functools.partial(optax.adamw, weight_decay=0.1),
        lambda: functools.partial(optax.adamw, weight_decay=0.2),
    ),
    (lambda: l2_rates(0.1), lambda: l2_rates(0.2)),
    (lambda: Noise(0.1), lambda: Noise(0.1, "diffusion")),
    (lambda: rc.key(0), lambda: rc.key(1)),
    (lambda: np.zeros(3), lambda: np.zeros(3, np.float32)),
    (lambda: jnp.zeros((2, 3)), lambda: jnp.zeros((3, 2))),
    (lambda: {"a": (1, None)}, lambda: {"a": (1, 0)}),
]


@pytest.mark.parametrize(("make", "other"), PAIRS)
def test_equal_for_equal_things_and_different_for_others(make: Any, other: Any) -> None:
    text, again, another = (json.dumps(describe(f()), sort_keys=True) for f in (make, make, other))
    assert text == again
    assert text != another
    assert "0x" not in text  # an address would differ in the next process


def test_what_cannot_be_described_is_refused() -> None:
    with pytest.raises(InputError, match="complex cannot be part of a training spec"):
        describe({"a": 1j})


def test_a_digest_sees_one_bit() -> None:
    weight = np.asarray(leaky_current(4, inputs=1, outputs=1, key=rc.key(0)).readout.weight)  # type: ignore[attr-defined]
    flipped = weight.copy()
    flipped.view(np.uint8)[0, 0] ^= 1
    assert digest(weight) == digest(weight.copy())
    assert digest(weight) != digest(flipped)


def test_a_difference_is_named() -> None:
    check_same({"batch": 4}, {"batch": 4})
    with pytest.raises(InputError, match=r"different run: batch was 4 and is 8; noise was None and is 1\. Pass"):
        check_same({"batch": 4, "steps": 1}, {"batch": 8, "noise": 1, "steps": 1})
