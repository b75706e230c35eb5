"""Checkpoints come back bit for bit, and damage is noticed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from recurvature import io
from recurvature.systems import Network
from recurvature.training import TrainingState


@pytest.fixture
def state() -> TrainingState:
    rng = np.random.default_rng(0)
    arrays = {
        "parameters/x0": rng.standard_normal(5).astype(np.float32),
        "optimiser/0.count": np.asarray(7, np.int32),
        "history/loss": np.asarray([1.0, np.nan, np.inf, -0.0]),
        "step": np.asarray([40]),
        "status": np.asarray([0], np.int8),
        "spec": np.frombuffer(b'{"steps": 40}', np.uint8),
    }
    return TrainingState(arrays)


def test_a_state_comes_back_bit_for_bit(tmp_path: Path, state: TrainingState) -> None:
    io.save_checkpoint(state, tmp_path / "run.ckpt")
    read = io.load_checkpoint(tmp_path / "run.ckpt", like=state)
    assert read.arrays.keys() == state.arrays.keys()
    for name, array in state.arrays.items():
        assert (read.arrays[name].dtype, read.arrays[name].shape) == (array.dtype, array.shape)
        assert read.arrays[name].tobytes() == array.tobytes()
    assert read.spec == {"steps": 40}


def test_a_newer_checkpoint_replaces_the_older(tmp_path: Path, state: TrainingState) -> None:
    for step in (1, 2):
        io.save_checkpoint(TrainingState(state.arrays | {"step": np.asarray([step])}), tmp_path / "run.ckpt")
    assert io.load_checkpoint(tmp_path / "run.ckpt").step == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_another_run_is_refused(tmp_path: Path, state: TrainingState, refused: Callable) -> None:
    io.save_checkpoint(state, tmp_path / "run.ckpt")
    other = TrainingState(state.arrays | {"parameters/x0": np.zeros(6, np.float32)})
    with refused("is a checkpoint of another network"):
        io.load_checkpoint(tmp_path / "run.ckpt", like=other)


def test_every_damaged_byte_is_noticed(tmp_path: Path, state: TrainingState, refused: Callable) -> None:
    io.save_checkpoint(state, tmp_path / "run.ckpt")
    data = (tmp_path / "run.ckpt").read_bytes()
    for place in range(0, len(data), 7):
        (tmp_path / "run.ckpt").write_bytes(data[:place] + bytes([data[place] ^ 64]) + data[place + 1 :])
        with refused("run.ckpt"):
            io.load_checkpoint(tmp_path / "run.ckpt")


def test_a_network_is_no_checkpoint(tmp_path: Path, leaky: Network, refused: Callable) -> None:
    io.save(leaky, tmp_path / "net.safetensors")
    with refused("is no checkpoint of this version"):
        io.load_checkpoint(tmp_path / "net.safetensors")
