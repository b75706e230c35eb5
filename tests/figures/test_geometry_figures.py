"""Figures of curvature, geodesics, shape and comparison: readable, and what is drawn is what the result holds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from tests.figures import geometry_results as results
from tests.figures.drawing import figure_of, readable

import recurvature as rc
from recurvature._errors import InputError
from recurvature.figures.warping.maps import signed_norm
from recurvature.lenses.warping import GEODESIC_STATUS
from recurvature.lenses.warping.status import NO_INPUT_YET

figures = rc.figures
BOUNDARY, NOT_CONVERGED = GEODESIC_STATUS.index("boundary"), GEODESIC_STATUS.index("not_converged")

DRAWN: dict[str, tuple[Callable[[], Any], str]] = {
    "curvature": (lambda: figures.curvature_maps(results.memory()[0]), "(1 / state²)"),
    "mean curvature": (lambda: figures.curvature_maps(results.memory()[0], quantity="mean"), "(1 / state)"),
    "flat": (lambda: figures.curvature_maps(results.flat()), "item 1 (rad)"),
    "pieces": (lambda: figures.curvature_maps(results.piecewise()), "smooth pieces only"),
    "fan": (lambda: figures.geodesics(results.geodesic("initial value")), "item 2 (rad)"),
    "joined": (lambda: figures.geodesics(results.geodesic("boundary value")), "item 1 (rad)"),
    "distances": (lambda: figures.distance_matrices(results.distances()), "(unit of the space)"),
    "two tables": (
        lambda: figures.distance_matrices(
            {"memory": results.distances(), "decision": results.distances(False)}, normalise="max"
        ),
        "relative to the largest",
    ),
    "barcode": (lambda: figures.barcode(results.bars()), "distance"),
    "diagram": (lambda: figures.persistence_diagram(results.bars()), "birth at distance"),
    "curved surfaces": (lambda: figures.surfaces(results.memory()[2], results.memory()[0]), "(1 / state²)"),
    "stretched surfaces": (
        lambda: figures.surfaces(results.memory()[2], results.memory()[1], shared=True),
        "(state / rad)",
    ),
    "comparison": (lambda: figures.comparison(results.compared()), "difference / mean between seeds"),
    "pairs": (lambda: figures.difference_matrix(results.compared(), "geodesic rank"), "difference: geodesic rank"),
    "smoothing": (lambda: figures.smoothing(results.sweep()), "(1 / state²)"),
    "total": (
        lambda: figures.total_curvature({"tanh": results.total(0.0), "relu": results.total(1.0, kinks=("relu",))}),
        "total curvature (units of 2π)",
    ),
}
test_figures_are_readable_and_have_units = readable(DRAWN)


def legend_of(ax: Axes) -> list[str]:
    figure = ax.get_figure()
    assert figure is not None
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def mesh_of(ax: Axes) -> Any:
    (mesh,) = [one for one in ax.collections if isinstance(one, QuadMesh | Poly3DCollection)]
    return mesh


def test_curvature_maps_show_the_gaussian_curvature_and_hatch_what_is_singular() -> None:
    curved = results.memory()[0]
    axes = figures.curvature_maps(curved)
    assert len(axes) == len(results.TIMES)
    # one item has come: no surface yet
    assert (np.asarray(curved.status)[0] == NO_INPUT_YET).all()
    assert np.ma.getmaskarray(mesh_of(axes[0]).get_array()).all()
    assert len([p for p in axes[0].patches if isinstance(p, PathPatch)]) == 1
    assert legend_of(axes[0]) == ["metric not usable: no input yet"]
    shown = np.ma.getdata(mesh_of(axes[2]).get_array()).reshape(5, 6)
    np.testing.assert_array_equal(shown, curved.gaussian[2].reshape(6, 5).T)
    norm = mesh_of(axes[2]).norm
    assert norm.vmin == -norm.vmax


def test_what_is_flat_to_rounding_looks_flat() -> None:
    axes = figures.curvature_maps(results.flat())
    shares = mesh_of(axes[2]).norm(mesh_of(axes[2]).get_array())
    # K is 5e-17 on a scale that reaches 5e-15, ten times its rounding error of 5e-16: one part in 200 of the colours
    np.testing.assert_allclose(np.asarray(shares, float), 0.5, atol=0.0051)


def test_a_few_large_values_do_not_drown_the_others() -> None:
    values = np.array([1.0, -2.0, 1.5, -500.0, np.nan])
    norm = signed_norm(values)
    assert isinstance(norm, AsinhNorm)
    assert (norm.vmin, norm.vmax) == (-500.0, 500.0)
    # a value like the median is told from 0 by a tenth of the colours
    assert float(norm(1.5)) - 0.5 > 0.05
    assert not isinstance(signed_norm(values[:3]), AsinhNorm)


def test_curves_of_a_fan_are_those_of_the_result_and_lost_ones_are_named() -> None:
    result = results.geodesic("initial value", status=[0, BOUNDARY, 0, 0])
    ax = figures.geodesics(result)
    curves = [line for line in ax.get_lines() if len(np.asarray(line.get_xdata())) == result.theta.shape[1]]
    assert len(curves) == 4
    for line, curve in zip(curves, np.asarray(result.theta), strict=True):
        np.testing.assert_array_equal(np.asarray(line.get_xydata()), curve)
    assert [line.get_linestyle() for line in curves] == ["-", "--", "-", "-"]
    # the median length is 3.5, marked at four places
    assert legend_of(ax) == ["geodesics, a dot every 0.88 of length", "boundary"]


def test_classes_of_curves_have_their_turns_and_lengths() -> None:
    ax = figures.geodesics(results.geodesic("boundary value", status=[0, 0, NOT_CONVERGED, 0]))
    assert legend_of(ax) == [
        "turns (0, 0): 2",
        "turns (+1, 0): 3",
        "turns (\N{MINUS SIGN}1, 0): 4",
        "straight in the coordinates",
        "not converged",
    ]
    assert max(line.get_linewidth() for line in ax.get_lines()) == 2.0


def test_geodesics_leave_the_axes_of_a_map_as_they_are() -> None:
    ax = figures.curvature_maps(results.memory()[0])[2]
    before = ax.get_xlim(), ax.get_ylim(), ax.get_xlabel()
    assert figures.geodesics(results.geodesic("initial value"), ax) is ax
    assert (ax.get_xlim(), ax.get_ylim(), ax.get_xlabel()) == before


@pytest.mark.parametrize(("normalise", "unit"), [("raw", lambda d: 1.0), ("max", np.max), ("mean", None)])
def test_distance_matrices_show_the_distances(normalise: Any, unit: Any) -> None:
    result = results.distances()
    (ax,) = figures.distance_matrices(result, normalise=normalise)
    table = np.asarray(result.distances)
    by = table[np.triu_indices(30, 1)].mean() if unit is None else unit(table)
    np.testing.assert_array_equal(np.asarray(ax.images[0].get_array()), table / by)
    # a tick to every second value of the first coordinate, where its block of 5 points begins
    np.testing.assert_array_equal(ax.get_xticks(), np.array([0, 10, 20]) - 0.5)


def test_bars_that_count_are_thick_and_endless_ones_have_an_arrow() -> None:
    bars = results.bars()
    ax = figures.barcode(bars)
    thick = [line for line in ax.get_lines() if line.get_linewidth() == 2.6 and line.get_alpha() == 1.0]
    drawn = sorted(np.asarray(line.get_xdata()).tolist() for line in thick)
    right = ax.get_xlim()[1]
    assert drawn == [[0.0, right], [0.4, 2.0], [0.5, 1.9], [1.4, 2.6]]
    assert [line.get_marker() for line in ax.get_lines()].count(">") == 1
    assert "loops: 2" in [text.get_text() for text in ax.texts]
    (radius,) = [line for line in ax.get_lines() if line.get_linestyle() == ":"]
    assert np.asarray(radius.get_xdata())[0] == bars.covering_radius


def test_full_symbols_of_a_diagram_are_the_bars_that_count() -> None:
    bars = results.bars()
    ax = figures.persistence_diagram(bars)
    full = [line for line in ax.get_lines() if line.get_markersize() == 5.0 and len(np.asarray(line.get_xdata()))]
    points = np.concatenate([np.asarray(line.get_xydata()) for line in full])
    counted = np.asarray(bars.significant) == 1
    ends = np.minimum(np.asarray(bars.death)[counted], ax.get_ylim()[1])
    np.testing.assert_array_equal(points, np.stack([np.asarray(bars.birth)[counted], ends], -1))


def test_surfaces_close_around_circles_and_have_the_colours_of_the_result() -> None:
    curved, metric, sheet = results.memory()
    axes = figures.surfaces(sheet, metric, quantity="stretch", coordinate=1)
    mesh = mesh_of(axes[2])
    # 6 by 5 points around both circles: as many cells
    assert len(mesh.get_array()) == 30
    last = int(np.abs(np.asarray(metric.time) - 2.5).argmin())
    stretch = np.sqrt(np.asarray(metric.metric)[last, :, 1, 1]).reshape(6, 5)
    corners = [np.roll(stretch, shift, (0, 1)) for shift in ((0, 0), (-1, 0), (0, -1), (-1, -1))]
    # means of the same four numbers in another order
    np.testing.assert_allclose(np.asarray(mesh.get_array()), np.mean(corners, 0).ravel(), rtol=1e-14)
    masked = figures.surfaces(sheet, curved)[0]
    assert np.ma.getmaskarray(mesh_of(masked).get_array()).all()
    assert legend_of(masked) == ["metric not usable: no input yet"]


def test_differences_are_in_units_of_those_between_seeds() -> None:
    result = results.compared()
    ax = figures.comparison(result, quantities=["geodesic raw max"])
    first, second = np.triu_indices(4, 1)
    pairs = np.asarray(result.difference)[1, first, second]
    group = np.array(result.group_of)
    same = group[first] == group[second]
    dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
    shown = [float(np.asarray(line.get_xdata())[0]) for line in dots]
    # one division and one mean
    np.testing.assert_allclose(shown, pairs / pairs[same].mean(), rtol=1e-14)
    (mean,) = [line for line in ax.get_lines() if line.get_marker() == "|"]
    np.testing.assert_allclose(np.asarray(mean.get_xdata())[0], pairs[~same].mean() / pairs[same].mean(), rtol=1e-14)


def test_without_seeds_differences_have_no_baseline() -> None:
    ax = figures.comparison(results.compared(seeds=1))
    assert ax.get_xlabel() == "difference (no seed baseline)"
    # of the three networks one has not learned: one pair is left, in each of the three rows of means
    assert len([line for line in ax.get_lines() if line.get_marker() == "o"]) == 3


def test_the_sweep_shows_the_kink_beside_the_pieces() -> None:
    ax = figures.smoothing(results.sweep())
    lines = {str(line.get_label()): np.asarray(line.get_ydata(), float) for line in ax.get_lines()}
    np.testing.assert_array_equal(lines["largest, smoothed"], [1.0, 4.0, 16.0, 64.0])
    np.testing.assert_array_equal(lines["median, smoothed"], [0.5] * 4)
    assert set(lines["largest, pieces of ReLU"]) == {0.4}


def test_total_curvature_names_kinks_and_masks() -> None:
    ax = figures.total_curvature({"tanh": results.total(0.5), "relu": results.total(1.0, kinks=("relu",), masked=3)})
    assert [label.get_text() for label in ax.get_yticklabels()] == ["tanh", "relu (kinks)"]
    assert [text.get_text() for text in ax.texts] == ["3 points masked: no total"]
    dots = [float(np.asarray(line.get_xdata())[0]) for line in ax.get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose(dots, [0.5 / (2 * np.pi), 3.5 / (2 * np.pi)], rtol=1e-15)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: figures.curvature_maps(results.memory()[0], quantity="scalar"), "quantity"),
        (lambda: figures.surfaces(results.memory()[2], results.memory()[1], coordinate=2), "coordinate"),
        (lambda: figures.surfaces(results.memory()[2], results.memory()[1], quantity="gaussian"), "quantity"),
        (lambda: figures.distance_matrices({}), "at least one"),
        (lambda: figures.distance_matrices(results.distances(), normalise="sum"), "normalise"),
        (lambda: figures.comparison(results.compared(), quantities=["distance"]), "unknown quantity"),
        (lambda: figures.total_curvature({}), "at least one"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        wrong()


def test_axes_that_are_given_are_used() -> None:
    ax = Figure(layout="constrained").add_subplot()
    assert figures.comparison(results.compared(), ax) is ax
    FigureCanvasAgg(figure_of(ax)).draw()
