"""`recurvature reproduce`: run the claims of papers, print the verdicts, and write them into a folder."""

import collections
import dataclasses
import time
from pathlib import Path
from typing import Any

import recurvature as rc
from recurvature._errors import unknown
from recurvature._progress import Progress, Report
from recurvature._result import AbstractResult
from recurvature.app import sections
from recurvature.app.claims import (
    DIFFERS,
    FAILED,
    NOT_RUN,
    REPRODUCED,
    Claim,
    Claims,
    Finding,
    Verdict,
    missing,
    papers,
    read_claims,
)
from recurvature.app.evidence import pictures_of
from recurvature.app.laboratory import load_experiment, measure, prepare
from recurvature.app.output import claim as claim_folder
from recurvature.app.page import Block, Notice, Page, Points, Section, Table, Text, number, span
from recurvature.app.run import Run, files, finish, write_run
from recurvature.app.terminal import FAILED as EXIT_FAILED
from recurvature.app.terminal import FINE, progress

PARTS = "parts"
"""The folder, inside the output, of networks that are reused when a run is repeated or goes on."""

Chosen = dict[str, tuple[Claims, tuple[Claim, ...]]]
"""Paper → its file, and the claims to run."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What to run, and how large."""

    paper: str
    ids: tuple[str, ...] = ()
    full: bool = False
    data: Path | None = None

    def chosen(self) -> Chosen:
        """The claims of every paper asked for. Raises `InputError` on names that are not known."""
        names = list(papers()) if self.paper == "all" else [self.paper]
        found = {name: read_claims(name) for name in names}
        if self.paper != "all":
            return {name: (file, file.chosen(self.ids)) for name, file in found.items()}
        known = [claim.id for file in found.values() for claim in file.claim]
        for name in self.ids:
            if name not in known:
                raise unknown("claim", name, known)
        rows = {name: tuple(c for c in file.claim if not self.ids or c.id in self.ids) for name, file in found.items()}
        return {name: (found[name], claims) for name, claims in rows.items() if claims}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The verdicts on the claims of each paper, and the settings of each."""

    verdicts: dict[str, list[Verdict]]
    settings: dict[str, Any]

    @property
    def results(self) -> dict[str, AbstractResult]:
        """What the verdicts rest on, by paper, claim and name."""
        rows = [(paper, verdict) for paper, verdicts in self.verdicts.items() for verdict in verdicts]
        return {f"{paper}-{v.claim.id}-{name}": result for paper, v in rows for name, result in v.results.items()}

    @property
    def everything(self) -> list[Verdict]:
        """All verdicts."""
        return [verdict for rows in self.verdicts.values() for verdict in rows]

    @property
    def tally(self) -> str:
        """How many of each, in words."""
        counts = collections.Counter(verdict.verdict for verdict in self.everything)
        return ", ".join(f"{counts[name]} {name}" for name in (REPRODUCED, DIFFERS, FAILED, NOT_RUN) if counts[name])

    @property
    def failed(self) -> bool:
        """Whether a claim failed."""
        return any(verdict.verdict == FAILED for verdict in self.everything)


def reproduce(run: Run, out: Path, request: Request) -> int:
    """Check the claims asked for, write them into the folder `out`, and give the exit code."""
    chosen = request.chosen()
    rc.enable_float64()
    with claim_folder(out, files(), force=run.force) as output:
        with progress(run.json) as report:
            outcome = check(chosen, request, out / PARTS, report)
        record = record_of(run, request, outcome)
        write_run(output, record, outcome.results, page_of(record, chosen, outcome))
    finish(run, record, [*table(outcome), f"Report: {out / 'report.html'}"])
    return EXIT_FAILED if outcome.failed else FINE


def check(chosen: Chosen, request: Request, folder: Path, report: Report) -> Outcome:
    """Run every claim in the order of its file; what several of them need is computed once."""
    outcome = Outcome({}, {})
    total = sum(len(claims) for _, claims in chosen.values())
    for paper, (_, claims) in chosen.items():
        module = load_experiment(paper)
        lab = prepare(paper, module, full=request.full, folder=folder, report=report, data=request.data)
        outcome.settings[paper] = lab.settings.model_dump()
        rows = outcome.verdicts.setdefault(paper, [])
        for row in claims:
            report(Progress("claims", len(outcome.everything), total))
            if lack := missing(row, request.data):
                rows.append(Verdict(row, NOT_RUN, note=lack))
                continue
            clock = time.process_time()
            verdict = measure(row, module, lab)
            rows.append(dataclasses.replace(verdict, cpu_seconds=time.process_time() - clock))
    report(Progress("claims", total, total))
    return outcome


def record_of(run: Run, request: Request, outcome: Outcome) -> dict[str, Any]:
    """What goes into run.json."""
    asked = {"paper": request.paper, "claims": list(request.ids), "full": request.full, "settings": outcome.settings}
    seeds = {table["seed"] for table in outcome.settings.values()}
    record = run.record(spec=asked, seed=seeds.pop() if len(seeds) == 1 else None, numbers={"tally": outcome.tally})
    documents = {paper: [verdict.document() for verdict in rows] for paper, rows in outcome.verdicts.items()}
    return record | {"claims": [{"paper": paper, **each} for paper, rows in documents.items() for each in rows]}


def table(outcome: Outcome) -> list[str]:
    """The verdicts as lines of text."""
    lines = []
    width = max(len(verdict.claim.id) for verdict in outcome.everything)
    for verdict in outcome.everything:
        lines.append(f"{verdict.verdict:<10}  {verdict.claim.id:<{width}}  {verdict.claim.statement}")
        below = [finding.words for finding in verdict.findings]
        if verdict.verdict == DIFFERS and verdict.claim.differs is not None:
            below.append(f"instead: {verdict.claim.differs.statement}")
        below += [finding.words for finding in verdict.instead] + [verdict.note] * bool(verdict.note)
        lines += [" " * 12 + line for line in below]
    return [*lines, outcome.tally]


def page_of(record: dict[str, Any], chosen: Chosen, outcome: Outcome) -> Page:
    """The report: one table of all verdicts, then a section to each claim."""
    rows = tuple(
        (verdict.verdict, verdict.claim.statement, verdict.claim.source, span(verdict.cpu_seconds))
        for verdict in outcome.everything
    )
    sizes = "the paper's sizes" if record["spec"]["full"] else "quick settings; --full takes the paper's sizes"
    overview = Section(
        "claims", "All claims", (Text(f"Run with {sizes}."), Table(("verdict", "claim", "where", "CPU time"), rows))
    )
    parts = [overview, *(claim_section(verdict) for verdict in outcome.everything)]
    papers = [file.paper.citation for file, _ in chosen.values()]
    names = " and ".join(chosen)
    title = f"The claims about {names}, checked"
    return sections.page(record, title, f"{outcome.tally}.", parts, list(outcome.results.values()), papers)


def claim_section(verdict: Verdict) -> Section:
    """What was claimed, what was expected and why, and what came out."""
    claim = verdict.claim
    blocks: list[Block] = [Notice(f"{verdict.verdict}:", claim.statement, good=verdict.verdict == REPRODUCED)]
    if verdict.note:
        blocks.append(Text(verdict.note))
    if verdict.findings:
        blocks += [_findings(verdict.findings, f"Where: {claim.source}"), _reasons(verdict.findings)]
    blocks += pictures_of(verdict.results)
    if verdict.instead and claim.differs is not None:
        blocks += [Text(f"Instead: {claim.differs.statement}"), _findings(verdict.instead, "What is derived")]
        blocks += [_reasons(verdict.instead)]
        blocks += [Points((("derivation", claim.differs.derivation), ("test", claim.differs.test)))]
    return Section(claim.id, claim.id, tuple(blocks))


def _findings(findings: tuple[Finding, ...], caption: str) -> Table:
    rows = tuple(
        (f.expectation.quantity.replace("_", " "), number(f.measured), f.expectation.words, "yes" if f.met else "no")
        for f in findings
    )
    return Table(("quantity", "measured", "expected", "met"), rows, caption)


def _reasons(findings: tuple[Finding, ...]) -> Points:
    return Points(tuple((f.expectation.quantity.replace("_", " "), f.expectation.reason) for f in findings))
