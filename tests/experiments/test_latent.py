"""The experiments on latent units: what their measurements give where the answer is known."""

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import recurvature as rc
from recurvature._progress import silent
from recurvature.app.claims import read_settings
from recurvature.app.laboratory import Lab, load_experiment


@pytest.fixture
def parts(part: Any) -> dict[str, ModuleType]:
    names = ("theorems", "approximations", "geometry", "training", "scaling")
    return {name: part("latent", name) for name in names}


def laboratory(folder: Path) -> Any:
    settings = read_settings("latent", load_experiment("latent").Settings, full=False)
    small = settings.theorems.model_copy(update={"units": 12, "steps": 5})
    return Lab(settings.model_copy(update={"theorems": small}), False, rc.key(0), folder, silent)


def test_a_unit_of_another_nonlinearity_fails_its_theorem(
    parts: dict[str, ModuleType], monkeypatch: Any, tmp_path: Path
) -> None:
    lab, theorems = laboratory(tmp_path), parts["theorems"]
    assert theorems.variables_close(lab).values["largest_difference"] < 1e-13
    original = theorems.random_unit

    def other(*arguments: Any, **options: Any) -> Any:
        unit = original(*arguments, **options)
        return rc.latent.from_encoding(
            unit.embedding,
            unit.encoding,
            input_weights=unit.flow.input_weights,
            bias=unit.flow.bias,
            dt=unit.dt,
            phi="erf",
        )

    monkeypatch.setattr(theorems, "random_unit", other)
    assert theorems.variables_close(lab).values["largest_difference"] > 1e-3


def test_errors_of_a_trajectory_are_those_of_its_flow(parts: dict[str, ModuleType]) -> None:
    """A unit that moves a tenth of a per cent too fast is late by that share of its speed at the end."""
    oscillates = parts["approximations"].oscillator
    exact = rc.latent.approximate(
        oscillates, np.random.default_rng(0).uniform([-3, -4], [3, 4], (400, 2)), units=60, key=rc.key(0), gain=0.5
    )
    error = parts["approximations"].trajectory_error
    fast = dataclasses.replace(exact, slowness=1.001)
    # the phase of a cycle of length near 7 runs ahead by 0.008 after 8 time constants, at a speed of up to 2 to 4
    assert error(exact) < 2e-3 < error(fast) < 0.05


def test_components_of_linear_units_are_the_coordinates(parts: dict[str, ModuleType]) -> None:
    count = parts["geometry"]._components(np.random.default_rng(0), lambda x: x, 3, 1.0, 50, 200)
    assert count == 3


def test_bounds_of_a_count_close_in_on_the_limit(parts: dict[str, ModuleType]) -> None:
    bounds = parts["geometry"].count_bounds
    spectrum = rc.measures.sphere_spectrum(np.tanh, coordinates=3, gain=2.0)
    # harmonics of degree 1, 3 and 5 hold 99 %: 3 + 7, and five of eleven
    assert spectrum.dimension() == 15
    widths = [np.subtract(*bounds(spectrum, n, n)[::-1]) for n in (10**3, 10**5, 10**7)]
    assert widths[0] > widths[1] >= widths[2]
    assert bounds(spectrum, 10**9, 10**9) == (15, 15)
    low, high = bounds(spectrum, 200, 300)
    found = parts["geometry"]._components(np.random.default_rng(0), np.tanh, 3, 2.0, 200, 300)
    assert low <= found <= high
    # units of another gain have more components, or fewer, than any of these numbers allow
    sharp = bounds(rc.measures.sphere_spectrum(np.sign, coordinates=3), 2000, 2000)
    assert sharp[0] > bounds(spectrum, 2000, 2000)[1]


def test_one_network_that_is_right_does_not_hide_two_that_are_wrong(parts: dict[str, ModuleType]) -> None:
    found = parts["training"].furthest(np.array([[3, 2, 0], [3, 2, 0], [4, 4, 1]]))
    assert found == {"stable": 3, "one_unstable": 2, "two_unstable": 0}
    assert list(parts["training"].furthest(np.array([[8, 12, 6, 1]])).values()) == [8, 12, 6, 1]


def test_the_least_rank_is_the_first_at_which_all_networks_sort(parts: dict[str, ModuleType]) -> None:
    one, least = parts["scaling"].Sorted, parts["scaling"]._least_rank
    found = {1: [one(0.6, 3), one(0.97, 3)], 2: [one(0.96, 6), one(0.99, 7)], 3: [one(1.0, 8)]}
    assert least(found) == 2
    assert np.isnan(least({1: found[1]}))


def test_sorting_networks_keep_what_their_variables_hold(parts: dict[str, ModuleType], tmp_path: Path) -> None:
    network = parts["scaling"].sorting_network(laboratory(tmp_path), 12, 2, 3, 0)
    low = network.system.flow.connectivity
    overlap = np.asarray(low.right).T @ np.asarray(low.left) * low.scale
    # float32
    np.testing.assert_allclose(overlap, np.diag([1.3, 1.3, 0.0]), atol=1e-6)
