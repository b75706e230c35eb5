"""Processes that share the seeds give what one process gives."""

import os
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature._keys import PRNGKey
from recurvature.systems import FunctionMap, LinearReadout, Network, leaky_current
from recurvature.tasks import AbstractTask
from recurvature.training import TrainingState, fit_ensemble, l2_rates
from recurvature.training.workers import ENVIRONMENT

OPTIONS: dict[str, Any] = {
    "seeds": 3,
    "steps": 7,
    "batch": 4,
    "block": 3,
    "batching": "map",
    "penalties": (l2_rates(0.1),),
}

# the programs for two and for three seeds are compiled apart: rounding in float32, through seven steps of Adam
ROUNDING = 1e-5


def make(key: PRNGKey) -> Network:
    return leaky_current(6, inputs=1, outputs=1, key=key)


def test_workers_agree_with_one_process_block_by_block(task: AbstractTask) -> None:
    environment = dict(os.environ)
    states: dict[int, list[TrainingState]] = {1: [], 2: []}
    # one seed overflows at once: its worker goes on with the other one
    calls = iter(range(6))

    def made(key: PRNGKey) -> Network:
        network = make(key)
        bad = next(calls) % 3 == 0
        readout = jax.tree.map(lambda a: (1e30 if bad else 1.0) * a, network.readout)
        return eqx.tree_at(lambda n: n.readout, network, readout)

    done = {
        workers: fit_ensemble(made, task, key=rc.key(1), workers=workers, on_block=states[workers].append, **OPTIONS)
        for workers in (1, 2)
    }
    assert dict(os.environ) == environment
    assert done[2].status == done[1].status == "1 of 3 seeds non-finite: seed 0"
    for a, b in zip(jax.tree.leaves(done[1].network), jax.tree.leaves(done[2].network), strict=True):
        np.testing.assert_allclose(a, b, rtol=ROUNDING, atol=ROUNDING)
    assert [s.step for s in states[2]] == [s.step for s in states[1]] == [3, 6, 7]
    for one, two in zip(states[1], states[2], strict=True):
        assert one.arrays.keys() == two.arrays.keys()
        for name, array in one.arrays.items():
            if array.dtype.kind == "f":
                np.testing.assert_allclose(two.arrays[name], array, rtol=ROUNDING, atol=ROUNDING, err_msg=name)
            else:
                np.testing.assert_array_equal(two.arrays[name], array, err_msg=name)


def test_what_another_process_cannot_import_is_refused(task: AbstractTask) -> None:
    halved = lambda x, u: 0.5 * x + u  # noqa: E731

    def local(key: PRNGKey) -> Network:
        system = FunctionMap(halved, state_size=2, input_size=1, dt=0.2)
        return Network(system, LinearReadout(jnp.ones((1, 2))), jnp.zeros(2))

    with pytest.raises(InputError, match="functions that other processes can import"):
        fit_ensemble(local, task, key=rc.key(0), workers=2, **OPTIONS)


def test_a_worker_has_one_thread() -> None:
    assert {ENVIRONMENT[name] for name in ENVIRONMENT if name.endswith("THREADS")} == {"1"}
