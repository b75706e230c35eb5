"""Run benchmark jobs, print their tables, write JSON: `python benchmarks/run.py --job all --size ci --json out.json`.

The process must be single-threaded before NumPy, JAX or PyTorch are imported, so it starts itself again with the
environment set where it is not. Exit code 1 if a goal was missed by a measurement that was not noisy, or arms disagree.
"""

import argparse
import importlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that `benchmarks` can be imported from anywhere

JOBS = ("train", "metric", "curvature", "fixed_points", "cornn", "overlaps", "superposition", "latent", "startup")


def main() -> int:
    """Parse, measure, print, write."""
    options = _options()
    _single_threaded()
    from benchmarks import harness

    console = Console(width=None if sys.stdout.isatty() else 140)
    jobs = JOBS if options.job == "all" else (options.job,)
    calibration = harness.calibrate()
    document: dict[str, Any] = {"size": options.size, "calib": calibration, "env": harness.environment(), "cases": []}
    for job in jobs:
        for case in importlib.import_module(f"benchmarks.{job}").cases(options.size):
            console.print(f"[dim]{case.title} …[/dim]", highlight=False)
            document["cases"].append(harness.measure(case, calibration, options.arms))
    if options.json:
        write(Path(options.json), document)
    console.print(arm_table(document["cases"]), goal_table(document["cases"]))
    return 1 if any(v == "missed" for c in document["cases"] for v in verdicts(c)) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", choices=(*JOBS, "all"), default="all")
    parser.add_argument("--size", choices=("ci", "std", "full"), default="std")
    parser.add_argument("--arms", default="all", help="names separated by commas; default all")
    parser.add_argument("--json", help="file to write")
    options = parser.parse_args()
    options.arms = None if options.arms == "all" else options.arms.split(",")
    return options


def _single_threaded() -> None:
    """Replace this process by one with single-threaded libraries, unless it is one."""
    from benchmarks.harness import THREADS  # NumPy reads the variables when its BLAS loads: restart after this import

    if any(os.environ.get(name) != value for name, value in THREADS.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **THREADS})


def verdicts(case: dict[str, Any]) -> list[str]:
    """The verdicts of every goal and limit of a case."""
    return [entry["verdict"] for entry in (*case["ratios"].values(), *case["limits"].values())]


def arm_table(cases: list[dict[str, Any]]) -> Table:
    """What each arm took."""
    table = Table(title="CPU seconds per run, one thread", title_justify="left")
    for name in ("case", "arm", "median", "slowest", "compile", "temporary MB", "of the machine's limit"):
        table.add_column(name, justify="left" if name in ("case", "arm") else "right")
    for case in cases:
        title = _title(case)
        for name, arm in case["arms"].items():
            median, slowest = sorted(arm["cpu"])[len(arm["cpu"]) // 2], max(arm["cpu"])
            memory = "" if arm["temp_bytes"] is None else f"{arm['temp_bytes'] / 1e6:.1f}"
            fraction = f"{case['fraction'][name]:.0%}" if name in case["fraction"] else ""
            row = (title, name, f"{median:.4g}", f"{slowest:.4g}", f"{arm['compile_s']:.2f}", memory, fraction)
            table.add_row(*row)
            title = ""
        for name, why in case["missing"].items():
            table.add_row(title, name, f"missing: {why}")
    return table


def goal_table(cases: list[dict[str, Any]]) -> Table:
    """Every ratio and limit against its goal."""
    table = Table(title="Ratios of CPU time, and limits", title_justify="left")
    for name in ("case", "ratio", "median", "95 %", "goal", "verdict"):
        table.add_column(name, justify="right" if name in ("median", "95 %", "goal") else "left")
    for case in cases:
        for name, r in case["ratios"].items():
            low, high = r["ci95"]
            table.add_row(
                _title(case),
                name.replace("_over_", " / "),
                f"{r['median']:.2f}",
                f"{low:.2f}–{high:.2f}",
                _bounds(r),
                r["verdict"] + (" (noisy)" if r["noisy"] and r["verdict"] != "noisy" else ""),
            )
        for name, entry in case["limits"].items():
            table.add_row(_title(case), name, f"{entry['value']:.4g}", "", _bounds(entry), entry["verdict"])
    return table


def _bounds(entry: dict[str, Any]) -> str:
    """The bounds that a ratio or limit should keep."""
    signs = {"at_least": "≥", "at_most": "≤"}
    return " ".join(f"{sign} {entry[name]:.4g}" for name, sign in signs.items() if entry.get(name) is not None)


def _title(case: dict[str, Any]) -> str:
    return " ".join([case["job"], *(f"{k}={v}" for k, v in case["params"].items())])


def write(path: Path, document: dict[str, Any]) -> None:
    """Write JSON under a temporary name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".json", delete=False) as file:
        json.dump(document, file, indent=1)
    os.replace(file.name, path)


if __name__ == "__main__":
    sys.exit(main())
