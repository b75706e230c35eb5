"""What `train` is asked to do: flags on top of a TOML file, decoded into one frozen record."""

from pathlib import Path
from typing import Any

from recurvature._errors import InputError
from recurvature.io.specs import TrainSpec, parse, read_toml


class SpecFile(TrainSpec):
    """The same record as it may stand in a file: the task can also come from the command line."""

    task: str = ""


def train_spec(file: Path | None, **flags: Any) -> TrainSpec:
    """The spec in `file`, if there is one, with every flag that was given on top of it."""
    values = read_toml(file, SpecFile).model_dump(exclude_unset=True) if file else {}
    values |= {name: value for name, value in flags.items() if value is not None}
    if "task" not in values:
        raise InputError("no task. Name one, as in `recurvature train context-decision`, or set `task` in the spec.")
    return parse(TrainSpec, values, "the settings")
