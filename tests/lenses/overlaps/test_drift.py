"""What flow keeps, followed through finite steps, decay, momentum, unequal rates and noise; and steps of size 0."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests.lenses.overlaps.prescribed import DT, FILTER, RANK1, RANK2, some_overlaps, some_vectors

from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov

UNITS = 24


def descended(rule: Any) -> ov.Learning:
    return ov.descend(FILTER, some_overlaps(RANK1), rule, steps=60, every=10, layout=RANK1)


def matrix_of_all_units(theta: Any) -> np.ndarray:
    """$(AA^T - BB^T)/N$, N × N."""
    a, b = np.asarray(theta)[:, : RANK1.split], np.asarray(theta)[:, RANK1.split :]
    return (a @ a.T - b @ b.T) / len(a)


RULES = {
    "steps": ov.Rule(0.02),
    "decay": ov.Rule(0.02, weight_decay=0.3),
    "momentum": ov.Rule(0.01, momentum=0.8),
}


@pytest.mark.parametrize("name", list(RULES))
def test_the_conserved_matrix_is_followed_without_forming_it(name: str) -> None:
    learning, theta = descended(RULES[name]), some_vectors(RANK1, UNITS, 1)
    found = ov.conserved(learning)
    first = matrix_of_all_units(theta)
    for k in range(7):
        after = matrix_of_all_units(ov.recover(theta, learning, k))
        shrunk = (1 - 0.02 * 0.3) ** (20 * k) if name == "decay" else 1.0
        assert found.decayed[k] == pytest.approx(shrunk, rel=1e-14)
        # sums of N² products; the change is a difference of numbers of order 1
        assert found.norm[k] == pytest.approx(np.linalg.norm(after), rel=1e-12)
        assert found.change[k] == pytest.approx(np.linalg.norm(after - shrunk * first), rel=1e-9, abs=1e-13)
    assert found.change[-1] > 1e-4


@pytest.mark.slow  # a claim; the invariants of flow are tested by default
def test_flow_keeps_the_matrix_and_decay_shrinks_it(limit: ov.Learning) -> None:
    # a solver asked for 1e-10
    assert ov.conserved(limit).change.max() < 1e-9
    decay = ov.conserved(descended(RULES["decay"]))
    # rate times steps is 1.2: the continuous factor exp(-2ws), to first order in the step
    assert decay.decayed[-1] == pytest.approx(np.exp(-2 * 0.3 * 1.2), rel=0.01)
    # what is left of it is mostly that factor
    assert decay.change[-1] < 0.1 * decay.norm[-1]


def test_a_step_moves_the_matrix_by_its_square() -> None:
    s, rate = jnp.asarray(some_overlaps(RANK1)), 0.05
    gamma = np.asarray(ov.symmetric_gradient(FILTER, s))
    found = ov.conserved_step(gamma, RANK1, rate)
    # the first order cancels exactly in theory; here to rounding
    np.testing.assert_allclose(found, -4 * rate**2 * np.diag(RANK1.signature) @ gamma @ gamma, rtol=0, atol=1e-15)
    decayed = ov.conserved_step(gamma, RANK1, rate, weight_decay=0.3)
    shrink = (1 - 0.015) ** 2 - 1
    np.testing.assert_allclose(decayed - found, shrink * np.diag(RANK1.signature), rtol=0, atol=1e-15)


def test_unequal_rates_keep_weighted_charges() -> None:
    blocks = (0.5, 2.0, 1.0, 0.8)
    weighted = ov.flow(FILTER, some_overlaps(RANK1), duration=0.6, layout=RANK1, samples=6, blocks=blocks)
    # a solver asked for 1e-10
    assert ov.invariants(weighted).drift.max() < 1e-9
    assert ov.conserved(weighted).change.max() < 1e-9
    s = np.asarray(weighted.matrix)
    # the plain charge is not kept, so that the weights are seen to matter
    assert np.abs(np.diff(s[[0, -1], 3, 3] - s[[0, -1], 1, 1])).max() > 1e-2
    np.testing.assert_allclose(ov.invariants(weighted).charge[:, 0, 0], s[:, 3, 3] / 0.8 - s[:, 1, 1] / 2, rtol=1e-13)


def test_a_frozen_block_leaves_no_weighted_charge() -> None:
    frozen = descended(ov.Rule(0.02, blocks=(1.0, 0.0, 1.0, 1.0)))
    assert np.isnan(ov.invariants(frozen).charge).all()
    with pytest.raises(InputError, match="no weighted invariant"):
        ov.conserved(frozen)


def test_the_gradient_of_flow_is_that_of_what_learns() -> None:
    blocks = (0.5, 0.0, 1.0, 0.8)
    flow = ov.flow(FILTER, some_overlaps(RANK1), duration=0.6, layout=RANK1, samples=6, blocks=blocks)
    # before the first step the two are at one place
    assert flow.gradient_norm[0] == pytest.approx(descended(ov.Rule(0.02, blocks=blocks)).gradient_norm[0], rel=1e-12)


def test_what_carries_no_weights_has_no_matrix() -> None:
    with pytest.raises(InputError, match="do not carry the weights"):
        ov.conserved(descended(ov.Rule(0.02, noise=0.01)))
    with pytest.raises(InputError, match="equal rates alone"):
        ov.conserved(descended(ov.Rule(0.02, weight_decay=0.1, momentum=0.5)))


def test_noise_on_targets_moves_the_invariants_at_a_known_rate() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5, 1)), rng.normal(size=(2, 5, 1))
    loss = ov.DataLoss(jnp.asarray(x), jnp.asarray(y), RANK2, DT, jnp.asarray(rng.uniform(0.5, 1.5, (2, 5))))
    s, std, rate = some_overlaps(RANK2), 0.4, 0.1

    def gained(targets: np.ndarray) -> np.ndarray:
        noisy = ov.DataLoss(loss.inputs, jnp.asarray(targets), RANK2, DT, loss.mask)
        return np.asarray(ov.symmetric_gradient(noisy, jnp.asarray(s)))

    clean = gained(y)
    mean = clean @ s @ clean
    # gradients are linear in the targets, so that independent noise adds the squares of one standard deviation each
    for place in np.ndindex(2, 5, 1):
        moved = y.copy()
        moved[place] += std
        shift = gained(moved) - clean
        mean = mean + shift @ s @ shift
    trace, charge = ov.noise_drift(loss, s, std, rate)
    u, v = RANK2.u, RANK2.v
    # sums of ten terms
    assert trace == pytest.approx(4 * rate**2 * (RANK2.signature * np.diag(mean)).sum(), rel=1e-11)
    np.testing.assert_allclose(charge, 4 * rate**2 * (mean[u, u] - mean[v, v]), rtol=1e-11)
    assert abs(trace - ov.noise_drift(loss, s, 0.0, rate)[0]) > 0.01 * abs(trace)


@pytest.mark.slow
def test_elementwise_adam_breaks_every_charge() -> None:
    theta = some_vectors(RANK1, 64, 1)
    coarse, fine = (
        ov.invariants(ov.descend_units(FILTER, theta, optax.adam(rate), steps=steps, layout=RANK1, every=steps)).drift[
            -1
        ]
        for rate, steps in ((0.01, 30), (0.005, 60))
    )
    plain = [ov.invariants(descended(ov.Rule(rate))).drift[-1] for rate in (0.02, 0.01)]
    # what descent does to them goes with its rate; the drift of Adam is there at every rate
    assert plain[1] < 0.6 * plain[0]
    assert fine > 0.9 * coarse > 0.05


def test_extrapolation_separates_steps_from_their_limit() -> None:
    def polynomial(rate: float) -> np.ndarray:
        return np.array([0.3 + 2 * rate - 5 * rate**2, 1e-3 * rate])

    exact = ov.extrapolate(polynomial, 0.1)
    # three rates determine a quadratic
    np.testing.assert_allclose(exact.limit, [0.3, 0.0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(exact.discretisation, [0.2 - 0.05, 1e-4], rtol=1e-12)
    assert exact.separated.tolist() == [True, False]
    assert exact.order[1] == pytest.approx(1.0, abs=1e-12)


def test_the_drift_of_invariants_is_all_discretisation() -> None:
    def drift(rate: float) -> np.ndarray:
        steps = round(1.2 / rate)
        learning = ov.descend(FILTER, some_overlaps(RANK1), rate, steps=steps, every=steps // 6, layout=RANK1)
        return np.asarray(ov.invariants(learning).charge)[[0, -1], 0, 0]

    found = ov.extrapolate(lambda rate: np.diff(drift(rate)), 0.01)
    # slope 1 in the rate, up to the next power of it
    assert found.order[0] == pytest.approx(1.0, abs=0.05)
    assert abs(found.limit[0]) < 1e-2 * abs(found.discretisation[0])
    assert not found.separated[0]


def test_one_rate_is_not_enough() -> None:
    with pytest.raises(InputError, match="at least 2"):
        ov.extrapolate(lambda rate: rate, 0.1, levels=1)
