"""Named tensors with a JSON header in one `.safetensors` file, signed so that damage is noticed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from recurvature._errors import InputError
from recurvature.io.atomic import write_bytes
from recurvature.io.opening import check_names, content, decoding, read_bytes

HEADER = "recurvature"
"""Key of the JSON header in the metadata of the file."""

_DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(jnp.bfloat16),
    "C64": np.dtype(np.complex64),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}


def read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Tensors and metadata of a file, the tensors as read-only views of its bytes.

    The library checks every declared size against the bytes that are there before anything is made of them.
    """
    data = read_bytes(path)
    found = content(data)
    if found.startswith("a ") and "safetensors" not in found:
        raise InputError(f"{path} holds {found}, not safetensors; give it the ending of what it is.")
    with decoding(path, "a .safetensors file"):
        tensors = {name: _array(name, entry) for name, entry in safetensors.deserialize(data)}
        check_names(path, tensors)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    return tensors, metadata


def _array(name: str, entry: dict[str, Any]) -> np.ndarray:
    if entry["dtype"] not in _DTYPES:
        raise InputError(f"tensor {name!r} has number type {entry['dtype']}, which is not read here; save it as F32.")
    return np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])


def write_signed(
    path: Path, tensors: Mapping[str, np.ndarray], header: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """Write tensors and a JSON header, with the SHA-256 of both in the header."""
    # copies in memory order, because the library writes the memory as it lies
    arrays = {name: np.array(array, order="C") for name, array in tensors.items()}
    pairs = sorted(name for name, array in arrays.items() if array.dtype == np.complex128)
    # the format has no complex numbers of double precision: they are stored as pairs, and the header says so
    arrays |= {name: arrays[name][..., None].view(np.float64) for name in pairs}
    document = {**header, "pairs": pairs}
    document["sha256"] = digest(arrays, document)
    text = json.dumps(document, sort_keys=True, allow_nan=False)
    write_bytes(path, safetensors.numpy.save(arrays, {HEADER: text}), overwrite=overwrite)


def read_signed(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors and the header that `write_signed` wrote. Raises `InputError` where either has changed since."""
    tensors, metadata = read_safetensors(path)
    if HEADER not in metadata:
        raise InputError(f"{path} was not written by Recurvature; read it with `recurvature.io.read_network`.")
    with decoding(path, "a file with a Recurvature header"):
        header = json.loads(metadata[HEADER], parse_constant=_refuse)
        if not isinstance(header, dict):
            raise InputError(f"{path}: the header is {type(header).__name__}, not a table. Write or copy it again.")
        signature = header.pop("sha256", None)
        if signature != digest(tensors, header):
            raise InputError(f"{path} is damaged: its contents do not match its checksum. Write or copy it again.")
        tensors |= {name: tensors[name].view(np.complex128)[..., 0] for name in header.pop("pairs")}
    return tensors, header


def digest(tensors: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> str:
    """SHA-256 of every tensor's name, type, shape and bytes, and of the header."""
    sha = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name]
        sha.update(json.dumps([name, array.dtype.name, list(array.shape)]).encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")
