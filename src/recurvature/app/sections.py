"""The sections of a report that every command writes: what was learned, whence it comes, and what to cite."""

from typing import Any

import numpy as np

from recurvature._result import AbstractResult, Citation
from recurvature.app import pictures, reading
from recurvature.app.page import (
    Block,
    Code,
    Fact,
    Facts,
    Notice,
    Page,
    References,
    Section,
    Table,
    Text,
    percent,
    span,
)
from recurvature.app.pipeline import Study
from recurvature.app.subject import Performance
from recurvature.tasks.base import AbstractTask
from recurvature.training import History

FEW = 400
"""Trials below which an accuracy is called uncertain."""


def learning_section(
    task: AbstractTask, done: Performance | None, history: History | None, seeds: Table | None = None
) -> Section:
    """Whether the network does its task: outputs and answers, the loss, then how sure that is."""
    shown: list[Block] = [] if done is None else [*pictures.performance(task, done)]
    facts: list[Fact] = []
    after: list[Block] = []
    if done is not None:
        facts.append(Fact("trials answered right", percent(done.accuracy), f"of {done.answered:,} with an answer"))
        after.append(Text(reading.performance(done)))
    if seeds is not None:
        after.append(seeds)
    if history is not None:
        facts.append(Fact("training", f"{int(np.asarray(history.steps_done).max()):,} steps"))
        shown.append(pictures.training(history, task))
    if done is not None and done.failed:
        after.append(Notice("Careful:", f"in {done.failed} trials the states were not finite."))
    if done is not None and done.answered < FEW:
        few = f"the accuracy rests on {done.answered} trials only; ask for more with --trials."
        after.append(Notice("Careful:", few))
    finding = "" if done is None else answered(done)
    return Section("learning", "Does it do it", (*shown, Facts(tuple(facts)), *after), finding)


def answered(done: Performance) -> str:
    """How well the network does, in one sentence."""
    if done.accuracy < reading.LEARNED:
        return f"Not yet: it answers only {percent(done.accuracy)} of its trials right."
    return f"It answers {percent(done.accuracy)} of its trials right."


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
    """A few sentences: does it do its task, and what each lens has to say first."""
    sentences = [each.headline for each in found.seen.values()]
    return " ".join(filter(None, (lead(found), *sentences)))


def lead(found: Study) -> str:
    """The line below the title of a report; what else was found stands in its table of contents."""
    if found.performance is None:
        return ""
    return f"It answers {percent(found.performance.accuracy)} of its trials right."


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
