"""Environments of NeuroGym: their trials arrive whole, and a network learns them."""

import importlib.util
import re
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.tasks import EnvironmentTask, Trials, environment, from_environment

neurogym = pytest.importorskip("neurogym", reason="environments come from NeuroGym, which is an optional extra")

NAMES = (
    "PerceptualDecisionMaking-v0",
    "DelayMatchSample-v0",
    "ContextDecisionMaking-v0",
    "DelayComparison-v0",
    "GoNogo-v0",
    "ReadySetGo-v0",
    "MultiSensoryIntegration-v0",
    "ReachingDelayResponse-v0",
)
FEW = 8


def made(name: str, **options: Any) -> EnvironmentTask:
    return from_environment(name, key=rc.key(0), trials=FEW, **options)


@pytest.mark.parametrize("name", NAMES)
def test_trials_are_those_of_the_environment(name: str) -> None:
    task = made(name)
    env = made_again(name)
    for k in range(FEW):
        env.new_trial()
        length = len(env.ob)
        np.testing.assert_array_equal(task.observations[k, :length], env.ob)
        right = np.eye(env.action_space.n)[env.gt] if task.discrete else env.gt
        np.testing.assert_array_equal(task.truth[k, :length], right)
        due = range(*(env.start_ind["decision"], env.end_ind["decision"])) if "decision" in env.start_ind else None
        expected = np.isin(np.arange(length), due) if due is not None else env.gt != 0
        np.testing.assert_array_equal(task.weight[k, :length], np.where(expected, 5.0, 1.0))
        for rest in (task.observations, task.truth, task.weight):
            assert not rest[k, length:].any()
    assert task.steps == task.weight.astype(bool).sum(1).max()


def made_again(name: str) -> Any:
    """The environment in the state in which its trials were recorded, by an independent call."""
    seeds: list[int] = []
    env = environment._environment(name, {})
    seed = env.seed
    env.seed = lambda value: seeds.append(value) or seed(value)  # type: ignore[func-returns-value]
    from_environment(env, key=rc.key(0), trials=1)
    env.seed = seed
    env.seed(seeds[0])
    return env


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_are_right_and_others_are_not(name: str) -> None:
    task = made(name)
    # not compiled: eight shapes would be eight programs
    trials = Trials(*(jnp.asarray(array) for array in (task.observations, task.truth, task.weight)))
    assert task.correct(trials.targets, trials).all()
    assert not task.correct(jnp.roll(trials.targets, 1, -1) if task.discrete else -trials.targets, trials).any()
    assert not task.correct(jnp.full_like(trials.targets, jnp.nan), trials).any()
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", task.name)
    assert task.reference.url.startswith("https://")


def test_drawn_trials_are_recorded_ones_in_single_precision() -> None:
    task = made(NAMES[0])
    trials = task.trials(rc.key(1), FEW)
    assert {array.dtype.name for array in (trials.inputs, trials.targets, trials.mask)} == {"float32"}
    # as many as there are: each of them once
    order = np.lexsort(np.asarray(trials.inputs[:, 5]).T), np.lexsort(task.observations[:, 5].T)
    np.testing.assert_array_equal(trials.inputs[order[0]], task.observations[order[1]].astype(np.float32))
    assert task.accuracy(trials.targets, trials) == 1.0


def test_one_key_gives_one_set_of_trials_and_another_key_another() -> None:
    first, same = made("GoNogo-v0"), made("GoNogo-v0")
    np.testing.assert_array_equal(first.observations, same.observations)
    noisy, other = (from_environment(NAMES[0], key=rc.key(k), trials=FEW).observations for k in (0, 1))
    assert not np.array_equal(noisy, other)


def test_times_are_in_units_of_tau() -> None:
    task = made("PerceptualDecisionMaking-v0", dt=20, tau_ms=50.0)
    assert task.dt == 0.4
    # 100 ms fixation, 2 s stimulus, 100 ms decision
    assert list(task.phases()) == ["fixation", "stimulus", "decision"]
    # rounding of a product
    np.testing.assert_allclose(list(task.phases().values()), [(0, 2), (2, 42), (42, 44)], rtol=1e-14)
    assert task.steps == 110


COHERENCE: dict[str, Any] = {"along": {"coh": (-51.2, 51.2)}, "fixed": {"ground_truth": 0}}


def test_the_manifold_is_the_noise_free_trial_at_every_number() -> None:
    task = made(NAMES[0], **COHERENCE)
    manifold = task.manifold()
    assert manifold.jump_times == (1.0, 21.0)
    for coherence in (-51.2, -6.4, 0.0, 33.0):
        clean = neurogym_trial(coherence)
        seen = rc.systems.sample_inputs(manifold, np.array([[coherence]]), dt=task.dt, steps=task.steps)[0]
        # observations are float32 numbers of order one
        np.testing.assert_allclose(seen, clean, rtol=0, atol=1e-6)
    assert list(task.views()) == ["stimuli"]


def test_steps_are_found_in_single_precision() -> None:
    domain = rc.systems.interval("a")
    for dt in (0.1, 0.2, 0.3):
        manifold = environment.LinearCourse(domain, np.arange(200.0)[:, None], np.zeros((1, 200, 1)), dt, ())
        read = rc.systems.sample_inputs(manifold, np.zeros((1, 1), np.float32), dt=dt, steps=200)
        np.testing.assert_array_equal(read[0, :, 0], np.arange(200))


def test_a_coordinate_in_other_units_is_the_same_manifold(monkeypatch: pytest.MonkeyPatch) -> None:
    million = 1e6
    trial = environment._quiet
    scaled = lambda env, numbers, seed: trial(env, numbers | {"coh": numbers["coh"] / million}, seed)  # noqa: E731
    monkeypatch.setattr(environment, "_quiet", scaled)
    options = {**COHERENCE, "along": {"coh": (-51.2 * million, 51.2 * million)}}
    assert made(NAMES[0], **options).manifold().jump_times == (1.0, 21.0)


def neurogym_trial(coherence: float) -> np.ndarray:
    env = environment._environment(NAMES[0], {"sigma": 0.0})
    env.new_trial(ground_truth=0, coh=coherence)
    return np.asarray(env.ob)


def test_several_coordinates_at_once() -> None:
    task = made(
        "ContextDecisionMaking-v0",
        along={"coh_1": (-50.0, 50.0), "coh_2": (-50.0, 50.0)},
        fixed={"ground_truth": 1, "other_choice": 1},
        timing={"delay": 300},
    )
    slopes = np.stack(
        [task.manifold().inputs_at(point, 4.0) for point in (jnp.array([20.0, 0.0]), jnp.array([0.0, 20.0]))]
    )
    # by the source of the environment: half, plus and minus a two-hundredth of the coherence, on its own two channels
    expected = np.array([[0, 0.6, 0.4, 0.5, 0.5], [0, 0.5, 0.5, 0.6, 0.4]])
    np.testing.assert_allclose(slopes, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("Perceptual-v0", {}, "unknown environment 'Perceptual-v0'"),
        ("Bandit-v0", {}, "has no ground truth"),
        (NAMES[0], {"trials": 0}, "`trials` must be"),
        (NAMES[0], {"wrong": 1}, "takes no options .*'wrong'"),
        (NAMES[0], {"dt": 0.0}, "`dt` must be a finite number greater than 0"),
        (NAMES[0], {"answer_weight": 1.0}, "`answer_weight` must be a finite number above 1"),
        (NAMES[0], {"along": {"contrast": (0.0, 1.0)}}, "do not depend on contrast"),
        (NAMES[0], {**COHERENCE, "along": {**COHERENCE["along"], "cohh": (0.0, 1.0)}}, "do not depend on cohh\\."),
        (NAMES[0], {"fixed": {"ground_truth": 0}}, "name its coordinates in `along`"),
        (NAMES[0], {"along": {"ground_truth": (0.0, 1.0)}}, "makes no trial with|no linear function"),
        (
            "DelayMatchSample-v0",
            {"along": {"sample_theta": (0.0, 1.0)}, "fixed": {"ground_truth": 1}},
            "no linear function",
        ),
        ("ReadySetGo-v0", {"along": {"gain": (1.0, 2.0)}}, "how long a trial is"),
    ],
)
def test_what_cannot_be_made_says_why(name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        from_environment(name, **{"key": rc.key(0), "trials": FEW, **options})


def test_other_objects_wrappers_and_options_without_a_name_are_refused() -> None:
    env = environment._environment(NAMES[0], {})
    with pytest.raises(InputError, match="must be a NeuroGym environment or its name; got int"):
        made(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="`dt` is an option of an environment that is made by its name"):
        from_environment(env, key=rc.key(0), dt=20)
    with pytest.raises(InputError, match="in a wrapper"):
        made(neurogym.core.TrialWrapper(env))
    with pytest.raises(InputError, match="has no manifold"):
        made(NAMES[0]).manifold()


def test_without_neurogym_the_way_to_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'recurvature\[neurogym\]'"):
        made(NAMES[0])


@pytest.mark.slow
def test_a_network_learns_to_decide_and_is_tested_on_other_trials() -> None:
    timing = {"fixation": 100, "stimulus": 500, "decision": 100}
    options: dict[str, Any] = {"timing": timing, "cohs": [25.6, 51.2], "sigma": 0.5}
    task = from_environment(NAMES[0], key=rc.key(0), trials=200, **options)
    other = from_environment(NAMES[0], key=rc.key(1), trials=200, **options).trials(rc.key(2), 200)
    net = rc.systems.gru(8, inputs=task.input_size, outputs=task.output_size, dt=task.dt, key=rc.key(3))

    def accuracy(network: rc.systems.Network) -> float:
        return task.accuracy(jnp.asarray(rc.systems.simulate(network, other.inputs).outputs), other)

    fit = rc.training.fit(net, task, steps=150, batch=32, learning_rate=2e-2, key=rc.key(4))
    # the evidence of five steps is 0.128 or more, its noise 0.05 a step and channel: an ideal observer is right in
    # all but a few of 200 trials, one that does not decide answers 0 or guesses between two
    assert accuracy(net) < 0.7
    assert accuracy(fit.network) > 0.9
