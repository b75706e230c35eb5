"""The error counts where the mask says so, and nowhere else."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

import recurvature as rc
from recurvature.tasks.base import Trials
from recurvature.training import mean_squared_error


def test_it_is_the_weighted_mean_of_squares(trials: Trials) -> None:
    mask = jr.uniform(rc.key(1), trials.mask.shape, jnp.float32)
    trials = eqx.tree_at(lambda t: t.mask, trials, mask)
    outputs = jr.normal(rc.key(0), trials.targets.shape, jnp.float32)
    total = weight = 0.0
    for b, t in np.ndindex(*mask.shape):
        for k in range(outputs.shape[2]):
            total += float(mask[b, t]) * float(outputs[b, t, k] - trials.targets[b, t, k]) ** 2
            weight += float(mask[b, t])
    # a sum of 40 products in float32
    np.testing.assert_allclose(mean_squared_error(outputs, trials), total / weight, rtol=1e-6)


def test_outputs_outside_the_window_are_free(trials: Trials) -> None:
    gradient = jax.grad(mean_squared_error)(jnp.full_like(trials.targets, 2), trials)
    inside = np.asarray(trials.mask) > 0
    assert inside.any()
    assert not inside.all()
    np.testing.assert_array_equal((np.asarray(gradient) != 0).any(-1), inside)


def test_the_scale_of_the_mask_cancels(trials: Trials) -> None:
    outputs = jnp.ones_like(trials.targets)
    doubled = eqx.tree_at(lambda t: t.mask, trials, 2 * trials.mask)
    # doubling is exact in floating point
    assert mean_squared_error(outputs, doubled) == mean_squared_error(outputs, trials)
