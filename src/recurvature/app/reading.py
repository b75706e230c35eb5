"""What the numbers of a geometry say, in words: every sentence is chosen and filled by the values themselves."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from recurvature.app.lenses.geometry import Geometry
from recurvature.app.page import THIN, number, percent
from recurvature.app.subject import Performance
from recurvature.lenses import warping

EVEN = 1.1
"""Two stretches within this factor of each other are called even."""

LEARNED = 0.9
"""Share of right answers below which a task is not learned well."""


def plain(name: str) -> str:
    """A coordinate's name as words."""
    return name.replace("_", " ")


def interval(accuracy: float, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share seen in `trials` trials (Wilson 1927)."""
    z = 1.959964  # the 97.5th percentile of the normal distribution
    middle = (accuracy + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * math.sqrt(accuracy * (1 - accuracy) / trials + z**2 / (4 * trials**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def performance(done: Performance) -> str:
    """How well the network does, and how sure that is."""
    low, high = interval(done.accuracy, done.answered)
    text = (
        f"{percent(done.accuracy)} of {done.answered:,} random trials that have an answer were answered right "
        f"(95{THIN}% interval {percent(low)} to {percent(high)})."
    )
    if done.accuracy < LEARNED:
        text += " This network has not learned the task well: read its geometry as that of an unfinished solution."
    return text


def ratio(result: warping.Ratio, in_rates: warping.Ratio | None = None) -> list[str]:
    """How differently two coordinates are stretched, over time."""
    a, b = plain(result.numerator), plain(result.denominator)
    time, median = np.asarray(result.time), np.asarray(result.median)
    known = np.flatnonzero(np.isfinite(median) & (median > 0))
    if not len(known):
        return [f"The metric is nowhere regular enough to compare {a} with {b}."]
    first, last = known[0], known[-1]
    peak = known[np.abs(np.log(median[known])).argmax()]
    if np.exp(np.abs(np.log(median[known])).max()) <= EVEN**2:
        span = f"{number(median[known].min())} to {number(median[known].max())}"
        return [f"{a} and {b} are stretched alike all the time: the median ratio of their metric entries is {span}."]
    start = (
        f"The first time both have moved the state, at t = {number(time[first])}, the median ratio of metric entries "
        f"of {a} to {b} is {number(median[first])}{_even(median[first])}"
    )
    course = f"It is farthest from 1 at t = {number(time[peak])}, {number(median[peak])}, and ends at"
    if peak == first:
        course = "It is never farther from 1, and ends at"
    sentences = [
        f"{start}. {course} {number(median[last])}. At t = {number(time[peak])} a small step in {a} moves the state "
        f"{number(math.sqrt(median[peak]))} times as far as an equal step in {b}."
    ]
    low, high = np.asarray(result.low)[last], np.asarray(result.high)[last]
    means = float(np.asarray(result.ratio_of_means)[last])
    sentences.append(
        f"It depends on where one looks: at the end, nine in ten points have a ratio between {number(low)} and "
        f"{number(high)}, and the ratio of the means is {number(means)}."
    )
    if in_rates is not None and np.isfinite(np.asarray(in_rates.median)[last]):
        sentences[-1] += (
            f" Seen through firing rates, the median at the end is {number(float(np.asarray(in_rates.median)[last]))}."
        )
    return sentences


def _even(value: float) -> str:
    return " (even)" if 1 / EVEN**2 <= value <= EVEN**2 else ""


def profile(metric: warping.Metric, coordinate: str) -> str:
    """Where along a coordinate the representation is stretched at the end."""
    result = warping.profile(metric, coordinate)
    relative, value = np.asarray(result.relative)[-1], np.asarray(result.value)
    unit = f"{THIN}{result.units}" if result.units else ""
    if not np.isfinite(relative).all():
        return "the state has not moved by the end."
    most, least = relative.argmax(), relative.argmin()
    if relative[most] <= EVEN * relative[least]:
        return f"the stretch at the end is even: {number(relative[least])} to {number(relative[most])} of its mean."
    return (
        f"the stretch at the end is largest at {number(value[most])}{unit}, {number(relative[most])} times its mean "
        f"over the grid, and smallest at {number(value[least])}{unit}, {number(relative[least])} times: "
        + shape_in_words(relative, metric.periodic[metric.coordinates.index(coordinate)])
    )


def shape_in_words(relative: Float[np.ndarray, " value"], periodic: bool) -> str:
    """Which part of a range is stretched, from the stretch along it relative to its mean."""
    if periodic:
        return "inputs around the first are told apart more finely than those around the second."
    third = len(relative) // 3
    if not third:
        return "too few points to tell the middle of the range from its ends."
    low, middle, high = (part.mean() for part in (relative[:third], relative[third:-third], relative[-third:]))
    if middle > EVEN * max(low, high):
        return "the middle of the range is pulled apart and its ends are pressed together, as a decision would."
    if min(low, high) > EVEN * middle:
        return "the ends of the range are pulled apart and its middle is pressed together."
    if max(low, high) > EVEN * min(low, high):
        return f"the {'lower' if low > high else 'upper'} end of the range is pulled apart more than the other."
    return "no part of the range is favoured as a whole."


def volume(metric: warping.Metric) -> str:
    """Whether the whole sheet grows or shrinks against its inputs, and how unevenly."""
    usable = np.asarray(metric.status)[-1] == warping.STATUS.index("ok")
    if not usable.any():
        return "At the end the metric is singular everywhere, so volume and anisotropy have no meaning there."
    stretches = np.asarray(metric.stretches)[-1][usable]
    size = np.exp(np.median(np.log(stretches)))
    text = f"Against the inputs, the representation at the end is stretched {number(size)}-fold (median over points)"
    if stretches.shape[-1] == 1:
        return f"{text}, from {number(stretches.min())} to {number(stretches.max())}."
    anisotropy = np.median(stretches[:, 0] / stretches[:, -1])
    return f"{text}, and along its most stretched direction {number(anisotropy)} times as much as along its least."


def drive(result: warping.Attribution) -> str:
    """What does the stretching at the beginning and at the end: the input or the recurrence."""
    tenth = max(1, len(np.asarray(result.time)) // 10)
    parts = []
    for i, name in enumerate(result.coordinates):
        early, late = (
            [_median(np.asarray(rate)[part, :, i]) for rate in (result.input_log_rate, result.recurrent_log_rate)]
            for part in (slice(0, tenth), slice(-tenth, None))
        )
        when = [(early, "in the first tenth of the time"), (late, "in the last")]
        known = [f"{_push(*rates)} {words}" for rates, words in when if all(map(math.isfinite, rates))]
        if known:
            parts.append(f"along {plain(name)} {', '.join(known)}")
    if not parts:
        return ""
    return (
        f"Rates of log-stretch per τ that are due to the input and to the recurrence with its leak: {'; '.join(parts)}."
    )


def _push(driven: float, recurrent: float) -> str:
    return f"{driven:+.2f} and {recurrent:+.2f}".replace("-", "−")


def _median(values: Float[Any, "*shape"]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else math.nan


def dimension(result: warping.DimensionCheck) -> str:
    """Whether the states fill as many dimensions as they may."""
    status = np.asarray(result.status)
    full = float((np.asarray(result.rank) == result.bound).mean())
    text = (
        f"States driven by {result.bound - 1} coordinate(s) and time fill at most {result.bound} dimensions "
        f"(Theorem 3.1). The numerical rank reaches {result.bound} at {percent(full)} of points and times"
    )
    reasons = [f"{_words(name)} at {percent(share)}" for name, share in shares(status).items() if name != "ok"]
    return f"{text}; the rest: {', '.join(reasons)}." if reasons else f"{text}."


def shares(status: Any) -> dict[str, float]:
    """The share of each reason code that occurs."""
    status = np.asarray(status)
    found = {name: float((status == code).mean()) for code, name in enumerate(warping.STATUS)}
    return {name: share for name, share in found.items() if share > 0}


def _words(code: str) -> str:
    return {
        "no_input_yet": "no input yet",
        "collapsed": "collapsed after having been full",
        "rank_deficient": "never of full rank",
        "chart_singularity": "the inputs themselves are degenerate",
        "non_finite": "not finite",
    }.get(code, code)


def masks(metric: warping.Metric) -> str:
    """Where the metric may be used."""
    found = shares(metric.status)
    text = f"{percent(found.pop('ok', 0.0))} of metrics are regular"
    reasons = [f"{_words(name)} {percent(share)}" for name, share in found.items()]
    return f"{text}; masked, never regularised: {', '.join(reasons)}." if reasons else f"{text}; none had to be masked."


def step_size(result: warping.StepSizeCheck) -> str:
    """How much the metric owes to the step."""
    end = np.asarray(result.relative_change)[-1]
    change, worst = float(np.median(end)), float(end.max())
    verdict = (
        "the picture is that of the continuous-time network as well"
        if worst < 0.05
        else "read the geometry as that of the stepped network, which is what was trained, not of its continuous limit"
    )
    return (
        f"Halving the step of {number(result.dt)} τ changes the metric at the end by {percent(change)} (median; "
        f"at most {percent(worst)}): {verdict}."
    )


def trust(looks: list[Geometry]) -> str:
    """How far to believe the metrics of all views, in one sentence."""
    if not looks:
        return ""
    regular = np.mean([shares(look.state.status).get("ok", 0.0) for look in looks])
    text = f"{percent(float(regular))} of metrics are regular"
    worst = [
        float(np.asarray(c.relative_change)[-1].max()) for c in (each.step_size for each in looks) if c is not None
    ]
    return f"{text}{f', and halving the step changes them by at most {percent(max(worst))}' if worst else ''}."


def headline(looks: list[Geometry]) -> str:
    """The one sentence on geometry for the head of the report."""
    ratios = [(look.view.title, look.ratio) for look in looks if look.ratio is not None]
    if ratios:
        parts = []
        for title, result in ratios:
            median = np.asarray(result.median)
            known = median[np.isfinite(median) & (median > 0)]
            factor = math.sqrt(known[np.abs(np.log(known)).argmax()])
            if factor <= EVEN:
                parts.append(f"with “{title}” it stretches both coordinates alike")
            else:
                parts.append(
                    f"with “{title}” it stretches {plain(result.numerator)} up to {number(factor)} times as much as "
                    f"{plain(result.denominator)}"
                )
        return _sentence("; ".join(parts))
    if looks and looks[0].state.grid:
        first = looks[0].state.coordinates[0]
        return _sentence(f"along {plain(first)} {profile(looks[0].state, first)}".removesuffix("."))
    return ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def geometry(look: Geometry) -> list[tuple[str, str]]:
    """All that is said of one view, with a label to each sentence."""
    points = (
        list(zip(("Which way", "How uniform"), ratio(look.ratio, look.rates_ratio), strict=False)) if look.ratio else []
    )
    if look.state.grid:
        points += [(f"Along {plain(name)}", profile(look.state, name)) for name in look.state.coordinates]
    points += [("How much in all", volume(look.state)), ("What drives it", drive(look.attribution))]
    return [(label, _sentence(text.removesuffix("."))) for label, text in points if text]


def checks(look: Geometry) -> list[tuple[str, str]]:
    """How far the numbers of one view can be trusted."""
    points = [("Masks", masks(look.state)), ("Dimension", dimension(look.dimension))]
    if look.step_size is None:
        return [*points, ("Step size", "The step is part of this network and cannot be halved.")]
    return [*points, ("Step size", step_size(look.step_size))]
