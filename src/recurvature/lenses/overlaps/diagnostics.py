"""Units for a course of overlaps: what Gaussian weights that begin there, or a network's own, say of it on the way."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array, Bool, Float, Int

from recurvature._errors import InputError
from recurvature.lenses.overlaps.closure import DIRECTIONS, Closure, Mixture, compared, gathered
from recurvature.lenses.overlaps.construct import shaped
from recurvature.lenses.overlaps.descent import Loss, Rule, closure_of, phi_of
from recurvature.lenses.overlaps.layout import Regime
from recurvature.lenses.overlaps.losses import DataLoss
from recurvature.lenses.overlaps.record import Learning
from recurvature.lenses.overlaps.status import NON_FINITE, NOT_GAUSSIAN, OK, Diagnostics

UNITS, TRIALS = 1000, 8
"""How many units are drawn, for each population, and on how many trials they are run."""
LOOKS = 5
"""At how many records of a course the closure is tested, unless the caller says otherwise."""
# a course whose estimated error is more than this share of what it forecasts is not trusted
LARGEST_SHARE = 0.1


class Leg(NamedTuple):
    """A stretch of a course: the records of it, and the loss, the data of every step and the rule that made them.

    Of several populations matrices and propagators have an axis more, before the last two.
    """

    loss: Loss
    data: Any
    rule: Rule
    steps: Int[np.ndarray, " step"]
    time: Float[np.ndarray, " step"]
    matrix: Float[np.ndarray, "step *population a a"]
    propagator: Float[np.ndarray, "step *population a a"]
    norm: Float[np.ndarray, " step"]

    def sample(self, record: int, trials: int | None) -> DataLoss:
        """What the units are run on at a record: the data of its step, no more than `trials` of them."""
        last = 0 if self.data is None else len(jax.tree.leaves(self.data)[0]) - 1
        step = min(int(self.steps[record]), last)
        datum = () if self.data is None else (jax.tree.map(lambda x: x[step], self.data),)
        found: DataLoss = self.loss.sample(*datum)  # type: ignore[attr-defined]
        # with a mask in any case, so that all of them share one program
        mask = jnp.ones(found.inputs.shape[:2], found.inputs.dtype) if found.mask is None else found.mask
        dtype = jnp.asarray(self.matrix).dtype
        x, y, mask = (jnp.asarray(a[:trials], dtype) for a in (found.inputs, found.targets, mask))
        return dataclasses.replace(found, inputs=x, targets=y, mask=mask)


def leg_of(learning: Learning, loss: Loss, data: Any, rule: Rule | float) -> Leg:
    """A course as a leg of a longer one."""
    rule = rule if isinstance(rule, Rule) else Rule(rule)
    arrays = (np.asarray(getattr(learning, n)) for n in ("count", "time", "matrix", "propagator", "gradient_norm"))
    return Leg(loss, data, rule, *arrays)


def check_looks(looks: int) -> None:
    """Raise unless `looks` is 0, or enough to see where a course begins and ends."""
    if looks and (isinstance(looks, bool) or looks < 2):
        raise InputError(
            f"`looks` must be 0, which tests nothing, or at least 2: the start and the end; got {looks!r}."
        )


def vectors_of(overlaps: Any) -> Float[np.ndarray, "n a"] | None:
    """The vectors of the network whose overlaps these are, where it is known."""
    return None if getattr(overlaps, "vectors", None) is None else np.asarray(overlaps.vectors)


class Judgement(NamedTuple):
    """What the units say: the tests, which of `status.CLOSURE`, and for every record whether a test has failed."""

    diagnostics: Diagnostics
    closure: str
    lost: Bool[np.ndarray, " step"]


def marked(status: Int[Any, "*run step"], lost: Bool[np.ndarray, "*run step"]) -> Int[np.ndarray, "*run step"]:
    """A status of all records, `not_gaussian` where they are lost."""
    status = np.asarray(status)
    return np.where(lost & (status != NON_FINITE), NOT_GAUSSIAN, status).astype(status.dtype)


def judge(
    legs: Sequence[Leg],
    *,
    looks: int,
    vectors: Float[Any, "n a"] | None = None,
    regime: Regime = "linear",
    trials: int | None = TRIALS,
    fractions: Float[np.ndarray, " population"] | None = None,
) -> Judgement:
    """Run units along a course, at `looks` records of every leg, and test the closure on them.

    They are the `vectors` of the network that begins there, or drawn; `closure` is then `checked` or `drawn`. What is
    linear is exact, and what cannot be tested says why. From the first test that fails on, all records are lost.
    `fractions` are the shares of the populations of a mixture.
    """
    closure = closure_of(*(leg.loss for leg in legs), regime=regime)
    lost = np.zeros(sum(len(leg.time) for leg in legs), bool)
    why = "units are linear: nothing is assumed" if closure == "exact" else _why_not(legs, looks)
    if why:
        return Judgement({"untested": why}, closure, lost)
    start = legs[0].matrix[0]
    own = vectors is not None and len(vectors) > len(start)
    if fractions is None:
        theta, shares = np.asarray(vectors if own else drawn(start, UNITS)), np.ones(1)
    else:
        theta, shares = np.concatenate([drawn(each, UNITS) for each in start]), fractions
    group = np.repeat(np.arange(len(shares)), len(theta) // len(shares))
    records, found, errors, trials = _looked(
        legs, theta, Mixture.of(group, shares, theta.dtype), looks, trials, own=own
    )
    moved = np.abs(np.concatenate([leg.matrix for leg in legs])[records] - start).reshape(len(records), -1).max(1)
    failed = (np.asarray(found.status) != OK) | (errors > LARGEST_SHARE * moved)
    if failed.any():
        lost[records[failed.argmax()] :] = True
    return Judgement(_said(found, records, errors, failed, own, trials), "checked" if own else "drawn", lost)


def _why_not(legs: Sequence[Leg], looks: int) -> str:
    """Why no units can be run along nonlinear legs; empty where they can."""
    if looks == 0:
        return "nobody has looked: `looks` is 0"
    for leg in legs:
        if phi_of(leg.loss) == "identity":
            return "a loss does not say by an attribute `phi` which nonlinearity its units have"
        if not hasattr(leg.loss, "sample"):
            return "a loss does not say by a method `sample(*data)` on which data its units are to be run"
        if leg.rule.noise is not None:
            return "noise on the weights is followed in the mean of the overlaps: no single network is known"
        if not np.isfinite(leg.propagator[0]).all():
            return "the control moves overlaps and not weights: there is no network that follows it"
    return ""


def drawn(overlaps: Float[np.ndarray, "a a"], units: int) -> Float[Array, "n a"]:
    """Vectors with the given overlaps whose rows lie as evenly as points of a normal distribution can; no key is asked.

    Halton's sequence, its places taken by rank so that every column is spread evenly by itself, through the inverse of
    the normal distribution.
    """

    def evenly(columns: int, dtype: Any) -> Float[np.ndarray, "n k"]:
        from scipy.stats import qmc

        # shifted by half, so that the sequence begins in the middle and not in a corner
        places = (qmc.Halton(columns, scramble=False).random(units) + 0.5) % 1
        return scipy.special.ndtri((places.argsort(0).argsort(0) + 0.5) / units).astype(dtype)

    return shaped(overlaps, units, evenly)


def _looked(
    legs: Sequence[Leg], theta: Float[np.ndarray, "n a"], mixture: Mixture, looks: int, trials: int | None, *, own: bool
) -> tuple[Int[np.ndarray, " look"], Closure, Float[np.ndarray, " look"], int]:
    """Records that were looked at, the tests there, estimated errors of the overlaps (O.47), and trials run."""
    directions = drawn(np.eye(theta.shape[1], dtype=theta.dtype), UNITS)[:DIRECTIONS]
    records, seen, errors, offset = [], [], [], 0
    way = np.zeros_like(theta)
    for leg in legs:
        before = None
        for record in chosen(leg, looks):
            data = leg.sample(record, trials)
            seen.append(compared(jnp.asarray(_moved(theta, leg.propagator[record])), data, directions, mixture))
            here = np.asarray(seen[-1]["unseen"]) * np.asarray(leg.rule.factors(data.layout, theta.dtype))
            if before is not None:
                first, second = spans(leg, before[0], record)
                way = way + first * before[1] + second * here
            before = record, here
            records.append(offset + record)
            errors.append(float(np.abs(mixture.overlaps(jnp.asarray(way), jnp.asarray(way))).max()))
        theta, offset = _moved(theta, leg.propagator[record]), offset + len(leg.time)
    found = gathered(seen, data, mixture, projections=DIRECTIONS, gaussian=not own)
    return np.array(records), found, np.array(errors), len(data.inputs)


def _moved(theta: Float[np.ndarray, "n a"], propagator: Float[np.ndarray, "*population a a"]) -> Any:
    """The vectors after learning, of units that stand population by population."""
    if propagator.ndim == 2:
        return theta @ propagator
    return (theta.reshape(len(propagator), -1, theta.shape[1]) @ propagator).reshape(theta.shape)


def chosen(leg: Leg, looks: int) -> list[int]:
    """Finite records at equal parts of the way that the weights go, first and last among them; all if they are few."""
    known = (x.reshape(len(x), -1) for x in (leg.propagator, leg.matrix, leg.norm))
    finite = np.isfinite(np.concatenate([*known], axis=1)).all(1)
    count = len(finite) if finite.all() else max(int(finite.argmin()), 1)
    if count <= looks:
        return list(range(count))
    gone = _summed(leg.norm[:count], leg.time[:count])
    if not gone[-1] > 0:
        return sorted(set(np.linspace(0, count - 1, looks).round().astype(int).tolist()))
    places = np.searchsorted(gone / gone[-1], np.linspace(0, 1, looks))
    return sorted({0, *places[1:-1].tolist(), count - 1})


def spans(leg: Leg, first: int, second: int) -> tuple[float, float]:
    r"""How long a force counts that is known at two records of a leg, for each of them (docs eq. O.47).

    In between it is taken for affine in the norm of the gradient, which is known at all records. A step is as long as
    clipping leaves it; momentum of either kind adds up to $1/(1-\beta)$ of them.
    """
    norm, time = (x[first : second + 1] for x in (leg.norm, leg.time))
    length = np.ones(len(norm)) if leg.rule.clip is None else np.minimum(1, leg.rule.clip / np.maximum(norm, 1e-300))
    if leg.rule.name != "gradient":
        length = np.full(len(norm), np.nan)
    fall = norm[0] - norm[-1]
    share = (norm - norm[-1]) / fall if fall else np.linspace(1, 0, len(norm))
    share = np.clip(share, 0, 1)
    first_span, second_span = (float(_summed(length * s, time)[-1]) for s in (share, 1 - share))
    return first_span / (1 - leg.rule.momentum), second_span / (1 - leg.rule.momentum)


def _summed(values: Float[np.ndarray, " step"], time: Float[np.ndarray, " step"]) -> Float[np.ndarray, " step"]:
    """The integral up to every record, by the trapezoidal rule."""
    return np.concatenate([[0.0], np.cumsum((values[1:] + values[:-1]) / 2 * np.diff(time))])


def _said(
    found: Closure,
    records: Int[np.ndarray, " look"],
    errors: Float[np.ndarray, " look"],
    failed: Bool[np.ndarray, " look"],
    own: bool,
    trials: int | None,
) -> Diagnostics:
    return {
        "untested": "",
        "units": found.units,
        "own": own,
        "trials": trials,
        "record": records.tolist(),
        **{name: np.asarray(getattr(found, name), float).tolist() for name in TESTS},
        "kurtosis": found.largest.astype(float).tolist(),
        "error": errors.tolist(),
        "trusted": (~np.logical_or.accumulate(failed)).tolist(),
        "largest_defect": found.largest_defect,
        "largest_kurtosis": found.largest_kurtosis,
    }


def _limit(said: Diagnostics, name: str) -> float:
    """The largest defect that is no fault, at any of the looks."""
    return max(said["largest_defect"], 3 * max(said[f"{name}_error"]))


TESTS = (
    "energy_ratio",
    "closure_defect",
    "gain_defect",
    "closure_error",
    "gain_error",
    "velocity_defect",
    "outside",
    "loss",
    "predicted_loss",
)


def checked(learning: Learning, found: Closure) -> Learning:
    """`learning` with the verdicts of `closure(theta, loss, key=…, learning=learning)` in its status.

    From the first record at which a test fails on, the status is `not_gaussian`: what has been lost stays lost. Raises
    `InputError` where `found` is of other vectors or other records.
    """
    if found.columns != learning.columns or len(found.status) != len(learning.status):
        raise InputError(
            f"`found` tests {len(found.status)} records of the vectors {found.columns}, `learning` has "
            f"{len(learning.status)} of {learning.columns}: make it by closure(theta, loss, key=…, learning=learning)."
        )
    records, failed = np.arange(len(found.status)), np.asarray(found.status) != OK
    said = _said(found, records, np.full(len(records), np.nan), failed, own=True, trials=None)
    return judged(learning, Judgement(said, "checked", np.logical_or.accumulate(failed)))


def judged(learning: Learning, judgement: Judgement) -> Learning:
    """A course with what units say of it."""
    status = marked(learning.status, judgement.lost)
    return dataclasses.replace(learning, status=status, closure=judgement.closure, diagnostics=judgement.diagnostics)


def diagnostics_in_words(diagnostics: Diagnostics) -> str:
    """The field `diagnostics` of a result as a sentence: what was tested, the numbers, and whether to trust them."""
    if diagnostics["untested"]:
        return f"The closure was not tested: {diagnostics['untested']}."
    said, bad = (
        diagnostics,
        [r for r, fine in zip(diagnostics["record"], diagnostics["trusted"], strict=True) if not fine],
    )
    limit = f"(limits {_limit(said, 'closure'):.2g} and {_limit(said, 'gain'):.2g})"
    kurtosis = f", excess kurtosis {max(said['kurtosis'], key=abs):.2g} (limit {said['largest_kurtosis']:.2g})"
    return (
        f"On {said['units']} {'units of the network' if said['own'] else 'drawn units'}: energy ratio up to "
        f"{max(said['energy_ratio']):.3g}, defects of closure {max(said['closure_defect']):.2g} and gain "
        f"{max(said['gain_defect']):.2g} {limit}{kurtosis if said['own'] else ''}, estimated error of the overlaps "
        f"{said['error'][-1]:.2g} at the end; "
        + (f"not to be trusted from record {bad[0]} on." if bad else "no test failed.")
    )
