"""The figures of the suite by name, and what can be asked of anything drawn."""

from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

import recurvature as rc

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
