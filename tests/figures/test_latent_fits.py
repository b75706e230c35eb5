"""Figures of fits to activity: readable, and drawn from the numbers of the reports."""

from collections.abc import Callable
from typing import Any

import numpy as np
from tests.figures.drawing import readable

from recurvature import figures
from recurvature.training import OneStepReport, TwoStepReport

STEPS = OneStepReport(
    objective=np.array([0.2, 0.1, 0.09]),
    excess=np.array([0.1, 0.01, 0.0]),
    dropped=np.zeros(3),
    r2=np.ones(4),
    clipped=np.zeros(4),
    status=np.zeros(4, int),
    alpha=0.5,
    ridge=1e-4,
    scale=1.0,
    samples=100,
)
STAGES = TwoStepReport(
    accuracy=np.array([1.0, 0.9, 0.95, 1.0]),
    loss=np.array([0.01, 0.1, 0.08, 0.02]),
    state_r2=np.array([1.0, 0.85, 0.9, 0.8]),
    candidate=np.array([1, 2, 3]),
    candidate_accuracy=np.array([0.5, 0.9, 0.95]),
    candidate_r2=np.array([0.3, 0.85, 0.95]),
    strengths=np.array([2.0, 1.5, 0.5]),
    one_step_r2=0.9,
    rank=3,
    status=0,
)
FIGURES: dict[str, tuple[Callable[[], Any], str]] = {
    "course": (lambda: figures.one_step_course(STEPS), "passes over the data"),
    "courses": (
        lambda: figures.one_step_course(STEPS, others={"Adam": np.geomspace(0.5, 1e-3, 40)}),
        "passes over the data",
    ),
    "stages": (lambda: figures.two_step_stages(STAGES), "rank of the cut (chosen: 3)"),
}
test_every_figure_is_readable = readable(FIGURES)


def test_lines_are_the_numbers_of_the_reports() -> None:
    course = FIGURES["courses"][0]().get_lines()
    # an exact prediction has no logarithm: it is drawn at the rounding of float64
    np.testing.assert_array_equal(course[0].get_xydata(), [[1, 0.1], [2, 0.01], [3, np.finfo(float).eps]])
    assert len(course[2].get_xydata()) == 40
    cut, stages = FIGURES["stages"][0]()
    np.testing.assert_array_equal(cut.get_lines()[0].get_ydata(), STAGES.candidate_accuracy)
    np.testing.assert_array_equal(stages.get_lines()[1].get_ydata(), STAGES.state_r2)
