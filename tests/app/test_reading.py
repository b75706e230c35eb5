"""Sentences follow the numbers: each test makes the numbers and knows what must be said."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binomtest

import recurvature as rc
from recurvature.app import reading
from recurvature.app.lenses.geometry import Geometry, look
from recurvature.app.subject import Performance, View
from recurvature.lenses import warping
from recurvature.systems.inputs import ConstantInputs, box


@pytest.mark.oracle
@pytest.mark.parametrize(("right", "trials"), [(0, 10), (5, 10), (395, 400), (1000, 1000)])
def test_interval_is_wilsons(right: int, trials: int) -> None:
    expected = binomtest(right, trials).proportion_ci(method="wilson")
    # the quantile of the normal distribution is typed to seven digits
    np.testing.assert_allclose(reading.interval(right / trials, trials), (expected.low, expected.high), atol=1e-7)


def made_ratio(values: list[float]) -> warping.Ratio:
    median = np.asarray(values)
    time = np.arange(1.0, len(median) + 1)
    pointwise = np.repeat(median[:, None], 3, 1)
    return warping.Ratio(time, pointwise, median, median / 2, 2 * median, 5 * median, "left_eye", "right_eye", "state")


def test_even_stretching_is_called_even() -> None:
    assert reading.ratio(made_ratio([np.nan, 1.0, 1.1, 0.95])) == [
        "left eye and right eye are stretched alike all the time: the median ratio of their metric entries is "
        "0.95 to 1.1."
    ]


def test_uneven_stretching_is_told_with_its_course() -> None:
    first, second = reading.ratio(made_ratio([np.nan, 1.0, 9.0, 4.0]))
    assert "at t = 2, the median ratio" in first
    assert "is 1 (even)" in first
    assert "farthest from 1 at t = 3, 9, and ends at 4" in first
    # a ratio of metric entries of 9 is a ratio of lengths of 3
    assert "3 times as far" in first
    assert "between 2 and 8" in second
    assert "ratio of the means is 20" in second


def test_a_ratio_below_one_counts_as_far_from_it() -> None:
    first, _ = reading.ratio(made_ratio([1.0, 0.01, 2.0]))
    assert "farthest from 1 at t = 2, 0.01" in first


def test_nothing_to_compare_is_said() -> None:
    assert "nowhere regular" in reading.ratio(made_ratio([np.nan, np.nan]))[0]


@pytest.mark.parametrize(
    ("relative", "words"),
    [
        ([0.2, 0.5, 3.0, 0.5, 0.2], "as a decision would"),
        ([3.0, 0.5, 0.2, 0.5, 3.0], "the ends of the range are pulled apart"),
        ([2.0, 1.0, 1.0, 1.0, 0.5], "the lower end"),
        ([0.5, 1.0, 1.0, 1.0, 2.0], "the upper end"),
        ([1.0, 1.2, 0.9, 1.0, 1.0], "no part"),
        ([1.5, 0.5], "too few points"),
    ],
)
def test_a_profile_is_told_by_its_shape(relative: list[float], words: str) -> None:
    assert words in reading.shape_in_words(np.asarray(relative), periodic=False)


@pytest.fixture(scope="module")
def isotropic() -> Geometry:
    """A linear map whose two inputs go, equally strong, to two different units."""
    network = rc.systems.Network(
        rc.systems.FunctionMap(lambda x, u: 0.5 * x + u, 2, 2),
        rc.systems.LinearReadout(jnp.eye(2)),
        jnp.zeros(2),
    )
    view = View("both", ConstantInputs(box(a=(-1.0, 1.0), b=(-1.0, 1.0))), 8.0, {})
    return look(network, view, points=3, report=lambda progress, /: None)


def test_a_linear_network_is_read_as_even(isotropic: Geometry) -> None:
    points = dict(reading.geometry(isotropic))
    assert "stretched alike" in points["Which way"]
    assert points["Along a"].startswith("The stretch at the end is even")
    # sum over 8 steps of 1/2^k: 2 - 2^-7 = 1.99
    assert "1.99-fold" in points["How much in all"]
    assert "1 times as much as along its least" in points["How much in all"]


def test_checks_name_the_theorem_and_what_cannot_be_checked(isotropic: Geometry) -> None:
    points = dict(reading.checks(isotropic))
    assert "none had to be masked" in points["Masks"]
    # states fill the plane of the two units: two dimensions, not the three that are allowed
    assert "at most 3 dimensions" in points["Dimension"]
    assert "never of full rank" in points["Dimension"]
    assert "cannot be halved" in points["Step size"]


def test_headline_is_one_sentence(isotropic: Geometry) -> None:
    assert reading.headline([isotropic]) == "With “both” it stretches both coordinates alike."


@pytest.mark.parametrize(("accuracy", "unlearned"), [(0.6, True), (0.99, False)])
def test_a_network_that_has_not_learned_is_called_so(accuracy: float, unlearned: bool) -> None:
    trials = rc.tasks.RandomDots().trials(rc.key(0), 2)
    text = reading.performance(Performance(accuracy, 200, trials, np.zeros((2, 1, 1)), 0))
    assert ("has not learned" in text) is unlearned
