"""Recordings: what is read, where periods of movement begin, and what is refused."""

import contextlib
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from recurvature._errors import InputError
from recurvature.io import Recording, read_recording

SHARED = Path(__file__).parents[2] / "../shared/data/recordings"
STARTS = [0, 6, 13, 20, 26]
TARGETS = [2, 5, 5, 1, 2]
BEGINS = [4.0, 4.0, 4.5, 5.0, 4.3]
ENDS = [1.4, 1.1, 0.8, 1.3, 1.0]


def movements() -> dict[str, np.ndarray]:
    """Five periods of a speed that rises and falls, the second and third to the same target."""
    rng = np.random.default_rng(0)
    lengths = np.diff([*STARTS, 33])
    velocity, target = [], []
    for length, aim, begin, end in zip(lengths, TARGETS, BEGINS, ENDS, strict=True):
        speed = np.interp(np.arange(length), [0, 2, length - 1], [begin, 8, end])
        velocity.append(speed[:, None] * np.array([np.cos(0.2 * aim), np.sin(0.2 * aim)]))
        target.append(np.full(length, aim, np.uint8))
    counts = rng.poisson(2.0, (33, 4)).astype(float)
    return {"Ytr": counts, "Xtr": np.concatenate(velocity), "Ttr": np.concatenate(target)[:, None]}


DYER: dict[str, Any] = {"activity": "Ytr", "polar": "Xtr", "labels": "Ttr", "periods": "seams"}


def written(path: Path, arrays: dict[str, Any], **options: Any) -> Path:
    scipy.io.savemat(path, arrays, **options)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_counts_come_back_and_periods_begin_where_they_were_put_together(tmp_path: Path, compressed: bool) -> None:
    arrays = movements()
    recording = read_recording(written(tmp_path / "a.mat", arrays, do_compression=compressed), **DYER)
    assert isinstance(recording, Recording)
    np.testing.assert_array_equal(recording.activity, arrays["Ytr"])
    # to polar coordinates and back: a few roundings of numbers up to 8
    np.testing.assert_allclose(recording.velocity, arrays["Xtr"], atol=1e-14)
    np.testing.assert_array_equal(recording.labels, TARGETS)
    np.testing.assert_array_equal(recording.starts, STARTS)
    assert recording.segments[1] == slice(6, 13)


def test_rates_become_counts_and_smooth_numbers_stay(tmp_path: Path) -> None:
    arrays = movements()
    path = written(tmp_path / "a.mat", {**arrays, "Ytr": arrays["Ytr"] * 5.000000000000001})
    rates = read_recording(path, **DYER)
    np.testing.assert_array_equal(rates.activity, arrays["Ytr"])
    assert rates.spike == pytest.approx(5, rel=1e-12)  # the rounding that was put in
    smooth = arrays["Ytr"] + 0.3 * np.sin(np.arange(33.0))[:, None] ** 2
    kept = read_recording(written(tmp_path / "b.mat", {**arrays, "Ytr": smooth}), **DYER)
    np.testing.assert_array_equal(kept.activity, smooth)
    assert kept.spike is None


def test_without_labels_all_is_one_trial_and_the_rest_is_found(tmp_path: Path) -> None:
    arrays = movements()
    path = written(tmp_path / "a.mat", {"spikes": arrays["Ytr"], "hand": arrays["Xtr"], "note": "passed over"})
    recording = read_recording(path)
    np.testing.assert_array_equal(recording.starts, [0])
    assert recording.labels is None
    assert [c.name for c in recording.coordinates] == ["hand_1", "hand_2"]


def test_splitting_cuts_no_period(tmp_path: Path, refused: Any) -> None:
    recording = read_recording(written(tmp_path / "a.mat", movements()), **DYER)
    first, last = recording.split(0.55)
    np.testing.assert_array_equal(first.starts, [0, 6, 13])
    np.testing.assert_array_equal(last.starts, [0, 6])
    np.testing.assert_array_equal(np.concatenate([first.activity, last.activity]), recording.activity)
    np.testing.assert_array_equal(last.labels, TARGETS[3:])
    for share in (0.0, 1.0, float("nan")):
        with refused("`share` must lie between 0 and 1"):
            recording.split(share)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Xtr": np.ones((32, 2))}, "'Xtr' (`polar`) of shape (32, 2) does not go with 33 bins"),
        ({"Xtr": np.ones((33, 3))}, "'Xtr' (`polar`) must have a last axis of 2; got (33, 3)"),
        ({"Ytr": np.full((33, 4), np.nan)}, "'Ytr' has values that are NaN or infinite"),
        ({"Ytr": np.ones((33, 4), complex)}, "'Ytr' must be an array of real numbers; got complex128"),
        ({"Ytr": np.ones((33, 4, 2, 1))}, "'Ytr' must have axes (time, unit) or (trial, time, unit)"),
        ({"Ttr": np.full((33, 1), 0.5)}, "'Ttr' (`labels`) must hold whole numbers"),
        ({"Ttr": np.ones((3, 2))}, "'Ttr' must hold a whole number for each of 33 bins or for each trial"),
        ({"Ytr": "some text"}, "no array 'Ytr' (`activity`)"),
        ({"Ytr": {"a": 1.0}}, "no array 'Ytr' (`activity`)"),
        ({"Ytr": np.array([1, "a"], object)}, "no array 'Ytr' (`activity`)"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, change: dict[str, Any], message: str, refused: Any) -> None:
    with refused(message):
        read_recording(written(tmp_path / "a.mat", {**movements(), **change}), **DYER)


def test_a_name_that_is_not_there_is_answered_with_the_nearest(tmp_path: Path, refused: Any) -> None:
    with refused("Did you mean 'Ytr'?"):
        read_recording(written(tmp_path / "a.mat", movements()), activity="Ytt")


def test_other_files_and_older_versions_are_refused(tmp_path: Path, refused: Any) -> None:
    (tmp_path / "a.mat").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    with refused("is not an HDF5 file that can be read"):
        read_recording(tmp_path / "a.mat")
    with refused("not a recording in .npz, .mat (version 5 or 7.3), .h5 or .nwb"):
        read_recording(written(tmp_path / "a.mat", movements(), format="4"))
    with refused("there is no file"):
        read_recording(tmp_path / "b.mat")


def test_a_bomb_and_a_shape_without_bytes_are_refused(tmp_path: Path, refused: Any) -> None:
    path = written(tmp_path / "a.mat", {**movements(), "big": np.zeros(10_000_000)}, do_compression=True)
    with refused("would unpack to more than 64 times the file"):
        read_recording(path)
    path = written(tmp_path / "a.mat", {"Ytr": np.ones((3, 4))})
    data = bytearray(path.read_bytes())
    place = data.index(struct.pack("<ii", 3, 4))
    data[place : place + 8] = struct.pack("<ii", 2**30, 2**30)
    path.write_bytes(data)
    with refused("holds an array of 1152921504606846976 numbers in"):
        read_recording(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_truncations_and_flipped_bytes_are_read_or_refused(tmp_path: Path, compressed: bool, refused: Any) -> None:
    path = written(tmp_path / "a.mat", movements(), do_compression=compressed)
    data, rng = path.read_bytes(), np.random.default_rng(1)
    for length in rng.integers(0, len(data), 60):
        path.write_bytes(data[:length])
        with refused("a.mat"):
            read_recording(path, **DYER)
    for place in rng.integers(0, len(data), 200):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            read_recording(path, **DYER)


def test_damaged_streams_are_one_line(tmp_path: Path, refused: Any) -> None:
    path = written(tmp_path / "a.mat", movements(), do_compression=True)
    data = path.read_bytes()
    packed = zlib.compress(b"nothing that is an array")
    path.write_bytes(data[:128] + struct.pack("<II", 15, len(packed)) + packed)
    with refused("holds an element that is no array"):
        read_recording(path, **DYER)


@pytest.mark.parametrize(
    ("file", "part", "shape", "spike", "periods", "lengths"),
    [
        ("c", "tr", (1200, 71), 1, 39, (22, 31)),
        ("c", "te", (1818, 71), 1, 59, (20, 31)),
        ("m", "tr", (623, 174), 5, 74, (7, 11)),
        ("m", "te", (803, 187), 5, 102, (6, 11)),
    ],
)
def test_public_recordings_fall_into_periods_of_like_length(
    file: str, part: str, shape: tuple[int, int], spike: float, periods: int, lengths: tuple[int, int]
) -> None:
    path = SHARED / f"reaching_monkey_{file}.mat"
    if not path.is_file():
        pytest.skip("needs ../shared/data/recordings beside the repository")
    recording = read_recording(path, activity=f"Y{part}", polar=f"X{part}", labels=f"T{part}", periods="seams")
    assert recording.activity.shape == shape
    # the file has rates in 1/s that are whole numbers times 5 but for 1e-11
    assert recording.spike == pytest.approx(spike, rel=1e-11)
    assert (recording.activity == np.round(recording.activity)).all()
    length = np.diff([*recording.starts, shape[0]])
    # those of monkey C last 31 bins, all but the one at which its two parts were divided
    assert (len(length), length.min(), length.max()) == (periods, *lengths)
    assert file == "m" or sorted(length)[1] == 31
