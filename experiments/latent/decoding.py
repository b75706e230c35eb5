"""Decoders with few components: linear against nonlinear, on made-up classes and on recorded reaches."""

from typing import Literal

import numpy as np
import scipy.stats

import recurvature as rc
from recurvature import latent, measures
from recurvature.app.claims import Measured

from .settings import Lab
from .theorems import generator

RECORDINGS = {"m": "recordings/reaching_monkey_m.mat", "c": "recordings/reaching_monkey_c.mat"}
"""Of two monkeys; the test parts of the data."""
SHIFT = 0.8
"""Half the distance of the classes in units of the latent variables' noise: d'² = 2.56, ideal accuracy 0.788."""


def _unit(lab: Lab) -> latent.LatentUnit:
    """Three latent variables that many neurons are tuned to."""
    rng, units = generator(lab, "tuned neurons"), lab.settings.decoding.units
    tuning = 0.5 * rng.normal(size=(units, 3))
    return latent.from_mean_convention(tuning, rng.normal(size=(units, 3)), dt=0.5)


def _decoded(lab: Lab, rule: Literal["shift", "xor"]) -> measures.Decoding:
    how = lab.settings.decoding

    def compute() -> measures.Decoding:
        key, shift = rc.stream(lab.key, rule), SHIFT if rule == "shift" else 2.0
        rates, labels, _ = latent.labelled_responses(_unit(lab), how.trials, key=key, rule=rule, shift=shift)
        return measures.decode(rates, labels, key=key, bottlenecks=how.bottlenecks, splits=how.splits, trees=how.trees)

    return lab.once(f"decoded {rule}", compute)


def _best(found: measures.Decoding, names: tuple[str, ...]) -> np.ndarray:
    """The best mean accuracy of some decoders, for every bottleneck."""
    return found.mean[:, [found.decoders.index(name) for name in names]].max(1)


def linear_decoders_suffice(lab: Lab) -> Measured:
    """Go and no-go: classes that differ in one latent variable."""
    found = _decoded(lab, "shift")
    linear, bent = _best(found, ("logistic", "lda")), _best(found, ("qda", "forest"))
    few = np.asarray(found.bottleneck) <= 3
    return Measured(
        {
            "smallest_lead_of_linear": float((linear - bent)[few].min()),
            "gain_beyond_three_components": float(linear[~few].max() - linear[few].max()),
            "linear_over_ideal": float(linear.max() / scipy.stats.norm.cdf(SHIFT)),
            "information_over_ideal": float(np.asarray(found.information).mean(0)[few].max() / (4 * SHIFT**2)),
        },
        {"decoders": found.decoders, "accuracy": found.mean.tolist()},
        {"decoding": found},
    )


def a_product_needs_a_curve(lab: Lab) -> Measured:
    """The control: a label that is the product of two signs, which no plane separates."""
    found = _decoded(lab, "xor")
    at_all = np.asarray(found.bottleneck) >= 3
    return Measured(
        {
            "best_linear": float(_best(found, ("logistic", "lda")).max()),
            "best_nonlinear": float(_best(found, ("qda", "forest"))[at_all].max()),
        },
        {"decoders": found.decoders, "accuracy": found.mean.tolist()},
        {"decoding": found},
    )


def _recorded(lab: Lab, name: str) -> measures.Decoding:
    """Decoders of the direction of recorded reaches, from the mean counts of each period of movement."""
    assert lab.data is not None
    recording = rc.io.read_recording(
        lab.data / RECORDINGS[name], activity="Yte", polar="Xte", labels="Tte", periods="seams"
    )
    assert recording.labels is not None
    means = np.stack([recording.activity[part].mean(0) for part in recording.segments])
    return measures.decode(
        means,
        recording.labels,
        key=rc.stream(lab.key, f"recorded {name}"),
        bottlenecks=(1, 2, 3),
        splits=lab.settings.decoding.splits,
        trees=lab.settings.decoding.trees,
    )


def recorded_directions_are_linear(lab: Lab) -> Measured:
    """Linear and nonlinear decoders of two monkeys with three components; of each number the worse monkey counts."""
    found = {name: _recorded(lab, name) for name in RECORDINGS}
    linear = {name: _best(each, ("logistic", "lda"))[2] for name, each in found.items()}
    bent = {name: _best(each, ("qda", "forest"))[2] for name, each in found.items()}
    return Measured(
        {
            "linear_at_three_over_chance": float(min(linear[name] / each.chance for name, each in found.items())),
            "lead_of_linear_at_three": float(min(linear[name] - bent[name] for name in found)),
        },
        {name: {"accuracy": each.mean.tolist(), "chance": each.chance} for name, each in found.items()},
        {f"decoding {name}": each for name, each in found.items()},
    )
