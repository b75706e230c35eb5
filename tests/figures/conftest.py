"""The results that the figures draw, computed once."""

import pytest
from tests.figures.results import Case, all_cases


@pytest.fixture(scope="session")
def cases() -> dict[str, Case]:
    return all_cases()
