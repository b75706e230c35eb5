"""Recordings of neural populations: spike counts in bins beside what the animal did. So far MATLAB files, version 5."""

import dataclasses
import io
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError, unknown
from recurvature.io.opening import check_names, content, decoding, read_bytes

_MOST_PER_BYTE, _FREE = 64, 1 << 20
"""What a compressed file may unpack to: 64 times its size and a megabyte. Most bins of a unit hold no spike."""
_COMPRESSED, _MATRIX = 15, 14
"""Types of the elements of a version 5 file."""
_NUMERIC = range(6, 16)
"""Classes of arrays of numbers; before them stand cells, structures, objects, text and sparse arrays."""


@dataclasses.dataclass(frozen=True)
class Recording:
    """Bins of a recording, concatenated periods of movement, in the order of the file.

    `counts` are spikes a bin where the file has whole multiples of one smallest number, which is then `spike`; else
    they are what the file has, and `spike` is 1. `starts` are the bins at which a period begins, 0 the first of them.
    `velocity` is in the units of the file, which names none, as it names no length of a bin.
    """

    counts: Float[np.ndarray, "time unit"]
    velocity: Float[np.ndarray, "time 2"]
    target: Int[np.ndarray, " time"] | None
    starts: Int[np.ndarray, " segment"]
    spike: float = 1.0

    @property
    def segments(self) -> tuple[slice, ...]:
        """The bins of each period."""
        stops = [*self.starts[1:], len(self.counts)]
        return tuple(slice(int(a), int(b)) for a, b in zip(self.starts, stops, strict=True))

    def split(self, share: float) -> tuple["Recording", "Recording"]:
        """The first periods, about `share` of all bins, and the others: earlier and later in time, none cut in two."""
        if not 0 < share < 1 or len(self.starts) < 2:
            raise InputError(
                f"`share` must lie between 0 and 1 and the recording have two periods or more; got {share!r} and "
                f"{len(self.starts)}."
            )
        cut = self.starts[1:][np.abs(self.starts[1:] - share * len(self.counts)).argmin()]
        return self._bins(0, int(cut)), self._bins(int(cut), len(self.counts))

    def _bins(self, start: int, stop: int) -> "Recording":
        inside = self.starts[(self.starts >= start) & (self.starts < stop)] - start
        target = None if self.target is None else self.target[start:stop]
        return Recording(self.counts[start:stop], self.velocity[start:stop], target, inside, self.spike)


def read_recording(
    path: str | Path, *, counts: str = "Ytr", velocity: str = "Xtr", target: str | None = "Ttr"
) -> Recording:
    """Read spike counts, velocity and target from the variables of those names in a MATLAB file of version 5.

    The names are those of the public demo data of Dyer et al., Nature Biomedical Engineering 2017, which has one part
    under `Ytr`, `Xtr`, `Ttr` and another under `Yte`, `Xte`, `Tte`. Shapes: counts (time, unit), velocity (time, 2),
    target (time,) or (time, 1) of whole numbers.

    Where periods of movement were put together, the target changes; where the next one has the same target, only the
    velocity jumps. A jump within a target is taken for such a seam when it looks like those at changes of target in
    three numbers: the speed before, the speed after, and the size of the jump all lie within the range that they have
    there. Without a target everything is one period.

    Only numbers are read: cells, structures, objects and functions are refused, as is what would unpack to more than 64
    times the size of the file. Raises `InputError` where the file, a name, or a shape cannot be used.
    """
    path = Path(path)
    wanted = [name for name in (counts, velocity, target) if name is not None]
    arrays = read_mat(path, wanted)
    spikes, moves = _numbers(path, counts, arrays[counts]), _numbers(path, velocity, arrays[velocity])
    if moves.shape != (len(spikes), 2):
        raise InputError(
            f"{path}: {velocity!r} must have shape ({len(spikes)}, 2), a row to each of the bins of {counts!r}; got "
            f"{moves.shape}. Name the variables with `counts` and `velocity`."
        )
    if spikes.min() < 0:
        raise InputError(f"{path}: {counts!r} has negative numbers; counts of spikes have none.")
    aims = None if target is None else _aims(path, target, arrays[target], len(spikes))
    spikes, spike = _in_spikes(spikes)
    return Recording(spikes, moves, aims, _starts(moves, aims), spike)


def read_mat(path: Path, names: list[str]) -> dict[str, np.ndarray]:
    """The variables called `names` in a MATLAB file of version 5, nothing of which is run."""
    import scipy.io

    data = read_bytes(path)
    if content(data) != "a MATLAB file":
        raise InputError(f"{path} holds {content(data)}, not a MATLAB file of version 5 (save it with `-v7`).")
    with decoding(path, "a MATLAB file of version 5"):
        _check_elements(path, data)
        found = {name: kind for name, _, kind in scipy.io.whosmat(io.BytesIO(data))}
    check_names(path, found)
    for name in names:
        if name not in found:
            raise unknown(f"variable of {path}", name, found)
    with decoding(path, "a MATLAB file of version 5"):
        arrays = scipy.io.loadmat(io.BytesIO(data), variable_names=names, verify_compressed_data_integrity=True)
    return {name: arrays[name] for name in names}


def _check_elements(path: Path, data: bytes) -> None:
    """Raise unless the file is a row of arrays of numbers, each no larger than its bytes, unpacked within the limit."""
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise InputError(f"{path} lacks the mark of its byte order. Write or copy it again.")
    place, left = 128, _MOST_PER_BYTE * len(data) + _FREE
    while place < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        body = data[place + 8 : place + 8 + size]
        if len(body) != size:
            raise InputError(f"{path} is cut short. Copy it again.")
        if kind == _COMPRESSED:
            body = _unpacked(path, body, left)
            kind, size = struct.unpack_from(f"{order}II", body)
            left, body = left - len(body), body[8:]
        if kind != _MATRIX or len(body) < 48 or size != len(body):
            raise InputError(f"{path} holds an element that is no array. Save plain matrices alone.")
        _check_array(path, body, order)
        place += 8 + struct.unpack_from(f"{order}I", data, place + 4)[0]


def _unpacked(path: Path, body: bytes, left: int) -> bytes:
    stream = zlib.decompressobj()
    unpacked = stream.decompress(body, left + 1)
    if len(unpacked) > left:
        raise InputError(f"{path} would unpack to more than {_MOST_PER_BYTE} times its size. Save it with `-v6`.")
    return unpacked


def _check_array(path: Path, body: bytes, order: str) -> None:
    """Raise unless the array has a numeric class and a shape whose numbers its bytes can hold."""
    (flags,) = struct.unpack_from(f"{order}I", body, 8)
    if flags & 0xFF not in _NUMERIC:
        raise InputError(f"{path} holds cells, structures, text or objects, which are not read. Save matrices alone.")
    (length,) = struct.unpack_from(f"{order}I", body, 20)
    if length % 4 or not 8 <= length <= 128 or 24 + length > len(body):
        raise InputError(f"{path} holds an array with a damaged shape. Write or copy it again.")
    count = 1
    for side in struct.unpack_from(f"{order}{length // 4}i", body, 24):
        count *= side
    if not 0 < count <= len(body):
        raise InputError(f"{path} holds an array of {count} numbers in {len(body)} bytes. Write or copy it again.")


def _numbers(path: Path, name: str, array: np.ndarray) -> Float[np.ndarray, "time column"]:
    if array.dtype.kind not in "biuf" or array.ndim != 2:
        raise InputError(f"{path}: {name!r} must be a matrix of real numbers; got {array.dtype} of {array.ndim} axes.")
    array = np.asarray(array, np.float64)
    if not np.isfinite(array).all():
        raise InputError(f"{path}: {name!r} has values that are NaN or infinite; leave out those bins.")
    return array


def _aims(path: Path, name: str, array: np.ndarray, bins: int) -> Int[np.ndarray, " time"]:
    values = _numbers(path, name, array).ravel()
    if len(values) != bins or (values != np.round(values)).any():
        raise InputError(f"{path}: {name!r} must hold a whole number for each of {bins} bins; got {array.shape}.")
    return values.astype(np.int64)


def _in_spikes(values: Float[np.ndarray, "time unit"]) -> tuple[Float[np.ndarray, "time unit"], float]:
    """Counts, and what one spike is in the file: rates are whole multiples of one spike a bin."""
    above = values[values > 0]
    # no bin holds a million spikes: such numbers are none
    if not len(above) or above.max() / 1e6 > above.min():
        return values, 1.0
    spike = float(above.min())
    counts = np.round(values / spike)
    # quotients of float64 numbers that were products of whole numbers: a few roundings of numbers up to a million
    exact = np.abs(values / spike - counts).max() < 1e-9 * counts.max()
    return (counts, spike) if exact else (values, 1.0)


def _starts(velocity: Float[np.ndarray, "time 2"], target: Int[np.ndarray, " time"] | None) -> Int[np.ndarray, " s"]:
    """The bins at which a period begins, as `read_recording` tells."""
    seam = np.zeros(len(velocity), bool)
    seam[0] = True
    if target is not None and len(target) > 1:
        changes = np.diff(target) != 0
        seam[1:] = changes | _like(velocity, changes)
    return np.flatnonzero(seam)


def _like(velocity: Float[np.ndarray, "time 2"], known: np.ndarray) -> np.ndarray:
    """Which steps look like the `known` ones, by the speeds on both sides and the size of the jump."""
    speed, jump = np.hypot(*velocity.T), np.hypot(*np.diff(velocity, axis=0).T)
    looks = np.stack([speed[:-1], speed[1:], jump], axis=-1)
    if not known.any():
        return np.zeros(len(looks), bool)
    low, high = looks[known].min(0), looks[known].max(0)
    return ((looks >= low) & (looks <= high)).all(-1)
