import jax.numpy as jnp
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.tasks.draws import balanced, fixed_window, pulsed, same_sign, whole_steps, window, window_mean


@pytest.mark.parametrize("n", [1, 5, 7, 14, 30])
def test_conditions_occur_equally_often_up_to_one(getkey, n):
    counts = np.bincount(np.asarray(balanced(getkey(), n, 7)), minlength=7)
    assert counts.sum() == n
    assert set(counts) <= {n // 7, n // 7 + 1}


def test_which_conditions_occur_once_more_is_random(getkey):
    draws = {tuple(sorted(np.asarray(balanced(getkey(), 3, 7)))) for _ in range(10)}
    # 35 subsets of 3 of 7: ten draws of only one or two of them have probability below 1e-8
    assert len(draws) > 2


def test_a_window_is_on_from_its_start_for_its_length():
    on = window(jnp.array([0, 2, 5], jnp.int32), 2, 6)
    np.testing.assert_array_equal(on, [[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1]])
    np.testing.assert_array_equal(fixed_window(1, 3, n=2, steps=5), [[0, 1, 1, 1, 0]] * 2)


def test_pulses_that_overlap_add_up():
    on = (fixed_window(0, 2, n=1, steps=3), fixed_window(1, 2, n=1, steps=3))
    inputs = pulsed(jnp.array([[[1.0, 2.0], [10.0, 20.0]]], jnp.float32), on)
    np.testing.assert_array_equal(inputs, [[[1, 2], [11, 22], [10, 20]]])


def test_the_mean_over_a_window_ignores_what_is_outside():
    values = jnp.array([[[5.0], [1.0], [3.0]], [[2.0], [7.0], [9.0]]])
    np.testing.assert_array_equal(window_mean(values, jnp.array([[0.0, 1, 1], [1, 0, 0]])), [[2.0], [2.0]])


def test_outputs_of_another_length_are_refused():
    # run-time shape checks, which tests switch on, see it before the message for users does
    with pytest.raises((InputError, TypeError)):
        window_mean(jnp.ones((1, 3, 1)), jnp.ones((1, 4)))


def test_a_sign_counts_the_average_and_nan_is_never_right():
    targets = jnp.ones((4, 3, 1))
    outputs = jnp.array([[3.0, -1, -1], [-3, 1, 1], [0, 0, 0], [jnp.nan, 1, 1]])[:, :, None]
    np.testing.assert_array_equal(same_sign(outputs, targets, jnp.ones((4, 3))), [True, False, False, False])


def test_durations_become_whole_steps():
    assert whole_steps(0.1, a=0.3, b=12.5) == (3, 125)


@pytest.mark.parametrize("duration", [0.25, 0.01, 0.0, -0.5, float("nan"), float("inf")])
def test_durations_off_the_step_grid_are_refused(duration):
    with pytest.raises(InputError, match="`pulse` must be"):
        whole_steps(0.1, pulse=duration)
