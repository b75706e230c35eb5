"""NWB files, written by pynwb: spikes counted in bins of trials, time series averaged over them."""

import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.io import read_recording

pynwb = pytest.importorskip("pynwb", reason="NWB files are read by pynwb, which is an optional extra")
SPANS = ((0.0, 0.5), (1.0, 1.3))
SPIKES = (np.array([0.05, 0.1, 0.15, 1.25]), np.array([0.49, 0.7, 1.0, 1.29999]))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two units, two trials of 5 and 3 tenths of a second, a position that grows at 2 cm/s, and a matrix of rates."""
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    file = pynwb.NWBFile(session_description="a session", identifier="it", session_start_time=start)
    file.add_trial_column(name="angle", description="shown")
    file.add_trial_column(name="side", description="chosen")
    for (begin, stop), angle, side in zip(SPANS, (0.5, 1.5), ("left", "right"), strict=True):
        file.add_trial(start_time=begin, stop_time=stop, angle=angle, side=side)
    for times in SPIKES:
        file.add_unit(spike_times=times)
    series = {"unit": "cm", "rate": 20.0, "starting_time": 0.0}
    ramp = 2 * np.arange(40) / 20.0
    hand = np.stack([ramp, -ramp], -1)
    place = pynwb.behavior.SpatialSeries(name="hand", data=hand, reference_frame="table", **series)
    module = file.create_processing_module(name="behavior", description="what it did")
    module.add(pynwb.behavior.Position(spatial_series=place))
    file.add_acquisition(pynwb.TimeSeries(name="rates", data=np.arange(80.0).reshape(40, 2), **series))
    folder = tmp_path_factory.mktemp("nwb")
    with pynwb.NWBHDF5IO(str(folder / "a.nwb"), "w") as stream:
        stream.write(file)
    return folder / "a.nwb"


def test_spikes_are_counted_and_series_averaged_in_the_bins_of_trials(path: Path) -> None:
    found = read_recording(path, bin_width=0.1, coordinates=("angle", "hand"), labels="side")
    np.testing.assert_array_equal(found.starts, [0, 5])
    # a spike at the edge of a bin is of the one that begins there
    np.testing.assert_array_equal(found.activity[:, 0], [1, 2, 0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(found.activity[:, 1], [0, 0, 0, 0, 1, 1, 0, 1])
    begin = np.array([0, 0.1, 0.2, 0.3, 0.4, 1.0, 1.1, 1.2])
    # the mean of a line over a bin is its value at the middle: roundings of integrals up to 4
    np.testing.assert_allclose(found.coordinate("hand_1").values, 2 * (begin + 0.05), atol=1e-13)
    assert found.coordinate("hand_1").units == "cm"
    assert found.coordinate("angle").per_trial
    assert found.theta(("angle",)).tolist() == [[0.5], [1.5]]
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1]
    assert (found.bin_width, found.spike) == (0.1, 1.0)


def test_a_time_series_can_be_the_activity_and_a_vector_polar(path: Path) -> None:
    found = read_recording(path, activity="rates", polar="hand")
    assert found.bin_width == pytest.approx(0.05, rel=1e-12)  # a difference of decimal times
    np.testing.assert_array_equal(found.starts, [0, 10])
    assert found.activity.shape == (16, 2)
    # down and to the right
    np.testing.assert_allclose(found.coordinate("direction").values, 7 * np.pi / 4, atol=1e-12)
    assert {c.name for c in found.coordinates} == {"direction", "speed", "angle"}


def test_blocks_make_no_difference(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"bin_width": 0.03, "coordinates": ("hand",)}
    whole, series = read_recording(path, **options), read_recording(path, activity="rates")
    # two samples or spikes at a time: bins lie across blocks, and trials before and after all of them
    monkeypatch.setattr("recurvature.io.recordings.nwb.BLOCK", 2)
    parts = read_recording(path, **options)
    np.testing.assert_array_equal(parts.activity, whole.activity)
    # sums of forty areas up to 4, in another order
    np.testing.assert_allclose(parts.coordinate("hand_2").values, whole.coordinate("hand_2").values, atol=1e-12)
    np.testing.assert_allclose(read_recording(path, activity="rates").activity, series.activity, rtol=1e-12)


def test_what_is_missing_is_named(path: Path, tmp_path: Path, refused: Any) -> None:
    with refused("say with `bin_width` how many seconds a bin lasts"):
        read_recording(path)
    with refused("unknown time series (`activity`) 'rate'. Did you mean 'rates'?"):
        read_recording(path, activity="rate")
    with refused("unknown column of the table of trials 'aside'. Did you mean 'side'?"):
        read_recording(path, bin_width=0.1, labels="aside")
    with refused("bins of 0.4 s do not fit"):
        read_recording(path, bin_width=0.4)
    (tmp_path / "a.nwb").write_bytes(path.read_bytes())
    with h5py.File(tmp_path / "a.nwb", "r+") as file:
        file["acquisition/more"] = h5py.ExternalLink("other.h5", "/secret")
    with refused("'more' is a link to another file, which is not followed"):
        read_recording(tmp_path / "a.nwb", bin_width=0.1)


def test_a_table_larger_than_its_file_is_refused(path: Path, tmp_path: Path, refused: Any) -> None:
    (tmp_path / "a.nwb").write_bytes(path.read_bytes())
    with h5py.File(tmp_path / "a.nwb", "r+") as file:
        del file["acquisition/rates/data"]
        file.create_dataset("acquisition/rates/data", (10**9, 2), "f8", chunks=(1000, 2), compression="gzip")
    with refused("'acquisition/rates/data' would unpack to more than 64 times the file"):
        read_recording(tmp_path / "a.nwb", bin_width=0.1)


def test_damaged_files_are_read_or_refused(path: Path, tmp_path: Path) -> None:
    """Cut short, or with 200 bytes changed: every one ends in a recording or in one line, the cut ones in a line."""
    rng, data = np.random.default_rng(0), path.read_bytes()
    damaged = [data[: len(data) // 2], data[:600]]
    for _ in range(6):
        changed = np.frombuffer(data, np.uint8).copy()
        changed[rng.integers(100, len(changed), 200)] = rng.integers(0, 256, 200)
        damaged.append(changed.tobytes())
    refusals: dict[bytes, str] = {}
    for each in damaged:
        (tmp_path / "a.nwb").write_bytes(each)
        try:
            read_recording(tmp_path / "a.nwb", bin_width=0.1)
        except InputError as error:
            refusals[each] = str(error)
    assert set(damaged[:2]) <= set(refusals)
    assert all(len(words.splitlines()) == 1 for words in refusals.values())
