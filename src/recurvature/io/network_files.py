"""Bring your own: any file with the weights of a network, read without running anything in it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydantic

from recurvature._errors import InputError
from recurvature.io.importers.npz import read_npz
from recurvature.io.importers.torch import read_state_dict
from recurvature.io.layouts.choose import interpret
from recurvature.io.layouts.ledger import ImportOptions, Reading, TensorReading
from recurvature.io.specs import Spec, parse, toml_table
from recurvature.io.tensors import HEADER, read_safetensors
from recurvature.io.weights import read_network_file
from recurvature.systems.base import Network


@dataclasses.dataclass(frozen=True)
class Imported:
    """A network, how its file was understood, and what an equivalence certificate starts from."""

    network: Network
    reading: Reading
    roles: dict[str, np.ndarray]
    """The tensors that were used, by role, as they were in the file."""
    read_as: Callable[[str], Network] | None
    """The network read again in a number type; None for a file of this library."""


class MappingFile(Spec):
    """A TOML file that says what the tensors of another file are: `[mapping]` role = name, and `[options]`."""

    mapping: dict[str, str] = pydantic.Field(default_factory=dict)
    options: ImportOptions = ImportOptions()


def read_network(
    path: str | Path,
    *,
    layout: str | None = None,
    mapping: Mapping[str, str] | str | Path | None = None,
    options: Mapping[str, Any] | ImportOptions | None = None,
) -> Imported:
    """The network in a `.safetensors`, `.npz`, `.pt` or `.pth` file, ours or anybody's.

    `layout` (`torch`, `low-rank`, `plain`) is recognised from the names unless given. `mapping` gives tensor names by
    role, as a table or a TOML file; `options` are those of `ImportOptions`. Nothing in the file is run, and memory is
    bounded by a multiple of its size. Raises `InputError` with one clear line on whatever cannot be used.
    """
    path = Path(path)
    table, chosen = _mapping(mapping, options)
    if path.suffix == ".safetensors":
        tensors, metadata = read_safetensors(path)
        if HEADER in metadata:
            return _own(path)
        notes: list[str] = []
    elif path.suffix in _READERS:
        tensors, notes = _READERS[path.suffix](path)
    else:
        endings = ", ".join([".safetensors", *_READERS])
        raise InputError(f"{path.name!r} has no ending that is read here ({endings}); save the weights as one of them.")
    read = functools.partial(
        interpret, tensors, str(path), layout=layout, mapping=table, options=chosen, notes=tuple(notes)
    )
    network, reading, roles = read()
    return Imported(network, reading, roles, lambda dtype: read(dtype=dtype)[0])


def _npz(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    return read_npz(path), []


_READERS: dict[str, Callable[[Path], tuple[dict[str, np.ndarray], list[str]]]] = {
    ".npz": _npz,
    ".pt": read_state_dict,
    ".pth": read_state_dict,
}


def _mapping(
    mapping: Mapping[str, str] | str | Path | None, options: Mapping[str, Any] | ImportOptions | None
) -> tuple[Mapping[str, str] | None, ImportOptions]:
    given = ImportOptions()
    if isinstance(mapping, str | Path):
        table = toml_table(mapping)
        loose = [name for name, value in table.items() if isinstance(value, str)]
        if loose:
            raise InputError(f"{mapping}: {loose[0]!r} belongs below a line `[mapping]`.")
        file = parse(MappingFile, table, str(mapping))
        mapping, given = file.mapping or None, file.options
    if isinstance(options, ImportOptions):
        return mapping, options
    stated = {name: getattr(given, name) for name in given.model_fields_set}
    return mapping, parse(ImportOptions, stated | dict(options or {}), "options")


def _own(path: Path) -> Imported:
    network, header, tensors = read_network_file(path)
    entries = tuple(TensorReading(n, tuple(a.shape), str(a.dtype), n) for n, a in sorted(tensors.items()))
    notes = tuple(f"{key}: {value}" for key, value in header.provenance.items())
    return Imported(network, Reading(str(path), "recurvature", entries, {}, notes, ()), {}, None)
