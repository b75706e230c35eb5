"""The computation of `recurvature sweep recall`: the phase diagram, density by density, each kept once it is known.

A killed sweep goes on where it stopped: what is in the folder of its settings is read, not computed again.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

import recurvature as rc
from recurvature import io
from recurvature._errors import InputError
from recurvature._keys import PRNGKey
from recurvature._progress import Progress, Report
from recurvature._result import AbstractResult
from recurvature.app.terminal import say
from recurvature.io.specs import SweepSpec
from recurvature.lenses.superposition import (
    Branches,
    Census,
    ExpectedLoss,
    PhaseDiagram,
    Population,
    RecallLoss,
    Transition,
    branches,
    census,
    expected_recall,
    phase_diagram,
    random_population,
    recall_loss,
    sparse,
    transition,
)
from recurvature.lenses.superposition.geometry import DENSE, SPARSE
from recurvature.training import fit_population

R = TypeVar("R", bound=AbstractResult)
COPIES = 3
"""Networks that follow each branch, from different solutions; the best of those that are still on it counts."""
APART = 0.01
"""Solutions whose losses differ by less than this share count as one."""
FARTHEST = 2.0
"""Branches are followed to this factor from the transition or more, on either side, or until they are lost."""


@dataclasses.dataclass(frozen=True)
class Parts:
    """Results kept by name in a folder, each written whole or not at all."""

    folder: Path | None

    def once(self, name: str, kind: type[R], compute: Callable[[], R]) -> R:
        """The result called `name` from its file, or computed and written to it."""
        path = None if self.folder is None else self.folder / f"{name}.zarr"
        if path is not None and path.exists():
            try:
                found = io.load(path)
                if isinstance(found, kind):
                    return found
                say(f"{path.name} holds another kind of result, computing it anew")
            except InputError as error:
                say(f"{path.name} cannot be used, computing it anew: {error}")
        made = compute()
        if path is not None:
            io.save(made, path, overwrite=True)
        return made


FORMAT = 2
"""Of what a part holds and how it is computed: to be raised with either, so that older parts are not taken up."""
CHOICE = ("densities", "branch_steps", "branch_ratio")
"""Settings that change which cells there are, or what is made of them, but no cell."""


def parts_of(folder: Path, spec: SweepSpec) -> Parts:
    """The parts of a sweep: a folder for the settings of its cells, so that others do not mix with them."""
    return Parts(folder / "parts" / _digest(spec.model_dump(exclude=set(CHOICE))))


def _digest(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps({"format": FORMAT, **settings}, sort_keys=True).encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Swept:
    """What a sweep found."""

    diagram: PhaseDiagram
    branches: tuple[Branches, ...]
    transition: Transition

    def results(self) -> dict[str, AbstractResult]:
        """All of it by name."""
        followed = {f"branches-{each.delay}": each for each in self.branches}
        return {"phases": self.diagram, "transition": self.transition, **followed}


def sweep(spec: SweepSpec, *, key: PRNGKey, parts: Parts, report: Report) -> Swept:
    """Train and judge every cell, follow both branches of every delay from the transition on, and locate it."""
    cells: dict[float, Census] = {}
    total = len(spec.densities)
    for done, density in enumerate(sorted(spec.densities)):
        report(Progress("cells", done, total))
        name = f"density-{density!r}"
        cells[density] = parts.once(name, Census, functools.partial(_cell, spec, density, key, report))
    report(Progress("cells", total, total))
    diagram = phase_diagram(cells)
    followed, chosen = [], _digest(spec.model_dump(include=set(CHOICE)))
    delays = np.asarray(diagram.delay)[diagram.packs].tolist() if spec.branch_steps else []
    for done, delay in enumerate(delays):
        report(Progress("branches", done, len(delays)))
        origins = _origins(cells, diagram, delay)
        if origins is not None:
            follow = functools.partial(_followed, spec, origins, delay, key, report)
            followed.append(parts.once(f"branches-{delay}-{chosen}", Branches, follow))
    found = transition(diagram, followed, key=rc.stream(key, "transition"))
    return Swept(diagram, tuple(followed), found)


def loss_of(spec: SweepSpec, density: float) -> RecallLoss | ExpectedLoss:
    """What the networks of one density are trained on and held against."""
    if spec.exact:
        return expected_recall(sparse(density), steps=spec.window, stationary=spec.stationary)
    return recall_loss(density, steps=spec.window, trials=spec.trials, stationary=spec.stationary)


def _trained(
    spec: SweepSpec, population: Population, density: float, key: PRNGKey, report: Report, **options: Any
) -> Population:
    loss = loss_of(spec, density)
    chunk = None if isinstance(loss, ExpectedLoss) else loss.fits(population)
    name = f"train at density {density:.3g}"
    told = lambda progress, /: report(dataclasses.replace(progress, task=name))  # noqa: E731
    options = {"steps": spec.steps, "learning_rate": spec.learning_rate, **options}
    return fit_population(population, loss, key=key, chunk=chunk, report=told, **options).population


def _judged(spec: SweepSpec, population: Population, density: float, key: PRNGKey) -> Census:
    return census(population, loss_of(spec, density), key=rc.stream(key, "census"), repeats=spec.samples)


def _cell(spec: SweepSpec, density: float, key: PRNGKey, report: Report) -> Census:
    options: dict[str, Any] = {"delays": spec.delays, "seeds": spec.seeds, "kind": spec.kind, "tied": spec.tied}
    start = random_population(spec.units, key=rc.stream(key, "weights"), **options)
    trained = _trained(spec, start, density, rc.stream(key, "training"), report)
    return _judged(spec, trained, density, key)


Origin = tuple[float, Population]
"""A density, and networks of one branch that were trained there."""


def _origins(cells: dict[float, Census], diagram: PhaseDiagram, delay: int) -> tuple[Origin, Origin] | None:
    """Where to take up the dense and the sparse branch: at the densities nearest to the transition that have them."""
    densities, k = np.asarray(diagram.density), int(np.flatnonzero(np.asarray(diagram.delay) == delay)[0])
    regime = diagram.of_best("regime")[:, k]
    sparse_at, dense_at = densities[regime == SPARSE], densities[regime == DENSE]
    if not len(sparse_at) or not len(dense_at) or sparse_at.max() > dense_at.max():
        return None
    low = float(sparse_at.max())
    high = float(dense_at[dense_at > low].min())
    starts = ((high, DENSE), (low, SPARSE))
    dense, sparse = ((at, _different(cells[at], cells[at].in_regime(delay, regime))) for at, regime in starts)
    return dense, sparse


def _different(one: Census, places: np.ndarray) -> Population:
    """The best networks among some whose losses differ: a phase may hold several solutions."""
    loss, chosen = one.loss, [int(places[0])]
    for place in places:
        # what training leaves open is far below a hundredth of the loss
        if loss[place] > (1 + APART) * loss[chosen[-1]] and len(chosen) < COPIES:
            chosen.append(int(place))
    # always as many, so that all walks share one compiled program
    return one.population.take(np.resize(chosen, COPIES))


def _followed(spec: SweepSpec, origins: tuple[Origin, Origin], delay: int, key: PRNGKey, report: Report) -> Branches:
    """Both branches of one delay, from their origins outwards."""
    (high, _), (low, _) = origins
    middle = np.sqrt(low * high)
    # far enough to meet, however far apart the cells are
    reach = max(FARTHEST, float(np.sqrt(high / low)))
    most = int(np.ceil(np.log(reach) / np.log(spec.branch_ratio)))
    grid = [d for d in middle * spec.branch_ratio ** (np.arange(-most, most + 1) + 0.5) if d <= 1]
    walked = [
        _walked(spec, origin, regime, delay, grid, key, report)
        for origin, regime in zip(origins, (DENSE, SPARSE), strict=True)
    ]
    return branches(walked[0], walked[1], delay)


def _walked(
    spec: SweepSpec, origin: Origin, regime: int, delay: int, grid: list[float], key: PRNGKey, report: Report
) -> dict[float, Census]:
    """Censuses of one branch at the densities above its origin, then at those below, each time until it is lost."""
    at, start = origin
    found: dict[float, Census] = {}
    for densities in ([d for d in grid if d >= at], [d for d in grid[::-1] if d < at]):
        for density, one in _steps(spec, start, densities, key, report):
            found[float(density)] = one
            if not len(one.in_regime(delay, regime)):
                break
    return found


def _steps(
    spec: SweepSpec, population: Population, densities: list[float], key: PRNGKey, report: Report
) -> Iterator[tuple[float, Census]]:
    """Train at one density after another, each time from where the last one ended."""
    for density in densities:
        options = {"steps": spec.branch_steps, "learning_rate": spec.learning_rate / 4}
        population = _trained(spec, population, density, rc.stream(key, "branches"), report, **options)
        yield density, _judged(spec, population, density, key)
