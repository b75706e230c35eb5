r"""Feature directions of a recording: states regressed on the inputs of the last steps, all ages together.

Inputs that are correlated in time leave traces at every age at once: ages are never taken one by one (docs eq. S.62).
"""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from recurvature._errors import InputError, check_count, check_shape
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.geometry import Geometry, geometry_of
from recurvature.tasks.recall import SUPERPOSITION

RIDGES = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Penalties that are tried, in units of the mean variance of the inputs times the number of samples."""

DESCRIBED = 0.5
"""Share of the variance that can be explained below which linear directions do not describe a recording."""


class RecordedDirections(AbstractResult):
    r"""What recorded states owe to the inputs of the last steps, by ridge regression (docs eq. S.62, S.63).

    `direction` and `projection` are the coefficients for states and outputs. `standard_error` is the expected length of
    the error of a direction, by leaving out one fold of trials after the other; it knows of correlations within trials.
    `r2` is the share of the variance of each unit, and `total` that of all together, predicted in trials that took no
    part in the regression. Where inputs were repeated, `ceiling` is the share that is the same in all repeats, which no
    model of the inputs can exceed; NaN otherwise.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    age: Float[Values, " age"] = eqx.field(metadata={"units": "steps"})
    direction: Float[Values, "age n d"]
    projection: Float[Values, "age o d"]
    standard_error: Float[Values, "age d"]
    intercept: Float[Values, " n"]
    r2: Float[Values, " n"]
    total: float
    ceiling: float
    ridge: float
    """The penalty that predicted best, as in `RIDGES`."""
    samples: int
    folds: int

    @property
    def described(self) -> bool:
        """Whether linear directions explain at least half of what can be explained."""
        return self.total >= DESCRIBED * (1.0 if np.isnan(self.ceiling) else self.ceiling)

    @property
    def significant(self) -> Bool[np.ndarray, "age d"]:
        """Directions longer than three times the expected length of their error."""
        lengths = np.linalg.norm(np.asarray(self.direction), axis=1)
        return lengths > 3 * np.asarray(self.standard_error)

    def reading(self) -> str:
        """In words."""
        share = f"{100 * self.total:.0f} % of the variance of the states in trials left out"
        known = "" if np.isnan(self.ceiling) else f", of {100 * self.ceiling:.0f} % that repeats of inputs share"
        if not self.described:
            return f"Linear feature directions do not describe this network: they predict {share}{known}."
        lasting = np.flatnonzero(self.significant.any(1))
        oldest = f"up to age {lasting[-1]}" if len(lasting) else "of no age"
        return f"Linear feature directions predict {share}{known}. Inputs {oldest} leave a trace above its error."

    def geometry(self, delay: int) -> Geometry:
        """The geometry of the directions. Raises `InputError` where no outputs were given."""
        if not np.asarray(self.projection).shape[1]:
            raise InputError("the geometry needs projections: pass `outputs` to `recorded_directions`.")
        return geometry_of(np.asarray(self.projection), np.asarray(self.direction), delay)


def recorded_directions(
    states: Float[Any, "trial time n"],
    inputs: Float[Any, "trial time d"],
    *,
    outputs: Float[Any, "trial time o"] | None = None,
    ages: int = 10,
    folds: int = 5,
    ridges: tuple[float, ...] = RIDGES,
) -> RecordedDirections:
    r"""Feature directions from recorded states (or rates of units) and the inputs that drove them.

    Regresses $h_t$ on $(1, x_t, \dots, x_{t-S+1})$, S = `ages`, over all steps of all trials that have so many inputs
    up to them; the penalty is the one of `ridges` that predicts best. Steps with a NaN in states or outputs are left
    out. Folds are whole trials, trials of the same inputs in one fold; a single trial is cut into `folds` stretches.

    Raises `InputError` on shapes that do not fit, and where there are fewer samples than coefficients.
    """
    h, x = np.asarray(states, float), np.asarray(inputs, float)
    check_count(ages=ages, folds=folds)
    check_shape("states", h, (None, None, None))
    check_shape("inputs", x, (*h.shape[:2], None))
    y = np.zeros((*h.shape[:2], 0)) if outputs is None else np.asarray(outputs, float)
    check_shape("outputs", y, (*h.shape[:2], None))
    _check(x, h.shape[1], ages, folds, ridges)
    past, both, fold = _samples(x, np.concatenate([h, y], axis=2), ages, folds)
    parts = [_moments(past[fold == f], both[fold == f]) for f in range(folds)]
    n, d = h.shape[2], x.shape[2]
    whole = _added(parts)
    if whole.samples <= past.shape[1] + 1 or min(part.samples for part in parts) == 0:
        raise InputError(
            f"{whole.samples} samples in {folds} folds are too few for {past.shape[1]} coefficients: pass fewer `ages` "
            "or `folds`, or more trials."
        )
    left_out = [_added([part for g, part in enumerate(parts) if g != f]) for f in range(folds)]
    fits = [_ridge(part, ridges, n) for part in left_out]
    errors = np.sum([_squares(past[fold == f], both[fold == f, :n], fits[f]) for f in range(folds)], axis=0)
    best = int(errors.sum(1).argmin())
    shape = lambda b: b.reshape(ages, d, -1).swapaxes(1, 2)  # noqa: E731
    coefficient, offset = _ridge(whole, (ridges[best],), n + y.shape[2])
    variance = ((both[:, :n] - both[:, :n].mean(0)) ** 2).sum(0)
    return RecordedDirections(
        age=np.arange(ages, dtype=float),
        direction=shape(coefficient[0][:, :n]),
        projection=shape(coefficient[0][:, n:]),
        standard_error=_jackknife(np.stack([slopes[best] for slopes, _ in fits])).reshape(ages, d),
        intercept=offset[0][:n],
        r2=1 - np.divide(errors[best], variance, out=np.full(n, np.nan), where=variance > 0),
        total=float(1 - errors[best].sum() / variance.sum()) if variance.sum() > 0 else float("nan"),
        ceiling=_ceiling(h, x, ages),
        ridge=float(ridges[best]),
        samples=whole.samples,
        folds=folds,
    )


def _check(x: Float[np.ndarray, "trial time d"], time: int, ages: int, folds: int, ridges: tuple[float, ...]) -> None:
    if not np.isfinite(x).all():
        raise InputError("`inputs` must be finite: a missing input is not an input of 0. Leave such trials out.")
    if not ages < time:
        raise InputError(f"`ages` must be below the number of steps, {time}; got {ages}.")
    if folds < 2:
        raise InputError(f"`folds` must be at least 2; got {folds}.")
    if not ridges or not all(np.isfinite(r) and r >= 0 for r in ridges):
        raise InputError(f"`ridges` must be finite numbers of at least 0; got {ridges}.")


class _Moments(NamedTuple):
    """Sums over samples: their number, and products of inputs with inputs and with what is regressed on them."""

    samples: int
    x: Float[np.ndarray, " m"]
    y: Float[np.ndarray, " k"]
    xx: Float[np.ndarray, "m m"]
    xy: Float[np.ndarray, "m k"]


def _samples(
    x: Float[np.ndarray, "trial time d"], y: Float[np.ndarray, "trial time k"], ages: int, folds: int
) -> tuple[Float[np.ndarray, "sample m"], Float[np.ndarray, "sample k"], Int[np.ndarray, " sample"]]:
    """Past inputs (age, then feature), what is to be explained, and the fold of every sample."""
    trials, _, d = x.shape
    windows = np.lib.stride_tricks.sliding_window_view(x, ages, axis=1)[..., ::-1]
    past = windows.swapaxes(2, 3).reshape(-1, ages * d)
    late = y[:, ages - 1 :]
    if trials == 1:
        fold = np.arange(late.shape[1]) * folds // late.shape[1]
    else:
        fold = np.repeat(_same_inputs(x) % folds, late.shape[1])
    flat = late.reshape(-1, y.shape[2])
    there = np.isfinite(flat).all(1)
    return past[there], flat[there], fold[there]


def _same_inputs(x: Float[np.ndarray, "trial time d"]) -> Int[np.ndarray, " trial"]:
    """A number for each trial, the same for trials of the same inputs; in the order in which they first come."""
    _, first, which = np.unique(x.reshape(len(x), -1), axis=0, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[which.ravel()]


def _moments(x: Float[np.ndarray, "sample m"], y: Float[np.ndarray, "sample k"]) -> _Moments:
    return _Moments(len(x), x.sum(0), y.sum(0), x.T @ x, x.T @ y)


def _added(parts: list[_Moments]) -> _Moments:
    return _Moments(*(sum(column) for column in zip(*parts, strict=True)))  # type: ignore[arg-type]


def _ridge(moments: _Moments, ridges: tuple[float, ...], kept: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Coefficients (m, k) and intercepts (k,) at each penalty."""
    count = max(moments.samples, 1)
    centre_x, centre_y = moments.x / count, moments.y / count
    values, vectors = np.linalg.eigh(moments.xx - count * np.outer(centre_x, centre_x))
    seen = vectors.T @ (moments.xy - count * np.outer(centre_x, centre_y))[:, :kept]
    scale, least = max(float(values.mean()), 0.0), np.finfo(float).eps * len(values) * max(float(values.max()), 0.0)
    slopes = []
    for ridge in ridges:
        held = values + ridge * scale
        # what no input ever moved along has no coefficient
        inverse = np.where(held > least, 1 / np.maximum(held, 1e-300), 0.0)
        slopes.append(vectors @ (inverse[:, None] * seen))
    return slopes, [centre_y[:kept] - centre_x @ slope for slope in slopes]


def _squares(
    x: Float[np.ndarray, "sample m"], y: Float[np.ndarray, "sample n"], fit: tuple[list[np.ndarray], list[np.ndarray]]
) -> Float[np.ndarray, "ridge n"]:
    """The squared errors of prediction."""
    return np.stack([((y - x @ slope - offset) ** 2).sum(0) for slope, offset in zip(*fit, strict=True)])


def _jackknife(slopes: Float[np.ndarray, "fold m n"]) -> Float[np.ndarray, " m"]:
    """The expected length of the error of each direction, from fits that each leave out one fold."""
    folds = len(slopes)
    return np.sqrt((folds - 1) / folds * ((slopes - slopes.mean(0)) ** 2).sum((0, 2)))


def _ceiling(h: Float[np.ndarray, "trial time n"], x: Float[np.ndarray, "trial time d"], ages: int) -> float:
    """The share of the variance that repeats of the same inputs have in common; NaN without repeats."""
    which, late = _same_inputs(x), h[:, ages - 1 :]
    groups = [late[which == g] for g in np.unique(which) if (which == g).sum() > 1]
    if not groups or len(np.unique(which)) < 2:
        return float("nan")
    within = np.concatenate([np.nanvar(group, axis=0, ddof=1).ravel() for group in groups])
    every = np.concatenate([group.reshape(-1, h.shape[2]) for group in groups])
    return float(1 - np.nanmean(within) / np.nanmean(np.nanvar(every, axis=0)))
