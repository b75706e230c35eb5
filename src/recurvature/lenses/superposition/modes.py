r"""A linear recurrence mode by mode: how fast each decays and turns, and what it adds to a recalled feature.

For diagonal state-space models (LRU, S4D) these are the numbers that are trained; any other linear recurrence has them
after an eigendecomposition.
"""

from typing import ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Float

from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.models import Weights, check_delay
from recurvature.tasks.recall import SUPERPOSITION

ORVIETO = Citation(
    "orvieto2023lru",
    "Orvieto et al. (2023). Resurrecting recurrent neural networks for long sequences. ICML 2023.",
    "https://arxiv.org/abs/2303.06349",
)


class Modes(AbstractResult):
    r"""The modes of a linear recurrence, real ones and complex pairs, the slowest first (docs eq. S.70).

    Output i answers to its own feature with $a_s = \sum_k\mathrm{Re}\,c_{ik}\lambda_k^s$, where each pair counts once.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION, ORVIETO)

    modulus: Float[Values, " k"]
    angle: Float[Values, " k"] = eqx.field(metadata={"units": "deg"})
    """Turn of a step, from 0 to 180."""
    lifetime: Float[Values, " k"] = eqx.field(metadata={"units": "steps"})
    r"""$-1/\log|\lambda|$."""
    weight: Float[Values, "o k"]
    """$|c_{ik}|$."""
    phase: Float[Values, "o k"] = eqx.field(metadata={"units": "deg"})
    r"""$\arg c_{ik}$."""
    recalled: Float[Values, "o k"]
    r"""$\mathrm{Re}\,c_{ik}\lambda_k^{delay}$: what the mode adds to the projection that is to be 1."""
    delay: int

    @property
    def pairs(self) -> int:
        """How many modes are complex pairs, which turn."""
        angle = np.asarray(self.angle)
        return int(((angle > 0) & (angle < 180)).sum())


def modes(weights: Weights, delay: int) -> Modes:
    """The modes of a linear recurrence under any linear readout, `weights_of(network)` for a network.

    The recurrence must be diagonalisable: where eigenvectors nearly coincide, weights are large and cancel.
    """
    check_delay(delay)
    values, right = np.linalg.eig(np.asarray(weights.recurrent, float))
    driven = np.linalg.lstsq(right, np.asarray(weights.inputs, complex), rcond=None)[0]
    shared = min(weights.readout.shape[0], driven.shape[1])
    c = (np.asarray(weights.readout, float) @ right)[:shared] * driven.T[:shared]
    upper = values.imag >= 0
    values, c = values[upper], c[:, upper] * np.where(values[upper].imag > 0, 2.0, 1.0)
    order = np.argsort(-np.abs(values), kind="stable")
    values, c = values[order], c[:, order]
    modulus = np.abs(values)
    with np.errstate(divide="ignore"):
        lifetime = np.where(modulus < 1, -1 / np.log(modulus), np.inf)
    return Modes(
        modulus=modulus,
        angle=np.rad2deg(np.abs(np.angle(values))),
        lifetime=lifetime,
        weight=np.abs(c),
        phase=np.rad2deg(np.angle(c)),
        recalled=(c * values**delay).real,
        delay=delay,
    )
