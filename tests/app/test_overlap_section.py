"""What a report says of how well overlaps stand for a network."""

from collections.abc import Callable

import numpy as np
import pytest

import recurvature as rc
from recurvature._progress import silent
from recurvature.app.lenses import overlaps
from recurvature.app.subject import Options, Performance, Probe, Subject


def look(done: Performance | None, phi: str) -> tuple[dict, str]:
    """Numbers and words about a network whose weights are all of one size: Gaussian they are not.

    It has too many vectors for the dimensions of its memory to be counted, which is dear and asked elsewhere.
    """
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(60, 6))
    network = rc.overlaps.assemble(2 * signs, rc.overlaps.Layout(1, 2, 1), dt=0.2, phi=phi)
    seen = overlaps.see(Subject(network, None, (), Probe(), Options(), done), silent)
    return seen.numbers["overlaps"], " ".join(map(str, seen.checks))


def performed() -> Performance:
    """Trials of a task; how well they went is not asked."""
    trials = rc.tasks.ExponentialFilter(dt=0.2, steps=12, input="white").trials(rc.key(0), 5)
    return Performance(1.0, 5, trials, np.zeros((5, 12, 1)), 0)


def test_outputs_of_overlaps_are_held_against_those_of_all_units_on_the_task() -> None:
    numbers, said = look(performed(), "tanh")
    # signs through tanh are not what a Gaussian mean slope makes of them: off by some of it, and not by all
    assert 0.01 < numbers["output_error"] < 1
    assert "Outputs that follow from overlaps alone are off by" in said
    # linear units: rounding, in whatever type the trials have
    assert look(performed(), "identity")[0]["output_error"] < 1e-6


@pytest.mark.parametrize(("done", "phi"), [(None, "tanh"), (performed, "softplus")])
def test_where_nothing_can_be_held_against_it_nothing_is_said(done: Callable[[], Performance] | None, phi: str) -> None:
    numbers, said = look(done and done(), phi)
    assert numbers["output_error"] is None
    assert "off by" not in said
