"""What a file holds before anything is made of it: named arrays of numbers with their shapes, read when asked for."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recurvature._errors import InputError, did_you_mean

UNPACK_LIMIT, FREE = 64, 1 << 20
"""What a compressed file may unpack to: 64 times its size and a megabyte. Most bins of a unit hold no spike."""


@dataclasses.dataclass(frozen=True)
class Allowance:
    """What a file may unpack to: `times` its size, and a megabyte."""

    path: Path
    times: int = UNPACK_LIMIT

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    @property
    def most(self) -> int:
        """Bytes that it may unpack to."""
        return self.times * self.size + FREE

    def check(self, what: str, needed: int) -> None:
        """Raise where `what` needs more bytes than that."""
        if needed > self.most:
            raise InputError(
                f"{self.path}: {what} would unpack to more than {self.times} times the file. If you trust it, raise "
                "`unpack_limit`."
            )


class Table(NamedTuple):
    """An array in a file: its shape, how to read it, and what the file says of it."""

    shape: tuple[int, ...]
    read: Callable[[], np.ndarray]
    units: str = ""
    period: float | None = None


Tables = Mapping[str, Table]


def listed(tables: Tables, most: int = 20) -> str:
    """What a file holds, in words: `Yte (803, 187), Xte (803, 2)`."""
    names = [f"{name} {table.shape}" for name, table in tables.items()]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def table_of(path: Path, tables: Tables, argument: str, name: str) -> Table:
    """The array that an argument names."""
    if name not in tables:
        near = did_you_mean(name, tables)
        near = near if near.startswith(" Did") else ""
        raise InputError(f"{path} has no array {name!r} (`{argument}`).{near} It holds: {listed(tables) or 'none'}.")
    return tables[name]


def numbers(path: Path, name: str, table: Table) -> np.ndarray:
    """An array as real numbers of float64, of axes longer than 1 (or one axis)."""
    array = table.read()
    if array.dtype.kind not in "biuf":
        raise InputError(f"{path}: {name!r} must be an array of real numbers; got {array.dtype}.")
    return np.asarray(array, np.float64)
