"""The superposition lens of a report: what the state keeps of past inputs, and how they share its dimensions."""

import dataclasses
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

import recurvature as rc
from recurvature import figures
from recurvature._progress import Progress, Report
from recurvature.app import pictures
from recurvature.app.lenses import packing
from recurvature.app.page import (
    Block,
    Fact,
    Facts,
    Heading,
    Notice,
    Picture,
    Points,
    Section,
    Table,
    Text,
    number,
    percent,
)
from recurvature.app.report import picture
from recurvature.app.subject import Seen, Subject, nothing
from recurvature.lenses import superposition
from recurvature.lenses.superposition import FORGETTING
from recurvature.systems.base import AbstractMap, Network
from recurvature.systems.connectivity import Dense
from recurvature.systems.linear import DiagonalMap, LinearMap
from recurvature.systems.preactivation import PreactivationMap
from recurvature.systems.readout import ActivatedReadout, LinearReadout
from recurvature.tasks import Recall

TITLE = "What it remembers"
AGES, MOST_DIRECTIONS = 24, 240
"""Steps looked back upon where no task says how many, and the most past inputs in all."""
HISTORIES = 16
"""Histories of inputs about which directions are averaged."""
AMPLITUDES = (-1.0, 0.5, 1.0, 2.0)
CLIPPED = 1024
"""Trials in which clipping is counted."""
APART = 1e-6
"""Directions that differ from independent ones by less are independent, as far as rounding tells."""
UNSTEADY = 0.3
"""Where directions differ by more than this share of their length, one picture of them is only an average."""

INTRODUCTION = (
    "Every past input leaves a direction in the state: where the state would move if that input had been a little "
    "larger. Inputs whose directions are orthogonal can be told apart; where there are more of them than dimensions, "
    "or they lean on one another, they interfere. Directions are derivatives, {}. What is read out is meant before a "
    "relu."
)
ABOUT = (
    "about rest: without any input, from the initial state",
    "averaged over histories of inputs that the task draws; before them the network is in its initial state",
)
"""What directions are taken about, without histories and with some."""


@dataclasses.dataclass(frozen=True)
class Packed:
    """The directions of past inputs, and their geometry."""

    directions: superposition.FeatureDirections
    geometry: superposition.Geometry
    """Where nothing is asked for again, only what in it does not depend on a delay is used."""
    delay: int | None
    """After how many steps the task asks for an input; None if it asks for nothing of that kind."""
    states: int
    clipped: superposition.Clipping | None = None
    density: float | None = None
    """Of the features that the task draws, where it draws such as the table of transitions is of."""


def see(subject: Subject, report: Report) -> Seen:
    """Directions of past inputs about histories of the task, or about rest without a task."""
    network, features = subject.network, subject.network.system.input_size
    if not isinstance(network.system, AbstractMap):
        return nothing("superposition", TITLE, "inputs of a flow last as long as one likes: name a step in Python.")
    delay = subject.task.delay_steps[0] if isinstance(subject.task, Recall) else None
    ages = min(AGES if delay is None else max(2 * delay + 4, 10), MOST_DIRECTIONS // features)
    if ages < (4 if delay is None else delay + 2):
        why = f"{features} inputs at every step are too many past inputs to hold against one another here."
        return nothing("superposition", TITLE, why)
    report(Progress("directions of past inputs", 0, 1))
    histories = histories_of(subject, ages)
    found = superposition.feature_directions(before_relu(network), ages=ages, around=histories, amplitudes=AMPLITUDES)
    report(Progress("directions of past inputs", 1, 1))
    geometry = _geometry(subject, found, (ages - 2) // 2 if delay is None else delay)
    clipped = None if delay is None else clipping_of(subject, delay)
    packed = Packed(found, geometry, delay, network.system.state_size, clipped, density_of(subject))
    results: dict[str, Any] = {"superposition-directions": found}
    if delay is not None:
        results["superposition-geometry"] = geometry
    if clipped is not None:
        results["superposition-clipping"] = clipped
    checks = (Points((("Small or large inputs", _amplitudes(found)),)),)
    return Seen((section(packed),), {"superposition": numbers(packed)}, results, headline(packed), checks)


def before_relu(network: Network) -> Network:
    """The network with what is read out before its relu, if it has one: beyond a relu a slope is 0 or says nothing."""
    readout = network.readout
    if not isinstance(readout, ActivatedReadout) or readout.phi != "relu":
        return network
    return eqx.tree_at(lambda net: net.readout, network, LinearReadout(readout.weight, readout.bias))


def _geometry(subject: Subject, found: superposition.FeatureDirections, delay: int) -> superposition.Geometry:
    """Of the weights where the recurrence is linear and dense, with its eigenvalues; otherwise of the directions."""
    network = subject.network
    system, seen = network.system, before_relu(network).readout
    plain = isinstance(seen, LinearReadout) and seen.bias is None and seen.output_size <= system.input_size
    if plain and isinstance(system, LinearMap) and isinstance(system.connectivity, Dense):
        return superposition.geometry(superposition.weights_of(network), delay, ages=len(found.age))
    masks = None
    if isinstance(system, PreactivationMap) and system.phi == "relu" and subject.performance is not None:
        masks = superposition.mask_radii(network, np.asarray(subject.performance.trials.inputs)[:HISTORIES])
    # a geometry takes features as they are recalled, so that outputs beyond them have no place in it
    own = np.asarray(found.projection)[:, : found.direction.shape[2]]
    return superposition.geometry_of(own, np.asarray(found.direction), delay, masks=masks)


def clipping_of(subject: Subject, delay: int) -> superposition.Clipping | None:
    """How often the readout clips in the trials of a recall task, and what its relu is worth; None where it has none.

    None as well where features share a gate, weigh differently or come with a cue.
    """
    network, task, readout = subject.network, subject.task, subject.network.readout
    rectified = isinstance(readout, ActivatedReadout) and readout.phi == "relu"
    if not rectified or not isinstance(task, Recall) or not _plain(task):
        return None
    return superposition.clipping(
        network,
        steps=task.steps,
        delay=delay,
        density=task.density,
        amplitude=superposition.Uniform(task.low, task.high),
        trials=CLIPPED,
        key=rc.stream(rc.key(subject.options.seed), "clipping"),
    )


def density_of(subject: Subject) -> float | None:
    """The density of a recall task of one feature from 0 to 1, recalled by a linear recurrence under a relu readout."""
    network, task = subject.network, subject.task
    linear = isinstance(network.system, LinearMap | DiagonalMap)
    rectified = isinstance(network.readout, ActivatedReadout) and network.readout.phi == "relu"
    if not (isinstance(task, Recall) and _plain(task) and linear and rectified):
        return None
    return task.density if (task.features, task.low, task.high) == (1, 0.0, 1.0) else None


def _plain(task: Recall) -> bool:
    return len(task.delay_steps) == 1 and not task.shared_gate and set(task.importance) == {1.0}


def histories_of(subject: Subject, ages: int) -> Float[np.ndarray, "point age d"] | None:
    """The last inputs of trials at random moments, the youngest first; None without a task."""
    if subject.performance is None:
        return None
    given = np.asarray(subject.performance.trials.inputs, np.float64)[:HISTORIES]
    # moments spread over the second half of a trial, so that every part of it comes up
    ends = np.linspace(max(given.shape[1] // 2, 1), given.shape[1], len(given)).astype(int)
    padded = np.concatenate([np.zeros((len(given), ages, given.shape[2])), given], 1)
    return np.stack([trial[end : end + ages][::-1] for trial, end in zip(padded, ends, strict=True)])


def section(packed: Packed) -> Section:
    """All that is said of past inputs."""
    found, recalls = packed.directions, packed.delay is not None
    blocks: list[Block] = [_packing(packed.geometry) if recalls else _lasting_picture(found)]
    about = ABOUT[len(np.asarray(found.histories)) > 1]
    blocks += [Text(INTRODUCTION.format(about)), Facts(facts(packed)), Points(tuple(sentences(packed)))]
    if recalls:
        blocks.append(_features(packed.geometry))
    blocks += [Heading("By age"), _by_age(packed)]
    if not recalls:
        blocks += [Heading("Interference"), _interference(packed.geometry)]
    lasting = _lasting(lengths(found), found.dt)
    return Section("superposition", TITLE, tuple(blocks), headline(packed) or lasting)


def lengths(found: superposition.FeatureDirections) -> Float[np.ndarray, " age"]:
    """Root mean square length of the directions of every age."""
    return np.sqrt((np.asarray(found.direction, float) ** 2).sum(1).mean(1))


def dimensions(found: superposition.FeatureDirections) -> float:
    r"""$(\\mathrm{tr}\\,\\Gamma)^2/\\lVert\\Gamma\\rVert^2$ of all directions: over how many dimensions they spread."""
    gram = found.gram
    size = float((gram**2).sum())
    return float(np.trace(gram) ** 2 / size) if size > 0 else 0.0


def facts(packed: Packed) -> tuple[Fact, ...]:
    """The key numbers, ready to print."""
    found = packed.directions
    past = found.direction.shape[0] * found.direction.shape[2]
    shown = [
        Fact("past inputs looked at", f"{past:,}", f"{found.direction.shape[0]} steps"),
        Fact("dimensions they spread over", number(dimensions(found)), f"of {packed.states:,}"),
    ]
    capacity = capacities(packed.geometry)
    if np.isfinite(capacity).all():
        shown.append(Fact("memory capacity", number(float(capacity.sum())), "past inputs that linear readouts recover"))
    if packed.delay is not None:
        kept = packed.geometry.n_stored
        shown.append(
            Fact("features recalled", f"{kept} of {len(packed.geometry.stored)}", f"after {packed.delay} steps")
        )
        shown.append(Fact("load", number(packed.geometry.load), "past inputs held, over units"))
    return tuple(shown)


def sentences(packed: Packed) -> list[tuple[str, str]]:
    """What the directions say of memory, and how far one set of them can be trusted."""
    found, size = packed.directions, lengths(packed.directions)
    said = [("How long", _lasting(size, found.dt))]
    if packed.delay is None:
        said += [("How it packs", _held(packed))]
    else:
        said.append(("How it packs", packing.regimes(packed.geometry)))
        said += [("Evidence", line) for line in packing.evidence(packed.geometry, packed.density)]
        said += [("By history", line) for line in packing.by_history(packed.directions, packed.geometry)]
        said += [("Masks", line) for line in packing.masks(packed.geometry)]
    if packed.clipped is not None:
        said.append(("What the relu does", packing.clips(packed.clipped)))
    spread = float(np.median(np.asarray(found.spread)))
    kind = "depend on what else came in" if spread > UNSTEADY else "hardly depend on what else came in"
    many = f"Directions {kind}: they differ by {number(spread)} of their length (median)."
    if len(np.asarray(found.histories)) == 1:
        many = "These directions are about rest alone: with a task they are taken about what it draws."
    said.append(("One picture or many", many))
    return said


def _lasting(size: Float[np.ndarray, " age"], dt: float) -> str:
    span = f"{number(len(size) * dt)} τ" if dt != 1 else f"{len(size)} steps"
    if not size[0] > 0:
        return "The newest input has not moved the state yet."
    last = size[-1] / size.max()
    if size.argmax() == len(size) - 1:
        return f"Over the last {span} a trace only grows: the state moves most with the oldest input looked at."
    peak = f"It is largest at age {int(size.argmax())}; " if size.argmax() else ""
    return f"{peak}after {span} the trace of an input has {percent(float(last))} of its largest length.".capitalize()


def capacities(geometry: superposition.Geometry) -> Float[np.ndarray, "age d"]:
    """The share of every past input that a linear readout of the state recovers; NaN where it is not known."""
    return np.diagonal(np.asarray(geometry.interference, float)).reshape(len(geometry.age), -1)


def _held(packed: Packed) -> str:
    """How many of the past inputs can be told apart, and in how many dimensions they lie."""
    capacity, size = capacities(packed.geometry), lengths(packed.directions)
    spread = f"their directions spread over {number(dimensions(packed.directions))} dimensions"
    if not np.isfinite(capacity).all() or not size[0] > 0:
        return f"{spread.capitalize()}."
    by_age = capacity.mean(1)
    if by_age.min() > 1 - APART:
        return f"Each of these inputs could be recovered by some linear readout, without noise; {spread}."
    half = np.flatnonzero(by_age < 0.5)
    until = f"less than half from age {half[0]} on" if len(half) else "at least half at every age"
    return (
        f"Without noise, linear readouts could recover {number(float(capacity.sum()))} of the {capacity.size} inputs: "
        f"{percent(float(by_age[0]))} of the newest, {until}; {spread}."
    )


def _amplitudes(found: superposition.FeatureDirections) -> str:
    sizes = np.median(np.asarray(found.homogeneity).reshape(len(found.amplitude), -1), 1)
    parts = [f"{number(float(s))} at {number(float(a))}" for a, s in zip(found.amplitude, sizes, strict=True)]
    return (
        f"Single pulses at rest move the state otherwise than the derivative there says, by {', '.join(parts)} "
        "of it (median over ages): where that is small, pulses of this size act as directions do."
    )


def _features(geometry: superposition.Geometry) -> Table:
    rows = [
        (
            str(i + 1),
            number(float(geometry.stored[i])),
            geometry.regimes[i],
            FORGETTING[int(np.asarray(geometry.forgetting)[i])],
            _known(float(geometry.order_parameter[i])),
            _known(float(geometry.sharpness[i])),
        )
        for i in range(min(len(geometry.stored), 12))
    ]
    header = ("feature", "read out when due", "regime", "forgetting", "order parameter ψ", "sharpness F")
    return Table(header, tuple(rows), "What becomes of each feature")


def _known(value: float) -> str:
    return number(value) if np.isfinite(value) else "–"


def _packing(geometry: superposition.Geometry) -> Picture:
    return picture(
        pictures.root(next(iter(figures.packing(geometry).values()))),
        "Left: directions of the feature that is recalled best, age by age, beside what is read out. Middle: what is "
        "read out of each feature as it ages. Right: how past inputs interfere.",
        "Directions of past inputs and their interference",
    )


def _lasting_picture(found: superposition.FeatureDirections) -> Picture:
    return picture(
        pictures.root(figures.memory_by_age(found)),
        "How far the state moves with an input of each age, and how far the outputs do, over the age that moves them "
        "most.",
        "How long past inputs last",
    )


def _interference(geometry: superposition.Geometry) -> Block:
    """The matrix where it says something: of inputs that can all be told apart it is the identity."""
    table = np.asarray(geometry.interference, float)
    if not np.isfinite(table).all():
        return Notice("Left out:", "the recurrence is not stable, so that its state has no covariance.")
    if np.abs(table - np.eye(len(table))).max() < APART:
        return Notice("Left out:", "these directions are independent: a linear readout can tell each from all others.")
    return picture(
        pictures.root(figures.interference(geometry)),
        "How past inputs interfere under white input: on the diagonal, how much of each a linear readout can recover; "
        "beside it, what of another comes with it.",
        "Interference between past inputs",
    )


def _by_age(packed: Packed) -> Table:
    found, size = packed.directions, lengths(packed.directions)
    first = np.asarray(found.direction, float)[0]
    projection = np.sqrt((np.asarray(found.projection, float) ** 2).mean((1, 2)))
    rows = []
    for age in np.unique(np.linspace(0, len(size) - 1, 7).round().astype(int)):
        along = np.asarray(found.direction, float)[age]
        cosine = (along * first).sum(0) / np.maximum(
            np.linalg.norm(along, axis=0) * np.linalg.norm(first, axis=0), 1e-300
        )
        spread = float(np.median(np.asarray(found.spread)[age]))
        rows.append(
            (
                str(age),
                number(float(size[age])),
                number(float(cosine.mean())),
                number(float(projection[age])),
                number(spread),
            )
        )
    header = ("age (steps)", "length", "cosine with age 0", "read out", "spread")
    return Table(header, tuple(rows), "Directions of past inputs: averages over inputs")


def numbers(packed: Packed) -> dict[str, Any]:
    """Key numbers, for run.json."""
    found, geometry = packed.directions, packed.geometry
    result: dict[str, Any] = {
        "ages": int(found.direction.shape[0]),
        "features": int(found.direction.shape[2]),
        "effective_dimension": dimensions(found),
        "spread_median": float(np.median(np.asarray(found.spread))),
        "homogeneity_median": {
            str(a): float(np.median(h)) for a, h in zip(found.amplitude, np.asarray(found.homogeneity), strict=True)
        },
        "delay": packed.delay,
    }
    if packed.delay is not None:
        result |= {
            "stored": np.asarray(geometry.stored).tolist(),
            "regimes": list(geometry.regimes),
            "load": geometry.load,
            "by_history": packing.ranges(found, geometry.delay),
        }
    if packed.clipped is not None:
        result |= {
            "clip_rate": np.asarray(packed.clipped.rate).tolist(),
            "linearity_gap": packed.clipped.gap if np.isfinite(packed.clipped.gap) else None,
        }
    return result


def headline(packed: Packed) -> str:
    """The one sentence for the head of the report, where the task is to recall."""
    if packed.delay is None:
        return ""
    kept, all_of_them = packed.geometry.n_stored, len(packed.geometry.stored)
    return f"It recalls {kept} of {all_of_them} features after {packed.delay} steps."
