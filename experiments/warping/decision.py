"""Context-dependent decision: what is compressed, what is stretched, where, and from when on."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import recurvature as rc
from recurvature import warping
from recurvature.app.claims import Measured
from recurvature.systems import AbstractInputManifold, simulate

from .networks import EVIDENCE, Lab, decision_metrics, decision_task, decisions

ONSET = 0.1
"""A change of the logarithm of the metric ratio that counts as warping: 10 % of its largest change."""
SETTLED = 0.05
"""A distance to where a state will be after four more trials that counts as arrived, of the distance at the start."""


def _ratios(lab: Lab, *, before_training: bool = False) -> list[list[warping.Ratio]]:
    metrics = decision_metrics(lab, before_training=before_training)
    return [[warping.ratio(metric, *names) for metric, names in zip(pair, EVIDENCE, strict=True)] for pair in metrics]


def _profiles(lab: Lab, *, before_training: bool = False) -> list[list[warping.Profile]]:
    metrics = decision_metrics(lab, before_training=before_training)
    return [
        [warping.profile(metric, names[0]) for metric, names in zip(pair, EVIDENCE, strict=True)] for pair in metrics
    ]


def ratio_starts_at_one(lab: Lab) -> Measured:
    """The ratio of relevant to irrelevant after the first step: over contexts, and over points."""
    first = np.asarray([[np.asarray(r.pointwise)[0] for r in pair] for pair in _ratios(lab)])
    logs = np.log(first)
    return Measured(
        {
            "largest_log_of_mean_ratio": float(np.abs(logs.mean((1, 2))).max()),
            "largest_spread_over_points": float((logs.max(2) - logs.min(2)).max()),
        },
        {"ratio_by_seed_and_context": first.mean(2).tolist()},
    )


def irrelevant_is_compressed(lab: Lab) -> Measured:
    """How far the median ratio of relevant to irrelevant rises above its first value."""
    peaks = _peaks(lab, before_training=False)
    control = _peaks(lab, before_training=True)
    return Measured(
        {"smallest_peak_of_ratio": float(peaks.min()), "smallest_over_untrained": float(peaks.min() / control.max())},
        {"peak_by_seed_and_context": peaks.tolist(), "untrained": control.tolist()},
        {f"ratio-{seed}-{c}": r for seed, pair in enumerate(_ratios(lab)) for c, r in enumerate(pair)},
    )


def _peaks(lab: Lab, *, before_training: bool) -> np.ndarray:
    """Largest median ratio over its first value, (seed, context)."""
    medians = [[np.asarray(r.median) for r in pair] for pair in _ratios(lab, before_training=before_training)]
    return np.asarray([[(m / m[0]).max() for m in pair] for pair in medians])


def boundary_is_stretched(lab: Lab) -> Measured:
    """The stretch along the relevant evidence at the boundary, over its mean along the line, at the end."""
    relative = _at_boundary(lab, before_training=False)
    control = _at_boundary(lab, before_training=True)
    spacing = np.diff(decision_task(lab).evidence)[0]
    peaks = [[np.asarray(p.value)[np.asarray(p.relative)[-1].argmax()] for p in pair] for pair in _profiles(lab)]
    return Measured(
        {
            "smallest_stretch_at_boundary": float(relative.min()),
            "smallest_over_untrained": float(relative.min() / control.max()),
            # rounding of the coordinates of a grid
            "share_with_peak_at_boundary": float((np.abs(peaks) <= spacing / 2 + 1e-9).mean()),
        },
        {"by_seed_and_context": relative.tolist(), "untrained": control.tolist(), "peak_at": np.array(peaks).tolist()},
        {f"profile-{seed}-{c}": p for seed, pair in enumerate(_profiles(lab)) for c, p in enumerate(pair)},
    )


def _at_boundary(lab: Lab, *, before_training: bool) -> np.ndarray:
    ends = [[np.asarray(p.relative)[-1] for p in pair] for pair in _profiles(lab, before_training=before_training)]
    array = np.asarray(ends)
    return array[..., array.shape[-1] // 2]


def warping_precedes_fixed_points(lab: Lab) -> Measured:
    """When the metric ratio has begun to change, and when the states have arrived where they will stay."""
    task = decision_task(lab)
    onsets, arrivals = [], []
    for network, pair in zip(decisions(lab), _ratios(lab), strict=True):
        for context, ratio in enumerate(pair):
            logs = np.log(np.asarray(ratio.median))
            change = np.abs(logs - logs[0])
            onsets.append(float(np.asarray(ratio.time)[(change > ONSET * change.max()).argmax()]))
            manifold = task.manifold(context=context)
            states = np.asarray(simulate(network, _long(manifold, task.steps)).states)
            away = np.linalg.norm(states - states[:, -1:], axis=-1)
            moving = (away > SETTLED * away[:, :1]).any(0)
            arrivals.append(float(np.flatnonzero(moving)[-1] + 2) * task.dt)
    return Measured(
        {"latest_onset_minus_arrival": float(max(np.subtract(onsets, arrivals))), "latest_onset": max(onsets)},
        {"onset": onsets, "arrival": arrivals},
    )


def _long(manifold: AbstractInputManifold, steps: int) -> Float[Array, "trial time d"]:
    """Inputs of a coarse grid, held five times as long as a trial."""
    held = jnp.stack([manifold.inputs_at(jnp.asarray(theta)) for theta in manifold.grid(5)])
    return jnp.repeat(held[:, None], 5 * steps, 1)


def static_boundary_is_stretched(lab: Lab) -> Measured:
    """A feedforward network that tells two halves of a circle apart: how much of its length is near their ends."""
    task = rc.tasks.StaticCircle()
    recipe = task.recipe()
    fitted = lab.fit_ensemble("static", recipe.network, task, seeds=lab.settings.decision.seeds, **recipe.training)
    share, right = [], []
    trials = task.trials(rc.stream(lab.key, "angles"), task.angles)
    for network in lab.members(fitted):
        field = warping.metric(network, task.manifold(), points=task.angles, duration=task.duration)
        stretch = np.sqrt(np.asarray(field.metric)[-1, :, 0, 0])
        # how far an angle is from the nearer of 0 and pi
        away = np.abs(np.arcsin(np.sin(np.asarray(field.theta)[:, 0])))
        share.append(float(stretch[away < np.pi / 8].sum() / stretch.sum()))
        right.append(task.accuracy(jnp.asarray(simulate(network, trials.inputs).outputs), trials))
    return Measured({"smallest_share_of_length": min(share), "smallest_accuracy": min(right)}, {"share": share})
