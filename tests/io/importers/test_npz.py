"""Arrays in `.npz` files: no pickles, no bombs, no sizes that are not there."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recurvature.io.importers.npz import read_npz


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_as_they_were(tmp_path: Path, save: Callable[..., None]) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {
        "c": rng.standard_normal((3, 4)),
        "fortran": np.asfortranarray(rng.standard_normal((3, 4))),
        "half": np.ones(2, np.float16),
        "scalar": np.asarray(2.5),
        "big_endian": np.arange(3, dtype=">f4"),
        "whole": np.arange(3),
    }
    save(tmp_path / "a.npz", **arrays)
    read = read_npz(tmp_path / "a.npz")
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_pickled_objects_are_refused_and_not_run(tmp_path: Path, refused: Callable) -> None:
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return ran.touch, ()

    np.savez(tmp_path / "a.npz", W=np.asarray([Trap()], dtype=object), allow_pickle=True)
    with refused("holds pickled Python objects, which are never run"):
        read_npz(tmp_path / "a.npz")
    assert not ran.exists()


def test_text_is_refused(tmp_path: Path, refused: Callable) -> None:
    np.savez(tmp_path / "a.npz", name=np.asarray(["tanh"]))
    with refused("holds <U4, not numbers"):
        read_npz(tmp_path / "a.npz")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, refused: Callable) -> None:
    np.savez_compressed(tmp_path / "a.npz", W=np.zeros(10_000_000))
    with refused("would unpack to 80000128. Write it again with `numpy.savez`"):
        read_npz(tmp_path / "a.npz")


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def written(path: Path, members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("shape", [b"(9, )", b"(-3,)", b"(99999999999999,)", b"(3, 3)", b"(0,)"])
def test_a_shape_that_its_bytes_do_not_have_is_refused(tmp_path: Path, shape: bytes, refused: Callable) -> None:
    content = npy(np.ones(3))
    place = content.index(b"(3,)")
    end = content.index(b"\n")
    header = (content[10:place] + shape + content[place + 4 : end].rstrip()).ljust(end - 10)
    path = written(tmp_path / "a.npz", [("W.npy", content[:10] + header[: end - 10] + content[end:])])
    with refused("W"):
        read_npz(path)


def test_archives_of_other_things_are_refused(tmp_path: Path, refused: Callable) -> None:
    path = tmp_path / "a.npz"
    with refused("holds a zip archive, not .npz"):
        read_npz(written(path, [("readme.txt", b"x")]))
    with refused("holds a PyTorch file, not .npz"):
        read_npz(written(path, [("archive/data.pkl", b"x")]))
    with refused("holds a zip archive"):
        read_npz(written(path, []))
    with refused("is compressed in a way that is not read here"):
        read_npz(written(path, [("W.npy", npy(np.ones(3)))], zipfile.ZIP_LZMA))
    with pytest.warns(UserWarning, match="Duplicate name"):
        written(path, [("W.npy", npy(np.ones(3))), ("W.npy", npy(np.ones(3)))])
    with refused("two entries of one name"):
        read_npz(path)


def test_every_truncation_is_refused(tmp_path: Path, refused: Callable) -> None:
    np.savez(tmp_path / "a.npz", W=np.ones(3))
    data = (tmp_path / "a.npz").read_bytes()
    for length in range(len(data)):
        (tmp_path / "a.npz").write_bytes(data[:length])
        with refused("a.npz"):
            read_npz(tmp_path / "a.npz")
