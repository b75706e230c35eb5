"""How far what a latent unit holds can be relied upon: states in a sample of units, and outputs as its coordinates."""

import jax
import numpy as np
from jaxtyping import Float

from recurvature import dynamics
from recurvature._errors import InputError
from recurvature.app.page import number
from recurvature.lenses import latent
from recurvature.lenses.latent.unit import AbstractUnit, LatentUnit, at_rest
from recurvature.systems.activations import activation
from recurvature.tasks.base import Trials


def leaving(unit: AbstractUnit, points: dynamics.FixedPoints) -> latent.GrowthRate | None:
    r"""The rate at which the variables leave the point between states that are held, with its sampling error.

    That point is the unstable one nearest to zero; there the slopes of the tuning scale the embedding, and for several
    variables the fastest direction is one variable (docs eq. L.16, L.47). None where fewer than two states are stable,
    or the fastest direction turns, and for several synapses, of which the law of sampling says nothing.
    """
    unstable = np.flatnonzero(np.asarray(points.unstable) > 0)
    if not isinstance(unit, LatentUnit) or points.types.count("stable") < 2 or not len(unstable):
        return None
    kappa = at_rest(unit, np.asarray(points.states)[unstable])
    between = kappa[int(np.argmin(np.linalg.norm(np.asarray(kappa), axis=1)))]
    steep = np.asarray(jax.vmap(jax.grad(activation(unit.flow.phi)))(unit.currents(between)), float)
    m, n = np.asarray(unit.embedding, float), np.asarray(unit.encoding, float)
    values, right = np.linalg.eig((n * steep) @ m)
    first = int(np.argmax(values.real))
    if abs(values[first].imag) > 0:
        return None
    left = np.linalg.pinv(right)[first].real
    return latent.growth_rate(steep * (m @ right[:, first].real), len(m) * (left @ n))


def held(rate: latent.GrowthRate | None, stable: int) -> str:
    """What may be said of the number of states where units are a sample of more, or nothing."""
    if rate is None:
        return ""
    known = rate.statuses[int(rate.status[0])] == "decided"
    size, error = number(float(rate.rate[0])), number(float(rate.standard_error[0]), 2)
    text = (
        f" These {int(rate.observed[0])} units do hold {stable} states. Were they a sample of many more, the growth "
        f"rate between the states would be known to {size} ± {error} per τ"
    )
    if known:
        return f"{text}: enough to say that the many hold more than one state too."
    return f"{text}: an error of more than half of it, so that of the many more than one state must not be claimed."


def aligned(
    trials: Trials | Float[np.ndarray, "trial time d"], kappa: Float[np.ndarray, "run time k"]
) -> latent.Alignment | None:
    """The wanted outputs of the runs by their variables; None without a task, or where there is nothing to fit."""
    if not isinstance(trials, Trials):
        return None
    targets, mask = (np.asarray(a, float)[: len(kappa)] for a in (trials.targets, trials.mask))
    try:
        return latent.align(np.asarray(kappa), targets, mask=mask)
    except InputError:
        return None
