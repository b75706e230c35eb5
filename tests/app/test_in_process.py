"""The report on a network in memory: live modules and step functions go through every lens, or are told why not."""

import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.app.page import Notice
from recurvature.app.subject import LENSES
from recurvature.lenses.superposition import FeatureDirections
from recurvature.systems import FunctionMap, LinearReadout, Network

UNITS = 4
CHEAP = ("latent", "overlaps")
"""Lenses that compile nothing here; the others run in the slow test, and what they compute has tests of its own."""


def live() -> Network:
    torch = pytest.importorskip("torch", reason="a live module is run by PyTorch, which is an optional extra")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return rc.io.wrap_torch(torch.nn.LSTMCell(2, UNITS), readout=torch.nn.Linear(UNITS, 2))


def of_equinox() -> Network:
    cell = eqx.nn.GRUCell(2, UNITS, dtype=jnp.float64, key=rc.key(0))
    system = FunctionMap(lambda x, u: cell(u, x), state_size=UNITS, input_size=2)
    return Network(system, LinearReadout(jnp.eye(2, UNITS)), jnp.zeros(UNITS))


def of_parameters() -> Network:
    rng = np.random.default_rng(0)
    parameters = {"recurrent": jnp.asarray(rng.normal(size=(UNITS, UNITS))), "feed": jnp.ones((UNITS, 2))}

    def step(x: jnp.ndarray, u: jnp.ndarray) -> jnp.ndarray:
        return 0.5 * x + 0.5 * jnp.tanh(parameters["recurrent"] @ x + parameters["feed"] @ u)

    return Network(FunctionMap(step, UNITS, 2), LinearReadout(jnp.eye(2, UNITS)), jnp.zeros(UNITS))


def left_out(found: Any, lens: str) -> str:
    """Why a lens does not apply, as the report says it; nothing if it does."""
    said = [b for s in found.seen[lens].sections for b in s.blocks if isinstance(b, Notice) and b.label == "Left out:"]
    return said[0].text if said and not found.seen[lens].results else ""


def check(found: Any, lenses: tuple[str, ...]) -> None:
    assert tuple(found.seen) == lenses
    reasons = {lens: left_out(found, lens) for lens in lenses}
    assert {lens for lens, why in reasons.items() if why} == {"latent", "overlaps"}
    assert "leaky networks" in reasons["latent"]
    assert "leaky-current networks" in reasons["overlaps"]


def test_lenses_that_do_not_apply_to_a_live_module_say_why() -> None:
    found = rc.analyze(live(), lenses=CHEAP)
    check(found, CHEAP)
    # identities are between all lenses: a few do not pay for them
    assert found.agreed is None


@pytest.mark.slow
@pytest.mark.parametrize("make", [live, of_equinox, of_parameters])
def test_every_lens_looks_at_a_network_in_memory_and_the_report_is_written(make: Any, tmp_path: Path) -> None:
    out = tmp_path / "report"
    found = rc.analyze(make(), out, points=3, duration=4.0, name="mine")
    check(found, LENSES)
    record = json.loads((out / "run.json").read_text())
    assert record["line"] == f"recurvature.analyze(mine, {str(out)!r}, …)"
    assert record["numbers"]["network"]["state"] == make().system.state_size
    assert "mine: a " in (out / "report.html").read_text()
    stored = rc.io.load(out / "results.zarr" / "superposition-directions.zarr")
    kept = found.results["superposition-directions"]
    assert isinstance(stored, FeatureDirections)
    assert isinstance(kept, FeatureDirections)
    np.testing.assert_array_equal(stored.direction, kept.direction)


def test_a_report_is_written_once_and_replaced_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "report"
    options: dict[str, Any] = {"lenses": CHEAP, "name": "a network of equinox"}
    check(rc.analyze(of_equinox(), out, **options), CHEAP)
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "results.zarr", "run.json"]
    assert "a network of equinox: a custom network of 4 units" in (out / "report.html").read_text()
    with pytest.raises(InputError, match="exists already"):
        rc.analyze(of_equinox(), out, **options)
    rc.analyze(of_equinox(), out, force=True, **options)


def test_a_network_and_its_task_are_held_together() -> None:
    with pytest.raises(InputError, match=r"has 2 input\(s\) and 2 output\(s\), but random-dots has 1 and 1"):
        rc.analyze(of_equinox(), task="random-dots")
    with pytest.raises(InputError, match="unknown lens 'warp'"):
        rc.analyze(of_equinox(), lenses=("warp",))
    with pytest.raises(InputError, match="`lenses` must be a sequence of names"):
        rc.analyze(of_equinox(), lenses="warping")
    with pytest.raises(ValueError, match="needs float64"):
        rc.analyze(rc.cast(of_equinox(), jnp.float32))
