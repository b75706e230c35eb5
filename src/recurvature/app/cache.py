"""The persistent compilation cache: a private folder of the user's, so that a second start need not compile again."""

import os
import stat
from pathlib import Path

from recurvature._errors import InputError


def cache_folder() -> Path:
    """Where compiled programs are kept: `$XDG_CACHE_HOME/recurvature/xla`, by default below `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # the standard asks for an absolute path and says to ignore any other
    root = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return root / "recurvature" / "xla"


def private_folder(folder: Path) -> Path:
    """`folder`, made if need be with mode 0700; raise where others could put programs into it.

    What lies in the cache is machine code that will be run, so a folder that somebody else owns or may write to is
    refused, and so is a link.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.lstat()
    except OSError as error:
        raise InputError(f"compilation cache {folder} cannot be made ({error.strerror}).") from error
    if not stat.S_ISDIR(info.st_mode):
        raise InputError(f"compilation cache {folder} is a link, not a folder of its own.")
    if hasattr(os, "getuid") and info.st_uid != os.getuid():
        raise InputError(f"compilation cache {folder} belongs to another user.")
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InputError(f"compilation cache {folder} can be written by others; make it private: chmod 700 {folder}.")
    return folder


def use_cache() -> Path | None:
    """Switch the cache on for this process; without a safe folder say why on standard error and go on without."""
    from recurvature.app.terminal import say

    try:
        folder = private_folder(cache_folder())
    except InputError as error:
        say(f"warning: {error} Going on without it.")
        return None
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder
