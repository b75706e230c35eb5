"""One call of one command: its record, the files that it leaves, and what it says at the end."""

import dataclasses
import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

from recurvature._result import AbstractResult
from recurvature.app.cache import use_cache
from recurvature.app.doctor import device, versions
from recurvature.app.output import Output
from recurvature.app.page import Page
from recurvature.app.terminal import emit, jsonable, one_line

RUN, RESULTS, REPORT, NETWORK = "run.json", "results.zarr", "report.html", "network.safetensors"
SCHEMA = 1
"""Version of the layout of run.json."""


def files(stem: str = "") -> list[str]:
    """Names of what every computing command writes; `stem` sets them apart in a folder that others use too."""
    return [f"{stem}.{name}" if stem else name for name in (RUN, RESULTS, REPORT)]


@dataclasses.dataclass(frozen=True)
class Run:
    """One call of one command: how it speaks, when it began, and what it was called with."""

    command: str
    json: bool = False
    force: bool = False
    started: datetime.datetime = dataclasses.field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    clock: float = dataclasses.field(default_factory=time.perf_counter)
    call: str = ""
    """What was called, where it was a function and no command."""

    @property
    def line(self) -> str:
        """The command as it was typed, or the call."""
        import shlex

        return self.call or shlex.join(["recurvature", *sys.argv[1:]])

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return time.perf_counter() - self.clock

    def record(self, *, spec: dict[str, Any], seed: int | None, numbers: dict[str, Any], **more: Any) -> dict[str, Any]:
        """What goes into run.json, and to standard output with --json."""
        return {
            "schema": SCHEMA,
            "command": self.command,
            "line": self.line,
            "started": self.started.isoformat(timespec="seconds"),
            "wall_seconds": round(self.seconds, 3),
            "versions": versions(),
            "device": device(),
            "seed": seed,
            "spec": spec,
            "numbers": numbers,
            "claims": [],
            **more,
        }


def begin(command: str, *, json: bool, force: bool = False, cache: bool = True) -> Run:
    """Start a command: the clock, and the compilation cache unless it is off."""
    run = Run(command, json, force)
    if cache:
        use_cache()
    return run


def write_run(
    output: Output, record: dict[str, Any], results: dict[str, AbstractResult], page: Page, stem: str = ""
) -> None:
    """Write run.json, results.zarr and report.html."""
    from recurvature.app.report import render

    run, store, report = files(stem)
    document = json.dumps(jsonable(record), indent=2, ensure_ascii=False, allow_nan=False)
    output.write(run, lambda path: path.write_text(document + "\n", encoding="utf-8"))
    output.write(store, lambda path: save_results(results, path, provenance_of(record)))
    output.write(report, lambda path: path.write_text(render(page), encoding="utf-8"))


def provenance_of(record: dict[str, Any]) -> dict[str, Any]:
    """The part of a record that travels inside every file."""
    spec = {name: value for name, value in record["spec"].items() if value is not None}
    return {"spec": jsonable(spec), **{key: record[key] for key in ("command", "seed", "device", "started")}}


def save_results(results: dict[str, AbstractResult], path: Path, provenance: dict[str, Any]) -> None:
    """One zarr group of all results, each a group of its own that `recurvature.io.load` reads by itself."""
    from recurvature import io

    path.mkdir()
    root = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    (path / "zarr.json").write_text(json.dumps(root), encoding="utf-8")
    for name, result in results.items():
        io.save(result, path / f"{name}.zarr", provenance=provenance)


def finish(run: Run, record: dict[str, Any], summary: list[str]) -> None:
    """Say what came out: the record as JSON, or a few lines."""
    if run.json:
        emit(record)
    else:
        print("\n".join(one_line(line) for line in summary))
