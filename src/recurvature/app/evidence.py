"""Pictures of what a claim rests on: the kinds of result that have a figure of their own, two at most."""

from collections.abc import Callable, Mapping
from typing import Any

from recurvature import figures
from recurvature._result import AbstractResult
from recurvature.app.page import Picture
from recurvature.app.pictures import beside, root
from recurvature.app.report import picture
from recurvature.lenses import overlaps, superposition, warping

DRAWN: dict[type[AbstractResult], tuple[Callable[..., Any], str]] = {
    warping.Ratio: (figures.ratio_over_time, "The metric ratio over time"),
    warping.Profile: (figures.profile, "Stretch along the relevant coordinate, at four times"),
    warping.Metric: (figures.metric_over_time, "Stretch along every coordinate over time"),
    superposition.Geometry: (figures.feature_plane, "Directions of a feature by age, beside its readout"),
    overlaps.Perturbation: (figures.learning_apart, "Losses of networks that begin with the same function"),
    overlaps.RoundTrip: (figures.left_behind, "What the way from A to B and back leaves of every overlap"),
    overlaps.Histories: (figures.route_distances, "How far the two routes are apart, overlap by overlap"),
    overlaps.Invariants: (figures.invariant_drift, "What is conserved, and how far it moves"),
}
"""Kind of result → its figure, and what to say under it."""

PANELS = 2


def pictures_of(results: Mapping[str, AbstractResult]) -> list[Picture]:
    """One picture with the first results of the first kind that can be drawn; none if there is no such result."""
    for kind, (draw, caption) in DRAWN.items():
        found = {name: result for name, result in results.items() if isinstance(result, kind)}
        if found:
            return [_row(dict(list(found.items())[:PANELS]), draw, caption)]
    return []


def _row(results: Mapping[str, AbstractResult], draw: Callable[..., Any], caption: str) -> Picture:
    panels = beside(len(results))
    for panel, result in zip(panels, results.values(), strict=True):
        draw(result, panel)
    names = ", ".join(results)
    return picture(root(panels), f"{caption} ({names}).", caption)
