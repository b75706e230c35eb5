"""Arrays of an `.npz` file, never unpickled, and never more memory than the file can account for."""

import io
import zipfile
from pathlib import Path

import numpy as np

from recurvature._errors import InputError
from recurvature.io.opening import check_names, content, decoding, read_bytes

_MOST_PER_BYTE, _FREE = 32, 1 << 20
"""What a compressed file may unpack to: 32 times its size and a megabyte. Weights do not compress that well."""


def read_npz(path: Path, *, most: int = _MOST_PER_BYTE) -> dict[str, np.ndarray]:
    """The arrays by name. Raises `InputError` on pickled objects, damage, and sizes the file cannot account for."""
    data = read_bytes(path)
    if not data.startswith(b"PK"):
        raise InputError(f"{path} holds {content(data)}, not .npz; give it the ending of what it is.")
    with decoding(path, "an .npz file"), zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        check_directory(path, entries, len(data), most=most)
        check_names(path, [entry.filename for entry in entries])
        if not entries or not all(entry.filename.endswith(".npy") for entry in entries):
            kind = "a PyTorch file" if any(e.filename.endswith("/data.pkl") for e in entries) else "a zip archive"
            raise InputError(f"{path} holds {kind}, not .npz; give it the ending of what it is.")
        return {entry.filename.removesuffix(".npy"): _array(entry, archive.read(entry)) for entry in entries}


def check_directory(path: Path, entries: list[zipfile.ZipInfo], size: int, *, most: int = _MOST_PER_BYTE) -> None:
    """Raise unless the zip entries are plain or deflated, named once, and unpack to a bounded multiple of `size`."""
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise InputError(f"{path} holds two entries of one name. Write it again.")
    allowed = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) if most > 1 else (zipfile.ZIP_STORED,)
    if any(entry.compress_type not in allowed for entry in entries):
        raise InputError(f"{path} is compressed in a way that is not read here. Write it again without compression.")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > most * size + (_FREE if most > 1 else 0):
        raise InputError(f"{path} has {size} bytes but would unpack to {unpacked}. Write it again with `numpy.savez`.")


def _array(entry: zipfile.ZipInfo, data: bytes) -> np.ndarray:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject:
        raise InputError(f"{entry.filename!r} holds pickled Python objects, which are never run; save plain arrays.")
    if dtype.kind not in "biufc":
        raise InputError(f"{entry.filename!r} holds {dtype}, not numbers; leave it out of the file.")
    count = 1
    for length in shape:
        count *= length
    if min(shape, default=0) < 0 or count * dtype.itemsize != len(data) - stream.tell():
        raise InputError(f"{entry.filename!r} declares shape {shape}, but its bytes do not fit that. Write it again.")
    return np.frombuffer(data, dtype, count, stream.tell()).reshape(shape, order="F" if fortran else "C")
