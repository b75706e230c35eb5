"""Kicks to rates and pulses of current: what the equations say of them, in networks of all neurons."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature import latent
from recurvature._errors import InputError
from recurvature.systems import Dense, simulate


@pytest.fixture(scope="module")
def unit() -> latent.LatentUnit:
    """A memory of two bits."""
    return latent.bit_memory(2, 80, key=rc.key(0), samples=1000)


@pytest.fixture(scope="module")
def corner(unit: latent.LatentUnit) -> np.ndarray:
    """The latent variables of a memory at rest."""
    return np.asarray(latent.rollout(unit, np.zeros((1, 300, 2)), np.array([[1.0, -1.0]])).kappa)[0, -1]


@pytest.fixture(scope="module")
def response(unit: latent.LatentUnit, corner: np.ndarray) -> latent.PerturbationResponse:
    """Small kicks to a memory at rest, with a readout of two outputs."""
    decoder = np.random.default_rng(1).normal(size=(2, 80))
    directions = latent.perturbation_directions(unit, key=rc.key(1), kappa=corner, decoder=decoder)
    return latent.perturb(
        unit, directions, rates=unit.lift(jnp.asarray(corner)), inputs=np.zeros((12, 2)), size=0.1, decoder=decoder
    )


def test_a_kick_moves_the_variables_by_what_is_read_of_it(
    response: latent.PerturbationResponse, unit: latent.LatentUnit
) -> None:
    # at once, whatever comes later: rounding of sums over 80 neurons
    np.testing.assert_allclose(np.asarray(response.shift)[:, 0], response.predicted, atol=1e-13)
    # along a row of the encoding the shift of its variable is the length of the row
    lengths = np.linalg.norm(np.asarray(unit.encoding), axis=1)
    np.testing.assert_allclose(np.diagonal(np.asarray(response.predicted)[:2]), 0.1 * lengths, rtol=1e-12)


def test_what_is_not_read_fades_and_does_nothing(response: latent.PerturbationResponse) -> None:
    place = response.names.index("orthogonal")
    outside = np.asarray(response.outside)[place]
    # 1 - α a step, to the rounding of rates of order one beside a kick of 0.1 that has halved twelve times
    np.testing.assert_allclose(outside[1:] / outside[:-1], 0.5, rtol=1e-9)
    np.testing.assert_allclose(np.asarray(response.shift)[place], 0, atol=1e-13)
    # yet a readout sees it
    assert np.abs(np.asarray(response.output)[place, 0]).max() > 1e-3


def test_later_the_shift_is_that_of_the_variables_alone(
    response: latent.PerturbationResponse, unit: latent.LatentUnit, corner: np.ndarray
) -> None:
    starts = corner + np.concatenate([np.zeros((1, 2)), np.asarray(response.predicted)])
    alone = np.asarray(latent.rollout(unit, np.zeros((len(starts), 12, 2)), starts).kappa)
    # 12 steps by K numbers, and by all rates
    np.testing.assert_allclose(np.asarray(response.shift)[:, 1:], alone[1:] - alone[:1], atol=1e-12)


def test_a_large_kick_along_the_encoding_flips_a_bit_and_stays(unit: latent.LatentUnit, corner: np.ndarray) -> None:
    rows = {"one": unit.encoding[0], "back": -unit.encoding[0]}
    size = 1.5 / float(jnp.linalg.norm(unit.encoding[0]))
    found = latent.perturb(unit, rows, rates=unit.lift(jnp.asarray(corner)), inputs=np.zeros((60, 2)), size=size)
    shift = np.asarray(found.shift)[:, -1, 0]
    # beyond zero the other state attracts, half a state further out nothing does
    np.testing.assert_allclose(corner[0] + shift, [corner[0], -corner[0]], atol=0.1)
    assert found.persistence[1] > 0.5


TIMES = {"before": 20, "after": 40, "pulse_steps": 20}


@pytest.fixture(scope="module")
def populations(unit: latent.LatentUnit) -> latent.LatentUnit:
    """80 neurons that code and 40 that only follow."""
    return latent.redundant_population(unit, 40, key=rc.key(2))


def test_redundant_neurons_follow_and_are_not_read(populations: latent.LatentUnit, unit: latent.LatentUnit) -> None:
    assert not np.asarray(populations.encoding)[:, 80:].any()
    assert set(np.unique(np.asarray(populations.embedding)[80:])) == {-0.8, 0.0, 0.8}
    kappa, u = jnp.asarray([0.3, -0.6]), jnp.asarray([1.0, 0.0])
    # the same sum with zeros behind it
    np.testing.assert_allclose(populations.field(kappa, u), unit.field(kappa, u), rtol=1e-13)


def test_without_a_background_pulses_to_redundant_neurons_do_exactly_nothing(
    populations: latent.LatentUnit, corner: np.ndarray
) -> None:
    pulse = np.where(np.arange(120) < 80, 0.0, 3.0)
    options: dict[str, Any] = {"key": rc.key(3), "state": corner, "draws": 2, **TIMES}
    found = latent.background_sweep(populations, np.array([0.0, 0.5, 1.0]), pulse=pulse, **options)
    # not small: no product that differs enters the sums that are read
    assert (np.asarray(found.effect)[0] == 0).all()
    assert (np.asarray(found.effect)[1:] > 1e-3).all()
    # the same random weights, only larger
    np.testing.assert_allclose(found.spectral_radius[2], 2 * np.asarray(found.spectral_radius)[1], rtol=1e-12)
    assert (np.diff(np.asarray(found.residual), axis=0) > 0).all()


def test_pulses_to_coding_neurons_flip_the_bit_that_they_code(
    populations: latent.LatentUnit, corner: np.ndarray
) -> None:
    signs = np.where(np.arange(120) < 80, np.sign(np.asarray(populations.embedding)[:, 0]), 0.0)
    options: dict[str, Any] = {"key": rc.key(3), "state": corner, "draws": 2, **TIMES}
    against = latent.background_sweep(populations, np.zeros(3), pulse=-3 * signs, **options)
    assert np.asarray(against.kept).all()
    assert not np.asarray(against.kept_after).any()


def test_one_step_flips_only_what_its_drive_carries_past_zero(
    populations: latent.LatentUnit, corner: np.ndarray
) -> None:
    encoding, m = np.asarray(populations.encoding), np.asarray(populations.embedding)
    signs = np.where(np.arange(120) < 80, np.sign(m[:, 0]), 0.0)
    options: dict[str, Any] = {
        "key": rc.key(3),
        "state": corner,
        "before": 20,
        "after": 59,
        "pulse_steps": 1,
        "draws": 1,
    }
    flips = []
    for current in (0.3, 1.0, 50.0):
        found = latent.background_sweep(populations, np.zeros(3), pulse=-current * signs, **options)
        flips.append(not np.asarray(found.kept_after).all())
        after = 0.5 * corner + 0.5 * encoding @ np.tanh(m @ corner - current * signs)
        # both sides of zero belong to other states; none of the three ends near it
        assert flips[-1] == (after[0] < 0)
        assert abs(after[0]) > 0.05
    # at best the drive is that of all rates at their ends, and what it has to beat is (1 - α)/α of the stored value
    assert (encoding[0] @ signs > corner[0]) == flips[-1]
    assert not flips[0]


def test_a_strong_background_is_no_place_for_a_memory(populations: latent.LatentUnit, corner: np.ndarray) -> None:
    options: dict[str, Any] = {"key": rc.key(4), "state": corner, "draws": 8, **TIMES}
    found = latent.background_sweep(populations, np.array([0.0, 0.05, 2.0]), pulse=np.zeros(120), **options)
    kept = np.asarray(found.kept).sum(1)
    assert kept[:2].min() == 8
    # two bits by chance: 2 of 8, and four standard deviations above that would be 7
    assert kept[2] < 7
    # half of the time the random currents are larger than those that hold the memory; they are active by themselves
    assert np.median(np.asarray(found.residual)[2]) > 1
    assert np.asarray(found.spectral_radius)[2].min() > 1


def test_a_background_of_zero_is_the_unit(populations: latent.LatentUnit, corner: np.ndarray) -> None:
    network = latent.on_background(populations, 0.0, key=rc.key(0))
    assert isinstance(network.system.flow.connectivity, Dense)  # type: ignore[attr-defined]
    inputs = np.random.default_rng(6).normal(size=(1, 12, 2))
    found = simulate(network, jnp.asarray(inputs)).outputs
    alone = latent.rollout(populations, inputs, np.zeros((1, 2))).kappa
    # a product of N × N in place of two thin ones, 12 steps
    np.testing.assert_allclose(found, alone, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda u: latent.perturb(u, {}, rates=np.zeros(80), inputs=np.zeros((2, 2))), "`directions` must hold"),
        (
            lambda u: latent.perturb(u, {"none": np.zeros(80)}, rates=np.zeros(80), inputs=np.zeros((2, 2))),
            "has length 0",
        ),
        (lambda u: latent.redundant_population(u, 3, key=rc.key(0), share=0.6), "`share` must be at most"),
        (
            lambda u: latent.background_sweep(u, np.array([-1.0]), key=rc.key(0), state=np.ones(2), pulse=np.zeros(80)),
            "`ratios` must be finite numbers",
        ),
        (lambda u: latent.on_background(u, float("nan"), key=rc.key(0)), "`ratio` must be a finite"),
        (lambda u: latent.labelled_responses(u, 4, key=rc.key(0), noise=-0.1), "`noise` must be a finite"),
        (lambda u: latent.labelled_responses(u, 4, key=rc.key(0), shift=float("inf")), "`shift` must be a finite"),
        (
            lambda u: latent.perturb(u, {"a": np.full(80, np.nan)}, rates=np.zeros(80), inputs=np.zeros((2, 2))),
            "has length nan",
        ),
    ],
)
def test_what_cannot_be_perturbed_is_refused(call, words: str, unit: latent.LatentUnit) -> None:
    with pytest.raises(InputError, match=words):
        call(unit)


def test_labels_are_those_of_the_latent_variables(unit: latent.LatentUnit) -> None:
    rates, labels, kappa = latent.labelled_responses(unit, 4000, key=rc.key(0), shift=1.0, noise=0.0)
    means = [np.asarray(kappa)[np.asarray(labels) == c].mean(0) for c in (0, 1)]
    # standard errors of means of 2000 normal numbers
    np.testing.assert_allclose(means, [[-1, 0], [1, 0]], atol=4 / np.sqrt(2000))
    np.testing.assert_allclose(rates[0], np.tanh(np.asarray(unit.embedding) @ np.asarray(kappa)[0]), rtol=1e-12)
    _, labels, kappa = latent.labelled_responses(unit, 4000, key=rc.key(0), rule="xor", shift=3.0, noise=0.0)
    signs = np.sign(np.asarray(kappa))
    # three standard deviations on either side: 0.3 % wrong
    assert np.mean((signs[:, 0] != signs[:, 1]) == (np.asarray(labels) == 1)) > 0.99


def test_responses_of_a_current_network_are_rates_too() -> None:
    unit = latent.from_encoding(np.full((5, 1), 3.0), np.ones((1, 5)), form="current")
    rates, _, kappa = latent.labelled_responses(unit, 20, key=rc.key(0), noise=0.0)
    # one function by way of two libraries
    np.testing.assert_allclose(rates[:, 0], np.tanh(3 * np.asarray(kappa)[:, 0]), rtol=1e-12)
