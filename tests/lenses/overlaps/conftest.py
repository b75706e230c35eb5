"""One gradient flow, shared by the tests of the lens."""

import pytest
from tests.lenses.overlaps.prescribed import FILTER, RANK1, some_overlaps

from recurvature.lenses import overlaps as ov


@pytest.fixture(scope="session")
def limit() -> ov.Learning:
    """Gradient flow of the filter from generic overlaps."""
    return ov.flow(FILTER, some_overlaps(RANK1), duration=0.6, layout=RANK1, samples=6)
