"""Claims: what a paper says, in numbers that a run can meet or miss, and the verdict on each."""

import dataclasses
import importlib.util
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

import recurvature
from recurvature._errors import InputError, unknown
from recurvature._result import AbstractResult, Citation
from recurvature.app.page import number
from recurvature.io.specs import Spec, read_toml

REPRODUCED, DIFFERS, FAILED, NOT_RUN = "reproduced", "differs", "failed", "not run"
VERDICTS = (REPRODUCED, DIFFERS, FAILED)
"""`reproduced`: every expectation of the paper is met. `differs`: one is missed, and the row derives another number,
which is met. `failed`: neither. A claim that lacks data it needs gets no verdict: it is `not run`."""

Words = Annotated[str, pydantic.Field(min_length=1)]
Name = Annotated[str, pydantic.Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Identifier = Annotated[str, pydantic.Field(pattern=r"^[a-z_][a-z0-9_]*$")]
Relation = Literal["=", "<", "<=", ">", ">="]


class Expectation(Spec):
    """What one measured quantity should be, how far from it counts as met, and why."""

    quantity: Identifier
    relation: Relation
    value: float
    tolerance: Annotated[float, pydantic.Field(ge=0)] = 0.0
    reason: Words
    """Where the value comes from, and why the tolerance is what it is."""

    def met(self, measured: float) -> bool:
        """Whether a measured value fits; NaN never does."""
        if self.relation == "=":
            return abs(measured - self.value) <= self.tolerance
        above, below = measured - self.value + self.tolerance, self.value - measured + self.tolerance
        return {"<": below > 0, "<=": below >= 0, ">": above > 0, ">=": above >= 0}[self.relation]

    @property
    def words(self) -> str:
        """The expectation in signs, such as `≥ 1 (± 0.01)`."""
        sign = {"<=": "≤", ">=": "≥"}.get(self.relation, self.relation)
        slack = f" (± {number(self.tolerance)})" if self.tolerance else ""
        return f"{sign} {number(self.value)}{slack}"


Expectations = Annotated[tuple[Expectation, ...], pydantic.Field(min_length=1)]


class Difference(Spec):
    """What is true instead, with the derivation and the test that prove it."""

    statement: Words
    derivation: Words
    """A page of the documentation, `docs/….md#heading`."""
    test: Words
    """A test, `tests/….py::name`."""
    expected: Expectations


class Claim(Spec):
    """One statement of a paper and the function that measures it."""

    id: Name
    statement: Words
    source: Words
    """Where the paper says so."""
    function: Identifier
    """Name of the function in `run.py`."""
    expected: Expectations
    differs: Difference | None = None
    needs: tuple[Words, ...] = ()
    """Modules that are no part of the core installation, such as `ripser`."""
    data: tuple[Words, ...] = ()
    """Files that are no part of the package, below the folder that `--data` names."""


class Paper(Spec):
    """Who says it."""

    title: Words
    text: Words
    url: Words

    @property
    def citation(self) -> Citation:
        """The reference for reports."""
        return Citation(self.title, self.text, self.url)


class Claims(Spec):
    """A file `claims.toml`: the claims of one paper."""

    paper: Paper
    claim: Annotated[tuple[Claim, ...], pydantic.Field(min_length=1)]

    @pydantic.model_validator(mode="after")
    def _different_ids(self) -> "Claims":
        ids = [claim.id for claim in self.claim]
        if twice := {name for name in ids if ids.count(name) > 1}:
            raise ValueError(f"ids must differ; {min(twice)} is there twice")
        return self

    def chosen(self, ids: tuple[str, ...]) -> tuple[Claim, ...]:
        """The claims called `ids`, or all of them."""
        known = [claim.id for claim in self.claim]
        for name in ids:
            if name not in known:
                raise unknown("claim", name, known)
        return tuple(claim for claim in self.claim if not ids or claim.id in ids)


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a function of `run.py` hands back."""

    values: Mapping[str, float]
    """The quantities that expectations name."""
    seen: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """More numbers worth keeping, ready for JSON: seed by seed, control by control."""
    results: Mapping[str, AbstractResult] = dataclasses.field(default_factory=dict)
    """What to store in results.zarr."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One expectation beside what was measured."""

    expectation: Expectation
    measured: float
    met: bool

    def document(self) -> dict[str, Any]:
        """For run.json."""
        return {**self.expectation.model_dump(), "measured": self.measured, "met": self.met}

    @property
    def words(self) -> str:
        """In one line."""
        name = self.expectation.quantity.replace("_", " ")
        return f"{name}: {number(self.measured)}, expected {self.expectation.words}{'' if self.met else '  MISSED'}"


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The verdict on one claim and what it rests on."""

    claim: Claim
    verdict: str
    findings: tuple[Finding, ...] = ()
    instead: tuple[Finding, ...] = ()
    """The expectations of the derivation, where the paper's are missed."""
    note: str = ""
    seen: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    results: Mapping[str, AbstractResult] = dataclasses.field(default_factory=dict)
    cpu_seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """For run.json."""
        claim = self.claim.model_dump(include={"id", "statement", "source", "function"})
        differs = self.claim.differs
        derived = differs.model_dump(exclude={"expected"}) if differs and self.verdict == DIFFERS else None
        return {
            **claim,
            "verdict": self.verdict,
            "expected": [finding.document() for finding in self.findings],
            "differs": derived,
            "instead": [finding.document() for finding in self.instead],
            "note": self.note,
            "seen": dict(self.seen),
            "cpu_seconds": round(self.cpu_seconds, 2),
        }


def judge(claim: Claim, measured: Measured) -> Verdict:
    """Hold what was measured against what the paper says and, where that is missed, against what the row derives."""
    findings = _compare(claim, claim.expected, measured)
    instead: tuple[Finding, ...] = ()
    verdict = REPRODUCED if all(finding.met for finding in findings) else FAILED
    if verdict == FAILED and claim.differs is not None:
        instead = _compare(claim, claim.differs.expected, measured)
        verdict = DIFFERS if all(finding.met for finding in instead) else FAILED
    return Verdict(claim, verdict, findings, instead, seen=measured.seen, results=measured.results)


def _compare(claim: Claim, expected: tuple[Expectation, ...], measured: Measured) -> tuple[Finding, ...]:
    for each in expected:
        if each.quantity not in measured.values:
            raise unknown(f"quantity of claim {claim.id}", each.quantity, measured.values)
    values = [(each, float(measured.values[each.quantity])) for each in expected]
    return tuple(Finding(each, value, each.met(value)) for each, value in values)


def experiments_folder() -> Path:
    """Where the experiments are: inside an installed package, beside `src` in a checkout."""
    package = Path(recurvature.__file__).parent
    inside, beside = package / "experiments", package.parents[1] / "experiments"
    if inside.is_dir():
        return inside
    if beside.is_dir() and (package.parents[1] / "pyproject.toml").is_file():
        return beside
    raise InputError("this installation holds no experiments; install the package anew from its wheel or its checkout.")


def papers() -> dict[str, Path]:
    """Every paper that has claims, by its name on the command line."""
    found = experiments_folder().glob("*/claims.toml")
    return {file.parent.name: file for file in sorted(found)}


def read_claims(paper: str) -> Claims:
    """The claims of a paper. Raises `InputError` on an unknown name, and on a file that is no list of claims."""
    known = papers()
    if paper not in known:
        raise unknown("paper", paper, [*known, "all"])
    return read_toml(known[paper], Claims)


def read_settings(paper: str, model: type[Spec], *, full: bool) -> Any:
    """The settings of `spec.toml` as a `model`: the table `quick`, or `full`."""
    from recurvature.io.specs import parse

    path, table = experiments_folder() / paper / "spec.toml", "full" if full else "quick"
    return parse(model, tomllib.loads(path.read_text("utf-8")).get(table, {}), f"{path}, {table}")


EXTRAS = {"ripser": "topology", "sklearn": "decoders"}
"""Which extra of the package brings a module that a claim may need."""


def missing(claim: Claim, data: Path | None) -> str:
    """What a claim lacks to be run, in words; empty where it lacks nothing."""
    modules = [name for name in claim.needs if importlib.util.find_spec(name) is None]
    if modules:
        extras = ",".join(sorted({EXTRAS.get(name, name) for name in modules}))
        return f"needs {', '.join(modules)}: pip install 'recurvature[{extras}]'"
    files = [name for name in claim.data if data is None or not (data / name).is_file()]
    return f"needs data that are no part of the package: name the folder with {files[0]} by --data" if files else ""


def as_markdown(paper: str) -> str:
    """The claims of a paper as a page: statement, source, and every expectation with its reason."""
    file = read_claims(paper)
    lines = [f"## {paper.capitalize()}", "", f"{file.paper.text} <{file.paper.url}>", ""]
    for claim in file.claim:
        lines += [f"### {claim.id}", "", f"{claim.statement} *({claim.source})*", "", *_listed(claim.expected), ""]
        if claim.differs is not None:
            lines += [f"Where this is missed: {claim.differs.statement}", "", *_listed(claim.differs.expected), ""]
            lines += [f"Derivation: `{claim.differs.derivation}`. Test: `{claim.differs.test}`.", ""]
    return "\n".join(lines)


def _listed(expected: tuple[Expectation, ...]) -> list[str]:
    return [f"- {each.quantity.replace('_', ' ')} {each.words}: {each.reason}" for each in expected]
