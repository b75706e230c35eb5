r"""There and back: what a closed sequence of tasks leaves behind in overlaps that the function does not show."""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError, NumericalError, check_positive
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.conditions import Conditions, memory_conditions
from recurvature.lenses.overlaps.coordinates import OVERLAPS, Overlaps
from recurvature.lenses.overlaps.descent import Loss, Rule
from recurvature.lenses.overlaps.diagnostics import LOOKS, check_looks, judge, leg_of, marked, vectors_of
from recurvature.lenses.overlaps.extrapolate import extrapolate
from recurvature.lenses.overlaps.layout import AbstractCourse, Layout, Regime, to_pairs
from recurvature.lenses.overlaps.learning import _start, descend, flow
from recurvature.lenses.overlaps.record import Learning
from recurvature.lenses.overlaps.status import Diagnostics


class RoundTrip(AbstractCourse, AbstractResult):
    r"""Learning of task A, then B, then A again (docs eq. O.53).

    `displacement` is the change of each overlap from the end of the first A to the end of the second at steps of size
    0: the holonomy of the loop. `by_rate` is the same of gradient descent at each rate, for as long (rate times
    steps), and `extrapolated` is its limit by `overlaps.extrapolate`: a second route to `displacement`.
    `excursion` is the change from A to B. `matrix` is the course of the flow.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    time: Float[Values, " step"] = eqx.field(metadata={"units": "rate times steps"})
    phase: Int[Values, " step"] = eqx.field(metadata={"long_name": "0: A, 1: B, 2: A again"})
    matrix: Float[Values, "step a b"]
    loss: Float[Values, " step"]
    status: Int[Values, " step"]
    excursion: Float[Values, " pair"]
    displacement: Float[Values, " pair"]
    rate: Float[Values, " rate"]
    by_rate: Float[Values, "rate pair"]
    extrapolated: Float[Values, " pair"]
    columns: tuple[str, ...]
    outputs: int
    rank: int
    inputs: int
    closure: str
    """Whether Gaussian weights were assumed, and tested: one of `status.CLOSURE`."""
    diagnostics: Diagnostics
    """Of one and the same units all the way."""
    conditions: Conditions

    @property
    def return_error(self) -> float:
        """The largest displacement as a share of the largest excursion."""
        return float(np.abs(np.asarray(self.displacement)).max() / np.abs(np.asarray(self.excursion)).max())


def round_trip(
    first: Loss,
    second: Loss,
    overlaps: Overlaps | Float[Any, "a a"],
    *,
    duration: float,
    rate: float = 5e-3,
    levels: int = 3,
    layout: Layout | None = None,
    samples: int = 200,
    looks: int = LOOKS,
    regime: Regime | None = None,
    rtol: float = 1e-11,
    dt: float | None = None,
) -> RoundTrip:
    r"""A–B–A on the losses `first` and `second`, each phase for `duration` (rate times steps).

    Choose `duration` so that every phase converges; `conditions` holds the losses at their ends. Descent runs at
    `levels` rates, `rate` and its halves; `rate` divides `duration`. `looks`: see `descend`. A rate at which descent
    diverges gives NaN; raises `NumericalError` where the flow itself cannot be solved.
    """
    check_positive(duration=duration, rate=rate)
    check_looks(looks)
    if abs(duration / rate - round(duration / rate)) > 1e-6:
        raise InputError(f"`duration` = {duration} must be a whole number of steps of `rate` = {rate}.")
    start, which, dt = _start(overlaps, layout, dt)
    options: dict[str, Any] = {"layout": which, "dt": dt}
    legs: list[Learning] = []
    at: Any = start
    for loss in (first, second, first):
        legs.append(flow(loss, at, duration=duration, samples=samples, rtol=rtol, looks=0, **options))
        at = np.asarray(legs[-1].matrix)[-1]
        if not np.isfinite(at).all():
            raise NumericalError("the flow did not arrive at the end of a phase: shorten `duration`.", legs[-1])
    steps = extrapolate(lambda eta: _descended(first, second, start, eta, duration, options), rate, levels=levels)
    ends = [to_pairs(np.asarray(leg.matrix)[-1], which) for leg in legs]
    kind: Regime = regime or ("gaussian" if getattr(overlaps, "regime", "linear") != "linear" else "linear")
    displacement = ends[2] - ends[0]
    losses = zip(legs, (first, second, first), strict=True)
    judgement = judge(
        [leg_of(leg, loss, None, Rule(1.0)) for leg, loss in losses],
        looks=looks,
        vectors=vectors_of(overlaps),
        regime=kind,
    )
    return RoundTrip(
        time=np.concatenate([np.asarray(leg.time) + k * duration for k, leg in enumerate(legs)]),
        phase=np.repeat(np.arange(3), samples + 1),
        matrix=np.concatenate([leg.matrix for leg in legs]),
        loss=np.concatenate([leg.loss for leg in legs]),
        status=marked(np.concatenate([leg.status for leg in legs]), judgement.lost),
        excursion=ends[1] - ends[0],
        displacement=displacement,
        rate=steps.rate,
        by_rate=steps.values,
        extrapolated=steps.limit,
        columns=which.columns,
        outputs=which.outputs,
        rank=which.rank,
        inputs=which.inputs,
        closure=judgement.closure,
        diagnostics=judgement.diagnostics,
        conditions=memory_conditions(
            first,
            np.asarray(start),
            np.asarray(legs[2].matrix)[-1],
            which,
            regime=kind,
            final_loss=np.array([leg.loss[-1] for leg in legs]),
            displacement=float(np.abs(displacement).max()),
            noise=(0.0, 0.0, 0.0),
        ),
    )


def _descended(
    first: Loss, second: Loss, start: Any, rate: float, duration: float, options: dict[str, Any]
) -> Float[np.ndarray, " pair"]:
    """What gradient descent of one rate leaves behind; NaN where it diverges."""
    steps, at, ends = round(duration / rate), start, []
    for loss in (first, second, first):
        learning = descend(loss, at, rate, steps=steps, every=steps, looks=0, **options)
        at = np.asarray(learning.matrix)[-1]
        if not np.isfinite(at).all():
            return np.full(len(options["layout"].names), np.nan)
        ends.append(to_pairs(at, options["layout"]))
    return ends[2] - ends[0]
