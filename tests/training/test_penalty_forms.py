"""Constraints on the metric train networks, and what was asked is told whole by spec and history."""

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature import training, warping
from recurvature.systems import Network, leaky_current
from recurvature.tasks import ContextDecision
from recurvature.training import Fit, Penalty
from recurvature.training.descent import train_block
from recurvature.training.spec import describe

TASK = ContextDecision(steps=5, levels=3, input_noise=0.0)
SITES: dict[str, Any] = {"times": (1.0,), "space": "rates", "epsilon": 1e-3}


def held(c: float = 1.0, average: Any = "pointwise", points: Any = 3) -> warping.RatioConstraint:
    conditions = [(TASK.manifold(context=0), 0, 1), (TASK.manifold(context=1), 1, 0)]
    return warping.ratio_constraint(conditions, c=c, average=average, points=points, **SITES)


def field(target: Network) -> warping.FieldConstraint:
    manifolds = [TASK.manifold(context=context) for context in (0, 1)]
    return warping.field_constraint(manifolds, target, entries="diagonal", points=3, **SITES)


def start(seed: int = 0) -> Network:
    return rc.cast(leaky_current(16, inputs=4, outputs=1, key=rc.key(seed)), jnp.float32)


def warped(constraint: Any, weight: float = 1.0) -> Fit:
    """A short run for the constraint alone."""
    return training.fit(
        start(),
        TASK,
        steps=25,
        key=rc.key(1),
        batch=1,
        block=25,
        learning_rate=0.02,
        loss=training.no_task,
        penalties=(Penalty("warping", constraint, weight),),
    )


@pytest.fixture(scope="module")
def to_ratio() -> Fit:
    return warped(held(3.0))


def test_warping_alone_is_trained(to_ratio: Fit) -> None:
    network, history = to_ratio.network, to_ratio.history
    # from log² 3 = 1.2 to less than a tenth
    assert float(held(3.0)(network)) < 0.1 * float(held(3.0)(start()))
    # row k belongs to the parameters before update k; the same sums in another program, in float32
    np.testing.assert_allclose(history.penalties[0, 0], held(3.0)(start()), rtol=1e-4)
    np.testing.assert_array_equal(history.loss, 0)
    # nothing reads the readout
    np.testing.assert_array_equal(network.readout.weight, start().readout.weight)  # type: ignore[attr-defined]


def test_runs_that_differ_in_numbers_share_a_program(to_ratio: Fit) -> None:
    del to_ratio
    count = lambda: train_block._cached._cache_size()  # type: ignore[attr-defined]  # noqa: E731
    before = count()
    warped(held(1.5), 0.5)
    assert count() == before
    targets = [field(start(seed)) for seed in (5, 6)]
    first = warped(targets[0])
    assert count() == before + 1
    second = warped(targets[1])
    assert count() == before + 1
    assert float(targets[0](first.network)) < 0.1 * float(targets[0](start()))
    assert first.history.penalty_forms != second.history.penalty_forms


def test_spec_and_history_tell_the_form(to_ratio: Fit) -> None:
    told = to_ratio.spec["penalties"][0]["function"]
    assert told["kind"] == "RatioConstraint"
    assert (told["average"], told["c"], told["relevant"]) == ("pointwise", 3.0, ["evidence_1", "evidence_2"])
    sites = told["sites"]
    assert (sites["space"], sites["times"], sites["grid"], sites["epsilon"]) == ("rates", [1.0], [3, 3], 1e-3)
    assert sites["theta"].keys() == {"shape", "digest"}
    assert [each["encode"]["context"] for each in sites["manifolds"]] == [0, 1]
    assert to_ratio.history.penalty_forms == tuple(to_ratio.spec["penalties"])
    json.dumps(to_ratio.spec)


def test_different_forms_are_told_apart() -> None:
    forms = [held(), held(2.0), held(average="means"), held(points=4), field(start()), field(start(3))]
    texts = {json.dumps(describe(each), sort_keys=True) for each in forms}
    assert len(texts) == len(forms)
    assert json.dumps(describe(held()), sort_keys=True) in texts
