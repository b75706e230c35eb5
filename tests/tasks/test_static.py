"""A circle of angles in one step."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.tasks import StaticCircle
from recurvature.training import fit


@pytest.mark.parametrize(("regions", "angles"), [(1, 240), (2, 10), (3, 7)])
def test_a_full_batch_holds_every_angle_once_with_the_sign_of_its_arc(regions, angles, getkey):
    trials = StaticCircle(output_regions=regions, angles=angles).trials(getkey(), angles)
    theta = np.asarray(trials.theta)[:, 0]
    order = np.argsort(theta)
    # products of whole numbers with one float32 number
    np.testing.assert_allclose(theta[order], 2 * np.pi * np.arange(angles) / angles, atol=1e-6)
    wanted = [1 if (2 * regions * k // angles) % 2 == 0 else -1 for k in range(angles)]
    np.testing.assert_array_equal(trials.targets[order, 0, 0], wanted)
    # cos and sin in float32
    np.testing.assert_allclose(trials.inputs[:, 0, 0], np.cos(theta), atol=3e-7)
    np.testing.assert_allclose(trials.inputs[:, 0, 1], np.sin(theta), atol=3e-7)


def test_every_arc_must_hold_an_angle():
    with pytest.raises(InputError, match="`angles` must be at least twice `output_regions`"):
        StaticCircle(angles=5, output_regions=3)
    with pytest.raises(InputError, match="`output_regions` must be a whole number"):
        StaticCircle(output_regions=0)


def test_one_step_from_rest_is_a_feedforward_network(getkey):
    task = StaticCircle()
    network: Any = task.recipe().network(getkey())
    trials = rc.cast(task.trials(getkey(), 5), float)
    cell = network.system.layers[0]
    weights, bias = np.asarray(cell.weight_ih), np.asarray(cell.bias_ih) + np.asarray(cell.bias_hh)
    hidden = np.tanh(np.asarray(trials.inputs[:, 0]) @ weights.T + bias)
    outputs = rc.systems.simulate(network, trials.inputs).outputs
    # sums of five float64 numbers
    np.testing.assert_allclose(outputs[:, 0], hidden @ np.asarray(network.readout.weight).T, rtol=1e-12, atol=1e-14)


@pytest.mark.slow  # a claim holds it
def test_the_circle_is_stretched_at_the_ends_of_the_arcs(getkey):
    task = StaticCircle()
    recipe = task.recipe()
    done = fit(recipe.network(getkey()), task, key=getkey(), **{**recipe.training, "steps": 400, "block": 400})
    trials = task.trials(getkey(), task.angles)
    # 240 angles, of which those on the two edges alone may fall on the wrong side
    assert task.accuracy(jnp.asarray(rc.systems.simulate(done.network, trials.inputs).outputs), trials) > 0.98
    metric = rc.warping.metric(done.network, task.manifold(), points=40, duration=1.0).metric[0, :, 0, 0]
    speed = np.sqrt(metric)
    edges = np.abs(np.sin(2 * np.pi * np.arange(40) / 40)) < 0.35
    # arc length comes in two steps: the 28 % of angles within 20° of an edge have most of it
    assert speed[edges].sum() > 0.6 * speed.sum()
