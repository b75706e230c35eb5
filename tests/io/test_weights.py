"""Networks in files: bit for bit, checksummed, and refused in one line where anything is not as written."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import recurvature as rc
from recurvature import io
from recurvature.io import tensors, weights
from recurvature.systems import Network


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_every_number_type_comes_back_bit_for_bit(
    tmp_path: Path, leaky: Network, dtype: str, assert_same: Callable
) -> None:
    network = rc.cast(leaky, jnp.dtype(dtype))
    io.save(network, tmp_path / "net.safetensors")
    assert_same(io.load(tmp_path / "net.safetensors"), network)


def test_every_kind_of_network_comes_back_bit_for_bit(tmp_path: Path, network: Network, assert_same: Callable) -> None:
    io.save(network, tmp_path / "net.safetensors")
    assert_same(io.load(tmp_path / "net.safetensors"), network)


def test_the_same_network_makes_the_same_bytes(tmp_path: Path, leaky: Network) -> None:
    for name in ("a", "b"):
        io.save(leaky, tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_the_header_says_what_the_file_holds(tmp_path: Path, leaky: Network) -> None:
    io.save(leaky, tmp_path / "net.safetensors", provenance={"task": "random-dots", "seed": 3})
    _, header, arrays = weights.read_network_file(tmp_path / "net.safetensors")
    # 25 recurrent + 15 input + 5 bias + 10 output + 5 start
    assert header.sizes == weights.Sizes(state=5, inputs=3, outputs=2, parameters=60)
    assert header.provenance["task"] == "random-dots"
    assert {"recurvature", "jax", "python"} <= header.provenance.keys()
    assert "system.flow.connectivity.weight" in arrays
    # any reader of the format sees the tensors
    assert safetensors.numpy.load_file(tmp_path / "net.safetensors").keys() == arrays.keys()


def test_an_existing_file_stays(tmp_path: Path, leaky: Network, refused: Callable) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"precious")
    with refused("exists already"):
        io.save(leaky, path)
    assert path.read_bytes() == b"precious"
    io.save(leaky, path, overwrite=True)
    assert isinstance(io.load(path), Network)


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path, leaky: Network, refused: Callable) -> None:
    broken = eqx.tree_at(lambda n: n.x0, leaky, leaky.x0.at[0].set(jnp.nan))
    ensemble = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), leaky)
    with refused("tensor 'x0' has values that are NaN or infinite"):
        io.save(broken, tmp_path / "net.safetensors")
    with refused("one by one"):
        io.save(ensemble, tmp_path / "net.safetensors")
    with refused("provenance"):
        io.save(leaky, tmp_path / "net.safetensors", provenance={"loss": float("nan")})
    with refused("provenance"):
        io.save(leaky, tmp_path / "net.safetensors", provenance={"task": object()})
    assert not list(tmp_path.iterdir())


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], None]) -> None:
    """Change header and tensors of a file and sign it again."""
    arrays, header = tensors.read_signed(path)
    change(header, arrays)
    tensors.write_signed(path, arrays, header, overwrite=True)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("format", 2, "has format 2; this version reads 1. Upgrade"),
        ("kind", "checkpoint", "is a checkpoint of a training run, not a network"),
        ("kind", "netwrok", "'kind'"),
        ("colour", "red", "unknown key 'colour'"),
        ("spec", {"class": "Dense", "weight": {"tensor": "float64", "shape": [1, 1]}}, "is missing"),
        ("spec", [], "'spec' should be a valid dictionary"),
        ("sizes", {"state": 5, "inputs": 3, "outputs": 2, "parameters": 61}, "sizes in the header"),
    ],
)
def test_a_changed_header_is_refused(
    tmp_path: Path, leaky: Network, key: str, value: Any, words: str, refused: Callable
) -> None:
    io.save(leaky, tmp_path / "net.safetensors")
    rewritten(tmp_path / "net.safetensors", lambda header, arrays: header.update({key: value}))
    with refused(words):
        io.load(tmp_path / "net.safetensors")


def test_a_file_that_holds_no_network_is_refused(tmp_path: Path, leaky: Network, refused: Callable) -> None:
    io.save(leaky, tmp_path / "net.safetensors")

    def only_readout(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        header["spec"] = {"class": "LinearReadout", "weight": header["spec"]["readout"]["weight"], "bias": None}
        weight = arrays["readout.weight"]
        arrays.clear()
        arrays["weight"] = weight

    rewritten(tmp_path / "net.safetensors", only_readout)
    with refused("holds a LinearReadout, not a network"):
        io.load(tmp_path / "net.safetensors")


def test_one_flipped_bit_of_a_weight_is_noticed(tmp_path: Path, leaky: Network, refused: Callable) -> None:
    path = tmp_path / "net.safetensors"
    io.save(leaky, path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with refused("is damaged: its contents do not match its checksum"):
        io.load(path)


NO_FLOAT64 = """
import sys, recurvature as rc
from recurvature._errors import InputError
try:
    rc.io.load(sys.argv[1])
except InputError as error:
    print(error)
"""


def test_float64_is_never_rounded_in_silence(tmp_path: Path, leaky: Network) -> None:
    io.save(leaky, tmp_path / "net.safetensors")
    program = [sys.executable, "-c", NO_FLOAT64, str(tmp_path / "net.safetensors")]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    assert "call `recurvature.enable_float64()` before loading" in done.stdout


def test_tensors_of_every_type_and_layout_come_back(tmp_path: Path) -> None:
    arrays = {
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "scalar": np.asarray(3, np.int32),
        "complex": np.asarray([1 + 2j, 3j]),
        "complex64": np.asarray([1 + 2j], np.complex64),
        "empty": np.zeros((0, 2), bool),
        "bytes": np.frombuffer(b"text", np.uint8),
        "strided": np.arange(10.0)[::3],
    }
    tensors.write_signed(tmp_path / "f", arrays, {"x": [1, "é"]})
    read, header = tensors.read_signed(tmp_path / "f")
    assert header == {"x": [1, "é"]}
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_a_number_type_that_is_not_read_is_named(tmp_path: Path, refused: Callable) -> None:
    header = b'{"w":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}'
    (tmp_path / "f.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with refused("tensor 'w' has number type F8_E4M3, which is not read here; save it as F32"):
        io.read_network(tmp_path / "f.safetensors")


def test_foreign_files_are_pointed_to_their_reader(tmp_path: Path, refused: Callable) -> None:
    (tmp_path / "f.safetensors").write_bytes(safetensors.numpy.save({"w": np.ones(1)}))
    with refused("recurvature.io.read_network"):
        io.load(tmp_path / "f.safetensors")


@pytest.mark.parametrize("text", ["[]", "3", '{"sha256": NaN}', "{", "[" * 2000])
def test_a_header_that_is_no_table_is_refused(tmp_path: Path, text: str, refused: Callable) -> None:
    (tmp_path / "f.safetensors").write_bytes(safetensors.numpy.save({"w": np.ones(1)}, {tensors.HEADER: text}))
    with refused(str(tmp_path)):
        io.load(tmp_path / "f.safetensors")


def test_a_size_that_the_file_does_not_have_is_refused(tmp_path: Path, refused: Callable) -> None:
    header = json.dumps({"w": {"dtype": "F64", "shape": [1 << 40], "data_offsets": [0, 1 << 43]}}).encode()
    (tmp_path / "f.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with refused("is not a .safetensors file that can be read"):
        io.read_network(tmp_path / "f.safetensors")
