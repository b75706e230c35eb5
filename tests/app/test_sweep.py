"""Sweeps: cells are kept and used again, a sweep that was stopped goes on to the same end, bad settings are refused."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature._progress import silent
from recurvature.app import cells
from recurvature.app.cells import parts_of, sweep
from recurvature.app.sweep import numbers_of, sweep_spec
from recurvature.io.specs import SweepSpec

SMALL: dict[str, Any] = {
    "delays": (2,),
    "densities": (0.05, 1.0),
    "seeds": 3,
    "steps": 150,
    "trials": 256,
    "window": 16,
    "samples": 4,
    "branch_steps": 20,
    "branch_ratio": 1.6,
}
SPEC = SweepSpec(**SMALL)


def kept(folder: Path, spec: SweepSpec) -> Path:
    found = parts_of(folder, spec).folder
    assert found is not None
    return found


def swept(folder: Path, spec: SweepSpec = SPEC, report: Any = silent) -> cells.Swept:
    return sweep(spec, key=rc.key(spec.seed), parts=parts_of(folder, spec), report=report)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, cells.Swept]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, swept(folder)


@pytest.mark.slow
def test_a_sweep_finds_both_phases_and_follows_them(whole):
    _, found = whole
    assert found.diagram.of_best("regime")[:, 0].tolist() == [1, 0]
    assert len(found.branches) == 1
    assert np.isfinite(found.branches[0].loss).any(1).all()
    # the densities of the two cells bracket the transition of a delay of 2, which is at 0.497
    assert found.transition.grid.tolist() == [[0.05, 1.0]]
    assert set(found.results()) == {"phases", "transition", "branches-2"}


class Stopped(Exception):
    """What a kill looks like from inside."""


def test_a_sweep_that_was_stopped_goes_on_to_the_same_end(tmp_path, monkeypatch, capsys):
    spec = SPEC.model_copy(update={"branch_steps": 0, "steps": 20})
    folder = kept(tmp_path, spec)

    def stop(progress: Any) -> None:
        if progress.task == "cells" and progress.done == 1:
            raise Stopped

    with pytest.raises(Stopped):
        swept(tmp_path, spec, stop)
    assert [p.name for p in folder.iterdir()] == ["density-0.05.zarr"]
    first, whole = swept(tmp_path, spec), swept(tmp_path / "whole", spec)
    for name, result in whole.results().items():
        for key, value in result.to_xarray().variables.items():
            np.testing.assert_array_equal(first.results()[name].to_xarray()[key].values, value.values)
    # a damaged cell is computed anew
    shutil.rmtree(folder / "density-0.05.zarr" / "losses")
    np.testing.assert_array_equal(swept(tmp_path, spec).diagram.loss, whole.diagram.loss)
    assert "density-0.05.zarr cannot be used, computing it anew" in capsys.readouterr().err
    # everything is there now: nothing is trained any more
    monkeypatch.setattr(cells, "fit_population", None)
    np.testing.assert_array_equal(swept(tmp_path, spec).diagram.loss, whole.diagram.loss)


def command(out: Path, spec: Path, home: Path) -> subprocess.Popen[bytes]:
    """The command itself, in a process of its own."""
    call = "from recurvature.app.cli import main; main()"
    words = [sys.executable, "-c", call, "sweep", "recall", "--json", "--spec", str(spec), "--out", str(out)]
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, env=os.environ | {"XDG_CACHE_HOME": str(home)}, **pipes)


def finished(process: subprocess.Popen[bytes]) -> None:
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, byte for byte but for the time at which the run was started."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): re.sub(rb"started[^0-9]*[0-9T:+-]*", b"", path.read_bytes()) for path in files
    }


@pytest.mark.slow
def test_a_killed_sweep_leaves_the_bytes_of_one_that_was_not(tmp_path):
    file, out, whole = tmp_path / "spec.toml", tmp_path / "killed", tmp_path / "whole"
    file.write_text("\n".join(f"{name} = {json.dumps(value)}" for name, value in SMALL.items()))
    process, deadline = command(out, file, tmp_path), time.monotonic() + 600
    while not list(out.glob("parts/*/density-*")):
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert process.stderr is not None
    process.stderr.close()
    assert not list(out.glob("parts/*/branches-*"))
    assert not (out / "run.json").exists()
    finished(command(out, file, tmp_path))
    finished(command(whole, file, tmp_path))
    for part in ("parts", "results.zarr"):
        kept, wanted = contents(out / part), contents(whole / part)
        assert kept.keys() == wanted.keys() != set()
        assert [name for name in wanted if kept[name] != wanted[name]] == []


def test_cells_are_used_again_for_other_densities_and_not_for_other_settings(tmp_path, monkeypatch):
    same = parts_of(tmp_path, SPEC.model_copy(update={"densities": (0.05, 0.5), "branch_steps": 0}))
    assert same == parts_of(tmp_path, SPEC)
    assert parts_of(tmp_path, SPEC.model_copy(update={"seeds": 4})) != same
    # nor what another version computed
    monkeypatch.setattr(cells, "FORMAT", cells.FORMAT + 1)
    assert parts_of(tmp_path, SPEC) != same


@pytest.mark.slow
def test_the_command_writes_a_diagram(tmp_path, monkeypatch):
    from recurvature.app.run import begin
    from recurvature.app.sweep import sweep_recall

    sweep_recall(begin("sweep", json=False, cache=False), SPEC, tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["numbers"]["delay 2"]["grid"] == [0.05, 1.0]
    assert all(0 < share <= 1 for share in record["numbers"]["delay 2"]["reached"])
    assert "Phase diagram" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delays": (2, 40)}, "`window` must exceed the longest delay, 40"),
        ({"densities": (0.0, 0.5)}, "'densities.0' should be greater than 0"),
        ({"densities": (0.5, 1.5)}, "'densities.1' should be less than or equal to 1"),
        ({"densities": (0.5, 0.5)}, "`densities` must all be different"),
        ({"exact": True}, "`exact` needs the kind `linear`"),
        ({"kind": "quadratic"}, "'kind'"),
        ({"samples": 1}, "'samples' should be greater than or equal to 2"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        sweep_spec("recall", None, **settings)


def test_only_recall_is_swept_and_lists_are_numbers():
    with pytest.raises(InputError, match="`TASK` must be one of recall; got 'recal'"):
        sweep_spec("recal", None)
    with pytest.raises(InputError, match="--delays must be numbers separated by commas"):
        numbers_of("2,x", "delays", int)
    assert numbers_of("2,3", "delays", int) == (2, 3)


def test_flags_go_on_top_of_the_file(tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text("seeds = 4\ndelays = [2, 3]\n")
    assert sweep_spec("recall", file, seeds=5, kind=None) == SweepSpec(seeds=5, delays=(2, 3))
    # a file need not make sense without them: by itself this window is too short for the delays of the defaults
    file.write_text("window = 6\n")
    assert sweep_spec("recall", file, delays=(2, 3)) == SweepSpec(window=6, delays=(2, 3))
    with pytest.raises(InputError, match=r"sweep.toml, with the options on top: `window` must exceed"):
        sweep_spec("recall", file)
