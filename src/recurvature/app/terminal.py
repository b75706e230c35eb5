"""How the command line speaks: one clear line for a mistake, bars or sparse lines for progress, one JSON document."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from typing import IO, Any, Protocol, cast, runtime_checkable

import typer

from recurvature._progress import Progress, Report

FINE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: all is well; a claim or a computation failed; the input cannot be used; stopped from the keyboard."""


@runtime_checkable
class Stream(Protocol):
    """Where lines and bars go: standard error, or anything like it."""

    def write(self, text: str, /) -> int: ...  # noqa: D102
    def flush(self) -> None: ...  # noqa: D102
    def isatty(self) -> bool: ...  # noqa: D102


_PLAIN_SECONDS = 5.0
_JSON_SECONDS = 1.0


def run(app: typer.Typer, arguments: list[str]) -> int:
    """Run the commands; misuse ends in one line on standard error, anything unexpected keeps its traceback."""
    try:
        code = int(app(args=arguments, prog_name="recurvature", standalone_mode=False) or FINE)
        # typer turns an interrupt into this code before anybody here sees it
        return _fail("interrupted", INTERRUPTED) if code == INTERRUPTED else code
    except typer.Exit as stop:
        return stop.exit_code
    except (typer.Abort, KeyboardInterrupt):
        return _fail("interrupted", INTERRUPTED)
    except Exception as error:
        message = _explain(error)
        if message is None:
            raise
        return _fail(*message)


def _explain(error: Exception) -> tuple[str, int] | None:
    from recurvature._errors import InputError, NumericalError

    # the base of all mistakes on the command line, wherever this version of typer keeps it
    if isinstance(error, typer.BadParameter.__mro__[2]):
        return error.format_message(), BAD_INPUT  # type: ignore[attr-defined]
    if isinstance(error, InputError):
        return str(error), BAD_INPUT
    if isinstance(error, NumericalError):
        return str(error), FAILED
    return None


def _fail(message: str, code: int) -> int:
    print(f"recurvature: {one_line(message)}", file=sys.stderr)
    return code


def one_line(text: str) -> str:
    """`text` on one line and without control characters: file contents must not steer a terminal."""
    flat = (" " if c.isspace() else c for c in " ".join(text.splitlines()))
    return "".join(c if c.isprintable() else "�" for c in flat)


def say(message: str) -> None:
    """A line of log, on standard error."""
    print(one_line(message), file=sys.stderr, flush=True)


def emit(document: dict[str, Any]) -> None:
    """The one JSON document of a command, on standard output; numbers that are not finite become null."""
    print(json.dumps(jsonable(document), indent=2, ensure_ascii=False, allow_nan=False))


def jsonable(value: Any) -> Any:
    """`value` in what strict JSON can hold."""
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(v) for v in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return str(value)


@contextlib.contextmanager
def progress(as_json: bool = False, stream: Stream | None = None) -> Iterator[Report]:
    """A `report` for long work: bars on a terminal, JSON lines beside `--json`, sparse plain lines elsewhere."""
    stream = sys.stderr if stream is None else stream
    if as_json:
        yield _Lines(stream, _json_line, _JSON_SECONDS)
    elif stream.isatty():
        yield from _bars(stream)
    else:
        yield _Lines(stream, _plain_line, _PLAIN_SECONDS)


def _bars(stream: Stream) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    rows: dict[str, Any] = {}
    with RichProgress(*columns, console=Console(file=cast(IO[str], stream))) as bars:

        def draw(progress: Progress, /) -> None:
            if progress.task not in rows:
                rows[progress.task] = bars.add_task(progress.task, total=progress.total, note="")
            bars.update(rows[progress.task], completed=progress.done, total=progress.total, note=_note(progress))

        yield draw


class _Lines:
    """Progress as lines: the first after `every` seconds, then at most one in that time, and the end of long work."""

    def __init__(self, stream: Stream, render: Any, every: float):
        self._stream, self._render, self._every = stream, render, every
        self._last: dict[str, float] = {}
        self._spoke: set[str] = set()

    def __call__(self, progress: Progress, /) -> None:
        now = time.monotonic()
        finished = progress.done >= progress.total and progress.task in self._spoke
        if now - self._last.setdefault(progress.task, now) < self._every and not finished:
            return
        self._last[progress.task] = now
        self._spoke.add(progress.task)
        print(self._render(progress), file=self._stream, flush=True)


def _note(progress: Progress) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in progress.values.items())


def _plain_line(progress: Progress) -> str:
    return f"{progress.task}: {progress.done}/{progress.total}  {_note(progress)}".rstrip()


def _json_line(progress: Progress) -> str:
    record = {"task": progress.task, "done": progress.done, "total": progress.total, "values": progress.values}
    return json.dumps({"progress": jsonable(record)})
