"""What is drawn is what the result holds."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection, QuadMesh
from matplotlib.patches import PathPatch
from mpl_toolkits.mplot3d.art3d import Line3DCollection
from tests.figures.drawing import figure_of
from tests.figures.results import Case

import recurvature as rc
from recurvature._errors import InputError
from recurvature.figures.style import COORDINATES, edges, log_number, nearest, words
from recurvature.lenses import warping
from recurvature.systems.inputs import ConstantInputs, box

figures = rc.figures


def line(ax: Axes, label: str) -> tuple[np.ndarray, np.ndarray]:
    """The only line whose label starts with `label`."""
    (found,) = [one for one in ax.get_lines() if str(one.get_label()).startswith(label)]
    return np.asarray(found.get_xdata()), np.asarray(found.get_ydata())


def band_of(ax: Axes, index: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper edge of a band that was filled over all times."""
    bands = [c for c in ax.collections if isinstance(c, PolyCollection)]
    vertices = np.asarray(bands[index].get_paths()[0].vertices)
    count = (len(vertices) - 3) // 2
    return vertices[1 : count + 1, 1], vertices[count + 2 : -1, 1][::-1]


def test_over_time_draws_median_and_percentiles_of_the_diagonal(cases: dict[str, Case]) -> None:
    metric = cases["plane"].metric
    ax = figures.metric_over_time(metric)
    for i, name in enumerate(("evidence 1", "evidence 2")):
        stretch = np.sqrt(metric.metric[..., i, i])
        time, middle = line(ax, name)
        np.testing.assert_array_equal(time, metric.time)
        # square roots and interpolation between order statistics: rounding only
        np.testing.assert_allclose(middle, np.median(stretch, 1), rtol=1e-14)
        low, high = band_of(ax, i)
        # the same rounding
        np.testing.assert_allclose(low, np.percentile(stretch, 5, axis=1), rtol=1e-14)
        np.testing.assert_allclose(high, np.percentile(stretch, 95, axis=1), rtol=1e-14)


def test_principal_stretches_and_volume_are_those_of_the_result(cases: dict[str, Case]) -> None:
    metric = cases["plane"].metric
    ax = figures.metric_over_time(metric, quantity="principal")
    for a in range(2):
        np.testing.assert_array_equal(line(ax, f"stretch {a + 1}")[1], np.median(metric.stretches[..., a], 1))
    volume = figures.metric_over_time(metric, quantity="log_volume")
    np.testing.assert_array_equal(line(volume, "log volume")[1], np.median(metric.log_volume, 1))


def test_what_is_masked_is_not_drawn(cases: dict[str, Case]) -> None:
    masked = cases["masked"].metric
    assert (masked.status != 0).all()
    for quantity in ("log_volume", "anisotropy", "ratio"):
        assert np.isnan(figures.metric_over_time(masked, quantity=quantity).get_lines()[0].get_ydata()).all()
    first, second = figures.metric_over_time(masked).get_lines()[:2]
    # the first item moves the state though the metric is singular; the second has not come
    assert np.isfinite(first.get_ydata()).all()
    assert np.isnan(second.get_ydata()).all()


def test_ratio_draws_median_and_ratio_of_means_as_two_lines(cases: dict[str, Case]) -> None:
    ratio = cases["torus"].ratio
    assert ratio is not None
    ax = figures.ratio_over_time(ratio)
    np.testing.assert_array_equal(line(ax, "median")[1], ratio.median)
    np.testing.assert_array_equal(line(ax, "ratio of means")[1], ratio.ratio_of_means)
    assert ax.get_yscale() == "log"
    low, high = ax.get_ylim()
    assert low < 1 < high


def test_profile_draws_the_chosen_times(cases: dict[str, Case]) -> None:
    profile = cases["plane"].profile
    ax = figures.profile(profile, times=(0.6, 2.0))
    for time in (0.5, 2.0):
        value, relative = line(ax, f"t = {time:g} ")
        np.testing.assert_array_equal(value, profile.value)
        np.testing.assert_array_equal(relative, profile.relative[np.flatnonzero(profile.time == time)[0]])


def test_maps_put_the_first_coordinate_to_the_right(cases: dict[str, Case]) -> None:
    metric = cases["plane"].metric
    axes = figures.metric_maps(metric, times=(1.0, 2.0), quantity="metric")
    assert len(axes) == 4
    for ax, (i, index) in zip(axes, ((0, 3), (0, 7), (1, 3), (1, 7)), strict=True):
        (mesh,) = [c for c in ax.collections if isinstance(c, QuadMesh)]
        assert mesh.get_array().shape == (4, 5)  # type: ignore[union-attr]
        np.testing.assert_array_equal(mesh.get_array(), metric.metric[index, :, i, i].reshape(5, 4).T)
        corners = np.asarray(mesh.get_coordinates())
        # the centre of the cell (across 1, up 2) is the point (1, 2) of the grid, up to rounding of differences
        centre = corners[2:4, 1:3].mean((0, 1))
        np.testing.assert_allclose(centre, metric.theta.reshape(5, 4, 2)[1, 2], atol=1e-15)


def test_relative_maps_have_mean_one(cases: dict[str, Case]) -> None:
    for ax in figures.metric_maps(cases["plane"].metric, relative=True):
        (mesh,) = [c for c in ax.collections if isinstance(c, QuadMesh)]
        # a mean of 20 numbers: rounding only
        np.testing.assert_allclose(np.mean(mesh.get_array()), 1.0, rtol=1e-14)  # type: ignore[arg-type]


@pytest.mark.parametrize(("case", "count"), [("plane", 0), ("broken", 2), ("masked", 16)])
def test_cells_that_may_not_be_used_are_hatched_and_explained(case: str, count: int, cases: dict[str, Case]) -> None:
    metric = cases[case].metric
    axes = figures.metric_maps(metric, times=(float(metric.time[-1]),))
    patches = [p for p in axes[0].patches if isinstance(p, PathPatch)]
    cells = np.concatenate(
        [np.asarray(p.get_path().vertices).reshape(-1, 5, 2)[:, :4] for p in patches] or [np.empty((0, 4, 2))]
    )
    flagged = metric.theta[metric.status[-1] != 0]
    assert len(cells) == len(flagged) == count
    order = lambda points: points[np.lexsort(points.round(9).T)]  # noqa: E731
    # centres of cells are means of their corners: rounding only
    np.testing.assert_allclose(order(cells.mean(1)), order(flagged), atol=1e-12)
    legends = [text.get_text() for legend in figure_of(axes).legends for text in legend.get_texts()]
    reason = {"plane": [], "broken": ["metric not usable: non finite"], "masked": ["metric not usable: no input yet"]}
    assert legends == reason[case]


def test_curves_over_one_coordinate(cases: dict[str, Case]) -> None:
    metric = cases["line"].metric
    (ax,) = figures.metric_maps(metric, times=(2.0, 3.0))
    for time in (2.0, 3.0):
        across, stretch = line(ax, f"t = {time:g} ")
        np.testing.assert_array_equal(across, metric.theta[:, 0])
        np.testing.assert_array_equal(stretch, np.sqrt(metric.metric[metric.time == time][0, :, 0, 0]))


def closed(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows, rows[:1]])


@pytest.mark.parametrize("components", [2, 3])
def test_grid_lines_follow_the_states_and_close_where_periodic(components: int, cases: dict[str, Case]) -> None:
    for case, ends in (("plane", np.asarray), ("torus", closed)):
        sheet = cases[case].sheet
        kind: Any = LineCollection if components == 2 else Line3DCollection
        for t, ax in enumerate(figures.warped_grid(sheet, components=components)):
            families: list[Any] = [c for c in ax.collections if isinstance(c, kind)]
            cube = np.asarray(sheet.position)[t, :, :components].reshape(*sheet.grid, components)
            for axis, family in enumerate(families):
                lines = family.get_segments() if components == 2 else family._segments3d
                for drawn, expected in zip(lines, np.moveaxis(cube, axis, 1), strict=True):
                    np.testing.assert_array_equal(drawn, ends(expected))
            assert [family.get_colors()[0][:3] for family in families] == [
                pytest.approx([int(c[k : k + 2], 16) / 255 for k in (1, 3, 5)]) for c in COORDINATES[:2]
            ]


def test_grid_has_equal_aspect_and_shares_of_variance(cases: dict[str, Case]) -> None:
    sheet = cases["plane"].sheet
    axes = figures.warped_grid(sheet)
    FigureCanvasAgg(figure_of(axes)).draw()
    assert axes[0].get_ylabel() == f"PC 2 ({100 * sheet.variance[1]:.0f} %)"
    for ax in axes:
        box, width, height = ax.get_window_extent(), np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())
        # the layout places edges to a thousandth of the size
        assert box.width / width == pytest.approx(box.height / height, rel=1e-3)


def test_ellipses_are_circles_stretched_by_the_metric(cases: dict[str, Case]) -> None:
    metric = cases["plane"].metric
    ax = figures.ellipses(metric, 2.0, power=1.0)
    (polygons,) = [c for c in ax.collections if isinstance(c, PolyCollection)]
    spacing = np.array(
        [np.diff(edges(v)).mean() for v in (np.unique(metric.theta[:, 0]), np.unique(metric.theta[:, 1]))]
    )
    drawn = np.array([np.asarray(path.vertices)[:-1] for path in polygons.get_paths()])
    shape = (drawn - metric.theta[:, None]) / spacing
    steps = metric.metric[-1] * np.outer(spacing, spacing)
    # 48 directions of the unit circle have covariance 1/2 exactly; so drawn ellipses have 1/2 of S, all alike scaled
    covariance = 2 * np.einsum("pvi,pvj->pij", shape, shape) / 48
    scale = covariance[0, 0, 0] / steps[0, 0, 0]
    # an eigen-decomposition put together again: rounding
    np.testing.assert_allclose(covariance, scale * steps, rtol=1e-9, atol=1e-12)
    assert np.abs(shape).max() <= 0.5
    np.testing.assert_array_equal(polygons.get_array(), metric.anisotropy[-1])


def test_attribution_draws_medians_of_both_parts(cases: dict[str, Case]) -> None:
    attribution = cases["plane"].attribution
    for i, ax in enumerate(figures.attribution_over_time(attribution)):
        np.testing.assert_array_equal(line(ax, "recurrent")[1], np.median(attribution.recurrent_log_rate[..., i], 1))
        np.testing.assert_array_equal(line(ax, "input")[1], np.median(attribution.input_log_rate[..., i], 1))


def test_dimension_draws_ratio_and_rank(cases: dict[str, Case]) -> None:
    check = cases["plane"].dimension
    top, bottom = figures.dimension_map(check)
    np.testing.assert_array_equal(line(top, "median")[1], np.median(check.smallest_over_largest, 1))
    np.testing.assert_array_equal(bottom.get_lines()[0].get_ydata(), np.median(check.rank, 1))
    assert "bound m + 1 = 3" in [text.get_text() for text in bottom.texts]


def test_step_size_draws_the_median_and_the_largest(cases: dict[str, Case]) -> None:
    check = cases["plane"].step_size
    ax = figures.step_size(check)
    np.testing.assert_array_equal(line(ax, "median")[1], np.median(check.relative_change, 1))
    np.testing.assert_array_equal(line(ax, "largest")[1], check.relative_change.max(1))


def test_overview_shows_early_and_late(cases: dict[str, Case]) -> None:
    case = cases["plane"]
    assert case.ratio is not None
    axes = figures.overview(case.metric, case.ratio, case.profile, case.sheet)
    assert list(axes) == ["early", "late", "map", "ratio", "profile"]
    assert [axes[name].get_title() for name in ("early", "late", "map")] == ["t = 1 τ", "t = 2 τ", "t = 2 τ"]
    np.testing.assert_array_equal(line(axes["ratio"], "median")[1], case.ratio.median)


def test_what_cannot_be_drawn_is_refused(cases: dict[str, Case]) -> None:
    plane, line_case = cases["plane"], cases["line"]
    manifold = rc.tasks.ContextDecision().manifold()
    network = rc.systems.leaky_current(4, inputs=4, outputs=1, key=rc.key(0), dt=0.5)
    scattered = warping.metric(network, manifold, points=np.array([[0.1, 0.0], [0.0, 0.1]]), duration=1.0)
    cube = ConstantInputs(box(a=(0.0, 1.0), b=(0.0, 1.0), c=(0.0, 1.0), d=(0.0, 1.0)))
    solid = warping.metric(network, cube, points=2, duration=1.0)
    with pytest.raises(InputError, match="no grid"):
        figures.metric_maps(scattered)
    with pytest.raises(InputError, match="`metric` has 4"):
        figures.metric_maps(solid)
    with pytest.raises(InputError, match="2 coordinate"):
        figures.ellipses(line_case.metric)
    with pytest.raises(InputError, match="compares two coordinates"):
        figures.metric_over_time(line_case.metric, quantity="ratio")
    with pytest.raises(InputError, match=r"must lie in 0\.25…2"):
        figures.profile(plane.profile, times=(7.0,))
    with pytest.raises(InputError, match="at least one time"):
        figures.profile(plane.profile, times=())
    with pytest.raises(InputError, match="`output` must lie in 0…0"):
        figures.warped_grid(plane.sheet, output=1)
    with pytest.raises(InputError, match="`components`"):
        figures.warped_grid(plane.sheet, components=4)
    assert figures.metric_over_time(solid).get_legend() is not None


def test_times_snap_to_the_nearest_sample() -> None:
    assert nearest(np.arange(1, 11) * 0.1, (0.52, 0.98, 0.95, 0.0)) == [0, 4, 8, 9]
    assert nearest(np.arange(1, 11) * 1.0, None) == [0, 2, 5, 9]


def test_names_and_numbers_for_print() -> None:
    assert words("cost_$_a_$") == r"cost \$ a \$"
    assert [log_number(v) for v in (0.001, 0.25, 20.0, 1e4, 3e-6)] == [
        "0.001",
        "0.25",
        "20",
        "$10^{4}$",
        r"$3\times10^{-6}$",
    ]
