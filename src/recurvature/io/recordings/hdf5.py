"""Arrays of an HDF5 file (`.h5`, MATLAB 7.3): nothing outside the file is opened, and no more read than it can hold."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recurvature._errors import InputError
from recurvature.io.opening import check_names, decoding
from recurvature.io.recordings.tables import FREE, MOST_PER_BYTE, Table

MOST_OBJECTS = 10_000
FILTERS, COMPRESSORS = {1, 2, 3, 32000}, {1, 32000}
"""Filters that h5py brings itself: deflate, shuffle, checksum, LZF. Others would load a library of the system."""
NUMERIC = {"double", "single", "logical", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))}
"""Classes of MATLAB that are arrays of numbers."""


@contextlib.contextmanager
def hdf5_tables(path: Path) -> Iterator[dict[str, Table]]:
    """The arrays of numbers of an HDF5 file by their path in it; those of MATLAB with their axes as in MATLAB."""
    with opened(path) as file:
        size = path.stat().st_size
        with decoding(path, "an HDF5 file"):
            found = dict(_datasets(path, file))
            check_names(path, found)
            spent: dict[str, int] = {}
            tables = {n: _table(path, n, dataset, size, spent) for n, dataset in found.items() if _is_numeric(dataset)}
        yield tables


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An HDF5 file, read only, after a look that no part of it lies outside."""
    import h5py

    with decoding(path, "an HDF5 file"):
        file = h5py.File(path, "r", locking=False)
    with file:
        yield file


def check_inside(path: Path) -> None:
    """Raise where an HDF5 file points to other files or asks for foreign filters: for readers that follow pointers."""
    with opened(path) as file, decoding(path, "an HDF5 file"):
        for name, dataset in _datasets(path, file):
            _check_storage(path, name, dataset)
            if (dataset.size or 0) * dataset.dtype.itemsize > MOST_PER_BYTE * path.stat().st_size + FREE:
                raise InputError(f"{path}: {name!r} would unpack to more than {MOST_PER_BYTE} times the file.")


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


def _check_storage(path: Path, name: str, dataset: Any) -> None:
    """Raise where the numbers of a dataset lie in other files or behind a foreign filter."""
    import h5py

    plan = dataset.id.get_create_plist()
    if plan.get_external_count() or plan.get_layout() == h5py.h5d.VIRTUAL:
        raise InputError(f"{path}: the numbers of {name!r} lie in another file, which is not opened. Save them here.")
    filters = [plan.get_filter(k)[0] for k in range(plan.get_nfilters())]
    # what is compressed twice unpacks to a million times its size before anyone can look
    if set(filters) - FILTERS or sum(f in COMPRESSORS for f in filters) > 1:
        raise InputError(f"{path}: {name!r} is compressed in a way that is not read here. Save it with gzip.")


def _table(path: Path, name: str, dataset: Any, size: int, spent: dict[str, int]) -> Table:
    """An array that is read when asked for; `spent` counts the bytes of all that were."""
    shape = dataset.shape[::-1] if "MATLAB_class" in dataset.attrs else dataset.shape

    def read() -> Any:
        with decoding(path, "an HDF5 file"):
            _check_storage(path, name, dataset)
            piece = dataset.dtype.itemsize
            for side in dataset.chunks or ():
                piece *= side
            spent[name] = max(dataset.size * dataset.dtype.itemsize, piece)
            if sum(spent.values()) > MOST_PER_BYTE * size + FREE:
                raise InputError(f"{path}: {name!r} would unpack to more than {MOST_PER_BYTE} times the file.")
            array = dataset[()]
            return array.T if "MATLAB_class" in dataset.attrs else array

    units, period = (_attribute(dataset, each) for each in ("units", "period"))
    known = isinstance(period, float | int) and 0 < float(period) < float("inf")
    text = units if isinstance(units, str) and units.isprintable() else ""
    return Table(tuple(shape), read, text[:40], float(period) if known else None)
