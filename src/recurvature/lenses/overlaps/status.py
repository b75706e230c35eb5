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

CLOSURE = ("exact", "unchecked", "checked")
"""What overlaps stand on, in the field `closure` of results.

- `exact`: linear units; nothing is assumed. A loss of your own says otherwise by an attribute `phi`.
- `unchecked`: nonlinear units stand as Gaussian (docs eq. O.29), and no units were there to try it on. A status `ok`
  then says that numbers are finite, and nothing of a network. To check: `closure(theta, loss, key=…, learning=…)` with
  the vectors of a network that begins there, or, of phases in turn, `closure(theta @ propagator[k], loss, key=…)`.
- `checked`: the verdicts of such a test are in `status` (`checked`).
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
    overlaps: Float[np.ndarray, "step a b"], loss: Float[np.ndarray, " step"], margin: Any, *, linear: bool
) -> Int[np.ndarray, " step"]:
    """The reason code of every recorded step of learning; `linear` units alone are called unstable."""
    finite = np.isfinite(overlaps).all((-1, -2)) & np.isfinite(loss)
    return np.where(finite, np.where(linear & (np.asarray(margin) < 0), UNSTABLE, OK), NON_FINITE).astype(np.int8)
