"""The phase diagram of recall: readable, and what is drawn is what the results hold."""

import dataclasses
import functools
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from tests.figures.drawing import figure_of, look_at

import recurvature as rc
from recurvature.figures.style import FULL, VERMILLION
from recurvature.lenses.superposition import PhaseDiagram, Transition

DENSITY, DELAY = np.array([0.05, 0.1, 0.2, 0.4, 0.8]), np.array([2, 3, 8])


@functools.cache
def diagram() -> PhaseDiagram:
    sparse = DENSITY[:, None] < np.array([0.5, 0.5, 0.15])[None, :]
    turn = np.where(sparse, 270.0, 90.0)
    turn[2, 2] = 1330.0  # an alternating network
    shape = (*sparse.shape, 1)
    field = lambda values: np.asarray(values, float).reshape(shape)  # noqa: E731
    return PhaseDiagram(
        density=DENSITY,
        delay=DELAY,
        loss=field(np.full(sparse.shape, 0.5)),
        standard_error=field(np.zeros(sparse.shape)),
        order_parameter=field(np.where(sparse, 1.0, 0.1)),
        k_theta=field(turn),
        cumulative_angle=field(turn),
        modulus=field(np.ones(sparse.shape)),
        regime=np.where(sparse, 1, 0).reshape(shape),
        status=np.zeros(shape, int),
        best=np.zeros(sparse.shape, int),
    )


@functools.cache
def located() -> Transition:
    nan, missed = np.nan, np.zeros((5, 3), bool)
    missed[2, 2] = True
    pairs = np.array([[0.2, 0.6], [0.3, 0.7], [nan, nan]])
    numbers: dict[str, Any] = {"susceptible": DENSITY[:3], "steepest": DENSITY[:3], "resamples": 1}
    return Transition(
        delay=DELAY,
        crossing=np.array([0.49, 0.5, nan]),
        crossing_grid=pairs,
        crossing_error=np.array([0.01, 0.01, nan]),
        crossing_status=np.array([0, 0, 2]),
        best_of_n=np.array([0.45, 0.45, 0.14]),
        interval=pairs,
        flat=np.zeros(3),
        grid=pairs,
        best_of_n_status=np.zeros(3, int),
        coexistence=pairs,
        missed=missed,
        **numbers,
    )


@functools.cache
def panels() -> list:
    drawn = rc.figures.phase_diagram(diagram(), located())
    FigureCanvasAgg(figure_of(drawn)).draw()
    return drawn


def test_the_diagram_is_readable_and_fits_a_page():
    seen = look_at(panels())
    assert not seen.outside
    assert not seen.touching
    assert seen.width <= FULL
    labels = [ax.get_xlabel() for ax in panels()] + [ax.get_ylabel() for ax in panels()]
    assert labels == ["density $p$"] * 2 + ["delay $k$ (steps)", r"turn over the delay $k\bar\theta$ (deg)"]


def test_cells_are_the_best_networks_and_marks_the_transition():
    left, _ = panels()
    cells = np.asarray(left.collections[0].get_array()).reshape(3, 5)
    np.testing.assert_array_equal(cells, diagram().of_best("order_parameter").T)
    marks = {line.get_marker(): np.asarray(line.get_xydata()) for line in left.lines if line.get_marker() != "None"}
    np.testing.assert_allclose(marks["o"], [[0.49, 0], [0.5, 1]])
    np.testing.assert_allclose(marks["D"], [[0.14, 2]])
    np.testing.assert_allclose(marks["x"][:, 0], [0.2])
    bars = [line.get_xdata().tolist() for line in left.lines if line.get_marker() == "None"]
    assert bars[::2][:2] == [[0.2, 0.6], [0.3, 0.7]]
    assert to_hex(next(line for line in left.lines if line.get_marker() == "x").get_color()) == VERMILLION.lower()


def test_turns_beyond_the_axis_are_marked_at_its_top():
    _, right = panels()
    lines = {line.get_label(): np.asarray(line.get_ydata(), float) for line in right.lines}
    np.testing.assert_array_equal(lines["2"], [270, 270, 270, 270, 90])
    np.testing.assert_array_equal(lines["8"], [270, 270, np.nan, 90, 90])
    above = [line for line in right.lines if line.get_marker() == "^" and len(line.get_xdata())]
    assert [line.get_xdata().tolist() for line in above] == [[0.2]]
    assert above[0].get_ydata()[0] < right.get_ylim()[1]


def test_without_a_transition_only_the_networks_are_drawn():
    left, _ = rc.figures.phase_diagram(diagram())
    assert not left.lines


def test_without_eigenvalues_the_turn_is_that_of_the_directions():
    unknown = dataclasses.replace(diagram(), k_theta=np.full((5, 3, 1), np.nan))
    _, right = rc.figures.phase_diagram(unknown)
    assert right.get_ylabel() == "turn of the directions (deg)"
    np.testing.assert_array_equal(right.lines[0].get_ydata(), [270, 270, 270, 270, 90])
