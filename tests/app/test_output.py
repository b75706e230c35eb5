"""The output folder appears whole or not at all, and nothing of anybody else's is touched."""

from pathlib import Path

import pytest

from recurvature._errors import InputError
from recurvature.app.output import claim

NAMES = ["a.json", "b.zarr"]


def fill(folder: Path, text: str, *, force: bool = False) -> None:
    with claim(folder, NAMES, force=force) as output:
        output.write("a.json", lambda path: path.write_text(text))
        output.write("b.zarr", lambda path: path.mkdir())
        output.write("b.zarr", lambda path: (path / "x").write_text(text))
        assert not (folder / "a.json").exists() or force


def listing(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_everything_appears_at_the_end(tmp_path: Path) -> None:
    fill(tmp_path / "deep/run", "1")
    assert listing(tmp_path / "deep/run") == NAMES
    assert (tmp_path / "deep/run/b.zarr/x").read_text() == "1"


def test_what_exists_is_kept_unless_forced_and_neighbours_always(tmp_path: Path) -> None:
    fill(tmp_path, "1")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="--force"):
        fill(tmp_path, "2")
    assert (tmp_path / "a.json").read_text() == "1"
    fill(tmp_path, "3", force=True)
    assert (tmp_path / "b.zarr/x").read_text() == "3"
    assert listing(tmp_path) == [*NAMES, "notes.txt"]


def test_work_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    fill(tmp_path / "run", "1")

    def work() -> None:
        with claim(tmp_path / "run", NAMES, force=True) as output:
            output.write("a.json", lambda path: path.write_text("2"))
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        work()
    assert (tmp_path / "run/a.json").read_text() == "1"
    assert listing(tmp_path / "run") == NAMES


def test_work_that_fails_leaves_no_folder_that_it_made(tmp_path: Path) -> None:
    def work() -> None:
        with claim(tmp_path / "new/deep", NAMES, force=False):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert listing(tmp_path) == []


def test_a_link_in_the_way_counts_as_output(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="exists already"):
        fill(tmp_path, "1")


def test_what_the_system_says_of_other_files_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    def work() -> None:
        with claim(tmp_path / "run", NAMES, force=False):
            (tmp_path / "absent").read_text()

    with pytest.raises(FileNotFoundError):
        work()
