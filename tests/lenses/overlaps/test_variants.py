"""Rules beyond gradient descent: those that close in the overlaps do so to rounding, the others are run in full."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array
from tests.lenses.overlaps.prescribed import (
    DT,
    FILTER,
    RANK1,
    RANK2,
    WIDE,
    overlaps_along,
    simulate,
    some_overlaps,
    some_vectors,
)

from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov
from recurvature.lenses.overlaps.descent import begin, descend_once

UNITS, STEPS = 30, 24


@functools.cache
def batches() -> ov.Batch:
    """Inputs, noisy targets and weights, another batch for every step."""
    rng = np.random.default_rng(0)
    shape = (STEPS, 4, 12)
    x, y = rng.normal(size=(*shape, 1)), rng.normal(size=(*shape, 1))
    return ov.Batch(jnp.asarray(x), jnp.asarray(y), jnp.asarray(rng.uniform(0.5, 1.5, shape)))


@functools.cache
def force() -> Callable[[Array, ov.Batch], Array]:
    """$N\\nabla_\\Theta L$ of the full network, its N × N matrix multiplied out."""

    def loss(theta: Array, batch: ov.Batch) -> Array:
        outputs = jax.vmap(lambda x: simulate(theta, RANK2, x))(batch.inputs)
        squares = (outputs - batch.targets)[..., 0] ** 2
        return jnp.sum(squares * batch.mask) / jnp.sum(batch.mask)

    return jax.jit(lambda theta, batch: UNITS * jax.grad(loss)(theta, batch))


def blocks_of(layout: ov.Layout) -> tuple[slice, ...]:
    return layout.z, layout.v, layout.m, layout.u


class TensorAdam:
    """Adam with the mean of the squares over a tensor in place of the square of each entry."""

    def __init__(self, rate: float) -> None:
        self.rate, self.second, self.count = rate, np.zeros(4), 0
        self.first = np.zeros((UNITS, RANK2.size))

    def __call__(self, gradient: np.ndarray) -> np.ndarray:
        self.count += 1
        self.first = 0.8 * self.first + 0.2 * gradient
        self.second = 0.95 * self.second + 0.05 * np.array([(gradient[:, b] ** 2).mean() for b in blocks_of(RANK2)])
        root = np.sqrt(self.second / (1 - 0.95**self.count)) + 1e-4
        step = self.first / (1 - 0.8**self.count)
        for b, r in zip(blocks_of(RANK2), root, strict=True):
            step[:, b] /= r
        return -self.rate * step


class Polar:
    """The polar factor of the momentum of every tensor, by a singular value decomposition of all N rows."""

    def __init__(self, rate: float) -> None:
        self.rate, self.momentum = rate, np.zeros((UNITS, RANK2.size))

    def __call__(self, gradient: np.ndarray) -> np.ndarray:
        self.momentum = 0.7 * self.momentum + gradient
        step = np.zeros_like(gradient)
        for b in blocks_of(RANK2):
            left, _, right = np.linalg.svd(self.momentum[:, b], full_matrices=False)
            step[:, b] = np.sqrt(UNITS) * left @ right
        return -self.rate * step


RULES: dict[str, Any] = {
    "tensor-adam": (TensorAdam, 0.1, {"momentum": 0.8, "second": 0.95, "epsilon": 1e-4}),
    "polar": (Polar, 0.02, {"momentum": 0.7}),
}


@pytest.mark.parametrize("name", list(RULES))
def test_rules_that_scale_whole_tensors_close(name: str) -> None:
    kind, rate, options = RULES[name]
    optimiser, theta = kind(rate), np.asarray(some_vectors(RANK2, UNITS, 3))
    path = [theta]
    for batch in (ov.Batch(*rows) for rows in zip(*batches(), strict=True)):
        gradient = np.asarray(force()(jnp.asarray(path[-1]), batch))
        path.append(path[-1] + optimiser(gradient))
    rule = ov.Rule(rate, name=name, **options)
    learning = ov.descend(
        ov.BatchLoss(RANK2, DT), some_overlaps(RANK2), rule, steps=STEPS, layout=RANK2, data=batches()
    )
    assert np.abs(learning.matrix[-1] - learning.matrix[0]).max() > 0.2
    # rounding of 24 steps; a polar factor divides by the smallest singular value of a gradient
    np.testing.assert_allclose(
        learning.matrix, overlaps_along(jnp.stack([jnp.asarray(each) for each in path])), rtol=1e-9, atol=1e-10
    )
    np.testing.assert_allclose(ov.recover(theta, learning), path[-1], rtol=1e-8, atol=1e-10)


def test_the_momentum_closes_with_the_weights() -> None:
    theta = np.asarray(some_vectors(RANK2, UNITS, 3))
    s, rule, at = jnp.asarray(some_overlaps(RANK2)), ov.Rule(0.2, momentum=0.7), begin(RANK2, float)
    weights, velocity = theta, np.zeros_like(theta)
    for batch in (ov.Batch(*rows) for rows in zip(*batches(), strict=True)):
        velocity = 0.7 * velocity + np.asarray(force()(jnp.asarray(weights), batch))
        weights = weights - 0.2 * velocity
        at = eqx.filter_jit(descend_once)(ov.BatchLoss(RANK2, DT), s, at, rule, RANK2, batch)[0]
    # weights and velocity, N rows each, from two matrices of P rows: rounding of 24 steps
    np.testing.assert_allclose(theta @ np.asarray(at.momentum), velocity, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(theta @ np.asarray(at.weights), weights, rtol=1e-10, atol=1e-12)


BIG = {"rank 1": (RANK1, 5000, 0.1), "rank 2": (RANK2, 500, 0.1), "rank 3": (WIDE, 500, 0.05)}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BIG))
def test_a_thousand_steps_of_many_units(name: str) -> None:
    layout, units, rate = BIG[name]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 20, layout.inputs))
    y = np.cumsum(x[..., :1], axis=1) * DT * np.ones(layout.outputs)
    loss = ov.DataLoss(jnp.asarray(x), jnp.asarray(y), layout, DT)
    theta = some_vectors(layout, units, 3)
    full = ov.descend_units(loss, theta, rate, steps=1000, every=500, layout=layout)
    learning = ov.descend(loss, some_overlaps(layout), rate, steps=1000, every=500, layout=layout)
    assert np.abs(learning.matrix[-1] - learning.matrix[0]).max() > 0.3
    # a thousand steps of rounding at 1e-16
    assert np.abs(full.matrix - learning.matrix).max() < 1e-12 * np.abs(full.matrix).max()
    assert np.abs(ov.recover(theta, learning) - full.vectors[-1]).max() < 1e-10
    assert full.outside[-1] < 1e-10


def test_noise_on_the_weights_widens_the_overlaps_by_its_variance() -> None:
    units, variance, rate = 40_000, 0.01, 0.1
    rng, s = np.random.default_rng(0), some_overlaps(RANK1)
    rule = ov.Rule(rate, blocks=(1.0, 1.0, 0.0, 1.0), weight_decay=0.1, noise=variance)
    learning = ov.descend(FILTER, s, rule, steps=6, layout=RANK1)
    theta = np.asarray(some_vectors(RANK1, units, 1))
    free = np.array([1.0, 1.0, 0.0, 1.0])
    for k in range(6):
        gamma = ov.symmetric_gradient(FILTER, jnp.asarray(theta.T @ theta / units))
        noise = np.sqrt(variance) * rng.normal(size=theta.shape)
        theta = theta - (rate * (2 * theta @ np.asarray(gamma) + 0.1 * theta) - noise) * free
        # sums of N products of entries of order one: five standard errors of a few steps' worth
        np.testing.assert_allclose(learning.matrix[k + 1], theta.T @ theta / units, rtol=0, atol=5 * 2 / np.sqrt(units))
    without = ov.descend(FILTER, s, ov.Rule(rate, blocks=rule.blocks, weight_decay=0.1), steps=6, layout=RANK1)
    # so that the comparison would notice if the noise were left out
    assert np.abs(without.matrix[-1] - learning.matrix[-1]).max() > 0.05
    with pytest.raises(InputError, match="no single network is known"):
        ov.recover(theta, learning)


def test_the_first_step_of_noise_is_exact() -> None:
    s = some_overlaps(RANK1)
    plain = ov.descend(FILTER, s, ov.Rule(0.1), steps=6, layout=RANK1).matrix[1]
    noisy = ov.descend(FILTER, s, ov.Rule(0.1, noise=0.02), steps=6, layout=RANK1).matrix[1]
    # one addition
    np.testing.assert_allclose(noisy - plain, 0.02 * np.eye(4), rtol=0, atol=1e-15)


@pytest.mark.slow
def test_targets_with_noise_are_followed_draw_by_draw() -> None:
    batch = jax.tree.map(lambda x: x[0], batches())
    clean = ov.DataLoss(batch.inputs, batch.targets, RANK2, DT, batch.mask)
    noisy, keys = ov.NoisyTargets(clean, 0.5), jax.random.split(jax.random.key(0), STEPS)
    learning = ov.descend(noisy, some_overlaps(RANK2), 0.2, steps=STEPS, layout=RANK2, data=keys)
    theta = np.asarray(some_vectors(RANK2, UNITS, 3))
    for key in keys:
        targets = batch.targets + 0.5 * jax.random.normal(key, batch.targets.shape)
        theta = theta - 0.2 * np.asarray(force()(jnp.asarray(theta), batch._replace(targets=targets)))
    # rounding of 24 steps
    np.testing.assert_allclose(ov.recover(some_vectors(RANK2, UNITS, 3), learning), theta, rtol=1e-10, atol=1e-11)
    # the losses are those of other targets every time
    assert np.abs(np.diff(learning.loss)).min() > 1e-4


@pytest.mark.slow
def test_one_rate_for_each_vector() -> None:
    blocks = (1.0, 0.5, 0.0, 1.0, 2.0, 0.0)
    s = some_overlaps(RANK2)
    loss = ov.FilterLoss(ov.damped_oscillator(0.3, 2.0), RANK2, DT, 3.2)
    learning = ov.descend(loss, s, ov.Rule(0.05, blocks), steps=2, layout=RANK2)
    gamma = np.asarray(ov.symmetric_gradient(loss, jnp.asarray(s)))
    turn = np.eye(6) - 0.1 * gamma * np.array(blocks)
    # one product
    np.testing.assert_allclose(learning.propagator[1], turn, rtol=0, atol=1e-15)
    with pytest.raises(InputError, match="four factors, or 6"):
        ov.descend(loss, s, ov.Rule(0.05, (1.0,) * 5), steps=2, layout=RANK2)


@pytest.mark.slow  # a claim holds it
def test_elementwise_adam_leaves_the_span_and_is_run_in_full() -> None:
    theta = some_vectors(RANK1, 64, 1)
    adam, plain = (
        ov.descend_units(FILTER, theta, rule, steps=30, layout=RANK1, every=5) for rule in (optax.adam(0.01), 0.02)
    )
    assert adam.loss[-1] < 0.8 * adam.loss[0]
    # signs of N numbers are no combination of four vectors: at the first step about √(1 - 2/π) = 0.6 is outside
    assert 0.3 < adam.outside[-1] < 0.7
    assert 0.3 < adam.step_outside[-1] < 0.9
    # descent stays, to rounding, and is what the map says
    assert plain.outside.max() < 1e-12
    learning = ov.descend(FILTER, some_overlaps(RANK1), 0.02, steps=30, every=5, layout=RANK1)
    np.testing.assert_allclose(plain.matrix, learning.matrix, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(plain.loss, learning.loss, rtol=1e-11)
    assert adam.of("z·m")[-1] == adam.matrix[-1, 0, 2]


@pytest.mark.slow
def test_all_units_diverge_with_a_status() -> None:
    found = ov.descend_units(FILTER, some_vectors(RANK1, 64, 1), 5.0, steps=60, layout=RANK1, every=12)
    assert ov.STATUS[found.status[0]] == "ok"
    assert ov.STATUS[found.status[-1]] == "non_finite"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "tensor-adam", "nesterov": True}, "`nesterov` goes with"),
        ({"noise": 0.1, "momentum": 0.5}, "`noise` on the weights"),
        ({"noise": -1.0}, "`noise` must be a finite number"),
        ({"second": 1.0}, "`second` must lie"),
        ({"name": "lion-king"}, "`name` must be one of gradient, tensor-adam, polar"),
    ],
)
def test_variants_that_make_no_sense_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ov.Rule(0.1, **options)


def test_descent_of_units_checks_its_arguments() -> None:
    theta = some_vectors(RANK1, 8, 1)
    with pytest.raises(InputError, match="multiple of `every`"):
        ov.descend_units(FILTER, theta, 0.1, steps=3, every=2, layout=RANK1)
    with pytest.raises(InputError, match="`theta` must have shape"):
        ov.descend_units(FILTER, theta, 0.1, steps=2, layout=RANK2)
    with pytest.raises(InputError, match="`optimiser` must be"):
        ov.descend_units(FILTER, theta, -0.1, steps=2, layout=RANK1)


def test_a_rate_that_a_small_loss_has_lowered_stays_low() -> None:
    def weighed(s: Any, weight: Any) -> Any:
        return weight * FILTER(s)

    weights, start, rate = jnp.array([1.0, 1.0, 1e-3, 1.0, 1.0, 1.0]), some_overlaps(RANK1), 0.02
    below = 0.5 * float(FILTER(jnp.asarray(start)))
    rule = ov.Rule(rate, slower_below=below, slower=0.25)
    options: dict[str, Any] = {"layout": RANK1, "steps": 6, "data": weights}
    found = ov.descend(weighed, start, rule, **options)
    # the third step alone sees a small loss: by hand, step by step with the plain rule, rounding
    assert (np.asarray(found.loss) < below).tolist() == [False, False, True, False, False, False, False]
    s, eye = start, np.eye(4)
    for weight, pace, after in zip(weights, [1, 1, *[0.25] * 4], found.matrix[1:], strict=True):
        turn = eye - 2 * rate * pace * np.asarray(ov.symmetric_gradient(weighed, jnp.asarray(s), weight))
        s = turn @ s @ turn.T
        np.testing.assert_allclose(after, s, rtol=1e-12)
    np.testing.assert_allclose(found.time, rate * np.array([0, 1, 2, 2.25, 2.5, 2.75, 3]), rtol=1e-12)
    with pytest.raises(InputError, match="`slower_below` must be"):
        ov.Rule(rate, slower_below=0.0)


@pytest.mark.slow
def test_a_rate_that_falls_does_so_in_every_run_by_itself() -> None:
    start, rate = some_overlaps(RANK1), 0.02
    below = 0.9 * float(FILTER(jnp.asarray(start)))
    phase = ov.Phase(FILTER, ov.Rule(rate, slower_below=below), 6)
    told = ov.histories((phase, phase), phase, start[None], layout=RANK1, records=6)
    alone = ov.descend(FILTER, start, ov.Rule(rate, slower_below=below), steps=6, layout=RANK1)
    # sums of a batch in another order
    np.testing.assert_allclose(told.matrix[0, 0, :7], alone.matrix, rtol=1e-11)
    with pytest.raises(InputError, match="equal rates alone"):
        ov.conserved(
            ov.descend(FILTER, start, ov.Rule(rate, weight_decay=0.1, slower_below=below), steps=6, layout=RANK1)
        )
