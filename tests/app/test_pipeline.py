"""From a network and a task to what is looked at."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature._progress import silent
from recurvature.app import pipeline, subject
from recurvature.app.lenses import geometry
from recurvature.app.page import Notice
from recurvature.systems import LinearReadout, Network


def network(inputs: int, outputs: int, **options: float) -> Network:
    return rc.systems.leaky_current(4, inputs=inputs, outputs=outputs, key=rc.key(0), **options)


def test_every_view_of_every_task_is_looked_at_to_its_end() -> None:
    for name in rc.tasks.TASKS:
        task = pipeline.find_task(name)
        views = pipeline.views(network(task.input_size, task.output_size), task, subject.Probe())
        assert [v.title for v in views] == list(task.views())
        assert len({v.slug for v in views}) == len(views)
        assert max(v.duration for v in views) <= task.duration + 1e-9


@pytest.mark.parametrize(("inputs", "coordinates"), [(1, 1), (2, 2), (5, 2)])
def test_without_a_task_the_first_inputs_are_a_box(inputs: int, coordinates: int) -> None:
    (view,) = pipeline.views(network(inputs, 1), None, subject.Probe(amplitude=3.0, duration=2.0))
    assert view.duration == 2.0
    assert view.manifold.dimension == coordinates
    expected = np.array([3.0] * coordinates + [0.0] * (inputs - coordinates))
    np.testing.assert_array_equal(view.manifold.inputs_at(3.0), expected)


def test_a_map_takes_the_step_of_its_task_and_a_flow_keeps_its_own() -> None:
    task = pipeline.find_task("random-dots")
    gru = rc.systems.gru(4, inputs=1, outputs=1, key=rc.key(0))
    assert pipeline.fit_to(gru, task).system.dt == task.dt  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"steps by 0.1, but random-dots by 0.2"):
        pipeline.fit_to(network(1, 1, dt=0.1), task)
    same = network(1, 1, dt=0.2)
    assert pipeline.fit_to(same, task) is same


def test_trials_are_run_in_blocks_and_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    task = pipeline.find_task("random-dots")
    net = network(1, 1)
    quiet = lambda progress, /: None  # noqa: E731
    whole = pipeline.perform(net, task, key=rc.key(1), trials=50, report=quiet)
    monkeypatch.setattr(pipeline, "TRIAL_BYTES", 75 * 4 * 8 * 3 * 7)
    parts = pipeline.perform(net, task, key=rc.key(1), trials=50, report=quiet)
    # batches of 50 and of 7 trials: rounding of float64 sums over 4 units and 75 steps
    np.testing.assert_allclose(parts.outputs, whole.outputs, rtol=1e-12, atol=1e-14)
    assert parts.accuracy == whole.accuracy


def test_a_trial_that_overflows_is_counted() -> None:
    task = pipeline.find_task("random-dots")
    net = Network(
        rc.systems.FunctionMap(lambda x, u: 1e100 * (x + u), 1, 1, task.dt),
        LinearReadout(jnp.ones((1, 1))),
        jnp.zeros(1),
    )
    done = pipeline.perform(net, task, key=rc.key(1), trials=5, report=lambda progress, /: None)
    assert done.failed == 5


def test_the_leading_coordinate_is_the_more_stretched() -> None:
    def system(x: jnp.ndarray, u: jnp.ndarray) -> jnp.ndarray:
        return u * jnp.asarray([1.0, 3.0])

    net = Network(rc.systems.FunctionMap(system, 2, 2), LinearReadout(jnp.eye(2)), jnp.zeros(2))
    (view,) = pipeline.views(net, None, subject.Probe(duration=2.0))
    found = geometry.look(net, view, points=3, report=lambda progress, /: None)
    assert found.ratio is not None
    assert (found.ratio.numerator, found.ratio.denominator) == ("input_2", "input_1")
    # lengths 3 to 1: entries of the metric 9 to 1, exactly
    np.testing.assert_allclose(found.ratio.median, 9.0, rtol=1e-12)


def test_a_view_of_many_coordinates_is_left_out_with_the_reason() -> None:
    task = pipeline.find_task("recall")
    net = network(task.input_size, task.output_size, dt=task.dt)
    options = subject.Options(("warping",), trials=8)
    found = pipeline.study(net, task, subject.Probe(), options, silent)
    assert not found.results
    (section,) = [part for part in found.sections if part.anchor == "geometry"]
    said = [block for block in section.blocks if isinstance(block, Notice)]
    unseen = found.subject.views
    assert [view.title for view in unseen] == list(task.views())
    for view, notice in zip(unseen, said, strict=True):
        assert f"{view.manifold.dimension} coordinates" in notice.text


def test_an_environment_is_a_task_by_its_name_and_tested_on_other_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, Any]] = []

    def fake(name: str, **options: Any) -> rc.tasks.RandomDots:
        made.append((name, options))
        return rc.tasks.RandomDots()

    monkeypatch.setattr(rc.tasks, "from_environment", fake)
    pipeline.find_task("neurogym:GoNogo-v0")
    pipeline.find_task("neurogym:GoNogo-v0", training=True, dt=0.5)
    assert [(name, options["dt"], options["tau_ms"]) for name, options in made] == [
        ("GoNogo-v0", 20.0, 100.0),
        ("GoNogo-v0", 50.0, 100.0),
    ]
    pipeline.find_task("neurogym:GoNogo-v0(dt=0.1, along={'a': (0, 1)}, sigma=0.5)")
    assert (made[-1][1]["dt"], made[-1][1]["along"], made[-1][1]["sigma"]) == (10.0, {"a": (0, 1)}, 0.5)
    assert (made[0][1]["key"] != made[1][1]["key"]).any()
    with pytest.raises(InputError, match="An environment of NeuroGym is named 'neurogym:GoNogo-v0'"):
        pipeline.find_task("GoNogo-v0")
    monkeypatch.undo()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'recurvature\[neurogym\]'"):
        pipeline.find_task("neurogym:GoNogo-v0")


def test_parameters_of_a_task_stand_in_its_name() -> None:
    task = pipeline.find_task("sequence-sorting(length=4, tolerance=0.3)", dt=0.25)
    assert isinstance(task, rc.tasks.SequenceSorting)
    assert (task.length, task.tolerance, task.dt) == (4, 0.3, 0.25)
    with pytest.raises(InputError, match="Did you mean 'length'"):
        pipeline.find_task("sequence-sorting(lenght=4)")
    for wrong in ("sequence-sorting(4)", "sequence-sorting(length=)", "sequence-sorting(length=f())"):
        with pytest.raises(InputError, match="is no task with parameters"):
            pipeline.find_task(wrong)


def test_lenses_are_named_one_by_one_or_all_at_once() -> None:
    assert subject.lenses_of("all") == subject.LENSES == tuple(pipeline.LOOKS)
    assert subject.lenses_of("dynamics, warping") == ("dynamics", "warping")
    with pytest.raises(InputError, match="unknown lens 'warp'"):
        subject.Options(subject.lenses_of("warp"))
