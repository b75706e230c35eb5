"""Files that are not what they seem: one clear line each."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from recurvature import io
from recurvature._errors import InputError
from recurvature.io.opening import check_names, content, decoding, one_line, read_bytes


def test_a_missing_file_is_named_with_its_nearest_neighbour(tmp_path: Path, refused: Callable) -> None:
    (tmp_path / "network.npz").write_bytes(b"x")
    with refused("Did you mean 'network.npz'?"):
        read_bytes(tmp_path / "netwrok.npz")
    with pytest.raises(InputError, match=f"^there is no file {tmp_path}/other/x.npz.$"):
        read_bytes(tmp_path / "other/x.npz")


def test_folders_pipes_devices_and_empty_files_are_refused(tmp_path: Path, refused: Callable) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").write_bytes(b"")
    with refused("is a folder, not a file"):
        read_bytes(tmp_path)
    with refused("is not a plain file"):
        read_bytes(tmp_path / "pipe")
    with refused("is not a plain file"):
        read_bytes(Path("/dev/zero"))
    with refused("is empty; write or copy it again"):
        read_bytes(tmp_path / "empty")
    with refused("is no path"):
        read_bytes(Path("a\0b"))


def test_a_file_that_may_not_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable
) -> None:
    def fail(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "f").write_bytes(b"x")
    monkeypatch.setattr(Path, "read_bytes", fail)
    with refused("cannot read"):
        read_bytes(tmp_path / "f")


FORMATS = {
    ".safetensors": safetensors.numpy.save({"W_rec": np.eye(2, dtype=np.float32)}),
    ".npz": b"PK\x03\x04",
    ".mat": b"MATLAB 5.0 MAT-file",
    ".h5": b"\x89HDF\r\n\x1a\n",
    ".pkl": b"\x80\x04\x95",
    ".npy": b"\x93NUMPY\x01\x00",
    ".txt": b"weights",
}


@pytest.mark.parametrize("ending", [".safetensors", ".npz", ".pt", ".pth"])
@pytest.mark.parametrize("inside", FORMATS)
def test_a_renamed_file_is_told_by_its_contents(tmp_path: Path, ending: str, inside: str, refused: Callable) -> None:
    if ending == inside:
        return
    path = tmp_path / f"net{ending}"
    path.write_bytes(FORMATS[inside] + bytes(40))
    with refused(str(path)):
        io.read_network(path)


def test_contents_are_known_by_their_first_bytes() -> None:
    assert content(FORMATS[".safetensors"]) == "a .safetensors file"
    assert content(FORMATS[".h5"]) == "an HDF5 file"
    assert content(FORMATS[".pkl"]) == "a pickle"
    assert content(b"text") == "none of the formats that are read here"


@pytest.mark.parametrize("name", ["net.mat", "net.pkl", "net", "net.h5"])
def test_an_ending_that_is_not_read_is_refused_with_those_that_are(name: str, refused: Callable) -> None:
    with refused(".safetensors, .npz, .pt, .pth"):
        io.read_network(name)


def test_decoders_may_warn_and_fail_as_they_like(tmp_path: Path, refused: Callable) -> None:
    import warnings

    with decoding(tmp_path, "a file"):
        warnings.warn("not the user's", UserWarning, stacklevel=1)
    for error in (KeyError("a\nb"), MemoryError(), RecursionError("deep"), OSError("odd"), PermissionError(13, "no")):
        with refused(str(tmp_path)), decoding(tmp_path, "a file"):
            raise error


def test_messages_are_one_printable_line_of_bounded_length() -> None:
    text = one_line(ValueError("\x1b[31m" + "a\n" * 500))
    assert text.isprintable()
    assert len(text) <= 160
    assert one_line(ValueError()) == "ValueError"


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "x" * 201, "a\nb"])
def test_names_that_no_message_can_show_are_refused(name: str, refused: Callable) -> None:
    with refused("is no name for a tensor"):
        check_names(Path("f"), ["fine", name])
