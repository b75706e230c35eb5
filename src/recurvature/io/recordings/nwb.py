"""NWB files: spike times in bins within trials, and time series averaged over the same bins. Needs the extra `nwb`."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError, check_positive, unknown
from recurvature.io.opening import decoding
from recurvature.io.recordings.arranging import Asked, in_spikes
from recurvature.io.recordings.hdf5 import check_inside
from recurvature.io.recordings.recording import RecordedCoordinate, Recording, polar
from recurvature.io.recordings.tables import FREE, MOST_PER_BYTE

TIMES = ("start_time", "stop_time", "timeseries", "timeseries_index", "tags", "tags_index", "id")
"""Columns of a table of trials that are no coordinates."""


class Series(NamedTuple):
    """A time series: its values (not yet read), their times, and their units."""

    data: Any
    times: Float[np.ndarray, " sample"]
    units: str


class Grid(NamedTuple):
    """Bins of all trials one after the other."""

    begin: Float[np.ndarray, " time"]
    starts: Int[np.ndarray, " trial"]
    width: float


def read_nwb(path: Path, asked: Asked) -> Recording:
    """The recording in an NWB file, as `read_recording` tells."""
    try:
        pynwb = importlib.import_module("pynwb")
    except ImportError as error:
        raise InputError("NWB files need pynwb: pip install 'recurvature[nwb]'.") from error
    if asked.order is not None or asked.periods is not None:
        raise InputError("`order` and `periods` do not go with an NWB file, which has its own axes and trials.")
    check_inside(path)
    with decoding(path, "an NWB file"), pynwb.NWBHDF5IO(str(path), mode="r", load_namespaces=True) as stream:
        return _recording(path, stream.read(), asked)


def _recording(path: Path, file: Any, asked: Asked) -> Recording:
    size = path.stat().st_size
    series = dict(_series(file))
    source = None if asked.activity in (None, "units") else _chosen(series, asked.activity, "activity")
    if source is None and file.units is None:
        raise InputError(
            f"{path} has no sorted units; name a time series with `activity`: {', '.join(series) or 'none'}."
        )
    grid = _grid(path, file, source, asked.bin_width)
    activity = _binned(path, file, grid, size) if source is None else _averaged(path, source, grid, size)
    found: tuple[RecordedCoordinate, ...] = ()
    if asked.polar is not None:
        vector = _averaged(path, _chosen(series, asked.polar, "polar"), grid, size)
        if vector.shape[1] != 2:
            raise InputError(f"{path}: {asked.polar!r} (`polar`) must have two columns; got {vector.shape[1]}.")
        found += polar(vector)
    columns = {} if file.trials is None else _columns(file.trials)
    names = [n for n in columns if n != asked.labels] if asked.coordinates is None else list(asked.coordinates)
    lengths = np.diff([*grid.starts, len(grid.begin)])
    for name in names:
        if name in columns and columns[name].dtype.kind in "biuf":
            values = np.repeat(columns[name].astype(float), lengths)
            found += (RecordedCoordinate(name, values, per_trial=True),) if np.isfinite(values).all() else ()
        elif asked.coordinates is not None:
            one = _chosen(series, name, "coordinates")
            rows = _averaged(path, one, grid, size)
            titles = [name] if rows.shape[1] == 1 else [f"{name}_{k + 1}" for k in range(rows.shape[1])]
            found += tuple(RecordedCoordinate(t, rows[:, k].copy(), one.units) for k, t in enumerate(titles))
    labels = None
    if asked.labels is not None:
        if asked.labels not in columns:
            raise unknown("column of the table of trials", asked.labels, columns)
        labels = np.unique(columns[asked.labels], return_inverse=True)[1].ravel().astype(np.int64)
    counts, spike = (activity, 1.0) if source is None else in_spikes(activity)
    return Recording(counts, grid.starts, found, labels, spike, grid.width)


def _columns(table: Any) -> dict[str, np.ndarray]:
    """Plain columns of numbers or words, one entry a trial."""
    found = {name: np.asarray(table[name][:]) for name in table.colnames if name not in TIMES}
    return {name: values for name, values in found.items() if values.ndim == 1}


def _series(file: Any) -> Iterator[tuple[str, Series]]:
    """All time series of acquisition and processing, by their names."""
    waiting = list(file.acquisition.values())
    for module in file.processing.values():
        waiting += list(module.data_interfaces.values())
    while waiting:
        item = waiting.pop(0)
        inside = getattr(item, "spatial_series", None) or getattr(item, "time_series", None)
        if inside is not None:
            waiting += list(inside.values())
        elif hasattr(item, "data") and getattr(item.data, "ndim", len(np.shape(item.data))) in (1, 2):
            count = len(item.data)
            if item.timestamps is not None:
                times = np.asarray(item.timestamps[:], np.float64)
            else:
                times = (item.starting_time or 0.0) + np.arange(count) / (item.rate or 1.0)
            if count and len(times) == count:
                yield item.name, Series(item.data, times, str(getattr(item, "unit", "") or ""))


def _chosen(series: dict[str, Series], name: str | None, argument: str) -> Series:
    if name not in series:
        raise unknown(f"time series (`{argument}`)", str(name), series)
    return series[str(name)]


def _grid(path: Path, file: Any, source: Series | None, width: float | None) -> Grid:
    """Bins within the trials of the table, or over all that was recorded; a last bin that is not full is left out."""
    if width is None and source is not None and len(source.times) > 1:
        width = float(np.median(np.diff(source.times)))
    if width is None:
        raise InputError(f"{path} has spike times: say with `bin_width` how many seconds a bin lasts.")
    check_positive(bin_width=width)
    if file.trials is not None:
        spans = np.stack([np.asarray(file.trials[name][:], np.float64) for name in ("start_time", "stop_time")], -1)
    elif source is not None:
        spans = np.array([[source.times[0], source.times[-1] + width]])
    else:
        last = max((float(np.max(t)) for t in file.units["spike_times"][:] if len(t)), default=0.0)
        spans = np.array([[0.0, last]])
    # a bin that is full but for the rounding of decimal times is full
    counts = np.floor((spans[:, 1] - spans[:, 0]) / width + 1e-6).astype(np.int64)
    if (counts < 1).any() or counts.sum(dtype=np.float64) > 10**8:
        raise InputError(f"{path}: trials last {np.diff(spans).min():g} s and more; bins of {width:g} s do not fit.")
    begin = np.concatenate([start + width * np.arange(n) for (start, _), n in zip(spans, counts, strict=True)])
    return Grid(begin, np.concatenate([[0], np.cumsum(counts)[:-1]]), width)


def _binned(path: Path, file: Any, grid: Grid, size: int) -> Float[np.ndarray, "time unit"]:
    """Spikes of every unit in every bin: from its begin to before its end."""
    units = len(file.units)
    if len(grid.begin) * units * 8 > MOST_PER_BYTE * size + FREE:
        raise InputError(
            f"{path}: bins of {grid.width:g} s would take far more memory than the file. Take longer ones."
        )
    out = np.empty((len(grid.begin), units))
    for k in range(units):
        times = np.sort(np.asarray(file.units["spike_times"][k], np.float64))
        out[:, k] = np.searchsorted(times, grid.begin + grid.width) - np.searchsorted(times, grid.begin)
    return out


def _averaged(path: Path, series: Series, grid: Grid, size: int) -> Float[np.ndarray, "time k"]:
    """The mean over every bin of the line through the samples, constant before the first and after the last."""
    shape = tuple(int(n) for n in np.shape(series.data))
    if int(np.prod(shape)) * 8 > MOST_PER_BYTE * size + FREE:
        raise InputError(
            f"{path}: a time series of shape {shape} would unpack to more than {MOST_PER_BYTE} times the file."
        )
    values = np.asarray(series.data[:], np.float64).reshape(shape[0], -1)
    if not np.isfinite(values).all():
        raise InputError(f"{path}: a time series has values that are NaN or infinite.")
    times = series.times
    if (np.diff(times) <= 0).any():
        raise InputError(f"{path}: the times of a time series do not increase.")
    ends = grid.begin + grid.width
    means = [(_integral(ends, times, v) - _integral(grid.begin, times, v)) / grid.width for v in values.T]
    return np.stack(means, -1)


def _integral(
    at: Float[np.ndarray, " t"], times: Float[np.ndarray, " sample"], values: Float[np.ndarray, " sample"]
) -> Float[np.ndarray, " t"]:
    """The integral of the line through samples from the first of them to any time."""
    area = np.concatenate([[0.0], np.cumsum(np.diff(times) * (values[1:] + values[:-1]) / 2)])
    left = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 1)
    inside = np.interp(at, times, values)
    return area[left] + (at - times[left]) * (values[left] + inside) / 2
