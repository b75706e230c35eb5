r"""What a relu recurrence does once some of its units are silent: the spectral radius of every mask it runs through.

Its Jacobian is $W_h\,\mathrm{diag}(1[h>0])$, one linear recurrence for each set of active units (docs eq. S.77).
"""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from recurvature._errors import InputError, check_kind, check_shape
from recurvature._precision import float_dtype
from recurvature._result import AbstractResult, Citation, Values
from recurvature.systems.base import Network
from recurvature.systems.preactivation import PreactivationMap
from recurvature.systems.simulate import simulate
from recurvature.tasks.recall import SUPERPOSITION


class MaskRadii(AbstractResult):
    r"""The spectral radii of a relu recurrence, for every set of active units that was met (docs eq. S.77).

    The most frequent mask is the first. A `radius` or a `full` above 1 makes no recurrence unstable by itself: what
    grows under one mask may change it.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    mask: Bool[Values, "mask n"]
    """Which units are active, $h > 0$."""
    radius: Float[Values, " mask"]
    r"""The largest modulus of the eigenvalues of $W_h\,\mathrm{diag}(\mathrm{mask})$."""
    share: Float[Values, " mask"]
    """Of all steps of all trials, those with this mask."""
    full: float
    """The spectral radius of $W_h$: all units active."""

    @property
    def largest(self) -> float:
        """The largest radius of a mask that was met."""
        return float(np.asarray(self.radius).max())

    @property
    def mean(self) -> float:
        """The mean radius over steps."""
        return float(np.asarray(self.share) @ np.asarray(self.radius))


def mask_radii(network: Network, inputs: Float[Any, "trial time d"]) -> MaskRadii:
    """The spectral radius of the Jacobian of a relu recurrence for every mask that `inputs` drive it through.

    The Jacobian of a step has the mask of the state before it: of the `x0` of the network, then of all states but the
    last. For a pulse at rest, pass one. Every mask that is met costs one eigenvalue problem of its active units.

    Raises `InputError` unless the recurrence is a `PreactivationMap` with the activation `relu`.
    """
    check_kind("network", network, Network, "pass a network, as `recall_network` gives")
    system = network.system
    if not isinstance(system, PreactivationMap) or system.phi != "relu":
        raise InputError("`network` needs a PreactivationMap with the activation 'relu': no other has masks.")
    check_shape("inputs", inputs, (None, None, system.input_size))
    states = np.asarray(simulate(network, jnp.asarray(inputs, float_dtype(network))).states)
    start = np.broadcast_to(np.asarray(network.x0), (len(states), 1, states.shape[2]))
    before = np.concatenate([start, states[:, :-1]], axis=1).reshape(-1, states.shape[2]) > 0
    masks, counts = np.unique(before, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    recurrent = np.asarray(system.connectivity.dense(), float)
    return MaskRadii(
        mask=masks[order],
        radius=np.array([_radius(recurrent, mask) for mask in masks[order]]),
        share=counts[order] / counts.sum(),
        full=_radius(recurrent, np.ones(len(recurrent), bool)),
    )


def _radius(recurrent: Float[np.ndarray, "n n"], mask: Bool[np.ndarray, " n"]) -> float:
    """Columns of silent units are 0, so that all other eigenvalues are those of the rows and columns of active ones."""
    values = np.linalg.eigvals(recurrent[np.ix_(mask, mask)])
    return float(np.abs(values).max(initial=0.0))
