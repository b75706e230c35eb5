"""One small demo for all tests of the app, in a process of its own with a compilation cache of its own."""

import contextlib
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from recurvature.app import cli, report, terminal

PROGRAM = "from recurvature.app.cli import main; main()"
COARSE = 50
"""Dots to the inch of pictures that no test looks at closely: drawing them finely takes seconds in every report."""


class Outcome(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


class Demo(NamedTuple):
    """The folder of a demo, and the document that it printed."""

    folder: Path
    document: dict[str, Any]
    cache: Path


@pytest.fixture(autouse=True, scope="session")
def coarse() -> Iterator[None]:
    """Pictures of reports made in this process are coarse."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "DPI", COARSE)
        yield


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this session have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder` as `make` fills it, by the worker that comes first; the others wait for it."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            folder.mkdir()
            make(folder)
    return folder


@pytest.fixture(scope="session")
def cache_home(shared_folder: Path) -> Path:
    """Where processes of this session keep their caches."""
    return made_once(shared_folder / "cache", lambda folder: None)


@pytest.fixture(scope="session")
def environment(cache_home: Path) -> dict[str, str]:
    """The environment of a command in a process of its own."""
    return os.environ | {"XDG_CACHE_HOME": str(cache_home), "MPLBACKEND": "agg"}


@pytest.fixture(scope="session")
def command(environment: dict[str, str]) -> Callable[..., Outcome]:
    """Run the program in a process of its own."""

    def run(*arguments: object) -> Outcome:
        # reports are drawn coarsely; what draws none is started as it is installed
        draws = arguments and arguments[0] in ("demo", "train", "analyze", "reproduce", "sweep")
        program = f"from recurvature.app import report; report.DPI = {COARSE}; {PROGRAM}" if draws else PROGRAM
        words = [sys.executable, "-c", program, *map(str, arguments)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600, check=False)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


def ended(*arguments: object) -> Outcome:
    """Run the program in this process, without its cache: no process to start, and tests share what they compile."""
    words = list(map(str, arguments))
    computing = words and words[0] in ("demo", "train", "inspect", "analyze", "reproduce")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = terminal.run(cli.app, [*words, "--no-cache"] if computing else words)
    return Outcome(code, out.getvalue(), err.getvalue())


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, cache_home: Path) -> Callable[..., Outcome]:
    """Run the program in this process: for what another command shows to work in a process of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_home))
    return ended


@pytest.fixture(scope="session")
def demo(command: Callable[..., Outcome], cache_home: Path, shared_folder: Path) -> Demo:
    """A demo small enough to share, through the command line."""

    def make(folder: Path) -> None:
        done = command("demo", "--out", folder / "run", "--steps", 20, "--hidden", 8, "--points", 3, "--json")
        (folder / "said.json").write_text(done.out)
        (folder / "error.txt").write_text(done.err if done.code else "")

    folder = made_once(shared_folder / "demo", make)
    assert (folder / "error.txt").read_text() == ""
    return Demo(folder / "run", json.loads((folder / "said.json").read_text()), cache_home)


ATTACK = "<script>alert(1)</script>"
"""A name for a tensor that a report must show and a browser must not run."""


def plain_weights(path: Path, **more: np.ndarray) -> Path:
    """A file with the weights of a small network that nobody here made."""
    rng = np.random.default_rng(0)
    weights = {"W_rec": rng.normal(size=(6, 6)) / 3, "W_in": rng.normal(size=(6, 3)), "W_out": rng.normal(size=(2, 6))}
    np.savez(path, allow_pickle=False, **weights, **more)
    return path


@pytest.fixture(scope="session")
def foreign(shared_folder: Path) -> Path:
    """The folder of an analysis, without a task, of a foreign file with a hostile name in it."""

    def make(folder: Path) -> None:
        net = plain_weights(folder / "own.npz", **{ATTACK: np.zeros(3)})
        done = ended("analyze", net, "--out", folder / "look", "--lens", "warping", "--points", 3, "--duration", 2)
        (folder / "error.txt").write_text(done.err if done.code else "")

    folder = made_once(shared_folder / "foreign", make)
    assert (folder / "error.txt").read_text() == ""
    return folder / "look"


REQUIRED = os.environ.get("RECURVATURE_REQUIRE_BROWSER") == "1"


@pytest.fixture(scope="session")
def driver_of() -> Iterator[Callable[..., Any]]:
    """Opens a file in headless Chromium at a width and colour scheme."""
    browser, helper = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or helper is None:
        if REQUIRED:
            pytest.fail("RECURVATURE_REQUIRE_BROWSER=1, but chromium or chromedriver is not installed")
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium chromium-driver)")
    selenium = pytest.importorskip("selenium.webdriver")
    options = selenium.ChromeOptions()
    options.binary_location = browser
    for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"):
        options.add_argument(switch)
    for switch in ("--disable-background-networking", "--disable-component-update", "--disable-sync"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(helper))
    try:
        yield lambda path, width, scheme: _open(driver, path, width, scheme)
    finally:
        driver.quit()


def _open(driver: Any, path: Path, width: int, scheme: str) -> Any:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    driver.get(path.as_uri())
    return driver
