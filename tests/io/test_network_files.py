"""Bring your own: one function for every file, mappings and options from TOML, ours and anybody's."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import recurvature as rc
from recurvature import io
from recurvature.systems import LeakyRate, LowRank, Network


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"J": rng.standard_normal((4, 4)), "B": rng.standard_normal((4, 2)), "C": rng.standard_normal((1, 4))}


def test_the_same_weights_are_the_same_network_in_every_format(
    tmp_path: Path, arrays: dict[str, np.ndarray], assert_same: Callable
) -> None:
    torch = pytest.importorskip("torch", reason="one of the formats is PyTorch's, an optional extra")
    arrays = dict(zip(("W_rec", "W_in", "W_out"), arrays.values(), strict=True))
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    (tmp_path / "a.safetensors").write_bytes(safetensors.numpy.save(arrays))
    torch.save({name: torch.tensor(array) for name, array in arrays.items()}, tmp_path / "a.pth")
    one, two, three = (io.read_network(tmp_path / f"a.{e}") for e in ("npz", "safetensors", "pth"))
    assert_same(one.network, two.network)
    assert_same(one.network, three.network)
    assert set(one.reading.tensors) == set(two.reading.tensors) == set(three.reading.tensors)


def test_what_was_read_is_saved_as_our_own(
    tmp_path: Path, arrays: dict[str, np.ndarray], assert_same: Callable
) -> None:
    np.savez(tmp_path / "a.npz", W_rec=arrays["J"], W_in=arrays["B"])
    network = io.read_network(tmp_path / "a.npz").network
    io.save(network, tmp_path / "own.safetensors")
    again = io.read_network(tmp_path / "own.safetensors")
    assert_same(again.network, network)
    assert again.reading.layout == "recurvature"
    assert [entry.name for entry in again.reading.tensors][:1] == ["readout.weight"]


def test_a_mapping_file_gives_names_and_options(
    tmp_path: Path, arrays: dict[str, np.ndarray], refused: Callable
) -> None:
    np.savez(tmp_path / "a.npz", spare=np.ones(3), **arrays)  # type: ignore[arg-type]
    toml = tmp_path / "map.toml"
    toml.write_text('[mapping]\nW_rec = "J"\nW_in = "B"\nW_out = "C"\n[options]\nform = "rate"\ndt = 0.1\n')
    imported = io.read_network(tmp_path / "a.npz", mapping=toml)
    assert any("left out by the mapping" in note and "spare" in note for note in imported.reading.notes)
    system = imported.network.system
    assert isinstance(system, rc.systems.Euler)
    assert isinstance(system.flow, LeakyRate)
    assert system.dt == 0.1
    # what is passed wins over the file
    again = io.read_network(tmp_path / "a.npz", mapping=toml, options={"dt": 0.05}).network.system
    assert isinstance(again, rc.systems.Euler)
    assert again.dt == 0.05
    toml.write_text('W_rec = "J"\n')
    with refused("'W_rec' belongs below a line `[mapping]`"):
        io.read_network(tmp_path / "a.npz", mapping=toml)
    toml.write_text('[mappings]\nW_rec = "J"\n')
    with refused("unknown key 'mappings'. Did you mean 'mapping'?"):
        io.read_network(tmp_path / "a.npz", mapping=toml)
    toml.write_text('[options]\nfrom = "rate"\n')
    with refused("unknown key 'options.from'"):
        io.read_network(tmp_path / "a.npz", mapping=toml)
    toml.write_text('[options]\nform = "rat"\n')
    with refused("'options.form'"):
        io.read_network(tmp_path / "a.npz", mapping=toml)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fi": "tanh"}, "options: unknown key 'fi'"),
        ({"dt": 0}, "options: 'dt' should be greater than 0; got 0"),
        ({"dt": float("inf")}, "options: 'dt'"),
        ({"tau": "long"}, "options: 'tau' should be a valid number"),
        ({"form": "voltage"}, "options: 'form' should be 'current' or 'rate'; got 'voltage'"),
        ({"orientation": "rows"}, "options: 'orientation'"),
    ],
)
def test_options_are_strict(tmp_path: Path, options: dict[str, object], words: str, refused: Callable) -> None:
    np.savez(tmp_path / "a.npz", W_rec=np.eye(2), W_in=np.ones((2, 1)))
    with refused(words):
        io.read_network(tmp_path / "a.npz", options=options)


def test_a_network_file_of_ours_that_is_damaged_is_not_read_as_foreign(
    tmp_path: Path, leaky: Network, refused: Callable
) -> None:
    io.save(leaky, tmp_path / "net.safetensors")
    data = (tmp_path / "net.safetensors").read_bytes()
    (tmp_path / "net.safetensors").write_bytes(data[:-1] + b"\xff")
    with refused("is damaged"):
        io.read_network(tmp_path / "net.safetensors")


MEMORY = """
import re, sys
from pathlib import Path
from recurvature import io

def mebibytes(what):
    return int(re.search(what + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

small, large = sys.argv[1:]
io.read_network(small)
before = mebibytes("VmRSS")
io.read_network(large)
print(mebibytes("VmHWM") - before)
"""


SLOW = pytest.mark.slow  # the format that takes most by default


@pytest.mark.parametrize("ending", [pytest.param("npz", marks=SLOW), pytest.param("safetensors", marks=SLOW), "pt"])
def test_memory_is_a_small_multiple_of_the_file(tmp_path: Path, ending: str) -> None:
    paths = [tmp_path / f"{size}.{ending}" for size in (4, 3000)]
    for path, size in zip(paths, (4, 3000), strict=True):
        shapes = {"W_rec": (size, size), "W_in": (size, 1), "W_out": (1, size)}
        weights = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
        if ending == "npz":
            np.savez(path, **weights)  # type: ignore[arg-type]
        elif ending == "pt":
            torch = pytest.importorskip("torch", reason="PyTorch files are read by PyTorch, an optional extra")
            torch.save({name: torch.tensor(array) for name, array in weights.items()}, path)
        else:
            path.write_bytes(safetensors.numpy.save(weights))
    program = [sys.executable, "-c", MEMORY, *map(str, paths)]
    grown = float(subprocess.run(program, capture_output=True, text=True, check=True).stdout)
    # the bytes, the members or tensors made of them, PyTorch's copy, the check for NaN, the network: each at most once
    assert grown <= 6 * paths[1].stat().st_size / 2**20


@pytest.mark.parametrize(("name", "inputs", "rank"), [("rdm_rank1_512", 1, 1), ("dms_rank2_512", 2, 2)])
def test_the_shared_networks_are_read(shared_networks: Path, name: str, inputs: int, rank: int) -> None:
    pytest.importorskip("torch", reason="the shared networks are PyTorch files, read by an optional extra")
    imported = io.read_network(shared_networks / f"{name}.pt")
    system = imported.network.system
    assert isinstance(system, rc.systems.Euler)
    assert isinstance(system.flow, rc.systems.LeakyCurrent)
    assert isinstance(system.flow.connectivity, LowRank)
    assert (system.state_size, system.input_size, system.flow.connectivity.rank) == (512, inputs, rank)
    assert imported.network.readout.weight.shape == (1, 512)  # type: ignore[attr-defined]
    assert imported.reading.layout == "low-rank"
    assert imported.reading.unused == ()
    assert not imported.network.x0.any()
