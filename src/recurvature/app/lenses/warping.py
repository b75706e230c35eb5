"""The warping lens of a report: how each view of the inputs is stretched, curved, and how much to believe of it."""

from typing import Any, NamedTuple

import numpy as np

from recurvature._progress import Report
from recurvature.app import pictures, reading
from recurvature.app.lenses.curved import curvature_section
from recurvature.app.lenses.geometry import Geometry, look
from recurvature.app.page import (
    Block,
    Fact,
    Facts,
    Heading,
    Notice,
    Points,
    Section,
    Table,
    Text,
    number,
    percent,
)
from recurvature.app.subject import Seen, Subject, View
from recurvature.lenses import warping

MOST_COORDINATES = 4
"""Coordinates over which a report looks at a grid: with 5 points along each, 625 points."""


INTRODUCTION = (
    "A small change of an input moves the state by some distance. The metric collects these distances for every input "
    "and every moment: where it is large, neighbouring inputs are told apart; where it is small, they are treated "
    "alike. The network runs without noise here, and derivatives are exact."
)


class Warped(NamedTuple):
    """What was looked at, view by view."""

    subject: Subject
    looks: list[Geometry]
    unseen: tuple[View, ...]
    """Views of too many coordinates for a grid."""


def see(subject: Subject, report: Report) -> Seen:
    """Every view of the inputs that a grid can cover: metric, curvature, and checks."""
    seen = [view for view in subject.views if view.manifold.dimension <= MOST_COORDINATES]
    unseen = tuple(view for view in subject.views if view.manifold.dimension > MOST_COORDINATES)
    looks = [look(subject.network, view, points=subject.options.points, report=report) for view in seen]
    return Seen(
        (geometry_section(Warped(subject, looks, unseen)), curvature_section(looks)),
        {"geometry": {each.view.slug: geometry_numbers(each) for each in looks}},
        {f"{each.view.slug}-{name}": r for each in looks for name, r in each.results().items()},
        reading.headline(looks),
        checks_of(looks),
        reading.trust(looks),
    )


def geometry_section(found: Warped) -> Section:
    """How the network warps each view of its inputs."""
    blocks: list[Block] = []
    for each in found.looks:
        blocks.append(Heading(each.view.title[:1].upper() + each.view.title[1:]))
        blocks += pictures.geometry(each)
        if each is found.looks[0]:
            blocks.append(Text(INTRODUCTION))
        blocks.append(Facts(geometry_facts(each)))
        blocks.append(Points(tuple(reading.geometry(each))))
        blocks.append(_timetable(each))
    if found.subject.task is None and found.looks:
        blocks.append(Notice("No task was named:", _generic(found)))
    for view in found.unseen:
        why = f"“{view.title}” has {view.manifold.dimension} coordinates, too many for a grid. In Python, "
        blocks.append(Notice("Left out:", why + "recurvature.warping takes points that you choose."))
    said = reading.headline(found.looks) or ("" if found.looks else "It is left out here.")
    return Section("geometry", "How it warps its inputs", tuple(blocks), said)


def _generic(found: Warped) -> str:
    names = " and ".join(reading.plain(name) for name in found.looks[0].state.coordinates)
    probe, size = found.subject.probe, found.subject.network.system.input_size
    reach = number(probe.amplitude)
    rest = ", every other input at 0" if size > len(found.looks[0].state.coordinates) else ""
    return (
        f"this is the geometry of constant inputs, {names} from −{reach} to {reach}{rest}, over "
        f"{number(probe.duration)} units of time. Other inputs, above all those of the network's own task, "
        "can show another picture: name the task with --task, or choose --amplitude and --duration."
    )


def geometry_numbers(look: Geometry) -> dict[str, Any]:
    """Key numbers of one view, for run.json."""
    stretches = np.asarray(look.state.stretches)[-1]
    usable = np.asarray(look.state.status)[-1] == warping.STATUS.index("ok")
    numbers: dict[str, Any] = {
        "coordinates": list(look.state.coordinates),
        "points": list(look.state.grid),
        "duration": look.view.duration,
        "stretch_end_median": [float(v) for v in np.median(stretches[usable], 0)] if usable.any() else None,
        "status": reading.shares(look.state.status),
        "rank_full_share": float((np.asarray(look.dimension.rank) == look.dimension.bound).mean()),
    }
    if look.step_size is not None:
        numbers["step_size_change_end_max"] = float(np.asarray(look.step_size.relative_change)[-1].max())
    if look.ratio is not None:
        median = np.asarray(look.ratio.median)
        known = median[np.isfinite(median)]
        numbers["ratio"] = {
            "numerator": look.ratio.numerator,
            "denominator": look.ratio.denominator,
            "median_first": float(known[0]) if len(known) else None,
            "median_largest": float(known.max()) if len(known) else None,
            "median_end": float(median[-1]),
            "ratio_of_means_end": float(np.asarray(look.ratio.ratio_of_means)[-1]),
        }
    return numbers


def geometry_facts(look: Geometry) -> tuple[Fact, ...]:
    """The key numbers of one view, ready to print."""
    numbers = geometry_numbers(look)
    facts = []
    if look.ratio is not None:
        over = f"{reading.plain(look.ratio.numerator)} over {reading.plain(look.ratio.denominator)}"
        facts.append(
            Fact("metric ratio, largest", number(numbers["ratio"]["median_largest"]), f"{over}, median over points")
        )
        facts.append(Fact("metric ratio, end", number(numbers["ratio"]["median_end"]), over))
    stretches = numbers["stretch_end_median"]
    if stretches:
        facts.append(Fact("largest stretch, end", number(stretches[0]), "against the inputs, median"))
        if len(stretches) > 1:
            facts.append(Fact("smallest stretch, end", number(stretches[-1]), "against the inputs, median"))
    if len(stretches or ()) == 1:
        facts.append(
            Fact("points", " × ".join(map(str, look.state.grid)), f"{len(np.asarray(look.state.time)):,} moments")
        )
    return tuple(facts)


def _timetable(look: Geometry) -> Table:
    time = np.asarray(look.state.time)
    rows = []
    for moment in np.unique(np.linspace(0, len(time) - 1, 6).round().astype(int)):
        usable = np.asarray(look.state.status)[moment] == warping.STATUS.index("ok")
        stretches = np.asarray(look.state.stretches)[moment][usable]
        cells = [number(time[moment])]
        if look.ratio is not None:
            cells += [_cell(np.asarray(r.median)[moment]) for r in (look.ratio, look.rates_ratio) if r is not None]
        ends = (0, -1) if stretches.shape[1] > 1 else (0,)
        cells += [_cell(np.median(stretches[:, i])) if len(stretches) else "–" for i in ends]
        cells.append(percent(float(usable.mean())))
        rows.append(tuple(cells))
    grid = " × ".join(map(str, look.state.grid))
    caption = f"{look.view.title}: medians over the regular of {grid} points"
    header = ["t (τ)"]
    if look.ratio is not None:
        header += ["ratio, state", "ratio, rates"]
    header += ["largest stretch", "smallest stretch"] if len(look.state.coordinates) > 1 else ["stretch"]
    return Table((*header, "regular"), tuple(rows), caption)


def _cell(value: float) -> str:
    return number(float(value)) if np.isfinite(value) else "–"


def checks_of(looks: list[Geometry]) -> tuple[Block, ...]:
    """How much of it to believe: masks, the dimension theorem, the step, the number type."""
    blocks: list[Block] = []
    for each in looks:
        if each.state.unaligned_jumps:
            jumps = ", ".join(number(t) for t in each.state.unaligned_jumps)
            blocks.append(
                Notice("Careful:", f"the inputs jump between steps (t = {jumps}): the network sees each one late.")
            )
        name = each.view.title[:1].upper() + each.view.title[1:]
        said = [(f"{name}: {label.lower()}" if len(looks) > 1 else label, text) for label, text in reading.checks(each)]
        blocks += [pictures.checks(each), Points(tuple(said))]
    if looks:
        first = looks[0].state
        against = "the mean metric of the inputs" if first.reference == "inputs" else first.reference
        blocks.append(
            Text(
                f"Numbers are {first.dtype}; method: {first.method}. Stretches are measured against {against}. Ratios, "
                "medians and means answer different questions and can disagree; each is named where it stands."
            )
        )
    return tuple(blocks)
