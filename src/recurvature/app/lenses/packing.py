"""How features are packed, in sentences: verdicts, how they vary with what came in, masks, and what a relu does."""

import numpy as np
from jaxtyping import Float

from recurvature.app.page import number, percent
from recurvature.lenses import superposition

EFFECTIVELY_LINEAR = 1.05
"""A loss without the relu below so many times that with it says that the relu hardly matters."""
MIDDLE = (10, 90)
"""Percentiles over histories between which a number is given."""


Between = list[float] | None


def ranges(found: superposition.FeatureDirections, delay: int) -> dict[str, list[Between]]:
    """The middle 80 % of the order parameter and of the sharpness over histories, feature by feature; None without."""
    rows = {name: getattr(found.by_history(delay), name) for name in ("order_parameter", "sharpness")}
    return {name: [_middle(column) for column in row.T] for name, row in rows.items()}


def _middle(values: Float[np.ndarray, " point"]) -> Between:
    known = values[np.isfinite(values)]
    return np.percentile(known, MIDDLE).tolist() if len(known) > 1 else None


def by_history(found: superposition.FeatureDirections, geometry: superposition.Geometry) -> list[str]:
    """How far the evidence on the first features that are recalled depends on what else came in."""
    between, said = ranges(found, geometry.delay), []
    for i in np.flatnonzero(np.asarray(geometry.stored) > 0.5)[:3].tolist():
        spans = [(w, between[name][i]) for w, name in (("ψ", "order_parameter"), ("F", "sharpness"))]
        parts = [f"{w} from {span[0]:.2f} to {span[1]:.2f}" for w, span in spans if span is not None]
        if parts:
            said.append(f"Feature {i + 1}: {' and '.join(parts)} (10 to 90 % of histories).")
    return said


def regimes(geometry: superposition.Geometry) -> str:
    """How the features that are recalled are packed, and forgotten."""
    kept = [i for i, value in enumerate(np.asarray(geometry.stored)) if value > 0.5]
    if not kept:
        return "No feature is recalled: less than half of it is read out when it is due."
    words = sorted({geometry.regimes[i] for i in kept})
    forgetting = sorted({superposition.FORGETTING[int(np.asarray(geometry.forgetting)[i])] for i in kept})
    return (
        f"Packing of what is recalled is {' and '.join(words)}; once a feature was due it is forgotten in a "
        f"{' and '.join(forgetting)} way."
    )


def evidence(geometry: superposition.Geometry, density: float | None) -> list[str]:
    """The verdicts on the first features that are recalled, and how far the transition is where that is known."""
    lines = superposition.verdict(geometry)
    kept = [lines[i] for i in np.flatnonzero(np.asarray(geometry.stored) > 0.5)[:3]]
    known = geometry.delay in superposition.TRANSITION and np.shape(geometry.direction)[1:] == (2, 1)
    if density is not None and known:
        kept.append(superposition.verdict(geometry, density=density)[-1])
    return kept


def masks(geometry: superposition.Geometry) -> list[str]:
    """What a relu recurrence does to its state under the sets of active units that it runs through."""
    radius, share = np.asarray(geometry.mask_radius), np.asarray(geometry.mask_share)
    if not len(radius):
        return []
    grows = float(share[radius > 1].sum())
    return [
        f"The relu recurrence runs through {len(radius)} sets of active units. The spectral radius of its Jacobian is "
        f"{number(float(share @ radius))} on average over steps, {number(float(radius.max()))} at most, and above 1 at "
        f"{percent(grows)} of steps; what grows under one set may end it."
    ]


def clips(clipped: superposition.Clipping) -> str:
    """How often a relu readout clips, and what the loss would be without."""
    rate, gap = float(np.asarray(clipped.rate).mean()), clipped.gap
    text = f"What is read out before the relu is negative at {percent(rate)} of steps"
    if not np.isfinite(gap):
        return f"{text}."
    worth = "effectively linear" if gap < EFFECTIVELY_LINEAR else "the relu does much of the work"
    return (
        f"{text}; without the relu the loss would be {number(gap)} (± {number(clipped.gap_error)}) times as large: "
        f"{worth if gap >= 1 else 'it loses by its relu'}."
    )
