"""Reading what others wrote: bytes of a plain file, and decoders whose every failure becomes one clear line."""

import contextlib
import errno
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from recurvature._errors import InputError, did_you_mean

SIGNATURES = {
    b"PK\x03\x04": "a zip archive (.npz or .pt)",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"MATLAB 5.0": "a MATLAB file",
    b"\x93NUMPY": "a single NumPy array (.npy)",
    b"CDF": "a netCDF file",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
}


def content(data: bytes) -> str:
    """What a file seems to be from its first bytes, whatever it is called."""
    for signature, kind in SIGNATURES.items():
        if data.startswith(signature):
            return kind
    if data[8:10] == b'{"' and int.from_bytes(data[:8], "little") < len(data):
        return "a .safetensors file"
    return "none of the formats that are read here"


def read_bytes(path: Path) -> bytes:
    """The bytes of a plain file. Raises `InputError` where there is none, it is empty, or it cannot be read."""
    if "\0" in str(path):
        raise InputError(f"{str(path)!r} is no path: no name holds a zero.")
    try:
        if not path.is_file():
            raise InputError(_absent(path))
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from error
    if not data:
        raise InputError(f"{path} is empty; write or copy it again.")
    return data


def _absent(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder, not a file."
    if path.exists():
        return f"{path} is not a plain file."
    folder = path.parent
    names = [p.name for p in folder.iterdir() if p.is_file()][:1000] if folder.is_dir() else []
    near = did_you_mean(path.name, names) if names else ""
    return f"there is no file {path}." + (near if near.startswith(" Did") else "")


@contextlib.contextmanager
def decoding(path: Path, kind: str, cure: str = "Write or copy it again.") -> Iterator[None]:
    """Turn whatever a decoder of foreign bytes raises into one `InputError`; what it warns of is not the user's.

    Decoders meet bytes that nobody foresaw, so every kind of exception is an answer to "can this be read".
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EIO, errno.EACCES):
            raise InputError(f"cannot read {path}: {error.strerror}.") from error
        raise InputError(f"{path} is not {kind} that can be read: {one_line(error)}. {cure}") from error
    except Exception as error:
        raise InputError(f"{path} is not {kind} that can be read: {one_line(error)}. {cure}") from error


def check_names(path: Path, names: Iterable[str]) -> None:
    """Raise unless every name of a tensor can be shown in a message: printable and of at most 200 characters."""
    for name in names:
        if not name.isprintable() or len(name) > 200:
            raise InputError(f"{path}: {name[:40]!r}… is no name for a tensor. Write the file again.")


def one_line(error: BaseException, limit: int = 160) -> str:
    """The message of an exception on one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = "".join(c if c.isprintable() else "?" for c in text)
    return (text if len(text) <= limit else text[: limit - 1] + "…").rstrip(".")
