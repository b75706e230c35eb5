"""Arrays of a MATLAB file of version 5, none of whose cells, structures, functions or objects is read."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np

from recurvature._errors import InputError
from recurvature.io.opening import check_names, decoding, read_bytes
from recurvature.io.recordings.tables import Allowance, Table

_COMPRESSED, _MATRIX = 15, 14
"""Types of the elements of a version 5 file."""
_NUMERIC = range(6, 16)
"""Classes of arrays of numbers; before them stand cells, structures, objects, text and sparse arrays."""
_CLASSES = {"double", "single", "logical", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))}


def matlab_tables(path: Path, allowed: Allowance) -> dict[str, Table]:
    """The arrays of numbers in a MATLAB file of version 5; what else it holds is passed over."""
    import scipy.io

    data = read_bytes(path)
    with decoding(path, "a MATLAB file of version 5"):
        _check_elements(path, data, allowed)
        found = scipy.io.whosmat(io.BytesIO(data))
    check_names(path, [name for name, _, _ in found])

    def reading(name: str) -> Table:
        def read() -> np.ndarray:
            with decoding(path, "a MATLAB file of version 5"):
                stream = io.BytesIO(data)
                arrays = scipy.io.loadmat(stream, variable_names=[name], verify_compressed_data_integrity=True)
                return np.asarray(arrays[name])

        return Table(shapes[name], read)

    shapes = {name: tuple(shape) for name, shape, kind in found if kind in _CLASSES}
    return {name: reading(name) for name in shapes}


def _check_elements(path: Path, data: bytes, allowed: Allowance) -> None:
    """Raise unless the file is a row of arrays, no larger than their bytes if of numbers, unpacked within the limit."""
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise InputError(f"{path} lacks the mark of its byte order. Write or copy it again.")
    place, left = 128, allowed.most
    while place < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        body = data[place + 8 : place + 8 + size]
        if len(body) != size:
            raise InputError(f"{path} is cut short. Copy it again.")
        if kind == _COMPRESSED:
            body = _unpacked(body, left, allowed)
            kind, size = struct.unpack_from(f"{order}II", body)
            left, body = left - len(body), body[8:]
        if kind != _MATRIX or len(body) < 48 or size != len(body):
            raise InputError(f"{path} holds an element that is no array. Save plain matrices alone.")
        _check_array(path, body, order)
        place += 8 + struct.unpack_from(f"{order}I", data, place + 4)[0]


def _unpacked(body: bytes, left: int, allowed: Allowance) -> bytes:
    """An element unpacked, where no more than `left` bytes come of it."""
    unpacked = zlib.decompressobj().decompress(body, left + 1)
    if len(unpacked) > left:
        allowed.check("what it holds", allowed.most + 1)
    return unpacked


def _check_array(path: Path, body: bytes, order: str) -> None:
    """Raise where an array of numbers has a shape that its bytes cannot hold."""
    (flags,) = struct.unpack_from(f"{order}I", body, 8)
    if flags & 0xFF not in _NUMERIC:
        return
    (length,) = struct.unpack_from(f"{order}I", body, 20)
    if length % 4 or not 8 <= length <= 128 or 24 + length > len(body):
        raise InputError(f"{path} holds an array with a damaged shape. Write or copy it again.")
    count = 1
    for side in struct.unpack_from(f"{order}{length // 4}i", body, 24):
        count *= side
    if not 0 < count <= len(body):
        raise InputError(f"{path} holds an array of {count} numbers in {len(body)} bytes. Write or copy it again.")
