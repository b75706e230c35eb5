r"""How closely rates follow the tuning that slow latent variables give them."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

from recurvature._errors import InputError, check_positive, check_shape
from recurvature._precision import require_float64
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.linear_embedding import lag_behind
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import LatentUnit

STEEPEST = {
    "tanh": 1.0,
    "relu": 1.0,
    "softplus": 1.0,
    # where the second derivative is zero, at the root of 2
    "gelu": float(ndtr(2**0.5) + 2**0.5 * np.exp(-1) / np.sqrt(2 * np.pi)),
    "erf": 1.0,
    "identity": 1.0,
    "sigmoid": 0.25,
}
"""The largest slope of every activation that has a name."""


class TuningLag(AbstractResult):
    r"""Rates under given latent variables, beside their tuning, with what theory allows (docs eq. L.34, L.35)."""

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "as tau"})
    rates: Float[Values, "time n"]
    lag: Float[Values, "time n"]
    r"""$r - \phi(M\kappa)$, with the variables of the same moment."""
    bound: Float[Values, "time n"]
    r"""What $|r - \phi(M\kappa)|$ cannot exceed: the rest of the start and
    $\tau\,\mathrm{Lip}(\phi)\lVert m_i\rVert$ times the fastest $\lVert\dot\kappa\rVert$ so far."""
    departure: Float[Values, "time n"]
    r"""$r - \phi(M\kappa^*)$, with the first variables as $\kappa^*$."""
    departure_bound: Float[Values, "time n"]
    r"""What $|r - \phi(M\kappa^*)|$ cannot exceed where $\kappa$ stays within `stability`."""
    stability: float
    r"""$\delta$: the largest distance between the variables at two times (Definition 4)."""
    lipschitz: float
    r"""$\mathrm{Lip}(\phi)$: the largest slope of the activation."""


def tuning_lag(
    unit: LatentUnit,
    kappa: Float[Any, "time k"],
    times: Float[Any, " time"],
    *,
    u: Float[Any, " d"] | None = None,
    start: Float[Any, " n"] | None = None,
    lipschitz: float | None = None,
) -> TuningLag:
    r"""Drive the units of a rate network by given latent variables, and compare with $r_i = f_i(\kappa)$.

    Solves $\tau\dot r = -r + \phi(M\kappa(t) + W_\mathrm{in}u + b)$ in continuous time, whatever step the unit has.
    Between `times` the tuning is taken to be straight, for which rates and bounds are exact; a tuning that bends
    costs the second order of the spacing (docs eq. L.34, L.35; arXiv 2502.14337, Definition 4, eq. M45-M48).

    **Arguments**

    - `kappa`, `times`: the variables and when they are what they are; times in the units of the unit's `tau`, rising.
    - `u`: an input that is held throughout (None: none).
    - `start`: rates at the first time (None: those of the tuning).
    - `lipschitz`: the largest slope of an activation that has no name; those with one are known.

    Raises `InputError` for units of the current form, whose currents lag and not their rates (`embedded_rates` of
    them), and where the slope is not known.
    """
    require_float64(embedding=unit.embedding)
    if unit.form != "rate":
        raise InputError(
            "`unit` is of the current form: its currents lag, by `latent.embedded_rates`. Use a rate unit."
        )
    path, at = np.asarray(kappa, float), np.asarray(times, float)
    check_shape("kappa", path, (None, unit.connectivity.rank))
    check_shape("times", at, (len(path),))
    if len(at) < 2 or not (np.diff(at) > 0).all():
        raise InputError(f"`times` must be 2 or more that rise; got {len(at)}. Sort them, leave out repeated ones.")
    slope = _slope(unit, lipschitz)
    tau, held = float(np.asarray(unit.flow.tau)), None if u is None else jnp.asarray(u, unit.embedding.dtype)
    tuning = np.asarray(unit.rates(jnp.asarray(path, unit.embedding.dtype), held))
    first = tuning[0] if start is None else np.asarray(start, float)
    check_shape("start", first, (tuning.shape[1],))
    lag, gone = lag_behind(tuning, at, np.asarray(tau), first)
    speed = np.linalg.norm(np.diff(path, axis=0), axis=1) / np.diff(at)
    fastest = np.concatenate([[0.0], np.maximum.accumulate(speed)])
    length = slope * np.linalg.norm(np.asarray(unit.embedding), axis=1)
    stability = max(float(np.linalg.norm(path - point, axis=1).max()) for point in path)
    left = gone * np.abs(lag[0])
    rates = tuning + lag
    return TuningLag(
        time=at,
        rates=rates,
        lag=lag,
        bound=left + tau * (1 - gone) * fastest[:, None] * length,
        departure=rates - tuning[0],
        departure_bound=left + (1 - gone) * stability * length,
        stability=stability,
        lipschitz=slope,
    )


def _slope(unit: LatentUnit, lipschitz: float | None) -> float:
    """The slope that was given, or that of a name."""
    if lipschitz is not None:
        check_positive(lipschitz=lipschitz)
        return float(lipschitz)
    if not isinstance(unit.flow.phi, str):
        raise InputError("`lipschitz` is needed: the activation is a function, whose largest slope is not known.")
    return STEEPEST[unit.flow.phi]
