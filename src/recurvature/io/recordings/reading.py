"""Reading a recording: which of the arrays of a file is activity, and what the others are beside it."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from recurvature._errors import InputError, check_choice, check_count, check_positive
from recurvature.io.importers.npz import read_npz
from recurvature.io.opening import content, decoding, read_bytes
from recurvature.io.recordings.arranging import Asked, arranged, has_activity
from recurvature.io.recordings.hdf5 import hdf5_tables, opened
from recurvature.io.recordings.matlab import matlab_tables
from recurvature.io.recordings.recording import Recording
from recurvature.io.recordings.tables import UNPACK_LIMIT, Allowance, Table, Tables

_HEAD = 520
"""Bytes by which formats are told apart: HDF5 files of MATLAB have 512 of their own in front."""


def read_recording(
    path: str | Path,
    *,
    activity: str | None = None,
    coordinates: tuple[str, ...] | None = None,
    polar: str | None = None,
    labels: str | None = None,
    periods: str | int | None = None,
    order: str | None = None,
    bin_width: float | None = None,
    circular: Mapping[str, float] | None = None,
    missing: Literal["refuse", "drop"] = "refuse",
    unpack_limit: int = UNPACK_LIMIT,
) -> Recording:
    """Read a recording from `.npz`, `.mat` (version 5 and 7.3), `.h5` or `.nwb`, told apart by what they hold.

    **Arguments** are names of arrays in the file (of HDF5, with their path); what is not given is found by these rules.

    - `activity`: (trial, time, unit), trials that end earlier filled up with NaN; or (time, unit), all bins one after
      the other. Else the array called `activity`, `spikes`, `spike_counts`, `counts`, `rates`, `firing_rates` or
      `neural`; else the only one of three axes. `order` says if the axes come in another one, those of coordinates
      too: `unit time trial`.
    - `coordinates`: numbers beside the activity, one to each bin, (time,) or (trial, time), or to each trial, (trial,);
      a last axis of k makes k of them, `NAME_1`, `NAME_2`, … Else every array of such a shape that is nothing else.
    - `polar`: an array (…, 2), of which come the coordinates `direction` (rad) and `speed`.
    - `labels`: conditions, whole numbers, to each bin or trial. Else the array called `labels`, `condition`,
      `conditions`, `target` or `targets`.
    - `periods`, where trials have no axis of their own: the array that says where they begin (bins, the first 0 or 1),
      how long they are (of sum time), or which one each bin is in. Or `seams`: wherever a label changes, or the `polar`
      vector jumps as it does there. Or a number: stretches of so many bins, the last one shorter. Else the array called
      `starts`, `lengths`, `trial` or `trial_id`; else wherever a label changes; else all bins are one trial.
    - `bin_width`: in seconds. Else the single number called `bin_width`, `bin_size` or `dt`.
    - `circular`: periods of coordinates that come round again, `{"angle": 360}`. Else what an HDF5 file says of them.
    - `missing`: `drop` leaves out trials in which a coordinate is NaN. Else a coordinate that is named must be there
      throughout, and one that is not named is passed over; the recording's `notes` say so.
    - `unpack_limit`: how many times its own size, and a megabyte, a file may unpack to, all arrays that are read
      together (numbers of one byte then take eight). Raise it for a file that you trust: empty bins pack well.

    An NWB file (extra `nwb`) has the spike times of its units binned, by `bin_width`, within the trials that its table
    of trials lists; `activity` may name a time series instead. Numbers in the table are coordinates of trials; time
    series named in `coordinates` or `polar` are averaged over each bin.

    Nothing in a file is run, no pickle is opened and no other file is read. Raises `InputError`, with what the file
    holds, where it or a name or a shape cannot be used.
    """
    path = Path(path)
    check_count(unpack_limit=unpack_limit)
    check_choice("missing", missing, ("refuse", "drop"))
    allowed = Allowance(path, unpack_limit)
    asked = Asked(activity, coordinates, polar, labels, periods, order, bin_width, missing)
    head = _head(path)
    if _is_nwb(path, head):
        from recurvature.io.recordings.nwb import read_nwb

        return _circular(read_nwb(path, asked, allowed), circular or {})
    with _tables(path, head, allowed) as tables:
        if not tables:
            raise InputError(f"{path} holds no array of numbers.")
        return _circular(arranged(path, tables, asked), circular or {})


def _circular(recording: Recording, periods: Mapping[str, float]) -> Recording:
    """The recording with these coordinates marked as coming round again."""
    for name, period in periods.items():
        recording.coordinate(name)
        check_positive(circular=period)
        marked = (dataclasses.replace(c, period=float(period)) if c.name == name else c for c in recording.coordinates)
        recording = dataclasses.replace(recording, coordinates=tuple(marked))
    return recording


def _head(path: Path) -> bytes:
    if not path.is_file():
        # says what is there instead
        read_bytes(path)
    try:
        with path.open("rb") as stream:
            return stream.read(_HEAD)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from error


def _is_hdf5(head: bytes) -> bool:
    return b"\x89HDF\r\n\x1a\n" in (head[:8], head[512:520])


def _is_nwb(path: Path, head: bytes) -> bool:
    if not _is_hdf5(head):
        return False
    with opened(path) as file, decoding(path, "an HDF5 file"):
        return "nwb_version" in file.attrs


@contextlib.contextmanager
def _tables(path: Path, head: bytes, allowed: Allowance) -> Iterator[Tables]:
    if _is_hdf5(head):
        with hdf5_tables(path, allowed) as tables:
            yield tables
    elif head.startswith(b"PK"):
        arrays = read_npz(path, most=allowed.times)
        yield {name: Table(array.shape, lambda array=array: array) for name, array in arrays.items()}  # type: ignore[misc]
    elif head.startswith(b"MATLAB 5.0"):
        yield matlab_tables(path, allowed)
    else:
        raise InputError(
            f"{path} holds {content(head)}, not a recording in .npz, .mat (version 5 or 7.3), .h5 or .nwb. Save it so."
        )


def looks_recorded(path: str | Path) -> bool:
    """Whether a file holds a recording and no network, as far as its format and the names of its arrays say."""
    path = Path(path)
    if not path.is_file():
        return False
    head = _head(path)
    if not head.startswith(b"PK"):
        return _is_hdf5(head) or head.startswith(b"MATLAB 5.0")
    # a PyTorch file is a zip archive too
    try:
        arrays = read_npz(path, most=UNPACK_LIMIT)
        return has_activity({name: Table(a.shape, partial(np.asarray, a)) for name, a in arrays.items()})
    except InputError:
        return False
