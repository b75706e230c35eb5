"""`analyze` on a recording: from what was typed to files in place."""

from pathlib import Path
from typing import Literal

import recurvature as rc
from recurvature import io
from recurvature._errors import InputError, check_choice
from recurvature.app import sections
from recurvature.app.lenses import recorded
from recurvature.app.output import claim
from recurvature.app.recording import Choices, numbers, observe
from recurvature.app.run import Run, files, finish, write_run
from recurvature.app.terminal import progress


def choices_of(
    *,
    activity: str | None,
    coordinates: str | None,
    polar: str | None,
    labels: str | None,
    periods: str | None,
    order: str | None,
    bin_width: float | None,
    circular: list[str] | None,
    missing: str,
    unpack_limit: int,
    points: int | None,
    seed: int,
) -> Choices:
    """The choices that options on the command line make. Raises `InputError` on a period that is no number."""
    names = None if coordinates is None else tuple(filter(None, (word.strip() for word in coordinates.split(","))))
    cut = int(periods) if periods is not None and periods.isdecimal() else periods
    around = tuple(_period(word) for word in circular or ())
    check_choice("missing", missing, ("refuse", "drop"))
    wanted: Literal["refuse", "drop"] = "drop" if missing == "drop" else "refuse"
    return Choices(activity, names, polar, labels, cut, order, bin_width, around, wanted, unpack_limit, points, seed)


def _period(word: str) -> tuple[str, float]:
    name, _, text = word.rpartition("=")
    try:
        period = float(text)
    except ValueError:
        period = 0.0
    if not name or not 0 < period < float("inf"):
        raise InputError(f"`circular` must be NAME=PERIOD with a period above 0, such as angle=360; got {word!r}.")
    return name, period


def is_recording(path: Path, choices: Choices) -> bool:
    """Whether `analyze` was given a recording: options for one say so, else what the file holds."""
    asked = choices.asked().keys() - {"points"}
    return bool(asked) or io.looks_recorded(path)


def analyze_recording(run: Run, path: Path, out: Path, choices: Choices) -> None:
    """Look at the recording in `path` through the lenses that need no equations; write it all into the folder `out`."""
    rc.enable_float64()
    recording = choices.read(path)
    with claim(out, files(), force=run.force) as output:
        with progress(run.json) as report:
            found = observe(recording, choices, report)
        spec = {"recording": str(path), **choices.asked()}
        record = run.record(spec=spec, seed=choices.seed, numbers=numbers(found))
        parts = recorded.sections(found)
        units, trials = recording.activity.shape[1], len(recording.starts)
        title = f"{path.name}: a recording of {units:,} units in {trials:,} trial{'s' if trials != 1 else ''}"
        results = found.results
        page = sections.page(record, title, recorded.headline(found), parts, list(results.values()), [])
        write_run(output, record, results, page)
    said = [*recording.notes, *filter(None, (part.finding for part in parts))]
    finish(run, record, [*said, f"Report: {out / 'report.html'}"])
