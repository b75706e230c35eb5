"""Whether networks of four nonlinearities warp alike, in every definition of "alike" and beside the spread of seeds."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from recurvature import warping
from recurvature.app.claims import Measured
from recurvature.systems import Network, simulate
from recurvature.tasks.base import AbstractTask
from recurvature.training import mean_squared_error

from .networks import Lab, decision_task, trained

GAINS = {"tanh": 0.5, "relu": 0.5, "softplus": 2.0, "gelu": 0.5}
"""Of the initial recurrent weights. Softplus, of slope 1/2 at 0, stays at the linear decision for long if it is 0.5."""


def _groups(lab: Lab) -> dict[str, list[Network]]:
    """Networks of every nonlinearity, trained alike."""
    task, how = decision_task(lab), lab.settings.activations
    gained = {phi: how.model_copy(update={"gain": gain}) for phi, gain in GAINS.items()}
    return {phi: trained(lab, f"decision-{phi}", task, each, phi) for phi, each in gained.items()}


def _error(network: Network, task: AbstractTask, lab: Lab) -> float:
    """The error without noise."""
    quiet = dataclasses.replace(task, input_noise=0.0)  # type: ignore[call-arg]
    trials = quiet.trials(lab.key, 242)
    return float(mean_squared_error(jnp.asarray(simulate(network, trials.inputs).outputs), trials))


def _comparison(lab: Lab) -> tuple[warping.Comparison, dict[str, list[float]]]:
    task = decision_task(lab)

    def compute() -> tuple[warping.Comparison, dict[str, list[float]]]:
        groups = _groups(lab)
        errors = {phi: [_error(network, task, lab) for network in networks] for phi, networks in groups.items()}
        learned = {phi: [error < lab.settings.learned for error in each] for phi, each in errors.items()}
        manifold = task.manifold(context=0)
        surfaces = {
            phi: [warping.immersion(network, manifold, time=task.duration) for network in networks]
            for phi, networks in groups.items()
        }
        return warping.compare(surfaces, points=lab.settings.points, learned=learned, report=lab.report), errors

    return lab.once("comparison", compute)


def activations_warp_alike(lab: Lab) -> Measured:
    """Differences of geometry between nonlinearities in every definition, and between seeds of one."""
    found, errors = _comparison(lab)
    count = len(found.groups)
    pairs = np.triu_indices(count, 1)

    def between(quantity: str) -> np.ndarray:
        return np.asarray(found.between)[found.row(quantity)][pairs]

    names = ("geodesic max mean", "geodesic max rms", "geodesic max max", "geodesic mean mean", "line evidence_1 mean")
    each = {name: between(name) for name in names}
    means = [each[name].mean() for name in names]
    within = np.asarray(found.within)[found.row("geodesic max mean")]
    seen: dict[str, Any] = {name: values.tolist() for name, values in each.items()}
    seen |= {
        "within": within.tolist(),
        "errors": errors,
        "pairs": [[found.groups[a], found.groups[b]] for a, b in zip(*pairs, strict=True)],
    }
    return Measured(
        {
            "share_that_learned": float(np.asarray(found.learned).mean()),
            "largest_geodesic_difference": float(each["geodesic max mean"].max()),
            "smallest_difference_over_definitions": float(min(means)),
            "largest_over_smallest_definition": float(max(means) / min(means)),
            "mean_normalised_over_max_normalised": float(
                (each["geodesic mean mean"] / each["geodesic max mean"]).min()
            ),
            "largest_between_over_within": float(np.asarray(found.ratio)[found.row("geodesic max mean")][pairs].max()),
        },
        seen,
        {"comparison": found},
    )


def every_activation_stretches_the_boundary(lab: Lab) -> Measured:
    """The stretch at the boundary over its mean along the line, in every network of every nonlinearity."""
    task = decision_task(lab)
    stretch: dict[str, list[float]] = {}
    peak: dict[str, list[float]] = {}
    for phi, networks in _groups(lab).items():
        fields = [
            warping.metric(n, task.manifold(context=0), points=lab.settings.points, duration=task.duration)
            for n in networks
        ]
        ends = [np.asarray(warping.profile(field, "evidence_1").relative)[-1] for field in fields]
        stretch[phi] = [float(end[len(end) // 2]) for end in ends]
        ratios = [np.asarray(warping.ratio(field, "evidence_1", "evidence_2").median) for field in fields]
        peak[phi] = [float((r / r[0]).max()) for r in ratios]
    return Measured(
        {
            "smallest_stretch_at_boundary": min(min(each) for each in stretch.values()),
            "smallest_peak_of_ratio": min(min(each) for each in peak.values()),
        },
        {"stretch": stretch, "peak": peak},
    )
