"""An ensemble is its members: each as if trained alone, whatever happens to the others."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature._keys import PRNGKey
from recurvature._progress import Progress
from recurvature.systems import Network, leaky_current
from recurvature.tasks import AbstractTask
from recurvature.training import TrainingState, fit, fit_ensemble, seed_keys
from recurvature.training.ensemble import choose_batching

OPTIONS: dict[str, Any] = {"steps": 7, "batch": 4, "block": 3, "learning_rate": 1e-2, "frozen": ("x0",)}


def make(key: PRNGKey) -> Network:
    return leaky_current(6, inputs=1, outputs=1, key=key)


def spoiling(place: int) -> Callable[[PRNGKey], Network]:
    """`make`, but the network made as number `place` overflows."""
    calls = iter(range(100))

    def made(key: PRNGKey) -> Network:
        network = make(key)
        if next(calls) != place:
            return network
        return eqx.tree_at(lambda n: n.readout.weight, network, 1e30 * network.readout.weight)  # type: ignore[attr-defined]

    return made


def leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree) if eqx.is_array(leaf)]


@pytest.mark.parametrize("batching", ["map", pytest.param("vmap", marks=pytest.mark.slow)])
def test_a_member_is_a_fit_of_its_own(task: AbstractTask, batching: Any) -> None:
    done = fit_ensemble(make, task, seeds=[5, 2, 9], key=rc.key(1), batching=batching, **OPTIONS)
    np.testing.assert_array_equal(done.history.seed, [5, 2, 9])
    assert done.history.loss.shape == (3, 7)
    weights, training = seed_keys(rc.key(1), 2)
    alone = fit(make(weights), task, key=training, **OPTIONS)
    # products of a batch of matrices may be summed in another order: float32 rounding, a hundredfold through Adam
    for a, b in zip(leaves(done.member(1)), leaves(alone.network), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)
    np.testing.assert_allclose(done.history.loss[1], alone.history.loss, rtol=1e-4)
    # and the other one is another
    assert np.abs(np.asarray(done.history.loss[0] - done.history.loss[1])).max() > 1e-3


@pytest.mark.parametrize("batching", ["map", "vmap"])
def test_a_failed_seed_is_kept_and_marked(task: AbstractTask, batching: Any) -> None:
    seen: list[Progress] = []
    done = fit_ensemble(spoiling(1), task, seeds=3, key=rc.key(1), batching=batching, report=seen.append, **OPTIONS)
    healthy = fit_ensemble(make, task, seeds=3, key=rc.key(1), batching=batching, **OPTIONS)
    assert done.status == "1 of 3 seeds non-finite: seed 1"
    np.testing.assert_array_equal(done.failed, [False, True, False])
    np.testing.assert_array_equal(done.history.steps_done, [7, 1, 7])
    for seed in (0, 2):
        for a, b in zip(leaves(done.member(seed)), leaves(healthy.member(seed)), strict=True):
            np.testing.assert_array_equal(a, b)
    assert all(np.isfinite(leaf).all() for leaf in leaves(done.member(1)))
    assert np.isnan(done.history.gradient_norm[1, 1:]).all()
    assert [p.done for p in seen] == [3, 6, 7]
    assert np.isfinite(seen[-1].values["loss"])


def test_an_ensemble_resumes_bit_for_bit(task: AbstractTask) -> None:
    states: list[TrainingState] = []
    options = {"seeds": 3, "key": rc.key(1), "batching": "map", **OPTIONS}
    whole = fit_ensemble(spoiling(0), task, on_block=states.append, **options)
    assert [state.step for state in states] == [3, 6, 7]
    for state in states:
        resumed = fit_ensemble(spoiling(0), task, resume=state, **options)
        for a, b in zip(
            leaves((resumed.network, resumed.history)), leaves((whole.network, whole.history)), strict=True
        ):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(InputError, match=r"different run: .*seeds was \[0, 1, 2\] and is \[0, 1\]"):
        fit_ensemble(spoiling(0), task, resume=states[0], **{**options, "seeds": 2})


def test_seeds_stop_at_the_target_one_by_one(task: AbstractTask) -> None:
    # a readout of zeros answers nothing: its loss is the mean square of the targets, 1; a wild one has more
    gains = iter((100.0, 0.0, 100.0))

    def made(key: PRNGKey) -> Network:
        gain = next(gains)
        return eqx.tree_at(lambda n: n.readout.weight, make(key), replace_fn=lambda weight: gain * weight)

    done = fit_ensemble(made, task, seeds=3, key=rc.key(1), batching="map", target_loss=1.5, **OPTIONS)
    np.testing.assert_array_equal(done.history.steps_done, [7, 3, 7])
    np.testing.assert_array_equal(done.history.status, [0, 1, 0])
    assert done.status == "trained"


def test_how_seeds_are_batched(task: AbstractTask) -> None:
    # on a CPU: in turn, unless the network is tiny
    assert jax.default_backend() == "cpu"
    assert choose_batching("auto", leaky_current(64, inputs=1, outputs=1, key=rc.key(0)), 32) == "map"
    assert choose_batching("auto", make(rc.key(0)), 64) == "vmap"
    assert choose_batching("map", make(rc.key(0)), 64) == "map"
    with pytest.raises(InputError, match="`batching` must be one of auto, map, vmap; got 'pmap'"):
        choose_batching("pmap", make(rc.key(0)), 64)


def test_misuse_has_one_clear_line(task: AbstractTask) -> None:
    sizes = iter((4, 5))

    def uneven(key: PRNGKey) -> Network:
        return leaky_current(next(sizes), inputs=1, outputs=1, key=key)

    with pytest.raises(InputError, match="the same structure"):
        fit_ensemble(uneven, task, seeds=2, key=rc.key(0), **OPTIONS)
    for seeds in (0, [], [1, 1]):
        with pytest.raises(InputError, match="`seeds` must be"):
            fit_ensemble(make, task, seeds=seeds, key=rc.key(0), **OPTIONS)
