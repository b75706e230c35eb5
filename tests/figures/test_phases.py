"""The parts of a trial above the axes."""

import itertools

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Annotation
from tests.figures.drawing import figure_of
from tests.figures.results import Case

import recurvature as rc
from recurvature.tasks.base import Phases


def names_above(ax: Axes) -> list[Annotation]:
    FigureCanvasAgg(figure_of(ax)).draw()
    return [text for text in ax.texts if isinstance(text, Annotation)]


@pytest.mark.parametrize(
    ("phases", "slanted"),
    [
        ({"fixation": (0.0, 0.2), "stimulus": (0.2, 1.0), "delay": (1.0, 1.4), "response": (1.4, 2.0)}, False),
        ({"stimulus": (0.0, 2.0), "response": (1.95, 2.0)}, False),
        ({f"response {i}": (i * 0.2, i * 0.2 + 0.1) for i in range(10)}, True),
    ],
)
def test_names_stand_level_where_they_fit(phases: Phases, slanted: bool, cases: dict[str, Case]) -> None:
    ax = rc.figures.metric_over_time(cases["plane"].metric, phases=phases)
    names = names_above(ax)
    assert [name.get_text() for name in names] == list(phases)
    assert [name.get_rotation() > 0 for name in names] == [slanted] * len(phases)
    boxes = [name.get_window_extent() for name in names]
    assert all(box.x0 >= 0 and box.x1 <= ax.get_figure(root=True).bbox.x1 for box in boxes)  # type: ignore[union-attr]
    if not slanted:
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_each_phase_is_shaded_over_its_time(cases: dict[str, Case]) -> None:
    phases = {"item": (0.0, 0.5), "delay": (0.5, 1.5)}
    ax = rc.figures.step_size(cases["plane"].step_size, phases=phases)
    spans = [patch.get_extents().transformed(ax.transData.inverted()) for patch in ax.patches]
    # pixels and back: rounding
    np.testing.assert_allclose([(s.x0, s.x1) for s in spans], list(phases.values()), atol=1e-9)


def test_a_task_without_phases_shades_nothing(cases: dict[str, Case]) -> None:
    ratio = cases["torus"].ratio
    assert ratio is not None
    assert not rc.figures.ratio_over_time(ratio, phases={}).patches
