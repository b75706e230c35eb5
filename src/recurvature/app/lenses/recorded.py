"""The report on a recording: what was recorded, how it warps, how many dimensions it fills, and what it tells."""

import numpy as np

from recurvature import figures
from recurvature.app import pictures
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
from recurvature.app.recording import Observed, beyond_noise
from recurvature.app.report import picture
from recurvature.lenses import warping
from recurvature.lenses.warping import RecordedMetric

WITHOUT_EQUATIONS = {
    "Fixed points and stability": "a recording has states but no equations that would move them; fit a network to it "
    "first (`recurvature.training`).",
    "Latent units and overlaps": "both are read from weights, of which a recording has none.",
    "Curvature and geodesics": "second derivatives of a mean estimated from so few trials are mostly noise; in Python, "
    "`recurvature.warping.intrinsic_of` takes the estimated metric.",
}
"""What no recording can be asked for here, and why."""
LIMITS = {
    "": "",
    "given": "",
    "finest": " The finest fit tried predicts best: still finer structure may have been smoothed away.",
    "few_bins": " Bins are too few for two orders more than predicts best: smoothing may weigh as much as noise.",
}
"""What the limit of a choice of smoothness means for the reader."""


def sections(found: Observed) -> list[Section]:
    """All sections, in the order of the report."""
    return [about(found), geometry(found), shape(found), telling(found), past(found), left_out(found)]


def about(found: Observed) -> Section:
    """What was recorded, and how the file was read."""
    recording = found.recording
    lengths = recording.lengths
    width = recording.bin_width
    kind = "spikes a bin" if recording.spike is not None else "activity"
    facts = [
        Fact("units", f"{recording.activity.shape[1]:,}"),
        Fact("trials", f"{len(recording.starts):,}", f"{lengths.min()} to {lengths.max()} bins"),
        Fact("bins", f"{len(recording.activity):,}", "of unknown length" if width is None else f"of {number(width)} s"),
        Fact(f"{kind}, mean", number(float(recording.activity.mean())), "over units and bins"),
    ]
    rows = tuple(
        (
            c.name,
            c.units or "–",
            number(float(c.values.min())),
            number(float(c.values.max())),
            _sort(c.period, c.per_trial),
        )
        for c in recording.coordinates
    )
    blocks: list[Block] = [Facts(tuple(facts))]
    if rows:
        blocks.append(Table(("coordinate", "units", "least", "largest", "kind"), rows, "Recorded beside the activity"))
    blocks.append(Text(f"Conditions, where they are asked for: {found.conditions}."))
    if recording.spike not in (None, 1.0):
        blocks.append(
            Text(f"The file has multiples of {number(float(recording.spike or 1))}: they were taken for one spike.")
        )
    blocks += [Notice("Left out:", note) for note in recording.notes]
    silent = int((recording.activity.std(0) == 0).sum())
    if silent:
        blocks.append(Notice("Careful:", f"{silent} of the units never change."))
    beside = f", beside {' and '.join(c.name for c in recording.coordinates)}" if 0 < len(rows) < 4 else ""
    finding = f"{recording.activity.shape[1]:,} units in {len(recording.starts):,} trials{beside}."
    return Section("recording", "What was recorded", tuple(blocks), finding)


def _sort(period: float | None, per_trial: bool) -> str:
    of = "of the trial" if per_trial else "of every bin"
    return of if period is None else f"{of}, comes round after {number(period)}"


def geometry(found: Observed) -> Section:
    """The metric over each coordinate, and over both."""
    blocks: list[Block] = [
        Text(
            "Where a small change of a coordinate moves the mean activity far, neighbouring values are told apart. The "
            "metric is the squared distance per squared step. Noise would add to it, since a square of noise is never "
            "negative: here products are taken between estimates from trials that have none in common, so that noise "
            "averages out. What is left can be negative, and then says that noise hides the rest."
        )
    ]
    for name, metric in found.single.items():
        blocks += [Heading(f"Along {name} alone"), Facts(_facts(metric)), *_drawn(metric)]
    if found.joint is not None:
        title = " and ".join(found.joint.coordinates)
        blocks += [
            Heading(f"Over {title} together"),
            Facts(_facts(found.joint)),
            *_drawn(found.joint),
            _map(found.joint),
        ]
    if found.single or found.joint is not None:
        blocks += [Heading("How much to believe"), Points(tuple(_trust(found)))]
    else:
        blocks.append(Notice("Left out:", found.left_out.get("Metric", "there is nothing to take it over.")))
    return Section("geometry", "How it warps what was recorded", tuple(blocks), headline(found))


def headline(found: Observed) -> str:
    """Whether each coordinate moves the activity beyond noise."""
    known = beyond_noise(found)
    seen, hidden = ([name for name, sure in known.items() if sure is wanted] for wanted in (True, False))
    said = f"{' and '.join(seen)} move{'' if len(seen) > 1 else 's'} the mean activity beyond noise" if seen else ""
    less = f"{' and '.join(hidden)} {'do' if len(hidden) > 1 else 'does'} not" if hidden else ""
    if not seen and hidden:
        less = f"{less} move the mean activity beyond noise"
    text = ", ".join(filter(None, (said, less)))
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _facts(metric: RecordedMetric) -> tuple[Fact, ...]:
    shown = []
    for i, name in enumerate(metric.coordinates):
        value, low, high = (
            float(np.asarray(v)[i, i]) for v in (metric.overall, metric.overall_low, metric.overall_high)
        )
        if np.isfinite(value):
            ends = f"{percent(metric.level)} interval {number(low)} to {number(high)}"
            shown.append(Fact(f"mean metric, {name}", number(value), ends))
    share = float((np.asarray(metric.low)[..., 0, 0] > 0).mean())
    each = "; ".join(
        f"{name} {percent(float(s))}" for name, s in zip(metric.coordinates, metric.above_noise, strict=True)
    )
    shown.append(Fact("points above noise", each if len(metric.coordinates) > 1 else percent(share), "one by one"))
    shown.append(Fact("explained", percent(metric.explained), "of the variance of bins of trials left out"))
    return tuple(shown)


def _drawn(metric: RecordedMetric) -> list[Picture]:
    names = " and ".join(metric.coordinates)
    interval = picture(
        pictures.root(figures.recorded_intervals(metric)),
        f"Squared distance for a squared step in {names}: estimates without the share of noise, bars hold "
        f"{percent(metric.level)}; dashes are what noise alone would have added. Points are left out where too few "
        "trials are near. Bars that leave the panel are cut off.",
        f"Metric along {names} with intervals and noise floor",
    )
    if np.isfinite(np.asarray(metric.position)[-1]).all(-1).sum() < 3:
        return [interval]
    sheet = picture(
        pictures.root(figures.recorded_sheet(metric)),
        f"The mean activity as {names} changes, by the fit that predicts best, in its first two principal components. "
        "It holds noise too: the metric above says what of it is real.",
        f"Fitted mean activity over {names} in principal components",
    )
    return [interval, sheet]


def _map(metric: RecordedMetric) -> Picture:
    caption = (
        "Square root of the metric over both coordinates; grey and hatched where noise hides it or trials are few."
    )
    return picture(pictures.root(figures.metric_maps(metric)), caption, "Stretch over both coordinates")


def _trust(found: Observed) -> list[tuple[str, str]]:
    metrics = [*found.single.values(), *([] if found.joint is None else [found.joint])]
    said = []
    for metric in metrics:
        counts = {
            warping.STATUS[int(k)]: float((np.asarray(metric.status) == k).mean()) for k in np.unique(metric.status)
        }
        shares = ", ".join(f"{percent(share)} {word.replace('_', ' ')}" for word, share in counts.items())
        noise, value = (np.asarray(v, float)[..., 0, 0] for v in (metric.noise, metric.metric))
        known = np.isfinite(noise) & np.isfinite(value)
        ratio = float(np.median(noise[known]) / max(abs(np.median(value[known])), 1e-300)) if known.any() else np.nan
        text = f"Points: {shares}; {metric.method} of order {metric.smoothness:g}, {metric.folds} parts of the trials. "
        text += f"Noise alone would have added {number(ratio)} times the estimate (medians)."
        text += LIMITS[metric.limit]
        said.append((" and ".join(metric.coordinates).capitalize(), text))
    ends = (
        "They hold for noise that is independent between trials. They are not about smoothing: the fit is two orders "
    )
    ends += "finer than the one that predicts best, so that little is smoothed away, and intervals are wider for it."
    if found.joint is not None:
        ends += (
            " A coordinate moves the activity beyond noise where its mean metric, by itself or with the other held, "
        )
        ends += "is above zero when both intervals are widened so as to hold together (Bonferroni)."
    return [*said, ("Intervals", ends)]


def shape(found: Observed) -> Section:
    """Dimension and holes of the condition means."""
    blocks: list[Block] = []
    means, finding = found.means, ""
    if means is not None:
        known = np.isfinite(means.dimension)
        interval = (
            f"95 % interval {number(means.low)} to {number(means.high)}" if np.isfinite(means.low) else "no interval"
        )
        facts = [
            Fact("dimension", number(means.dimension) if known else "hidden by noise", interval),
            Fact("without correction", number(means.naive), "noise counted as if it were shape"),
            Fact("variance of the means", number(means.variance), f"noise would add {number(means.noise)}"),
        ]
        text = (
            f"The means of {found.conditions} over the time of a trial spread over so many axes (participation ratio), "
            f"by products over {means.parts} disjoint parts of the trials."
        )
        blocks += [Facts(tuple(facts)), Text(text)]
        finding = f"Condition means spread over about {number(means.dimension, 2)} dimensions." if known else ""
    if found.holes is not None:
        blocks += _holes(found)
    for name in ("Dimension and holes", "Holes"):
        if name in found.left_out:
            blocks.append(Notice("Left out:", f"{name.lower()}: {found.left_out[name]}"))
    return Section("shape", "How many dimensions it fills", tuple(blocks), finding)


def _holes(found: Observed) -> list[Block]:
    assert found.holes is not None
    loops = int(np.asarray(found.holes.betti)[1])
    seen = (
        f"{loops} loop{'s' if loops != 1 else ''} among the condition means that the sampling and the noise vouch for."
    )
    shown = picture(
        pictures.root(figures.barcode(found.holes)),
        "Bars of the condition means; those beyond the floor count.",
        "Barcode of the condition means",
    )
    return [Text(f"{seen} A ring of few conditions can be there without being seen."), shown]


def telling(found: Observed) -> Section:
    """Decoders of the condition."""
    if found.decoding is None:
        why = found.left_out.get("Decoders", "there is nothing to decode.")
        return Section("decoding", "What can be read from it", (Notice("Left out:", why),))
    best = float(found.decoding.mean.max())
    facts = (
        Fact("best accuracy", percent(best), f"of {found.decoding.trials} trials, on those left out"),
        Fact("chance", percent(found.decoding.chance), "the most frequent condition"),
    )
    shown = picture(
        pictures.root(figures.decoding(found.decoding)),
        f"How often linear decoders name the right one of {found.conditions} from the mean activity of a trial, by the "
        "number of components that they see; bars hold 95 % of random splits.",
        "Accuracy of decoders by the number of components",
    )
    finding = f"Linear decoders name {percent(best)} of conditions right, chance {percent(found.decoding.chance)}."
    return Section("decoding", "What can be read from it", (Facts(facts), shown), finding)


def past(found: Observed) -> Section:
    """What the activity owes to the coordinates of the last bins."""
    title = "What it keeps of the last bins"
    if found.past is None:
        why = found.left_out.get("Directions of past coordinates", "no coordinate varies.")
        return Section("past", title, (Notice("Left out:", why),))
    lengths = np.linalg.norm(np.asarray(found.past.direction), axis=1)
    error = np.asarray(found.past.standard_error)
    rows = tuple(
        (
            str(int(age)),
            *(f"{number(float(a))} ± {number(float(e))}" for a, e in zip(lengths[k], error[k], strict=True)),
        )
        for k, age in enumerate(np.asarray(found.past.age))
    )
    header = ("age (bins)", *(f"input {i + 1}" for i in range(lengths.shape[1])))
    caption = "Length of the direction that a coordinate of so many bins ago leaves in the activity, and its error"
    text = (
        "Activity regressed on the coordinates of the same and of earlier bins, all ages together, each in units of "
        "its standard deviation (a circular one as cosine and sine). A regression tells what goes along with what, not "
        "what causes it."
    )
    share = percent(max(found.past.total, 0.0))
    finding = f"Coordinates of the last {len(rows)} bins predict {share} of its variance in trials left out."
    return Section("past", title, (Text(text), Table(header, rows, caption)), finding)


def left_out(found: Observed) -> Section:
    """What is not in the report, with the reasons."""
    items = tuple((f"{name}:", why) for name, why in {**found.left_out, **WITHOUT_EQUATIONS}.items())
    return Section("left-out", "What is left out, and why", (Points(items),))
