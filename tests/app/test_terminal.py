"""How the command line speaks."""

import io
import json
import math

import numpy as np
import pytest
import typer

from recurvature._errors import InputError, NumericalError
from recurvature._progress import Progress
from recurvature.app import terminal


def ending(error: BaseException) -> int:
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise error

    return terminal.run(app, [])


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("`x` must be 1;\ngot 2."), 2, "recurvature: `x` must be 1; got 2."),
        (NumericalError("training went non-finite."), 1, "recurvature: training went non-finite."),
        (KeyboardInterrupt(), 130, "recurvature: interrupted"),
        (typer.BadParameter("no such thing"), 2, "recurvature: Invalid value: no such thing"),
    ],
)
def test_mistakes_are_one_line(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ending(error) == code
    assert capsys.readouterr().err == f"{line}\n"


def test_what_nobody_expected_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        ending(ZeroDivisionError("a bug"))


def test_numbers_that_json_lacks_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.emit({"a": math.nan, "b": [np.float64(1.5), -math.inf], "c": np.arange(3), "e": None, "d": "µ"})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, None], "c": [0, 1, 2], "e": None, "d": "µ"}


def test_text_from_files_is_disarmed() -> None:
    assert terminal.one_line("a\x1b[31m b\r\nc\u2028d\te\u202ef") == "a�[31m b c d e�f"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lines(*, as_json: bool, seconds: float, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    clock, stream = Clock(), io.StringIO()
    monkeypatch.setattr("recurvature.app.terminal.time.monotonic", clock)
    with terminal.progress(as_json, stream) as report:
        for done in range(1, 11):
            clock.now += seconds / 10
            report(Progress("training", done, 10, {"loss": 1 / done}))
    return stream.getvalue().splitlines()


def test_short_work_is_silent_and_long_work_speaks_sparsely(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(as_json=False, seconds=2.0, monkeypatch=monkeypatch) == []
    said = lines(as_json=False, seconds=20.0, monkeypatch=monkeypatch)
    # from the first report at 2 s on, a line at least 5 s after the one before, and the end
    assert said == [
        "training: 4/10  loss 0.25",
        "training: 7/10  loss 0.1429",
        "training: 10/10  loss 0.1",
    ]


def test_progress_beside_json_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [json.loads(line)["progress"] for line in lines(as_json=True, seconds=20.0, monkeypatch=monkeypatch)]
    assert [p["done"] for p in said] == list(range(2, 11))
    assert said[-1] == {"task": "training", "done": 10, "total": 10, "values": {"loss": 0.1}}


def test_a_terminal_gets_bars() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with terminal.progress(False, stream) as report:
        report(Progress("training", 3, 10, {"loss": 0.5}))
    assert "training" in stream.getvalue()
    assert "3/10" in stream.getvalue()
