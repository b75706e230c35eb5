"""Outputs against targets, and psychometric curves."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from tests.figures.drawing import figure_of

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems.simulate import Trajectory
from recurvature.tasks.base import AbstractTask, Trials

TASKS = {name: make() for name, make in rc.tasks.TASKS.items()}


def run(task: AbstractTask, trials: int = 24) -> tuple[Trajectory, Trials]:
    """Trials, and made-up outputs."""
    drawn = task.trials(rc.key(2), trials)
    outputs = np.random.default_rng(1).normal(size=drawn.targets.shape)
    time = task.dt * np.arange(1, task.steps + 1)
    return Trajectory(time, drawn.inputs, np.zeros((*outputs.shape[:2], 5)), outputs, np.zeros(trials, int)), drawn


DEFAULT = ("context-decision", "working-memory", "flip-flop", "recall")


@pytest.mark.parametrize(
    "name", [name if name in DEFAULT else pytest.param(name, marks=pytest.mark.slow) for name in TASKS]
)
def test_outputs_and_targets_of_every_task(name: str) -> None:
    task = TASKS[name]
    trajectory, trials = run(task)
    axes = rc.figures.outputs(trajectory, trials, task, examples=3)
    FigureCanvasAgg(figure_of(axes)).draw()
    assert len(axes) == task.output_size
    for row, ax in enumerate(axes):
        lines = ax.get_lines()
        assert len(lines) == 6
        for k in range(3):
            target, output = lines[2 * k], lines[2 * k + 1]
            np.testing.assert_array_equal(output.get_xdata(), trajectory.time)
            np.testing.assert_array_equal(output.get_ydata(), trajectory.outputs[k, :, row])
            counts = np.asarray(trials.mask)[k] != 0
            expected = np.where(counts, np.asarray(trials.targets, float)[k, :, row], np.nan)
            np.testing.assert_array_equal(target.get_ydata(), expected)
    if task.manifold().dimension > 4:
        # one input among many says nothing: a colour to each trial, and no key
        assert len(figure_of(axes).get_axes()) == len(axes)
        assert len({line.get_color() for line in axes[0].get_lines()}) == 3
        return
    coordinate = task.manifold().coordinates[0]
    bar = figure_of(axes).get_axes()[-1].get_ylabel()
    assert bar == coordinate.name.replace("_", " ") + (f" ({coordinate.units})" if coordinate.units else "")


def test_a_trial_shows_what_comes_in_and_what_is_asked() -> None:
    task = TASKS["context-decision"]
    trajectory, trials = run(task)
    axes = rc.figures.trial(trials, task, examples=(0, 3), run=trajectory, titles=("one", "other"))
    FigureCanvasAgg(figure_of(axes)).draw()
    assert [ax.get_title() for ax in axes] == ["one", "other", "", ""]
    for above, below, k in ((axes[0], axes[2], 0), (axes[1], axes[3], 3)):
        drawn = np.stack([np.asarray(line.get_ydata()) for line in above.get_lines()], axis=1)
        np.testing.assert_array_equal(drawn, np.asarray(trials.inputs, float)[k])
        np.testing.assert_array_equal(below.get_lines()[-1].get_ydata(), trajectory.outputs[k, :, 0])
    # the last step counts, and is shaded
    assert len(axes[2].patches) == 1


def test_many_inputs_are_a_map_and_a_trial_alone_has_targets() -> None:
    task = rc.tasks.Reaching()
    axes = rc.figures.trial(task.trials(rc.key(2), 4), task)
    (image,) = axes[0].get_images()
    values = image.get_array()
    assert values is not None
    assert values.shape == (task.input_size, task.steps)
    assert [ax.get_ylabel() for ax in axes] == ["input channel", "target"]


def test_a_trial_that_is_not_there_is_refused() -> None:
    task = TASKS["random-dots"]
    trials = task.trials(rc.key(2), 4)
    with pytest.raises(InputError, match="must number some of 4 trials"):
        rc.figures.trial(trials, task, examples=(4,))
    with pytest.raises(InputError, match="`titles` must name each of 1 examples"):
        rc.figures.trial(trials, task, titles=("a", "b"))


def test_groups_are_panels_and_lines() -> None:
    task = TASKS["context-decision"]
    trajectory, trials = run(task)
    context = np.asarray(trials.inputs[:, 0, 2:]).argmax(1)
    axes = rc.figures.outputs(np.asarray(trajectory.outputs), trials, task, groups=context)
    assert [ax.get_title() for ax in axes] == ["0", "1"]
    ax = rc.figures.psychometric(trajectory, trials, task, groups=[f"context {c}" for c in context])
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["context 0", "context 1"]


def test_times_that_count_are_shaded() -> None:
    task = TASKS["random-dots"]
    axes = rc.figures.outputs(*run(task), task)
    (span,) = [patch.get_extents().transformed(axes[0].transData.inverted()) for patch in axes[0].patches]
    # pixels and back, and times as sums of steps: rounding
    np.testing.assert_allclose((span.x0, span.x1), task.phases()["response"], atol=1e-9)
    named = rc.figures.outputs(*run(task), task, phases=task.phases())
    assert [text.get_text() for text in named[0].texts] == ["fixation", "stimulus", "delay", "response"]


def test_psychometric_points_are_fractions_and_means() -> None:
    task = TASKS["random-dots"]
    trials = task.trials(rc.key(5), 400)
    window = np.asarray(trials.mask) != 0
    theta = np.asarray(trials.theta, float)[:, 0]
    answers = np.tanh(theta / 4 + np.random.default_rng(0).normal(size=400))
    outputs = np.where(window, answers[:, None], 7.0)[..., None]
    for measure, score in (("fraction", answers > 0), ("mean", answers)):
        ax = rc.figures.psychometric(outputs, trials, task, measure=measure)
        points = ax.containers[0][0]
        levels = np.unique(theta)
        np.testing.assert_array_equal(points.get_xdata(), levels)
        # a weighted mean of 15 equal numbers: rounding
        np.testing.assert_allclose(points.get_ydata(), [score[theta == v].mean() for v in levels], atol=1e-12)
    assert ax.get_xlabel() == "coherence (%)"


def test_psychometric_puts_many_values_into_bins_and_leaves_out_what_is_not_finite() -> None:
    task = TASKS["working-memory"]
    trajectory, trials = run(task, 60)
    outputs = np.array(trajectory.outputs)
    outputs[3] = np.nan
    ax = rc.figures.psychometric(outputs, trials, task, measure="mean")
    values = np.asarray(ax.containers[0][0].get_ydata())
    assert len(values) == 15
    assert np.isfinite(values).all()
    FigureCanvasAgg(figure_of(ax)).draw()


def test_what_does_not_belong_together_is_refused() -> None:
    task = TASKS["random-dots"]
    trajectory, trials = run(task, 4)
    with pytest.raises(InputError, match=r"outputs have shape \(3, 75, 1\)"):
        rc.figures.outputs(np.zeros((3, 75, 1)), trials, task)
    with pytest.raises(InputError, match="for each of 4 trials; got 1"):
        rc.figures.outputs(trajectory, trials, task, groups=["a"])
    with pytest.raises(InputError, match="`coordinate` must lie in 0…0"):
        rc.figures.outputs(trajectory, trials, task, coordinate=1)
    with pytest.raises(InputError, match="`output` must lie in 0…0"):
        rc.figures.psychometric(trajectory, trials, task, output=1)
    with pytest.raises(InputError, match="`measure`"):
        rc.figures.psychometric(trajectory, trials, task, measure="median")
    bare = dataclasses.replace(trials, theta=None)
    with pytest.raises(InputError, match="task variables"):
        rc.figures.psychometric(trajectory, bare, task)
    assert len(rc.figures.outputs(jnp.asarray(trajectory.outputs), bare, task)) == 1
