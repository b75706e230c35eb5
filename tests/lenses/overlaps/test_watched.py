"""The overlaps of a network along its own training, whatever trained it."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov
from recurvature.systems import Network

UNITS, RANK = 12, 2
STEPS = np.array([0, 5, 9])
LOSS = np.array([3.0, 2.0, 1.0])


def start(rank: int | None = RANK) -> Network:
    return rc.systems.leaky_current(UNITS, inputs=1, outputs=1, rank=rank, key=rc.key(0))


def moved(network: Network, left: np.ndarray, bias: float = 0.0) -> Network:
    """The network after a change of its left factor and its bias."""
    changed = eqx.tree_at(lambda net: net.system.flow.connectivity.left, network, replace_fn=lambda m: m + left)
    return eqx.tree_at(lambda net: net.system.flow.bias, changed, replace_fn=lambda b: b + bias)


def test_every_record_has_the_overlaps_of_its_network() -> None:
    first = start()
    step = np.random.default_rng(1).normal(size=(UNITS, RANK))
    networks = [first, moved(first, step), moved(first, 2 * step)]
    course = ov.watched(networks, count=STEPS, loss=LOSS)
    for k, network in enumerate(networks):
        # the same means of products
        np.testing.assert_allclose(course.matrix[k], ov.extract(network).matrix, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(course.count, STEPS)
    np.testing.assert_array_equal(course.loss, LOSS)
    # a random step of 12 units leaves the span of 6 vectors
    assert course.outside[0] == 0
    assert course.outside[-1] > 0.3


def test_a_way_within_the_vectors_is_known_to_the_overlaps() -> None:
    first = start()
    right = np.asarray(first.system.flow.connectivity.right)  # type: ignore[attr-defined]
    course = ov.watched([first, moved(first, 0.3 * right)], count=STEPS[:2], loss=LOSS[:2])
    # a combination of the first vectors: rounding
    assert course.outside[-1] < 1e-12
    charge = np.asarray(ov.invariants(course).charge)
    assert np.abs(charge[1] - charge[0]).max() > 0


def test_a_bias_that_comes_into_being_has_its_column_from_the_start() -> None:
    first = start()
    course = ov.watched([first, moved(first, np.zeros((UNITS, RANK)), 0.5)], count=STEPS[:2], loss=LOSS[:2])
    assert "bias" in course.columns
    assert course.of("bias·bias").tolist() == pytest.approx([0.0, 0.25], rel=1e-12)


def test_what_is_no_course_is_refused() -> None:
    first = start()
    with pytest.raises(InputError, match="one or more networks"):
        ov.watched([], count=STEPS[:0], loss=LOSS[:0])
    with pytest.raises(InputError, match="must be of low rank"):
        ov.watched([start(None)], count=STEPS[:1], loss=LOSS[:1])
    with pytest.raises(InputError, match="share their inputs, outputs and rank"):
        ov.watched([first, start(1)], count=STEPS[:2], loss=LOSS[:2])
    with pytest.raises(InputError, match="`count` must have shape"):
        ov.watched([first], count=STEPS, loss=LOSS)
    gated = rc.systems.gru(4, inputs=1, outputs=1, key=rc.key(0))
    with pytest.raises(InputError, match="leaky-current"):
        ov.watched([gated], count=STEPS[:1], loss=LOSS[:1])


def test_the_number_type_is_kept() -> None:
    course = ov.watched([rc.cast(start(), jnp.float32)], count=STEPS[:1], loss=LOSS[:1])
    assert course.dtype == "float32"
