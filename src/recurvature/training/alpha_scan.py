"""How long a step is in time constants, where nobody knows: the length whose network runs like the recording."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_kind
from recurvature._result import AbstractResult, Citation, Values
from recurvature.measures.determination import r_squared
from recurvature.systems.base import Network
from recurvature.systems.simulate import rollout
from recurvature.training.activity import Activity
from recurvature.training.cornn import CORNN, cornn


class AlphaScan(AbstractResult):
    r"""One-step fits at several $\alpha$, each judged on trials that it has not seen."""

    citations: ClassVar[tuple[Citation, ...]] = (CORNN,)

    value: Float[Values, " value"]
    r"""The lengths of a step $\alpha$ that were tried."""
    step_r2: Float[Values, " value"]
    """Of the next sample, given the last one; near 1 for any smooth recording, whatever the network is worth."""
    run_r2: Float[Values, " value"]
    """Of the whole trial, given its first sample and its inputs; pooled over units, trials and times."""
    clipped: Float[Values, " value"]
    """Share of targets that were clipped."""
    held_out: int

    @property
    def best(self) -> float:
        """The length of a step whose network runs most like the trials held out."""
        runs = np.where(np.isfinite(self.run_r2), self.run_r2, -np.inf)
        return float(np.asarray(self.value)[int(np.argmax(runs))])


def scan_alpha(activity: Activity, alphas: Sequence[float], *, held_out: int, **options: Any) -> AlphaScan:
    r"""Fit with `cornn` at every $\alpha$ of `alphas`, on all trials but the last `held_out`, and judge on those.

    `activity.alpha` plays no part. A network of another $\alpha$ may predict single steps as well: what tells is a
    whole trial run by itself. `options` are those of `cornn`. Raises `InputError` as that does, and unless trials are
    left on either side.
    """
    check_kind("activity", activity, Activity, "pass training.Activity(rates, inputs, alpha)")
    check_count(held_out=held_out)
    trials = len(np.asarray(activity.rates))
    if held_out >= trials:
        raise InputError(f"`held_out` must leave trials to fit: at most {trials - 1}; got {held_out}.")
    if not len(alphas):
        raise InputError("`alphas` must hold one or more lengths of a step; got none.")
    cut = trials - held_out
    scores = [_score(activity, float(alpha), cut, options) for alpha in alphas]
    step, run, clipped = (np.asarray(column) for column in zip(*scores, strict=True))
    return AlphaScan(np.asarray([float(a) for a in alphas]), step, run, clipped, held_out)


def _part(activity: Activity, alpha: float, which: slice) -> Activity:
    start = activity.start
    if start is not None and np.ndim(start) == 2:
        start = np.asarray(start)[which]
    inputs = None if activity.inputs is None else np.asarray(activity.inputs)[which]
    return dataclasses.replace(
        activity, rates=np.asarray(activity.rates)[which], inputs=inputs, alpha=alpha, start=start
    )


def _score(activity: Activity, alpha: float, cut: int, options: dict[str, Any]) -> tuple[float, float, float]:
    fit = cornn(_part(activity, alpha, slice(None, cut)), **options)
    seen = _part(activity, alpha, slice(cut, None))
    rates = jnp.asarray(seen.rates) / fit.report.scale
    inputs = jnp.zeros((*rates.shape[:2], 1), rates.dtype) if seen.inputs is None else jnp.asarray(seen.inputs)
    guesses = _ahead(fit.network, rates, inputs.astype(rates.dtype))
    step, run = (r_squared(np.asarray(rates)[:, 1:], np.asarray(guess)) for guess in guesses)
    return step, run, float(np.asarray(fit.report.clipped).mean())


@eqx.filter_jit
def _ahead(
    network: Network, rates: Float[Array, "trial time n"], inputs: Float[Array, "trial time d"]
) -> tuple[Float[Array, "trial after n"], Float[Array, "trial after n"]]:
    """Rates after single steps, and in trials run from their first sample."""
    system: Any = network.system
    step = jax.vmap(jax.vmap(system.step))(rates[:, :-1], inputs[:, 1:])
    run = jax.vmap(lambda first, drive: rollout(system, first, drive))(rates[:, 0], inputs[:, 1:])
    return step, run
