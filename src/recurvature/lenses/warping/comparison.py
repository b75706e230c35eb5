r"""Comparing the geometry of networks, in every normalisation and beside the differences between seeds."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError, check_kind
from recurvature._progress import Progress, Report, silent
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping.geodesics.distances import Points, geodesic_distances
from recurvature.lenses.warping.geodesics.sampling import number_type, rows_at
from recurvature.lenses.warping.immersion import Immersion
from recurvature.lenses.warping.injectivity import Sample, sample
from recurvature.lenses.warping.metric import WARPING, relative_stretches
from recurvature.lenses.warping.reference import upper_factors
from recurvature.lenses.warping.status import OK

NORMALISATIONS = ("raw", "max", "mean")
# nodes and weights of a rule of order 6 on [0, 1]
NODES, WEIGHTS = 0.5 + 0.5 * np.sqrt(0.6) * np.array([-1.0, 0.0, 1.0]), np.array([5.0, 8.0, 5.0]) / 18


class Comparison(AbstractResult):
    r"""How much the geometries of networks differ, between conditions and between seeds (docs eq. W.52–W.55).

    `difference` holds every quantity for every pair of networks. Of the learned ones, `within` is its mean over pairs
    of one group, the seed baseline; `between` over pairs of two groups (its diagonal is `within`); `ratio` is `between`
    over the mean of the two baselines. A group of one network has no baseline: NaN.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    theta: Float[Values, "point m"]
    difference: Float[Values, "quantity member partner"]
    within: Float[Values, "quantity group"]
    between: Float[Values, "quantity group against"]
    ratio: Float[Values, "quantity group against"]
    learned: Int[Values, " member"]
    """1 or 0: the others take no part in `within` and `between`."""
    size: Float[Values, " member"] = eqx.field(metadata={"units": "space", "long_name": "mean geodesic distance"})
    singular: Int[Values, " member"] = eqx.field(metadata={"long_name": "points without a metric"})
    quantities: tuple[str, ...]
    groups: tuple[str, ...]
    group_of: tuple[str, ...]
    """The group of each member."""
    learned_given: bool
    """Whether the caller said which have learned; if not, all were taken to have."""
    grid: tuple[int, ...]
    neighbours: int
    dtype: str

    def row(self, quantity: str) -> int:
        """The place of a quantity by its name."""
        if quantity not in self.quantities:
            raise InputError(f"unknown quantity {quantity!r}. Known: {', '.join(self.quantities)}.")
        return self.quantities.index(quantity)


class Geometry(NamedTuple):
    """What is compared of one network."""

    taken: Sample
    distances: Float[np.ndarray, "point other"]
    profiles: tuple[Float[np.ndarray, "line node"], ...]
    """Of each coordinate, the share of the length of its lines up to each node; empty without a grid."""


def compare(
    immersions: Mapping[str, Sequence[Immersion]],
    *,
    points: Points,
    learned: Mapping[str, Sequence[bool]] | None = None,
    neighbours: int = 16,
    report: Report = silent,
) -> Comparison:
    """Compare state manifolds, group by group (docs eq. W.52–W.55).

    **Arguments**

    - `immersions`: for each condition, the state manifolds of its networks (seeds), all in one chart.
    - `points`: a grid (a count for each coordinate), or rows of coordinates; lines are compared on grids only.
    - `learned`: for each condition, which of its networks have learned. The others stay in `difference` and are left
      out of the summaries: a network that has not learned differs by more than any two that have.
    - `neighbours`: edges at each point of the graph that geodesics run on.

    Raises `InputError` where charts or flags do not fit.
    """
    check_kind("immersions", immersions, Mapping, "pass a dictionary, a list of immersions for each condition")
    for seeds in immersions.values():
        check_kind("immersions", seeds, Sequence, "pass a dictionary, a list of immersions for each condition")
    groups, members = tuple(immersions), [(g, i) for g, seeds in immersions.items() for i in seeds]
    flags = _check(immersions, learned)
    found = []
    for done, (_, immersion) in enumerate(members):
        found.append(_geometry(immersion, points, neighbours))
        report(Progress("geometry of networks", done + 1, len(members)))
    names = _names(members[0][1], bool(found[0].profiles))
    table = np.zeros((len(names), len(members), len(members)))
    for a, b in itertools.combinations(range(len(members)), 2):
        table[:, a, b] = table[:, b, a] = _differences(found[a], found[b])
    of = [g for g, _ in members]
    within, between, ratio = _summaries(table, groups, of, flags)
    dtype = max((g.taken.dtype for g in found), key=lambda d: np.dtype(d).itemsize)
    return Comparison(
        theta=found[0].taken.theta.astype(dtype),
        difference=table.astype(dtype),
        within=within.astype(dtype),
        between=between.astype(dtype),
        ratio=ratio.astype(dtype),
        learned=flags.astype(np.int8),
        size=np.array([_pairs(g.distances).mean() for g in found], dtype),
        singular=np.array([(g.taken.status != OK).sum() for g in found]),
        quantities=names,
        groups=groups,
        group_of=tuple(of),
        learned_given=learned is not None,
        grid=found[0].taken.grid,
        neighbours=neighbours,
        dtype=str(np.dtype(dtype)),
    )


def affine_distance(
    first: Float[Any, "*batch i j"], second: Float[Any, "*batch i j"], *, volume: bool = True
) -> Float[np.ndarray, "*batch"]:
    r"""$\|\log(G_A^{-1/2}G_BG_A^{-1/2})\|_F$ of two metrics, the same in every chart (docs eq. W.54).

    Without `volume` the part that a common factor makes is left out. NaN where a metric is singular.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise InputError(f"`first` and `second` must be metrics of one shape (…, m, m); got {a.shape} and {b.shape}.")
    m = a.shape[-1]
    factors = [upper_factors(g.reshape(-1, m, m), np.float64) for g in (a, b)]
    return _affine(factors[0], factors[1], volume=volume).reshape(a.shape[:-2])


def _affine(
    first: Float[np.ndarray, "point i j"], second: Float[np.ndarray, "point i j"], *, volume: bool
) -> Float[np.ndarray, " point"]:
    stretches = relative_stretches(second[None], first)[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = 2 * np.log(stretches)
        kept = logs if volume else logs - logs.mean(-1, keepdims=True)
        out = np.sqrt(np.sum(kept**2, -1))
    return np.where(np.isfinite(out), out, np.nan)


def _check(
    immersions: Mapping[str, Sequence[Immersion]], learned: Mapping[str, Sequence[bool]] | None
) -> Int[np.ndarray, " member"]:
    sizes = {group: len(seeds) for group, seeds in immersions.items()}
    if sum(sizes.values()) < 2 or not all(sizes.values()):
        raise InputError(f"`immersions` must hold at least two state manifolds, and one to each group; got {sizes}.")
    charts = {i.coordinates for seeds in immersions.values() for i in seeds}
    if len(charts) > 1:
        raise InputError("`immersions` must share one chart: the same coordinates with the same ranges.")
    if learned is None:
        return np.ones(sum(sizes.values()), int)
    given = {group: len(learned.get(group, ())) for group in sizes}
    if given != sizes or set(learned) != set(sizes):
        raise InputError(f"`learned` needs one flag for every network: {sizes}; got {given}.")
    return np.array([int(bool(flag)) for group in sizes for flag in learned[group]])


def _geometry(immersion: Immersion, points: Points, neighbours: int) -> Geometry:
    taken = sample(immersion, points)
    found = geodesic_distances(immersion, points=points, neighbours=neighbours, edges="arc")
    profiles = tuple(line_profile(immersion, taken.grid, a) for a in range(immersion.dimension)) if taken.grid else ()
    return Geometry(taken, np.asarray(found.distances), profiles)


def line_profile(immersion: Immersion, grid: tuple[int, ...], coordinate: int) -> Float[np.ndarray, "line node"]:
    r"""Along every line of a coordinate, the share $s(\theta)$ of its length up to each node (docs eq. W.53).

    From 0 at the low end to 1 at the high end, which around a period is the low end again. NaN on lines of no length.
    """
    along = immersion.coordinates[coordinate]
    cells = grid[coordinate] if along.periodic else grid[coordinate] - 1
    step = (along.high - along.low) / max(cells, 1)
    axes = [c.grid(n) for c, n in zip(immersion.coordinates, grid, strict=True)]
    axes[coordinate] = (along.low + step * (np.arange(cells)[:, None] + NODES)).ravel()
    theta = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], -1)
    tangent = rows_at(immersion, theta, 1, number_type(immersion))[1 + coordinate].astype(float)
    stretch = np.moveaxis(np.linalg.norm(tangent, axis=-1).reshape([len(a) for a in axes]), coordinate, -1)
    lengths = stretch.reshape(-1, cells, len(NODES)) @ WEIGHTS
    up_to = np.concatenate([np.zeros((len(lengths), 1)), np.cumsum(lengths, -1)], -1)
    whole = up_to[:, -1:]
    return np.divide(up_to, whole, out=np.full_like(up_to, np.nan), where=whole > 0)


def _names(immersion: Immersion, lines: bool) -> tuple[str, ...]:
    names = [f"geodesic {n} {s}" for n in NORMALISATIONS for s in ("mean", "max", "rms")]
    names += ["geodesic rank"]
    if lines:
        names += [f"line {c.name} {s}" for c in immersion.coordinates for s in ("mean", "max")]
    return (*names, "metric mean", "metric max", "metric shape mean", "metric shape max")


def _differences(a: Geometry, b: Geometry) -> Float[np.ndarray, " quantity"]:
    """All quantities of one pair, in the order of `_names`."""
    values = distance_differences(a.distances, b.distances)
    for one, other in zip(a.profiles, b.profiles, strict=True):
        values += _mean_max(np.abs(one - other))
    regular = (a.taken.status == OK) & (b.taken.status == OK)
    for volume in (True, False):
        values += _mean_max(_affine(a.taken.factor[regular], b.taken.factor[regular], volume=volume))
    return np.array(values)


def distance_differences(first: Float[Any, "point other"], second: Float[Any, "point other"]) -> list[float]:
    """Mean, largest and root mean square difference of two tables in every normalisation, and 1 − Spearman's ρ."""
    usable = np.isfinite(_pairs(first)) & np.isfinite(_pairs(second))
    a, b = _pairs(first)[usable], _pairs(second)[usable]
    if not len(a) or a.max() == 0 or b.max() == 0:
        return [float("nan")] * (3 * len(NORMALISATIONS) + 1)
    values = []
    for norm in NORMALISATIONS:
        unit = {"raw": (1.0, 1.0), "max": (a.max(), b.max()), "mean": (a.mean(), b.mean())}[norm]
        gap = np.abs(a / unit[0] - b / unit[1])
        values += [float(gap.mean()), float(gap.max()), float(np.sqrt(np.mean(gap**2)))]
    # distances that are equal but for rounding share a rank
    digits = 4 if np.float32 in (np.asarray(first).dtype, np.asarray(second).dtype) else 9
    a, b = (np.round(v / v.max(), digits) for v in (a, b))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return [*values, float("nan")]
    import scipy.stats  # a second to import

    return [*values, 1 - float(scipy.stats.spearmanr(a, b).statistic)]


def _pairs(table: Any) -> np.ndarray:
    """The entries above the diagonal, in float64."""
    table = np.asarray(table, np.float64)
    return table[np.triu_indices(len(table), 1)]


def _mean_max(values: np.ndarray) -> list[float]:
    known = values[np.isfinite(values)]
    return [float(known.mean()), float(known.max())] if len(known) else [float("nan")] * 2


def _summaries(
    table: Float[np.ndarray, "quantity member partner"], groups: tuple[str, ...], of: list[str], learned: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means over pairs of learned networks: within each group, between groups, and the second over the first."""
    place = [np.flatnonzero((np.array(of) == g) & (learned == 1)) for g in groups]
    between = np.full((len(table), len(groups), len(groups)), np.nan)
    for a, b in itertools.combinations_with_replacement(range(len(groups)), 2):
        pairs = [(i, j) for i in place[a] for j in place[b] if i != j]
        if pairs:
            first, second = np.array(pairs).T
            between[:, a, b] = between[:, b, a] = table[:, first, second].mean(-1)
    within = np.diagonal(between, axis1=1, axis2=2).copy()
    baseline = (within[:, :, None] + within[:, None, :]) / 2
    ratio = np.divide(between, baseline, out=np.full_like(between, np.nan), where=baseline > 0)
    return within, between, ratio
