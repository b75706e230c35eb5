"""From named arrays to a recording: the rules of `read_recording`, whatever the format."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from recurvature._errors import InputError, check_count
from recurvature.io.recordings.recording import RecordedCoordinate, Recording, polar
from recurvature.io.recordings.seams import seams
from recurvature.io.recordings.tables import Tables, listed, numbers, table_of

ACTIVITY = ("activity", "spikes", "spike_counts", "counts", "rates", "firing_rates", "neural")
LABELS = ("labels", "condition", "conditions", "target", "targets")
PERIODS = ("starts", "lengths", "trial", "trial_id")
BIN_WIDTH = ("bin_width", "bin_size", "dt")
AXES = {2: ("time", "unit"), 3: ("trial", "time", "unit")}


class Asked(NamedTuple):
    """The arguments of `read_recording`."""

    activity: str | None = None
    coordinates: tuple[str, ...] | None = None
    polar: str | None = None
    labels: str | None = None
    periods: str | int | None = None
    order: str | None = None
    bin_width: float | None = None


class Bins(NamedTuple):
    """Activity in bins one after the other, and how the file had them."""

    activity: Float[np.ndarray, "time unit"]
    there: Bool[np.ndarray, "trial time"] | None
    """Which bins of which trials there are; None where the file puts all bins one after the other."""


def arranged(path: Path, tables: Tables, asked: Asked) -> Recording:
    """The recording that a file holds."""
    name = asked.activity or _activity(path, tables)
    bins = _bins(path, name, tables, asked.order)
    count = len(bins.activity)
    label_name = asked.labels or _known(tables, LABELS)
    vector = None if asked.polar is None else _vector(path, asked.polar, tables, bins)
    label = None if label_name is None else _labels(path, label_name, tables, bins)
    periods = asked.periods if asked.periods is not None else _known(tables, PERIODS)
    starts = _starts(path, tables, bins, periods, label, vector)
    used: set[object] = {name, label_name, asked.polar, periods, _known(tables, BIN_WIDTH)}
    found: tuple[RecordedCoordinate, ...] = () if vector is None else polar(vector)
    found += _coordinates(path, tables, bins, starts, asked, used)
    spikes, spike = in_spikes(bins.activity)
    labels = label[starts] if label is not None and len(label) == count else label
    return Recording(spikes, starts, found, labels, spike, asked.bin_width or _width(path, tables))


def _known(tables: Tables, names: tuple[str, ...]) -> str | None:
    """The first array with one of these names, as the file spells it."""
    spelt = {name.rsplit("/", 1)[-1].lower(): name for name in reversed(list(tables))}
    return next((spelt[name] for name in names if name in spelt), None)


def has_activity(tables: Tables) -> bool:
    """Whether some array is plainly the activity of a recording."""
    return _found_activity(tables) is not None


def _found_activity(tables: Tables) -> str | None:
    named = _known(tables, ACTIVITY)
    solid = [name for name, table in tables.items() if len(table.shape) == 3]
    return named if named is not None else solid[0] if len(solid) == 1 else None


def _activity(path: Path, tables: Tables) -> str:
    found = _found_activity(tables)
    if found is not None:
        return found
    raise InputError(f"{path}: no array is plainly the activity. Name it with `activity`; it holds: {listed(tables)}.")


def _bins(path: Path, name: str, tables: Tables, order: str | None) -> Bins:
    """The activity with its axes in our order, bins one after the other."""
    array = numbers(path, name, table_of(path, tables, "activity", name))
    if array.ndim not in AXES or 0 in array.shape:
        raise InputError(f"{path}: {name!r} must have axes (time, unit) or (trial, time, unit); got {array.shape}.")
    wanted = AXES[array.ndim]
    if order is not None:
        given = tuple(order.split())
        if sorted(given) != sorted(wanted):
            raise InputError(f"`order` must hold the words {' '.join(wanted)} in the order of the file; got {order!r}.")
        array = array.transpose([given.index(axis) for axis in wanted])
    there = None
    if array.ndim == 3:
        there = ~np.isnan(array).all(2)
        if not there.any(1).all():
            raise InputError(f"{path}: {name!r} has trials without any bin; leave them out.")
        array = array[there]
    if not np.isfinite(array).all():
        raise InputError(f"{path}: {name!r} has values that are NaN or infinite; leave out those bins.")
    return Bins(array, there)


def _beside(
    path: Path, name: str, tables: Tables, bins: Bins, starts: Int[np.ndarray, " trial"] | None, argument: str
) -> tuple[Float[np.ndarray, "time k"], bool]:
    """What an array says of every bin, and whether it says it of trials."""
    array = numbers(path, name, table_of(path, tables, argument, name))
    found = _fitted(array, bins, starts)
    if found is None:
        shapes = f"{len(bins.activity)} bins" if bins.there is None else f"{bins.there.shape} trials and bins"
        raise InputError(
            f"{path}: {name!r} (`{argument}`) of shape {array.shape} does not go with {shapes}. If the axes of the "
            "activity come in another order, say so with `order`."
        )
    if not np.isfinite(found[0]).all():
        raise InputError(f"{path}: {name!r} has values that are NaN or infinite; leave out those bins.")
    return found


def _fitted(
    array: np.ndarray, bins: Bins, starts: Int[np.ndarray, " trial"] | None
) -> tuple[Float[np.ndarray, "time k"], bool] | None:
    """An array as columns over all bins, if its first axes are those of bins or of trials."""
    count, there = len(bins.activity), bins.there
    if array.ndim == 2 and array.shape[0] == 1 and there is None:
        array = array[0]
    if there is not None and array.shape[:2] == there.shape and array.ndim in (2, 3):
        return array[there].reshape(count, -1), False
    if there is None and array.ndim in (1, 2) and array.shape[0] == count:
        return array.reshape(count, -1), False
    lengths = there.sum(1) if there is not None else None if starts is None else np.diff([*starts, count])
    flat = array.ravel() if array.ndim == 2 and 1 in array.shape else array
    if lengths is not None and flat.ndim in (1, 2) and flat.shape[0] == len(lengths):
        return np.repeat(flat.reshape(len(lengths), -1), lengths, axis=0), True
    return None


def _vector(path: Path, name: str, tables: Tables, bins: Bins) -> Float[np.ndarray, "time 2"]:
    found, _ = _beside(path, name, tables, bins, None, "polar")
    if found.shape[1] != 2:
        raise InputError(f"{path}: {name!r} (`polar`) must have a last axis of 2; got {tables[name].shape}.")
    return found


def _labels(path: Path, name: str, tables: Tables, bins: Bins) -> Int[np.ndarray, " any"]:
    """Labels of every bin, or of every trial where there are as many as that and no more is known yet."""
    array = numbers(path, name, table_of(path, tables, "labels", name))
    if not np.isfinite(array).all() or (array != np.round(array)).any():
        raise InputError(f"{path}: {name!r} (`labels`) must hold whole numbers.")
    found = _fitted(array, bins, None)
    if found is None and bins.there is None and array.ndim and array.size == max(array.shape):
        return array.ravel().astype(np.int64)
    if found is None or found[0].shape[1] != 1:
        raise InputError(
            f"{path}: {name!r} must hold a whole number for each of {len(bins.activity)} bins or for each trial; got "
            f"{array.shape}."
        )
    return found[0][:, 0].astype(np.int64)


def _starts(
    path: Path,
    tables: Tables,
    bins: Bins,
    periods: str | int | None,
    label: Int[np.ndarray, " any"] | None,
    vector: Float[np.ndarray, "time 2"] | None,
) -> Int[np.ndarray, " trial"]:
    """The bins at which trials begin."""
    count = len(bins.activity)
    if bins.there is not None:
        return np.concatenate([[0], np.cumsum(bins.there.sum(1))[:-1]]).astype(np.int64)
    by_bin = label if label is not None and len(label) == count else None
    if periods == "seams":
        if vector is None or by_bin is None:
            raise InputError("`periods` = 'seams' needs `polar`, whose jumps are looked at, and `labels` of every bin.")
        return seams(vector, by_bin)
    if isinstance(periods, int):
        check_count(periods=periods)
        return np.arange(0, count, periods)
    if periods is not None:
        return _told(path, periods, numbers(path, periods, table_of(path, tables, "periods", periods)), count)
    return np.array([0]) if by_bin is None else np.flatnonzero(np.diff(by_bin, prepend=by_bin[0] - 1))


def _told(path: Path, name: str, array: np.ndarray, count: int) -> Int[np.ndarray, " trial"]:
    """Where trials begin from their starts, their lengths, or the trial of every bin."""
    flat = array.ravel()
    if not len(flat) or not np.isfinite(flat).all() or (flat != np.round(flat)).any():
        raise InputError(f"{path}: {name!r} (`periods`) must hold whole numbers.")
    values = flat.astype(np.int64)
    if len(values) == count:
        return np.flatnonzero(np.diff(values, prepend=values[0] - 1))
    if (values > 0).all() and values.sum() == count:
        return np.concatenate([[0], np.cumsum(values)[:-1]])
    starts = values - values[0]
    if values[0] in (0, 1) and (np.diff(starts) > 0).all() and starts[-1] < count:
        return starts
    raise InputError(
        f"{path}: {name!r} (`periods`) is neither where trials begin, nor how long they are, nor the trial of each of "
        f"{count} bins."
    )


def _coordinates(
    path: Path, tables: Tables, bins: Bins, starts: Int[np.ndarray, " trial"], asked: Asked, used: set[object]
) -> tuple[RecordedCoordinate, ...]:
    """The coordinates asked for, or every array that can be one."""
    found: list[RecordedCoordinate] = []
    for name in asked.coordinates if asked.coordinates is not None else [n for n in tables if n not in used]:
        if asked.coordinates is not None:
            columns, per_trial = _beside(path, name, tables, bins, starts, "coordinates")
        else:
            table = tables[name]
            if not 0 < len(table.shape) < 4 or np.prod(table.shape) > 4 * len(bins.activity):
                continue
            fitted = _fitted(numbers(path, name, table), bins, starts)
            if fitted is None or not np.isfinite(fitted[0]).all():
                continue
            columns, per_trial = fitted
        short, several = name.rsplit("/", 1)[-1], columns.shape[1] > 1
        for k in range(columns.shape[1]):
            title = f"{short}_{k + 1}" if several else short
            units, period = tables[name].units, tables[name].period
            found.append(RecordedCoordinate(title, columns[:, k].copy(), units, period, per_trial))
    return tuple(found)


def _width(path: Path, tables: Tables) -> float | None:
    name = _known(tables, BIN_WIDTH)
    if name is None or np.prod(tables[name].shape) != 1:
        return None
    return float(numbers(path, name, tables[name]).ravel()[0])


def in_spikes(values: Float[np.ndarray, "time unit"]) -> tuple[Float[np.ndarray, "time unit"], float | None]:
    """Counts, and what one spike is in the file: rates are whole multiples of one spike a bin."""
    above = values[values > 0]
    # no bin holds a million spikes: such numbers are none
    if (values < 0).any() or not len(above) or above.max() / 1e6 > above.min():
        return values, None
    spike = float(above.min())
    counts = np.round(values / spike)
    # quotients of float64 numbers that were products of whole numbers: a few roundings of numbers up to a million
    exact = np.abs(values / spike - counts).max() < 1e-9 * counts.max()
    return (counts, spike) if exact else (values, None)
