"""The section on what a network settles into: fixed points in words, in a table and in pictures."""

from typing import TYPE_CHECKING, Any

import numpy as np

from recurvature import dynamics, figures
from recurvature.app import pictures
from recurvature.app.lenses.moments import Held, vector
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
from recurvature.app.subject import Subject
from recurvature.dynamics.linearise import decay_rates
from recurvature.dynamics.rate import euler_step
from recurvature.figures.dynamics.branches import across
from recurvature.systems.base import Euler

if TYPE_CHECKING:
    from recurvature.app.lenses.dynamics import Settled

LEAST_FOR_ATTRACTOR = 5
"""Points below which nobody can tell a line from a cloud."""

FLAT = 1e-3
"""A flow that leaves its plane with less than this share of its length does not leave it."""

INTRODUCTION = (
    "While an input is held, a network moves until it rests, or it never does. States at which it would rest are its "
    "fixed points. At a stable one small disturbances die out: it is where activity stays, and what the network can "
    "remember. A saddle pulls in along some directions and pushes out along others: it parts the states that end up "
    "in different places."
)


def section(found: "Settled", subject: Subject) -> Section:
    """All that is said of where a network settles."""
    silent = found.points[0]
    blocks: list[Block] = [*_pictures(found), Text(INTRODUCTION), Facts(facts(silent))]
    blocks += [Points(tuple(sentences(found, subject))), _table(found), Heading("How they come and go")]
    if found.branches is None:
        blocks.append(Notice("Left out:", found.unbranched))
    else:
        blocks += [_branches(found.branches, silent), Points((("", along(found.branches)),))]
    return Section("dynamics", "What it settles into", tuple(blocks), headline(silent))


def checks_of(found: "Settled") -> tuple[Block, ...]:
    """Which of the points are proved, and whether some are missing."""
    text = (
        f"{_proved(found)} A proof is a ball around the point in which there is exactly one, roundings of float64 "
        "allowed for. Others have passed the search's test of speed."
    )
    complete_ = complete(found.points[0])
    return (Points((("Proofs", text), ("Were all found", complete_[:1].upper() + complete_[1:]))),)


def trust(found: "Settled") -> str:
    """How far to believe the fixed points, in one sentence."""
    return _proved(found) if sum(len(p.states) for p in found.points) else ""


def _proved(found: "Settled") -> str:
    every = sum(len(p.states) for p in found.points)
    count = sum(int(p.proved.sum()) for p in found.points)
    return f"{'All' if count == every else f'{count} of'} {every} fixed points, over all inputs held, are proved."


def facts(points: dynamics.FixedPoints) -> tuple[Fact, ...]:
    """Counts of points without input."""
    kinds = [(name, points.types.count(name)) for name in dynamics.TYPES]
    shown = [Fact("fixed points, no input", str(len(points.states)), f"{int(points.proved.sum())} proved")]
    shown += [Fact(name, str(count)) for name, count in kinds if count]
    return (*shown, Fact("slow points", str(len(points.slow_states)), "near-rest, no fixed point"))


def sentences(found: "Settled", subject: Subject) -> list[tuple[str, str]]:
    """What the counts mean."""
    silent, said = found.points[0], []
    said.append(("At rest", resting(silent)))
    times = slowest(silent, subject)
    if times:
        said.append(("How fast it forgets", times))
    if found.attractor is not None:
        said.append(("Line or ring", attractor(found.attractor)))
    moved = [
        f"with “{held.name}” {_count(points)}" for held, points in zip(found.held[1:], found.points[1:], strict=True)
    ]
    if moved:
        said.append(("Under inputs", f"{'; '.join(moved)}."))
    return [(label, text[:1].upper() + text[1:]) for label, text in said]


def resting(points: dynamics.FixedPoints) -> str:
    """What the number of stable points without input means for memory."""
    stable, saddles = points.types.count("stable"), points.types.count("saddle")
    if not stable:
        rest = f"none of the {len(points.states)} fixed points found is stable" if len(points.states) else "none found"
        return f"without input there is no resting state ({rest}): activity oscillates, wanders, or drifts slowly."
    if stable == 1:
        return "without input there is one resting state, to which everything returns: what lasts longer is slow decay."
    between = f", with {saddles} saddle{'s' if saddles > 1 else ''} between them" if saddles else ""
    return f"without input there are {stable} resting states{between}: one of {stable} things can be kept for ever."


def slowest(points: dynamics.FixedPoints, subject: Subject) -> str:
    """The longest time constants at the stable points."""
    stable = np.asarray(points.stability) == dynamics.TYPES.index("stable")
    if not stable.any():
        return ""
    system = subject.network.system
    step = euler_step(system) or 1.0
    rates = np.stack([decay_rates(row, points.kind, step) for row in points.eigenvalues[stable]])
    with np.errstate(divide="ignore"):
        times = np.sort(1 / rates.min(1))
    unit = "τ" if isinstance(system, Euler) or points.kind == "flow" else "steps"
    low, high = number(float(times[0])), number(float(times[-1]))
    span = f"{low} {unit}" if low == high else f"{low} to {high} {unit}, depending on the state"
    return f"along its slowest direction a small disturbance of a stable state falls to 1/e in {span}."


def complete(points: dynamics.FixedPoints) -> str:
    """What the sum of indices says of points that were missed."""
    total, starts = points.index_sum, len(points.status)
    if points.completeness == "consistent":
        return (
            f"the indices of the points found add up to {total}, as those of all points of such a network do: no sign "
            f"of a missing one, which is no proof ({starts} starts)."
        )
    if points.completeness == "incomplete":
        return f"no: indices add up to {total} instead of 1, so some points are missing; search from more starts."
    return (
        f"nobody can say: this system is not known to be bounded, or a point lies on the boundary of stability "
        f"({starts} starts)."
    )


def attractor(test: dynamics.AttractorTest) -> str:
    """Whether the points form an attractor of one dimension."""
    gap = number(float(np.median(np.asarray(test.gap))))
    return {
        "line": f"the points lie on a line along which hardly anything moves (gap of time constants {gap}): a line "
        "attractor, which can hold a quantity.",
        "ring": f"the points lie on a ring along which hardly anything moves (gap of time constants {gap}): a ring "
        "attractor, which can hold an angle.",
        "plane": "more than one direction is slow at most points: no line, perhaps a sheet.",
        "point": f"neither: no direction is slower than {number(test.slower_than)} at most points.",
        "unclear": f"unclear: slow directions do not stand apart from the others, or do not lie along the set (median "
        f"gap of time constants {gap}; {number(test.least_gap)} would be clear).",
    }[test.kind]


def _count(points: dynamics.FixedPoints) -> str:
    kinds = [f"{points.types.count(name)} {name}" for name in dynamics.TYPES if name in points.types]
    return ", ".join(kinds) if kinds else "no fixed point was found"


def _table(found: "Settled") -> Table:
    rows = []
    for held, p in zip(found.held, found.points, strict=True):
        counts = [str(p.types.count(name)) for name in dynamics.TYPES]
        proved = f"{int(p.proved.sum())} of {len(p.states)}"
        rows.append(
            (
                " ".join(filter(None, (held.name, vector(held.inputs)))),
                *counts,
                str(len(p.slow_states)),
                str(p.index_sum),
                proved,
            )
        )
    header = ("input held", *dynamics.TYPES, "slow", "sum of indices", "proved")
    return Table(header, tuple(rows), "Fixed points under each input, by stability")


def _pictures(found: "Settled") -> list[Picture]:
    shown = []
    if found.flows:
        count = len(found.flows)
        axes = figures.flows(
            found.flows, points=found.points[:count], at=found.at, titles=[_title(h) for h in found.held[:count]]
        )
        latent = found.flows[0].plane == "latent"
        plane = "the plane of its two latent variables" if latent else "the plane of most variance of its states"
        away = float(np.median([np.median(np.asarray(field.leaving)) for field in found.flows]))
        share = f" Half of the arrows leave the plane with {percent(away)} of their length or more."
        leaving = share if away > FLAT else ""
        caption = f"The flow in {plane}, with the curves on which one coordinate rests, and fixed points.{leaving}"
        shown.append(picture(pictures.root(axes), caption, "Flow and fixed points"))
    if len(found.points[0].states):
        where = "the grey half-plane" if found.points[0].kind == "flow" else "the grey circle"
        caption = f"Eigenvalues at the fixed points without input. Directions in {where} decay, the others grow."
        shown.append(picture(pictures.root(figures.eigenvalues(found.points[0])), caption, "Eigenvalues"))
    return shown


def _title(held: Held) -> str:
    """What stands above a panel: the input itself, or its name broken where it is long."""
    if held.name == "no input":
        return held.name
    return f"input {vector(held.inputs)}" if len(held.inputs) <= 3 else held.name.replace(", ", ",\n", 1)


def along(branches: dynamics.Continuation) -> str:
    """At which values of the parameter something happens."""
    kinds, values = branches.special_names, np.asarray(branches.value)[branches.special_points]
    low, high = branches.span
    if not kinds:
        return f"From {number(low)} to {number(high)} nothing happens to them: none is born and none vanishes."
    parts = []
    for kind in dict.fromkeys(kinds):
        at = sorted({number(float(v)) for v, k in zip(values, kinds, strict=True) if k == kind}, key=_value)
        parts.append(f"{_words(kind)} at {', '.join(at)}")
    return (
        f"As {branches.name} goes from {number(low)} to {number(high)}: {'; '.join(parts)}. A step of this input "
        "across such a value can move the network from one resting state to another."
    )


def _value(text: str) -> float:
    return float(text.replace("\N{MINUS SIGN}", "-").replace(",", "")) if "×" not in text else 0.0


def _words(kind: str) -> str:
    return {
        "fold": "two points meet and vanish (folds)",
        "pitchfork": "one point splits in three (pitchforks)",
        "transcritical": "two points exchange stability",
        "hopf": "an oscillation begins (Hopf)",
        "hopf, supercritical": "a stable oscillation begins (supercritical Hopf)",
        "hopf, subcritical": "an unstable oscillation begins (subcritical Hopf)",
        "neimark-sacker": "an oscillation begins (Neimark–Sacker)",
        "neimark-sacker, supercritical": "a stable oscillation begins (supercritical Neimark–Sacker)",
        "neimark-sacker, subcritical": "an unstable oscillation begins (subcritical Neimark–Sacker)",
        "period-doubling": "a two-step oscillation begins (period doubling)",
        "multiple": "several directions change at once",
    }[kind]


def _branches(branches: dynamics.Continuation, silent: dynamics.FixedPoints) -> Picture:
    along = across(silent)
    label = "" if along is None else "state, from one rest to the other"
    return picture(
        pictures.root(figures.bifurcations(branches, along=along, label=label)),
        f"Fixed points while {branches.name} is varied and every other input is 0: solid where stable.",
        "Branches of fixed points",
    )


def numbers(found: "Settled") -> dict[str, Any]:
    """Counts and special values, for run.json."""
    by_input = {
        held.name: {
            "types": {name: p.types.count(name) for name in dynamics.TYPES if name in p.types},
            "proved": int(p.proved.sum()),
            "slow": len(p.slow_states),
            "index_sum": p.index_sum,
            "completeness": p.completeness,
            "starts": len(p.status),
        }
        for held, p in zip(found.held, found.points, strict=True)
    }
    special = None
    if found.branches is not None:
        at = np.asarray(found.branches.value)[found.branches.special_points]
        special = [[kind, float(v)] for kind, v in zip(found.branches.special_kinds, at, strict=True)]
    test = None if found.attractor is None else found.attractor.kind
    return {"fixed_points": by_input, "attractor": test, "special_points": special}


def headline(points: dynamics.FixedPoints) -> str:
    """The one sentence on dynamics for the head of the report."""
    stable = points.types.count("stable")
    if not stable:
        return "Without input it has no stable resting state."
    return f"Without input it rests in {'one state' if stable == 1 else f'one of {stable} states'}."
