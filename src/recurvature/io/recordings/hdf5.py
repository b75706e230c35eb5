"""Arrays of an HDF5 file (`.h5`, MATLAB 7.3): nothing outside the file is opened, and no more read than it can hold."""

import contextlib
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recurvature._errors import InputError
from recurvature.io.opening import check_names, decoding
from recurvature.io.recordings.tables import Allowance, Table

MOST_OBJECTS = 10_000
FILTERS, COMPRESSORS = {1, 2, 3, 32000}, {1, 32000}
"""Filters that h5py brings itself: deflate, shuffle, checksum, LZF. Others would load a library of the system."""
DEFLATE, INFLATION, CHECKSUM = 1, 1032, 4
"""A byte of a deflated stream grows to 1032 at most; a checksum has four bytes."""
NUMERIC = {"double", "single", "logical", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))}
"""Classes of MATLAB that are arrays of numbers."""


@contextlib.contextmanager
def hdf5_tables(path: Path, allowed: Allowance) -> Iterator[dict[str, Table]]:
    """The arrays of numbers of an HDF5 file by their path in it; those of MATLAB with their axes as in MATLAB."""
    with opened(path) as file:
        with decoding(path, "an HDF5 file"):
            found = dict(_datasets(path, file))
            check_names(path, found)
            spent: dict[str, int] = {}
            tables = {n: _table(n, each, allowed, spent) for n, each in found.items() if _is_numeric(each)}
        yield tables


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An HDF5 file, read only, after a look that no part of it lies outside."""
    import h5py

    with decoding(path, "an HDF5 file"):
        file = h5py.File(path, "r", locking=False)
    with file:
        yield file


def check_inside(path: Path, allowed: Allowance) -> None:
    """Raise where an HDF5 file points to other files, asks for foreign filters, or would unpack to more than allowed.

    For readers that follow pointers and unpack by themselves.
    """
    with opened(path) as file, decoding(path, "an HDF5 file"):
        for name, dataset in _datasets(path, file):
            _check_storage(name, dataset, allowed)
            allowed.check(repr(name), _bytes(dataset))


def _datasets(path: Path, file: Any) -> Iterator[tuple[str, Any]]:
    """Every dataset by its path; soft links are not followed, links to other files refused, and cycles end."""
    import h5py

    seen, waiting, count = set(), [("", file)], 0
    while waiting:
        prefix, group = waiting.pop()
        for name in group:
            count += 1
            if count > MOST_OBJECTS:
                raise InputError(f"{path} holds more than {MOST_OBJECTS} objects. Save the arrays that matter alone.")
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise InputError(f"{path}: {name!r} is a link to another file, which is not followed. Save the arrays.")
            if not isinstance(link, h5py.HardLink) or name.startswith("#"):
                continue
            item, place = group[name], f"{prefix}/{name}".lstrip("/")
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                waiting.append((place, item))
            elif isinstance(item, h5py.Dataset):
                yield place, item


def _attribute(dataset: Any, name: str) -> Any:
    """A single value beside a dataset; rows of text may all point to one long text, and are not read."""
    return dataset.attrs[name] if name in dataset.attrs and dataset.attrs.get_id(name).shape == () else None


def _is_numeric(dataset: Any) -> bool:
    kind = _attribute(dataset, "MATLAB_class")
    named = kind.decode("ascii", "replace") if isinstance(kind, bytes) else kind
    plain = dataset.dtype.kind in "biuf" and dataset.shape is not None and "MATLAB_empty" not in dataset.attrs
    return plain and (kind is None or named in NUMERIC)


def _bytes(dataset: Any) -> int:
    """What a dataset or one piece of it unpacks to, whichever is more, as it says itself."""
    return max(dataset.size or 0, math.prod(dataset.chunks or (0,))) * dataset.dtype.itemsize


def _check_storage(name: str, dataset: Any, allowed: Allowance) -> None:
    """Raise where numbers lie in other files, behind a foreign filter, or in pieces that unpack without end."""
    import h5py

    path = allowed.path
    plan = dataset.id.get_create_plist()
    if plan.get_external_count() or plan.get_layout() == h5py.h5d.VIRTUAL:
        raise InputError(f"{path}: the numbers of {name!r} lie in another file, which is not opened. Save them here.")
    filters = [plan.get_filter(k)[0] for k in range(plan.get_nfilters())]
    # what is compressed twice unpacks to a million times its size before anyone can look
    if set(filters) - FILTERS or sum(f in COMPRESSORS for f in filters) > 1:
        raise InputError(f"{path}: {name!r} is compressed in a way that is not read here. Save it with gzip.")

    if DEFLATE in filters:
        _check_pieces(name, dataset, allowed, filters.index(DEFLATE))


def _check_pieces(name: str, dataset: Any, allowed: Allowance, place: int) -> None:
    """Raise where a piece unpacks to more than it may hold: the library would follow it to its end.

    Pieces so small that they cannot pass the limit are not looked at.
    """
    held = math.prod(dataset.chunks) * dataset.dtype.itemsize + CHECKSUM
    large: list[Any] = []
    dataset.id.chunk_iter(lambda piece: large.append(piece) if piece.size * INFLATION > allowed.most else None)
    for piece in large:
        if piece.filter_mask >> place & 1:
            continue
        packed = dataset.id.read_direct_chunk(piece.chunk_offset)[1] if piece.size <= allowed.size else b""
        if not packed or len(zlib.decompressobj().decompress(packed, held + 1)) > held:
            raise InputError(f"{allowed.path}: a piece of {name!r} unpacks to more than it may hold. Write it again.")


def _table(name: str, dataset: Any, allowed: Allowance, spent: dict[str, int]) -> Table:
    """An array that is read when asked for; `spent` counts the bytes of all that were."""
    shape = dataset.shape[::-1] if "MATLAB_class" in dataset.attrs else dataset.shape

    def read() -> Any:
        with decoding(allowed.path, "an HDF5 file"):
            spent[name] = _bytes(dataset)
            allowed.check(repr(name), sum(spent.values()))
            _check_storage(name, dataset, allowed)
            array = dataset[()]
            return array.T if "MATLAB_class" in dataset.attrs else array

    units, period = (_attribute(dataset, each) for each in ("units", "period"))
    known = isinstance(period, float | int) and 0 < float(period) < float("inf")
    text = units if isinstance(units, str) and units.isprintable() else ""
    return Table(tuple(shape), read, text[:40], float(period) if known else None)
