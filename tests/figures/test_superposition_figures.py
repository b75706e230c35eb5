"""Figures of packed memories: drawn without a warning, readable, and true to the numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.figures.drawing import readable
from tests.figures.superposition_results import packed

import recurvature as rc
from recurvature._errors import InputError

figures = rc.figures


def angles() -> Any:
    p = packed()
    return figures.angle_distribution({"dense": [p.dense], "sparse": [p.sparse, p.sparse]})


FIGURES: dict[str, tuple[Callable[[], Any], str]] = {
    "plane": (lambda: figures.feature_plane(packed().dense), "along the readout →\n(lengths to the power 0.5)"),
    "plane of several": (lambda: figures.feature_plane(packed().several, feature=1), "along the readout →"),
    "angles": (angles, "turn of the directions over the delay (°)"),
    "angles to the readout": (
        lambda: figures.angle_distribution({"all": [packed().several]}, quantity="readout"),
        "readout",
    ),
    "losses": (
        lambda: figures.loss_course(packed().terms, np.array([0, 10, 30])),
        "expected loss / loss of silence",
    ),
    "matrices": (lambda: figures.projection_matrices(packed().several), "age 2, due"),
    "projections": (lambda: figures.projections_by_age(packed().several), "age (steps)"),
    "interference": (lambda: figures.interference(packed().recorded), "age"),
    "memory": (lambda: figures.memory_by_age(packed().directions), "length over the largest"),
    "packing": (lambda: figures.packing(packed().several), "age"),
}
test_every_figure_is_readable = readable(FIGURES)


def test_tips_in_the_plane_have_the_projections_of_their_ages():
    ax = figures.feature_plane(packed().sparse, power=1.0)
    tips = [line for line in ax.lines if line.get_marker() == "o"]
    a = np.asarray(packed().sparse.projection)[: len(tips), 0, 0]
    w = np.linalg.norm(np.asarray(packed().sparse.direction), axis=1)[: len(tips), 0]
    x, y = np.array([line.get_xydata()[0] for line in tips]).T  # type: ignore[index]
    # in the plane of two units lengths are kept, and the horizontal is the projection over the length of the readout
    np.testing.assert_allclose(np.hypot(x, y), w, rtol=1e-12)
    np.testing.assert_allclose(x / x[3], a / a[3], rtol=1e-9, atol=1e-12)
    half = figures.feature_plane(packed().sparse)
    tip = np.array([line.get_xydata()[0] for line in half.lines if line.get_marker() == "o"])  # type: ignore[index]
    np.testing.assert_allclose(np.hypot(*tip.T), np.sqrt(w), rtol=1e-12)
    # angles are kept
    np.testing.assert_allclose(np.arctan2(*tip.T), np.arctan2(x, y), atol=1e-9)


def test_stacked_terms_end_where_the_loss_is():
    ax = figures.loss_course(packed().terms, np.array([0, 10, 30]))
    drawn = next(line for line in ax.lines if np.size(line.get_xdata()) == 3)
    # the line of the sum, the very numbers
    expected = np.array([one.normalised for one in packed().terms])
    np.testing.assert_allclose(np.asarray(drawn.get_ydata(), float), expected)


def test_lengths_by_age_are_those_of_the_directions():
    ax = figures.memory_by_age(packed().directions)
    drawn = np.array([np.asarray(line.get_ydata(), float) for line in ax.lines])
    lengths = np.linalg.norm(np.asarray(packed().directions.direction), axis=1)
    # the very numbers, the state of all three inputs first
    np.testing.assert_allclose(drawn[:3], (lengths / lengths.max(0)).T, rtol=1e-12)
    assert len(drawn) == 6


def test_histograms_count_every_feature_once():
    ax = figures.angle_distribution({"both": [packed().dense, packed().sparse]})
    heights = ax.patches[0].get_data().values  # type: ignore[attr-defined]
    # one in a bin, two bins
    np.testing.assert_allclose(np.sort(heights)[-2:], 0.5)
    np.testing.assert_allclose(heights.sum(), 1)


def test_what_cannot_be_drawn_is_refused():
    p = packed()
    with pytest.raises(InputError, match="`feature` must be one of 0, 1, 2; got 3"):
        figures.feature_plane(p.several, feature=3)
    with pytest.raises(InputError, match="`quantity` must be one of"):
        figures.angle_distribution({"a": [p.dense]}, quantity="turns")
    with pytest.raises(InputError, match="hold no feature that is stored with a known angle"):
        figures.angle_distribution({"a": [p.recorded]}, quantity="k_theta")
    with pytest.raises(InputError, match="`ages` must lie in"):
        figures.projection_matrices(p.several, ages=[99])
    with pytest.raises(InputError, match="as many as each other"):
        figures.loss_course(p.terms, np.array([0, 1]))
