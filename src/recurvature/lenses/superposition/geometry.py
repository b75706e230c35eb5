r"""How a network packs its past: what no choice of state coordinates changes, the angles that one does, a verdict.

Everything hangs on the projections $A_s$ and directions $W_s$ by age; `geometry` takes them from weights, `geometry_of`
from arrays, for instance the responses of a network of any kind.
"""

from typing import ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from recurvature._errors import InputError, check_count, check_shape
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.masks import MaskRadii
from recurvature.lenses.superposition.models import Weights, check_delay, directions, projections
from recurvature.lenses.superposition.stationary import balanced_directions
from recurvature.tasks.recall import SUPERPOSITION

DENSE, SPARSE, ALTERNATING, MIXED, NOT_STORED = range(5)
REGIMES = ("dense", "sparse", "alternating", "mixed", "not stored")
"""What the numbers in `Geometry.regime` mean (docs eq. S.26).

- `sparse`: younger features project onto the silent side of the readout ($\\psi$ > 1/2), by a turn of 150° to 300°.
- `dense`: they do not, and the turn is below 150°; the network is effectively linear.
- `alternating`: the projection changes sign at every age, by an eigenvalue at more than 150°.
- `mixed`: none of these.
- `not stored`: the feature itself is not read out ($A_k[i,i]$ ≤ 1/2).

Where no eigenvalues are known, the turn is left out of the conditions, and `k_theta` is NaN.
"""

SHARP, SMOOTH = 0, 1
FORGETTING = ("sharp", "smooth")
"""Sharp: right after it is due a feature has lost 95 % of the length of its direction, or of its projection."""

_FREE, _STORED, _GONE = 1e-3, 0.5, 0.05
_NOTHING = 1e-6
"""A direction shorter than this is not there."""


class Geometry(AbstractResult):
    r"""The packing of past features by a network that recalls features of `delay` steps ago (docs eq. S.21-S.26).

    Dimension `o` runs over the features that are to be recalled. Free of the choice of state coordinates are: the
    projections and what is made of them, eigenvalues, and `interference`, the Gram matrix under the inverse covariance
    of the state, whose diagonal is the memory capacity. Angles and lengths in the space of states are not. NaN: not
    known, or 0/0.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    age: Float[Values, " age"] = eqx.field(metadata={"units": "steps"})
    projection: Float[Values, "age o d"]
    """$A_s$."""
    direction: Float[Values, "age n d"]
    """$W_s$."""
    stored: Float[Values, " o"]
    """$A_k[i,i]$."""
    order_parameter: Float[Values, " o"]
    r"""$\psi$: of the squared projections of younger ages, the share that is negative."""
    packing: Float[Values, " o"]
    r"""$\Pi_a$: the same over all ages but k."""
    packing_length: Float[Values, " o"]
    r"""$\Pi_w$: of the squared lengths of all ages but k, the share of those with $a_s\le0$; depends on coordinates."""
    free: Float[Values, " o"]
    """The share of other ages with $a_s$ at most a thousandth of $a_k$: in the interference-free half-space."""
    free_younger: Float[Values, " o"]
    """The same of younger ages."""
    sharpness: Float[Values, " o"]
    r"""$F = a_k^2/\sum_{s\ge k}a_s^2$; 1 where a feature is forgotten at once."""
    k_theta: Float[Values, " o"] = eqx.field(metadata={"units": "deg"})
    r"""$k\bar\theta$, arguments of eigenvalues weighted by their part in $a_k$."""
    regime: Int[Values, " o"]
    forgetting: Int[Values, " o"]
    spatial: Float[Values, " o"]
    """Squared projections of other features of age k."""
    modulus: Float[Values, " k"]
    """Moduli of the eigenvalues of the recurrence, the largest first; empty where there are none."""
    angle: Float[Values, " k"] = eqx.field(metadata={"units": "deg"})
    interference: Float[Values, "direction other"]
    r"""$w_s^\top P^{-1}w_r$ of all ages and features (age first)."""
    gram: Float[Values, "direction other"]
    r"""$w_s\cdot w_r$."""
    cosine: Float[Values, "direction other"]
    """Cosines of the angles between directions."""
    dimensionality: Float[Values, "age d"]
    r"""$\lVert w\rVert^2/\sum_r(\hat w\cdot w_r)^2$: the share of a dimension that a direction has to itself."""
    cumulative_angle: Float[Values, " d"] = eqx.field(metadata={"units": "deg"})
    r"""The turn of $w_0$ to $w_k$, signed in two dimensions; the sum of angles in more."""
    path_angle: Float[Values, " d"] = eqx.field(metadata={"units": "deg"})
    """The sum of the angles from age to age, all taken positive."""
    decay: Float[Values, " d"]
    r"""The factor by which directions shrink at every age after k: a fit of $\log\lVert w_s\rVert$ (docs eq. S.60)."""
    effective_dimension: float
    r"""$(\mathrm{tr}\,\Gamma)^2/\lVert\Gamma\rVert_F^2$ of the Gram matrix of ages 0 to k."""
    load: float
    """(k + 1) times the number of stored features over the number of units; above 1 is superposition."""
    delay: int
    mask_radius: Float[Values, " mask"] = eqx.field(default_factory=lambda: np.empty(0))
    """Of a relu recurrence, the spectral radius of its Jacobian under every set of active units that was met, the most
    frequent first (`mask_radii`, docs eq. S.77); empty where no masks are given."""
    mask_share: Float[Values, " mask"] = eqx.field(default_factory=lambda: np.empty(0))
    """The share of steps with each."""

    @property
    def tail(self) -> Float[np.ndarray, " o"]:
        """$1/F - 1$: what is still read out after a feature was due, over what was read when it was."""
        return 1 / np.asarray(self.sharpness) - 1

    @property
    def half_turns(self) -> Float[np.ndarray, " o"]:
        r"""$\Phi = k\bar\theta/180°$."""
        return np.asarray(self.k_theta) / 180

    @property
    def n_stored(self) -> int:
        """The number of features with $A_k[i,i]$ > 1/2."""
        return int((np.asarray(self.stored) > _STORED).sum())

    @property
    def regimes(self) -> tuple[str, ...]:
        """The verdict on each feature, in words."""
        return tuple(REGIMES[code] for code in np.asarray(self.regime))


def geometry(weights: Weights, delay: int, *, ages: int | None = None) -> Geometry:
    r"""The geometry of a linear recurrence under any readout.

    `ages` are counted from 0 on; by default $\max(2k+2, \log10^{-3}/\log\rho)$, at most 200. The interference needs a
    spectral radius below 1 and is NaN otherwise.
    """
    check_delay(delay)
    recurrent, inputs, readout = (np.asarray(w, float) for w in (weights.recurrent, weights.inputs, weights.readout))
    eigenvalues, parts = eigenparts(recurrent, inputs, readout, delay)
    radius = float(np.abs(eigenvalues).max())
    ages = _default_ages(delay, radius) if ages is None else ages
    check_count(ages=ages)
    a = np.asarray(projections(weights, ages), float)
    w = np.asarray(directions(weights.recurrent, weights.inputs, ages), float)
    inner = None
    if radius < 1:
        flat = _columns(balanced_directions(weights.recurrent, weights.inputs, ages)[0])
        inner = flat.T @ flat
    weight = np.abs(parts)
    with np.errstate(invalid="ignore"):
        mean_angle = (weight @ np.abs(np.angle(eigenvalues))) / weight.sum(1)
    return _geometry(a, w, delay, np.rad2deg(mean_angle), eigenvalues, inner)


def geometry_of(
    projection: Float[Array, "age o d"] | Float[np.ndarray, "age o d"],
    direction: Float[Array, "age n d"] | Float[np.ndarray, "age n d"],
    delay: int,
    *,
    masks: MaskRadii | None = None,
) -> Geometry:
    """The geometry of given projections and directions by age: no eigenvalues but those of `masks`, if they are given.

    The covariance under which directions interfere is that of white input over the ages given (docs eq. S.61).
    """
    a, w = np.asarray(projection, float), np.asarray(direction, float)
    check_delay(delay)
    check_shape("direction", w, (len(a), None, a.shape[2]))
    return _geometry(a, w, delay, np.full(a.shape[1], np.nan), np.empty(0), _projector(_columns(w)), masks)


def _default_ages(delay: int, radius: float) -> int:
    decay = np.log(1e-3) / np.log(radius) if 0 < radius < 1 else 0.0
    return int(min(200, max(2 * delay + 2, np.ceil(decay))))


def eigenparts(
    recurrent: Float[np.ndarray, "n n"], inputs: Float[np.ndarray, "n d"], readout: Float[np.ndarray, "o n"], delay: int
) -> tuple[np.ndarray, np.ndarray]:
    r"""Eigenvalues, the largest first, and the parts $c_i\lambda_i^k$ of each feature's projection, (o, n)."""
    values, right = np.linalg.eig(recurrent)
    driven = np.linalg.lstsq(right, inputs.astype(complex), rcond=None)[0]
    shared = min(len(readout), driven.shape[1])
    parts = (readout @ right)[:shared] * driven.T[:shared] * values[None, :] ** delay
    order = np.argsort(-np.abs(values), kind="stable")
    return values[order], parts[:, order]


def _projector(columns: Float[np.ndarray, "n i"]) -> Float[np.ndarray, "i i"]:
    r"""$C^\top(CC^\top)^+C$, the projector on the rows of C."""
    _, values, rows = np.linalg.svd(columns, full_matrices=False)
    kept = rows[values > max(columns.shape) * np.finfo(float).eps * values.max(initial=0.0)]
    return kept.T @ kept


def _columns(w: Float[np.ndarray, "age n d"]) -> Float[np.ndarray, "n direction"]:
    return np.moveaxis(w, 1, 0).reshape(w.shape[1], -1)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The quotient; NaN where the whole is not positive."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def _geometry(
    a: Float[np.ndarray, "age o d"],
    w: Float[np.ndarray, "age n d"],
    delay: int,
    mean_angle: Float[np.ndarray, " o"],
    eigenvalues: np.ndarray,
    inner: np.ndarray | None,
    masks: MaskRadii | None = None,
) -> Geometry:
    if len(a) < delay + 2 or a.shape[1] > a.shape[2]:
        raise InputError(
            f"a delay of {delay} needs ages 0 to {delay + 1} or more, and a feature for each output; "
            f"got {len(a)} ages, {a.shape[1]} outputs and {a.shape[2]} features."
        )
    own = np.diagonal(a, axis1=1, axis2=2)
    negative, square, others = np.minimum(own, 0) ** 2, own**2, np.arange(len(a)) != delay
    is_free = own <= _FREE * own[delay]
    columns, stored = _columns(w), own[delay]
    gram, lengths = columns.T @ columns, np.linalg.norm(w, axis=1)
    psi = silent_share(own, delay)
    k_theta = delay * mean_angle
    return Geometry(
        age=np.arange(len(a), dtype=float),
        projection=a,
        direction=w,
        stored=stored,
        order_parameter=psi,
        packing=ratio(negative[others].sum(0), square[others].sum(0)),
        packing_length=_packing_length(own, lengths, others),
        free=is_free[others].mean(0),
        free_younger=is_free[:delay].mean(0) if delay else np.full(len(stored), np.nan),
        sharpness=ratio(square[delay], square[delay:].sum(0)),
        k_theta=k_theta,
        regime=np.where(stored > _STORED, packing_regimes(own, delay, psi, mean_angle), NOT_STORED),
        forgetting=_forgetting(own, lengths, delay),
        spatial=(a[delay] ** 2).sum(1) - square[delay],
        modulus=np.abs(eigenvalues),
        angle=np.rad2deg(np.abs(np.angle(eigenvalues))),
        interference=np.full_like(gram, np.nan) if inner is None else inner,
        gram=gram,
        cosine=_cosines(gram),
        dimensionality=_dimensionality(gram).reshape(lengths.shape),
        cumulative_angle=turn_of(w[: delay + 1]),
        path_angle=_steps(w[: delay + 1]).sum(0),
        decay=_decay(lengths[delay + 1 :]),
        effective_dimension=_effective(_columns(w[: delay + 1])),
        load=(delay + 1) * float((stored > _STORED).sum()) / w.shape[1],
        delay=delay,
        mask_radius=np.empty(0) if masks is None else np.asarray(masks.radius),
        mask_share=np.empty(0) if masks is None else np.asarray(masks.share),
    )


def silent_share(own: Float[np.ndarray, "age o"], delay: int) -> Float[np.ndarray, " o"]:
    r"""$\psi$ of each feature from its projections (docs eq. S.21); NaN where there are no younger ones."""
    younger = own[:delay]
    return ratio((np.minimum(younger, 0) ** 2).sum(0), (younger**2).sum(0))


def packing_regimes(
    own: Float[np.ndarray, "age o"], delay: int, psi: Float[np.ndarray, " o"], angle: Float[np.ndarray, " o"]
) -> Int[np.ndarray, " o"]:
    """The regime of each feature from its projections, whether it is stored or not (docs eq. S.26)."""
    turn, unknown = delay * angle, np.isnan(angle)
    flips = (own[:delay] * own[1 : delay + 1] < 0).all(0) & (delay > 1)
    alternating = flips & (unknown | (angle > 150))
    sparse = (psi > 0.5) & (unknown | ((turn > 150) & (turn < 300)))
    # of a delay of 0 there are no younger ages, and nothing to pack in time
    dense = (~(psi > 0.5)) & (unknown | (turn < 150))
    return np.select([alternating, sparse, dense], [ALTERNATING, SPARSE, DENSE], MIXED)


def _forgetting(
    own: Float[np.ndarray, "age o"], lengths: Float[np.ndarray, "age d"], delay: int
) -> Int[np.ndarray, " o"]:
    length = lengths[:, : own.shape[1]]
    # a relu may also leave a direction that it never reads again: then all later projections are negative or small
    gone = length[delay + 1] < _GONE * length[delay]
    unread = (np.maximum(own[delay + 1 :], 0) < _GONE * np.abs(own[delay])).all(0)
    return np.where(gone | unread, SHARP, SMOOTH)


def _cosines(gram: Float[np.ndarray, "i i"]) -> Float[np.ndarray, "i i"]:
    lengths = np.sqrt(np.diagonal(gram))
    both = np.outer(lengths, lengths)
    return np.divide(gram, both, out=np.full(gram.shape, np.nan), where=both > 0)


def _dimensionality(gram: Float[np.ndarray, "i i"]) -> Float[np.ndarray, " i"]:
    square = np.diagonal(gram)
    return np.where(square > _NOTHING**2, square**2 / np.maximum((gram**2).sum(1), 1e-300), 0.0)


def _effective(columns: Float[np.ndarray, "n i"]) -> float:
    gram = columns.T @ columns
    return float(ratio(np.array(np.trace(gram) ** 2), np.array((gram**2).sum())))


def turn_of(w: Float[np.ndarray, "age n d"]) -> Float[np.ndarray, " d"]:
    """Degrees from first to last: with their sign in the plane, of which the sum is taken absolute."""
    if w.shape[1] != 2:
        return _steps(w).sum(0)
    phase = np.arctan2(w[:, 1], w[:, 0])
    steps = np.mod(np.diff(phase, axis=0) + np.pi, 2 * np.pi) - np.pi
    return np.rad2deg(np.abs(steps.sum(0)))


def _steps(w: Float[np.ndarray, "age n d"]) -> Float[np.ndarray, "step d"]:
    """Degrees from age to age."""
    unit = w / np.maximum(np.linalg.norm(w, axis=1, keepdims=True), 1e-300)
    # half angles keep the digits of small turns, which an arc cosine loses
    near, far = (np.linalg.norm(unit[1:] + sign * unit[:-1], axis=1) for sign in (1, -1))
    return np.rad2deg(2 * np.arctan2(far, near))


def _packing_length(
    own: Float[np.ndarray, "age o"], lengths: Float[np.ndarray, "age d"], others: Bool[np.ndarray, " age"]
) -> Float[np.ndarray, " o"]:
    square = lengths[others, : own.shape[1]] ** 2
    return ratio((square * (own[others] <= 0)).sum(0), square.sum(0))


def _decay(lengths: Float[np.ndarray, "age d"]) -> Float[np.ndarray, " d"]:
    """The slope of logarithms by least squares; NaN where fewer than two directions are left."""
    there, age = lengths > _NOTHING, np.arange(len(lengths))[:, None]
    logs, count = np.log(np.where(there, lengths, 1.0)), there.sum(0)
    centred = np.where(there, age - ratio((age * there).sum(0), count), 0.0)
    return np.exp(ratio((centred * logs).sum(0), (centred**2).sum(0)))
