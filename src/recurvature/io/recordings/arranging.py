"""From named arrays to a recording: the rules of `read_recording`, whatever the format."""

import dataclasses
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
    missing: str = "refuse"


class Bins(NamedTuple):
    """Activity in bins one after the other, and how the file had them."""

    activity: Float[np.ndarray, "time unit"]
    there: Bool[np.ndarray, "trial time"] | None
    """Which bins of which trials there are; None where the file puts all bins one after the other."""
    order: tuple[str, ...] = ()
    """The axes as they come in the file, where that was said."""

    @property
    def shape(self) -> str:
        """How many there are, in words."""
        return f"{len(self.activity)} bins" if self.there is None else f"{self.there.shape} trials and bins"


def arranged(path: Path, tables: Tables, asked: Asked) -> Recording:
    """The recording that a file holds."""
    name = asked.activity or _activity(path, tables)
    bins = _bins(path, name, tables, asked.order)
    count = len(bins.activity)
    label_name = asked.labels or _known(tables, LABELS)
    vector = None if asked.polar is None else _vector(path, asked.polar, tables, bins, asked.missing)
    label = None if label_name is None else _labels(path, label_name, tables, bins)
    periods = asked.periods if asked.periods is not None else _known(tables, PERIODS)
    starts = _starts(path, tables, bins, periods, label, vector)
    used: set[object] = {name, label_name, asked.polar, periods, _known(tables, BIN_WIDTH)}
    notes: list[str] = []
    found: tuple[RecordedCoordinate, ...] = () if vector is None else polar(vector)
    found += _coordinates(path, tables, bins, starts, asked, used, notes)
    spikes, spike = in_spikes(bins.activity)
    labels = label[starts] if label is not None and len(label) == count else label
    whole = Recording(spikes, starts, (), labels, spike, asked.bin_width or _width(path, tables), tuple(notes))
    return complete(whole, found)


def complete(recording: Recording, found: tuple[RecordedCoordinate, ...]) -> Recording:
    """The recording beside its coordinates, without the trials in which one of them is missing."""
    lost = np.zeros(len(recording.activity), bool)
    for c in found:
        lost |= ~np.isfinite(c.values)
    if not lost.any():
        return dataclasses.replace(recording, coordinates=found)
    kept = ~np.logical_or.reduceat(lost, recording.starts)
    if not kept.any():
        raise InputError("a coordinate is missing in every trial: name others with `coordinates`.")
    filled = tuple(dataclasses.replace(c, values=np.where(lost, 0.0, c.values)) for c in found)
    names = ", ".join(c.name for c in found if not np.isfinite(c.values).all())
    note = f"{(~kept).sum()} of {len(kept)} trials are left out, in which a coordinate is missing ({names})."
    whole = dataclasses.replace(recording, coordinates=filled, notes=(*recording.notes, note))
    return whole.where(kept)


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
    raise InputError(
        f"{path}: no array is plainly the activity. Name it with `activity`, and its axes with `order` where they are "
        f"not trial, time, unit; it holds: {listed(tables)}."
    )


def _bins(path: Path, name: str, tables: Tables, order: str | None) -> Bins:
    """The activity with its axes in our order, bins one after the other."""
    array = numbers(path, name, table_of(path, tables, "activity", name))
    if array.ndim not in AXES or 0 in array.shape:
        raise InputError(f"{path}: {name!r} must have axes (time, unit) or (trial, time, unit); got {array.shape}.")
    wanted, given = AXES[array.ndim], () if order is None else tuple(order.split())
    if order is not None:
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
    return Bins(array, there, given)


def _beside(
    path: Path,
    name: str,
    tables: Tables,
    bins: Bins,
    starts: Int[np.ndarray, " trial"] | None,
    argument: str,
    missing: str,
) -> tuple[Float[np.ndarray, "time k"], bool]:
    """What an array says of every bin, and whether it says it of trials."""
    array = numbers(path, name, table_of(path, tables, argument, name))
    found = _fitted(array, bins, starts)
    if found is None:
        raise InputError(
            f"{path}: {name!r} (`{argument}`) of shape {array.shape} does not go with {bins.shape}. If the axes of the "
            "activity come in another order, say so with `order`."
        )
    if missing != "drop" and not np.isfinite(found[0]).all():
        raise InputError(
            f"{path}: {name!r} has values that are NaN or infinite; leave out their trials with `missing` = 'drop'."
        )
    return found


def _fitted(
    array: np.ndarray, bins: Bins, starts: Int[np.ndarray, " trial"] | None
) -> tuple[Float[np.ndarray, "time k"], bool] | None:
    """An array as columns over all bins, with its axes in the order of the activity's, or else as they come."""
    for given in (bins.order, tuple(axis for axis in bins.order if axis != "unit")):
        if len(given) == array.ndim > 1:
            turned = array.transpose([given.index(axis) for axis in ("trial", "time", "unit") if axis in given])
            found = _laid(turned, bins, starts)
            if found is not None:
                return found
    return _laid(array, bins, starts)


def _laid(
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


def _vector(path: Path, name: str, tables: Tables, bins: Bins, missing: str) -> Float[np.ndarray, "time 2"]:
    found, _ = _beside(path, name, tables, bins, None, "polar", missing)
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
    path: Path,
    tables: Tables,
    bins: Bins,
    starts: Int[np.ndarray, " trial"],
    asked: Asked,
    used: set[object],
    notes: list[str],
) -> tuple[RecordedCoordinate, ...]:
    """The coordinates asked for, or every array that can be one; those passed over are noted."""
    if asked.coordinates is None:
        others = {name: table for name, table in tables.items() if name not in used}
        columns = _fitting(path, others, bins, starts, asked.missing, notes)
        if others and not columns and not notes:
            notes.append(
                f"No array goes with the bins or trials of the activity, {bins.shape}: {listed(others)}. If its axes "
                "come in another order, say so with `order`."
            )
    else:
        columns = {
            name: _beside(path, name, tables, bins, starts, "coordinates", asked.missing) for name in asked.coordinates
        }
    found: list[RecordedCoordinate] = []
    for name, (values, per_trial) in columns.items():
        short, several = name.rsplit("/", 1)[-1], values.shape[1] > 1
        for k in range(values.shape[1]):
            title = f"{short}_{k + 1}" if several else short
            units, period = tables[name].units, tables[name].period
            found.append(RecordedCoordinate(title, values[:, k].copy(), units, period, per_trial))
    return tuple(found)


def _fitting(
    path: Path, tables: Tables, bins: Bins, starts: Int[np.ndarray, " trial"], missing: str, notes: list[str]
) -> dict[str, tuple[Float[np.ndarray, "time k"], bool]]:
    """Every array of at most four numbers a bin that goes with bins or trials, as columns, and whether with trials."""
    found = {}
    for name, table in tables.items():
        if not 0 < len(table.shape) < 4 or np.prod(table.shape) > 4 * len(bins.activity):
            continue
        fitted = _fitted(numbers(path, name, table), bins, starts)
        if fitted is None:
            continue
        if missing == "drop" or np.isfinite(fitted[0]).all():
            found[name] = fitted
        else:
            notes.append(passed_over(name))
    return found


def passed_over(name: str) -> str:
    """The note on a coordinate that nobody named and that is not there throughout."""
    return f"{name} is passed over, since values are missing; keep it, without those trials, by `missing` = 'drop'."


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
