"""The metric of a recording as pictures: intervals, noise floor, and where the mean activity runs."""

import dataclasses

import numpy as np
import pytest
from tests.figures.drawing import look_at

import recurvature as rc
from recurvature import figures
from recurvature._errors import InputError
from recurvature.lenses.warping import RecordedMetric, recorded_metric
from recurvature.systems import Coordinate

ANGLE, SPEED = Coordinate("angle", 0.0, 2 * np.pi, True, "rad"), Coordinate("speed", 0.0, 1.0)


def activity(angle: np.ndarray, speed: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal((*angle.shape, 4))
    preferred = np.pi / 2 * np.arange(4)
    return 3 * np.cos(angle[..., None] - preferred) + 2 * speed[..., None] + 0.5 * noise


@pytest.fixture(scope="module")
def plane() -> RecordedMetric:
    rng = np.random.default_rng(0)
    angle, speed = rng.uniform(0, 2 * np.pi, (60, 4)), rng.uniform(0, 1, (60, 4))
    theta = np.stack([angle, speed], -1)
    return recorded_metric(activity(angle, speed), theta, coordinates=(ANGLE, SPEED), points=(8, 4))


@pytest.fixture(scope="module")
def line() -> RecordedMetric:
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, (60, 1)) * np.ones((1, 3))
    y = activity(angle, np.zeros_like(angle))
    return recorded_metric(y, angle[:, :1], coordinates=(ANGLE,), points=8, bin_width=0.1, time_units="s")


def test_intervals_hold_what_is_drawn_and_the_floor_is_beside_them(plane: RecordedMetric, line: RecordedMetric) -> None:
    panels = figures.recorded_intervals(plane)
    seen = look_at(panels)
    assert {"angle (rad)", "speed"} <= set(seen.labels)
    assert any("$G_{11}$, angle" in label and "(activity² / rad²)" in label for label in seen.labels)
    assert not seen.outside
    first = panels[0].lines[0].get_ydata()
    np.testing.assert_array_equal(first, np.asarray(plane.metric).reshape(8, 4, 2, 2)[:, 0, 0, 0])
    (panel,) = figures.recorded_intervals(line, times=(0.0, 0.2))
    legend = panel.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][:2] == ["t = 0 s", "t = 0.2 s"]


def test_one_estimate_far_beyond_the_others_does_not_flatten_them(line: RecordedMetric) -> None:
    (before,) = figures.recorded_intervals(line, times=(0.0,))
    metric = np.array(line.metric)
    metric[0, 3] = 1e4
    (panel,) = figures.recorded_intervals(dataclasses.replace(line, metric=metric), times=(0.0,))
    assert panel.get_ylim()[1] < 2 * before.get_ylim()[1]
    assert [text.get_text() for text in panel.texts] == ["10000"]
    assert not before.texts


def test_a_ring_is_drawn_closed_and_a_sheet_with_both_families(plane: RecordedMetric, line: RecordedMetric) -> None:
    ring = figures.recorded_sheet(line)
    x, y = np.asarray(ring.lines[0].get_data())
    assert (x[0], y[0]) == (x[-1], y[-1])
    sheet = figures.recorded_sheet(plane)
    assert len(sheet.lines) == 4 + 8
    assert not look_at(sheet).outside


@pytest.mark.parametrize("name", ["metric_maps", "ellipses", "metric_over_time"])
def test_figures_of_metrics_take_it(name: str, plane: RecordedMetric, line: RecordedMetric) -> None:
    given = line if name == "metric_over_time" else plane
    labels = look_at(getattr(rc.figures, name)(given)).labels
    expected = "time (s)" if name == "metric_over_time" else "all bins"
    assert any(expected in label for label in labels), labels


def test_what_cannot_be_drawn_is_named(plane: RecordedMetric) -> None:
    empty = dataclasses.replace(plane, position=np.full_like(np.asarray(plane.position), np.nan))
    with pytest.raises(InputError, match="fewer than three points"):
        figures.recorded_sheet(empty)
    with pytest.raises(InputError, match="has no grid"):
        figures.recorded_intervals(dataclasses.replace(plane, grid=()))
