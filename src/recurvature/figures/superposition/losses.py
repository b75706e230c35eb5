"""Where the loss of a network that recalls comes from, while it learns."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from recurvature._errors import InputError
from recurvature.figures.style import BLUE, GREEN, GREY, INK, ORANGE, VERMILLION, legend_below, look, new_axes
from recurvature.lenses.superposition import LossTerms

TERMS = {"task": BLUE, "mean": GREEN, "projection": ORANGE, "composition": VERMILLION, "correlation": GREY}
NAMES = {
    "task": "task",
    "mean": "mean correction",
    "projection": "projection interference",
    "composition": "composition interference",
    "correlation": "correlation",
}


@look
def loss_course(
    terms: Sequence[LossTerms], step: Int[np.ndarray, " step"] | Float[np.ndarray, " step"], ax: Axes | None = None
) -> Axes:
    """The terms of an expected loss over training, stacked: costs upward from 0, what lowers the loss downward.

    All are relative to the loss of silence; the black line is their sum. A term that is 0 throughout is left out.
    Raises `InputError` unless there is a step to each of the `terms`.
    """
    if not len(terms) or len(terms) != len(step):
        raise InputError(
            f"`terms` and `step` must be as many as each other, one or more; got {len(terms)}, {len(step)}."
        )
    ax = new_axes(ax, height=2.6)
    parts = {name: np.array([_share(one, name) for one in terms]) for name in TERMS}
    parts = {name: values for name, values in parts.items() if np.abs(values).max() > 1e-12}
    upper, lower = np.zeros(len(step)), np.zeros(len(step))
    for name, values in parts.items():
        for sign, base in ((1, upper), (-1, lower)):
            reach = base + sign * np.maximum(sign * values, 0)
            ax.fill_between(step, base, reach, color=TERMS[name], alpha=0.75, linewidth=0)
            base[:] = reach
    ax.plot(step, [one.normalised for one in terms], color=INK, linewidth=1.4)
    ax.axhline(0, color=INK, linewidth=0.6)
    ax.set_xlim(float(step[0]), float(max(step[-1], step[0] + 1)))
    ax.set_xlabel("training step")
    ax.set_ylabel("expected loss / loss of silence")
    handles: list[Patch] = [Patch(facecolor=TERMS[name], alpha=0.75, label=NAMES[name]) for name in parts]
    legend_below(ax, handles, 2)
    return ax


def _share(terms: LossTerms, name: str) -> float:
    whole = float(np.asarray(terms.silence).sum())
    value = float(np.asarray(getattr(terms, name)).sum())
    # a constant that was kept apart belongs to the task
    return (value + float(np.asarray(terms.constant).sum()) * (name == "task")) / whole
