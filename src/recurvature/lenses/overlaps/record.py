r"""What is kept of a course of overlaps, and the weights that it leads to."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_shape
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.coordinates import OVERLAPS
from recurvature.lenses.overlaps.layout import AbstractCourse
from recurvature.lenses.overlaps.status import Diagnostics


class Learning(AbstractCourse, AbstractResult):
    r"""Overlaps along learning, and the matrices that move every weight: $\Theta_k = \Theta_0\,$`propagator[k]`.

    `method` says what was followed: `gradient descent` (exact in its step) or another rule, `gradient flow` (its limit
    of small steps), or `control: descent in the overlaps`, which no network follows (its propagator is NaN). Where it
    is learning `of the effective network`, units are nonlinear and the Gaussian closure stands for them: it says how
    learning begins, and drifts away from the network's own in a way that more units do not cure (docs eq. O.32).
    `diagnostics` holds tests of it, on the units of the network that learns or on drawn ones (`closure` says which, of
    `status.CLOSURE`), and `status` is `not_gaussian` from where one of them fails (`overlaps.diagnostics`).
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    time: Float[Values, " step"] = eqx.field(metadata={"units": "rate times steps"})
    count: Int[Values, " step"] = eqx.field(metadata={"long_name": "steps taken (0 throughout for a flow)"})
    matrix: Float[Values, "step a b"]
    propagator: Float[Values, "step a b"]
    loss: Float[Values, " step"]
    gradient_norm: Float[Values, " step"] = eqx.field(
        metadata={"long_name": "sqrt(N) times the norm of the gradient in the weights that learn"}
    )
    margin: Float[Values, " step"]
    smallest_eigenvalue: Float[Values, " step"]
    drift: Float[Values, " step"] = eqx.field(
        metadata={"long_name": "largest change of what gradient flow keeps, as far as units of this kind keep it"}
    )
    status: Int[Values, " step"]
    columns: tuple[str, ...]
    outputs: int
    rank: int
    inputs: int
    dt: float | None
    method: str
    rule: dict[str, Any]
    closure: str
    diagnostics: Diagnostics
    dtype: str
    units: int | None = None
    """Number of units of the network; None where overlaps are all that was given."""
    gauge: str = "given"
    """How U and V share the recurrence, as in `Overlaps`."""


def recover(theta: Float[Any, "n a"], learning: Learning, at: int = -1) -> Float[Array, "n a"]:
    r"""Every weight after learning, $\Theta_0\mathcal K$, from the vectors before it (docs eq. O.20)."""
    check_shape("theta", theta, (None, learning.layout.size))
    if learning.method.startswith("control"):
        raise InputError("the control moves overlaps, not weights: there is no network that it leads to.")
    if learning.rule.get("noise") is not None:
        raise InputError("noise on the weights was followed in the mean of the overlaps: no single network is known.")
    return jnp.asarray(np.asarray(theta) @ np.asarray(learning.propagator[at]))
