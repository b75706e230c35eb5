"""Figures of overlaps: they show what the results hold, within the page, and say which overlaps the loss sees."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from tests.figures.drawing import readable

from recurvature import figures
from recurvature._errors import InputError
from recurvature.lenses import overlaps as ov

RANK1, RANK2 = ov.Layout(1, 1, 1), ov.Layout(1, 2, 1)
STEPS = 9


@functools.cache
def matrices(layout: ov.Layout, seed: int = 0) -> np.ndarray:
    """A smooth course of positive definite matrices."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, 3 * layout.size, layout.size))
    theta = first + np.linspace(0, 1, STEPS)[:, None, None] * second
    return np.swapaxes(theta, 1, 2) @ theta / (3 * layout.size)


def learning(layout: ov.Layout, seed: int = 0, *, count: bool = True) -> ov.Learning:
    s = matrices(layout, seed)
    number = np.exp(-np.arange(STEPS) / 2)
    return ov.Learning(
        time=0.01 * np.arange(STEPS) * 10,
        count=np.arange(STEPS) * 10 * count,
        matrix=s,
        propagator=s,
        loss=number,
        gradient_norm=number,
        margin=number,
        smallest_eigenvalue=number,
        drift=number,
        status=np.zeros(STEPS, np.int8),
        columns=layout.columns,
        outputs=layout.outputs,
        rank=layout.rank,
        inputs=layout.inputs,
        dt=0.1,
        method="gradient descent",
        rule={},
        closure="exact",
        diagnostics={},
        dtype="float64",
    )


def course() -> ov.Curriculum:
    s = matrices(RANK1)
    return ov.Curriculum(
        time=np.arange(STEPS) / 2,
        count=np.arange(STEPS) * 100,
        phase=np.array([0, 0, 0, 0, 1, 1, 2, 2, 2]),
        matrix=s,
        propagator=s,
        loss=np.ones(STEPS),
        status=np.zeros(STEPS, np.int8),
        columns=RANK1.columns,
        outputs=1,
        rank=1,
        inputs=1,
        phases=("A", "a task of a very long name", "A"),
        closure="exact",
        diagnostics={},
        conditions={},
    )


def perturbation() -> ov.Perturbation:
    return ov.Perturbation(
        count=np.arange(STEPS) * 10,
        loss=np.exp(-np.arange(STEPS) / np.array([[1.0], [2.0], [2.2]])),
        matrix=np.stack([matrices(RANK1)] * 3),
        slope=-np.arange(3.0),
        half=np.array([10, 20, -1]),
        status=np.zeros((3, STEPS), np.int8),
        members=("network 1", "network 2", "network 1, other gauge"),
        columns=RANK1.columns,
        outputs=1,
        rank=1,
        inputs=1,
        closure="exact",
        diagnostics={},
        conditions={},
    )


def trip() -> ov.RoundTrip:
    moved = np.linspace(-1e-3, 1e-3, 10)
    moved[2] = 0.0
    return ov.RoundTrip(
        time=np.arange(STEPS) / 2,
        phase=np.repeat([0, 1, 2], 3),
        matrix=matrices(RANK1),
        loss=np.ones(STEPS),
        status=np.zeros(STEPS, np.int8),
        excursion=100 * moved,
        displacement=moved,
        rate=np.array([0.01, 0.005]),
        by_rate=np.stack([3 * moved, 2 * moved]),
        extrapolated=1.01 * moved,
        columns=RANK1.columns,
        outputs=1,
        rank=1,
        inputs=1,
        closure="exact",
        diagnostics={},
        conditions={},
    )


def told() -> ov.Histories:
    return ov.Histories(
        count=np.arange(STEPS),
        matrix=np.stack([np.stack([matrices(RANK1, 2 * run), matrices(RANK1, 2 * run + 1)]) for run in range(3)]),
        loss=np.ones((3, 2, STEPS)),
        status=np.zeros((3, 2, STEPS), np.int8),
        switch=5,
        regime="linear",
        columns=RANK1.columns,
        outputs=1,
        rank=1,
        inputs=1,
        tasks=("A", "B", "C"),
        closure="exact",
        diagnostics=(),
        conditions={},
    )


def closure(records: int = 4) -> ov.Closure:
    rising = np.linspace(0.01, 0.4, records)
    return ov.Closure(
        kurtosis=rising[:, None] * np.array([-1, 1, 0.5, 2]),
        projection_kurtosis=rising,
        row_kurtosis=rising,
        closure_defect=rising,
        gain_defect=0.5 * rising,
        closure_error=0.02 * np.ones(records),
        gain_error=0.02 * np.ones(records),
        velocity_defect=2 * rising,
        energy_ratio=1 + rising,
        outside=0 * rising,
        loss=rising,
        predicted_loss=rising,
        status=np.zeros(records, np.int8),
        columns=RANK1.columns,
        units=400,
        phi="erf",
        largest_defect=0.15,
        largest_kurtosis=0.7,
    )


def described(layout: ov.Layout) -> ov.Overlaps:
    return ov.describe(matrices(layout)[0], layout, units=100)


FIGURES: dict[str, Callable[[], Axes | list[Axes]]] = {
    "courses": lambda: figures.overlap_courses(learning(RANK1)),
    "courses and theory": lambda: figures.overlap_courses(learning(RANK1), learning(RANK1, 1), regime="gaussian"),
    "courses of rank 2": lambda: figures.overlap_courses(learning(RANK2, count=False)),
    "courses of phases": lambda: figures.overlap_courses(course()),
    "apart": lambda: figures.learning_apart(perturbation()),
    "drift": lambda: figures.invariant_drift(ov.invariants(learning(RANK1))),
    "no drift": lambda: figures.invariant_drift(ov.invariants(described(RANK1))),
    "gram": lambda: figures.gram_matrix(described(RANK1)),
    "nonlinear gram": lambda: figures.gram_matrix(described(RANK1), regime="gaussian"),
    "gram of rank 2": lambda: figures.gram_matrix(described(RANK2)),
    "loop": lambda: figures.task_loop(trip()),
    "left": lambda: figures.left_behind(trip()),
    "routes": lambda: figures.route_distances(told()),
    "closure": lambda: figures.closure_tests(closure()),
    "one closure": lambda: figures.closure_tests(closure(1), steps=np.array([50])),
}


test_every_figure_is_readable = readable(
    {name: (draw, "") for name, draw in FIGURES.items()}, upright=[name for name in FIGURES if "gram" in name]
)


def lines_of(ax: Any) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_ydata()) for line in ax.get_lines()}


def test_courses_are_the_overlaps_apart_by_what_the_loss_sees() -> None:
    run, said = learning(RANK1), learning(RANK1, 1)
    panels = figures.overlap_courses(run, said)
    names = [[n for n in lines_of(ax) if "·" in n] for ax in panels]
    assert names == [["z·m", "z·u", "v·m", "v·u"], ["z·z", "z·v", "v·v", "m·m", "m·u", "u·u"]]
    np.testing.assert_array_equal(lines_of(panels[1])["m·u"], run.of("u·m"))
    dashed = [line for line in panels[0].get_lines() if line.get_linestyle() == "--" and len(line.get_ydata())]  # type: ignore[arg-type]
    np.testing.assert_array_equal(dashed[0].get_ydata(), said.of("z·m"))
    nonlinear = figures.overlap_courses(run, regime="gaussian")
    assert [len([n for n in lines_of(ax) if "·" in n]) for ax in nonlinear] == [7, 3]
    assert panels[0].get_xlabel() == "step of training"
    assert figures.overlap_courses(learning(RANK1, count=False))[0].get_xlabel() == "rate × steps"
    with pytest.raises(InputError, match="`theory` is of the vectors"):
        figures.overlap_courses(run, learning(RANK2))


def test_phases_that_are_wide_enough_are_named() -> None:
    panel = figures.overlap_courses(course())[0]
    assert [text.get_text() for text in panel.texts] == ["A", "A"]


def test_the_gram_matrix_shows_what_it_is_made_of() -> None:
    ax = figures.gram_matrix(described(RANK1))
    dots = lines_of(ax)
    # linear: visible rows are made of invisible overlaps and the other way round, never of both
    assert set(dots) & {"visible", "invisible", "both"} == {"visible", "invisible"}
    assert dots["invisible"].max() < 4 <= dots["visible"].min()
    assert [label.get_text() for label in ax.get_xticklabels()][:4] == ["z·m", "z·u", "v·m", "v·u"]
    image = np.asarray(ax.get_images()[0].get_array(), float)
    s = described(RANK1).matrix
    # z·m moved by its own gradient: m·m + z·z, docs eq. O.22
    assert image[0, 0] == pytest.approx(s[2, 2] + s[0, 0])
    assert "both" in {str(line.get_label()) for line in figures.gram_matrix(described(RANK1), regime="gaussian").lines}


def test_what_a_loop_leaves_is_shown_beside_what_it_went_through() -> None:
    ax = figures.left_behind(trip())
    rows = {str(line.get_label()): np.asarray(line.get_xdata(), float) for line in ax.get_lines()}
    np.testing.assert_array_equal(rows["at steps of size 0"][3:], np.abs(trip().displacement)[3:])
    # an overlap that comes back has no mark
    assert np.isnan(rows["at steps of size 0"][2])
    loop = figures.task_loop(trip(), x="m·z", y="z·z")
    assert (loop.get_xlabel(), loop.get_ylabel()) == ("m·z, visible", "z·z, invisible")
    np.testing.assert_array_equal(lines_of(loop)["A to B"], matrices(RANK1)[3:6, 0, 0])


def test_routes_are_as_far_apart_as_their_overlaps() -> None:
    same = np.repeat(np.asarray(told().matrix)[:, :1], 2, axis=1)
    same[:, 1, :, 0, 0] += 0.25
    ax = figures.route_distances(dataclasses.replace(told(), matrix=same))
    marks = [np.asarray(line.get_xdata(), float) for line in ax.get_lines() if line.get_marker() == "o"]
    known = np.concatenate(marks)
    # z·z before and after; all others are the same along both routes and have no mark
    np.testing.assert_allclose(known, [0.25, 0.25], rtol=1e-12)


def test_steps_of_closure_tests_belong_to_its_records() -> None:
    with pytest.raises(InputError, match=r"`steps` must have shape \(4\)"):
        figures.closure_tests(closure(), steps=np.arange(3))
    panels = figures.closure_tests(closure(), steps=np.arange(4) * 10)
    assert panels[0].get_xlabel() == "step of training"
    np.testing.assert_array_equal(panels[2].get_lines()[1].get_ydata(), closure().energy_ratio)
