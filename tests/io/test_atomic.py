"""What is at a path stays until what replaces it is whole."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recurvature.io.atomic import atomic, write_bytes


def test_a_file_appears_with_its_contents_and_its_folders(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a/b/file", b"content")
    assert (tmp_path / "a/b/file").read_bytes() == b"content"
    assert [p.name for p in (tmp_path / "a/b").iterdir()] == ["file"]


def test_nothing_is_overwritten_unless_told(tmp_path: Path, refused: Callable) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"first")
    with refused("exists already; pass overwrite=True"):
        write_bytes(path, b"second")
    assert path.read_bytes() == b"first"
    write_bytes(path, b"second", overwrite=True)
    assert path.read_bytes() == b"second"


def test_a_dangling_link_counts_as_existing(tmp_path: Path, refused: Callable) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with refused("exists already"):
        write_bytes(tmp_path / "link", b"x")


def test_what_appears_while_writing_is_not_overwritten(tmp_path: Path, refused: Callable) -> None:
    with refused("exists already"), atomic(tmp_path / "file") as temporary:
        temporary.write_bytes(b"mine")
        (tmp_path / "file").write_bytes(b"theirs")
    assert (tmp_path / "file").read_bytes() == b"theirs"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failure_midway_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half() -> None:
        with atomic(path, overwrite=True) as temporary:
            temporary.write_bytes(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_folders_replace_folders_whole(tmp_path: Path) -> None:
    for names in (("a", "b"), ("c",)):
        with atomic(tmp_path / "folder", overwrite=True) as temporary:
            temporary.mkdir()
            for name in names:
                (temporary / name).write_bytes(b"")
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["c"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_folder_comes_back_when_the_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/old").write_bytes(b"")
    rename = os.rename

    def fail_on_the_new(source: Path, target: Path) -> None:
        if str(source).endswith(".tmp"):
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_on_the_new)
    with refused("Input/output error"), atomic(tmp_path / "folder", overwrite=True) as temporary:
        temporary.mkdir()
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize(
    ("number", "cure"),
    [(errno.ENOSPC, "Free some space"), (errno.EACCES, "may write to"), (errno.EROFS, "may write to")],
)
def test_a_full_disk_and_a_forbidden_folder_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable, number: int, cure: str
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with refused(cure):
        write_bytes(tmp_path / "file", b"new", overwrite=True)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_in_the_place_of_a_folder_is_one_line(tmp_path: Path, refused: Callable) -> None:
    (tmp_path / "file").write_bytes(b"")
    with refused("cannot write"):
        write_bytes(tmp_path / "file/inner", b"x")


LIMITED = """
import resource, sys
from pathlib import Path
from recurvature._errors import InputError
from recurvature.io.atomic import write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(Path(sys.argv[1]), bytes(5000), overwrite=True)
except InputError as error:
    print(error)
"""


def test_a_write_that_the_system_cuts_short_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write {path}: File too large.")
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from recurvature.io import atomic
def die(temporary, path):
    os.kill(os.getpid(), signal.SIGKILL)
atomic._replace = die
atomic.write_bytes(Path(sys.argv[1]), b"new", overwrite=True)
"""


def test_a_process_killed_before_the_rename_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -9
    assert path.read_bytes() == b"old"
