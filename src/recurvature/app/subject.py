"""What a report is about: a network, its task, the views of its inputs, and what each lens came to."""

import dataclasses
import re
from typing import Any

import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError, check_count, check_positive, unknown
from recurvature._result import AbstractResult
from recurvature.app.page import Block, Notice, Section
from recurvature.systems.base import Network
from recurvature.systems.inputs import AbstractInputManifold
from recurvature.tasks.base import AbstractTask, Phases, Trials, numbered

LENSES = ("dynamics", "latent", "warping", "superposition", "overlaps")
"""Names that `--lens` takes, in the order of the report."""


def lenses_of(words: str) -> tuple[str, ...]:
    """The lenses that a comma-separated list names; `all` names every one."""
    return LENSES if words == "all" else tuple(word.strip() for word in words.split(","))


@dataclasses.dataclass(frozen=True)
class Options:
    """How closely to look."""

    lenses: tuple[str, ...] = LENSES
    points: int | None = None
    trials: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for lens in self.lenses:
            if lens not in LENSES:
                raise unknown("lens", lens, LENSES)
        check_count(trials=self.trials)
        if self.points is not None:
            check_count(points=self.points)
        if self.seed < 0:
            raise InputError(f"`seed` must be at least 0; got {self.seed}.")


@dataclasses.dataclass(frozen=True)
class Probe:
    """Where no task is known: constant inputs on a box, every other input 0."""

    amplitude: float = 1.0
    duration: float = 10.0

    def __post_init__(self) -> None:
        check_positive(amplitude=self.amplitude, duration=self.duration)


@dataclasses.dataclass(frozen=True)
class View:
    """One manifold of inputs to look at, for how long, and the parts of that time."""

    title: str
    manifold: AbstractInputManifold
    duration: float
    phases: Phases

    @property
    def slug(self) -> str:
        """The title as a name for files."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "view"


@dataclasses.dataclass(frozen=True)
class Performance:
    """Accuracy over many trials, and the trials themselves."""

    accuracy: float
    answered: int
    trials: Trials
    outputs: Float[np.ndarray, "trial time o"]
    failed: int
    """Trials whose states were not finite."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is looked at, and how closely."""

    network: Network
    task: AbstractTask | None
    views: tuple[View, ...]
    probe: Probe
    options: Options
    performance: Performance | None = None
    course: AbstractResult | None = None
    """How its overlaps went through training, where that was watched."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """What each input channel carries, by its task if one is known."""
        if self.task is not None:
            return self.task.input_names
        return numbered("input", self.network.system.input_size)

    @property
    def output_names(self) -> tuple[str, ...]:
        """What each output says, by its task if one is known."""
        if self.task is not None:
            return self.task.output_names
        return numbered("output", self.network.readout.output_size)


@dataclasses.dataclass(frozen=True)
class Seen:
    """What one lens came to: parts of the report, numbers for run.json, results to store, a sentence for the top.

    `checks` go into the last section of the report, and `trust` is their sum in one sentence.
    """

    sections: tuple[Section, ...]
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)
    results: dict[str, AbstractResult] = dataclasses.field(default_factory=dict)
    headline: str = ""
    checks: tuple[Block, ...] = ()
    trust: str = ""


def nothing(name: str, title: str, why: str) -> Seen:
    """What a lens that does not apply leaves in the report: the reason."""
    section = Section(name, title, (Notice("Left out:", why),), "It is left out here.")
    return Seen((section,), {name: {"left_out": why}})
