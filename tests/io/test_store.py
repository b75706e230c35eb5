"""Results in folders and files: every array, option and citation comes back, by class name."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from jaxtyping import Array, Bool, Complex, Float, Int

import recurvature as rc
from recurvature import io
from recurvature._result import AbstractResult, Citation
from recurvature.systems import Network, Trajectory

AnyArray = Array | np.ndarray


class Everything(AbstractResult):
    """One field of each kind that a result may have."""

    citations = (Citation("key", "A. Author, Title (2000)."),)
    time: Float[AnyArray, " time"] = eqx.field(metadata={"units": "tau"})
    values: Float[AnyArray, "time i j"]
    zero: Float[AnyArray, "time i"]
    flags: Bool[AnyArray, " time"]
    status: Int[AnyArray, " time"]
    small: Float[AnyArray, " i"]
    scalar: Float[AnyArray, ""]
    names: tuple[str, ...]
    ranges: tuple[tuple[float, float], ...]
    note: str | None
    count: int = 3


def everything() -> Everything:
    rng = np.random.default_rng(0)
    return Everything(
        jnp.arange(4.0),
        jnp.asarray(rng.standard_normal((4, 3, 2))).at[0, 0, 0].set(jnp.nan).at[1, 0, 0].set(jnp.inf),
        jnp.zeros((4, 3)),
        jnp.asarray([True, False, True, True]),
        jnp.asarray([0, 1, 2, -1]),
        jnp.ones(3, jnp.float32),
        jnp.asarray(2.5),
        ("a", "é"),
        ((0.0, 1.0), (2.0, 3.0)),
        None,
    )


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_every_field_comes_back_bit_for_bit(tmp_path: Path, ending: str) -> None:
    result, path = everything(), tmp_path / f"result{ending}"
    io.save(result, path)
    read: Any = io.load(path)
    assert type(read) is Everything
    for name in ("time", "values", "zero", "flags", "status", "small", "scalar"):
        one, two = np.asarray(getattr(result, name)), getattr(read, name)
        assert (one.dtype, one.shape) == (two.dtype, two.shape)
        # netCDF 3 is big-endian on the disk; the values are what counts
        np.testing.assert_array_equal(one, two)
    assert (read.names, read.ranges, read.note, read.count) == (result.names, result.ranges, None, 3)


def test_the_folder_says_who_wrote_it(tmp_path: Path) -> None:
    io.save(everything(), tmp_path / "r.zarr", provenance={"seed": 1})
    attributes = xr.open_zarr(tmp_path / "r.zarr", consolidated=False).attrs
    assert attributes["result"] == "Everything"
    assert json.loads(attributes["provenance"]) == {"seed": 1}
    assert json.loads(attributes["citations"])[0]["key"] == "key"


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_an_existing_result_stays_unless_told(tmp_path: Path, ending: str, refused: Callable) -> None:
    path = tmp_path / f"result{ending}"
    io.save(everything(), path)
    with refused("exists already"):
        io.save(everything(), path)
    io.save(eqx.tree_at(lambda r: r.time, everything(), jnp.arange(4.0) + 1), path, overwrite=True)
    read: Any = io.load(path)
    assert read.time[0] == 1
    assert len(list(tmp_path.iterdir())) == 1


FRESH = """
import sys, recurvature as rc
print(type(rc.io.load(sys.argv[1])).__qualname__)
"""


def test_a_fresh_process_finds_the_class(tmp_path: Path, leaky: Network) -> None:
    trajectory = rc.systems.simulate(leaky, jnp.zeros((1, 2, 3)))
    io.save(trajectory, tmp_path / "r.zarr")
    program = [sys.executable, "-c", FRESH, str(tmp_path / "r.zarr")]
    assert subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip() == "Trajectory"


def edited(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit the metadata of a zarr folder."""
    table = json.loads((path / "zarr.json").read_text())
    change(table)
    (path / "zarr.json").write_text(json.dumps(table))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    io.save(everything(), tmp_path / "r.zarr")
    return tmp_path / "r.zarr"


def test_unknown_results_are_refused_with_the_nearest(folder: Path, refused: Callable) -> None:
    edited(folder, lambda table: table["attributes"].update(result="Trajectori"))
    with refused("unknown result 'Trajectori'; import the module that has it. Did you mean 'Trajectory'?"):
        io.load(folder)


def test_data_of_others_are_refused(folder: Path, refused: Callable) -> None:
    edited(folder, lambda table: table["attributes"].pop("result"))
    with refused("no result that Recurvature wrote"):
        io.load(folder)


def test_another_schema_is_refused(folder: Path, refused: Callable) -> None:
    edited(folder, lambda table: table["attributes"].update(schema=99))
    with refused("has schema 99"):
        io.load(folder)


def test_a_declared_size_that_is_not_there_is_refused(folder: Path, refused: Callable) -> None:
    def grow(table: dict[str, Any]) -> None:
        table["shape"] = [1 << 30, 1 << 10, 2]

    edited(folder / "values", grow)
    with refused(str(folder)):
        io.load(folder)


@pytest.mark.parametrize("name", ["values/c/0/0/0", "scalar/c", "flags/c/0"])
def test_one_flipped_bit_of_a_value_is_noticed(folder: Path, name: str, refused: Callable) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(bytes([data[0] ^ 1]) + data[1:])
    with refused(str(folder)):
        io.load(folder)


@pytest.mark.parametrize("name", ["values/zarr.json", "zarr.json", "values/c/0/0/0"])
def test_missing_pieces_are_noticed(folder: Path, name: str, refused: Callable) -> None:
    (folder / name).unlink()
    with refused(str(folder)):
        io.load(folder)


def test_paths_that_are_no_results_are_refused(tmp_path: Path, refused: Callable) -> None:
    (tmp_path / "file.zarr").write_bytes(b"x")
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "hdf.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    (tmp_path / "short.nc").write_bytes(b"CDF\x01")
    for name, words in {
        "file.zarr": "is not a .zarr folder",
        "none.zarr": "there is no folder",
        "empty.zarr": "is not a .zarr folder that can be read",
        "none.nc": "there is no file",
        "hdf.nc": "h5netcdf",
        "short.nc": "is not a netCDF file that can be read",
        "net.mat": "needs the ending .safetensors or .zarr or .nc",
    }.items():
        with refused(words):
            io.load(tmp_path / name)


def test_endings_and_kinds_must_fit(tmp_path: Path, leaky: Network, refused: Callable) -> None:
    with refused("a network needs the ending .safetensors; got 'net.zarr'"):
        io.save(leaky, tmp_path / "net.zarr")
    with refused("a result needs the ending .zarr or .nc; got 'r.safetensors'"):
        io.save(everything(), tmp_path / "r.safetensors")
    with refused("must be a JSON table"):
        io.save(everything(), tmp_path / "r.zarr", provenance={"x": float("nan")})


class Waves(AbstractResult):
    """A result that netCDF 3 cannot hold."""

    amplitude: Complex[AnyArray, " i"]


def test_what_netcdf_cannot_hold_is_sent_to_zarr(tmp_path: Path, refused: Callable) -> None:
    waves = Waves(jnp.asarray([1 + 2j]))
    with refused("save it as .zarr"):
        io.save(waves, tmp_path / "r.nc")
    io.save(waves, tmp_path / "r.zarr")
    read: Any = io.load(tmp_path / "r.zarr")
    assert read.amplitude[0] == 1 + 2j


def test_two_results_of_one_name_are_told_apart(refused: Callable) -> None:
    twins = [type("Twin", (AbstractResult,), {"__module__": module}) for module in ("here", "elsewhere")]
    assert len({twin.__qualname__ for twin in twins}) == 1
    with refused("several results are called 'Twin': here, elsewhere"):
        io.store.result_class("Twin", Path("r.zarr"))


def test_results_of_the_library_are_found_by_their_names() -> None:
    assert io.store.result_class("Trajectory", Path("r.zarr")) is Trajectory
