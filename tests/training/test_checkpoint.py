"""A run that was stopped, or killed, goes on as if nothing had happened: bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

import recurvature as rc
from recurvature import io
from recurvature._errors import InputError
from recurvature.systems import Network, Noise, gru
from recurvature.tasks import AbstractTask
from recurvature.training import Fit, TrainingState, fit, l2_rates, network_at

OPTIONS: dict[str, Any] = {
    "batch": 4,
    "block": 3,
    "noise": Noise(0.1),
    "penalties": (l2_rates(0.1),),
    "learning_rate": optax.cosine_decay_schedule(1e-2, 10),
}


def assert_same(one: Fit, other: Fit) -> None:
    for a, b in zip(
        jax.tree.leaves((one.network, one.history)), jax.tree.leaves((other.network, other.history)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_every_block_resumes_to_the_same_end(small: Network, task: AbstractTask, tmp_path: Path) -> None:
    states: list[TrainingState] = []
    whole = fit(small, task, steps=10, key=rc.key(1), on_block=states.append, **OPTIONS)
    assert [state.step for state in states] == [3, 6, 9, 10]
    for state in states:
        io.save_checkpoint(state, tmp_path / "run.safetensors")
        read = io.load_checkpoint(tmp_path / "run.safetensors")
        assert_same(fit(small, task, steps=10, key=rc.key(1), resume=read, **OPTIONS), whole)


def test_a_state_has_the_network_that_it_was_taken_of(small: Network, task: AbstractTask) -> None:
    states: list[TrainingState] = []
    done = fit(small, task, steps=6, key=rc.key(1), on_block=states.append, frozen=("x0",), **OPTIONS)
    for found, expected in zip(
        jax.tree.leaves(network_at(small, states[-1])), jax.tree.leaves(done.network), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    first, last = (np.asarray(jax.tree.leaves(network_at(small, state))[0]) for state in states)
    assert np.abs(first - last).max() > 0
    other = gru(3, inputs=task.input_size, outputs=task.output_size, key=rc.key(0))
    with pytest.raises(InputError, match="checkpoint"):
        network_at(other, states[-1])


def test_a_finished_run_can_go_on(small: Network, task: AbstractTask) -> None:
    states: list[TrainingState] = []
    fit(small, task, steps=4, key=rc.key(1), on_block=states.append, **OPTIONS)
    longer = fit(small, task, steps=10, key=rc.key(1), resume=states[-1], **OPTIONS)
    assert_same(longer, fit(small, task, steps=10, key=rc.key(1), **OPTIONS))
    with pytest.raises(InputError, match="`resume` has done 4 steps, more than `steps` = 3"):
        fit(small, task, steps=3, key=rc.key(1), resume=states[-1], **OPTIONS)


@pytest.fixture
def state(small: Network, task: AbstractTask) -> TrainingState:
    states: list[TrainingState] = []
    fit(small, task, steps=3, key=rc.key(1), on_block=states.append, **OPTIONS)
    return states[0]


def test_another_run_is_refused(small: Network, task: AbstractTask, state: TrainingState) -> None:
    changes: dict[str, Any] = {
        "batch": 5,
        "learning_rate": 1e-2,
        "block": 4,
        "noise": None,
        "penalties": (l2_rates(0.2),),
        "clip_norm": 2.0,
        "optimiser": optax.sgd,
        "key": rc.key(2),
        "frozen": ("x0",),
        "target_loss": 1.0,
    }
    for name, value in changes.items():
        with pytest.raises(InputError, match=f"`resume` comes from a different run: {name} was"):
            fit(small, task, **{"steps": 6, "key": rc.key(1), "resume": state, **OPTIONS, name: value})
    harder = type(task)(fixation_steps=1, stimulus_steps=3, delay_steps=1, response_steps=4)
    with pytest.raises(InputError, match="different run: task was"):
        fit(small, harder, steps=6, key=rc.key(1), resume=state, **OPTIONS)
    other = gru(6, inputs=1, outputs=1, key=rc.key(0), dt=0.2)
    with pytest.raises(InputError, match=r"different run: initial was .*; network was"):
        fit(other, task, steps=6, key=rc.key(1), resume=state, **OPTIONS)


def test_damage_is_noticed(small: Network, task: AbstractTask, state: TrainingState) -> None:
    name = "optimiser/0.mu.x0"
    assert name in state.arrays
    damages: list[tuple[dict[str, Any], str]] = [
        ({name: state.arrays[name][1:]}, rf"{name} is float32 \(5,\), not float32 \(6,\)"),
        ({name: state.arrays[name].astype(np.float64)}, f"{name} is float64"),
        ({"spec": state.arrays["spec"][:-1]}, "its spec is not JSON"),
        ({"history/loss": state.arrays["history/loss"][1:]}, "history/loss is"),
    ]
    for damage, message in damages:
        with pytest.raises(InputError, match=message):
            fit(small, task, steps=6, key=rc.key(1), resume=TrainingState({**state.arrays, **damage}), **OPTIONS)
    with pytest.raises(InputError, match="lacks spec"):
        TrainingState({k: v for k, v in state.arrays.items() if k != "spec"})


SCRIPT = """
import sys
from pathlib import Path
import jax
import recurvature as rc
from recurvature.training import fit
jax_cache, path = sys.argv[1:]
rc.enable_float64()
jax.config.update("jax_compilation_cache_dir", jax_cache)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
network = rc.systems.leaky_current(6, inputs=1, outputs=1, key=rc.key(0))
task = rc.tasks.RandomDots(fixation_steps=1, stimulus_steps=3, delay_steps=1, response_steps=3)
resume = rc.io.load_checkpoint(path) if Path(path).exists() else None
fit(network, task, steps=600, key=rc.key(1), batch=4, block=3, noise=rc.systems.Noise(0.1), resume=resume,
    on_block=lambda state: rc.io.save_checkpoint(state, path))
"""


def launch(*paths: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *map(str, paths)], stderr=subprocess.PIPE)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    """Until the process has written a checkpoint."""
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.slow  # a run of the command line is killed in the default suite
def test_killed_at_any_moment(network: Network, task: AbstractTask, tmp_path: Path) -> None:
    cache, path = tmp_path / "cache", tmp_path / "run.safetensors"
    process = launch(cache, path)
    wait_for(path, process)
    # some blocks later, in the middle of whatever it does
    time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert process.stderr is not None
    process.stderr.close()
    assert 0 < io.load_checkpoint(path).step < 600
    process = launch(cache, path)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    killed = io.load_checkpoint(path)
    states: list[TrainingState] = []
    options: dict[str, Any] = {"batch": 4, "block": 3, "noise": Noise(0.1), "on_block": states.append}
    fit(network, task, steps=600, key=rc.key(1), **options)
    whole = states[-1]
    assert killed.step == 600
    assert killed.arrays.keys() == whole.arrays.keys()
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(killed.arrays[name], array, err_msg=name)
