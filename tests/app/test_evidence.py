"""Pictures of what a claim rests on."""

import numpy as np
from tests.figures.superposition_results import packed

from recurvature.app.evidence import pictures_of
from recurvature.lenses import warping
from recurvature.measures import local_rank


def ratio(value: float) -> warping.Ratio:
    line = np.full(3, value)
    return warping.Ratio(
        time=np.arange(1.0, 4.0),
        pointwise=np.full((3, 2), value),
        median=line,
        low=0.5 * line,
        high=2 * line,
        ratio_of_means=line,
        numerator="a",
        denominator="b",
        space="state",
    )


def test_results_that_can_be_drawn_stand_side_by_side_under_their_names() -> None:
    (shown,) = pictures_of({"first": ratio(1.0), "second": ratio(2.0), "third": ratio(3.0)})
    assert "first, second" in shown.caption
    assert "third" not in shown.caption
    assert shown.width > shown.height


def test_packed_memories_are_drawn_beside_their_readout() -> None:
    (shown,) = pictures_of({"dense": packed().dense, "sparse": packed().sparse})
    assert "Directions of a feature by age, beside its readout (dense, sparse)" in shown.caption


def test_results_without_a_figure_are_left_to_the_store() -> None:
    assert pictures_of({"rank": local_rank(np.eye(4), neighbours=2)}) == []
    assert pictures_of({}) == []
