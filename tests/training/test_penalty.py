"""Penalties are what they say, and only their weight decides how much they count."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import Network, simulate
from recurvature.tasks.base import Trials
from recurvature.training import Penalty, fit, l2_rates, l2_weights
from recurvature.training.penalty import mean_square_rates, sum_square_weights


def activity(network: Network, trials: Trials) -> tuple[jax.Array, jax.Array]:
    run = simulate(network, trials.inputs)
    return jnp.asarray(run.states), jnp.asarray(run.outputs)


def test_rates_and_weights_by_hand(network: Network, trials: Trials) -> None:
    states, outputs = activity(network, trials)
    rates = np.tanh(np.asarray(states))
    # sums of a few hundred products in float64
    tolerance = 1e-13
    got = mean_square_rates(network, trials, states, outputs)
    np.testing.assert_allclose(got, np.mean(rates**2), rtol=tolerance)
    flow = network.system.flow  # type: ignore[attr-defined]
    matrices = (flow.connectivity.weight, flow.input_weights, network.readout.weight)  # type: ignore[attr-defined]
    got = sum_square_weights(network, trials, states, outputs)
    np.testing.assert_allclose(got, sum(float((np.asarray(m) ** 2).sum()) for m in matrices), rtol=tolerance)


def test_vectors_are_not_weights(network: Network, trials: Trials) -> None:
    states, outputs = activity(network, trials)
    gradient = jax.grad(sum_square_weights)(eqx.filter(network, eqx.is_inexact_array), trials, states, outputs)
    sizes = {leaf.ndim: bool((np.asarray(leaf) != 0).any()) for leaf in jax.tree.leaves(gradient)}
    assert sizes == {1: False, 2: True}


def test_what_is_recorded_is_weighted_and_apart_from_the_loss(network: Network, small: Network, task) -> None:
    options: dict[str, Any] = {"steps": 2, "key": rc.key(1), "batch": 4, "block": 3}
    bare = fit(network, task, **options)
    with_penalties = fit(network, task, penalties=(l2_rates(0.5), l2_weights(2.0)), **options)
    history = with_penalties.history
    assert history.penalty_names == ("l2-rates", "l2-weights")
    assert history.penalties.shape == (2, 2)
    empty = jnp.zeros((1, 1, 6), jnp.float32)
    expected = 2 * sum_square_weights(small, task.trials(rc.key(0), 1), empty, empty)
    # 48 squares in float32, summed in another order
    np.testing.assert_allclose(history.penalties[0, 1], expected, rtol=1e-6)
    # the first loss is that of the same weights on the same trials
    np.testing.assert_allclose(history.loss[0], bare.history.loss[0], rtol=1e-6)
    assert history.loss[1] != bare.history.loss[1]


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_makes_no_sense_is_refused(weight: float) -> None:
    with pytest.raises(InputError, match="`weight` of penalty 'mine'"):
        Penalty("mine", mean_square_rates, weight)
