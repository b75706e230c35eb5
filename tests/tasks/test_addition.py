"""Delayed addition: two pulses, a delay of any length between them, and their sum when it is due."""

import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.tasks import DelayedAddition


def test_the_sum_of_both_pulses_is_due_some_time_after_the_second(getkey):
    task = DelayedAddition(delays=(3.0, 6.0), wait=2.0, report=1.5)
    trials = task.trials(getkey(), 40)
    delays = []
    for inputs, targets, mask, theta in zip(
        np.asarray(trials.inputs)[:, :, 0],
        np.asarray(trials.targets)[:, :, 0],
        np.asarray(trials.mask),
        np.asarray(trials.theta),
        strict=True,
    ):
        on = np.flatnonzero(inputs)
        assert on[:2].tolist() == [0, 1]
        assert on[3] == on[2] + 1
        np.testing.assert_array_equal(inputs[on], np.repeat(theta, 2))
        delays.append(on[2])
        np.testing.assert_array_equal(np.flatnonzero(mask), on[2] + 4 + np.arange(3))
        # one float32 sum
        np.testing.assert_allclose(targets, mask * theta.sum(), rtol=1e-6)
    # seven possible delays, each missed by all of 40 draws with chance 0.002
    assert set(delays) == set(range(6, 13))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delays": (30.0, 10.0)}, r"`delays` must be a pair \(shortest, longest\)"),
        ({"pulse": 12.0}, "`pulse` must be at most `wait` and the shortest delay"),
        ({"wait": 0.3}, "`wait` must be a whole number of steps"),
    ],
)
def test_what_makes_no_task_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        DelayedAddition(**options)


def test_a_delay_that_the_task_lacks_is_refused():
    with pytest.raises(InputError, match=r"`delay` must lie between 10.0 and 30.0; got 5.0"):
        DelayedAddition().manifold(delay=5.0)
