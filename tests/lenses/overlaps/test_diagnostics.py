"""Every course of nonlinear overlaps carries tests of what it assumes, on units that there are or that are drawn."""

import functools
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats
from tests.lenses.overlaps.prescribed import DT, FILTER, RANK1
from tests.lenses.overlaps.test_closure import MANY, SATURATED, pulses, seen

import recurvature as rc
from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov
from recurvature.lenses.overlaps.diagnostics import Leg, chosen, drawn, judge, spans

OPTIONS: dict[str, Any] = {"steps": 60, "every": 10, "layout": RANK1}
SHORT, LONG = 0.02, 2.0
"""Rates at which overlaps hardly move in those steps, and at which they converge."""


@functools.cache
def course(rate: float) -> ov.Learning:
    return ov.descend(pulses(), SATURATED, rate, **OPTIONS)


def leg(norm: list[float], time: list[float], **rule: Any) -> Leg:
    """A leg of which nothing but its gradients is known."""
    count = len(norm)
    nothing = np.zeros((count, 4, 4))
    return Leg(pulses(), None, ov.Rule(1.0, **rule), np.arange(count), np.array(time), nothing, nothing, np.array(norm))


@pytest.mark.parametrize("columns", [4, 6, 9])
def test_units_are_drawn_as_evenly_as_points_can_lie(columns: int) -> None:
    x = np.asarray(drawn(np.eye(columns), 1000))
    # orthonormal, to rounding
    np.testing.assert_allclose(x.T @ x / 1000, np.eye(columns), atol=1e-12)
    # a standard error of a random draw is 0.15 for a kurtosis, 0.06 for squares of two columns, and up to 0.12 for a
    # third moment; of a dozen projections no kurtosis is as large as a test of the closure would reject, 3 × 0.15
    assert np.abs(scipy.stats.kurtosis(x)).max() < 0.15
    assert np.abs(scipy.stats.kurtosis(x @ np.random.default_rng(0).normal(size=(columns, 16)))).max() < 0.45
    squares = (x**2).T @ (x**2) / 1000
    assert np.abs(squares[np.triu_indices(columns, 1)] - 1).max() < 0.06
    assert np.abs(np.einsum("ni,nj,nk->ijk", x, x, x)).max() / 1000 < 0.12
    s = np.cov(np.random.default_rng(1).normal(size=(columns, 40)))
    theta = np.asarray(drawn(s, 1000))
    np.testing.assert_allclose(theta.T @ theta / 1000, s, atol=1e-12)


def test_at_gaussian_units_the_closure_is_said_to_hold() -> None:
    found = course(SHORT)
    assert found.closure == "drawn"
    assert found.diagnostics["units"] == 1000
    assert found.diagnostics["record"][0] == 0 < found.diagnostics["record"][-1] == 6
    # exact but for sampling: a standard error of quantities of order one
    for name in ("closure_defect", "gain_defect", "velocity_defect"):
        assert max(found.diagnostics[name]) < 1 / np.sqrt(1000) * (3 if name == "velocity_defect" else 1)
    # twenty times as many units, drawn at random: energies scatter by sampling
    assert found.diagnostics["energy_ratio"][0] == pytest.approx(seen(MANY).energy_ratio[0], abs=3 / np.sqrt(1000))
    assert found.diagnostics["trusted"] == [True] * len(found.diagnostics["record"])
    assert (found.status == 0).all()
    assert "no test failed" in ov.diagnostics_in_words(found.diagnostics)
    again = ov.Learning.from_xarray(found.to_xarray())
    assert again.diagnostics == found.diagnostics


def test_after_much_learning_it_is_said_to_fail() -> None:
    short, found = course(SHORT), course(LONG)
    # in second order of the way: overlaps move ten times as far, and are a hundred times as wrong
    assert found.diagnostics["error"][-1] > 30 * short.diagnostics["error"][-1]
    assert max(found.diagnostics["energy_ratio"]) > 2
    assert not found.diagnostics["trusted"][-1]
    assert ov.STATUS[found.status[-1]] == "not_gaussian"
    assert "not to be trusted from record" in ov.diagnostics_in_words(found.diagnostics)


def test_a_network_is_tested_on_its_own_units() -> None:
    rng = np.random.default_rng(0)
    # the same overlaps, and heavy tails
    tails = np.linalg.qr(rng.laplace(size=(1000, 4)))[0] * np.sqrt(1000) @ np.linalg.cholesky(SATURATED).T
    network = ov.assemble(tails, RANK1, dt=DT, phi="erf")
    options = {key: value for key, value in OPTIONS.items() if key != "layout"}
    found = ov.descend(pulses(), ov.extract(network), SHORT, **options)
    assert found.closure == "checked"
    assert found.diagnostics["own"]
    np.testing.assert_allclose(found.matrix, course(SHORT).matrix, rtol=1e-9, atol=1e-12)
    # the excess kurtosis of the Laplace distribution is 3; that of a sum of four like columns a quarter of it
    assert max(found.diagnostics["kurtosis"], key=abs) > 0.75
    assert [ov.STATUS[code] for code in found.status] == ["not_gaussian"] * 7
    assert "units of the network" in ov.diagnostics_in_words(found.diagnostics)


def test_phases_in_turn_are_tested_on_one_and_the_same_units() -> None:
    phases = [ov.Phase(pulses(), rate, 60) for rate in (SHORT, LONG)]
    turn = ov.in_turn(SATURATED, phases, layout=RANK1, records=6)
    assert turn.closure == "drawn"
    # one and the same units: the first phase by itself, then on
    first = turn.diagnostics["record"].index(6) + 1
    np.testing.assert_allclose(turn.diagnostics["error"][:first], course(SHORT).diagnostics["error"], rtol=1e-9)
    assert turn.diagnostics["error"][-1] > 10 * turn.diagnostics["error"][first]
    assert turn.status[6] == 0
    assert ov.STATUS[turn.status[-1]] == "not_gaussian"


@pytest.mark.slow
def test_protocols_of_several_networks_say_it_of_every_one() -> None:
    phases = [ov.Phase(pulses(), rate, 60) for rate in (SHORT, LONG)]
    pair = ov.perturb(
        pulses(), {"one": SATURATED}, LONG, steps=60, every=10, layout=RANK1, charge=1.0, regime="gaussian"
    )
    assert pair.closure == "drawn"
    assert pair.diagnostics["one"] == course(LONG).diagnostics
    assert set(pair.diagnostics) == set(pair.members)
    np.testing.assert_array_equal(pair.status[0], course(LONG).status)
    told = ov.histories((phases[0], phases[1]), phases[0], SATURATED[None], layout=RANK1, records=6, regime="gaussian")
    assert told.status.shape == (1, 2, 14)
    # runs together are runs alone, but for sums in another order
    np.testing.assert_allclose(
        told.diagnostics[0][1]["error"][: len(course(LONG).diagnostics["error"])],
        course(LONG).diagnostics["error"],
        rtol=1e-6,
    )
    assert ov.Histories.from_xarray(told.to_xarray()).diagnostics == told.diagnostics


@pytest.mark.slow
def test_a_round_trip_says_so_too() -> None:
    trip = ov.round_trip(
        pulses(), pulses(), SATURATED, duration=1.2, rate=0.6, levels=2, layout=RANK1, samples=6, rtol=1e-6
    )
    assert trip.closure == "drawn"
    assert trip.status.shape == trip.loss.shape
    # there and back is on and on where both tasks are one: descent of a small rate for as long, on the same units;
    # looks are at other places, and a force between two of them is known to some ten per cent
    on = ov.descend(pulses(), SATURATED, SHORT, steps=180, every=30, layout=RANK1)
    assert trip.diagnostics["error"][-1] == pytest.approx(on.diagnostics["error"][-1], rel=0.2)


class Own(eqx.Module):
    """A loss that a user wrote."""

    phi: str = eqx.field(static=True, default="erf")

    def __call__(self, overlaps: jnp.ndarray, *data: Any) -> jnp.ndarray:
        return pulses()(overlaps)


def test_what_cannot_be_tested_says_why() -> None:
    def why(loss: Any, looks: int = 5, **rule: Any) -> str:
        return judge([leg([1.0], [0.0], **rule)._replace(loss=loss)], looks=looks).diagnostics["untested"]

    assert "units are linear" in why(FILTER)
    assert "`sample(*data)`" in why(Own())
    assert "no single network" in why(pulses(), noise=1e-4)
    nowhere = leg([1.0], [0.0])._replace(propagator=np.full((1, 4, 4), np.nan))
    assert "no network that follows it" in judge([nowhere], looks=5).diagnostics["untested"]
    own = judge([leg([1.0], [0.0])._replace(loss=FILTER)], looks=5, regime="gaussian")
    assert own.closure == "unchecked"
    assert "attribute `phi`" in own.diagnostics["untested"]
    assert ov.diagnostics_in_words(own.diagnostics).startswith("The closure was not tested: a loss")
    with pytest.raises(InputError, match="`looks` must be 0, which tests nothing, or at least 2"):
        ov.descend(pulses(), SATURATED, SHORT, looks=1, **OPTIONS)


def test_stochastic_descent_is_tested_on_the_data_of_its_steps() -> None:
    noisy, keys = ov.NoisyTargets(pulses(), 0.1), jr.split(rc.key(1), 60)
    leg_of_noise = Leg(noisy, keys, ov.Rule(1.0), np.arange(0, 61, 10), *(np.zeros(7),) * 4)
    # the record after the last step sees the last data, as the loss does
    np.testing.assert_array_equal(leg_of_noise.sample(6, None).targets, noisy.sample(keys[59]).targets)
    np.testing.assert_array_equal(leg_of_noise.sample(2, 2).targets, noisy.sample(keys[20]).targets[:2])
    biased = ov.BatchLoss(RANK1, DT, "erf", jnp.full(1, 0.25))
    batch = ov.Batch(pulses().inputs, pulses().targets, jnp.ones(pulses().inputs.shape[:2]))
    # a constant on the outputs is one less in the targets
    np.testing.assert_array_equal(biased.sample(batch).targets, np.asarray(pulses().targets) - 0.25)


def test_between_two_looks_a_force_falls_with_the_gradient() -> None:
    time = np.linspace(0, 5, 201)
    decay = leg(np.exp(-time).tolist(), time.tolist())
    first, second = spans(decay, 0, 200)
    # the integral of e^-t and what is left of the duration, shifted so that the share ends at 0: trapezoidal rule
    left = np.exp(-5.0)
    assert first == pytest.approx((1 - left - 5 * left) / (1 - left), rel=1e-3)
    assert first + second == pytest.approx(5)
    # of a steady gradient both ends count the same; clipped to a third, the way is a third as long
    assert spans(leg([3.0, 3.0], [0.0, 5.0]), 0, 1) == (2.5, 2.5)
    assert spans(leg([3.0, 3.0], [0.0, 5.0], clip=1.0), 0, 1) == pytest.approx((2.5 / 3, 2.5 / 3))
    assert spans(leg([3.0, 3.0], [0.0, 5.0], momentum=0.5), 0, 1) == pytest.approx((5.0, 5.0))
    assert np.isnan(spans(leg([3.0, 3.0], [0.0, 5.0], name="polar"), 0, 1)).all()


def test_looks_are_where_weights_move() -> None:
    time = np.linspace(0, 10, 101)
    # a quarter of the way of e^-t is gone at 0.29, half of it at 0.69, three quarters at 1.39: the next record
    assert chosen(leg(np.exp(-time).tolist(), time.tolist()), 5) == [0, 3, 7, 14, 100]
    # no gradient at all
    assert chosen(leg([0.0] * 101, time.tolist()), 3) == [0, 50, 100]
    diverged = leg([1.0, 2.0, np.inf, np.nan], [0.0, 1.0, 2.0, 3.0])
    assert chosen(diverged, 5) == [0, 1]
