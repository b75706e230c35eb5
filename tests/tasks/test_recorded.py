"""A task from recorded arrays: what is decoded, what is held out, and reaches from fitted tuning."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.io import Recording, polar, read_recording
from recurvature.systems import sample_inputs
from recurvature.tasks import explained, fit_tuning, from_recording, tuning_scores
from recurvature.tasks.tuning import expected_counts
from recurvature.training import fit

SHARED = Path(__file__).parents[2] / "../shared/data/recordings"
UNITS = 10


def reaching(counts: np.ndarray, velocity: np.ndarray, starts: np.ndarray) -> Recording:
    return Recording(counts, starts, polar(velocity))


def synthetic(periods: int = 60, seed: int = 0) -> Recording:
    """Reaches of 6 to 8 bins with counts by cosine tuning; the last unit is silent."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(6, 9, periods)
    angle, peak = rng.uniform(0, 2 * np.pi, periods), rng.uniform(5, 15, periods)
    velocity = np.concatenate(
        [
            v * np.sin(np.pi * (np.arange(n) + 1) / (n + 1))[:, None] * np.array([np.cos(a), np.sin(a)])
            for n, a, v in zip(lengths, angle, peak, strict=True)
        ]
    )
    counts = rng.poisson(np.exp(truth(velocity))).astype(float)
    counts[:, -1] = 0
    return reaching(counts, velocity, np.concatenate([[0], np.cumsum(lengths)[:-1]]))


def truth(velocity: np.ndarray) -> np.ndarray:
    preferred = 2 * np.pi * np.arange(UNITS) / UNITS
    along = velocity @ np.array([np.cos(preferred), np.sin(preferred)])
    return np.log(3.0) + 0.02 * np.hypot(*velocity.T)[:, None] + 0.08 * along


@pytest.fixture(scope="module")
def recording() -> Recording:
    return synthetic()


def test_trials_are_the_periods_standardised_and_filled_up(recording, getkey):
    task = from_recording(recording, input_noise=0.0)
    trials = task.everything()
    assert trials.inputs.shape == (60, 8, UNITS)
    assert {leaf.dtype for leaf in jax.tree.leaves(trials)} == {jnp.dtype("float32")}
    inside = np.asarray(trials.mask) > 0
    spread = recording.activity.std(0)
    expected = (recording.activity - recording.activity.mean(0)) / np.where(spread > 0, spread, 1)
    # float32 numbers of a few units
    np.testing.assert_allclose(np.asarray(trials.inputs)[inside], expected, atol=2e-6)
    # the same
    np.testing.assert_allclose(np.asarray(trials.targets)[inside] * task.scale, recording.velocity, atol=1e-5)
    assert not np.asarray(trials.inputs)[~inside].any()
    drawn = task.trials(getkey(), 120)
    assert (np.unique(np.asarray(drawn.theta), axis=0, return_counts=True)[1] == 2).all()


def test_directions_and_peak_speeds_are_those_of_the_reaches(recording):
    theta = np.asarray(from_recording(recording).everything().theta)
    for k, period in enumerate(recording.segments):
        way = recording.velocity[period].sum(0)
        # angles and speeds in float32
        assert theta[k, 0] == pytest.approx(np.arctan2(way[1], way[0]) % (2 * np.pi), abs=1e-5)
        # the same
        assert theta[k, 1] == pytest.approx(np.hypot(*recording.velocity[period].T).max(), rel=1e-6)


def test_the_tuning_that_made_the_counts_is_found_again(recording):
    tuning = fit_tuning(recording.activity, recording.velocity, ridge=1e-3)
    found = np.log(expected_counts(tuning, recording.velocity))[:, :-1]
    # four numbers a unit from about 420 bins of 3 spikes and more: errors of a log rate of sqrt(4 / 1300), 5 of them
    np.testing.assert_allclose(found, truth(recording.velocity)[:, :-1], atol=5 * np.sqrt(4 / 1300))
    slope = (np.asarray(expected_counts(tuning, recording.velocity)) - recording.activity).sum(0)
    # at the maximum of likelihood the expected total is the counted one, but for the pull on the offset
    np.testing.assert_allclose(slope, 0, atol=0.05)


def test_scores_tell_tuned_units_from_shuffled_ones(recording):
    scores = tuning_scores(recording.activity, recording.velocity, recording.starts)
    assert np.isnan(scores[-1])
    assert (scores[:-1] > 0.1).all()
    order = np.random.default_rng(1).permutation(len(recording.activity))
    # nothing to learn: what four numbers lose to noise, about 4 in 340 bins
    assert np.nanmax(tuning_scores(recording.activity[order], recording.velocity, recording.starts)) < 0.03
    with pytest.raises(InputError, match="`folds` must lie between 2 and the 60 periods"):
        tuning_scores(recording.activity, recording.velocity, recording.starts, folds=61)


def test_the_manifold_is_the_tuning_along_the_mean_profile(recording):
    task = from_recording(recording, dt=0.1)
    manifold = task.manifold()
    assert [(c.name, c.periodic) for c in manifold.coordinates] == [("direction", True), ("speed", False)]
    steps = len(task.profile)
    direction, speed = 1.0, 9.0
    inputs = sample_inputs(manifold, np.array([[direction, speed]]), dt=0.1, steps=steps)[0]
    velocity = speed * np.asarray(task.profile)[:, None] * np.array([np.cos(direction), np.sin(direction)])
    expected = (expected_counts(task.tuning, velocity) - task.mean) / task.spread
    # float64 throughout; an exponential of sums of three products
    np.testing.assert_allclose(inputs, expected, rtol=1e-10, atol=1e-12)
    assert np.asarray(task.profile).max() == 1
    assert task.phases() == {"movement": (0.0, steps * 0.1)}
    assert task.views() == {"reaches": {}}


@pytest.mark.slow  # a claim decodes the same recording
def test_a_decoder_learns_what_holds_on_periods_held_out(recording, getkey):
    first, last = recording.split(0.7)
    task = from_recording(first)
    recipe = task.recipe()
    done = fit(recipe.network(getkey()), task, key=getkey(), **{**recipe.training, "steps": 80, "block": 80})
    held = task.on(last)
    trials = held.everything()
    outputs = jnp.asarray(rc.systems.simulate(done.network, trials.inputs).outputs)
    # ten units of a few spikes each; what knows nothing explains 0 or less
    assert explained(outputs, trials) > 0.5
    assert held.accuracy(outputs, trials) > 0.7
    assert (held.scale, held.speeds) == (task.scale, task.speeds)


def test_arrays_that_do_not_fit_are_named(recording):
    other: Any = reaching(recording.activity[:, :3], recording.velocity, recording.starts)
    with pytest.raises(InputError, match="`recording` has 3 units and this task 10"):
        from_recording(recording).on(other)
    for starts in ([3, 9], [0, 9, 9], []):
        bad = SimpleNamespace(activity=recording.activity, velocity=recording.velocity, starts=np.asarray(starts, int))
        with pytest.raises(InputError, match=r"`recording\.starts` must increase from 0"):
            from_recording(bad)
    with pytest.raises(InputError, match="must differ in peak speed"):
        from_recording(reaching(recording.activity, recording.velocity, np.array([0])))


def test_what_is_missing_or_still_makes_no_number_up(recording):
    for counts in (np.full_like(recording.activity, np.nan), -recording.activity):
        with pytest.raises(InputError, match="must be finite, and counts at least 0"):
            fit_tuning(counts, recording.velocity)
    still = recording.velocity.copy()
    still[recording.segments[0]] = 0
    # the mean of about forty profiles in [0, 1], less one of them, moves by at most a fortieth
    others = from_recording(recording)
    task = from_recording(reaching(recording.activity, still, recording.starts))
    np.testing.assert_allclose(task.profile, others.profile, atol=1 / 40)


@pytest.mark.slow
def test_a_monkeys_reaches_are_decoded_and_warp_with_speed(getkey):
    path = SHARED / "reaching_monkey_m.mat"
    if not path.is_file():
        pytest.skip("needs ../shared/data/recordings beside the repository")
    first, last = read_recording(path, activity="Yte", polar="Xte", labels="Tte", periods="seams").split(0.7)
    task = from_recording(first)
    recipe = task.recipe()
    done = fit(recipe.network(getkey()), task, key=getkey(), **recipe.training)
    trials = task.on(last).everything()
    # a ridge regression on the counts of six bins explains 0.81 of the same periods
    assert explained(jnp.asarray(rc.systems.simulate(done.network, trials.inputs).outputs), trials) > 0.81
    theta = np.stack(np.meshgrid(np.arange(8) * np.pi / 4, np.linspace(*task.speeds, 4), indexing="ij"), -1)
    (stop,) = [stop for _, stop in task.phases().values()]
    metric = rc.warping.extended_metric(done.network, task.manifold(), points=theta.reshape(-1, 2), duration=stop)
    grid = np.asarray(metric.metric).reshape(-1, 8, 4, 3, 3)
    # faster reaches move the state faster and make wider circles, on the average over time and directions
    assert (np.diff(np.sqrt(grid[..., 2, 2]).mean((0, 1))) > 0).all()
    assert (np.diff(np.sqrt(grid[..., 0, 0]).mean((0, 1))) > 0).all()
