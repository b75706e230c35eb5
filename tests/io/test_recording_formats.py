"""One recording in every format, the rules by which it is found, and files that point elsewhere."""

import dataclasses
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from recurvature.io import RecordedCoordinate, Recording, read_recording, save_recording

LENGTHS = np.array([5, 3, 4])
STARTS = np.array([0, 5, 8])


def made() -> Recording:
    """Three trials of different length: an angle of each trial, a position in each bin."""
    rng = np.random.default_rng(0)
    angle = RecordedCoordinate("angle", np.repeat([0.1, 2.0, 4.0], LENGTHS), "rad", 2 * np.pi, True)
    place = RecordedCoordinate("place", rng.uniform(0, 1, 12), "cm")
    counts = rng.poisson(2.0, (12, 4)).astype(float)
    return Recording(counts, STARTS, (place, angle), np.array([1, 0, 1]), 1.0, 0.05)


def agrees(found: Recording, wanted: Recording) -> None:
    np.testing.assert_array_equal(found.activity, wanted.activity)
    np.testing.assert_array_equal(found.starts, wanted.starts)
    np.testing.assert_array_equal(found.labels, wanted.labels)
    assert (found.spike, found.bin_width) == (wanted.spike, wanted.bin_width)
    assert {c.name for c in found.coordinates} == {c.name for c in wanted.coordinates}
    for c in wanted.coordinates:
        other = found.coordinate(c.name)
        np.testing.assert_array_equal(other.values, c.values)
        assert other.per_trial == c.per_trial


def padded_arrays(wanted: Recording) -> dict[str, np.ndarray]:
    """As a laboratory would save it: trials filled up with NaN."""
    place = np.nan_to_num(wanted.padded(wanted.coordinate("place").values[:, None])[..., 0])
    assert wanted.labels is not None
    angle = wanted.coordinate("angle").values[STARTS]
    return {
        "spikes": wanted.padded(),
        "place": place,
        "angle": angle,
        "condition": wanted.labels,
        "dt": np.array(0.05),
    }


def test_what_is_saved_is_read_again_with_units_and_periods(tmp_path: Path, refused: Any) -> None:
    wanted = dataclasses.replace(made(), spike=2.5)
    save_recording(wanted, tmp_path / "a.h5")
    found = read_recording(tmp_path / "a.h5")
    agrees(found, wanted)
    assert {c.name: (c.units, c.period) for c in found.coordinates} == {
        "place": ("cm", None),
        "angle": ("rad", 2 * np.pi),
    }
    with refused("a recording is saved as .h5"):
        save_recording(wanted, tmp_path / "a.mat")
    with refused("exists already"):
        save_recording(wanted, tmp_path / "a.h5")


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez_compressed(path.with_suffix(".npz"), **arrays)  # type: ignore[arg-type]
    return path.with_suffix(".npz")


def write_matlab(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """As MATLAB writes version 7.3: axes turned round, at least two, a class on every array, 512 bytes in front."""
    place = path.with_suffix(".mat")
    with h5py.File(place, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            turned = np.atleast_2d(array).T
            file.create_dataset(name, data=turned).attrs["MATLAB_class"] = np.bytes_("double")
        file.create_dataset("note", data=np.array([72, 105], np.uint16)).attrs["MATLAB_class"] = np.bytes_("char")
        file.create_group("#refs#")["a"] = np.ones(3)
    with place.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")
    return place


@pytest.mark.parametrize("write", [write_npz, write_matlab])
def test_trials_of_unequal_length_come_from_padded_arrays(tmp_path: Path, write: Callable[..., Path]) -> None:
    wanted = made()
    arrays = padded_arrays(wanted)
    agrees(read_recording(write(tmp_path / "a", arrays)), wanted)
    turned = arrays | {"spikes": arrays["spikes"].transpose(2, 1, 0)}
    agrees(read_recording(write(tmp_path / "b", turned), order="unit time trial"), wanted)


@pytest.mark.parametrize(
    "periods",
    [{"starts": STARTS}, {"starts": STARTS + 1}, {"lengths": LENGTHS}, {"trial": np.repeat([7, 3, 9], LENGTHS)}],
)
def test_one_long_session_is_cut_where_the_file_says(tmp_path: Path, periods: dict[str, np.ndarray]) -> None:
    wanted = made()
    arrays = {
        "activity": wanted.activity,
        "place": wanted.coordinate("place").values,
        "angle": np.array([0.1, 2.0, 4.0]),
    }
    path = write_npz(tmp_path / "a", arrays | periods | {"labels": np.array([1, 0, 1]), "bin_size": np.array([0.05])})
    agrees(read_recording(path), wanted)
    np.testing.assert_array_equal(read_recording(write_npz(tmp_path / "b", arrays), periods=5).starts, [0, 5, 10])


def test_coordinates_of_several_columns_and_padding(tmp_path: Path) -> None:
    wanted = made()
    hand = np.random.default_rng(1).standard_normal((12, 2))
    path = write_npz(tmp_path / "a", {"activity": wanted.activity, "hand": hand, "starts": STARTS})
    found = read_recording(path)
    np.testing.assert_array_equal(np.stack([found.coordinate(f"hand_{k}").values for k in (1, 2)], -1), hand)
    theta = found.theta(("hand_1",))
    assert theta.shape == (3, 5, 1)
    assert np.isnan(theta[1, 3:]).all()
    assert wanted.theta(("angle",)).tolist() == [[0.1], [2.0], [4.0]]


def test_what_is_not_plain_is_asked_for_with_what_the_file_holds(tmp_path: Path, refused: Any) -> None:
    path = write_npz(tmp_path / "a", {"x": np.ones((9, 3)), "y": np.ones((9, 2))})
    with refused("where they are not trial, time, unit; it holds: x (9, 3), y (9, 2)"):
        read_recording(path)
    with refused("'z' (`coordinates`)"):
        read_recording(path, activity="x", coordinates=("z",))
    with refused("`order` must hold the words time unit"):
        read_recording(path, activity="x", order="unit trial")
    with refused("needs `polar`, whose jumps are looked at, and `labels` of every bin"):
        read_recording(path, activity="x", periods="seams")
    with refused("'y' (`periods`) is neither where trials begin"):
        read_recording(path, activity="x", periods="y")
    with refused("pickled Python objects"):
        read_recording(write_npz(tmp_path / "b", {"x": np.array([{}, []], object)}))


def test_missing_coordinates_are_noted_or_their_trials_left_out(tmp_path: Path, refused: Any) -> None:
    wanted = made()
    arrays = padded_arrays(wanted) | {"angle": np.array([0.1, np.nan, 4.0])}
    path = write_npz(tmp_path / "a", arrays)
    passed = read_recording(path)
    assert [c.name for c in passed.coordinates] == ["place"]
    assert passed.notes[0].startswith("angle is passed over")
    with refused("'angle' has values that are NaN or infinite; leave out their trials with `missing` = 'drop'"):
        read_recording(path, coordinates=("angle",))
    kept = read_recording(path, missing="drop")
    agrees(kept, dataclasses.replace(wanted, notes=()).where(np.array([True, False, True])))
    assert kept.notes == ("1 of 3 trials are left out, in which a coordinate is missing (angle).",)
    with refused("a coordinate is missing in every trial"):
        read_recording(write_npz(tmp_path / "b", arrays | {"angle": np.full(3, np.nan)}), missing="drop")


def test_coordinates_come_in_the_order_of_the_activity(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    counts, hand, speed = rng.poisson(1.0, (5, 4, 3)), rng.normal(size=(5, 4, 2)), rng.normal(size=(5, 4))
    turned = {"spikes": counts.transpose(2, 1, 0), "hand": hand.transpose(2, 1, 0), "speed": speed.T}
    path = write_npz(tmp_path / "a", turned)
    found = read_recording(path, order="unit time trial")
    np.testing.assert_array_equal(found.padded(), counts)
    np.testing.assert_array_equal(found.coordinate("hand_2").values, hand[..., 1].ravel())
    np.testing.assert_array_equal(found.coordinate("speed").values, speed.ravel())
    # without it nothing fits, and that is said
    (note,) = read_recording(path).notes
    assert "No array goes with the bins or trials of the activity, (3, 4) trials and bins: hand (2, 4, 5)" in note


def test_circular_coordinates_are_said(tmp_path: Path, refused: Any) -> None:
    path = write_npz(tmp_path / "a", padded_arrays(made()))
    found = read_recording(path, circular={"angle": 2 * np.pi})
    assert {c.name: c.period for c in found.coordinates} == {"angle": 2 * np.pi, "place": None}
    with refused("Did you mean 'angle'?"):
        read_recording(path, circular={"angel": 360.0})
    with refused("`circular` must be"):
        read_recording(path, circular={"angle": 0.0})


def external(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["activity"] = h5py.ExternalLink("other.h5", "/secret")


def outside(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("activity", (4, 2), "f8", external=[(str(path.with_name("secret")), 0, 64)])


def virtual(path: Path) -> None:
    layout = h5py.VirtualLayout((4, 2), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (4, 2))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("activity", layout)


def bomb(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("activity", (10**6, 10**4), "f8", chunks=(1000, 100), compression="gzip")


def large_chunk(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("activity", (2, 2), "f8", chunks=(10**4, 10**4), maxshape=(None, None), compression="gzip")


def many(path: Path) -> None:
    """Each within the limit, all together not."""
    with h5py.File(path, "w") as file:
        for k in range(4):
            name = "activity" if k == 0 else f"x{k}"
            file.create_dataset(name, (10**5, 1), "f8", chunks=(1000, 1), compression="gzip")


def twice(path: Path) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((4, 2))
    plan.set_deflate(9)
    plan.set_deflate(9)
    with h5py.File(path, "w") as file:
        h5py.h5d.create(file.id, b"activity", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((4, 2)), plan)


def swollen(path: Path) -> None:
    """A piece of eight numbers, of which the library would make ten megabytes."""
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("activity", (4, 2), "f8", chunks=(4, 2), compression="gzip")
        dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(10**7), 9))


def test_a_file_that_is_trusted_may_unpack_to_more(tmp_path: Path, refused: Any) -> None:
    counts = np.zeros((20_000, 20), np.uint8)
    counts[::100] = 1
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("spikes", data=counts.astype(float), chunks=(2000, 20), compression="gzip")
    with refused("'spikes' would unpack to more than 64 times the file. If you trust it, raise `unpack_limit`"):
        read_recording(tmp_path / "a.h5")
    np.testing.assert_array_equal(read_recording(tmp_path / "a.h5", unpack_limit=1000).activity, counts)
    with refused("`unpack_limit` must be a whole number"):
        read_recording(tmp_path / "a.h5", unpack_limit=0)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (swollen, "a piece of 'activity' unpacks to more than it may hold"),
        (external, "'activity' is a link to another file, which is not followed"),
        (outside, "the numbers of 'activity' lie in another file, which is not opened"),
        (virtual, "the numbers of 'activity' lie in another file, which is not opened"),
        (bomb, "'activity' would unpack to more than 64 times the file"),
        (many, "would unpack to more than 64 times the file"),
        (twice, "'activity' is compressed in a way that is not read here"),
        (large_chunk, "'activity' would unpack to more than 64 times the file"),
    ],
)
def test_files_that_point_elsewhere_or_unpack_without_end_are_refused(
    tmp_path: Path, refused: Any, write: Callable[[Path], None], message: str
) -> None:
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.ones((4, 2))
    write(tmp_path / "a.h5")
    with refused(message):
        read_recording(tmp_path / "a.h5")


def test_a_group_inside_itself_ends(tmp_path: Path, refused: Any) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("a")["b"] = file
        file["a/x"] = np.ones((4, 2))
    assert read_recording(tmp_path / "a.h5", activity="a/x").activity.shape == (4, 2)
    with refused("holds: a/x (4, 2)"):
        read_recording(tmp_path / "a.h5")
