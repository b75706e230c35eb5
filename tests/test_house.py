"""The checks of the house can fail: each one is shown a planted breach, and must name it."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from benchmarks import harness
from tools import check_bodies

ROOT = Path(__file__).parents[1]

SUM = """
def total(values: list[float]) -> float:
    \"\"\"Doc.\"\"\"
    result = 0.0
    for value in values:
        if value > 0:
            result += value
    result = result * 2
    return result
"""
SAME_SUM = """
def other(numbers: list[int], key=None) -> float:
    out = 0.0
    for n in numbers:
        if n > 0:
            out += n
    out = out * 2
    return out
"""
LONG = "def long() -> None:\n" + "    print(1)\n" * 81


def plant(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"src/a.py": SUM, "tests/b.py": SAME_SUM}, "repeated body: src/a.py:2: `total`, tests/b.py:2: `other`"),
        ({"src/a.py": LONG}, "too long: src/a.py:1: `long` has 82 lines"),
        ({"tools/a.py": "def f():\n" + "    print(1)\n" * 41}, "too long: 1 of 1 functions have more than 40 lines"),
        ({"src/a.py": "x = 1\n" * 401}, "too long: src/a.py has 401 lines"),
        ({"src/a.py": "def f(x, *, y: int) -> int:\n    return x\n"}, "untyped: src/a.py:1: `f` does not type x"),
        ({"src/a.py": "def f(x: int):\n    return x\n"}, "`f` does not type what it returns"),
        ({"src/a/utils.py": "x = 1\n"}, "vague name: src/a/utils.py"),
        ({"src/_helpers/a.py": "x = 1\n"}, "vague name: src/_helpers/a.py"),
        ({"tests/test_a.py": "import math\n"}, "no test: tests/test_a.py"),
        ({"tests/a.py": "def test_a():\n    assert True\n"}, "never run: tests/a.py"),
        ({"README.md": ""}, "no Python file"),
    ],
)
def test_code_measures_find_a_planted_breach(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, str], message: str
) -> None:
    plant(tmp_path, files)
    assert check_bodies.main([str(tmp_path)]) == 1
    assert message in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        SUM,  # one body alone
        SUM + SAME_SUM.replace("n > 0", "n < 0").replace("key=None", "key: int"),  # another computation
        "def f(x: int) -> int:\n    return x\n\n\ndef g(y: int) -> int:\n    return y\n",  # short ones may agree
        "def f(x: int) -> int:\n    def inside(y):\n        return y\n\n    return inside(x)\n",
        "def _f(x):\n    return x\n",
    ],
)
def test_code_measures_leave_good_code_alone(tmp_path: Path, text: str) -> None:
    plant(tmp_path, {"src/a.py": text})
    assert check_bodies.main([str(tmp_path)]) == 0


def test_docstrings_do_not_count_as_length(tmp_path: Path) -> None:
    doc = '    """One.\n' + "    more\n" * 100 + '    """\n'
    plant(tmp_path, {"src/a.py": "def f() -> int:\n" + doc + "    return 1\n"})
    assert check_bodies.main([str(tmp_path)]) == 0


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c(['--no-cache']))"
    paths = os.pathsep.join([str(root / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "COLUMNS": "400", "NO_COLOR": "1"}
    return subprocess.run([sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True)


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the package and its contracts, to plant breaches in."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_import_contracts_hold(house: Path) -> None:
    done = lint_imports(house)
    assert done.returncode == 0, done.stdout + done.stderr


def test_import_contracts_find_planted_breaches(house: Path) -> None:
    package = "src/recurvature/"
    plant(
        house,
        {
            package + "systems/planted.py": "import recurvature.tasks\nimport torch\n",
            package + "io/planted.py": "import recurvature.figures\n",
            package + "lenses/planted/__init__.py": "import recurvature.lenses.warping\nimport matplotlib.pyplot\n",
        },
    )
    done = lint_imports(house)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [line for line in done.stdout.splitlines() if " BROKEN" in line]
    assert [line.split(":")[0] for line in broken] == ["floors", "lenses", "matplotlib", "torch"], done.stdout
    for breach in (
        "recurvature.systems.planted -> recurvature.tasks",
        "recurvature.io.planted -> recurvature.figures",
        "recurvature.lenses.planted -> recurvature.lenses.warping",
        "recurvature.lenses.planted -> matplotlib",
        "recurvature.systems.planted -> torch",
    ):
        assert breach in done.stdout


def test_a_room_without_a_floor_is_a_breach(house: Path) -> None:
    plant(house, {"src/recurvature/attic.py": "x = 1\n"})
    done = lint_imports(house)
    assert done.returncode == 1
    assert "attic" in done.stdout


def test_print_is_found_outside_the_app(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    plant(tmp_path, {"src/recurvature/systems/a.py": 'print("x")\n', "src/recurvature/app/a.py": 'print("x")\n'})
    ruff = str(Path(sys.executable).parent / "ruff")
    command = [ruff, "check", "--no-cache", "--select", "T20", "--output-format", "json", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert [Path(f["filename"]).parent.name for f in json.loads(done.stdout)] == ["systems"]


def constraints() -> Iterator[tuple[str, str, str]]:
    """Name, version and marker of every line of the constraints file."""
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            pin, _, marker = line.partition(";")
            name, _, version = pin.strip().partition("==")
            yield name, version, marker.strip()


def test_constraints_pin_every_dependency_exactly_and_name_no_host() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    assert "--" not in text
    assert all(version and "*" not in version for _, version, _ in constraints())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [r for group in project["optional-dependencies"].values() for r in group]
    wanted = {r.split(">")[0].split("=")[0].split("<")[0].strip() for r in [*project["dependencies"], *extras]}
    assert wanted <= {name for name, _, _ in constraints()}


def test_constraints_give_each_python_one_version() -> None:
    for name in {name for name, _, _ in constraints()}:
        markers = sorted(marker for other, _, marker in constraints() if other == name)
        allowed = [[""], ['python_version < "3.12"', 'python_version >= "3.12"'], ['python_version >= "3.12"']]
        assert markers in allowed, name


CALIBRATION = {"gemm32": 1e11, "gemm64": 5e10, "tanh32": 1e9, "tanh64": 3e8, "read": 1e10, "scan_step": 1e-5}


class Clock:
    """CPU time that passes only when an arm works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def arm(self, name: str, seconds: float) -> harness.Arm:
        def run() -> np.ndarray:
            self.now += seconds
            return np.ones(3)

        return harness.Arm(name, lambda: harness.Built(run, temp_bytes=8))


def giving(answer: float) -> Callable[[], harness.Built]:
    return lambda: harness.Built(lambda: np.full(3, answer))


def test_benchmark_measures_a_ratio_in_the_shape_that_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(harness, "cpu_time", clock)
    goals = [harness.Goal("slow", "fast", at_least=2.0)]
    arms = [clock.arm("fast", 0.25), clock.arm("slow", 5.0)]
    found = harness.measure(harness.Case("job", {"n": 3}, arms, goals, harness.Work(flop=1e9)), CALIBRATION)
    assert set(found["arms"]["fast"]) == {"cpu", "wall", "repeats", "units", "compile_s", "temp_bytes"}
    assert len(found["arms"]["fast"]["cpu"]) == harness.ROUNDS
    # a sum of a few quarters of a second and its quotient: rounding
    assert found["ratios"]["slow_over_fast"]["median"] == pytest.approx(20, rel=1e-12)
    assert found["arms"]["slow"]["compile_s"] == pytest.approx(5, rel=1e-12)
    assert found["limit_s"] == 1e9 / CALIBRATION["gemm32"]
    assert found["fraction"]["fast"] == pytest.approx(0.01 / 0.25, rel=1e-12)
    json.dumps(found)


def test_benchmark_repeats_short_work_within_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(harness, "cpu_time", clock)
    found = harness.measure(harness.Case("job", {}, [clock.arm("a", harness.SHORTEST_ROUND / 4)]), CALIBRATION)
    assert found["arms"]["a"]["repeats"] in (4, 5)  # 4 but for the rounding of the quotient
    # times are of one run, not of the round
    assert found["arms"]["a"]["cpu"] == pytest.approx([harness.SHORTEST_ROUND / 4] * harness.ROUNDS, rel=1e-9)


def test_benchmark_refuses_arms_that_disagree() -> None:
    case = harness.Case("job", {}, [harness.Arm("a", giving(1.0)), harness.Arm("b", giving(1.1))], rtol=1e-3)
    with pytest.raises(harness.Disagreement, match=r"`b` differs from `a` by 0\.1"):
        harness.measure(case, CALIBRATION)
    nan = harness.Case("job", {}, [harness.Arm("a", giving(1.0)), harness.Arm("b", giving(np.nan))])
    with pytest.raises(harness.Disagreement):
        harness.measure(nan, CALIBRATION)


def test_benchmark_marks_an_absent_peer_as_missing() -> None:
    def absent() -> harness.Built:
        raise ImportError("no such peer")

    arms = [harness.Arm("a", giving(1.0)), harness.Arm("peer", absent)]
    found = harness.measure(harness.Case("job", {}, arms, [harness.Goal("peer", "a", at_least=2)]), CALIBRATION)
    assert found["missing"] == {"peer": "no such peer"}
    assert found["ratios"] == {}


def times(*values: float) -> dict[str, list[float]]:
    return {"cpu": list(values)}


@pytest.mark.parametrize(
    ("slow", "bound", "verdict"),
    [
        (times(6, 6, 6), {"at_least": 5.0}, "met"),
        (times(4, 4, 4), {"at_least": 5.0}, "missed"),
        (times(4, 4, 7), {"at_least": 5.0}, "noisy"),
        (times(6, 4, 12), {"at_least": 5.0}, "noisy"),
        (times(4, 4, 7), {"at_least": 8.0}, "missed"),
        (times(6, 6, 12), {"at_least": 5.0}, "met"),
        (times(4, 4, 4), {"at_most": 3.0}, "missed"),
        (times(4, 4, 4), {}, "no goal"),
    ],
)
def test_benchmark_verdicts(slow: dict[str, list[float]], bound: dict[str, float], verdict: str) -> None:
    goal = harness.Goal("slow", "fast", **bound)
    assert harness.ratio(goal, {"slow": slow, "fast": times(1, 1, 1)}, {"slow": 1, "fast": 1})["verdict"] == verdict


def test_benchmark_counts_units_of_work() -> None:
    found = harness.ratio(harness.Goal("four", "one"), {"four": times(4, 4), "one": times(1, 1)}, {"four": 4, "one": 1})
    assert found["median"] == 1.0
