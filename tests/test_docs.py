"""The documentation keeps its promises: one list of dimension names, and an equation behind every number cited."""

import dataclasses
import importlib
import pkgutil
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import recurvature
from recurvature._result import AbstractResult

ROOT = Path(__file__).parents[1]


def results() -> list[type[AbstractResult]]:
    """Every result class of the package."""
    for module in pkgutil.walk_packages(recurvature.__path__, "recurvature."):
        importlib.import_module(module.name)
    found, rest = [], [AbstractResult]
    while rest:
        children = rest.pop().__subclasses__()
        found += [c for c in children if c.__module__.startswith("recurvature.")]
        rest += children
    return found


def dimensions(hint: Any) -> Iterator[str]:
    """The dimension names in an annotation."""
    if hasattr(hint, "dim_str"):
        yield from hint.dim_str.split()
    for part in typing.get_args(hint):
        yield from dimensions(part)


def listed() -> set[str]:
    """The names in the first table of the notation page."""
    section = (ROOT / "docs/reference/notation.md").read_text().split("## Dimensions")[1].split("\n## ")[0]
    first_cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    return {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}


def test_every_dimension_of_every_result_is_on_the_notation_page() -> None:
    assert len(results()) >= 8
    for cls in results():
        hints = typing.get_type_hints(cls)
        names = {name for field in dataclasses.fields(cls) for name in dimensions(hints[field.name])}
        assert names, cls
        assert names <= listed(), cls


def test_every_result_has_a_name_of_its_own_by_which_files_find_it() -> None:
    names = [cls.__qualname__ for cls in results()]
    assert len(set(names)) == len(names), sorted(name for name in set(names) if names.count(name) > 1)


def test_every_equation_that_a_docstring_cites_exists() -> None:
    sources = "\n".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.py")))
    cited = {
        number
        for run in re.findall(r"docs eq\.\s+([A-Z]\.\d+(?:, [A-Z]\.\d+)*)", sources)
        for number in run.split(", ")
    }
    theory = "\n".join(path.read_text() for path in sorted((ROOT / "docs/theory").glob("*.md")))
    written = re.findall(r"\\tag\{([A-Z]\.\d+)\}", theory)
    assert {"W.2", "W.5"} <= cited
    assert cited <= set(written)
    assert len(written) == len(set(written))


def named() -> set[tuple[str, str]]:
    """Every `rc.room.name` that the pages and the README speak of."""
    pages = [ROOT / "README.md", *(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)]
    text = "\n".join(page.read_text() for page in pages)
    return set(re.findall(r"\brc\.(\w+)\.(\w+)", text))


def test_every_function_that_the_pages_name_exists_and_is_run_by_a_test() -> None:
    tests = "\n".join(path.read_text() for path in sorted((ROOT / "tests").rglob("*.py")))
    assert ("warping", "metric") in named()
    for room, name in sorted(named()):
        assert hasattr(getattr(recurvature, room), name), f"rc.{room}.{name} does not exist"
        assert re.search(rf"\b{name}\b", tests), f"no test names {name}"
