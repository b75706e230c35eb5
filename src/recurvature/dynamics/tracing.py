r"""Following curves of fixed points by pseudo-arclength: steps, special points on the way, and where curves cross."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from recurvature.dynamics.special import Place, Setting, Special, arrive, place_at, special_between

RANGE, MAX_POINTS, CORRECTOR, CLOSED, FAR = range(5)
ENDS = ("range", "max_points", "corrector", "closed", "far")
"""Why a branch ends.

- `range`: the parameter reached an end of its range.
- `max_points`: it was given no more points.
- `corrector`: no fixed point was found near the last, even with the smallest step.
- `closed`: it came back to where it began.
- `far`: the state left the ball of radius `reach`.
"""

LARGEST_TURN, STRAIGHT = 0.97, 0.999
"""Cosines between tangents: below the first a step is halved, above the second the next is longer."""
GROWTH = 1.5
HALVINGS = 12
"""Bisections that bracket a special point before its equations are solved."""


class Steps(NamedTuple):
    """How a curve is followed, in scaled arc length."""

    first: float
    largest: float
    smallest: float
    most: int
    reach: float


class Point(NamedTuple):
    """A place of a branch, and the special point that it is, if it is one."""

    place: Place
    special: Special | None = None


class Traced(NamedTuple):
    """Half a branch, from its beginning on."""

    points: list[Point]
    end: int


def trace(setting: Setting, start: Place, steps: Steps, *, crossed: bool = False) -> Traced:
    """The curve from `start` in the direction of its tangent; `crossed` if it starts where another curve crosses."""
    points, here, h = [Point(start.light)], start, steps.first
    compare = not crossed
    for _ in range(steps.most - 1):
        there, h = _step(setting, here, h, steps)
        if there is None:
            return Traced(points, CORRECTOR)
        outside = not 0 <= there.y[-1] <= 1
        if outside:
            landed = _land(setting, here, there) if 0 < here.y[-1] < 1 or len(points) == 1 else None
            if landed is None:
                return Traced(points, CORRECTOR if 0 < here.y[-1] < 1 else RANGE)
            if np.linalg.norm(landed.y - here.y) < steps.smallest:
                return Traced(points, RANGE)
            there = landed
        if compare and there.signature != here.signature:
            before, there = _bisect(setting, here, there)
            points.append(_special_point(setting, before, there))
            outside = outside and not 0 < there.y[-1] < 1
        points.append(Point(there.light))
        compare = True
        if outside:
            return Traced(points, RANGE)
        if np.linalg.norm(there.y[:-1]) > steps.reach:
            return Traced(points, FAR)
        if len(points) > 4 and _passes(here, there, start):
            return Traced([*points[:-1], points[0]], CLOSED)
        here = there
    return Traced(points, MAX_POINTS)


def _step(setting: Setting, here: Place, h: float, steps: Steps) -> tuple[Place | None, float]:
    """The next place, and the step to try after it."""
    while h >= steps.smallest:
        there = _clear(setting, here.y, h * here.tangent)
        if there is not None:
            turn = float(here.tangent @ there.tangent)
            off = float(np.linalg.norm(there.y - here.y - h * here.tangent))
            if turn >= LARGEST_TURN and off <= 0.5 * h:
                return there, min(GROWTH * h, steps.largest) if turn >= STRAIGHT else h
        h /= 2
    return None, h


def _clear(setting: Setting, y: Float[np.ndarray, " k1"], chord: Float[np.ndarray, " k1"]) -> Place | None:
    """The place after a chord from y; after a little less of it where that would hit a special point."""
    across = chord / np.linalg.norm(chord)
    there = arrive(setting, y + chord, across)
    if there is not None and there.doubtful(setting.kind):
        return arrive(setting, y + 0.83 * chord, across) or there
    return there


def _land(setting: Setting, here: Place, there: Place) -> Place | None:
    """The place at the end of the range that lies between two places."""
    bound = 1.0 if there.y[-1] > 1 else 0.0
    share = (bound - here.y[-1]) / (there.y[-1] - here.y[-1])
    across = np.zeros_like(here.y)
    across[-1] = np.sign(there.y[-1] - here.y[-1])
    guess = here.y + share * (there.y - here.y)
    guess[-1] = bound
    landed = arrive(setting, guess, across)
    # the last bit of the end is not the solver's to decide
    return landed and landed._replace(y=np.append(landed.y[:-1], bound))


def _bisect(setting: Setting, here: Place, there: Place) -> tuple[Place, Place]:
    """Two places close together, between which the signature changes first."""
    low, high = here, there
    for _ in range(HALVINGS):
        middle = _clear(setting, low.y, (high.y - low.y) / 2)
        if middle is None:
            break
        low, high = (middle, high) if middle.signature == here.signature else (low, middle)
    return low, high


def _special_point(setting: Setting, before: Place, after: Place) -> Point:
    found = special_between(setting, before, after)
    place = place_at(setting, found.y, before.tangent)
    return Point((before if place is None else place).light._replace(tangent=before.tangent), found)


def _passes(here: Place, there: Place, start: Place) -> bool:
    """Whether the step from one place to another passes the start in its direction."""
    chord, back = there.y - here.y, start.y - here.y
    length = np.linalg.norm(chord)
    along = back @ chord / length
    off = np.linalg.norm(back - along * chord / length)
    return bool(0 < along <= length and off <= 0.1 * length and there.tangent @ start.tangent > 0.9)


class Branch(NamedTuple):
    """A whole branch in the order of its points, and why it ends at both of its ends."""

    points: list[Point]
    ends: tuple[int, int]


def both_ways(setting: Setting, start: Place, steps: Steps, *, crossed: bool = False) -> Branch:
    """The branch through a place: traced against its tangent and along it, and joined."""
    forth = trace(setting, start, steps, crossed=crossed)
    if forth.end == CLOSED:
        return Branch(forth.points, (CLOSED, CLOSED))
    back = trace(setting, start.reversed, steps, crossed=crossed)
    turned = [Point(p.place.reversed, p.special) for p in back.points[:0:-1]]
    return Branch([*turned, *forth.points], (back.end, forth.end))


class Crossing(NamedTuple):
    """A point where a branch is crossed by another that may still have to be traced."""

    y: Float[np.ndarray, " k1"]
    other: Float[np.ndarray, " k1"]


def follow(setting: Setting, seeds: list[Place], steps: Steps, *, switch: bool, most: int) -> tuple[list[Branch], int]:
    """All branches through seeds and, if `switch`, those that cross them; and how many were left out."""
    branches: list[Branch] = []
    unused = 0
    for seed in seeds:
        if any(_lies_on(setting, seed, branch) for branch in branches):
            continue
        if len(branches) >= most:
            unused += 1
            continue
        branches.append(both_ways(setting, seed, steps))
        waiting = _crossings(branches[-1]) if switch else []
        while waiting and len(branches) < most:
            crossing = waiting.pop(0)
            branch = None if _known(crossing, branches) else _switched(setting, crossing, steps)
            if branch is not None:
                branches.append(branch)
                waiting += _crossings(branch)
    left = [c for branch in branches for c in (_crossings(branch) if switch else []) if not _known(c, branches)]
    return branches, unused + len(left)


def _switched(setting: Setting, crossing: Crossing, steps: Steps) -> Branch | None:
    place = place_at(setting, crossing.y, crossing.other)
    if place is None:
        return None
    return both_ways(setting, place._replace(tangent=crossing.other), steps, crossed=True)


def _crossings(branch: Branch) -> list[Crossing]:
    return [Crossing(p.special.y, p.special.other) for p in branch.points if p.special and p.special.other is not None]


def _known(crossing: Crossing, branches: list[Branch]) -> bool:
    """Whether some branch already passes a crossing in its other direction."""
    for branch in branches:
        for point in branch.points:
            apart = np.linalg.norm(point.place.y - crossing.y)
            if apart < 1e-6 and abs(float(point.place.tangent @ crossing.other)) > 0.9:
                return True
    return False


def _lies_on(setting: Setting, seed: Place, branch: Branch) -> bool:
    """Whether a branch passes a place, at the place's own value of the parameter."""
    across = np.zeros_like(seed.y)
    across[-1] = 1.0
    for first, second in zip(branch.points[:-1], branch.points[1:], strict=True):
        one, two = first.place.y, second.place.y
        if (one[-1] - seed.y[-1]) * (two[-1] - seed.y[-1]) > 0:
            continue
        share = 0.0 if one[-1] == two[-1] else (seed.y[-1] - one[-1]) / (two[-1] - one[-1])
        guess = one + share * (two - one)
        guess[-1] = seed.y[-1]
        met = arrive(setting, guess, across)
        if met is not None and np.linalg.norm(met.y - seed.y) < 1e-6:
            return True
    return False
