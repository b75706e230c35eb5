"""NWB files: spike times in bins within trials, and time series averaged over the same bins. Needs the extra `nwb`."""

import importlib
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError, check_positive, unknown
from recurvature.io.opening import decoding
from recurvature.io.recordings.arranging import Asked, complete, in_spikes, passed_over
from recurvature.io.recordings.hdf5 import check_inside
from recurvature.io.recordings.recording import RecordedCoordinate, Recording, polar
from recurvature.io.recordings.tables import Allowance

TIMES = ("start_time", "stop_time", "timeseries", "timeseries_index", "tags", "tags_index", "id")
"""Columns of a table of trials that are no coordinates."""


BLOCK = 1 << 18
"""Samples or spikes that are in memory at once."""


class Series(NamedTuple):
    """A time series, read in blocks: its values, their times (None: even, from `first`, so many a second), units."""

    data: Any
    times: Any
    first: float
    rate: float
    units: str

    def seconds(self, start: int, stop: int) -> Float[np.ndarray, " sample"]:
        """The times of some samples."""
        if self.times is not None:
            return np.asarray(self.times[start:stop], np.float64)
        return self.first + np.arange(start, stop) / self.rate

    def blocks(self) -> Iterator[tuple[Float[np.ndarray, " sample"], Float[np.ndarray, "sample k"]]]:
        """Times and values block by block, the last sample of each the first of the next."""
        count = len(self.data)
        for start in range(0, max(count - 1, 1), BLOCK):
            stop = min(start + BLOCK + 1, count)
            values = np.asarray(self.data[start:stop], np.float64)
            yield self.seconds(start, stop), values.reshape(len(values), -1)


class Grid(NamedTuple):
    """Bins of all trials one after the other."""

    begin: Float[np.ndarray, " time"]
    starts: Int[np.ndarray, " trial"]
    width: float


def read_nwb(path: Path, asked: Asked, allowed: Allowance) -> Recording:
    """The recording in an NWB file, as `read_recording` tells."""
    try:
        pynwb = importlib.import_module("pynwb")
    except ImportError as error:
        raise InputError("NWB files need pynwb: pip install 'recurvature[nwb]'.") from error
    if asked.order is not None or asked.periods is not None:
        raise InputError("`order` and `periods` do not go with an NWB file, which has its own axes and trials.")
    check_inside(path, allowed)
    with decoding(path, "an NWB file"), pynwb.NWBHDF5IO(str(path), mode="r", load_namespaces=True) as stream:
        return _recording(stream.read(), asked, allowed)


def _recording(file: Any, asked: Asked, allowed: Allowance) -> Recording:
    path = allowed.path
    series = dict(_series(file))
    source = None if asked.activity in (None, "units") else _chosen(series, asked.activity, "activity")
    if source is None and file.units is None:
        raise InputError(
            f"{path} has no sorted units; name a time series with `activity`: {', '.join(series) or 'none'}."
        )
    grid = _grid(file, source, asked.bin_width, allowed)
    activity = _binned(file, grid, allowed) if source is None else _averaged(source, grid, allowed)
    found: tuple[RecordedCoordinate, ...] = ()
    if asked.polar is not None:
        vector = _averaged(_chosen(series, asked.polar, "polar"), grid, allowed)
        if vector.shape[1] != 2:
            raise InputError(f"{path}: {asked.polar!r} (`polar`) must have two columns; got {vector.shape[1]}.")
        found += polar(vector)
    columns = {} if file.trials is None else _columns(file.trials)
    notes: list[str] = []
    names = [n for n in columns if n != asked.labels] if asked.coordinates is None else list(asked.coordinates)
    lengths = np.diff([*grid.starts, len(grid.begin)])
    for name in names:
        if name in columns and columns[name].dtype.kind in "biuf":
            values = np.repeat(columns[name].astype(float), lengths)
            if np.isfinite(values).all() or asked.missing == "drop":
                found += (RecordedCoordinate(name, values, per_trial=True),)
            elif asked.coordinates is None:
                notes.append(passed_over(name))
            else:
                raise InputError(f"{path}: {name!r} is missing in some trials; leave them out with `missing` = 'drop'.")
        elif asked.coordinates is not None:
            one = _chosen(series, name, "coordinates")
            rows = _averaged(one, grid, allowed)
            titles = [name] if rows.shape[1] == 1 else [f"{name}_{k + 1}" for k in range(rows.shape[1])]
            found += tuple(RecordedCoordinate(t, rows[:, k].copy(), one.units) for k, t in enumerate(titles))
    labels = None
    if asked.labels is not None:
        if asked.labels not in columns:
            raise unknown("column of the table of trials", asked.labels, columns)
        labels = np.unique(columns[asked.labels], return_inverse=True)[1].ravel().astype(np.int64)
    counts, spike = (activity, 1.0) if source is None else in_spikes(activity)
    return complete(Recording(counts, grid.starts, (), labels, spike, grid.width, tuple(notes)), found)


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
            count, times = len(item.data), item.timestamps
            if count and (times is None or len(times) == count):
                units = str(getattr(item, "unit", "") or "")
                yield item.name, Series(item.data, times, item.starting_time or 0.0, item.rate or 1.0, units)


def _chosen(series: dict[str, Series], name: str | None, argument: str) -> Series:
    if name not in series:
        raise unknown(f"time series (`{argument}`)", str(name), series)
    return series[str(name)]


def _grid(file: Any, source: Series | None, width: float | None, allowed: Allowance) -> Grid:
    """Bins within the trials of the table, or over all that was recorded; a last bin that is not full is left out."""
    path = allowed.path
    count = 0 if source is None else len(source.data)
    if width is None and source is not None and count > 1:
        width = float(np.median(np.diff(source.seconds(0, min(count, BLOCK)))))
    if width is None:
        raise InputError(f"{path} has spike times: say with `bin_width` how many seconds a bin lasts.")
    check_positive(bin_width=width)
    if file.trials is not None:
        spans = np.stack([np.asarray(file.trials[name][:], np.float64) for name in ("start_time", "stop_time")], -1)
    elif source is not None:
        spans = np.array([[source.seconds(0, 1)[0], source.seconds(count - 1, count)[0] + width]])
    else:
        spans = np.array([[0.0, max((float(t.max()) for _, t in _spikes(path, file)), default=0.0)]])
    # a bin that is full but for the rounding of decimal times is full
    counts = np.floor((spans[:, 1] - spans[:, 0]) / width + 1e-6).astype(np.int64)
    if (counts < 1).any():
        raise InputError(f"{path}: trials last {np.diff(spans).min():g} s and more; bins of {width:g} s do not fit.")
    _check_bins(allowed, int(counts.sum(dtype=np.float64)), width)
    begin = np.concatenate([start + width * np.arange(n) for (start, _), n in zip(spans, counts, strict=True)])
    return Grid(begin, np.concatenate([[0], np.cumsum(counts)[:-1]]), width)


def _check_bins(allowed: Allowance, numbers: int, width: float) -> None:
    """Raise where bins take more memory than the file accounts for: they are as many as they are short."""
    if numbers * 8 > allowed.most:
        raise InputError(
            f"{allowed.path}: bins of {width:g} s would take far more memory than the file. Take longer ones, or raise "
            "`unpack_limit`."
        )


def _spikes(path: Path, file: Any) -> Iterator[tuple[int, Float[np.ndarray, " spike"]]]:
    """Spike times of every unit in blocks, with the number of the unit."""
    if "spike_times" not in file.units.colnames:
        raise InputError(f"{path} has units without spike times; name a time series with `activity`.")
    index = file.units["spike_times"]
    for unit, (begin, end) in enumerate(itertools.pairwise([0, *np.asarray(index.data[:], np.int64).tolist()])):
        for start in range(begin, end, BLOCK):
            yield unit, np.asarray(index.target.data[start : min(start + BLOCK, end)], np.float64)


def _binned(file: Any, grid: Grid, allowed: Allowance) -> Float[np.ndarray, "time unit"]:
    """Spikes of every unit in every bin: from its begin to before its end."""
    units = len(file.units)
    _check_bins(allowed, len(grid.begin) * units, grid.width)
    out = np.zeros((len(grid.begin), units))
    for unit, times in _spikes(allowed.path, file):
        times.sort()
        out[:, unit] += np.searchsorted(times, grid.begin + grid.width) - np.searchsorted(times, grid.begin)
    return out


def _averaged(series: Series, grid: Grid, allowed: Allowance) -> Float[np.ndarray, "time k"]:
    """The mean over every bin of the line through the samples, constant before the first and after the last."""
    _check_bins(allowed, len(grid.begin) * math.prod(np.shape(series.data)[1:]), grid.width)
    edges = np.stack([grid.begin, grid.begin + grid.width])
    area = np.zeros((*edges.shape, math.prod(np.shape(series.data)[1:])))
    path, last = allowed.path, -np.inf
    for times, values in series.blocks():
        if not np.isfinite(values).all():
            raise InputError(f"{path}: a time series has values that are NaN or infinite.")
        if (np.diff(times) <= 0).any():
            raise InputError(f"{path}: the times of a time series do not increase.")
        if not np.isfinite(last):
            area += np.minimum(edges - times[0], 0)[..., None] * values[0]
        for k, column in enumerate(values.T):
            area[..., k] += _integral(np.clip(edges, times[0], times[-1]), times, column)
        last, end = times[-1], values[-1]
    area += np.maximum(edges - last, 0)[..., None] * end
    return (area[1] - area[0]) / grid.width


def _integral(
    at: Float[np.ndarray, "*t"], times: Float[np.ndarray, " sample"], values: Float[np.ndarray, " sample"]
) -> Float[np.ndarray, "*t"]:
    """The integral of the line through samples from the first of them to any time between them."""
    area = np.concatenate([[0.0], np.cumsum(np.diff(times) * (values[1:] + values[:-1]) / 2)])
    left = np.clip(np.searchsorted(times, at, side="right") - 1, 0, len(times) - 1)
    inside = np.interp(at, times, values)
    return area[left] + (at - times[left]) * (values[left] + inside) / 2
