"""PyTorch files: state dicts are read, whatever could run code is refused with the way out."""

import io
import pickle
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recurvature.io.importers import torch as door

torch = pytest.importorskip("torch", reason="PyTorch files are read by PyTorch, which is an optional extra")


def test_a_state_dict_comes_back_bit_for_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = torch.nn.LSTM(2, 3, num_layers=2).state_dict()
    torch.save(state, tmp_path / "a.pt")
    read, notes = door.read_state_dict(tmp_path / "a.pt")
    assert list(read) == list(state)
    assert notes == []
    for name, tensor in state.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int64", "bool"])
def test_number_types_are_kept(tmp_path: Path, dtype: str) -> None:
    values = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]).to(getattr(torch, dtype))
    torch.save({"w": values.T}, tmp_path / "a.pt")
    array = door.read_state_dict(tmp_path / "a.pt")[0]["w"]
    assert array.dtype.name == dtype
    np.testing.assert_array_equal(array.astype(float), values.T.double().numpy())


def test_parameters_that_require_gradients_are_read(tmp_path: Path) -> None:
    torch.save({"w": torch.nn.Parameter(torch.ones(2))}, tmp_path / "a.pt")
    assert door.read_state_dict(tmp_path / "a.pt")[0]["w"].tolist() == [1, 1]


@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model"])
def test_a_training_checkpoint_is_read_at_its_state_dict(tmp_path: Path, name: str) -> None:
    torch.save({"epoch": 3, name: {"w": torch.ones(2)}, "optimizer": {"lr": 0.1}}, tmp_path / "a.pt")
    read, notes = door.read_state_dict(tmp_path / "a.pt")
    assert list(read) == ["w"]
    assert notes == [f"the tensors are those under {name!r}; the rest of the file is left out"]


def test_entries_that_are_no_tensors_are_noted(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2), "epoch": 3}, tmp_path / "a.pt")
    assert door.read_state_dict(tmp_path / "a.pt")[1] == ["not a tensor, left out: epoch"]


def test_a_whole_module_is_refused_with_the_way_out(tmp_path: Path, refused: Callable) -> None:
    torch.save(torch.nn.GRU(2, 3), tmp_path / "a.pt")
    with refused("save `model.state_dict()`"):
        door.read_state_dict(tmp_path / "a.pt")


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_code_is_refused_and_not_run(tmp_path: Path, refused: Callable) -> None:
    ran = tmp_path / "ran"
    torch.save({"w": torch.ones(1), "trap": Trap(ran)}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Trap(ran)))
    with refused("holds Python objects or code"):
        door.read_state_dict(tmp_path / "a.pt")
    with refused("is a pickle (or a PyTorch file from before 1.6), which is never unpacked"):
        door.read_state_dict(tmp_path / "b.pt")
    assert not ran.exists()
    # the trap does work on whoever opens it carelessly
    pickle.loads((tmp_path / "b.pt").read_bytes())
    assert ran.exists()


def test_files_from_before_1_6_are_refused(tmp_path: Path, refused: Callable) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with refused("PyTorch file from before 1.6"):
        door.read_state_dict(tmp_path / "a.pt")


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def packed(path: Path, contents: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def contents() -> dict[str, bytes]:
    stream = io.BytesIO()
    torch.save({"w": torch.ones(100)}, stream)
    return members(stream.getvalue())


def test_torchscript_is_refused(tmp_path: Path, contents: dict[str, bytes], refused: Callable) -> None:
    with refused("is a TorchScript archive and carries code"):
        door.read_state_dict(packed(tmp_path / "a.pt", contents | {"archive/code/model.py": b"import os"}))


def test_compressed_archives_are_refused(tmp_path: Path, contents: dict[str, bytes], refused: Callable) -> None:
    with refused("is compressed in a way that is not read here"):
        door.read_state_dict(packed(tmp_path / "a.pt", contents, zipfile.ZIP_DEFLATED))


def test_a_tensor_that_declares_more_than_the_file_has_is_refused(tmp_path: Path, refused: Callable) -> None:
    torch.save({"w": torch.ones(1).expand(1 << 20, 1 << 20)}, tmp_path / "a.pt")
    with refused("tensor 'w' declares more values than the file has"):
        door.read_state_dict(tmp_path / "a.pt")


def test_many_tensors_on_one_storage_are_refused(tmp_path: Path, refused: Callable) -> None:
    values = torch.ones(1000)
    torch.save({f"w{k}": values for k in range(20)}, tmp_path / "a.pt")
    with refused("share their values more than 8 times"):
        door.read_state_dict(tmp_path / "a.pt")
    torch.save({"encoder": values, "decoder": values}, tmp_path / "b.pt")
    assert len(door.read_state_dict(tmp_path / "b.pt")[0]) == 2


def test_what_pytorch_itself_would_call_is_refused_before_it_is_called(
    tmp_path: Path, contents: dict[str, bytes], refused: Callable
) -> None:
    """`weights_only=True` allows bytearray(n), which fills n bytes: 2 GB here from a hundred bytes of file."""
    bomb = b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x7f\x85R."
    with refused("holds Python objects or code (builtins.bytearray), which are never run"):
        door.read_state_dict(packed(tmp_path / "a.pt", contents | {"archive/data.pkl": bomb}))


def test_a_table_that_holds_itself_is_refused(tmp_path: Path, contents: dict[str, bytes], refused: Callable) -> None:
    loop = b"\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s."
    with refused("holds no table of tensors"):
        door.read_state_dict(packed(tmp_path / "a.pt", {"archive/data.pkl": loop, "archive/version": b"3\n"}))


def test_damaged_bytes_are_noticed(tmp_path: Path, refused: Callable) -> None:
    torch.save({"w": torch.ones(100)}, tmp_path / "a.pt")
    data = (tmp_path / "a.pt").read_bytes()
    one = np.float32(1).tobytes() * 100
    place = data.index(one) + 200
    (tmp_path / "a.pt").write_bytes(data[:place] + b"\xff" + data[place + 1 :])
    with refused("Bad CRC-32"):
        door.read_state_dict(tmp_path / "a.pt")


@pytest.mark.parametrize("held", [torch.ones(2), [torch.ones(2)], {}, {"a": 1}, 3])
def test_what_is_no_table_of_tensors_is_refused(tmp_path: Path, held: Any, refused: Callable) -> None:
    torch.save(held, tmp_path / "a.pt")
    with refused("holds no table of tensors"):
        door.read_state_dict(tmp_path / "a.pt")


def test_tensors_that_are_not_dense_are_refused(tmp_path: Path, refused: Callable) -> None:
    torch.save({"w": torch.eye(2).to_sparse()}, tmp_path / "a.pt")
    with refused("a.pt"):
        door.read_state_dict(tmp_path / "a.pt")


def test_warnings_of_the_loader_are_not_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    load = torch.load

    def noisy(*args: Any, **options: Any) -> Any:
        warnings.warn("TypedStorage is deprecated", UserWarning, stacklevel=1)
        return load(*args, **options)

    torch.save(OrderedDict(w=torch.ones(2)), tmp_path / "a.pt")
    monkeypatch.setattr(torch, "load", noisy)
    # warnings are errors in the tests, so this passes only if they are caught
    assert door.read_state_dict(tmp_path / "a.pt")[0]["w"].tolist() == [1, 1]


def test_without_pytorch_the_way_to_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Callable
) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pt")
    monkeypatch.setattr(door, "available", lambda: False)
    with refused("pip install 'recurvature[torch]'"):
        door.read_state_dict(tmp_path / "a.pt")


def test_pytorch_is_imported_only_when_asked_for() -> None:
    import subprocess

    program = "import sys, recurvature.io; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
