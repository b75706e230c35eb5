"""The causal table: what holding the metric costs, and what matching it alone achieves."""

import functools
from typing import Any

import numpy as np

from recurvature.app.claims import Measured
from recurvature.systems import Network

from . import causal
from .networks import Lab

HELD = "c=1 pointwise rates x10 lines"
"""The strongest constraint: the ratio is 1 at every point, in the rates that the readout sees, boundary included."""
MEANS = "c=1 means rates x10 lines"
"""The same number, weight and length, asked of the ratio of means over points."""
FIELD, OTHER, SCALAR = "warp only: field lines", "warp only: other's field lines", "warp only: c* pointwise lines"


def _sizes(lab: Lab) -> causal.Sizes:
    how = lab.settings.causal
    return causal.Sizes(how.units, how.steps, tuple(range(how.seeds)), how.learning_rate)


def _network(lab: Lab, name: str, seed: int) -> tuple[Any, Network | None]:
    """The fit of a plan for a seed, and the network whose metric was asked for."""
    sizes, plan = _sizes(lab), causal.PLANS[name]
    source = seed if plan.source == "own" else sizes.seeds[(seed + 1) % len(sizes.seeds)]
    target = None if plan.constraint == "none" else _network(lab, "baseline", source)[0].network
    slug = "".join(c if c.isalnum() else "-" for c in name)
    fit = functools.partial(lab.fit, f"causal-{slug}-{seed}")
    return causal.train(plan, seed, sizes, target, fit=fit), target


def _outcomes(lab: Lab, name: str) -> list[causal.Outcome]:
    """The numbers of a plan, of every seed."""

    def one(seed: int) -> causal.Outcome:
        fit, target = _network(lab, name, seed)
        return causal.look(name, seed, None, _sizes(lab), fit=fit, target=target)

    return lab.once(f"causal outcomes {name}", lambda: [one(seed) for seed in _sizes(lab).seeds])


def _column(rows: list[causal.Outcome], name: str) -> np.ndarray:
    return np.asarray([getattr(row, name) for row in rows], float)


def _seen(**rows: list[causal.Outcome]) -> dict[str, Any]:
    """Every number of every outcome."""
    return {
        name: [{k: v for k, v in row._asdict().items() if k != "form"} for row in each] for name, each in rows.items()
    }


def baseline_error(lab: Lab) -> Measured:
    """The error of networks trained on the task alone, without noise, over all conditions."""
    rows = _outcomes(lab, "baseline")
    return Measured({"largest_error": float(_column(rows, "task_mse").max())}, _seen(baseline=rows))


def holding_the_ratio_costs(lab: Lab) -> Measured:
    """The error of networks trained on the task with the metric ratio held at 1."""
    rows, means, free = (_outcomes(lab, name) for name in (HELD, MEANS, "baseline"))
    error = _column(rows, "task_mse")
    return Measured(
        {
            "smallest_error": float(error.min()),
            "largest_error": float(error.max()),
            "smallest_error_over_baseline": float((error / _column(free, "task_mse")).min()),
            "mean_error_over_that_of_means": float(np.exp(np.log(error / _column(means, "task_mse")).mean())),
            "largest_rms_log_ratio_over_baseline": float(
                (_column(rows, "rms_log_ratio") / _column(free, "rms_log_ratio")).max()
            ),
        },
        _seen(held=rows, held_in_means=means, baseline=free),
    )


def matching_the_field_suffices(lab: Lab) -> Measured:
    """Held-out error of refitted readouts of networks that were trained on the metric of their trained selves."""
    return _against_baseline(lab, FIELD)


def matching_the_field_of_another_suffices(lab: Lab) -> Measured:
    """The same with the metric of a network that began elsewhere: only the metric can carry over."""
    return _against_baseline(lab, OTHER)


def matching_one_number_suffices(lab: Lab) -> Measured:
    """The same with one number, the mean ratio, in place of the field."""
    return _against_baseline(lab, SCALAR)


def _against_baseline(lab: Lab, name: str) -> Measured:
    rows, free = _outcomes(lab, name), _outcomes(lab, "baseline")
    error, reference = _column(rows, "refit_held_out"), _column(free, "refit_held_out")
    return Measured(
        {
            "largest_error_over_baseline": float((error / reference).max()),
            "smallest_error_over_baseline": float((error / reference).min()),
            "smallest_error": float(error.min()),
            "largest_error": float(error.max()),
            "largest_error_on_training_grid": float(_column(rows, "refit_train").max()),
            "smallest_error_on_training_grid": float(_column(rows, "refit_train").min()),
        },
        _seen(matched=rows, baseline=free),
    )
