"""Mutated files: whatever is done to a file, it loads or is refused in one line, fast and in little memory."""

import io as streams
import json
import re
import resource
import shutil
import signal
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import recurvature as rc
from recurvature import io
from recurvature._errors import InputError
from recurvature.io import specs, tensors
from recurvature.systems.simulate import Trajectory

HUGE = (b"0", b"-1", b"1", b"7", b"255", b"65536", b"4294967296", b"9223372036854775807", b"9" * 30, b"1e308")


class Hang(BaseException):
    """Not an `Exception`, so that no loader can take it for a refusal."""


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """No test of this file may take three minutes: each is a thousand loads of milliseconds."""

    def stop(number: int, frame: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(180)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One random change: bits, bytes, a cut, a splice, or another number where the bytes spell one."""
    at = int(rng.integers(len(data))) if data else 0
    raw = bytearray(data)
    kind = rng.integers(7)
    if kind == 0:
        for place in rng.integers(len(raw), size=int(rng.integers(1, 9))):
            raw[place] ^= 1 << int(rng.integers(8))
        return bytes(raw)
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + rng.bytes(int(rng.integers(1, 9))) + data[at:]
    if kind == 3:
        return data[:at] + data[at + int(rng.integers(1, 33)) :]
    if kind == 4:
        other = int(rng.integers(len(data)))
        return data[:at] + data[other : other + 16] + data[at + 16 :]
    if kind == 5:
        return data[:at] + bytes([int(rng.choice([0, 1, 127, 128, 255]))]) * 4 + data[at + 4 :]
    numbers = list(re.finditer(rb"\d+", data))
    if not numbers:
        return data[::-1]
    found = numbers[int(rng.integers(len(numbers)))]
    return data[: found.start()] + HUGE[int(rng.integers(len(HUGE)))] + data[found.end() :]


def mutate_header(data: bytes, rng: np.random.Generator) -> bytes:
    """A change within the JSON header of a safetensors file, its length set right again."""
    length = int.from_bytes(data[:8], "little")
    header = mutate(data[8 : 8 + length], rng)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def mutate_member(data: bytes, rng: np.random.Generator) -> bytes:
    """A change within one member of a zip archive, its checksum set right again."""
    with zipfile.ZipFile(streams.BytesIO(data)) as archive:
        members = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    chosen, out = int(rng.integers(len(members))), streams.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for k, (name, content) in enumerate(members):
            archive.writestr(name, mutate(content, rng) if k == chosen else content)
    return out.getvalue()


def mutate_signed(data: bytes, rng: np.random.Generator) -> bytes:
    """A change within the spec of a network file, with a checksum that is right again."""
    arrays = safetensors.numpy.load(data)
    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][tensors.HEADER])
    del header["sha256"]
    while True:
        try:
            changed = json.loads(mutate(json.dumps(header).encode(), rng))
        except ValueError:
            continue
        if isinstance(changed, dict):
            changed["sha256"] = tensors.digest(arrays, changed)
            return safetensors.numpy.save(arrays, {tensors.HEADER: json.dumps(changed)})


def plain_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {"W_rec": (4, 4), "W_in": (4, 2), "W_out": (1, 4), "b": (4,)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def gru_file() -> bytes:
    torch = pytest.importorskip("torch", reason="PyTorch files are read by PyTorch, which is an optional extra")
    module = torch.nn.ModuleDict({"rnn": torch.nn.GRU(2, 3), "fc": torch.nn.Linear(3, 1)})
    stream = streams.BytesIO()
    torch.save(module.state_dict(), stream)
    return stream.getvalue()


def npz(save: Callable[..., None]) -> bytes:
    stream = streams.BytesIO()
    save(stream, **plain_arrays())
    return stream.getvalue()


def network_bytes(folder: Path) -> bytes:
    network = rc.systems.vanilla(3, inputs=2, outputs=1, key=rc.key(0), layers=2)
    io.save(network, folder / "own.safetensors", overwrite=True)
    return (folder / "own.safetensors").read_bytes()


def trajectory() -> Trajectory:
    network = rc.systems.leaky_current(2, inputs=1, outputs=1, key=rc.key(0))
    return rc.systems.simulate(network, jnp.zeros((1, 3, 1)))


def attempts(seed: int, count: int, change: Callable[[bytes, np.random.Generator], bytes], data: bytes) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [change(data, rng) for _ in range(count)]


def outcome(load: Callable[[Path], object], path: Path) -> str:
    """Either "loaded", or "refused" with one clear line; anything else fails the test."""
    try:
        load(path)
    except InputError as error:
        text = str(error)
        assert "\n" not in text
        assert 0 < len(text) < 1000
        return "refused"
    return "loaded"


def run(load: Callable[[Path], object], path: Path, files: list[bytes]) -> dict[str, int]:
    """Outcomes of many files; the peak of memory is bounded for one in ten of them, and over all of them."""
    counts = {"loaded": 0, "refused": 0}
    before = None
    for k, data in enumerate(files):
        path.write_bytes(data)
        if k % 10 == 5:
            tracemalloc.start()
            counts[outcome(load, path)] += 1
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            # 64 times the file for what may be compressed in it, and 3 MiB for what any load takes
            assert peak <= 64 * len(data) + 3 * 2**20
        else:
            counts[outcome(load, path)] += 1
        if k == len(files) // 4:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # in KiB; the first quarter has paid for imports and compilations, so the rest may add only what caches keep
    assert before is not None
    assert after - before < 128 * 1024
    assert counts["refused"] > 0
    return counts


def test_network_files_of_our_own(tmp_path: Path) -> None:
    data = network_bytes(tmp_path)
    counts = run(io.load, tmp_path / "net.safetensors", attempts(1, 800, mutate, data))
    # the checksum sees every change of a tensor or the header; a change that is none leaves the bytes as they were
    assert counts["loaded"] < 100


def test_network_files_with_a_changed_spec_and_a_right_checksum(tmp_path: Path) -> None:
    data = network_bytes(tmp_path)
    counts = run(io.load, tmp_path / "net.safetensors", attempts(2, 200, mutate_signed, data))
    assert counts["loaded"] > 0


@pytest.mark.parametrize("change", [mutate, mutate_header])
def test_foreign_safetensors(tmp_path: Path, change: Callable[[bytes, np.random.Generator], bytes]) -> None:
    data = safetensors.numpy.save(plain_arrays())
    counts = run(io.read_network, tmp_path / "net.safetensors", attempts(3, 800, change, data))
    assert counts["loaded"] > 0


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("change", [mutate, mutate_member])
def test_npz(tmp_path: Path, save: Callable[..., None], change: Callable[..., bytes]) -> None:
    run(io.read_network, tmp_path / "net.npz", attempts(4, 700, change, npz(save)))


@pytest.mark.parametrize(("change", "count"), [(mutate, 800), (mutate_member, 150)])
def test_pytorch_files(tmp_path: Path, change: Callable[[bytes, np.random.Generator], bytes], count: int) -> None:
    run(io.read_network, tmp_path / "net.pt", attempts(5, count, change, gru_file()))


def test_checkpoints(tmp_path: Path) -> None:
    tensors.write_signed(
        tmp_path / "state", {"step": np.zeros(1), "a": np.ones(3)}, {"format": 1, "kind": "checkpoint"}
    )
    run(io.load_checkpoint, tmp_path / "run.ckpt", attempts(6, 1000, mutate, (tmp_path / "state").read_bytes()))


def test_netcdf(tmp_path: Path) -> None:
    io.save(trajectory(), tmp_path / "result.nc")
    run(io.load, tmp_path / "other.nc", attempts(7, 400, mutate, (tmp_path / "result.nc").read_bytes()))


def test_toml_specs(tmp_path: Path) -> None:
    data = b'task = "context-decision"\nhidden = 64\nlearning_rate = 1e-3\nphi = "relu"\nseeds = 4\n'
    counts = run(lambda path: specs.read_toml(path, io.TrainSpec), tmp_path / "s.toml", attempts(8, 500, mutate, data))
    assert counts["loaded"] > 0


def test_zarr_folders(tmp_path: Path) -> None:
    io.save(trajectory(), tmp_path / "result.zarr")
    rng, target = np.random.default_rng(9), tmp_path / "other.zarr"
    names = sorted(
        p.relative_to(tmp_path / "result.zarr") for p in (tmp_path / "result.zarr").rglob("*") if p.is_file()
    )
    counts = {"loaded": 0, "refused": 0}
    shutil.copytree(tmp_path / "result.zarr", target)
    for _ in range(200):
        name = names[int(rng.integers(len(names)))]
        original = (target / name).read_bytes()
        (target / name).write_bytes(mutate(original, rng))
        counts[outcome(io.load, target)] += 1
        (target / name).write_bytes(original)
    assert min(counts.values()) > 0


def recording_bytes(folder: Path, ending: str) -> bytes:
    rng = np.random.default_rng(0)
    arrays = {"activity": rng.poisson(2.0, (12, 3)).astype(float), "place": rng.uniform(0, 1, 12)}
    if ending == "npz":
        stream = streams.BytesIO()
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        return stream.getvalue()
    place = io.RecordedCoordinate("place", arrays["place"], "cm")
    io.save_recording(io.Recording(arrays["activity"], np.array([0, 5]), (place,)), folder / "a.h5")
    return (folder / "a.h5").read_bytes()


@pytest.mark.parametrize(("ending", "count"), [("npz", 100), ("h5", 100)])
def test_recordings(tmp_path: Path, ending: str, count: int) -> None:
    data = recording_bytes(tmp_path, ending)
    run(io.read_recording, tmp_path / f"other.{ending}", attempts(10, count, mutate, data))
