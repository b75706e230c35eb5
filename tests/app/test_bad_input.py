"""Whatever cannot be used ends in one clear line on standard error and exit code 2, and nothing is left behind."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.app.conftest import Outcome

from recurvature.app import run

Run = Callable[..., Outcome]


def refused(done: Outcome, *words: str) -> None:
    assert done.code == 2
    assert done.out == ""
    assert len(done.err.splitlines()) == 1, done.err
    assert done.err.startswith("recurvature: ")
    for word in words:
        assert word in done.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("trian", ["trian", "train"]),
        ("demo --stepz 3", ["--stepz"]),
        ("demo --steps three", ["--steps", "integer"]),
        ("train random-dots", ["--out"]),
        ("train --out OUT/n.safetensors", ["no task"]),
        ("train contxt-decision --out OUT/n.safetensors", ["task", "Did you mean 'context-decision'?"]),
        ("train random-dots --system gruu --out OUT/n.safetensors", ["system", "Did you mean 'gru'?"]),
        ("train random-dots --system gru --rank 2 --out OUT/n.safetensors", ["gru", "rank"]),
        ("train random-dots --hidden 0 --out OUT/n.safetensors", ["hidden", "greater than or equal to 1", "0"]),
        ("train random-dots --hidden -4 --out OUT/n.safetensors", ["hidden", "-4"]),
        ("train random-dots --rank 0 --out OUT/n.safetensors", ["rank"]),
        ("train random-dots --hidden 5 --rank 6 --out OUT/n.safetensors", ["rank"]),
        ("train random-dots --steps 0 --out OUT/n.safetensors", ["steps"]),
        ("train random-dots --batch 0 --out OUT/n.safetensors", ["batch"]),
        ("train random-dots --seeds 0 --out OUT/n.safetensors", ["seeds"]),
        ("train random-dots --seed -1 --out OUT/n.safetensors", ["seed"]),
        ("train random-dots --learning-rate 0 --out OUT/n.safetensors", ["learning_rate"]),
        ("train random-dots --learning-rate nan --out OUT/n.safetensors", ["learning_rate"]),
        ("train random-dots --out OUT/net.pt", [".safetensors"]),
        ("train random-dots --spec OUT/none.toml --out OUT/n.safetensors", ["none.toml"]),
        ("demo --steps 0 --out OUT/d", ["steps"]),
        ("demo --hidden 0 --out OUT/d", ["hidden"]),
        ("demo --points 0 --out OUT/d", ["points"]),
        ("demo --seed -1 --out OUT/d", ["seed"]),
        ("inspect OUT/none.pt", ["none.pt"]),
        ("inspect OUT", ["out"]),
        ("inspect NET --layout pytorch", ["layout"]),
        ("inspect NET --mapping OUT/none.toml", ["none.toml"]),
        ("analyze NET --out OUT/a --task delayed-mach", ["Did you mean 'delayed-match'?"]),
        ("analyze NET --out OUT/a --lens warpin", ["lens", "Did you mean 'warping'?"]),
        ("analyze NET --out OUT/a --points 0", ["points"]),
        ("analyze NET --out OUT/a --trials 0", ["trials"]),
        ("analyze NET --out OUT/a --amplitude 0", ["amplitude"]),
        ("analyze NET --out OUT/a --duration nan", ["duration"]),
        ("analyze NET --out OUT/a --duration -1", ["duration"]),
        ("analyze NET --out OUT/a --task context-decision", ["2 input(s)", "4"]),
        ("analyze OUT/none.npz --out OUT/a", ["none.npz"]),
    ],
)
def test_one_line_and_nothing_left(here: Run, tmp_path: Path, line: str, words: list[str]) -> None:
    folder, net = tmp_path / "out", network(tmp_path / "net.npz")
    folder.mkdir()
    done = here(*(w.replace("OUT", str(folder)).replace("NET", str(net)) for w in line.split()))
    refused(done, *(w.replace("OUT", str(folder)) for w in words))
    assert list(folder.iterdir()) == []


def network(path: Path, **changes: np.ndarray) -> Path:
    rng = np.random.default_rng(1)
    weights = {"W_rec": rng.normal(size=(5, 5)) / 4, "W_in": rng.normal(size=(5, 2)), "W_out": rng.normal(size=(1, 5))}
    np.savez(path, allow_pickle=False, **{**weights, **changes})
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('task = "random-dots"\nhiden = 3', ["hiden", "Did you mean 'hidden'?"]),
        ('task = "random-dots"\nhidden = "many"', ["hidden"]),
        ('task = "random-dots"\nhidden = 2.5', ["hidden"]),
        ('task = "random-dots"\nhidden = 0', ["hidden"]),
        ("task = ", ["spec.toml"]),
        ("hidden = 3", ["task"]),
        ("", ["spec.toml"]),
    ],
)
def test_specs(here: Run, tmp_path: Path, text: str, words: list[str]) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text(text)
    refused(here("train", "--spec", spec, "--out", tmp_path / "n.safetensors"), *words)


@pytest.mark.parametrize("ending", ["npz", "safetensors", "pt"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"\x80\x04garbage.", b"\x00" * 64])
@pytest.mark.parametrize("command", ["inspect", "analyze"])
def test_damaged_files(here: Run, tmp_path: Path, command: str, ending: str, content: bytes) -> None:
    if ending == "pt":
        pytest.importorskip("torch")
    net = tmp_path / f"net.{ending}"
    net.write_bytes(content)
    more = ["--out", tmp_path / "a"] if command == "analyze" else []
    refused(here(command, net, *more), net.name)
    assert not (tmp_path / "a").exists()


def test_code_in_a_file_is_not_run(here: Run, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    victim, net = tmp_path / "victim", tmp_path / "net.pt"

    class Trap:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(victim),)

    torch.save({"weight_hh_l0": Trap()}, net)
    refused(here("inspect", net), "net.pt")
    assert not victim.exists()


def test_weights_that_are_not_finite(here: Run, tmp_path: Path) -> None:
    net = network(tmp_path / "net.npz", W_rec=np.full((5, 5), np.nan))
    refused(here("analyze", net, "--out", tmp_path / "a"), "W_rec", "NaN")


def test_names_in_a_file_cannot_steer_the_terminal(here: Run, tmp_path: Path) -> None:
    net = network(tmp_path / "net.npz", **{"\x1b[2Jred\nline": np.zeros(3)})
    refused(here("inspect", net), "net.npz")


@pytest.mark.parametrize("name", run.files())
def test_output_that_exists_is_refused_before_any_work(here: Run, tmp_path: Path, name: str) -> None:
    net, out = network(tmp_path / "net.npz"), tmp_path / "a"
    out.mkdir()
    (out / name).write_text("mine")
    refused(here("analyze", net, "--out", out), name, "--force")
    assert (out / name).read_text() == "mine"
    assert [p.name for p in out.iterdir()] == [name]


def test_a_network_that_exists_is_refused(here: Run, tmp_path: Path) -> None:
    out = tmp_path / "net.safetensors"
    out.write_text("mine")
    refused(here("train", "random-dots", "--out", out), "net.safetensors", "--force")
    assert out.read_text() == "mine"


@pytest.mark.parametrize(
    "line", ["demo --out OUT", "analyze NET --out OUT", "train random-dots --out OUT/n.safetensors"]
)
def test_a_folder_below_a_file(here: Run, tmp_path: Path, line: str) -> None:
    # the tests may run as root, whom no permission stops; a path below a plain file stops everybody
    file, net = tmp_path / "file", network(tmp_path / "net.npz")
    file.write_text("mine")
    words = [w.replace("OUT", str(file / "deep/folder")).replace("NET", str(net)) for w in line.split()]
    refused(here(*words), "cannot write to", "Not a directory")
    assert file.read_text() == "mine"


def test_a_full_disk_is_noticed_before_any_work(here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: real._replace(free=0))
    out = tmp_path / "new/folder"
    refused(here("demo", "--out", out), "No space left on device", "--out")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_while_writing(here: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *arguments: object, **options: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    net = network(tmp_path / "net.npz")
    monkeypatch.setattr(Path, "write_text", full)
    words = ("analyze", net, "--out", tmp_path / "a", "--lens", "warping", "--points", 2, "--duration", 1)
    refused_or_busy = here(*words)
    assert refused_or_busy.err.splitlines()[-1].startswith(
        f"recurvature: cannot write to {tmp_path / 'a'}: No space left"
    )
    assert refused_or_busy.code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]
