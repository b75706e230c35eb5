"""Results as pictures in a page: what to draw at which size, and what to say under it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from recurvature import figures
from recurvature.app import live
from recurvature.app.lenses.geometry import Geometry, moments
from recurvature.app.page import Live, Picture
from recurvature.app.reading import plain
from recurvature.app.report import picture
from recurvature.app.subject import Performance
from recurvature.figures.style import FULL
from recurvature.figures.style import look as styled
from recurvature.lenses import warping
from recurvature.tasks import ContextDecision, EnvironmentTask, RandomDots
from recurvature.tasks.base import AbstractTask, Trials
from recurvature.training import History

EXAMPLES = 8
"""Trials drawn, of each rule."""

MOST_PANELS = 4
"""Moments that fit beside one another at a readable size."""


def root(axes: Axes | list[Axes]) -> Figure:
    """The whole figure that axes stand in."""
    figure = (axes[0] if isinstance(axes, list) else axes).get_figure(root=True)
    assert figure is not None
    return figure


@styled
def beside(count: int, height: float = 2.5) -> list[Axes]:
    """Axes of one full-width figure, side by side."""
    figure: FigureBase = Figure(figsize=(FULL, height), layout="constrained")
    return figure.subplots(1, count, squeeze=False)[0].tolist()


def training(history: History, task: AbstractTask) -> Picture:
    """The loss while training."""
    trials = (
        "trials drawn from those of its environment" if isinstance(task, EnvironmentTask) else "fresh random trials"
    )
    return picture(
        root(figures.training(history)),
        f"The loss on {trials}, input noise included, at every training step.",
        "Loss against training step",
    )


def contexts(task: AbstractTask, trials: Trials) -> list[str] | None:
    """Which rule each trial asks for, where a task has several."""
    if not isinstance(task, ContextDecision):
        return None
    titles = list(task.views())
    return [titles[context] for context in np.asarray(trials.inputs)[:, 0, 2:].argmax(-1)]


def performance(task: AbstractTask, done: Performance) -> list[Picture]:
    """Outputs and targets of a few trials, and how the answers depend on the evidence."""
    groups = contexts(task, done.trials)
    axes = figures.outputs(done.outputs, done.trials, task, examples=EXAMPLES, groups=groups)
    shown = picture(
        root(axes),
        "Outputs of a few random trials, input noise included, and what was asked for at the times that count.",
        "Outputs and targets over time",
    )
    if not isinstance(task, RandomDots | ContextDecision):
        return [shown]
    names = [coordinate.name for coordinate in task.manifold().coordinates]
    blank: list[Axes | None] = [None] if len(names) == 1 else [*beside(len(names), height=2.4)]
    panels = [
        figures.psychometric(done.outputs, done.trials, task, ax, coordinate=i, groups=groups)
        for i, ax in enumerate(blank)
    ]
    caption = f"How often the answer is positive, against {' and '.join(map(plain, names))}, over all test trials."
    return [shown, picture(root(panels), caption, "Psychometric curves")]


def geometry(look: Geometry) -> list[Picture | Live]:
    """The pictures of one view: the sheet first, to be turned where it is a curve or a surface."""
    still, turns = _sheet(look), live.turns(look.sheet)
    shown = live.sheet(look.sheet, look.view.manifold, still, look.view.title) if turns else still
    profiles = [_profiles(look)] if len(look.state.coordinates) == 2 else []
    return [shown, _maps(look), _curves(look), *profiles, _attribution(look)]


def _times(look: Geometry) -> tuple[float, ...]:
    """At most `MOST_PANELS` of the moments of a view, the last among them."""
    every = moments(look.view, look.state)
    step = -(-len(every) // MOST_PANELS)
    return every[::-1][::step][::-1]


def _maps(look: Geometry) -> Picture:
    axes = figures.metric_maps(look.state, times=_times(look))
    names = " and ".join(plain(name) for name in look.state.coordinates)
    return picture(
        root(axes),
        f"How far the state moves for a small step in {names}, at every input and at chosen times; "
        "one colour scale to each coordinate.",
        f"Stretch over the input manifold at several times, {look.view.title}",
    )


@styled
def _curves(look: Geometry) -> Picture:
    phases = look.view.phases or None
    if look.ratio is None:
        left, right = beside(2)
        figures.metric_over_time(look.state, left, phases=phases)
        figures.profile(warping.profile(look.state, 0), right, times=_times(look))
        text = "Left: stretch over time. Right: where along the coordinate it is, relative to its mean."
    else:
        left, right = beside(2)
        figures.ratio_over_time(look.ratio, left, phases=phases)
        figures.metric_over_time(look.state, right, phases=phases)
        text = (
            f"Left: how much more the state moves with {plain(look.ratio.numerator)} than with "
            f"{plain(look.ratio.denominator)} (1 is even). Right: stretch along each coordinate."
        )
    return picture(root(left), f"{text} Bands hold nine in ten points.", f"Stretch over time, {look.view.title}")


@styled
def _profiles(look: Geometry) -> Picture:
    axes = beside(2)
    for coordinate, ax in zip(look.state.coordinates, axes, strict=True):
        figures.profile(warping.profile(look.state, coordinate), ax, times=_times(look))
    return picture(
        root(axes),
        "Stretch along each coordinate, averaged over the other and relative to its mean: a decision boundary is a "
        "peak that grows with time.",
        f"Stretch along each coordinate, {look.view.title}",
    )


def _sheet(look: Geometry) -> Picture:
    axes = figures.warped_grid(look.sheet, times=_times(look))
    return picture(
        root(axes),
        "The grid of inputs as the network sees it: positions of the state in the principal components shared by all "
        "times, coloured by the output.",
        f"The warped grid in state space, {look.view.title}",
    )


def _attribution(look: Geometry) -> Picture:
    axes = figures.attribution_over_time(look.attribution, phases=look.view.phases or None)
    return picture(
        root(axes),
        "What stretches: the rate of log-stretch that is due to the recurrence (with its leak) and to the input.",
        f"Attribution of the log-stretch rate, {look.view.title}",
    )


@styled
def checks(look: Geometry) -> Picture:
    """What the metric of one view is checked by."""
    phases = look.view.phases or None
    if look.step_size is None:
        return picture(
            root(figures.dimension_map(look.dimension, phases=phases)),
            "How far the states fill the dimensions they may (Theorem 3.1).",
            "Dimension check",
        )
    figure = Figure(figsize=(FULL, 2.8), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False)[0].tolist()
    figures.dimension_map(look.dimension, left, phases=phases)
    figures.step_size(look.step_size, right.subplots(), phases=phases)
    return picture(
        figure,
        "Left: how far the states fill the dimensions they may (Theorem 3.1). Right: how much the metric changes when "
        "the step is halved.",
        f"Dimension and step-size checks, {look.view.title}",
    )
