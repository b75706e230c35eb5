"""What users install: the wheel holds all that a report needs, and works away from the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.app.conftest import PROGRAM, plain_weights

from recurvature.app.report import SCRIPTS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if done.returncode and "No matching distribution" in done.stderr:
        pytest.skip("the build backend cannot be fetched here")
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("recurvature-*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_what_reports_are_made_with(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"recurvature/app/assets/{name}" for name in (*SCRIPTS, "report.css", "report.html.j2")} <= names
    assert "recurvature/experiments/warping/claims.toml" in names
    assert not any(name.startswith("tests/") or name.endswith(".pyc") for name in names)


@pytest.mark.slow
def test_demo_and_analyze_work_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    environment = os.environ | {"PYTHONPATH": str(site), "XDG_CACHE_HOME": str(tmp_path), "MPLBACKEND": "agg"}

    def run(code: str, *words: object) -> str:
        call = [sys.executable, "-c", code, *map(str, words)]
        done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert Path(run("import recurvature; print(recurvature.__file__)").strip()).is_relative_to(site)
    run(PROGRAM, "demo", "--out", "demo", "--steps", 20, "--hidden", 8, "--points", 3)
    page = (tmp_path / "demo/report.html").read_text(encoding="utf-8")
    assert page.count('class="live"') == 3
    assert len(page.encode()) < 15 * 2**20
    net = plain_weights(tmp_path / "own.npz", more=np.zeros(2))
    said = run(PROGRAM, "analyze", net, "--out", "look", "--points", 3, "--lens", "warping", "--json")
    assert json.loads(said)["numbers"]["geometry"]
