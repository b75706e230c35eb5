r"""The one step of Adam, element by element, that overlaps know: the first, of units whose weights are Gaussian."""

from typing import Any

import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError, check_positive, check_shape


def first_adam_step(overlaps: Float[Any, "a a"], gamma: Float[Any, "a a"], rate: float) -> Float[np.ndarray, "a a"]:
    r"""The overlaps of linear units after the first step of Adam at `rate` (docs eq. O.61).

    The first step of Adam is `rate` times the sign of the gradient, weight by weight. For rows of $\Theta$ that are
    Gaussian, and many, the overlaps of signs are known. Rows are not Gaussian after it, so that there is no second step
    of this kind: `descend_units` runs all units. `gamma` is `symmetric_gradient` at `overlaps`; weights whose
    gradient vanishes for all units stay.
    """
    s, g = np.asarray(overlaps), np.asarray(gamma)
    check_positive(rate=rate)
    check_shape("overlaps", s, (None, None))
    check_shape("gamma", g, s.shape)
    if not (np.isfinite(s).all() and np.isfinite(g).all()):
        raise InputError("`overlaps` and `gamma` must be finite.")
    forces = g @ s @ g
    size = np.sqrt(np.clip(np.diag(forces), 0, None))
    # a gradient of zero has the sign zero
    scale = np.where(size > 0, 1 / np.where(size > 0, size, 1), 0)
    moved = np.sqrt(2 / np.pi) * (s @ g) * scale[None, :]
    signs = 2 / np.pi * np.arcsin(np.clip(forces * scale[:, None] * scale[None, :], -1, 1))
    return (s - rate * (moved + moved.T) + rate**2 * signs).astype(s.dtype)
