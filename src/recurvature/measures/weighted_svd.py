r"""The singular vectors of a weight matrix as activity sees it."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Num

from recurvature._errors import InputError, check_shape


class WeightedSVD(NamedTuple):
    """Directions of the recurrent input, the strongest first, and how strong each is."""

    left: Float[np.ndarray, "n k"]
    """Orthonormal columns."""
    strengths: Float[np.ndarray, " k"]
    """Root mean square of the recurrent input along each."""


def weighted_svd(activity: Num[Any, "sample r"], *factors: Float[Any, "..."]) -> WeightedSVD:
    r"""The left singular vectors of $WC^{1/2}$, $C = \langle rr^\top\rangle$ over samples of rates (docs eq. L.12).

    `factors` is either the matrix W (N, N), or two factors $L$, $R$ (N, K) of $W = LR^\top$, which is then never
    multiplied out: memory is that of the samples and 2NK. No mean is subtracted: a constant activity drives units too.
    Whole numbers are taken for float64. Raises `InputError` on shapes that do not fit and on activity that is not
    finite.
    """
    rates = np.asarray(activity)
    rates = rates if np.issubdtype(rates.dtype, np.floating) else rates.astype(float)
    check_shape("activity", rates, (None, None))
    if not np.isfinite(rates).all() or not len(rates):
        raise InputError("`activity` must be rows of finite rates; got none, or some that are not finite.")
    # what matters of the samples is C: at most N rows of it, without the squares that would halve the digits
    small = np.asarray(np.linalg.qr(rates, mode="r")) if len(rates) > rates.shape[1] else rates
    scale = rates.dtype.type(1 / np.sqrt(len(rates)))
    if len(factors) == 1:
        weight = np.asarray(factors[0])
        check_shape("weight", weight, (None, rates.shape[1]))
        left, strengths, _ = np.linalg.svd(weight @ small.T * scale, full_matrices=False)
        return WeightedSVD(left, strengths)
    into, onto = (np.asarray(factor) for factor in factors)
    check_shape("right", onto, (rates.shape[1], None))
    check_shape("left", into, (None, onto.shape[1]))
    basis, triangle = np.linalg.qr(into)
    turn, strengths, _ = np.linalg.svd(triangle @ (small @ onto).T * scale, full_matrices=False)
    return WeightedSVD(basis @ turn, strengths)
