"""The output folder: claimed before any work, filled beside itself, and put in place whole or not at all."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from recurvature._errors import InputError

ENOUGH_BYTES = 32 * 2**20
"""Free space below which work that ends in files is not begun."""


@contextlib.contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """Turn what the system says about `path`, or about a temporary file in it, into one clear line."""
    try:
        yield
    except (OSError, InputError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        raise InputError(f"cannot write to {path}: {cause.strerror or cause}.{_cure(cause)}") from cause


def _cure(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return " Free some space, or name a folder on another disk with --out."
    return " Name another place with --out."


class Output:
    """A folder into which a command puts a fixed set of names, all of them or none."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._scratch: Path | None = None

    def write(self, name: str, writer: Callable[[Path], object]) -> None:
        """Call `writer(path)` with the place where the file called `name` waits until all is done."""
        with readable_errors(self.folder):
            if self._scratch is None:
                self._scratch = _scratch_in(self.folder)
                (self._scratch / "new").mkdir()
                (self._scratch / "old").mkdir()
            writer(self._scratch / "new" / name)

    def publish(self) -> None:
        """Move what was written into the folder; what it replaces goes when the scratch folder goes."""
        if self._scratch is None:
            return
        with readable_errors(self.folder):
            for made in sorted((self._scratch / "new").iterdir()):
                target = self.folder / made.name
                if target.exists() or target.is_symlink():
                    os.replace(target, self._scratch / "old" / made.name)
                os.replace(made, target)

    def clear(self) -> None:
        """Remove the scratch folder."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def _scratch_in(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=".recurvature-", dir=folder))


def check_vacant(paths: list[Path], *, force: bool) -> None:
    """Raise where one of `paths` is already there, unless it may be replaced."""
    for path in paths:
        if not force and (path.exists() or path.is_symlink()):
            raise InputError(f"{path} exists already. Pass --force to replace it, or another --out.")


@contextlib.contextmanager
def claim(folder: Path, names: list[str], *, force: bool) -> Iterator[Output]:
    """Claim `folder` for the files called `names`; what goes through `Output.write` appears there at the end.

    Fails before any work is done if one of the names exists (unless `force`), the folder cannot be written to, or its
    disk is full. Other files in the folder are left alone. If the work fails, nothing of it stays.
    """
    check_vacant([folder / name for name in names], force=force)
    made: list[Path] = []
    output = Output(folder)
    try:
        with readable_errors(folder):
            made = _make(folder)
            # made and removed at once: a process that is killed later leaves nothing behind
            _scratch_in(folder).rmdir()
            if shutil.disk_usage(folder).free < ENOUGH_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield output
        output.publish()
        made = []
    finally:
        output.clear()
        _unmake(made)


def _make(folder: Path) -> list[Path]:
    """Make `folder` and what is missing above it; the folders made, innermost first."""
    missing = [p for p in (folder, *folder.parents) if not p.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _unmake(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):  # somebody else has put something there: leave it
            folder.rmdir()
