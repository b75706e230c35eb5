"""Lenses of a report on small networks: what they say follows from the numbers, and what does not apply says why."""

import dataclasses
import functools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._progress import silent
from recurvature.app import pipeline
from recurvature.app.lenses import (
    dynamics,
    latent,
    latent_held,
    latent_section,
    moments,
    overlaps,
    settling,
    superposition,
)
from recurvature.app.page import Facts, Live, Notice, Picture, Points, Section, Table, number
from recurvature.app.subject import Options, Performance, Probe, Seen, Subject
from recurvature.lenses.latent import LatentUnit, growth_rate
from recurvature.systems import Euler, LeakyCurrent, LinearReadout, LowRank, MultiSynapse, Network
from recurvature.tasks.base import AbstractTask, Trials


def subject(network: Network, task: AbstractTask | None = None, done: Performance | None = None) -> Subject:
    views = tuple(pipeline.views(network, task, Probe(duration=4.0)))
    return Subject(network, task, views, Probe(duration=4.0), Options(("dynamics",), trials=16), done)


def low_rank(rank: int = 1, size: int = 24, gain: float = 2.0) -> Network:
    """Two stable states to each rank, without an input."""
    left = np.linalg.qr(np.random.default_rng(0).standard_normal((size, rank)))[0] * size**0.5
    weights = LowRank(jnp.asarray(left), jnp.asarray(gain * left))
    entry = jnp.asarray(np.random.default_rng(1).standard_normal((size, 1)))
    flow = LeakyCurrent(weights, entry, jnp.zeros(size))
    return Network(Euler(flow, 0.2), LinearReadout(jnp.asarray(left.T[:1]) / size), jnp.zeros(size))


@functools.cache
def low_rank_unit(rank: int) -> latent.Unit:
    return latent.unit_of(subject(low_rank(rank)))


def all_said(section: Section) -> str:
    return " ".join(str(block) for block in section.blocks if not isinstance(block, Picture | Live))


@pytest.fixture(scope="module")
def settled() -> tuple[Seen, Subject]:
    about = subject(low_rank())
    return dynamics.see(about, silent), about


def test_resting_states_of_a_bistable_network_are_counted_drawn_and_stored(settled: tuple[Seen, Subject]) -> None:
    seen, _ = settled
    (section,) = seen.sections
    said = all_said(section)
    assert "there are 2 resting states, with 1 saddle" not in said  # one latent variable: the middle is a repeller
    assert "there are 2 resting states: one of 2 things can be kept for ever" in said
    assert sum(isinstance(block, Picture) for block in section.blocks) == 3
    silent_counts = seen.numbers["dynamics"]["fixed_points"]["no input"]
    assert silent_counts["types"] == {"stable": 2, "repeller": 1}
    assert (silent_counts["index_sum"], silent_counts["completeness"]) == (1, "consistent")
    assert seen.headline == "Without input it rests in one of 2 states."
    points = seen.results["dynamics-fixed-points-0"]
    assert isinstance(points, rc.dynamics.FixedPoints)
    assert points.types == ("stable", "stable", "repeller")
    # constant inputs of the probe: silence, and both ends of the range
    assert len(seen.numbers["dynamics"]["fixed_points"]) == 3


def test_branches_are_followed_along_the_input_and_named(settled: tuple[Seen, Subject]) -> None:
    seen, _ = settled
    branches = seen.results["dynamics-branches"]
    assert isinstance(branches, rc.dynamics.Continuation)
    assert branches.span == (-1.5, 1.5)
    assert seen.numbers["dynamics"]["special_points"] == [
        [kind, pytest.approx(float(v))]
        for kind, v in zip(branches.special_kinds, branches.value[branches.special_points], strict=True)
    ]
    assert ("two points meet and vanish" in all_said(seen.sections[0])) == ("fold" in branches.special_kinds)


def test_the_slowest_time_is_that_of_the_linear_system(settled: tuple[Seen, Subject]) -> None:
    seen, about = settled
    points = seen.results["dynamics-fixed-points-0"]
    assert isinstance(points, rc.dynamics.FixedPoints)
    times = [rc.dynamics.linearise(about.network, x).time_constants.max() for x in points.states[:2]]
    # three digits are printed
    assert f"falls to 1/e in {max(times):.3g} τ" in settling.slowest(points, about)


def test_a_point_that_is_alone_forgets_and_none_at_all_wanders() -> None:
    one = dynamics.search(subject(low_rank(gain=0.5)), np.zeros(1), None)
    assert "one resting state, to which everything returns" in settling.resting(one)
    nothing = eqx.tree_at(lambda p: p.stability, one, np.full_like(one.stability, 1))
    assert "there is no resting state (none of the 1 fixed points found is stable)" in settling.resting(nothing)
    missing = dataclasses.replace(one, completeness="incomplete", index=np.array([-1]))
    assert "add up to −1 instead of 1".replace("−", "-") in settling.complete(missing)


def test_inputs_that_are_held_differ() -> None:
    task = pipeline.find_task("context-decision")
    network = rc.systems.leaky_current(6, inputs=4, outputs=1, key=rc.key(0))
    about = Subject(network, task, tuple(pipeline.views(network, task, Probe())), Probe(), Options())
    held = moments.held_inputs(about)
    assert [one.name for one in held][:3] == [
        "no input",
        "evidence 1 counts, stimulus, middle",
        "evidence 2 counts, stimulus, middle",
    ]
    rows = np.stack([one.inputs for one in held])
    assert len(np.unique(rows, axis=0)) == len(rows) == moments.MOST_INPUTS
    # the two contexts, no evidence
    np.testing.assert_allclose(rows[1:3, :2], 0, atol=1e-15)
    assert moments.vector(np.array([0.5, -1.0])) == "(0.5, −1)"


def test_the_latent_unit_of_a_low_rank_network_is_its_own() -> None:
    seen = latent.see(subject(low_rank(2)), silent)
    found = seen.numbers["latent"]
    assert (found["rank"], found["method"], found["status"]) == (2, "exact", "ok")
    # 20 steps of 24 units: rounding
    assert found["closure_error"] < 1e-12
    assert found["state_r2"] == pytest.approx(1, abs=1e-12)
    # a readout along the first right vector, which is all that the encoding spans
    assert found["readout_outside"] < 1e-12
    assert seen.headline == "2 latent variables carry what it computes."
    (section,) = seen.sections
    # the flow of two variables, to play with, and tuning curves
    assert [type(block) for block in section.blocks[:2]] == [Live, Picture]
    assert section.finding == seen.headline
    assert "nothing is left out" in all_said(section)
    points = seen.results["latent-points"]
    assert isinstance(points, rc.dynamics.FixedPoints)
    assert found["fixed_points"]["stable"] == points.types.count("stable") >= 2


@pytest.mark.slow
def test_the_variables_of_two_synapses_stand_in_one_plane() -> None:
    """Gain-modulated: the second synapse scales what the first says."""
    left, gate = np.random.default_rng(0).standard_normal((2, 24, 1))
    synapses = LowRank(jnp.asarray(left), jnp.asarray(5 * left)), LowRank(jnp.asarray(gate), jnp.asarray(gate))
    flow = MultiSynapse(synapses, jnp.ones((2, 24, 1)), jnp.zeros((2, 24)), ("tanh", "sigmoid"))
    seen = latent.see(subject(Network(Euler(flow, 0.2), LinearReadout(jnp.ones((1, 24))), jnp.zeros(24))), silent)
    found, (section,) = seen.numbers["latent"], seen.sections
    assert (found["rank"], found["method"], found["growth_rate"]) == (2, "exact", None)
    # 20 steps of 24 units: rounding
    assert found["closure_error"] < 1e-12
    assert found["fixed_points"] == {"stable": 2, "saddle": 1}
    assert "of 2 synapses have ranks 1 and 1 as they are" in all_said(section)
    assert [type(block) for block in section.blocks[:2]] == [Live, Picture]


@pytest.mark.slow  # the law is tested with the lens
def test_two_states_of_a_sample_of_units_are_claimed_only_with_enough_of_them() -> None:
    few = low_rank_unit(1)
    rate = few.leaving
    assert rate is not None
    assert isinstance(few.unit, LatentUnit)
    # W = 2 l l'/N with l of unit mean square: the slope of tanh at zero is 1, so that it leaves with 2 - 1
    assert rate.rate[0] == pytest.approx(1, abs=1e-9)
    left = np.asarray(few.unit.embedding)[:, 0]
    assert rate.standard_error[0] == pytest.approx(2 * np.std(left**2, ddof=1) / 24**0.5, rel=1e-9)
    assert rate.cv[0] > 0.5
    said = " ".join(text for _, text in latent_section.sentences(few))
    assert "more than one state must not be claimed" in said
    # the same unit four times over: half the error
    many = dataclasses.replace(few, leaving=growth_rate(np.tile(left, 4), np.tile(2 * left, 4)))
    assert many.leaving is not None
    assert many.leaving.cv[0] < 0.5
    assert "the many hold more than one state too" in " ".join(text for _, text in latent_section.sentences(many))
    # two variables: the fastest of two directions that leave with 1 alike, whatever turns of them are taken
    two = low_rank_unit(2).leaving
    assert two is not None
    assert two.rate[0] == pytest.approx(1, abs=1e-9)


def test_wanted_outputs_are_coordinates_of_the_variables() -> None:
    kappa = np.random.default_rng(0).standard_normal((3, 5, 2))
    turn = np.array([[1.0, 0.0], [0.0, 0.1]])
    mask = jnp.ones((4, 5))
    trials = Trials(jnp.zeros((4, 5, 1)), jnp.asarray(np.concatenate([kappa @ turn, np.ones((1, 5, 2))])), mask)
    found = latent_held.aligned(trials, kappa)
    assert found is not None
    # the first trials are those that were run; rounding
    assert found.condition == pytest.approx(10, rel=1e-10)
    unit = dataclasses.replace(low_rank_unit(1), alignment=found)
    facts = {fact.name: fact for fact in latent_section.facts(unit)}
    assert facts["outputs as coordinates, least R²"].note == "condition 10 of the change of coordinates"
    assert latent_section.numbers(unit)["alignment_condition"] == pytest.approx(10)
    assert latent_held.aligned(np.zeros((1, 5, 1)), kappa) is None
    assert latent_held.aligned(dataclasses.replace(trials, mask=0 * mask), kappa) is None


def test_what_has_no_latent_unit_says_why() -> None:
    network = rc.systems.gru(6, inputs=1, outputs=1, key=rc.key(0))
    assert "left_out" in latent.see(subject(network), silent).numbers["latent"]


def test_directions_of_a_recall_network_are_packed() -> None:
    task = pipeline.find_task("recall", delay_steps=(2,), steps=8)
    weights = np.diag(np.ones(2), -1)
    # a shift register of three steps: age 2 is read out whole, and nothing else
    network = Network(
        rc.systems.LinearMap(rc.systems.Dense(jnp.asarray(weights)), jnp.asarray([[1.0], [0.0], [0.0]])),
        LinearReadout(jnp.asarray([[0.0, 0.0, 1.0]])),
        jnp.zeros(3),
    )
    done = pipeline.perform(network, task, key=rc.key(0), trials=16, report=silent)
    seen = superposition.see(subject(network, task, done), silent)
    found = seen.numbers["superposition"]
    # exact: entries of 0 and 1
    assert found["stored"] == [1.0]
    assert found["effective_dimension"] == pytest.approx(3, abs=1e-12)
    assert seen.headline == "It recalls 1 of 1 features after 2 steps."
    (section,) = seen.sections
    assert any(isinstance(block, Picture) for block in section.blocks)
    assert "in a sharp way" in all_said(section)


def test_a_rectified_recall_network_says_what_its_relu_does_and_how_far_the_transition_is() -> None:
    task = pipeline.find_task("recall", delay_steps=(2,), steps=8, density=0.2)
    turned = 0.5 * np.array([[np.cos(2.35), -np.sin(2.35)], [np.sin(2.35), np.cos(2.35)]])
    inputs = np.array([[4.0], [0.0]])
    # tied, to give out all of the feature that is due
    due = turned @ turned @ inputs
    network = Network(
        rc.systems.LinearMap(rc.systems.Dense(jnp.asarray(turned)), jnp.asarray(inputs)),
        rc.systems.ActivatedReadout(jnp.asarray(due.T / (due.T @ due))),
        jnp.zeros(2),
    )
    seen = superposition.see(subject(network, task), silent)
    found, said = seen.numbers["superposition"], all_said(seen.sections[0])
    expected = rc.superposition.clipping(
        network, steps=8, delay=2, density=0.2, trials=1024, key=rc.stream(rc.key(0), "clipping")
    )
    assert found["clip_rate"] == np.asarray(expected.rate).tolist()
    assert found["linearity_gap"] == expected.gap > 1.05
    assert "the relu does much of the work" in said
    # the table has 0.497 for two steps
    assert (
        "At a density of 0.2 the sparse packing costs less: the transition is at 0.497, a factor of 2.5 away." in said
    )
    # both younger ages are at an angle of more than 90° to the one that is due, which is read out in full
    assert found["stored"] == pytest.approx([1.0], rel=1e-12)
    assert "ψ = 1.00" in said
    assert "the eigenvalues turn by 269° over the delay" in said


@pytest.mark.slow  # what it says is tested with the lens
def test_a_relu_recurrence_says_how_masks_and_histories_change_it() -> None:
    task = pipeline.find_task("recall", delay_steps=(1,), steps=6, density=0.5)
    # the feature that was there a step ago is read out whole if it was, and nothing is left of it after that
    weights = superposition_of(np.array([[0.0, 0.0], [1.5, 0.0]]), np.array([[1.0], [0.0]]), np.array([[0.0, 1 / 1.5]]))
    network = rc.superposition.recall_network(weights, kind="nonlinear")
    done = pipeline.perform(network, task, key=rc.key(0), trials=16, report=silent)
    about = subject(network, task, done)
    seen = superposition.see(about, silent)
    said, found = all_said(seen.sections[0]), seen.numbers["superposition"]
    masks = rc.superposition.mask_radii(network, np.asarray(done.trials.inputs)[: superposition.HISTORIES])
    assert f"The relu recurrence runs through {len(masks.radius)} sets of active units." in said
    # a chain of two units: whatever is active, nothing comes back
    assert masks.largest < 1e-6
    radii = f"{number(float(masks.mean))} on average over steps, {number(float(masks.largest))} at most"
    assert f"is {radii}, and above 1 at 0" in said
    # read out after a history in which the unit was active, and not after one in which it was not
    directions = seen.results["superposition-directions"]
    assert isinstance(directions, rc.superposition.FeatureDirections)
    np.testing.assert_allclose(directions.histories.mean(0), directions.projection, atol=1e-12)
    assert set(np.unique(directions.histories[:, 1].round(12))) <= {0.0, 1.0}
    for name, row in zip(("order_parameter", "sharpness"), directions.by_history(1), strict=True):
        known = row[np.isfinite(row)]
        assert found["by_history"][name] == [np.percentile(known, (10, 90)).tolist() if len(known) > 1 else None]


def superposition_of(recurrent: np.ndarray, inputs: np.ndarray, readout: np.ndarray) -> rc.superposition.Weights:
    return rc.superposition.Weights(jnp.asarray(recurrent), jnp.asarray(inputs), jnp.asarray(readout))


def test_a_flow_and_too_many_inputs_have_no_directions_here() -> None:
    network = low_rank()
    flow = Network(network.system.flow, network.readout, network.x0)  # type: ignore[attr-defined]
    assert superposition.see(subject(flow), silent).numbers["superposition"]["left_out"].startswith("inputs of a flow")
    wide = rc.systems.leaky_current(4, inputs=120, outputs=1, key=rc.key(0))
    assert "120 inputs" in superposition.see(subject(wide), silent).numbers["superposition"]["left_out"]


def test_overlaps_are_those_of_the_vectors() -> None:
    network = low_rank()
    seen = overlaps.see(subject(network), silent)
    low = network.system.flow.connectivity  # type: ignore[attr-defined]
    expected = float(np.mean(np.asarray(low.right) * np.asarray(low.left)))
    # a mean of 24 products
    assert seen.numbers["overlaps"]["values"]["v·u"] == pytest.approx(expected, rel=1e-12)
    assert seen.numbers["overlaps"]["residual"] == 0
    (section,) = seen.sections
    assert {Table, Facts, Points} <= {type(block) for block in section.blocks}
    assert "It does not see z·z, z·v, v·v" in all_said(section)


@pytest.mark.parametrize(("system", "why"), [("gru", "leaky-current"), ("leaky-current", "full rank")])
def test_what_has_no_overlaps_says_why(system: str, why: str) -> None:
    network = rc.systems.CONSTRUCTORS[system](20, inputs=1, outputs=1, key=rc.key(0), dt=0.2)
    (section,) = overlaps.see(subject(network), silent).sections
    (notice,) = section.blocks
    assert isinstance(notice, Notice)
    assert why in notice.text
