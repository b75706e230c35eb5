"""Rows of claims: what is met, what a verdict is, and that every row of every paper is whole."""

import re
from pathlib import Path
from typing import Any

import pytest

from recurvature._errors import InputError
from recurvature.app import claims, laboratory
from recurvature.app.claims import Claim, Claims, Expectation, Measured, judge
from recurvature.io.specs import parse

ROOT = Path(__file__).parents[2]


def expectation(relation: str, value: float = 1.0, tolerance: float = 0.0, quantity: str = "size") -> dict[str, Any]:
    return {"quantity": quantity, "relation": relation, "value": value, "tolerance": tolerance, "reason": "because"}


def row(*expected: dict[str, Any], **more: Any) -> Claim:
    basic = {"id": "a-claim", "statement": "It is so.", "source": "Table 1", "function": "measure"}
    return parse(Claim, basic | {"expected": expected} | more, "the test")


def differs(*expected: dict[str, Any]) -> dict[str, Any]:
    return {"statement": "It is not.", "derivation": "docs/a.md#b", "test": "tests/a.py::b", "expected": expected}


@pytest.mark.parametrize(
    ("relation", "met", "missed"),
    [
        ("=", (0.75, 1.0, 1.25), (0.7, 1.3)),
        ("<=", (-9.0, 1.25), (1.3,)),
        ("<", (-9.0, 1.2), (1.25, 9.0)),
        (">=", (0.75, 9.0), (0.7,)),
        (">", (0.8, 9.0), (0.75, -9.0)),
    ],
)
def test_an_expectation_is_met_within_its_tolerance(relation: Any, met: Any, missed: Any) -> None:
    wanted = Expectation(quantity="size", relation=relation, value=1.0, tolerance=0.25, reason="because")
    assert all(wanted.met(value) for value in met)
    assert not any(wanted.met(value) for value in (*missed, float("nan")))


def test_a_claim_is_reproduced_only_if_all_its_expectations_are_met() -> None:
    claim = row(expectation("="), expectation(">", 5, quantity="weight"))
    assert judge(claim, Measured({"size": 1.0, "weight": 6.0})).verdict == "reproduced"
    assert judge(claim, Measured({"size": 1.0, "weight": 4.0})).verdict == "failed"


def test_a_claim_differs_only_where_the_paper_is_missed_and_the_derivation_met() -> None:
    claim = row(expectation("="), differs=differs(expectation("=", 2.0)))
    assert judge(claim, Measured({"size": 1.0})).verdict == "reproduced"
    assert judge(claim, Measured({"size": 2.0})).verdict == "differs"
    assert judge(claim, Measured({"size": 3.0})).verdict == "failed"
    assert judge(claim, Measured({"size": float("nan")})).verdict == "failed"


def test_a_quantity_that_was_not_measured_is_named() -> None:
    with pytest.raises(InputError, match=r"quantity of claim a-claim 'size'\. Did you mean 'sizes'"):
        judge(row(expectation("=")), Measured({"sizes": 1.0}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c["expected"][0].pop("reason"), "reason' is missing"),
        (lambda c: c["expected"][0].update(reason=""), "reason"),
        (lambda c: c["expected"][0].update(relation="about"), "relation"),
        (lambda c: c["expected"][0].update(tolerance=-1.0), "tolerance"),
        (lambda c: c.update(expected=[]), "expected"),
        (lambda c: c.pop("source"), "source' is missing"),
        (lambda c: c.pop("function"), "function' is missing"),
        (lambda c: c.update(id="Two Words"), "id"),
        (lambda c: c.update(verdict="reproduced"), "unknown key"),
        (lambda c: c.update(differs={"statement": "No."}), "derivation' is missing"),
    ],
)
def test_rows_that_are_not_whole_are_refused(spoil: Any, message: str) -> None:
    claim = row(expectation("=")).model_dump(exclude_none=True)
    claim["expected"] = [dict(each) for each in claim["expected"]]
    spoil(claim)
    with pytest.raises(InputError, match=message):
        parse(Claim, claim, "claims.toml")


def test_two_rows_of_one_name_are_refused() -> None:
    claim = row(expectation("=")).model_dump(exclude_none=True)
    paper = {"title": "a", "text": "A.", "url": "https://a"}
    with pytest.raises(InputError, match="a-claim is there twice"):
        parse(Claims, {"paper": paper, "claim": [claim, claim]}, "claims.toml")


def test_what_a_claim_lacks_is_said_with_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = row(expectation("="), needs=["no_such_module"], data=["a/b.mat"])
    assert "pip install" in claims.missing(claim, None)
    monkeypatch.setitem(claims.EXTRAS, "no_such_module", "decoders")
    assert "recurvature[decoders]" in claims.missing(claim, None)
    claim = row(expectation("="), data=["a/b.mat"])
    assert "--data" in claims.missing(claim, None)
    assert "--data" in claims.missing(claim, tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.mat").touch()
    assert claims.missing(claim, tmp_path) == ""


@pytest.fixture(params=sorted(claims.papers()))
def paper(request: pytest.FixtureRequest) -> str:
    return request.param


def test_every_row_names_a_function_that_is_there_and_a_quantity_once(paper: str) -> None:
    module = laboratory.load_experiment(paper)
    for claim in claims.read_claims(paper).claim:
        assert callable(getattr(module, claim.function, None)), claim.id
        named = [each.quantity for each in claim.expected]
        assert len(set(named)) == len(named), claim.id


def test_settings_of_every_paper_can_be_read_in_both_sizes(paper: str) -> None:
    model = laboratory.load_experiment(paper).Settings
    quick, full = (claims.read_settings(paper, model, full=full) for full in (False, True))
    assert quick != full


def test_every_difference_points_at_a_derivation_and_a_test_that_exist(paper: str) -> None:
    for claim in claims.read_claims(paper).claim:
        if claim.differs is None:
            continue
        page, heading = claim.differs.derivation.split("#")
        titles = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(), re.MULTILINE)
        assert heading in {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}, claim.id
        file, name = claim.differs.test.split("::")
        assert f"def {name}(" in (ROOT / file).read_text(), claim.id


def test_the_summary_of_the_warping_paper_is_covered() -> None:
    rows = claims.read_claims("warping").claim
    assert len(rows) >= 14
    assert len({claim.statement for claim in rows}) == len(rows)
