"""Writing so that nothing is lost: to a temporary name beside the target, synced, then renamed over it."""

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from recurvature._errors import InputError

_CURES = {
    errno.ENOSPC: "Free some space, or choose another folder; nothing that was there has changed.",
    errno.EDQUOT: "Free some space, or choose another folder; nothing that was there has changed.",
    errno.EFBIG: "The file would be larger than this system allows; choose another folder.",
    errno.EACCES: "Choose a folder that you may write to.",
    errno.EPERM: "Choose a folder that you may write to.",
    errno.EROFS: "Choose a folder that you may write to.",
    errno.ENOTDIR: "A part of the path is a file, not a folder; choose another path.",
}


def check_absent(path: Path, *, overwrite: bool) -> None:
    """Raise if something is at `path` that may not be replaced."""
    if not overwrite and os.path.lexists(path):
        raise InputError(f"{path} exists already; pass overwrite=True (--force) to replace it, or choose another name.")


@contextlib.contextmanager
def atomic(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary name beside `path`: write a file or a folder there, and it becomes `path` when the block ends.

    Until then `path` is as it was, also if the process is killed. Missing parent folders are made. Raises
    `InputError` where `path` exists without `overwrite`, or the system cannot write.
    """
    check_absent(path, overwrite=overwrite)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        check_absent(path, overwrite=overwrite)
        _replace(temporary, path)
        _sync_entry(path.parent)
    except OSError as error:
        cure = _CURES.get(error.errno or 0, "Choose another path.")
        raise InputError(f"cannot write {path}: {error.strerror or error}. {cure}") from error
    finally:
        _remove(temporary)


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write `data` to `path` in one step that either happens or does not."""
    with atomic(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)


def _replace(temporary: Path, path: Path) -> None:
    """Rename; a folder in the way steps aside first, and comes back if the rename fails."""
    if not path.is_dir() or path.is_symlink():
        os.replace(temporary, path)
        return
    aside = temporary.with_suffix(".old")
    os.rename(path, aside)
    try:
        os.rename(temporary, path)
    except OSError:
        os.rename(aside, path)
        raise
    _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        # a temporary file that the system does not let go of is no reason to hide the first error
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Ask the system to have `path`, or everything under it, on the disk."""
    if path.is_dir():
        for inner in path.iterdir():
            _sync(inner)
    _sync_entry(path)


def _sync_entry(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
