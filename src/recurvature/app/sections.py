"""The sections of a report that speak of results: what was learned, how it warps, how much to believe, and whence."""

from typing import Any

import numpy as np

from recurvature._result import AbstractResult, Citation
from recurvature.app import pictures, reading
from recurvature.app.page import (
    Block,
    Code,
    Fact,
    Facts,
    Heading,
    Notice,
    Page,
    Points,
    References,
    Section,
    Table,
    Text,
    number,
    percent,
    span,
)
from recurvature.app.pipeline import Geometry, Performance, Study
from recurvature.lenses import warping
from recurvature.tasks.base import AbstractTask
from recurvature.training import History


def learning_section(
    task: AbstractTask | None, done: Performance | None, history: History | None, seeds: Table | None = None
) -> Section:
    """Whether the network does its task."""
    if task is None:
        why = "no task was named, so nobody can say what a right output is. Name one with --task."
        return Section("learning", "Does it do its task", (Notice("Left out:", why),))
    facts = [Fact("task", task.name, f"{task.steps} steps of {number(task.dt)} τ")]
    blocks: list[Block] = []
    if done is not None:
        facts.append(Fact("trials answered right", percent(done.accuracy), f"of {done.answered:,} with an answer"))
        blocks.append(Text(reading.performance(done)))
    if done is not None and done.failed:
        blocks.append(Notice("Careful:", f"in {done.failed} trials the states were not finite."))
    if seeds is not None:
        blocks.append(seeds)
    if history is not None:
        facts.append(Fact("training", f"{int(np.asarray(history.steps_done).max()):,} steps"))
        blocks.append(pictures.training(history))
    if done is not None:
        blocks += pictures.performance(task, done)
    return Section("learning", "Does it do its task", (Facts(tuple(facts)), *blocks))


def geometry_section(found: Study) -> Section:
    """How the network warps each view of its inputs."""
    blocks: list[Block] = [
        Text(
            "A small change of an input moves the state by some distance. The metric collects these distances for "
            "every input and every moment: where it is large, neighbouring inputs are told apart; where it is small, "
            "they are treated alike. The network runs without noise here, and derivatives are exact."
        )
    ]
    if found.task is None:
        blocks.append(Notice("No task was named:", _generic(found)))
    for look in found.geometries:
        blocks.append(Heading(look.view.title[:1].upper() + look.view.title[1:]))
        blocks.append(Facts(geometry_facts(look)))
        blocks.append(Points(tuple(reading.geometry(look))))
        blocks += pictures.geometry(look)
        blocks.append(_timetable(look))
    for view in found.unseen:
        why = f"“{view.title}” has {view.manifold.dimension} coordinates, too many for a grid. In Python, "
        blocks.append(Notice("Left out:", why + "recurvature.warping takes points that you choose."))
    return Section("geometry", "How it warps its inputs", tuple(blocks))


def _generic(found: Study) -> str:
    names = " and ".join(reading.plain(name) for name in found.geometries[0].state.coordinates)
    reach, size = number(found.probe.amplitude), found.network.system.input_size
    rest = ", every other input at 0" if size > len(found.geometries[0].state.coordinates) else ""
    return (
        f"this is the geometry of constant inputs, {names} from −{reach} to {reach}{rest}, over "
        f"{number(found.probe.duration)} units of time. Other inputs, above all those of the network's own task, can "
        "show another picture: name the task with --task, or choose --amplitude and --duration."
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


def trust_section(found: Study) -> Section:
    """How much of it to believe: masks, the dimension theorem, the step, the number type."""
    blocks: list[Block] = []
    looks, done = found.geometries, found.performance
    for look in looks:
        if look.state.unaligned_jumps:
            jumps = ", ".join(number(t) for t in look.state.unaligned_jumps)
            blocks.append(
                Notice("Careful:", f"the inputs jump between steps (t = {jumps}): the network sees each one late.")
            )
        blocks += [Heading(look.view.title[:1].upper() + look.view.title[1:]), Points(tuple(reading.checks(look)))]
    if looks:
        first = looks[0].state
        against = "the mean metric of the inputs" if first.reference == "inputs" else first.reference
        blocks.append(
            Text(
                f"Numbers are {first.dtype}; method: {first.method}. Stretches are measured against {against}. Ratios, "
                "medians and means answer different questions and can disagree; each is named where it stands."
            )
        )
    else:
        blocks.append(Text("Nothing was computed that would need checking."))
    if done is not None and done.answered < 400:
        blocks.append(
            Notice("Careful:", f"the accuracy rests on {done.answered} trials only; ask for more with --trials.")
        )
    return Section("trust", "How much to believe", tuple(blocks))


def provenance_section(record: dict[str, Any]) -> Section:
    """Where every number comes from."""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    rows = [
        ("command", record["line"]),
        ("date", record["started"]),
        ("wall time", span(record["wall_seconds"])),
        ("device", record["device"]),
        ("seed", "none" if record["seed"] is None else str(record["seed"])),
        ("versions", versions),
        ("settings", _plain(record["spec"])),
    ]
    blocks: list[Block] = [Table(("what", "value"), tuple(rows))]
    blocks.append(Text("The same numbers for machines are in run.json; every array is in results.zarr, read with"))
    blocks.append(Code('import recurvature as rc\nresult = rc.io.load("results.zarr/NAME.zarr")'))
    return Section("provenance", "Provenance", tuple(blocks))


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items() if v is not None)
    return ", ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)


def references_section(results: list[AbstractResult], more: list[Citation]) -> Section:
    """The papers that the results stand on, each once."""
    found = {c.url or c.text: c for c in (*more, *(c for r in results for c in r.citations))}
    items = tuple((c.text, c.url) for c in found.values())
    return Section("papers", "Papers to cite", (References(items),))


def summary(found: Study) -> str:
    """The first lines of a report: does it do its task, and how does it warp its inputs."""
    sentences = [reading.headline(found.geometries)]
    if found.performance is not None:
        sentences.insert(0, f"It answers {percent(found.performance.accuracy)} of its trials right.")
    return " ".join(filter(None, sentences))


def next_section(line: str) -> Section:
    """What to type next."""
    blocks = (Text("This report is about learning. To see how the network warps its inputs:"), Code(line))
    return Section("next", "What to look at next", blocks)


def page(
    record: dict[str, Any],
    title: str,
    subtitle: str,
    parts: list[Section],
    results: list[AbstractResult],
    papers: list[Citation],
) -> Page:
    """The whole report: the given sections, then provenance and papers."""
    end = [provenance_section(record), references_section(results, papers)]
    return Page("Recurvature report", title, subtitle, (*parts, *end))
