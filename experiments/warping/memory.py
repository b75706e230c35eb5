"""Two-item working memory: from a circle to a torus, what stays still in the delay, and how the torus is curved."""

from typing import Any

import numpy as np

from recurvature import warping
from recurvature.app.claims import Measured

from .networks import Lab, at, differences, memories, memory_metrics, memory_task, subtraction_task

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


def states_form_a_torus(lab: Lab) -> Measured:
    """Persistent homology of the states: before item 2, and from item 2 to the response."""
    task, count = memory_task(lab), lab.settings.homology
    phases = task.phases()
    before = phases["item 2"][0]
    after = (phases["item 2"][1], phases["delay"][0], sum(phases["delay"]) / 2, phases["delay"][1])
    circles, tori, results = [], [], {}
    for seed, network in enumerate(memories(lab)):
        first = warping.immersion(network, task.manifold(), time=before)
        # item 2 moves nothing yet: one value of it stands for all
        ring = first.coordinates[0].grid(count**2)
        line = np.stack([ring, np.zeros_like(ring)], -1)
        circles.append(warping.topology(first, points=line, distances="euclidean", degrees=1).shape)
        for time in after:
            shape = warping.topology(
                warping.immersion(network, task.manifold(), time=time), points=count, distances="normalised"
            )
            tori.append(shape.shape)
            results[f"topology-{seed}-{time:g}"] = shape
    return Measured(
        {
            "share_circle_before_item_2": float(np.mean([shape == "circle" for shape in circles])),
            "share_torus_from_item_2": float(np.mean([shape == "torus" for shape in tori])),
        },
        {"before": circles, "after": tori},
        results,
    )


def torus_is_curved(lab: Lab) -> Measured:
    """Gaussian curvature of the torus at the end of the delay: of both signs, and 0 in all."""
    looks = _flatness(lab)
    signs = [[float(np.mean(np.asarray(f.curvature) * sign > 0)) for sign in (1, -1)] for f in looks]
    return Measured(
        {
            "smallest_share_of_either_sign": float(np.min(signs)),
            "smallest_curvature_times_area": min(f.largest for f in looks),
            "largest_total_over_absolute": max(abs(f.total) / f.total_absolute for f in looks),
        },
        {"total": [f.total for f in looks], "total_absolute": [f.total_absolute for f in looks]},
        {f"flatness-{seed}": look for seed, look in enumerate(looks)},
    )


def codes_are_not_orthogonal(lab: Lab) -> Measured:
    """Angles between the codes of both items, and what no sum of two codes explains, at the end of the delay."""
    looks = _flatness(lab)
    return Measured(
        {
            "smallest_overlap": min(f.overlap for f in looks),
            "smallest_mixing": min(f.mixing for f in looks),
        },
        {"additive_residual": [f.additive_residual for f in looks], "reading": [f.reading() for f in looks]},
    )


def _flatness(lab: Lab) -> list[warping.Flatness]:
    task = memory_task(lab)
    surface = lambda net: warping.immersion(net, task.manifold(), time=task.phases()["delay"][1])  # noqa: E731
    look = lambda net: warping.flatness(surface(net), points=lab.settings.curvature)  # noqa: E731
    return lab.once("flatness", lambda: [look(network) for network in memories(lab)])


def subtraction_collapses(lab: Lab) -> Measured:
    """Effective dimension and direction of the metric: once both items are in, and in the response."""
    task = subtraction_task(lab)
    phases = task.phases()
    moments = {"item 2": phases["item 2"][1], "response": phases["response"][1]}
    rows: dict[str, Any] = {f"{name} at {when}": [] for name in ("dimension", "alignment") for when in moments}
    for network in differences(lab):
        metric = warping.metric(network, task.manifold(), points=lab.settings.points, duration=task.duration)
        for when, time in moments.items():
            values, vectors = np.linalg.eigh(np.asarray(metric.metric)[at(metric.time, time)])
            effective = values.sum(-1) ** 2 / (values**2).sum(-1)
            along = np.abs(vectors[..., 0].sum(-1)) / np.sqrt(2)
            rows[f"dimension at {when}"].append(float(np.median(effective)))
            rows[f"alignment at {when}"].append(float(np.median(along)))
    late, early = (np.asarray(rows[f"dimension at {when}"]) for when in ("response", "item 2"))
    return Measured(
        {
            "largest_dimension_in_response": float(late.max()),
            "largest_late_over_early_dimension": float((late / early).max()),
            "smallest_alignment_in_response": float(min(rows["alignment at response"])),
        },
        rows,
    )
