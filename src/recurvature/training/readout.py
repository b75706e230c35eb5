"""The readout alone, fitted to the rates by ridge regression: what a linear decoder can read of a given code."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError, NumericalError, check_shape
from recurvature._precision import float_dtype
from recurvature.systems import LinearReadout, Network, simulate
from recurvature.tasks.base import Trials


def refit_readout(network: Network, trials: Trials, *, ridge: float) -> Network:
    r"""`network` with the linear readout that fits the targets of `trials` best (docs eq. W.62).

    It minimises $\sum_{bt}m_{bt}\lVert Wr_{bt}+b-\hat y_{bt}\rVert^2+\lambda\lVert W\rVert^2$ over the steps that the
    mask counts. The system stays as it is, and runs without noise. `ridge` is $\lambda\ge0$, beside a *sum* over steps:
    more trials weaken it. Where it is 0 and the rates do not determine the weights, they are the smallest. The bias is
    never shrunk; there is none if the network has a linear readout without one.

    Raises `InputError` on arguments that do not fit, `NumericalError` where the network explodes on the trials.
    """
    if not 0 <= ridge < float("inf"):
        raise InputError(f"`ridge` must be finite and at least 0; got {ridge!r}.")
    check_shape("trials.targets", trials.targets, (None, None, network.readout.output_size))
    states = jnp.asarray(simulate(network, trials.inputs).states)
    counted = np.asarray(trials.mask) > 0
    every = jax.vmap(jax.vmap(network.system.rates))(states), trials.targets, trials.mask
    rates, targets, mask = (np.asarray(values, np.float64)[counted] for values in every)
    if not np.isfinite(rates).all():
        raise NumericalError("the rates are not finite: the network explodes on `trials`.")
    before = network.readout
    biased = not isinstance(before, LinearReadout) or before.bias is not None
    weight, bias = _ridge(rates, targets, mask, float(ridge), biased)
    dtype = float_dtype(network)
    readout = LinearReadout(jnp.asarray(weight, dtype), jnp.asarray(bias, dtype) if biased else None)
    return eqx.tree_at(lambda net: net.readout, network, readout)


def _ridge(
    rates: Float[np.ndarray, "row r"],
    targets: Float[np.ndarray, "row o"],
    mask: Float[np.ndarray, " row"],
    ridge: float,
    biased: bool,
) -> tuple[Float[np.ndarray, "o r"], Float[np.ndarray, " o"]]:
    """Weights and bias, by least squares on centred rows with those of the penalty below: nothing is squared."""
    centre = (lambda rows: np.average(rows, 0, mask)) if biased else (lambda rows: np.zeros(rows.shape[1]))
    at, wanted = centre(rates), centre(targets)
    scale = np.sqrt(mask)[:, None]
    size = rates.shape[1]
    above, below = scale * (rates - at), np.sqrt(ridge) * np.eye(size)
    right = np.concatenate([scale * (targets - wanted), np.zeros((size, targets.shape[1]))])
    weight = np.linalg.lstsq(np.concatenate([above, below]), right)[0].T
    return weight, wanted - weight @ at
