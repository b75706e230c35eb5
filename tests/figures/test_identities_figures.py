import dataclasses
from typing import Any

import numpy as np
import pytest
from tests.figures.drawing import look_at

import recurvature as rc
from recurvature._errors import InputError
from recurvature.identities import IdentityCheck, TwoGeometries


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    time, theta = np.arange(1, 6) * 0.5, np.stack(np.meshgrid(*[np.linspace(-1, 1, 3)] * 2, indexing="ij"), -1)
    theta = theta.reshape(9, 2)
    outputs = np.tile(np.outer(time, theta[:, 0])[..., None], (2, 1, 1, 1))
    return TwoGeometries(
        time=time,
        theta=theta,
        outputs=outputs,
        metric=np.tile(np.eye(2), (2, 5, 9, 1, 1)),
        ratio=np.sort(rng.uniform(0.6, 3.0, (5, 9, 2)))[..., ::-1],
        bounds=np.array([0.5, 4.0]),
        position=np.stack([theta @ rng.normal(size=(2, 3)) for _ in range(2)]),
        variance=np.array([[0.8, 0.2, 0.0]] * 2),
        members=("before", "after_all"),
        coordinates=("left", "right"),
        units=("", ""),
        periodic=(False, False),
        grid=(3, 3),
        function_error=0.0,
        metric_difference=1.0,
        tolerance=1e-10,
        status=0,
    )


def test_two_geometries_are_drawn_with_their_names_and_bounds(pair):
    axes: Any = rc.figures.one_function_two_geometries(pair)
    seen = look_at(axes)
    for label in ("output", "time (τ)", "PC 1 (80 %)", "second metric / first"):
        assert any(label in text for text in seen.labels), seen.labels
    assert not seen.outside
    assert not seen.touching
    # the same scale for both sheets, and the data themselves
    assert axes[1].get_xlim() == axes[2].get_xlim()
    np.testing.assert_allclose(axes[1].lines[0].get_xdata(), pair.position[0, :, 0])
    np.testing.assert_allclose(axes[3].lines[0].get_ydata(), np.asarray(pair.ratio).min((1, 2)))
    assert sorted(line.get_ydata()[0] for line in axes[3].lines[2:4]) == [0.5, 4.0]


def test_without_a_grid_or_the_output_there_is_no_picture(pair):
    with pytest.raises(InputError, match="has no grid"):
        rc.figures.one_function_two_geometries(dataclasses.replace(pair, grid=()))
    with pytest.raises(InputError, match="`output` must lie in 0…0"):
        rc.figures.one_function_two_geometries(pair, output=1)


def test_every_identity_has_its_row_and_says_what_became_of_it():
    check = IdentityCheck(
        error=np.array([1e-15, 1e-3, np.nan, np.nan]),
        tolerance=np.array([1e-10, 1e-10, np.nan, 1e-10]),
        status=np.array([0, 1, 3, 2], np.int8),
        names=("past inputs", "spectra", "indices", "backward"),
        statements=("",) * 4,
        equations=("I.1", "I.11", "I.13", "I.20"),
        reasons=("", "", "dense", ""),
    )
    ax = rc.figures.identity_errors(check)
    seen = look_at(ax)
    assert ax.get_yticklabels()[0].get_text() == "past inputs (I.1)"
    assert [text.get_text() for text in ax.texts] == ["not one of this network", "non finite"]
    colours = [line.get_color() for line in ax.lines if line.get_marker() == "o"]
    assert colours[0] != colours[1]
    assert not seen.outside
