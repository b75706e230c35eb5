"""Save and load: networks as `.safetensors`, results as `.zarr` folders or `.nc` files, found again by class name."""

import importlib
import importlib.util
import inspect
import io
import json
import math
import pkgutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recurvature._errors import InputError, did_you_mean
from recurvature._result import AbstractResult
from recurvature.io.atomic import atomic, check_absent, write_bytes
from recurvature.io.opening import decoding, one_line, read_bytes
from recurvature.io.specs import json_table
from recurvature.io.weights import load_network, save_network
from recurvature.systems.base import Network

ENDINGS = (".safetensors", ".zarr", ".nc")
_ROOMS = ("systems", "tasks", "training", "dynamics", "measures", "lenses", "identities")
_MOST_PER_STORED_BYTE, _FREE = 64, 1 << 20


def save(
    obj: Network | AbstractResult,
    path: str | Path,
    *,
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Save a network (`.safetensors`) or a result (`.zarr`; `.nc` for sharing), in one step that happens or does not.

    `provenance` is a JSON table that travels with it. Raises `InputError` on an ending that does not fit, on an
    existing file without `overwrite`, and where the system cannot write.
    """
    path = Path(path)
    if isinstance(obj, Network):
        _check_ending(path, (".safetensors",), "a network")
        save_network(obj, path, overwrite=overwrite, provenance=provenance)
    elif isinstance(obj, AbstractResult):
        _check_ending(path, (".zarr", ".nc"), "a result")
        _save_result(obj, path, overwrite=overwrite, provenance=provenance)
    else:
        raise InputError(
            f"`obj` is a {type(obj).__name__}; only networks and results are saved (of a fit, `.network`)."
        )


def load(path: str | Path) -> Network | AbstractResult:
    """What `save` wrote: a network, or a result of the class it had (with NumPy arrays).

    Raises `InputError` where the file is missing, damaged, or of an unknown kind.
    """
    path = Path(path)
    _check_ending(path, ENDINGS, "what is loaded")
    return load_network(path) if path.suffix == ".safetensors" else _load_result(path)


def _check_ending(path: Path, endings: tuple[str, ...], what: str) -> None:
    if path.suffix not in endings:
        hint = " Use `recurvature.io.read_network` for foreign files." if "loaded" in what else ""
        raise InputError(f"{what} needs the ending {' or '.join(endings)}; got {path.name!r}.{hint}")


def _save_result(result: AbstractResult, path: Path, *, overwrite: bool, provenance: Mapping[str, Any] | None) -> None:
    check_absent(path, overwrite=overwrite)
    dataset = result.to_xarray()
    dataset.attrs["provenance"] = json.dumps(json_table("provenance", provenance or {}))
    dataset.attrs["dtypes"] = json.dumps({str(name): str(v.dtype) for name, v in dataset.variables.items()})
    if path.suffix == ".nc":
        write_bytes(path, _netcdf(dataset, path), overwrite=overwrite)
        return
    import zarr.codecs

    with atomic(path, overwrite=overwrite) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zarr warns of what its next version may do
        # uncompressed and with every chunk there, so that what a folder declares can be held against what it holds;
        # a checksum on every chunk, so that damage is noticed
        encoding = {str(name): {"compressors": [zarr.codecs.Crc32cCodec()]} for name in dataset.variables}
        dataset.to_zarr(temporary, mode="w", consolidated=False, encoding=encoding, write_empty_chunks=True)


def _netcdf(dataset: Any, path: Path) -> bytes:
    try:
        return bytes(dataset.to_netcdf(engine=_engine()))
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path.name} cannot hold this result ({one_line(error)}); save it as .zarr.") from error


def _engine() -> str:
    return "h5netcdf" if importlib.util.find_spec("h5netcdf") else "scipy"


def _load_result(path: Path) -> AbstractResult:
    dataset = _read_netcdf(path) if path.suffix == ".nc" else _read_zarr(path)
    with decoding(path, "a result of Recurvature"):
        for name, dtype in json.loads(dataset.attrs.get("dtypes", "{}")).items():
            dataset[name] = dataset[name].astype(np.dtype(dtype), casting="same_kind" if dtype != "bool" else "unsafe")
        return result_class(dataset.attrs.get("result"), path).from_xarray(dataset)


def _read_zarr(path: Path) -> Any:
    import xarray as xr

    if not path.is_dir():
        raise InputError(f"{path} is not a .zarr folder." if path.exists() else f"there is no folder {path}.")
    with decoding(path, "a .zarr folder"), xr.open_zarr(path, consolidated=False, chunks=None) as dataset:
        stored = sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
        _check_size(dataset, stored, path)
        loaded = dataset.load()
        for name, variable in loaded.variables.items():
            chunks = variable.encoding["chunks"] if variable.ndim else ()
            expected = math.prod(-(-n // c) for n, c in zip(variable.shape, chunks, strict=True))
            found = sum(f.is_file() and f.name != "zarr.json" for f in (path / str(name)).rglob("*"))
            # a chunk that is not there would read as zeros
            if found != expected:
                raise InputError(f"{path}: {name!r} has {found} of {expected} pieces. Write or copy it again.")
        return loaded


def _read_netcdf(path: Path) -> Any:
    import xarray as xr

    data = read_bytes(path)
    engine = "scipy" if data.startswith(b"CDF") else "h5netcdf"
    if engine == "h5netcdf" and not importlib.util.find_spec(engine):
        raise InputError(f"{path} is no netCDF 3 file; if it is netCDF 4, `pip install h5netcdf` to read it.")
    with decoding(path, "a netCDF file"), xr.open_dataset(io.BytesIO(data), engine=engine) as dataset:
        _check_size(dataset, len(data), path)
        return dataset.load()


def _check_size(dataset: Any, stored: int, path: Path) -> None:
    if dataset.nbytes > _MOST_PER_STORED_BYTE * stored + _FREE:
        raise InputError(
            f"{path} declares {dataset.nbytes} bytes of values but holds {stored}. Write or copy it again."
        )


def result_class(name: Any, path: Path) -> type[AbstractResult]:
    """The result class called `name`. Raises `InputError` where none or several have that name."""
    if not isinstance(name, str):
        raise InputError(f"{path} holds data, but no result that Recurvature wrote.")
    found = [c for c in _results() if c.__qualname__ == name]
    if not found:
        _import_rooms()
        found = [c for c in _results() if c.__qualname__ == name]
    if not found:
        names = [c.__qualname__ for c in _results()]
        raise InputError(
            f"{path} holds an unknown result {name!r}; import the module that has it.{did_you_mean(name, names)}"
        )
    if len({c.__module__ for c in found}) > 1:
        raise InputError(f"{path}: several results are called {name!r}: {', '.join(c.__module__ for c in found)}.")
    return found[-1]


def _results(cls: type[AbstractResult] = AbstractResult) -> list[type[AbstractResult]]:
    return [c for sub in cls.__subclasses__() for c in ([] if inspect.isabstract(sub) else [sub]) + _results(sub)]


def _import_rooms() -> None:
    """Import every module that may define results, so that their classes are known."""
    for room in _ROOMS:
        name = f"recurvature.{room}"
        if importlib.util.find_spec(name) is None:
            continue
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(module.name)
