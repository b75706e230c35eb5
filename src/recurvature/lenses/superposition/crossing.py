"""Where two ways to pack cost the same: both branches looked for on a whole range of densities, and their crossing."""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError, NumericalError
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.convolution import TURN, SpiralOptimum, spiral_optimum
from recurvature.lenses.superposition.geometry import DENSE, SPARSE
from recurvature.lenses.superposition.models import check_delay
from recurvature.lenses.superposition.statistics import AbstractAmplitude, check_density
from recurvature.tasks.recall import SUPERPOSITION

Pair = dict[str, SpiralOptimum | None]
"""What a descent from each branch came to; None where it did not converge."""


class Crossing(AbstractResult):
    """Where the best dense and the best sparse response of two units cost the same (docs eq. S.74).

    Dimension `branch`: dense, sparse. Both are minima at the crossing, on either side of a jump: a first-order
    transition. At the densities `scanned`, `excess` is the loss of the dense branch less that of the sparse one, NaN
    where a descent from one of them ends elsewhere.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    density: float
    """Of the transition, known to `tolerance`: sparser than that the sparse packing costs less."""
    tolerance: float
    loss: Float[Values, " branch"]
    modulus: Float[Values, " branch"]
    k_theta: Float[Values, " branch"] = eqx.field(metadata={"units": "deg"})
    order_parameter: Float[Values, " branch"]
    scanned: Float[Values, " density"]
    excess: Float[Values, " density"]
    delay: int
    memory: float = 0.0
    """Of the gate, from step to step."""


def crossing(
    delay: int,
    *,
    between: tuple[float, float] = (0.1, 0.7),
    scan: int = 9,
    tolerance: float = 1e-3,
    amplitude: AbstractAmplitude | None = None,
    memory: float = 0.0,
    ages: int = 40,
    points: int = 2048,
) -> Crossing:
    """The density of the transition between dense and sparse packing of two units, from the losses of both branches.

    With `memory` features come in bursts (`rectified_loss`).
    Both are looked for afresh at `scan` densities `between` two, on a quarter of the `points`; from the two densities
    where their losses change places they are followed to the crossing. Raises `NumericalError` where they change places
    nowhere or more than once.
    """
    import scipy.optimize

    check_delay(delay, ages)
    low, high = sorted(between)
    check_density(low)
    check_density(high)
    if scan < 2:
        raise InputError(f"`scan` must be at least 2, the ends of `between`; got {scan}.")
    options: dict[str, Any] = {"amplitude": amplitude, "memory": memory, "ages": ages}
    densities = np.geomspace(low, high, scan)
    coarse = max(points // 4, 4 * (ages + 2))
    pairs = [_looked_for(delay, float(density), points=coarse, **options) for density in densities]
    excess = np.array([_excess(pair) for pair in pairs])
    left, right = _only_change(delay, densities, excess, pairs)
    last = pairs[left]

    def apart(density: float) -> float:
        for branch, start in last.items():
            last[branch] = spiral_optimum(delay, density, branch, start=start, points=points, **options)
        return _excess(last)

    ends = [apart(float(densities[i])) for i in (left, right)]
    if not ends[0] > 0 > ends[1]:
        raise NumericalError(f"the crossing of delay {delay} is lost on a finer grid: raise `points`.", last)
    apart(float(scipy.optimize.brentq(apart, densities[left], densities[right], xtol=tolerance)))
    both = [one for one in last.values() if one is not None]
    rows = {name: np.array([getattr(one, name) for one in both]) for name in _OF_BRANCHES}
    rows |= {"scanned": densities, "excess": excess}
    return Crossing(density=both[0].density, tolerance=tolerance, delay=delay, memory=memory, **rows)


_OF_BRANCHES = ("loss", "modulus", "k_theta", "order_parameter")


def _looked_for(delay: int, density: float, **options: Any) -> Pair:
    found: Pair = {}
    for branch in TURN:
        try:
            found[branch] = spiral_optimum(delay, density, branch, **options)
        except NumericalError:
            found[branch] = None
    return found


def _excess(pair: Pair) -> float:
    """The loss of the dense branch less that of the sparse one; NaN unless both are what they are called."""
    dense, sparse = pair["dense"], pair["sparse"]
    if dense is None or sparse is None or (dense.regime, sparse.regime) != (DENSE, SPARSE):
        return np.nan
    return dense.loss - sparse.loss


def _only_change(
    delay: int, density: Float[np.ndarray, " density"], excess: Float[np.ndarray, " density"], pairs: list[Pair]
) -> tuple[int, int]:
    """The places of the two neighbouring densities between which the excess falls through 0, the only ones."""
    known = np.flatnonzero(np.isfinite(excess))
    changes = np.flatnonzero(np.diff(np.sign(excess[known])))
    if len(changes) == 1 and excess[known[changes[0]]] > 0:
        return int(known[changes[0]]), int(known[changes[0] + 1])
    raise NumericalError(
        f"from {density[0]:.3g} to {density[-1]:.3g} the losses of both branches of delay {delay} change places "
        f"{len(changes)} times, and the dense one must become the better once: choose `between` around one crossing.",
        pairs,
    )
