"""One way to fit rows of an encoding to what they should read from rates."""

import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError


def ridge_rows(
    rates: Float[np.ndarray, "sample n"], wanted: Float[np.ndarray, "sample k"], ridge: float
) -> Float[np.ndarray, "k n"]:
    r"""Rows $n_k$ of least $\langle(n_k\cdot r - y_k)^2\rangle + \lambda\langle r^2\rangle\lVert n_k\rVert^2$.

    By singular values of the rates, not by normal equations, which would halve the digits.
    """
    if not (np.isfinite(ridge) and ridge >= 0):
        raise InputError(f"`ridge` must be a finite number of at least 0; got {ridge!r}.")
    if not len(rates) or not (np.isfinite(rates).all() and np.isfinite(wanted).all()):
        raise InputError(
            "what is fitted must be finite at one sample or more: look at the samples and at the function."
        )
    left, strengths, right = np.linalg.svd(rates, full_matrices=False)
    floor = strengths.max(initial=0) * max(rates.shape) * np.finfo(rates.dtype).eps
    penalty = ridge * (rates**2).sum() / rates.shape[1]
    kept = strengths > floor
    gains = np.where(kept, strengths / np.where(kept, strengths**2 + penalty, 1), 0)
    return ((wanted.T @ left) * gains) @ right
