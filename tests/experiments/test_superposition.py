"""The experiments on superposition: their own routes give what is known in closed form."""

from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from recurvature import superposition
from recurvature.app.claims import read_settings
from recurvature.app.laboratory import load_experiment


@pytest.fixture
def module(part: Any) -> Any:
    return lambda name: part("superposition", name)


def test_terms_written_out_are_those_of_the_library(module: Any) -> None:
    linear: ModuleType = module("linear")
    response = np.random.default_rng(0).normal(size=linear.STEPS)
    terms = superposition.loss_terms(
        jnp.asarray(response)[:, None, None], superposition.sparse(linear.DENSITY), linear.DELAY
    )
    # two orders of the same four hundred products
    np.testing.assert_allclose(linear._by_terms(response), terms.normalised, rtol=1e-12)


def test_the_search_over_poles_finds_the_closed_form_of_delay_two(module: Any) -> None:
    # 9/16; a simplex that ends at 1e-13
    np.testing.assert_allclose(module("linear")._least_of_poles(2, complex_pair=True), 9 / 16, atol=1e-10)


def test_a_perfect_pentagon_is_off_by_nothing_and_a_crooked_one_by_what_it_is(module: Any) -> None:
    sparse: ModuleType = module("sparse")
    angle = np.deg2rad(72.0 * np.arange(5) + 10)
    assert sparse._off_pentagon(np.stack([np.cos(angle), np.sin(angle)])) == pytest.approx(0, abs=1e-10)
    angle[2] += np.deg2rad(5)
    assert sparse._off_pentagon(np.stack([np.cos(angle), np.sin(angle)])) == pytest.approx(5, abs=1e-10)


def test_twins_are_tied_and_answer_alike(module: Any) -> None:
    sparse: ModuleType = module("sparse")
    weights = sparse._random(np.random.default_rng(1), 3)
    twin = sparse._twin(weights, 2)
    again = superposition.tied(twin.recurrent, twin.inputs, delay=2)
    np.testing.assert_allclose(twin.readout, again.readout, rtol=1e-14)
    # a change of coordinates and back
    np.testing.assert_allclose(superposition.projections(twin, 9), superposition.projections(weights, 9), atol=1e-9)


@pytest.mark.parametrize("full", [False, True])
def test_delays_of_the_claims_are_those_that_are_known(full: bool) -> None:
    settings = read_settings("superposition", load_experiment("superposition").Settings, full=full)
    assert set(settings.crossing_delays) <= set(superposition.TRANSITION)
    assert set(settings.relu_delays) <= set(settings.sparse_delays)
