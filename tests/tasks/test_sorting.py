"""Sequence sorting: what goes in comes out in order, and right means nearer than to any other number."""

import jax.numpy as jnp
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.tasks import SequenceSorting
from recurvature.tasks.base import Trials


def test_numbers_go_in_one_after_another_and_come_out_sorted(getkey):
    task = SequenceSorting(length=4)
    trials = task.trials(getkey(), 6)
    numbers = np.asarray(trials.theta)
    assert np.ptp(numbers, axis=1).min() > 0
    np.testing.assert_array_equal(np.asarray(trials.inputs)[:, :20, 0], np.repeat(numbers, 5, axis=1))
    np.testing.assert_array_equal(np.asarray(trials.targets)[:, 20:, 0], np.repeat(np.sort(numbers, 1), 5, axis=1))
    # go is on while numbers come out, and then none is shown
    np.testing.assert_array_equal(np.asarray(trials.inputs)[:, :, 1], np.repeat([[0.0, 1.0]], 20, 1)[[0] * 6])
    assert (np.asarray(trials.inputs)[:, 20:, 0] == 0).all()
    # the last three of five steps of every slot weigh
    np.testing.assert_array_equal(trials.mask, np.tile([0, 0, 0, 0, 0] * 4 + [0, 0, 1, 1, 1] * 4, (6, 1)))


def answers(*rows: list[float]) -> tuple[SequenceSorting, jnp.ndarray, Trials]:
    """Outputs that give these numbers where -0.5, 0 and 0.9 are asked for."""
    task = SequenceSorting(length=3, slot_steps=1, settle_steps=0)
    asked = jnp.tile(jnp.asarray([0, 0, 0, -0.5, 0, 0.9]), (len(rows), 1))[:, :, None]
    given = jnp.concatenate([jnp.zeros((len(rows), 3)), jnp.asarray(rows)], axis=1)[:, :, None]
    mask = jnp.tile(jnp.asarray([0.0, 0, 0, 1, 1, 1]), (len(rows), 1))
    return task, given, Trials(jnp.zeros((len(rows), 6, 2)), asked, mask)


def test_right_is_nearer_to_its_own_number_than_to_any_other():
    task, given, trials = answers(
        [-0.26, 0.1, 0.7], [-0.24, 0.1, 0.7], [0.0, -0.5, 0.9], [-0.5, 0.0, 1.2], [-0.5, 0.0, np.nan]
    )
    # the second is nearer to another, the fourth near to none
    assert task.correct(given, trials).tolist() == [True, False, False, False, False]


def test_phases_name_every_number_and_place():
    assert list(SequenceSorting(length=2).phases().items()) == [
        ("number 1", (0.0, 2.5)),
        ("number 2", (2.5, 5.0)),
        ("place 1", (5.0, 7.5)),
        ("place 2", (7.5, 10.0)),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"length": 1}, "`length` must be at least 2"), ({"settle_steps": 5}, r"`settle_steps` must lie in \[0,")],
)
def test_what_makes_no_task_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        SequenceSorting(**options)
