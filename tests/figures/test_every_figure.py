"""Every figure of every kind of result: drawn without a warning, readable, alone, and the same each time."""

import functools
import io
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tests.figures.drawing import PLANAR, WARPING, Seen, figure_of, look_at
from tests.figures.results import CASES, Case, all_cases

import recurvature as rc
from recurvature._errors import InputError

ALL = WARPING | PLANAR


@functools.cache
def seen(name: str, case: str) -> Seen:
    """Each figure of each case is drawn once for all that is asked of it, and leaves the settings as they were."""
    before = dict(mpl.rcParams)
    found = look_at(ALL[name](all_cases()[case]))
    assert dict(mpl.rcParams) == before
    return found


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", WARPING)
def test_every_result_is_drawn_without_a_warning(name: str, case: str) -> None:
    assert seen(name, case).labels


@pytest.mark.parametrize("case", [c for c in CASES if c != "line"])
@pytest.mark.parametrize("name", PLANAR)
def test_every_result_on_two_coordinates_is_drawn_without_a_warning(name: str, case: str) -> None:
    assert seen(name, case).labels


UNITS = {
    "plane": {
        "stretch maps": "(state / unit of evidence 1)",
        "metric maps": "$G_{22}$ / mean, evidence 2",
        "volume maps": "(relative to inputs)",
        "stretch over time": "stretch (state / coordinate)",
        "metric over time": "metric (state² / coordinate²)",
        "principal stretches": "principal stretch\n(relative to inputs)",
        "profile": "stretch of state\nrelative to its mean",
        "attribution": "log-stretch rate (1/τ)",
        "step size": "relative change of the metric\nsteps of 0.25 τ → 0.125 τ",
        "ratio": "metric ratio of state\nevidence 1 / evidence 2",
        "anisotropy maps": "$s_1/s_2$, anisotropy\n(relative to inputs)",
        "grid": "output",
    },
    "torus": {"stretch over time": "stretch (state / rad)", "stretch maps": "item 1 (rad)", "profile": "item 1 (rad)"},
    "line": {
        "stretch over time": r"$\sqrt{G_{11}}$, coherence (state / %)",
        "metric over time": "$G_{11}$, coherence (state² / (%)²)",
        "profile": "coherence (%)",
        "dimension": r"$\sigma_\mathrm{min}/\sigma_\mathrm{max}$",
    },
}


@pytest.mark.parametrize(("case", "name"), [(case, name) for case in UNITS for name in UNITS[case]])
def test_labels_say_what_is_drawn_and_in_which_units(case: str, name: str) -> None:
    labels = seen(name, case).labels
    assert any(UNITS[case][name] in label for label in labels), labels
    if "time" in name or name in ("attribution", "step size", "dimension", "ratio"):
        assert "time (τ)" in labels


@pytest.mark.parametrize("case", ["plane", "torus", "masked"])
@pytest.mark.parametrize("name", ALL)
def test_no_text_leaves_the_figure(name: str, case: str) -> None:
    assert not seen(name, case).outside


FLAT = [name for name in ALL if name != "grid in space"]


@pytest.mark.parametrize(
    ("case", "name"),
    [(case, name) for case in ("plane", "torus") for name in FLAT]
    + [("line", name) for name in WARPING if name in FLAT],
)
def test_tick_labels_keep_apart(case: str, name: str) -> None:
    assert not seen(name, case).touching


def test_no_registry_keeps_a_figure_alive() -> None:
    assert all(seen(name, "plane") for name in ALL)
    assert plt.get_fignums() == []


def test_settings_come_back_after_an_error(cases: dict[str, Case]) -> None:
    before = dict(mpl.rcParams)
    with pytest.raises(InputError, match="quantity"):
        rc.figures.metric_maps(cases["plane"].metric, quantity="strech")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", ["stretch maps", "grid in space", "overview", "ellipses"])
def test_the_same_result_gives_the_same_picture(name: str, cases: dict[str, Case]) -> None:
    pictures = []
    for _ in range(2):
        buffer = io.BytesIO()
        figure_of(ALL[name](cases["torus"])).savefig(buffer, dpi=60)
        pictures.append(buffer.getvalue())
    assert pictures[0] == pictures[1]


def test_the_look_holds_however_the_picture_is_drawn(cases: dict[str, Case]) -> None:
    axes = rc.figures.metric_over_time(cases["plane"].metric)
    with mpl.rc_context({"xtick.labelsize": 30, "xtick.major.size": 20, "font.family": "serif"}):
        FigureCanvasAgg(figure_of(axes)).draw()
        tick = axes.xaxis.get_major_ticks()[0]
        assert tick.label1.get_fontsize() == rc.figures.style.SMALL
        assert tick.label1.get_fontfamily() == [rc.figures.style.FAMILY]


def test_figures_fit_a_column_or_a_page() -> None:
    for name in ALL:
        # the overview stands alone on a page of documentation
        assert seen(name, "torus").width <= (7.2 if name == "overview" else 7.0), name


def test_drawing_on_what_is_given(cases: dict[str, Case]) -> None:
    case, figure = cases["plane"], Figure(figsize=(7, 6), layout="constrained")
    halves: Any = figure.subfigures(2, 1)
    upper, lower = halves
    ax = upper.subplots()
    assert rc.figures.metric_over_time(case.metric, ax) is ax
    panels = rc.figures.metric_maps(case.metric, lower)
    assert all(panel.get_figure(root=True) is figure and panel.figure is lower for panel in panels)
    FigureCanvasAgg(figure).draw()
