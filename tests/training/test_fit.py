"""A fit is gradient descent on the trials of its key: by an independent route, and to the end it was given."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import recurvature as rc
from recurvature._errors import InputError, NumericalError
from recurvature._keys import at_step, stream
from recurvature._progress import Progress
from recurvature.systems import FunctionMap, LinearReadout, Network, Noise, leaky_current, simulate
from recurvature.tasks import AbstractTask
from recurvature.tasks.base import Trials
from recurvature.training import Fit, fit, mean_squared_error
from recurvature.training.history import STATUS

FAST: dict[str, Any] = {"batch": 4, "block": 3}


def arrays(network: Network) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(network) if eqx.is_inexact_array(leaf)]


def assert_same(one: Fit, other: Fit) -> None:
    """Weights and history agree bit for bit."""
    for a, b in zip(arrays(one.network), arrays(other.network), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(jax.tree.leaves(one.history), jax.tree.leaves(other.history), strict=True):
        np.testing.assert_array_equal(a, b)


def by_hand(network: Network, task: AbstractTask, key: Any, steps: int, noise: Noise) -> tuple[Network, list[Any]]:
    """Adam with `optax` in a Python loop over `simulate`, in the number type of the network."""
    adam = optax.chain(optax.clip_by_global_norm(0.05), optax.adam(1e-2))
    state, rows = adam.init(eqx.filter(network, eqx.is_inexact_array)), []

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def loss(network: Network, k: jax.Array) -> Any:
        trials = task.trials(at_step(stream(key, "trials"), k), 4)
        noisy = at_step(stream(key, "noise"), k)
        outputs = simulate(network, trials.inputs, noise=noise, key=noisy).outputs
        return mean_squared_error(jnp.asarray(outputs), trials)

    @eqx.filter_jit
    def moved(network: Network, gradient: Network, state: Any) -> tuple[Network, Any, jax.Array]:
        updates, state = adam.update(gradient, state)
        return eqx.apply_updates(network, updates), state, optax.tree.norm(gradient)

    for k in range(steps):
        value, gradient = loss(network, jnp.asarray(k, jnp.uint32))
        with jax.numpy_dtype_promotion("standard"):
            network, state, norm = moved(network, gradient, state)
        rows.append((float(value), float(norm)))
    return network, rows


@pytest.mark.oracle
def test_it_equals_a_loop_written_by_hand(small: Network, task: AbstractTask) -> None:
    noise = Noise(0.1)
    done = fit(small, task, steps=5, key=rc.key(1), learning_rate=1e-2, clip_norm=0.05, noise=noise, **FAST)
    network, rows = by_hand(small, task, rc.key(1), 5, noise)
    # Adam divides by the size of a gradient, so float32 rounding of about 1e-7 shows a hundredfold in an update of 1e-2
    for got, expected in zip(arrays(done.network), arrays(network), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)
    # losses and norms of about 1, in float32, summed in another order
    np.testing.assert_allclose(np.stack([done.history.loss, done.history.gradient_norm], 1), rows, rtol=1e-5)
    # the clipping was at work
    assert min(norm for _, norm in rows) > 0.05


@pytest.mark.slow  # every demo learns; steps are those of a loop written by hand
def test_it_learns(task: AbstractTask) -> None:
    network = leaky_current(16, inputs=1, outputs=1, key=rc.key(0))
    done = fit(network, task, steps=200, key=rc.key(1), learning_rate=1e-2, batch=16)
    loss = np.asarray(done.history.loss)
    # targets of ±1 from weak inputs: an error of 1 for no answer at all
    assert loss[:5].mean() > 0.5
    assert loss[-20:].mean() < 0.3
    trials = task.trials(rc.key(9), 200)
    assert task.accuracy(jnp.asarray(simulate(done.network, trials.inputs).outputs), trials) > 0.9
    assert done.status == "trained"


def test_training_is_in_float32_and_leaves_the_caller_alone(network: Network, task: AbstractTask) -> None:
    before = arrays(network)
    done = fit(network, task, steps=1, key=rc.key(1), **FAST)
    assert {a.dtype for a in arrays(done.network)} == {np.dtype(np.float32)}
    for a, b in zip(arrays(network), before, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == np.float64


def test_any_map_can_be_trained(task: AbstractTask, small: Network) -> None:
    system = FunctionMap(lambda x, u: jnp.sin(x) + u, state_size=3, input_size=1, dt=0.2)
    network = Network(system, LinearReadout(jnp.ones((1, 3))), jnp.zeros(3))
    done = fit(network, task, steps=2, key=rc.key(1), **FAST)
    assert np.isfinite(done.history.loss).all()
    assert (np.asarray(done.network.readout.weight) != 1).all()  # type: ignore[attr-defined]


TRACED: list[int] = []


def counted(outputs: jax.Array, trials: Trials) -> jax.Array:
    TRACED.append(1)
    return mean_squared_error(outputs, trials)


def test_blocks_are_compiled_once(small: Network, task: AbstractTask) -> None:
    states: list[Any] = []
    fit(small, task, steps=3, key=rc.key(1), loss=counted, on_block=states.append, **FAST)
    once = len(TRACED)
    assert once > 0
    # a last block of one step, another key, another learning rate, another clipping and a resumed run: the same program
    fit(small, task, steps=7, key=rc.key(2), loss=counted, learning_rate=0.5, clip_norm=None, **FAST)
    fit(small, task, steps=8, key=rc.key(1), loss=counted, resume=states[0], **FAST)
    assert len(TRACED) == once


def test_schedules_are_followed_and_recorded(small: Network, task: AbstractTask) -> None:
    schedule = optax.linear_schedule(1e-2, 0.0, 4)
    done = fit(small, task, steps=6, key=rc.key(1), learning_rate=schedule, **FAST)
    # a line through five float32 numbers
    np.testing.assert_allclose(done.history.learning_rate, [1e-2, 7.5e-3, 5e-3, 2.5e-3, 0, 0], rtol=1e-6, atol=1e-9)
    stopped = fit(small, task, steps=4, key=rc.key(1), learning_rate=schedule, **FAST)
    for a, b in zip(arrays(done.network), arrays(stopped.network), strict=True):
        np.testing.assert_array_equal(a, b)


def test_clipping_bounds_a_step_of_plain_descent_and_frozen_parameters_stay(small: Network, task: AbstractTask) -> None:
    options: dict[str, Any] = {"steps": 1, "key": rc.key(1), "optimiser": optax.sgd, "learning_rate": 0.25, **FAST}
    frozen = ("x0", "system.flow.connectivity")
    free, bound = (fit(small, task, clip_norm=c, frozen=frozen, **options) for c in (None, 1e-3))
    moved = [
        np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(arrays(done.network), arrays(small), strict=True)))
        for done in (free, bound)
    ]
    norm = float(free.history.gradient_norm[0])
    # differences of float32 weights of about 1 that are 1e-4 apart
    np.testing.assert_allclose(moved, [0.25 * norm, 0.25e-3], rtol=5e-3)
    assert bound.history.gradient_norm[0] == free.history.gradient_norm[0]
    changed: Any = jax.tree.map(lambda a, b: bool((a != b).any()), free.network, small)
    assert not changed.x0
    assert not changed.system.flow.connectivity.weight
    assert changed.system.flow.input_weights
    assert changed.readout.weight


def test_it_stops_at_the_target_between_blocks(small: Network, task: AbstractTask) -> None:
    done = fit(small, task, steps=30, key=rc.key(1), target_loss=100.0, **FAST)
    assert done.status == "target reached"
    assert done.history.loss.shape == (3,)
    missed = fit(small, task, steps=4, key=rc.key(1), target_loss=1e-12, **FAST)
    assert missed.status == "trained"
    assert missed.history.loss.shape == (4,)


def spoiled(at: int) -> Callable[[Any], Any]:
    return lambda step: jnp.where(step == at, jnp.inf, 1e-3)


def test_a_non_finite_update_stops_it_with_the_last_finite_network(small: Network, task: AbstractTask) -> None:
    seen: list[Progress] = []
    options: dict[str, Any] = {"key": rc.key(1), "learning_rate": spoiled(4), **FAST}
    done = fit(small, task, steps=20, throw=False, report=seen.append, **options)
    assert done.status == "non-finite at step 4"
    assert done.failed
    assert done.history.statuses == STATUS
    assert [p.done for p in seen] == [3, 5]
    before = fit(small, task, steps=4, **options)
    for a, b in zip(arrays(done.network), arrays(before.network), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(NumericalError, match="non-finite at step 4") as caught:
        fit(small, task, steps=20, **options)
    assert_same(caught.value.result, done)


def test_a_non_finite_loss_stops_it_at_once(small: Network, task: AbstractTask) -> None:
    broken = eqx.tree_at(lambda n: n.readout.weight, small, jnp.full_like(small.readout.weight, 1e30))  # type: ignore[attr-defined]
    done = fit(broken, task, steps=20, key=rc.key(1), throw=False, **FAST)
    assert done.status == "non-finite at step 0"
    assert not np.isfinite(done.history.loss[0])
    for a, b in zip(arrays(done.network), arrays(broken), strict=True):
        np.testing.assert_array_equal(a, b)


def test_progress_comes_after_every_block(small: Network, task: AbstractTask) -> None:
    seen: list[Progress] = []
    done = fit(small, task, steps=7, key=rc.key(1), report=seen.append, **FAST)
    assert [(p.done, p.total) for p in seen] == [(3, 7), (6, 7), (7, 7)]
    assert seen[-1].values["loss"] == float(done.history.loss[-1])


def test_misuse_has_one_clear_line(small: Network, task: AbstractTask) -> None:
    wide = leaky_current(3, inputs=2, outputs=1, key=rc.key(0))
    flow = leaky_current(3, inputs=1, outputs=1, key=rc.key(0), dt=None)
    slow = leaky_current(3, inputs=1, outputs=1, key=rc.key(0), dt=1.0)
    cases: list[tuple[Network, dict[str, Any], str]] = [
        (wide, {}, "`network` has 2 inputs and task 'random-dots' has 1"),
        (flow, {}, "Wrap it as Euler"),
        (slow, {}, "`network` has steps of dt=1 and task 'random-dots' of dt=0.2"),
        (small, {"steps": 0}, "`steps` must be a whole number"),
        (small, {"batch": 0}, "`batch` must be a whole number"),
        (small, {"learning_rate": -1.0}, "`learning_rate` must be a finite number greater than 0"),
        (small, {"clip_norm": 0.0}, "`clip_norm` must be"),
        (small, {"frozen": ("system", "readout", "x0")}, "`frozen` leaves nothing to train"),
        (small, {"frozen": ("system.flow.bia",)}, "unknown parameter in `frozen` .*Did you mean 'system.flow.bias'"),
    ]
    for network, options, message in cases:
        with pytest.raises(InputError, match=message):
            fit(network, task, **{"steps": 3, "key": rc.key(1), **options})
