"""Learning in overlaps is learning of the network: to rounding, for any step size."""

import functools
import importlib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lenses.overlaps.prescribed import (
    DT,
    FILTER,
    RANK1,
    RANK2,
    STEPS,
    WIDE,
    full_descent,
    impulses,
    overlaps_along,
    simulate,
    simulate_factors,
    some_overlaps,
    some_vectors,
)

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov
from recurvature.lenses.overlaps.status import NON_FINITE, OK, UNSTABLE


def impulse_loss(layout: ov.Layout, kernel: np.ndarray, run: Any = simulate):
    """The finite-window loss of the full network, summed over outputs and inputs; `kernel` is (input, time, o)."""
    inputs = jnp.asarray(impulses(layout, STEPS))

    def loss(theta):
        outputs = jax.vmap(lambda x: run(theta, layout, x))(inputs)
        return DT * jnp.sum((outputs - kernel) ** 2)

    return loss


def decay(rate: float) -> np.ndarray:
    return np.exp(-rate * DT * np.arange(STEPS))[None, :, None]


def wide_target() -> tuple[ov.StateSpace, np.ndarray]:
    """Two inputs, two outputs, four exponentials; its kernel written out."""
    rates, outer = np.array([0.3, 0.7]), np.array([[1.0, -0.5], [0.4, 0.8]])
    target = ov.StateSpace(jnp.diag(jnp.asarray(-rates)), jnp.eye(2), jnp.asarray(outer))
    kernel = np.exp(-DT * np.arange(STEPS)[:, None] * rates)[:, None, :] * outer
    return target, kernel.transpose(2, 0, 1)


CASES: dict[str, Any] = {
    "rank 1": (RANK1, 64, 0.02, ov.exponential(1.0, 0.2), decay(0.2)),
    "rank 2": (
        RANK2,
        64,
        0.05,
        ov.damped_oscillator(0.3, 2.0),
        decay(0.3) * np.cos(2 * DT * np.arange(STEPS))[None, :, None],
    ),
    "rank 3, two inputs and outputs": (WIDE, 64, 0.02, *wide_target()),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if "rank 3" in n else [pytest.mark.slow]) for n in CASES])
def test_the_map_is_gradient_descent_of_the_full_network(name: str) -> None:
    layout, units, rate, target, kernel = CASES[name]
    theta = some_vectors(layout, units, 1)
    path = full_descent(impulse_loss(layout, kernel), theta, 1002, rate)
    start = ov.extract(ov.assemble(theta, layout, dt=DT))
    learning = ov.descend(ov.FilterLoss(target, layout, DT, STEPS * DT), start, rate, steps=1002, every=167)
    # something has been learnt
    assert learning.loss[-1] < 0.7 * learning.loss[0]
    # a thousand steps of N-term sums in another order: rounding, of overlaps of order 1 where they pass through zero
    np.testing.assert_allclose(learning.matrix, overlaps_along(path)[::167], rtol=1e-12, atol=1e-14)
    # every weight, from a P x P matrix
    np.testing.assert_allclose(ov.recover(theta, learning), path[-1], rtol=1e-10, atol=1e-11)
    # rank 2 passes through recurrences that grow: no fault where losses end after a finite time
    np.testing.assert_array_equal(learning.status, np.where(learning.margin > 0, OK, UNSTABLE))
    assert (learning.smallest_eigenvalue > 0).all()
    assert (learning.units, learning.gauge) == (units, "own")
    np.testing.assert_array_equal(learning.drift, ov.invariants(learning).drift)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES))
def test_the_map_is_a_thousand_steps_of_five_thousand_units(name: str) -> None:
    layout, _, rate, target, kernel = CASES[name]
    theta = some_vectors(layout, 5000, 1)
    loss = impulse_loss(layout, kernel, simulate_factors)

    @jax.jit
    def hundred_steps(at: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 100, lambda _, x: x - rate * 5000 * jax.grad(loss)(x), at)

    path = [theta]
    for _ in range(10):
        path.append(hundred_steps(path[-1]))
    learning = ov.descend(
        ov.FilterLoss(target, layout, DT, STEPS * DT), some_overlaps(layout), rate, steps=1000, every=100, layout=layout
    )
    # something has been learnt
    assert learning.loss[-1] < 0.7 * learning.loss[0]
    # sums of 5000 terms in another order, over 1000 steps: rounding of 1e-16 that neither grows nor is damped much
    np.testing.assert_allclose(learning.matrix, overlaps_along(jnp.stack(path)), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(ov.recover(theta, learning), path[-1], rtol=1e-10, atol=1e-11)


def test_large_steps_are_exact_too() -> None:
    rate = 0.6
    theta = some_vectors(RANK1, 20, 2)
    path = full_descent(impulse_loss(RANK1, decay(0.2)), theta, 6, rate)
    learning = ov.descend(FILTER, some_overlaps(RANK1), rate, steps=6, layout=RANK1)
    # far from the flow: the second-order term is no correction here
    assert np.abs(learning.matrix[1] - learning.matrix[0]).max() > 0.1
    # rounding, amplified by steps that overshoot
    np.testing.assert_allclose(learning.matrix, overlaps_along(path), rtol=1e-9, atol=1e-10)


@functools.cache
def batch_loss(layout: ov.Layout):
    def loss(overlaps, batch):
        return ov.DataLoss(batch[..., : layout.inputs], batch[..., layout.inputs :], layout, DT)(overlaps)

    return loss


def full_batch_loss(layout: ov.Layout):
    def loss(theta, batch):
        outputs = jax.vmap(lambda x: simulate(theta, layout, x))(batch[..., : layout.inputs])
        return jnp.mean((outputs - batch[..., layout.inputs :]) ** 2)

    return loss


BLOCKS = (0.5, 1.0, 2.0, 0.0)


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param({"momentum": 0.8, "nesterov": True}, marks=pytest.mark.slow),
        {"weight_decay": 0.02, "clip": 0.2, "blocks": BLOCKS, "momentum": 0.3},
    ],
    ids=["nesterov", "decay, clipping, rates, frozen, momentum"],
)
def test_variants_close_with_fresh_batches_and_noisy_targets(rule: dict) -> None:
    theta = some_vectors(RANK2, 30, 3)
    # every step has its own inputs and its own noise on the targets
    data = np.random.default_rng(0).normal(size=(60, 4, 25, 2))
    full = {k: v for k, v in rule.items() if k != "blocks"}
    if "blocks" in rule:
        full["factors"] = ov.Rule(1.0, BLOCKS).factors(RANK2, float)[None, :]
    path = full_descent(full_batch_loss(RANK2), theta, 60, 0.3, jnp.asarray(data), **full)
    learning = ov.descend(
        batch_loss(RANK2), some_overlaps(RANK2), ov.Rule(0.3, **rule), steps=60, layout=RANK2, data=jnp.asarray(data)
    )
    assert np.abs(learning.matrix[-1] - learning.matrix[0]).max() > 0.05
    # rounding of 60 steps with sums in another order
    np.testing.assert_allclose(learning.matrix, overlaps_along(path), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(ov.recover(theta, learning), path[-1], rtol=1e-10, atol=1e-11)
    if "clip" in rule:
        # both sides of the clip were visited, so that the comparison covers it
        assert learning.gradient_norm.min() < rule["clip"] < learning.gradient_norm.max()
        # a frozen block does not move, to the bit; decay does not touch it
        np.testing.assert_array_equal(np.asarray(ov.recover(theta, learning))[:, RANK2.u], theta[:, RANK2.u])


@pytest.mark.parametrize("normalisation", ["1/N", "1"])
def test_the_arrays_of_a_network_descend_at_the_rates_of_their_blocks(normalisation: str) -> None:
    network: Any = ov.assemble(some_vectors(RANK1, 24, 4), RANK1, dt=DT)
    if normalisation == "1":
        factors = network.system.flow.connectivity
        plain = rc.systems.LowRank(factors.left / np.sqrt(24), factors.right / np.sqrt(24), "1")
        network = eqx.tree_at(lambda n: n.system.flow.connectivity, network, plain)
    inputs = jnp.asarray(impulses(RANK1, STEPS)[0])

    def loss(arrays: tuple) -> jax.Array:
        net = eqx.tree_at(trained, network, arrays)
        states = jax.lax.scan(lambda x, u: (net.system.step(x, u),) * 2, net.x0, inputs)[1]
        return DT * jnp.sum((jax.vmap(net.outputs)(states) - decay(0.2)[0]) ** 2)

    def trained(net: Any) -> tuple:
        flow = net.system.flow
        return net.readout.weight, flow.input_weights, flow.connectivity.left, flow.connectivity.right

    step, arrays = jax.jit(jax.grad(loss)), trained(network)
    # so that each array takes part: the rate of the readout is N times, that of the inputs 1/N times this
    learning_rate = 0.002
    for _ in range(6):
        arrays = jax.tree.map(lambda a, g: a - learning_rate * g, arrays, step(arrays))
    rule = ov.Rule(1.0, ov.block_rates(network, learning_rate))
    learning = ov.descend(FILTER, ov.extract(network), rule, steps=6)
    after = ov.extract(eqx.tree_at(trained, network, arrays))
    assert np.abs(after.matrix - learning.matrix[0]).max() > 1e-2
    # six steps: rounding
    np.testing.assert_allclose(learning.matrix[-1], after.matrix, rtol=1e-11, atol=1e-12)


def test_a_network_learns_without_being_trained() -> None:
    theta = some_vectors(RANK1, 64, 1)
    network = ov.assemble(theta, RANK1, dt=DT)
    learning = ov.descend(FILTER, ov.extract(network), 0.05, steps=240, every=40)
    after = ov.learned(network, learning)
    outputs = rc.systems.simulate(after, jnp.asarray(impulses(RANK1, STEPS))).outputs
    # the loss that the map forecast is the loss of the network it leads to; a difference of numbers of order 1
    np.testing.assert_allclose(DT * np.sum((outputs - decay(0.2)) ** 2), learning.loss[-1], rtol=1e-9, atol=1e-14)
    assert learning.loss[-1] < 0.1 * learning.loss[0]


def test_invisible_overlaps_have_no_gradient_and_yet_move() -> None:
    s = jnp.asarray(some_overlaps(RANK1))
    gamma = ov.to_pairs(ov.symmetric_gradient(FILTER, s), RANK1)
    visible = RANK1.visible("linear")
    # zero, not small: they do not enter
    assert (gamma[~visible] == 0).all()
    assert (gamma[visible] != 0).all()
    learning = ov.descend(FILTER, s, 0.01, steps=12, every=2, layout=RANK1)
    assert (ov.to_pairs(learning.matrix[-1] - learning.matrix[0], RANK1) != 0).all()


def test_one_function_two_futures() -> None:
    first = ov.matrix(RANK1, {"z·m": 0.2, "z·u": 0.3, "v·m": 0.4, "v·u": 0.3, "m·u": 0.1})
    second = first.copy()
    for (a, b), value in {(3, 3): 2.048, (2, 3): 0.8, (3, 2): 0.8}.items():
        second[a, b] = value
    runs = [ov.descend(FILTER, s, 0.01, steps=24, every=4, layout=RANK1) for s in (first, second)]
    # visible overlaps are equal, so is the loss, to the bit
    assert runs[0].loss[0] == runs[1].loss[0]
    # and after some steps it is not, by a tenth of itself
    assert np.abs(runs[0].loss - runs[1].loss).max() > 0.1 * runs[0].loss[0]


def test_flow_is_the_limit_of_small_steps(limit: ov.Learning) -> None:
    s = some_overlaps(RANK1)
    errors = [
        np.abs(
            ov.descend(FILTER, s, rate, steps=round(0.6 / rate), every=round(0.1 / rate), layout=RANK1).matrix
            - limit.matrix
        ).max()
        for rate in (0.01, 0.005)
    ]
    # order 1 in the step, up to the next order
    assert abs(np.log2(errors[0] / errors[1]) - 1) < 0.05
    # Richardson removes the first order
    assert errors[1] > 1e-4


def test_another_duration_is_no_other_program(limit: ov.Learning, monkeypatch: pytest.MonkeyPatch) -> None:
    def traced_again(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(
        importlib.import_module("recurvature.lenses.overlaps.learning"), "symmetric_gradient", traced_again
    )
    half = ov.flow(FILTER, some_overlaps(RANK1), duration=0.3, layout=RANK1, samples=6, rtol=1e-9)
    # it is the duration that was asked for: the same course, to the tolerance of either
    np.testing.assert_allclose(half.time, limit.time / 2, rtol=1e-12)
    np.testing.assert_allclose(half.matrix[::2], limit.matrix[:4], rtol=0, atol=1e-7)


def test_flow_moves_the_overlaps_by_the_gram_matrix() -> None:
    s = jnp.asarray(some_overlaps(RANK1))
    gamma = np.asarray(ov.symmetric_gradient(FILTER, s))
    # each unordered pair one variable: off the diagonal it stands twice in the matrix
    per_pair = ov.to_pairs(2 * gamma - np.diag(np.diag(gamma)), RANK1)
    velocity = ov.to_pairs(-2 * (gamma @ s + s @ gamma), RANK1)
    # the same ten numbers, summed in another order
    np.testing.assert_allclose(-ov.gram(s, RANK1) @ per_pair, velocity, rtol=0, atol=1e-14)


def test_descent_in_the_overlaps_is_a_different_thing_and_says_so(limit: ov.Learning) -> None:
    s = some_overlaps(RANK1)
    other = ov.control(FILTER, s, duration=0.6, layout=RANK1, samples=6)
    assert other.method.startswith("control")
    assert (np.diff(other.loss) < 0).all()
    hidden = ~RANK1.visible("linear")
    # what the loss does not see stands still, to the bit
    assert (ov.to_pairs(other.matrix[-1], RANK1)[hidden] == ov.to_pairs(s, RANK1)[hidden]).all()
    assert np.abs(other.matrix - limit.matrix).max() > 0.05
    with pytest.raises(InputError, match="moves overlaps, not weights"):
        ov.recover(np.zeros((5, 4)), other)


def test_steps_that_diverge_end_in_a_status() -> None:
    learning = ov.descend(FILTER, some_overlaps(RANK1), 5.0, steps=60, every=10, layout=RANK1)
    assert learning.status[0] == OK
    assert learning.status[-1] == NON_FINITE


def test_float32_stays_float32() -> None:
    s = some_overlaps(RANK1).astype(np.float32)
    learning = ov.descend(rc.cast(FILTER, jnp.float32), s, 0.02, steps=60, every=10, layout=RANK1)
    exact = ov.descend(FILTER, s.astype(float), 0.02, steps=60, every=10, layout=RANK1)
    assert learning.matrix.dtype == learning.loss.dtype == learning.propagator.dtype == np.float32
    # 60 steps of rounding at 1e-7
    np.testing.assert_allclose(learning.matrix, exact.matrix, rtol=2e-5, atol=2e-5)


def test_elementwise_rules_are_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match=r"leave the span of the initial vectors.*training\.fit"):
        ov.Rule(0.01, name="Adam")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.0}, "`rate` must be"),
        ({"rate": 0.1, "momentum": 1.0}, "`momentum` must lie"),
        ({"rate": 0.1, "weight_decay": -1.0}, "`weight_decay` must lie"),
        ({"rate": 0.1, "blocks": (1.0, 1.0, 1.0, -1.0)}, "`blocks` must be four"),
        ({"rate": 0.1, "name": "newton"}, "`name` must be one of gradient"),
    ],
)
def test_rules_that_make_no_sense_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ov.Rule(**options)


def test_arguments_that_do_not_fit_are_refused() -> None:
    s = some_overlaps(RANK1)
    with pytest.raises(InputError, match="needs its `layout`"):
        ov.descend(FILTER, s, 0.1, steps=2)
    with pytest.raises(InputError, match="multiple of `every`"):
        ov.descend(FILTER, s, 0.1, steps=3, every=2, layout=RANK1)
    for follow in (ov.flow, ov.control):
        with pytest.raises(InputError, match=r"`duration` must be a finite number greater than 0; got -1.0"):
            follow(FILTER, s, duration=-1.0, layout=RANK1)
        with pytest.raises(InputError, match="`samples` must be a whole number of at least 1; got 0"):
            follow(FILTER, s, duration=0.6, layout=RANK1, samples=0)
    with pytest.raises(InputError, match="`data` must have shape"):
        ov.descend(batch_loss(RANK1), s, 0.1, steps=3, layout=RANK1, data=jnp.zeros((2, 1, 5, 2)))
