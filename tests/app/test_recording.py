"""`analyze` on a recording: one report, its numbers, what it leaves out, and how it is told from a network."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.app.conftest import Outcome

import recurvature as rc
from recurvature import io
from recurvature.app import recording as looking
from recurvature.app.lenses import recorded

Run = Callable[..., Outcome]
SHARED = Path(__file__).parents[2] / "../shared/data/recordings"


def ring(folder: Path) -> Path:
    """Sixty trials of five bins, twelve tuned units, an angle and a condition of each trial, a speed in each bin."""
    rng = np.random.default_rng(0)
    condition = np.arange(60) % 6
    angle = condition * 2 * np.pi / 6 + 0.3 * rng.standard_normal(60)
    preferred = 2 * np.pi * np.arange(12) / 12
    speed = rng.uniform(0, 1, (60, 5))
    mean = 3 + 2 * np.cos(angle[:, None, None] - preferred) + speed[..., None]
    angle = np.mod(angle, 2 * np.pi)
    np.savez_compressed(folder / "ring.npz", spikes=rng.poisson(mean), angle=angle, speed=speed, condition=condition)
    return folder / "ring.npz"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report on the ring."""
    from recurvature.app import observing
    from recurvature.app.run import begin

    folder = tmp_path_factory.mktemp("recording")
    path = ring(folder)
    with pytest.MonkeyPatch.context() as few:
        few.setattr(looking, "SPLITS", 1)
        few.setattr(looking, "BOTTLENECKS", (2,))
        choices = looking.Choices(circular=(("angle", 2 * np.pi),), points=6)
        observing.analyze_recording(begin("analyze", json=True, cache=False), path, folder / "out", choices)
    return folder / "out"


def test_the_report_has_every_lens_that_applies_and_says_why_others_do_not(report: Path) -> None:
    page = (report / "report.html").read_text()
    for words in (
        "a recording of 12 units in 60 trials",
        "Along angle alone",
        "Over angle and speed together",
        "How many dimensions it fills",
        "What can be read from it",
        "What it keeps of the last bins",
        "Fixed points and stability",
        "Latent units and overlaps",
        "comes round after 6.28",
    ):
        assert words in page, words


def test_the_numbers_are_those_of_the_ring(report: Path) -> None:
    numbers = json.loads((report / "run.json").read_text())["numbers"]
    assert numbers["recording"] == {
        "units": 12,
        "bins": 300,
        "trials": 60,
        "spike": 1.0,
        "bin_width": None,
        "coordinates": ["angle", "speed"],
        "conditions": "the 6 labels of the file",
        "notes": [],
    }
    angle = numbers["metric"]["angle"]
    # the tuning moves by 2 sin in each of 12 units, whose squares sum to 24
    assert angle["mean_low"][0][0] < 24 < angle["mean_high"][0][0]
    assert angle["mean_low"][0][0] > 0
    # six conditions in a plane, of which the corrected dimension is 2; the interval knows its own width
    assert numbers["dimension"]["low"] < 2 < numbers["dimension"]["high"]
    assert np.max(numbers["decoding"]["accuracy"]) > 2 * numbers["decoding"]["chance"]


def test_beyond_noise_is_one_rule_that_counts_its_chances() -> None:
    """A lone interval at the edge is enough for one chance, and not for two."""
    rng = np.random.default_rng(3)
    x, ranges = rng.uniform(0, 1, (40, 2)), tuple(rc.systems.Coordinate(name, 0.0, 1.0) for name in "ab")
    y = x[:, None, :] + 0.1 * rng.standard_normal((40, 1, 2))
    single = rc.warping.recorded_metric(y, x[:, :1], coordinates=ranges[:1], points=2, smoothness=1.0)
    joint = rc.warping.recorded_metric(y, x, coordinates=ranges, points=2, smoothness=1.0)
    edge = dataclasses.replace(single, overall=np.ones((1, 1)), overall_low=np.full((1, 1), 0.05))
    hidden = dataclasses.replace(joint, overall=np.zeros((2, 2)), overall_low=-np.ones((2, 2)))
    recording = io.Recording(y[:, 0], np.arange(40))
    alone = looking.Observed(recording, None, {"a": edge}, "", None, None, None, None, {})
    assert looking.beyond_noise(alone) == {"a": True}
    assert looking.beyond_noise(dataclasses.replace(alone, joint=hidden)) == {"a": False}
    sure = dataclasses.replace(edge, overall_low=np.full((1, 1), 0.5))
    assert looking.beyond_noise(dataclasses.replace(alone, single={"a": sure}, joint=hidden)) == {"a": True}


@pytest.mark.slow
@pytest.mark.parametrize(("turns", "loops"), [(1.0, 1), (0.5, 0)])
def test_a_ring_of_conditions_has_one_hole_and_half_of_it_none(turns: float, loops: int) -> None:
    rng, conditions = np.random.default_rng(0), 16
    labels = np.arange(conditions * 18) % conditions
    angle = turns * 2 * np.pi * labels / conditions
    counts = rng.poisson(6 + 5 * np.cos(angle[:, None] - 2 * np.pi * np.arange(24) / 24)).astype(float)
    recording = io.Recording(counts, np.arange(len(counts)), (), labels, 1.0)
    _, holes = looking._means(recording, labels, {})
    assert holes is not None
    assert np.asarray(holes.betti).tolist() == [1, loops]


def test_results_are_read_again(report: Path) -> None:
    names = {path.name for path in (report / "results.zarr").glob("*.zarr")}
    assert {
        "metric-angle.zarr",
        "metric-speed.zarr",
        "metric.zarr",
        "means.zarr",
        "decoding.zarr",
        "past.zarr",
    } <= names
    metric = io.load(report / "results.zarr/metric.zarr")
    assert isinstance(metric, rc.warping.RecordedMetric)
    assert metric.coordinates == ("angle", "speed")
    assert metric.periodic == (True, False)


def test_files_are_told_apart_by_what_they_hold(tmp_path: Path) -> None:
    np.savez(tmp_path / "network.npz", W_rec=np.eye(3), W_in=np.ones((3, 1)), W_out=np.ones((1, 3)))
    assert not io.looks_recorded(tmp_path / "network.npz")
    assert io.looks_recorded(ring(tmp_path))
    assert not io.looks_recorded(tmp_path / "none.npz")


def test_what_cannot_be_used_is_one_line(here: Run, tmp_path: Path) -> None:
    path = ring(tmp_path)
    for words, message in (
        (["--activity", "spike"], "Did you mean 'spikes'?"),
        (["--circular", "angle"], "NAME=PERIOD"),
        (["--circular", "angel=360"], "Did you mean 'angle'?"),
    ):
        done = here("analyze", path, "--out", tmp_path / "out", *words)
        assert done.code == 2
        assert message in done.err
        assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_recording_without_coordinates_or_labels_says_what_is_missing(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", activity=np.random.default_rng(0).poisson(2.0, (60, 4)))
    choices = looking.Choices(periods=10)
    found = looking.observe(choices.read(tmp_path / "a.npz"), choices, lambda progress: None)
    assert not found.results
    assert set(found.left_out) == {"Metric", "Dimension and holes", "Decoders", "Directions of past coordinates"}
    assert [section.anchor for section in recorded.sections(found)][-1] == "left-out"


@pytest.mark.slow
@pytest.mark.parametrize("monkey", ["m", "c"])
def test_directions_of_reaches_move_the_activity_beyond_noise(monkey: str) -> None:
    path = SHARED / f"reaching_monkey_{monkey}.mat"
    if not path.is_file():
        pytest.skip("needs ../shared/data/recordings beside the repository")
    choices = looking.Choices("Yte", (), "Xte", "Tte", "seams")
    found = looking.observe(choices.read(path), choices, lambda progress: None)
    numbers = looking.numbers(found)
    assert numbers["metric"]["direction"]["mean_low"][0][0] > 0
    assert found.decoding is not None
    # three components tell four directions apart (a claim of the latent lens says how well)
    assert found.decoding.mean.max() > 2 * found.decoding.chance
    assert found.means is not None
    assert found.means.dimension < found.means.naive
