"""How much of what varies a guess explains."""

import numpy as np
from jaxtyping import Float

from recurvature._result import Values


def r_squared(truth: Float[Values, "*any n"], guess: Float[Values, "*any n"]) -> float:
    """1 - (squared error / squared deviation from the mean of every unit), pooled; -inf where the guess overflowed.

    Of a truth that does not vary: 1 for a guess without error, else 0.
    """
    wanted, given = (np.asarray(a, float).reshape(-1, a.shape[-1]) for a in (truth, guess))
    if not np.isfinite(given).all():
        return -np.inf
    spread = ((wanted - wanted.mean(0)) ** 2).sum()
    error = ((wanted - given) ** 2).sum()
    return float(1 - error / spread) if spread > 0 else float(error == 0)
