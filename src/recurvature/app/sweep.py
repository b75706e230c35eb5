"""`recurvature sweep recall`: the phase diagram of recall in a folder, with its report."""

from pathlib import Path
from typing import Any

import numpy as np

import recurvature as rc
from recurvature import figures
from recurvature._errors import InputError, check_choice
from recurvature.app import sections
from recurvature.app.cells import Swept, parts_of, sweep
from recurvature.app.output import claim
from recurvature.app.page import Block, Notice, Page, Section, Table, Text, number, percent
from recurvature.app.pictures import root
from recurvature.app.report import picture
from recurvature.app.run import Run, files, finish, write_run
from recurvature.app.terminal import progress
from recurvature.io.specs import SweepSpec, parse, toml_table
from recurvature.lenses.superposition import PhaseDiagram, Transition
from recurvature.tasks.recall import SUPERPOSITION

TASKS = ("recall",)


def sweep_spec(task: str, file: Path | None, **flags: Any) -> SweepSpec:
    """The spec in `file`, if there is one, with every flag that was given on top of it."""
    check_choice("TASK", task, TASKS)
    given = {name: v for name, v in flags.items() if v is not None}
    if file is None:
        return parse(SweepSpec, given, "the settings")
    return parse(SweepSpec, toml_table(file) | given, f"{file}, with the options on top")


def numbers_of(text: str | None, name: str, kind: type) -> tuple[Any, ...] | None:
    """Numbers separated by commas. Raises `InputError` on anything else."""
    if text is None:
        return None
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--{name} must be numbers separated by commas, such as 2,3,4; got {text!r}.") from error


def sweep_recall(run: Run, spec: SweepSpec, out: Path) -> None:
    """Compute the phase diagram that `spec` asks for, and write it into the folder `out`."""
    with claim(out, files(), force=run.force) as output:
        with progress(run.json) as report:
            found = sweep(spec, key=rc.key(spec.seed), parts=parts_of(out, spec), report=report)
        record = run.record(spec=spec.model_dump(), seed=spec.seed, numbers=_numbers(found))
        page = _page(record, spec, found)
        write_run(output, record, found.results(), page)
    finish(run, record, [*_lines(found), f"Report: {out / 'report.html'}"])


NUMBERS = (
    "crossing",
    "crossing_grid",
    "crossing_error",
    "best_of_n",
    "interval",
    "flat",
    "grid",
    "susceptible",
    "steepest",
    "coexistence",
)
"""Fields of a transition that go into run.json, delay by delay."""


def _numbers(found: Swept) -> dict[str, Any]:
    rows, reached = enumerate(np.asarray(found.transition.delay).tolist()), found.diagram.reached
    return {
        f"delay {delay}": {
            **{name: np.asarray(getattr(found.transition, name))[k].tolist() for name in NUMBERS},
            "reached": reached[:, k].tolist(),
        }
        for k, delay in rows
    }


def _pair(values: Any) -> str:
    low, high = np.asarray(values, float)
    return f"{number(low)}–{number(high)}" if np.isfinite(low) else "–"


def _cells(found: Transition, diagram: PhaseDiagram) -> tuple[tuple[str, ...], ...]:
    rows = []
    for k, delay in enumerate(np.asarray(found.delay)):
        crossing, error = float(found.crossing[k]), float(found.crossing_error[k])
        crossed = f"{number(crossing)} ± {number(error)}" if np.isfinite(crossing) else "–"
        best = float(found.best_of_n[k])
        rows.append(
            (
                str(int(delay)),
                crossed,
                _pair(found.crossing_grid[k]),
                number(best) if np.isfinite(best) else "–",
                _pair(found.interval[k]),
                _pair(found.grid[k]),
                number(float(found.susceptible[k])) if np.isfinite(found.susceptible[k]) else "–",
                _pair(found.coexistence[k]),
                _shares(diagram.reached[:, k]),
            )
        )
    return tuple(rows)


HEADER = (
    "delay",
    "losses cross",
    "between",
    "best of seeds",
    "95 % over seeds",
    "between",
    "largest χ",
    "both phases seen",
    "seeds in the best regime",
)


def _shares(values: np.ndarray) -> str:
    """The least and the greatest share over densities."""
    return "–" if np.isnan(values).any() else f"{percent(float(values.min()))}–{percent(float(values.max()))}"


def _lines(found: Swept) -> list[str]:
    """The transition as lines of text."""
    return [
        f"delay {row[0]}: sparse packing below a density of {row[1]} (losses cross), {row[3]} (best of seeds, {row[5]})"
        for row, there in zip(_cells(found.transition, found.diagram), found.diagram.packs, strict=True)
        if there
    ]


def _warnings(spec: SweepSpec, found: Swept) -> list[Block]:
    """What a reader of the diagram must know of its cells."""
    at, delay = np.nonzero(np.asarray(found.transition.missed))
    density, delays = np.asarray(found.diagram.density), np.asarray(found.diagram.delay)
    missed = [f"delay {delays[k]} at density {number(float(density[i]))}" for i, k in zip(at, delay, strict=True)]
    followed = {each.delay for each in found.branches}
    packs = np.asarray(found.diagram.packs)
    alone = [str(k) for k in delays[packs].tolist() if k not in followed] if spec.branch_steps else []
    notes: list[Block] = []
    if not packs.all():
        text = (
            f"with fewer than two younger ages there are not two ways to pack: {', '.join(map(str, delays[~packs]))}."
        )
        notes.append(Notice("Delays without a transition:", text))
    if missed:
        notes.append(Notice("More seeds are needed:", f"none found the better solution for {', '.join(missed)}."))
    if alone:
        text = f"the best networks do not go from sparse to dense on these densities for delays of {', '.join(alone)}."
        notes.append(Notice("No branches:", text))
    transition = found.transition
    flat = [
        f"{percent(share)} at a delay of {k}"
        for k, share, best in zip(delays, np.asarray(transition.flat), np.asarray(transition.best_of_n), strict=True)
        if share > 0 and np.isfinite(best)
    ]
    if flat:
        text = (
            f"among resampled seeds the best packing nowhere changes in {', '.join(flat)}; intervals are of the others."
        )
        notes.append(Notice("More seeds would help:", text))
    return notes


def _in_short(found: Transition) -> str:
    """Where the transition is at every delay, in one sentence: by the losses, else by the best seed."""
    rows = zip(np.asarray(found.delay), np.asarray(found.crossing), np.asarray(found.best_of_n), strict=True)
    at = {int(k): float(crossing if np.isfinite(crossing) else best) for k, crossing, best in rows}
    known = [f"{number(p)} at a delay of {k}" for k, p in at.items() if np.isfinite(p)]
    if not known:
        return "On these densities no delay has a transition."
    return f"It takes over below a density of {', '.join(known)}."


def _page(record: dict[str, Any], spec: SweepSpec, found: Swept) -> Page:
    cells = len(spec.densities) * len(spec.delays)
    count = f"{cells * spec.seeds:,} networks of {spec.units} units in {cells} cells"
    caption = (
        "Left: the order parameter ψ of the best network of every cell; circles where the losses of the dense and the "
        "sparse branch cross (diamonds: where the best seed changes), bars where both were found, crosses where no "
        "seed came near the better branch; hatched delays have no two packings. Right: the turn of the best network; "
        "triangles lie beyond the axis."
    )
    title = "The density of the transition at every delay, by three routes"
    blocks: list[Block] = [
        picture(root(figures.phase_diagram(found.diagram, found.transition)), caption, "Phase diagram"),
        Table(
            HEADER,
            _cells(found.transition, found.diagram),
            "The density of the transition at every delay, by three routes",
        ),
        Text(
            "Below the transition the best network packs past inputs where its readout is silent, above it does not. "
            "The errors are of sampling; the densities beside them say how fine the grid was. The last column is the "
            "share of seeds in the regime of the best one, from the density where fewest are to the one where most are."
        ),
    ]
    blocks += _warnings(spec, found)
    parts = [Section("phases", "Where sparse packing takes over", tuple(blocks), _in_short(found.transition))]
    title = f"How {spec.kind} networks pack memories, by density and delay"
    return sections.page(record, title, f"{count}.", parts, list(found.results().values()), [SUPERPOSITION])
