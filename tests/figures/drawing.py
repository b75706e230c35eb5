"""The figures of the suite by name, and what can be asked of anything drawn."""

import itertools
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import pytest
from matplotlib.axes import Axes
from matplotlib.axis import Axis, Tick
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

import recurvature as rc
from recurvature.figures.style import FULL

figures = rc.figures

WARPING: dict[str, Callable[[Any], Any]] = {
    "stretch maps": lambda c: figures.metric_maps(c.metric),
    "metric maps": lambda c: figures.metric_maps(c.metric, quantity="metric", relative=True),
    "volume maps": lambda c: figures.metric_maps(c.metric, quantity="log_volume"),
    "relative volume maps": lambda c: figures.metric_maps(c.metric, quantity="log_volume", relative=True),
    "stretch over time": lambda c: figures.metric_over_time(c.metric),
    "metric over time": lambda c: figures.metric_over_time(c.metric, quantity="metric"),
    "principal stretches": lambda c: figures.metric_over_time(c.metric, quantity="principal"),
    "volume over time": lambda c: figures.metric_over_time(c.metric, quantity="log_volume"),
    "profile": lambda c: figures.profile(c.profile),
    "attribution": lambda c: figures.attribution_over_time(c.attribution),
    "dimension": lambda c: figures.dimension_map(c.dimension),
    "step size": lambda c: figures.step_size(c.step_size),
    "grid": lambda c: figures.warped_grid(c.sheet),
    "grid apart": lambda c: figures.warped_grid(c.sheet, shared=False),
    "grid in space": lambda c: figures.warped_grid(c.sheet, components=3),
}
PLANAR: dict[str, Callable[[Any], Any]] = {
    "ratio maps": lambda c: figures.metric_maps(c.metric, quantity="ratio"),
    "anisotropy maps": lambda c: figures.metric_maps(c.metric, quantity="anisotropy"),
    "anisotropy over time": lambda c: figures.metric_over_time(c.metric, quantity="anisotropy"),
    "ratio": lambda c: figures.ratio_over_time(c.ratio),
    "ellipses": lambda c: figures.ellipses(c.metric),
    "overview": lambda c: figures.overview(c.metric, c.ratio, c.profile, c.sheet),
}


def figure_of(drawn: Any) -> Figure:
    """The figure that holds what a function gave back."""
    axes: Axes = drawn
    if isinstance(drawn, list | dict):
        axes = next(iter(drawn.values() if isinstance(drawn, dict) else drawn))
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def labels_of(figure: Figure) -> list[str]:
    """All labels and titles that can be read."""
    found = []
    for ax in figure.get_axes():
        texts = [ax.xaxis.label, ax.yaxis.label, ax.title]
        found += [text.get_text() for text in texts if text.get_visible() and text.get_text()]
    return found


def visible_texts(figure: Figure) -> list[Text]:
    """All texts but those of ticks: ticks beyond the limits of their axis stay undrawn where they are."""
    of_ticks = {id(label) for tick in figure.findobj(Tick) for label in (tick.label1, tick.label2)}
    found = [text for text in figure.findobj(Text) if isinstance(text, Text) and id(text) not in of_ticks]
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def labels_along(axis: Axis) -> list[Text]:
    """The labels of the major ticks within the limits of an axis."""
    low, high = sorted(axis.get_view_interval())
    labels = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [label for label in labels if label.get_text() and label.get_visible()]


class Seen(NamedTuple):
    """What a reader sees of a drawn figure."""

    page: Bbox
    width: float
    """Inches."""
    labels: list[str]
    texts: list[tuple[str, Bbox]]
    ticks: list[list[tuple[float, float]]]
    """From where to where each label reaches along its axis, axis by axis."""

    @property
    def outside(self) -> list[str]:
        """Texts that leave the page by more than two pixels: letters overhang their box."""
        page = self.page
        fits = lambda box: box.x0 > -2 and box.y0 > -2 and box.x1 < page.x1 + 2 and box.y1 < page.y1 + 2  # noqa: E731
        return [text for text, box in self.texts if not fits(box)]

    @property
    def touching(self) -> list[list[tuple[float, float]]]:
        """Axes whose labels run into each other."""
        return [spans for spans in self.ticks if any(a[1] > b[0] for a, b in itertools.pairwise(spans))]


def look_at(drawn: Any) -> Seen:
    """Draw what a function gave back, and say what a reader sees of it."""
    figure = figure_of(drawn)
    FigureCanvasAgg(figure).draw()
    texts = [(str(text), text.get_window_extent()) for text in visible_texts(figure)]
    ticks = []
    for ax in figure.get_axes():
        for axis, along in ((ax.xaxis, "x"), (ax.yaxis, "y")):
            boxes = [text.get_window_extent() for text in labels_along(axis)]
            ticks.append(sorted((getattr(box, f"{along}0"), getattr(box, f"{along}1")) for box in boxes))
    return Seen(figure.bbox.frozen(), float(figure.get_size_inches()[0]), labels_of(figure), texts, ticks)


def readable(
    drawings: Mapping[str, tuple[Callable[[], Any], str]], *, upright: Collection[str] = ()
) -> Callable[[str], None]:
    """A test of each drawing: one of its labels holds what is said, and all can be read on a page.

    In drawings that are `upright`, names stand under their columns and keep apart where their boxes do not.
    """

    @pytest.mark.parametrize("name", drawings)
    def test(name: str) -> None:
        draw, label = drawings[name]
        seen = look_at(draw())
        assert any(label in one for one in seen.labels), seen.labels
        # a figure wider than a page would be shrunk until its letters are too small
        assert seen.width <= FULL
        assert not seen.outside, seen.outside
        assert name in upright or not seen.touching, seen.touching

    return test
