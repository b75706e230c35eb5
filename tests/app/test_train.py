"""Training from the command line: what it leaves behind, and that a kill at any moment loses nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from tests.app.conftest import PROGRAM, Outcome

import recurvature as rc
from recurvature.app.spec import train_spec
from recurvature.app.train import checkpoint_of, run_training
from recurvature.io import load_checkpoint
from recurvature.io.specs import TrainSpec

TINY = ("random-dots", "--hidden", "6", "--batch", "4")


def leaves(network: object) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(network) if hasattr(leaf, "dtype")]


def test_train_saves_every_seed_and_a_report(
    here: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # what processes do to an ensemble is tested with the ensemble
    monkeypatch.setattr("recurvature.app.train.cores", lambda: 1)
    out = tmp_path / "nets/net.safetensors"
    done = here("train", *TINY, "--steps", 30, "--seeds", 2, "--rank", 1, "--out", out, "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert set(document["numbers"]["training"]["seeds"]) == {"0", "1"}
    names = ["net-0.safetensors", "net-1.safetensors", "net.report.html", "net.results.zarr", "net.run.json"]
    assert sorted(p.name for p in out.parent.iterdir()) == names
    first, second = (rc.io.load(out.parent / name) for name in names[:2])
    assert not np.array_equal(leaves(first)[0], leaves(second)[0])
    history = rc.io.load(out.parent / "net.results.zarr/history.zarr")
    assert isinstance(history, rc.training.History)
    assert history.loss.shape == (2, 30)


def test_a_seed_is_the_same_network_alone_and_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recurvature.app.train.cores", lambda: 1)
    spec = {"task": "random-dots", "hidden": 4, "steps": 3, "batch": 4}
    quiet = lambda progress, /: None  # noqa: E731
    among = run_training(TrainSpec(**spec, seeds=2), report=quiet).networks[1]  # type: ignore[arg-type]
    alone = run_training(TrainSpec(**spec, seed=1), report=quiet).networks[1]  # type: ignore[arg-type]
    for a, b in zip(leaves(among), leaves(alone), strict=True):
        # one program for one network and one for two: float32 sums in another order, over three steps
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_killed_run_resumes_bit_for_bit(
    environment: dict[str, str], here: Callable[..., Outcome], tmp_path: Path
) -> None:
    out = tmp_path / "net.safetensors"
    words = [sys.executable, "-c", PROGRAM, "train", *TINY, "--steps", "1000000", "--out", str(out)]
    checkpoint = checkpoint_of(out)
    # weights are drawn as the process computes: this one, which goes on, in double precision
    double = environment | {"JAX_ENABLE_X64": "1"}
    process = subprocess.Popen(words, env=double, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while not checkpoint.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not out.exists()
    step = load_checkpoint(checkpoint).step
    refused = here("train", *TINY, "--steps", step + 50, "--out", out)
    assert (refused.code, len(refused.err.splitlines())) == (2, 1)
    assert "--resume" in refused.err
    resumed = here("train", *TINY, "--steps", step + 50, "--out", out, "--resume", "--json")
    assert resumed.code == 0, resumed.err
    assert json.loads(resumed.out)["resumed_at"] == step
    assert not checkpoint.exists()
    straight = tmp_path / "straight.safetensors"
    assert here("train", *TINY, "--steps", step + 50, "--out", straight).code == 0
    for a, b in zip(leaves(rc.io.load(out)), leaves(rc.io.load(straight)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_run_that_overflows_ends_in_one_line_and_leaves_nothing(here: Callable[..., Outcome], tmp_path: Path) -> None:
    out = tmp_path / "nets/net.safetensors"
    done = here("train", *TINY, "--steps", 5, "--learning-rate", 1e30, "--out", out)
    assert (done.code, done.out) == (1, "")
    assert "non-finite" in done.err.splitlines()[-1]
    assert "--learning-rate" in done.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_flags_stand_above_the_spec_file(tmp_path: Path) -> None:
    file = tmp_path / "spec.toml"
    file.write_text('task = "random-dots"\nhidden = 5\nsteps = 7\nsystem = "gru"\nlearning_rate = 1')
    asked = train_spec(file, hidden=3, steps=None, task=None)
    assert asked == TrainSpec(task="random-dots", hidden=3, steps=7, system="gru", learning_rate=1.0)
    assert train_spec(file, task="working-memory").task == "working-memory"


@pytest.mark.slow  # a kill, which leaves less, is tested by default
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_interrupting_leaves_one_line(environment: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "net.safetensors"
    words = [sys.executable, "-c", PROGRAM, "train", *TINY, "--steps", "1000000", "--out", str(out)]
    process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    while not checkpoint_of(out).exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "recurvature: interrupted"
    assert "Traceback" not in said
