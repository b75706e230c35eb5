"""The experiments on superposition: their own routes give what is known in closed form, and the quick run itself."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from tests.app.conftest import PROGRAM, cache_home, environment  # noqa: F401

from recurvature import superposition
from recurvature.app.claims import read_claims
from recurvature.app.laboratory import load_experiment, prepare


@pytest.fixture(scope="module")
def module() -> Any:
    return lambda name: importlib.import_module(f"{load_experiment('superposition').__name__.rsplit('.', 1)[0]}.{name}")


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


def test_every_claim_names_a_function_and_settings_are_complete(tmp_path: Path) -> None:
    run = load_experiment("superposition")
    claims = read_claims("superposition").claim
    assert len(claims) >= 16
    assert all(callable(getattr(run, claim.function)) for claim in claims)
    for full in (False, True):
        lab = prepare("superposition", run, full=full, folder=tmp_path, report=lambda *_: None, data=None)
        assert set(lab.settings.crossing_delays) <= set(superposition.TRANSITION)
        assert set(lab.settings.relu_delays) <= set(lab.settings.sparse_delays)


@pytest.mark.slow
def test_the_quick_run_reproduces_or_differs_with_a_reason(environment: dict[str, str], tmp_path: Path) -> None:  # noqa: F811
    words = ("reproduce", "superposition", "--out", tmp_path / "out", "--json")
    # some minutes of work; a machine that does much else may take an hour
    program = [sys.executable, "-c", PROGRAM, *map(str, words)]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr
    verdicts = {claim["id"]: claim["verdict"] for claim in json.loads(done.stdout)["claims"]}
    assert len(verdicts) == len(read_claims("superposition").claim)
    # two features share at delay 2 (docs, after eq. S.75)
    assert [name for name, verdict in verdicts.items() if verdict != "reproduced"] == ["all-or-none"]
    assert verdicts["all-or-none"] == "differs"
