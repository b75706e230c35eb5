"""What drives a subject: a few typical constant inputs of its views, and the states that it visits."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recurvature.app.page import number
from recurvature.app.subject import Subject, View
from recurvature.systems.base import AbstractMap
from recurvature.systems.simulate import simulate

MOST_INPUTS = 5
"""Constant inputs that a report looks at, silence among them."""
MOST_ENTRIES = 6
"""Entries of an input that are written out."""
MOST_TRIALS = 32
"""Trials from which visited states are taken."""


class Held(NamedTuple):
    """One input, held for ever, and when a trial has it."""

    name: str
    inputs: Float[np.ndarray, " d"]


def held_inputs(subject: Subject) -> list[Held]:
    """Silence, then inputs from the middle of each part of each view: at the middle of the chart, then at its ends."""
    found = [Held("no input", np.zeros(subject.network.system.input_size))]
    for where, share in (("middle", 0.5), ("upper end", 1.0), ("lower end", 0.0)):
        for view in subject.views:
            for phase, time in _middles(view):
                given = _at(view, time, share)
                # the same input in another part of a trial is no other input
                if not any(np.allclose(given, known.inputs, atol=1e-9) for known in found):
                    found.append(Held(", ".join(filter(None, (_whose(subject, view), phase, where))), given))
    return found[:MOST_INPUTS]


def _whose(subject: Subject, view: View) -> str:
    """The title of a view where views differ in what they feed in at one place of their charts."""
    middles = [_at(each, each.duration / 2, 0.5) for each in subject.views]
    differ = len(middles) > 1 and not all(np.allclose(one, middles[0], atol=1e-9) for one in middles)
    return view.title if differ else ""


def _middles(view: View) -> list[tuple[str, float]]:
    if not view.phases:
        return [("", view.duration / 2)]
    return [(name, (start + stop) / 2) for name, (start, stop) in view.phases.items()]


def _at(view: View, time: float, share: float) -> Float[np.ndarray, " d"]:
    theta = np.array([c.low + share * (c.high - c.low) for c in view.manifold.coordinates])
    return np.asarray(view.manifold.inputs(jnp.asarray(time), jnp.asarray(theta)), np.float64)


def vector(inputs: Float[np.ndarray, " d"]) -> str:
    """An input as people read it, or nothing where it is too long."""
    if len(inputs) > MOST_ENTRIES:
        return ""
    return f"({', '.join(number(float(v)) for v in inputs)})"


def visited(subject: Subject, inputs: list[Held]) -> Float[np.ndarray, "point n"] | None:
    """States of a few trials, or of the inputs held for as long as the probe lasts; None for a system without steps."""
    network = subject.network
    if not isinstance(network.system, AbstractMap):
        return None
    if subject.performance is not None:
        given = np.asarray(subject.performance.trials.inputs)[:MOST_TRIALS]
    else:
        steps = max(round(subject.probe.duration / network.system.dt), 1)
        given = np.stack([np.repeat(held.inputs[None], steps, 0) for held in inputs])
    states = np.asarray(simulate(network, jnp.asarray(given)).states)
    rows = states.reshape(-1, states.shape[-1])
    return rows[np.isfinite(rows).all(1)]
