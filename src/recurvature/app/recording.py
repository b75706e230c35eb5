"""From a recording to results: the lenses that need no equations, and what each of them comes to."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.special
from jaxtyping import Float, Int

import recurvature as rc
from recurvature import io, measures
from recurvature._errors import InputError
from recurvature._progress import Progress, Report
from recurvature._result import AbstractResult
from recurvature.io import RecordedCoordinate, Recording
from recurvature.io.recordings.tables import UNPACK_LIMIT
from recurvature.lenses import superposition, warping
from recurvature.measures import Decoding, MeanGeometry, Persistence
from recurvature.systems.inputs import Coordinate

OUTER = (5.0, 95.0)
"""Percentiles between which a coordinate is looked at: beyond them are too few bins."""
POINTS = {1: (16,), 2: (12, 5)}
"""Points along the coordinates by their number."""
MOST_COORDINATES = 2
SECTORS, PARTS = 8, 6
"""Groups of a coordinate where a file has no labels, and parts of the trials that their means are taken of."""
BOTTLENECKS, SPLITS = (1, 2, 3), 20
FEWEST_TRIALS = 9
"""Of each label, for decoders."""
RINGED = 6
"""Conditions without which no hole can be seen."""


@dataclasses.dataclass(frozen=True)
class Choices:
    """What of a recording to look at: the arguments of `recurvature.io.read_recording`, and of the lenses."""

    activity: str | None = None
    coordinates: tuple[str, ...] | None = None
    polar: str | None = None
    labels: str | None = None
    periods: str | int | None = None
    order: str | None = None
    bin_width: float | None = None
    circular: tuple[tuple[str, float], ...] = ()
    """Names of coordinates and their periods."""
    missing: Literal["refuse", "drop"] = "refuse"
    unpack_limit: int = UNPACK_LIMIT
    points: int | None = None
    seed: int = 0

    def asked(self) -> dict[str, Any]:
        """What was chosen, for run.json."""
        plain = dataclasses.asdict(Choices())
        return {name: v for name, v in dataclasses.asdict(self).items() if v != plain[name] and name != "seed"}

    def read(self, path: Path) -> Recording:
        """The recording in a file, its circular coordinates marked."""
        names = (
            "activity",
            "coordinates",
            "polar",
            "labels",
            "periods",
            "order",
            "bin_width",
            "missing",
            "unpack_limit",
        )
        given = {name: getattr(self, name) for name in names}
        return io.read_recording(path, circular=dict(self.circular), **given)


@dataclasses.dataclass(frozen=True)
class Observed:
    """All that was found out about a recording; what could not be, with the reason."""

    recording: Recording
    joint: warping.RecordedMetric | None
    """Over all coordinates together, where there are two."""
    single: dict[str, warping.RecordedMetric]
    """Over each coordinate by itself."""
    conditions: str
    """What the conditions are, in words."""
    means: MeanGeometry | None
    holes: Persistence | None
    decoding: Decoding | None
    past: superposition.RecordedDirections | None
    left_out: dict[str, str]

    @property
    def results(self) -> dict[str, AbstractResult]:
        """Every result by its name."""
        metrics = {f"metric-{name}": metric for name, metric in self.single.items()}
        others = {
            "metric": self.joint,
            "means": self.means,
            "holes": self.holes,
            "decoding": self.decoding,
            "past": self.past,
        }
        return metrics | {name: result for name, result in others.items() if result is not None}


def observe(recording: Recording, choices: Choices, report: Report) -> Observed:
    """Look at a recording through every lens that needs no equations."""
    left_out: dict[str, str] = {}
    chart = chart_of(recording)
    single, joint = metrics(recording, chart, choices, left_out, report)
    labels, words = conditions(recording)
    means, holes = None, None
    if labels is None:
        left_out["Dimension and holes"] = words
    else:
        means, holes = _means(recording, labels, left_out)
    report(Progress("decoders and past inputs", 0, 2))
    decoding = _decoding(recording, labels, words, choices.seed, left_out)
    report(Progress("decoders and past inputs", 1, 2))
    past = _past(recording, chart, left_out)
    report(Progress("decoders and past inputs", 2, 2))
    return Observed(recording, joint, single, words, means, holes, decoding, past, left_out)


def chart_of(recording: Recording) -> tuple[RecordedCoordinate, ...]:
    """The coordinates of the metric: the first ones that vary, at most two."""
    varying = [c for c in recording.coordinates if np.ptp(c.values) > 0]
    return tuple(varying[:MOST_COORDINATES])


def coordinate_of(c: RecordedCoordinate) -> Coordinate:
    """Its range: a whole period, or where nearly all bins are."""
    if c.period is not None:
        low = 0.0 if c.values.min() >= 0 else -c.period / 2
        return Coordinate(c.name, low, low + c.period, True, c.units)
    low, high = (float(v) for v in np.percentile(c.values, OUTER))
    if not low < high:
        low, high = float(c.values.min()), float(c.values.max())
    return Coordinate(c.name, low, high, False, c.units)


def metrics(
    recording: Recording,
    chart: tuple[RecordedCoordinate, ...],
    choices: Choices,
    left_out: dict[str, str],
    report: Report,
) -> tuple[dict[str, warping.RecordedMetric], warping.RecordedMetric | None]:
    """The metric over each coordinate, and over all together."""
    if not chart:
        left_out["Metric"] = "no coordinate varies beside the activity: name some with --coordinates or --polar."
        return {}, None
    if len(recording.starts) < 5:
        left_out["Metric"] = "five trials at least are needed to take products over disjoint ones: see --periods."
        return {}, None
    rest = [c.name for c in recording.coordinates if c not in chart]
    if rest:
        left_out["Metric over other coordinates"] = f"{', '.join(rest)}: choose at most two with --coordinates."
    found: dict[str, warping.RecordedMetric] = {}
    for names in [(c,) for c in chart] + ([chart] if len(chart) > 1 else []):
        title = " and ".join(c.name for c in names)
        try:
            found[title] = _metric(recording, names, choices, report)
        except InputError as error:
            left_out[f"Metric over {title}"] = str(error)
    joint = found.pop(" and ".join(c.name for c in chart), None) if len(chart) > 1 else None
    return found, joint


def _metric(
    recording: Recording, names: tuple[RecordedCoordinate, ...], choices: Choices, report: Report
) -> warping.RecordedMetric:
    given = choices.points
    points = POINTS[len(names)] if given is None else (given,) * len(names)
    return warping.recorded_metric(
        recording.padded(),
        recording.theta(tuple(c.name for c in names)),
        coordinates=tuple(coordinate_of(c) for c in names),
        points=points,
        bin_width=recording.bin_width or 1.0,
        time_units="bins" if recording.bin_width is None else "s",
        folds=min(10, len(recording.starts)),
        report=report,
    )


def conditions(recording: Recording) -> tuple[Int[np.ndarray, " trial"] | None, str]:
    """A condition of every trial, and what it is; None where there is nothing to go by."""
    if recording.labels is not None:
        return recording.labels, f"the {len(np.unique(recording.labels))} labels of the file"
    chart = chart_of(recording)
    if not chart or len(recording.starts) < 2:
        return None, "no labels, and no coordinate to group trials by: name them with --labels or --coordinates."
    c = chart[0]
    if c.period is None:
        values = np.array([c.values[part].mean() for part in recording.segments])
        return np.argsort(np.argsort(values)) * SECTORS // len(values), f"{SECTORS} groups of trials along {c.name}"
    turn = 2 * np.pi / c.period
    angle = np.array([np.angle(np.exp(1j * turn * c.values[part]).mean()) for part in recording.segments])
    return (np.mod(angle, 2 * np.pi) * SECTORS / (2 * np.pi)).astype(int) % SECTORS, f"{SECTORS} sectors of {c.name}"


def _means(
    recording: Recording, labels: Int[np.ndarray, " trial"], left_out: dict[str, str]
) -> tuple[MeanGeometry | None, Persistence | None]:
    """Geometry of condition means over time, and holes of condition means over whole trials."""
    names, counts = np.unique(labels, return_counts=True)
    kept = names[counts >= PARTS]
    if len(kept) < 2:
        left_out["Dimension and holes"] = f"fewer than two conditions have {PARTS} trials or more."
        return None, None
    shortest = int(min(recording.lengths))
    padded = recording.padded()[:, :shortest]
    over_time = _parts(padded, labels, kept)
    means = measures.mean_geometry(over_time.reshape(PARTS, -1, padded.shape[2]))
    if len(kept) < RINGED:
        left_out["Holes"] = f"{len(kept)} conditions are too few points to see a hole among: {RINGED} at least."
        return means, None
    whole = measures.mean_geometry(_parts(padded.mean(1, keepdims=True), labels, kept)[:, :, 0])
    try:
        return means, _holes(whole)
    except InputError as error:
        left_out["Holes"] = str(error)
        return means, None


def _parts(
    activity: Float[np.ndarray, "trial time n"], labels: Int[np.ndarray, " trial"], kept: Int[np.ndarray, " condition"]
) -> Float[np.ndarray, "part condition time n"]:
    """Means of conditions over disjoint parts of their trials, dealt out in the order of the recording."""
    groups = [activity[labels == label] for label in kept]
    return np.stack([np.stack([group[part::PARTS].mean(0) for group in groups]) for part in range(PARTS)])


def _holes(means: MeanGeometry) -> Persistence:
    """Persistent homology of the distances of condition means, their errors taken for noise."""
    distance = np.sqrt(np.clip(np.asarray(means.squared_distance), 0, None))
    np.fill_diagonal(distance, 0)
    off = ~np.eye(len(distance), dtype=bool)
    # the error of a root is half that of the square over the root; two of them
    error = np.asarray(means.standard_error)[off] / np.maximum(distance[off], np.median(distance[off]) / 4 + 1e-300)
    return measures.persistence(distance, degrees=1, landmarks=None, noise=float(np.quantile(error, 0.95)))


def _decoding(
    recording: Recording, labels: Int[np.ndarray, " trial"] | None, words: str, seed: int, left_out: dict[str, str]
) -> Decoding | None:
    """Decoders of the condition from the mean activity of each trial."""
    if labels is None:
        left_out["Decoders"] = words
        return None
    names, counts = np.unique(labels, return_counts=True)
    kept = np.isin(labels, names[counts >= FEWEST_TRIALS])
    if len(np.unique(labels[kept])) < 2:
        left_out["Decoders"] = f"fewer than two conditions have {FEWEST_TRIALS} trials or more."
        return None
    activity = np.stack([recording.activity[part].mean(0) for part in recording.segments])
    most = min(activity.shape[1], max(BOTTLENECKS))
    try:
        return measures.decode(
            activity[kept],
            labels[kept],
            key=rc.stream(rc.key(seed), "decoders of the recording"),
            bottlenecks=tuple(b for b in BOTTLENECKS if b <= most),
            decoders=("logistic", "lda"),
            splits=SPLITS,
        )
    except InputError as error:
        left_out["Decoders"] = str(error)
        return None


def _past(
    recording: Recording, chart: tuple[RecordedCoordinate, ...], left_out: dict[str, str]
) -> superposition.RecordedDirections | None:
    """What the activity owes to the coordinates of the last bins."""
    moving = [c for c in chart if not c.per_trial]
    shortest = int(min(recording.lengths))
    if not moving or shortest < 4:
        why = "coordinates are the same in all bins of a trial" if not moving else "trials are shorter than four bins"
        left_out["Directions of past coordinates"] = f"{why}." if chart else "no coordinate varies."
        return None
    columns = np.concatenate([_inputs(c) for c in moving], 1)
    inputs = recording.padded((columns - columns.mean(0)) / columns.std(0))
    try:
        return superposition.recorded_directions(
            recording.padded(), np.nan_to_num(inputs), ages=min(6, shortest // 2), folds=min(5, len(recording.starts))
        )
    except InputError as error:
        left_out["Directions of past coordinates"] = str(error)
        return None


def _inputs(c: RecordedCoordinate) -> Float[np.ndarray, "bin k"]:
    """A coordinate as numbers that a line can follow: cosine and sine of a circular one."""
    if c.period is None:
        return c.values[:, None]
    angle = 2 * np.pi * c.values / c.period
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def numbers(found: Observed) -> dict[str, Any]:
    """Key numbers, for run.json."""
    metrics = found.single | ({"joint": found.joint} if found.joint is not None else {})
    return {
        "recording": {
            "units": found.recording.activity.shape[1],
            "bins": len(found.recording.activity),
            "trials": len(found.recording.starts),
            "spike": found.recording.spike,
            "bin_width": found.recording.bin_width,
            "coordinates": [c.name for c in found.recording.coordinates],
            "conditions": found.conditions,
            "notes": list(found.recording.notes),
        },
        "metric": {name: _metric_numbers(metric) for name, metric in metrics.items()},
        "beyond_noise": beyond_noise(found),
        "dimension": None
        if found.means is None
        else {k: getattr(found.means, k) for k in ("dimension", "low", "high")},
        "betti": None if found.holes is None else np.asarray(found.holes.betti).tolist(),
        "decoding": None
        if found.decoding is None
        else {"accuracy": found.decoding.mean.tolist(), "chance": found.decoding.chance},
        "past": None if found.past is None else {"total": found.past.total, "described": found.past.described},
        "left_out": found.left_out,
    }


def beyond_noise(found: Observed) -> dict[str, bool]:
    """Whether each coordinate moves the mean activity, by one test at the level of its intervals.

    There are two chances to see it where there are two coordinates, by itself and with the other held: each interval is
    then widened so that both together keep the level (Bonferroni). Coordinates without an interval are left out.
    """
    said = {}
    for name, metric in found.single.items():
        tried = [(metric, 0)]
        if found.joint is not None:
            tried.append((found.joint, found.joint.coordinates.index(name)))
        lows = [_low(each, i, len(tried)) for each, i in tried]
        if np.isfinite(lows).any():
            said[name] = bool(np.nanmax(lows) > 0)
    return said


def _low(metric: warping.RecordedMetric, i: int, chances: int) -> float:
    """The lower end of the interval of one entry of the overall metric, widened for so many chances."""
    middle, low = (float(np.asarray(v)[i, i]) for v in (metric.overall, metric.overall_low))
    tail = (1 - metric.level) / 2
    once, each = scipy.special.stdtrit(metric.folds - 1, [tail, tail / chances])
    return middle - (middle - low) * float(each / once)


def _metric_numbers(metric: warping.RecordedMetric) -> dict[str, Any]:
    words = warping.STATUS
    return {
        "mean": np.asarray(metric.overall).tolist(),
        "mean_low": np.asarray(metric.overall_low).tolist(),
        "mean_high": np.asarray(metric.overall_high).tolist(),
        "explained": metric.explained,
        "smoothness": metric.smoothness,
        "limit": metric.limit,
        "above_noise": metric.above_noise.tolist(),
        "status": {words[k]: float((np.asarray(metric.status) == k).mean()) for k in np.unique(metric.status)},
    }
