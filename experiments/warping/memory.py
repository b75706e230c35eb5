"""Two-item working memory: from a circle to a torus, what stays still in the delay, and how the torus is curved."""

import numpy as np

from recurvature import warping
from recurvature.app.claims import Measured

from .networks import Lab, at, memory_metrics, memory_task

REGULAR = warping.STATUS.index("ok")
LAG = 0.5
"""Time over which a change of the metric is taken."""


def second_item_is_silent_at_first(lab: Lab) -> Measured:
    """The metric along item 2 before item 2, and the rank of the metric after it."""
    task = memory_task(lab)
    phases = task.phases()
    before, after, end = phases["item 2"][0], phases["item 2"][1], phases["response 2"][0]
    silent, circle, regular = [], [], []
    for metric in memory_metrics(lab):
        time, entries = np.asarray(metric.time), np.asarray(metric.metric)
        early = time <= before + 1e-9
        silent.append(float(np.abs(entries[early][:, :, 1]).max()))
        circle.append(float(entries[early][:, :, 0, 0].min()))
        regular.append(float((np.asarray(metric.status)[at(time, after) : at(time, end)] == REGULAR).mean()))
    return Measured(
        {
            "largest_entry_of_item_2_before_it": max(silent),
            "smallest_entry_of_item_1": min(circle),
            "smallest_share_of_rank_2_after_it": min(regular),
        },
        {"regular": regular},
        {f"metric-{seed}": metric for seed, metric in enumerate(memory_metrics(lab))},
    )


def geometry_settles_in_the_delay(lab: Lab) -> Measured:
    """Relative change of the metric per unit of time: while items come in, and at the end of the delay."""
    task = memory_task(lab)
    phases = task.phases()
    start, stop = phases["delay"]
    rows = {"encoding": [], "early delay": [], "late delay": []}  # type: dict[str, list[float]]
    for metric in memory_metrics(lab):
        change = lambda span, metric=metric: _change(metric, *span)  # noqa: E731
        rows["encoding"].append(change(phases["item 2"]))
        rows["early delay"].append(change((start, start + 1)))
        rows["late delay"].append(change((stop - 1, stop)))
    late, early, into = (np.asarray(rows[name]) for name in ("late delay", "early delay", "encoding"))
    return Measured(
        {
            "largest_change_per_tau_late": float(late.max()),
            "largest_late_over_early": float((late / early).max()),
            "largest_late_over_encoding": float((late / into).max()),
        },
        rows,
    )


def _change(metric: warping.Metric, start: float, stop: float) -> float:
    r"""Median over points and mean over time of $\lVert G(t+\delta)-G(t)\rVert/(\delta\lVert G(t)\rVert)$."""
    time, entries = np.asarray(metric.time), np.asarray(metric.metric)
    lag = at(time, time[0] + LAG)
    first, last = at(time, start), at(time, stop) - lag
    norm = np.linalg.norm(entries, axis=(2, 3))
    moved = np.linalg.norm(entries[first + lag : last + lag + 1] - entries[first : last + 1], axis=(2, 3))
    return float(np.median(moved / norm[first : last + 1], axis=1).mean() / LAG)
