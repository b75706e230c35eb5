r"""How far activity, wherever it comes from, departs from the equation of a latent unit, step by step."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError, check_shape
from recurvature._precision import float_dtype
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import AbstractUnit


class StepResidual(AbstractResult):
    r"""What a unit's equation leaves unexplained of every step of $\kappa = \mathbf Nr$ (docs eq. L.36)."""

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    residual: Float[Values, "trial time k"] = eqx.field(metadata={"units": "kappa per step"})
    """Of the steps from each time to the next: one less than there are times."""
    relative: float
    """Its root mean square over that of the steps themselves: 0 for the unit's own network, near 1 for another."""


def step_residual(
    unit: AbstractUnit, rates: Float[Any, "trial time n"], inputs: Float[Any, "trial time d"]
) -> StepResidual:
    r"""Hold the rates of a network, or of a recording, against the equation of a unit of the rate form.

    `rates[:, t]` are those after the step that consumed `inputs[:, t]`. The residual is zero if and only if the
    variables close: units with time constants of their own, or recurrent weights outside of the unit ($W = M\mathbf N +
    W'$ with $\mathbf N[\phi(Wr+\ldots) - \phi(M\kappa+\ldots)]\ne0$), show here. Raises `InputError` for current units
    and units without a step.
    """
    if unit.form != "rate" or unit.dt is None:
        raise InputError("`unit` must be of the rate form and have a step `dt`: its equation is held against steps.")
    r, u = np.asarray(rates, float), np.asarray(inputs, float)
    check_shape("rates", r, (None, None, unit.flow.state_size))
    check_shape("inputs", u, (*r.shape[:2], unit.flow.input_size))
    dtype, share = float_dtype(unit.flow), unit.dt / unit.flow.tau
    kappa = r @ np.asarray(unit.encoding, float).T
    driven = unit.rates(jnp.asarray(kappa[:, :-1], dtype), jnp.asarray(u[:, 1:], dtype))
    steps = np.diff(kappa, axis=1)
    wanted = share * (np.asarray(unit.encode(driven), float) - kappa[:, :-1])
    size = np.linalg.norm(steps)
    left = steps - wanted
    return StepResidual(left, float(np.linalg.norm(left) / size) if size > 0 else 0.0)
