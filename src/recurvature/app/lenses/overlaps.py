"""The overlaps lens of a report: what learning sees of a network's weights, and what it keeps unseen."""

from typing import Any, NamedTuple

import numpy as np

from recurvature import figures
from recurvature._errors import InputError
from recurvature._progress import Progress, Report
from recurvature._result import AbstractResult
from recurvature.app import pictures
from recurvature.app.page import Block, Fact, Facts, Notice, Picture, Points, Section, Table, Text, number, percent
from recurvature.app.report import picture
from recurvature.app.subject import Seen, Subject, nothing
from recurvature.lenses import overlaps
from recurvature.lenses.overlaps import STATUS
from recurvature.systems.gaussian import SLOPES

TITLE = "How it learned"
LARGEST_LOSS = 0.3
"""A recurrence of which a low rank leaves out more than this share is not described by its overlaps."""
TRIALS = 64
"""Trials on which outputs are held against those of all units."""
MOST_VECTORS = 4
"""Vectors up to which learning is drawn, and the directions that it can reach are counted."""
MOST_LINES = 8
"""Overlaps that one panel draws through training."""
MOST_COLUMNS = 12
"""Vectors up to which the whole table of overlaps is printed."""

INTRODUCTION = (
    "A low-rank network is a few vectors: what it writes to its units and what it reads from them. How it computes "
    "depends on their scalar products, the overlaps. The loss sees some overlaps and not the others, yet gradient "
    "descent moves them all: two networks with one function can have different ones, and learn differently from there."
)


class Overlapping(NamedTuple):
    """What was found."""

    table: overlaps.Overlaps
    kept: overlaps.Invariants
    reach: overlaps.Reach | None
    course: overlaps.UnitLearning | None
    """Through training, where it was watched."""


def see(subject: Subject, report: Report) -> Seen:
    """Overlaps of a low-rank network, or of a dense one that is nearly of low rank."""
    report(Progress("overlaps", 0, 1))
    try:
        table = _table(subject)
    except InputError as error:
        return nothing("overlaps", TITLE, str(error))
    if table.residual > LARGEST_LOSS:
        why = (
            f"the recurrent weights are of full rank. Cut at their largest gap, rank {table.rank}, they lose "
            f"{percent(table.residual)} of their norm, so that overlaps of what is kept say little of this network. "
            "Train one with --rank, or take the rank that its task needs from the latent unit."
        )
        return nothing("overlaps", TITLE, why)
    reach = overlaps.reach(table, regime=_regime(table)) if table.layout.size <= MOST_VECTORS else None
    course = subject.course if isinstance(subject.course, overlaps.UnitLearning) else None
    found = Overlapping(table, overlaps.invariants(table), reach, course)
    results: dict[str, AbstractResult] = {"overlaps": table, "overlaps-invariants": found.kept}
    if reach is not None:
        results["overlaps-reach"] = reach
    if course is not None:
        results["overlaps-course"] = course
    report(Progress("overlaps", 1, 1))
    return Seen((section(found),), {"overlaps": numbers(found)}, results, "", checks_of(table))


def _table(subject: Subject) -> overlaps.Overlaps:
    """Overlaps of the network, held against it on trials of its task where units have a mean slope that is known."""
    table = overlaps.extract(subject.network)
    if subject.performance is None or table.dt is None or table.phi not in SLOPES:
        return table
    return overlaps.extract(subject.network, subject.performance.trials.inputs[:TRIALS])


def _regime(table: overlaps.Overlaps) -> Any:
    return table.regime


def section(found: Overlapping) -> Section:
    """All that is said of overlaps."""
    table = found.table
    blocks: list[Block] = [] if found.course is None else [*_course(found.course, _regime(table))]
    if table.layout.size <= MOST_VECTORS:
        blocks.append(_velocities(table))
    blocks += [Text(INTRODUCTION), Facts(facts(found)), Points(tuple(sentences(found)))]
    blocks.append(_matrix(table) if table.layout.size <= MOST_COLUMNS else _largest(table))
    blocks.append(_invariants(found.kept))
    if table.residual > 0:
        kept = f"rank {table.rank} was kept, which leaves out {percent(table.residual)} of the norm of the recurrence."
        blocks.append(Notice("Careful:", kept))
    if found.course is None:
        why = "a file of weights says how training ended, not how it went; the demo shows it for a network of its own."
        blocks.append(Notice("Left out:", f"how it learned: {why}"))
    else:
        why = "Adam divides every gradient by its own size, unit by unit, and overlaps alone do not know these."
        blocks.append(Notice("Left out:", f"a forecast of its learning: {why}"))
    return Section("overlaps", TITLE, tuple(blocks), in_short(found))


def in_short(found: Overlapping) -> str:
    """What the loss does not see, and what became of it, in one sentence."""
    seen, every = int(found.table.visible.sum()), len(found.table.names)
    text = f"Of {every} overlaps that make up this network the loss sees {seen}"
    if found.course is None:
        return f"{text}; the other {every - seen} are free to differ between networks that do the same."
    moved, shown = map(number, _moved(found.course, _regime(found.table)))
    return f"{text}; training moved the other {every - seen} too: by {moved} times their size, the seen by {shown}."


def _moved(course: overlaps.UnitLearning, regime: Any) -> tuple[float, float]:
    """How far overlaps that the loss does not see went through training, of their length; and those that it sees."""
    start, end = overlaps.to_pairs(np.asarray(course.matrix, float)[[0, -1]], course.layout)
    seen = course.layout.visible(regime)
    unseen, shown = (np.linalg.norm((end - start)[k]) / np.linalg.norm(start[k]) for k in (~seen, seen))
    return float(unseen), float(shown)


def _course(course: overlaps.UnitLearning, regime: Any) -> list[Block]:
    """How overlaps went, and what plain descent would have kept."""
    panels = figures.overlap_courses(course, regime=regime, most=MOST_LINES)
    for panel in panels:  # a readout is longer than all the rest, and would hide it
        panel.set_yscale("symlog", linthresh=1.0)
    caption = (
        f"Overlaps through training: at most {MOST_LINES} that the loss sees, those that moved most, and as many that "
        "it does not see. What it does not see moves all the same, because the gradient of every weight is made of "
        "other weights."
    )
    return [
        picture(pictures.root(panels), caption, "Overlaps through training"),
        Points((("What it kept", _kept(course)),)),
    ]


def _kept(course: overlaps.UnitLearning) -> str:
    """How far the charge moved, and how much of the way overlaps could not know."""
    charge = np.asarray(overlaps.invariants(course).charge, float)
    moved = number(float(np.abs(charge - charge[0]).max()))
    outside = percent(float(np.asarray(course.outside)[-1]))
    return (
        f"Gradient flow would keep u·u − v·v; this training moved it by up to {moved}. {outside} of the way that the "
        "weights went lies outside the span of the vectors it began with. Plain gradient descent would stay inside, "
        "and overlaps would then say all that happens."
    )


def checks_of(table: overlaps.Overlaps) -> tuple[Block, ...]:
    """How far overlaps stand for the network."""
    said = [("Status", f"{STATUS[table.status].replace('_', ' ')}.")]
    if np.isfinite(table.output_error):
        off = (
            f"Outputs that follow from overlaps alone are off by {percent(table.output_error)} of the norm of its own."
        )
        said.append(("On trials of the task", off))
    if table.regime == "gaussian":
        text = (
            f"Units are nonlinear (φ = {table.phi}): overlaps stand for the network as far as its weights are jointly "
            "Gaussian over units, which recurvature.overlaps.closure checks."
        )
        said.append(("How far to believe", text))
    return (Points(tuple(said)),)


def facts(found: Overlapping) -> tuple[Fact, ...]:
    """How many overlaps there are, and of which kind."""
    table, visible = found.table, int(found.table.visible.sum())
    shown = [
        Fact("vectors", str(table.layout.size), f"of {table.units:,} units"),
        Fact("overlaps", str(len(table.names)), f"{visible} seen by the loss"),
        Fact(
            "make up the function", str(table.layout.function_dimension(_regime(table))), "the rest is gauge, or unseen"
        ),
    ]
    if found.reach is not None:
        shown.append(Fact("hidden memory", str(found.reach.hidden), "dimensions, at least"))
    return tuple(shown)


def sentences(found: Overlapping) -> list[tuple[str, str]]:
    """What the overlaps say."""
    table = found.table
    hidden = [name for name, seen in zip(table.names, table.visible, strict=True) if not seen]
    said = [
        (
            "Seen and unseen",
            f"The loss sees {len(table.names) - len(hidden)} overlaps. It does not see {_list(hidden)}: "
            "these can differ between networks that do the same.",
        ),
        (
            "Gauge",
            f"Of the seen ones, {_combinations(table.rank**2)} only how the recurrence is written as a product; the "
            f"factors here are {_gauge(table.gauge)}.",
        ),
    ]
    if found.reach is not None:
        said.append(("Memory of learning", _reach(found.reach)))
    return said


def _list(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _gauge(gauge: str) -> str:
    return {"own": "those of the network itself", "balanced": "balanced: both of equal length"}.get(gauge, gauge)


def _combinations(count: int) -> str:
    return "1 combination says" if count == 1 else f"{count} combinations say"


def _reach(reach: overlaps.Reach) -> str:
    kept = "1 combination is" if reach.invariants == 1 else f"{reach.invariants} combinations are"
    return (
        f"Of {reach.overlaps} dimensions, gradient flow on sequences of tasks can move in {reach.leaf} or more; {kept} "
        f"kept, as far as brackets to depth {reach.depth} tell. {reach.function} show in the function, so learning can "
        f"leave a trace in {reach.hidden} that the function does not show."
    )


def _matrix(table: overlaps.Overlaps) -> Table:
    s, visible = np.asarray(table.matrix), table.visible
    seen = np.zeros(s.shape, bool)
    a, b = table.layout.pairs.T
    seen[a, b] = seen[b, a] = visible
    rows = [
        (name, *(number(float(v)) + ("" if shown else "○") for v, shown in zip(s[i], seen[i], strict=True)))
        for i, name in enumerate(table.columns)
    ]
    caption = "Overlaps a·b/N of all vectors: z output, v read, m input, u written; ○ is unseen by the loss"
    return Table(("", *table.columns), tuple(rows), caption)


def _velocities(table: overlaps.Overlaps) -> Picture:
    return picture(
        pictures.root(figures.gram_matrix(table)),
        "How gradient descent moves the overlaps (rows): each by gradients of the loss (columns) times overlaps. "
        "Overlaps that the loss sees are blue, the others red.",
        "Velocities of overlaps",
    )


def _largest(table: overlaps.Overlaps) -> Table:
    order = np.argsort(-np.abs(table.values))[:20]
    rows = [(table.names[i], number(float(table.values[i])), "yes" if table.visible[i] else "no") for i in order]
    return Table(("overlap", "value", "seen by the loss"), tuple(rows), "The largest overlaps")


def _invariants(kept: overlaps.Invariants) -> Table:
    spectrum = ", ".join(number(float(v)) for v in np.asarray(kept.spectrum)[-1])
    charge = "; ".join(", ".join(number(float(v)) for v in row) for row in np.asarray(kept.charge)[-1])
    rows = (("spectrum of JS", spectrum, "linear units"), ("charge u·u − v·v", charge, "all units"))
    return Table(("quantity", "value", "kept for"), rows, "What gradient flow on any task would keep from here on")


def numbers(found: Overlapping) -> dict[str, Any]:
    """Key numbers, for run.json."""
    table = found.table
    return {
        "columns": list(table.columns),
        "values": dict(zip(table.names, map(float, table.values), strict=True)),
        "visible": [name for name, seen in zip(table.names, table.visible, strict=True) if seen],
        "function_dimension": table.layout.function_dimension(_regime(table)),
        "residual": table.residual,
        "output_error": table.output_error if np.isfinite(table.output_error) else None,
        "status": STATUS[table.status],
        "spectrum": np.asarray(found.kept.spectrum)[-1].tolist(),
        "charge": np.asarray(found.kept.charge)[-1].tolist(),
        "hidden": None if found.reach is None else found.reach.hidden,
    }
