"""Where trials begin in a file of bins put together: at changes of a label, and at jumps that look like those there."""

import numpy as np
from jaxtyping import Bool, Float, Int


def seams(velocity: Float[np.ndarray, "time 2"], label: Int[np.ndarray, " time"]) -> Int[np.ndarray, " trial"]:
    """Bins at which the label changes, or the velocity jumps as it does where the label changes.

    A jump within a label is taken for a seam when it looks like those at changes in three numbers: the speed before,
    the speed after, and the size of the jump all lie within the range that they have there.
    """
    seam = np.zeros(len(velocity), bool)
    seam[0] = True
    changes = np.diff(label) != 0
    seam[1:] = changes | _like(velocity, changes)
    return np.flatnonzero(seam)


def _like(velocity: Float[np.ndarray, "time 2"], known: Bool[np.ndarray, " step"]) -> Bool[np.ndarray, " step"]:
    """Which steps look like the `known` ones, by the speeds on both sides and the size of the jump."""
    speed, jump = np.hypot(*velocity.T), np.hypot(*np.diff(velocity, axis=0).T)
    looks = np.stack([speed[:-1], speed[1:], jump], axis=-1)
    if not known.any():
        return np.zeros(len(looks), bool)
    low, high = looks[known].min(0), looks[known].max(0)
    return ((looks >= low) & (looks <= high)).all(-1)
