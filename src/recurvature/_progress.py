"""One reporting path: long work calls `report(Progress(...))` between jitted chunks, and the caller draws it."""

import dataclasses
from typing import Protocol, runtime_checkable


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a piece of work has come."""

    task: str
    """What is being done, in a few words."""
    done: int
    """Units finished."""
    total: int
    """Units in all."""
    values: dict[str, float] = dataclasses.field(default_factory=dict)
    """Numbers worth seeing on the way, such as the loss."""


@runtime_checkable
class Report(Protocol):
    """Anything that takes a `Progress`."""

    def __call__(self, progress: Progress, /) -> None: ...


def silent(progress: Progress, /) -> None:
    """Report to nobody."""
