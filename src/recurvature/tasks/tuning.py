r"""Tuning of recorded units to the direction and speed of a hand: rates that are exponentials of cosine and speed."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_count, check_positive, check_shape
from recurvature._result import Values

_SOLVER = {"maxiter": 2000, "maxfun": 5000, "ftol": 1e-12, "gtol": 1e-5}
"""A change of likelihood by 1e-12 of itself, far below what one spike changes."""


class Tuning(eqx.Module):
    r"""Expected counts a bin $\exp(b_n + s_n|v| + c_n\cdot v)$ at velocity $v$: `offset` b, `speed` s, `direction` c.

    Cosine tuning to direction, scaled by speed, with a term of speed alone (Moran & Schwartz, J. Neurophysiol. 1999),
    inside an exponential so that no rate is negative. Velocity is in units of `scale`.
    """

    offset: Float[Values, " unit"]
    speed: Float[Values, " unit"]
    direction: Float[Values, "unit 2"]
    scale: float = eqx.field(static=True)

    def __call__(self, direction: Float[Array, ""], speed: Float[Array, ""]) -> Float[Array, " unit"]:
        """Expected counts of all units for a direction (rad) and a speed."""
        v = speed / self.scale
        along = jnp.stack([jnp.cos(direction), jnp.sin(direction)])
        return jnp.exp(self.offset + v * (self.speed + self.direction @ along))


def fit_tuning(
    counts: Float[np.ndarray, "time unit"], velocity: Float[np.ndarray, "time 2"], *, ridge: float = 1.0
) -> Tuning:
    """The tuning of most likelihood for Poisson counts, with `ridge` half the squares of all slopes taken off it.

    Velocity is scaled by its root mean square speed, so `ridge` has the meaning of a prior of variance 1/`ridge` on
    the change of a log rate at the usual speed. Raises `InputError` on arrays that do not fit, on values that are
    negative counts or not finite, and where the solver does not converge.
    """
    import scipy.optimize

    check_positive(ridge=ridge)
    check_shape("velocity", velocity, (len(counts), 2))
    if not (np.isfinite(velocity).all() and np.isfinite(counts).all() and np.min(counts, initial=0) >= 0):
        raise InputError(
            "`counts` and `velocity` must be finite, and counts at least 0: leave out bins without a value."
        )
    scale = float(np.sqrt((np.asarray(velocity) ** 2).sum(1).mean()))
    check_positive(scale=scale)
    design, units = _design(velocity, scale), counts.shape[1]
    # half a spike in all keeps the offset of a silent unit finite
    mean = (counts.sum(0) + 0.5) / len(counts)
    pulls = ridge * np.array([1e-3, 1, 1, 1])
    # in these coordinates the curvature at a constant rate is 1 along every direction, whatever the rate of a unit
    curvature = mean[:, None, None] * (design.T @ design) + np.diag(pulls)
    factor = np.linalg.inv(np.linalg.cholesky(curvature))
    offset = np.zeros((units, 4))
    offset[:, 0] = np.log(mean)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = offset + np.einsum("nba,nb->na", factor, flat.reshape(units, 4))
        log_rate = design @ weights.T
        rate = np.exp(np.minimum(log_rate, 50.0))
        value = (rate - counts * log_rate).sum() + 0.5 * (pulls * weights**2).sum()
        slope = (rate - counts).T @ design + pulls * weights
        return value, np.einsum("nab,nb->na", factor, slope).ravel()

    found = scipy.optimize.minimize(loss, np.zeros(units * 4), jac=True, method="L-BFGS-B", options=_SOLVER)
    if not found.success:
        raise InputError(f"`counts` could not be fitted by a tuning: {found.message}. Pass a larger `ridge`.")
    weights = offset + np.einsum("nba,nb->na", factor, found.x.reshape(units, 4))
    return Tuning(weights[:, 0], weights[:, 1], weights[:, 2:], scale)


def _design(velocity: Float[np.ndarray, "time 2"], scale: float) -> Float[np.ndarray, "time 4"]:
    v = np.asarray(velocity, np.float64) / scale
    return np.column_stack([np.ones(len(v)), np.hypot(*v.T), v])


def expected_counts(tuning: Tuning, velocity: Float[np.ndarray, "time 2"]) -> Float[np.ndarray, "time unit"]:
    """The expected counts at every bin."""
    weights = np.vstack([tuning.offset, tuning.speed, np.asarray(tuning.direction).T])
    return np.exp(_design(velocity, tuning.scale) @ weights)


def tuning_scores(
    counts: Float[np.ndarray, "time unit"],
    velocity: Float[np.ndarray, "time 2"],
    starts: Int[np.ndarray, " segment"],
    *,
    folds: int = 5,
    ridge: float = 1.0,
) -> Float[np.ndarray, " unit"]:
    r"""Cross-validated $R^2$ of the tuning of each unit: 1 − squared errors of a fold left out / those of the mean.

    A fold is every `folds`-th period of movement, so bins of one period stay together; the mean is that of the other
    folds. NaN for a unit without a spike.
    """
    check_count(folds=folds)
    if not 2 <= folds <= len(starts):
        raise InputError(f"`folds` must lie between 2 and the {len(starts)} periods of movement; got {folds}.")
    period = np.searchsorted(starts, np.arange(len(counts)), side="right") - 1
    error, spread = np.zeros((2, counts.shape[1]))
    for fold in range(folds):
        out = period % folds == fold
        tuning = fit_tuning(counts[~out], velocity[~out], ridge=ridge)
        error += ((counts[out] - expected_counts(tuning, velocity[out])) ** 2).sum(0)
        spread += ((counts[out] - counts[~out].mean(0)) ** 2).sum(0)
    return 1 - error / np.where(spread > 0, spread, np.nan)
