"""What networks answer: example outputs against targets, and psychometric curves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D

from recurvature._errors import InputError, check_choice, check_index
from recurvature.figures.style import (
    COORDINATES,
    CYCLIC,
    FULL,
    GREY,
    INK,
    MAGNITUDE,
    SIGNED,
    TRACES,
    coordinate_axis,
    dress,
    look,
    mark_phases,
    new_axes,
    new_figure,
    runs,
    time_axis,
    words,
)
from recurvature.systems.inputs import Coordinate
from recurvature.systems.simulate import Trajectory
from recurvature.tasks.base import AbstractTask, Phases, Trials

Run = Trajectory | Float[Any, "trial time o"]
"""A simulation of trials, or its outputs."""
Labels = Sequence[Any] | Shaped[np.ndarray, " trial"] | None
"""A label to each trial."""

MOST_TOLD = 4
"""Coordinates of trials of which the first is worth a colour: of more, it is one input among many."""


@look
def outputs(
    run: Run,
    trials: Trials,
    task: AbstractTask,
    figure: FigureBase | None = None,
    *,
    examples: int = 8,
    coordinate: int | None = None,
    groups: Labels = None,
    phases: Phases | None = None,
) -> list[Axes]:
    """Outputs of the first `examples` trials over time, and as broad pale lines their targets where the loss counts.

    A row to each output, a column to each of `groups` (a label to each trial, for instance its context). The colour is
    the value of one task coordinate (None: the first, where there are at most four; else each trial has a colour of
    its own). Shaded are `phases`, or without them the times that count in any trial drawn.

    Raises `InputError` where outputs, trials and groups do not belong together.
    """
    values, labels = _matching(run, trials, groups)
    names = sorted(set(labels), key=str)
    chosen = {name: [k for k, label in enumerate(labels) if label == name][:examples] for name in names}
    rows, columns = values.shape[-1], len(names)
    width = min(FULL, 2.7 * columns + 0.9)
    figure = new_figure(figure, width=width, height=1.6 * rows + 0.7)
    grid = figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)
    time = np.arange(1, values.shape[1] + 1) * task.dt
    colours = None
    # trials without coordinates may be of a task without a manifold
    if trials.theta is not None and (coordinate is not None or task.manifold().dimension <= MOST_TOLD):
        known = _coordinate(task, coordinate or 0)
        theta = np.asarray(trials.theta, np.float64)[:, coordinate or 0]
        colours = _Colours(known, theta)
    for (row, column), ax in np.ndenumerate(grid):
        dress(ax)
        for i, k in enumerate(chosen[names[column]]):
            colour = COORDINATES[i % len(COORDINATES)] if colours is None else colours(theta[k])
            _trial(ax, time, values[k, :, row], trials, k, row, colour)
        time_axis(ax, time)
        shaded = phases or _counted(trials, [k for ks in chosen.values() for k in ks], time, task.dt)
        mark_phases(ax, shaded, named=phases is not None and row == 0)
        ax.set_ylabel(words(task.output_names[row]))
        ax.label_outer()
        if columns > 1 and row == 0 and phases is None:
            ax.set_title(words(str(names[column])))
    if colours is not None:
        colours.bar(figure, list(grid.flat))
    handles = [
        Line2D([], [], color=GREY, linewidth=1.2, label="output"),
        Line2D([], [], color=GREY, linewidth=4, alpha=0.35, label="target, where it counts"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return list(grid.flat)


MOST_CHANNELS = 6
"""Input channels up to which each has a line; of more there is a map."""


@look
def trial(
    trials: Trials,
    task: AbstractTask,
    figure: FigureBase | None = None,
    *,
    examples: Sequence[int] = (0,),
    run: Run | None = None,
    titles: Sequence[str] | None = None,
) -> list[Axes]:
    """What a trial is: above, its inputs over time; below, its targets where the loss counts, and outputs of a `run`.

    A column to each of the trials numbered in `examples`, under its title. More than six inputs are a map of channels.
    Raises `InputError` where titles, outputs or numbers of trials do not belong together.
    """
    if titles is not None and len(titles) != len(examples):
        raise InputError(f"`titles` must name each of {len(examples)} examples; got {len(titles)}.")
    if not examples or not all(0 <= k < len(trials.mask) for k in examples):
        raise InputError(f"`examples` must number some of {len(trials.mask)} trials; got {tuple(examples)}.")
    values = np.full(trials.targets.shape, np.nan) if run is None else _matching(run, trials, None)[0]
    count = len(examples)
    figure = new_figure(figure, width=min(FULL, 3.2 * count + 0.9), height=3.2)
    grid = figure.subplots(2, count, sharex=True, sharey="row", squeeze=False)
    time = np.arange(1, values.shape[1] + 1) * task.dt
    for column, k in enumerate(examples):
        names = task.input_names if column == count - 1 else ()
        _channels(grid[0, column], time, np.asarray(trials.inputs, np.float64)[k], names)
        dress(grid[1, column])
        for row in range(values.shape[-1]):
            _trial(grid[1, column], time, values[k, :, row], trials, k, row, COORDINATES[row % len(COORDINATES)])
        time_axis(grid[1, column], time)
        mark_phases(grid[1, column], _counted(trials, [k], time, task.dt), named=False)
        if titles is not None:
            grid[0, column].set_title(words(titles[column]))
    grid[0, 0].set_ylabel("input" if trials.inputs.shape[-1] <= MOST_CHANNELS else "input channel")
    grid[1, 0].set_ylabel("output" if run is not None else "target")
    if 1 < values.shape[-1] <= MOST_CHANNELS:
        colours = [COORDINATES[row % len(COORDINATES)] for row in range(values.shape[-1])]
        _beside(
            grid[1, -1], [Line2D([], [], color=c, label=n) for c, n in zip(colours, task.output_names, strict=True)]
        )
    return list(grid.flat)


def _beside(ax: Axes, handles: list[Line2D]) -> None:
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _channels(
    ax: Axes, time: Float[np.ndarray, " time"], inputs: Float[np.ndarray, "time d"], names: Sequence[str]
) -> None:
    """The inputs of a trial, with a legend of `names` beside them if there are any."""
    dress(ax)
    count = inputs.shape[1]
    if count > MOST_CHANNELS:
        top = float(np.abs(inputs).max()) or 1.0
        signed = inputs.min() < 0
        scale: dict[str, Any] = {"vmin": -top if signed else 0.0, "vmax": top, "cmap": SIGNED if signed else MAGNITUDE}
        edges = (float(time[0] - (time[1] - time[0] if len(time) > 1 else 1)), float(time[-1]))
        ax.imshow(inputs.T, aspect="auto", origin="lower", extent=(*edges, 0.5, count + 0.5), **scale)
        return
    lines = [ax.plot(time, inputs[:, i], color=COORDINATES[i], linewidth=1.0)[0] for i in range(count)]
    if names:
        _beside(
            ax, [Line2D([], [], color=line.get_color(), label=words(n)) for line, n in zip(lines, names, strict=True)]
        )


def _matching(run: Run, trials: Trials, groups: Labels) -> tuple[Float[np.ndarray, "trial time o"], list[Any]]:
    values = np.asarray(run.outputs if isinstance(run, Trajectory) else run, np.float64)
    if values.shape != trials.targets.shape:
        raise InputError(f"outputs have shape {values.shape}, but `trials` ask for {trials.targets.shape}.")
    labels = [""] * len(values) if groups is None else [g.item() if hasattr(g, "item") else g for g in groups]
    if len(labels) != len(values):
        raise InputError(f"`groups` must name a group for each of {len(values)} trials; got {len(labels)}.")
    return values, labels


def _coordinate(task: AbstractTask, index: int) -> Coordinate:
    coordinates = task.manifold().coordinates
    check_index("coordinate", index, len(coordinates))
    return coordinates[index]


class _Colours:
    """Colours for the values of a coordinate: cyclic, signed, or from dark to light."""

    def __init__(self, coordinate: Coordinate, values: Float[np.ndarray, " trial"]):
        self.coordinate = coordinate
        self.map: Colormap = CYCLIC if coordinate.periodic else TRACES
        self.norm = Normalize(coordinate.low, coordinate.high)

    def __call__(self, value: float) -> Any:
        return self.map(self.norm(value))

    def bar(self, figure: FigureBase, axes: list[Axes]) -> None:
        bar = figure.colorbar(ScalarMappable(self.norm, self.map), ax=axes, aspect=18, fraction=0.05, pad=0.02)
        c = self.coordinate
        coordinate_axis(bar.ax.yaxis, np.array([c.low, c.high]), c.name, c.units, c.periodic)
        dress(bar.ax)
        bar.outline.set_linewidth(0.5)


def _trial(
    ax: Axes,
    time: Float[np.ndarray, " time"],
    output: Float[np.ndarray, " time"],
    trials: Trials,
    k: int,
    row: int,
    colour: Any,
) -> None:
    counts = np.asarray(trials.mask)[k] != 0
    target = np.where(counts, np.asarray(trials.targets, np.float64)[k, :, row], np.nan)
    if counts.sum() == 1:
        ax.plot(time, target, "o", color=colour, alpha=0.5, markersize=5, markeredgewidth=0)
    else:
        ax.plot(time, target, color=colour, linewidth=4, alpha=0.35, solid_capstyle="butt")
    ax.plot(time, output, color=colour, linewidth=1.1)


def _counted(trials: Trials, chosen: list[int], time: Float[np.ndarray, " time"], dt: float) -> Phases:
    flags = (np.asarray(trials.mask)[chosen] != 0).any(0)
    return {f"{i}": (float(time[a] - dt), float(time[b - 1])) for i, (a, b) in enumerate(runs(flags))}


@look
def psychometric(
    run: Run,
    trials: Trials,
    task: AbstractTask,
    ax: Axes | None = None,
    *,
    coordinate: int = 0,
    output: int = 0,
    measure: str = "fraction",
    groups: Labels = None,
) -> Axes:
    """Answers against a task coordinate: the fraction that is positive, or their mean, with its standard error.

    An answer is the average of an output over the steps that count in the loss, by their weights. Trials of equal
    coordinate are taken together; where there are more than 25 values, in 15 portions of equal number. One line to
    each of `groups` (a label to each trial). Trials without a finite answer are left out.
    """
    check_choice("measure", measure, ("fraction", "mean"))
    values, labels = _matching(run, trials, groups)
    where = _coordinate(task, coordinate)
    if trials.theta is None:
        raise InputError("`trials` carry no task variables (`theta`).")
    check_index("output", output, values.shape[-1])
    theta = np.asarray(trials.theta, np.float64)[:, coordinate]
    weights = np.asarray(trials.mask, np.float64)
    answers = (values[..., output] * weights).sum(1) / weights.sum(1)
    score = np.where(np.isfinite(answers), (answers > 0).astype(float) if measure == "fraction" else answers, np.nan)
    ax = new_axes(ax)
    ax.axhline(0.5 if measure == "fraction" else 0.0, color=GREY, linewidth=0.8, linestyle=":")
    for i, name in enumerate(sorted(set(labels), key=str)):
        mine = np.array([label == name for label in labels]) & np.isfinite(score)
        x, y, error = _curve(theta[mine], score[mine])
        colour = INK if groups is None else COORDINATES[i % len(COORDINATES)]
        style: Any = {"color": colour, "marker": "o", "markersize": 3.0, "linewidth": 1.2, "elinewidth": 0.8}
        ax.errorbar(x, y, error, label=words(str(name)), **style)
    coordinate_axis(ax.xaxis, theta, where.name, where.units, where.periodic)
    if measure == "fraction":
        ax.set_ylim(-0.03, 1.03)
    ax.set_ylabel("fraction of positive answers" if measure == "fraction" else "mean answer (output)")
    if groups is not None:
        ax.legend(loc="best")
    return ax


def _curve(
    theta: Float[np.ndarray, " trial"], score: Float[np.ndarray, " trial"]
) -> tuple[Float[np.ndarray, " bin"], Float[np.ndarray, " bin"], Float[np.ndarray, " bin"]]:
    """Means of coordinate and score of each bin, and the standard error of the latter."""
    values = np.unique(theta)
    order = np.argsort(theta, kind="stable")
    if len(values) <= 25:
        bins = np.split(order, np.searchsorted(theta[order], values[1:]))
    else:
        bins = np.array_split(order, 15)
    bins = [b for b in bins if len(b)]
    mean = lambda a: np.array([a[b].mean() for b in bins])  # noqa: E731
    error = np.array([score[b].std() / np.sqrt(len(b)) for b in bins])
    return mean(theta), mean(score), error
