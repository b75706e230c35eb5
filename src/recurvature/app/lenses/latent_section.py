"""The section on the latent unit: how it was found, how well it does, what it settles into, and what it leaves out."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from recurvature import dynamics, figures
from recurvature.app import pictures
from recurvature.app.lenses import latent_held, latent_plane
from recurvature.app.page import (
    Block,
    Fact,
    Facts,
    Live,
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
from recurvature.lenses.latent import EXTRACTION_STATUS, SynapsesUnit

if TYPE_CHECKING:
    from recurvature.app.lenses.latent import Unit

TITLE = "Which few variables carry it"

INTRODUCTION = (
    "Recurrent weights of low rank let units speak to each other through a few numbers only: the latent variables κ, "
    "read from all units by an encoding and sent back by an embedding. They follow an equation of their own, in which "
    "single units no longer appear. A disturbance of activity beside them dies out and is told to nobody."
)


def section(found: "Unit") -> Section:
    """All that is said of a latent unit."""
    blocks: list[Block] = [*_pictures(found), Text(INTRODUCTION), Facts(facts(found)), Points(tuple(sentences(found)))]
    if len(found.extraction.candidate) > 1:
        blocks.append(_candidates(found))
    if found.extraction.status != EXTRACTION_STATUS.index("ok"):
        why = (
            f"no rank that was tried does what the network does (states R² of {number(found.extraction.least_r2)}"
            f"{f', accuracy of {percent(found.extraction.least_accuracy)} of its own' if found.trials else ''}): what "
            f"follows is about the nearest, rank {found.extraction.rank}."
        )
        blocks.append(Notice("Careful:", why))
    said = headline(found) or f"No few variables carry it: the nearest unit has {found.extraction.rank}."
    return Section("latent", TITLE, tuple(blocks), said)


def facts(found: "Unit") -> tuple[Fact, ...]:
    """The key numbers, ready to print."""
    chosen, extraction = found.extraction.chosen, found.extraction
    how = {"exact": "its own factors", "weighted": "directions of its recurrent input", "plain": "singular vectors"}
    shown = [Fact("latent variables", str(extraction.rank), how[extraction.method])]
    if np.isfinite(extraction.accuracy[chosen]):
        accuracy = percent(float(extraction.accuracy[chosen]))
        shown.append(Fact("trials right with them", accuracy, f"{percent(extraction.full_accuracy)} with all"))
    shown += [
        Fact("R² of states", number(float(extraction.state_r2[chosen]), 4)),
        Fact("R² of outputs", number(float(extraction.output_r2[chosen]), 4)),
        Fact("activity they do not read", percent(outside(found)), "of its mean square"),
    ]
    if found.alignment is not None:
        condition = f"condition {number(found.alignment.condition)} of the change of coordinates"
        least = number(float(np.nanmin(np.append(found.alignment.r2, np.inf))), 3)
        shown.append(Fact("outputs as coordinates, least R²", least, condition))
    return tuple(shown)


def outside(found: "Unit") -> float:
    """The mean share of activity that the encoding does not see."""
    return float(np.mean(np.asarray(found.closure.outside)))


def sentences(found: "Unit") -> list[tuple[str, str]]:
    """What the numbers mean."""
    said = [("Where they are from", _origin(found)), ("Do they close", _closed(found))]
    said.append(("At rest", _resting(found)))
    if found.readout is not None:
        said.append(("What the output reads", _readout(found)))
    share = percent(outside(found))
    said.append(
        (
            "What they leave out",
            f"{share} of the activity's mean square lies beside the encoding: no latent variable sees it, and within "
            "about one τ it forgets whatever is done to it.",
        )
    )
    said.append(("Flat or curved", _shape(found)))
    return said


def _origin(found: "Unit") -> str:
    extraction, unit = found.extraction, found.unit
    if extraction.method == "exact":
        own = f"have rank {extraction.rank}"
        if isinstance(unit, SynapsesUnit):
            own = f"of {len(unit.ranks)} synapses have ranks {' and '.join(map(str, unit.ranks))}"
        return f"The recurrent weights {own} as they are: nothing is left out."
    lost = percent(float(extraction.lost[extraction.chosen]))
    return (
        f"The recurrent weights are of full rank. Their {extraction.rank} strongest directions of recurrent input were "
        f"kept, which leave out {lost} of it; nothing was trained again."
    )


def _closed(found: "Unit") -> str:
    error = number(found.closure.relative_error, 2)
    # rounding of float64 over a few hundred steps of an unstable system
    if found.closure.relative_error < 1e-6:
        return f"Run alone, without any units, they go the same way as in the network of that rank (to {error})."
    return (
        f"Run alone they depart from the network of that rank by {error} of their size: errors of rounding grow "
        "where activity is unstable, or the start is not one that they describe."
    )


def _resting(found: "Unit") -> str:
    counts = [f"{found.points.types.count(name)} {name}" for name in dynamics.TYPES if name in found.points.types]
    text = f"Without input they have these fixed points: {', '.join(counts) or 'none that was found'}."
    text += latent_held.held(found.leaving, found.points.types.count("stable"))
    if found.extraction.method == "exact":
        return text
    return f"{text} The whole network's own may differ: compare them above before trusting this unit at rest."


def _readout(found: "Unit") -> str:
    assert found.readout is not None
    if found.readout.equivalent:
        return "The output is a function of the latent variables alone."
    most = percent(float(np.max(np.asarray(found.readout.outside))))
    return (
        f"Up to {most} of the length of a readout vector lies beside the encoding: the output reads more of activity "
        "than the latent variables, as any perturbation there will show."
    )


def _shape(found: "Unit") -> str:
    result = found.dimension
    text = (
        f"{result.latents} variables (inputs counted) move the rates in {result.components} dimensions that hold "
        f"{percent(result.share)} of the variance, and in {result.rank} counted exactly: by the first count the "
        f"surface is {result.by_variance}, by the second {result.by_rank}"
    )
    return f"{text}; the number of units and of samples limits both."


def _candidates(found: "Unit") -> Table:
    extraction = found.extraction
    rows = [
        (
            str(int(rank)),
            "–" if np.isnan(extraction.accuracy[i]) else percent(float(extraction.accuracy[i])),
            number(float(extraction.state_r2[i])),
            number(float(extraction.output_r2[i])),
            percent(float(extraction.lost[i])),
        )
        for i, rank in enumerate(np.asarray(extraction.candidate))
    ]
    header = ("rank", "trials right", "R² of states", "R² of outputs", "input lost")
    return Table(header, tuple(rows), "What a unit of each rank does when it runs by itself")


def _pictures(found: "Unit") -> list[Picture | Live]:
    shown: list[Picture | Live] = []
    if found.flow is not None and found.at is not None:
        still = _still(found.flow, found.points, found.at)
        live = latent_plane.live_flow(found.slides, latent_plane.axes_of(found.flow), still, found.output)
        shown.append(still if live is None else live)
    if len(found.extraction.candidate) > 1:
        panels = figures.extraction(found.extraction)
        shown.append(picture(pictures.root(panels), "How strong each direction is, and what a unit keeps.", "Ranks"))
    caption = "Rates of six units at rest along the first latent variable, the others at 0: their tuning curves."
    shown.append(picture(pictures.root(figures.tuning(found.tuning)), caption, "Tuning curves"))
    return shown


def _still(
    flow: dynamics.FlowField | dynamics.FlowLine, points: dynamics.FixedPoints, at: Float[np.ndarray, "point i"]
) -> Picture:
    if isinstance(flow, dynamics.FlowLine):
        axes = figures.flow_line(flow, points=points, at=at[:, 0])
        caption = "How fast the latent variable changes at every value without input, and its fixed points."
    else:
        axes = figures.flow(flow, points=points, at=at)
        caption = "The flow of the two latent variables without input, and their fixed points."
    return picture(pictures.root(axes), caption, "Latent flow")


def numbers(found: "Unit") -> dict[str, Any]:
    """Key numbers, for run.json."""
    chosen, extraction = found.extraction.chosen, found.extraction
    accuracy = float(extraction.accuracy[chosen])
    return {
        "rank": extraction.rank,
        "method": extraction.method,
        "status": EXTRACTION_STATUS[extraction.status],
        "accuracy": accuracy if np.isfinite(accuracy) else None,
        "state_r2": float(extraction.state_r2[chosen]),
        "output_r2": float(extraction.output_r2[chosen]),
        "closure_error": found.closure.relative_error,
        "outside": outside(found),
        "fixed_points": {n: found.points.types.count(n) for n in dynamics.TYPES if n in found.points.types},
        "readout_outside": None if found.readout is None else float(np.max(np.asarray(found.readout.outside))),
        "growth_rate": _growth(found),
        "alignment_condition": _condition(found),
        "linear_dimension": {"rank": found.dimension.rank, "components": found.dimension.components},
    }


def _growth(found: "Unit") -> dict[str, Any] | None:
    rate = found.leaving
    if rate is None:
        return None
    status = rate.statuses[int(rate.status[0])]
    return {"rate": float(rate.rate[0]), "standard_error": float(rate.standard_error[0]), "status": status}


def _condition(found: "Unit") -> float | None:
    condition = np.inf if found.alignment is None else found.alignment.condition
    return condition if np.isfinite(condition) else None


def headline(found: "Unit") -> str:
    """The one sentence on the latent unit for the head of the report."""
    rank = found.extraction.rank
    if found.extraction.status != EXTRACTION_STATUS.index("ok"):
        return ""
    return f"{'One latent variable carries' if rank == 1 else f'{rank} latent variables carry'} what it computes."
