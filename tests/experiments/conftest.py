"""The files of measurements of a paper, wherever experiments are."""

import importlib
from collections.abc import Callable
from types import ModuleType

import pytest

from recurvature.app.laboratory import load_experiment


@pytest.fixture(scope="session")
def part() -> Callable[[str, str], ModuleType]:
    """A file of measurements by its paper and its name."""
    return lambda paper, name: importlib.import_module(f"{load_experiment(paper).__name__.rsplit('.', 1)[0]}.{name}")
