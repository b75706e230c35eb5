"""Where overlaps may be used, in codes with names."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

OK, UNSTABLE, RANK_DEFICIENT, TRUNCATED, NON_FINITE, NOT_GAUSSIAN = range(6)
STATUS = ("ok", "unstable", "rank_deficient", "truncated", "non_finite", "not_gaussian")
"""What the numbers in `status` mean; of several the last in this list is given.

- `unstable`: the linear recurrence grows: losses over an infinite time do not exist, finite ones explode.
- `rank_deficient`: the vectors are linearly dependent. Learning is still exact; the dependence is kept for ever.
- `truncated`: the network's recurrence is not of the rank that was kept (`residual`).
- `non_finite`: learning has diverged; the step is too large.
- `not_gaussian`: nonlinear units whose weights are not jointly Gaussian enough: what follows from the effective network
  may not be trusted (`closure`).
"""

CLOSURE = ("exact", "unchecked", "drawn", "checked")
"""What overlaps stand on, in the field `closure` of results.

- `exact`: linear units; nothing is assumed. A loss of your own says otherwise by an attribute `phi`.
- `unchecked`: nonlinear units stand as Gaussian (docs eq. O.29), and `diagnostics["untested"]` says why no units were
  there to try it on. A status `ok` then says that numbers are finite, and nothing of a network.
- `drawn`: tried on Gaussian units drawn to begin there; the verdicts are in `status`. What such a draw cannot show is
  that the weights of a network of yours are not Gaussian to begin with.
- `checked`: tried on the units of the network itself, where overlaps come from `extract(network)`, or by `checked`.
"""

Diagnostics = dict[str, Any]
r"""Tests of the closure along a course of overlaps, in the field `diagnostics` of results (docs eq. O.33, O.34, O.47).

**Keys**

- `untested`: why there are none; `""` where there are, and then also the following.
- `units`: how many; `own`: whether they are those of the network, or else drawn. `trials`: on how many they were
  run, None for all.
- `record`: at which records, counted along the course.
- `energy_ratio`, `closure_defect`, `gain_defect` and their standard errors `closure_error` and `gain_error`,
  `velocity_defect`, `outside`, `loss` (of all units) and `predicted_loss`, record by record, as in `Closure`;
  `kurtosis`: the largest of all there are, with its sign.
- `error`: the size that the largest error of an overlap is expected to have by then. NaN under rules whose steps are in
  no proportion to the gradient (`tensor-adam`, `polar`).
- `trusted`: whether no test has failed so far. Tests are those of `Closure`, with its limits `largest_defect` and
  `largest_kurtosis` (none for drawn units, whose kurtosis is that of the draw), and that `error` is less than a tenth
  of the largest change of an overlap.
"""

# a recurrence reproduced to less than a percent is called low rank
LARGEST_RESIDUAL = 1e-2


def classify(overlaps: Float[np.ndarray, "a a"], smallest: float, margin: float, residual: float, regime: str) -> int:
    """The reason code of one overlap matrix. A nonlinear network may well be unstable at zero: that is no fault."""
    if residual > LARGEST_RESIDUAL:
        return TRUNCATED
    # eigenvalues are known to the rounding of the entries
    floor = overlaps.shape[0] * np.finfo(overlaps.dtype).eps * np.abs(overlaps).max()
    if smallest <= floor:
        return RANK_DEFICIENT
    return UNSTABLE if margin < 0 and regime == "linear" else OK


def classify_steps(
    overlaps: Float[np.ndarray, "*run step a b"], loss: Float[np.ndarray, "*run step"], margin: Any, *, linear: bool
) -> Int[np.ndarray, "*run step"]:
    """The reason code of every recorded step of learning; `linear` units alone are called unstable."""
    finite = np.isfinite(overlaps).all((-1, -2)) & np.isfinite(loss)
    return np.where(finite, np.where(linear & (np.asarray(margin) < 0), UNSTABLE, OK), NON_FINITE).astype(np.int8)
