"""What reads a network out."""

import operator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import ActivatedReadout, GatedReadout, Network
from recurvature.systems.readout import random_gated_readout


def gated(draw, phi="sigmoid", hidden=4, rates=3, outputs=2):
    shapes: Any = [(hidden, rates), (hidden, rates), (hidden,), (hidden,), (outputs, hidden), (outputs,)]
    weights = [draw(*shape) for shape in shapes]
    return GatedReadout(weights[0], weights[1], weights[2], weights[3], weights[4], weights[5], phi)


def test_a_gated_readout_is_its_formula_for_any_leading_axes(draw):
    readout, rates = gated(draw), draw(5, 2, 3)
    outputs = readout(rates)
    for i, j in np.ndindex(5, 2):
        value = np.asarray(readout.value) @ np.asarray(rates[i, j]) + np.asarray(readout.value_bias)
        gate = np.asarray(readout.gate) @ np.asarray(rates[i, j]) + np.asarray(readout.gate_bias)
        expected = np.asarray(readout.weight) @ (value / (1 + np.exp(-gate))) + np.asarray(readout.bias)
        # sums of at most four products
        np.testing.assert_allclose(outputs[i, j], expected, rtol=1e-12, atol=1e-13)


def test_with_constant_gates_it_is_linear(draw):
    readout = gated(draw, phi=lambda x: jnp.full_like(x, 0.5))
    weight = 0.5 * np.asarray(readout.weight) @ np.asarray(readout.value)
    # a derivative of products of at most four numbers
    np.testing.assert_allclose(jax.jacfwd(readout)(draw(3)), weight, rtol=1e-12, atol=1e-13)


def test_an_activated_readout_is_the_activation_of_a_linear_one(draw):
    readout, rates = ActivatedReadout(draw(2, 3), draw(2)), draw(5, 3)
    expected = np.maximum(np.asarray(rates) @ np.asarray(readout.weight).T + np.asarray(readout.bias), 0)
    assert (expected == 0).any()
    assert (expected > 0).any()
    # sums of four products
    np.testing.assert_allclose(readout(rates), expected, rtol=1e-12, atol=1e-14)
    with pytest.raises(InputError, match="unknown activation 'rulu'"):
        ActivatedReadout(draw(2, 3), phi="rulu")


def test_weights_that_do_not_fit_are_named(draw):
    good = gated(draw)
    for name, shape in {"gate": (4, 2), "value_bias": (3,), "gate_bias": (3,), "weight": (2, 3), "bias": (3,)}.items():
        bad = eqx.tree_at(operator.attrgetter(name), good, draw(*shape))
        # what runs at birth, where the checker of shapes that tests use would speak first
        with pytest.raises(InputError, match=f"`{name}` must have shape"):
            bad.__check_init__()
    with pytest.raises(InputError, match="unknown activation 'sigmoyd'"):
        gated(draw, phi="sigmoyd")


def test_a_network_refuses_a_readout_of_other_rates(getkey):
    net = rc.systems.diagonal(3, inputs=2, outputs=1, key=getkey())
    with pytest.raises(InputError, match=r"`readout` reads 5 rates, but the system gives rates of shape \(6,\)"):
        Network(net.system, random_gated_readout(1, 5, hidden=2, key=getkey()), net.x0)
    with pytest.raises(InputError, match="`hidden` must be a whole number"):
        random_gated_readout(1, 6, hidden=0, key=getkey())


def test_a_state_space_network_has_a_metric_in_rates_and_readout(getkey):
    net: Any = rc.cast(rc.systems.state_space(3, inputs=2, outputs=2, key=getkey(), gates=5), "float32")
    assert (net.readout.rate_size, net.readout.output_size) == (6, 2)
    manifold = rc.systems.ConstantInputs(rc.systems.circle())
    options: Any = {"points": 1, "duration": 2.0}
    # the rates of this system are its state, and there are six of them
    rates = rc.warping.metric(net, manifold, space="rates", inner="per_unit", **options)
    readout = rc.warping.metric(net, manifold, space="readout", **options)

    def last(angle):
        u, state = jnp.stack([jnp.cos(angle), jnp.sin(angle)]), net.x0
        return net.system.step(net.system.step(state, u), u)

    tangent = jax.jacfwd(last)(jnp.zeros((), "float32"))
    slope = jax.jacfwd(net.outputs)(last(jnp.zeros((), "float32"))) @ tangent
    # the same derivatives in another order of sums of a few dozen products: hundreds of float32 roundings
    np.testing.assert_allclose(rates.metric[-1, 0, 0, 0], tangent @ tangent / 6, rtol=5e-5)
    # the same
    np.testing.assert_allclose(readout.metric[-1, 0, 0, 0], slope @ slope, rtol=5e-5)
