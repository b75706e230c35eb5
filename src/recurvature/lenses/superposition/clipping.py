"""What a rectified readout does for a network: how often it clips, and what the loss would be without it."""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError
from recurvature._keys import PRNGKey
from recurvature._precision import float_dtype
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.rectified import sampled_loss
from recurvature.lenses.superposition.statistics import AbstractAmplitude, Uniform, gated, some_feature
from recurvature.systems.base import Network
from recurvature.systems.readout import ActivatedReadout, LinearReadout
from recurvature.systems.simulate import simulate
from recurvature.tasks.recall import SUPERPOSITION


class Clipping(AbstractResult):
    r"""How far a network with a rectified readout is from a linear one (docs eq. S.65).

    `rate` is the chance that what is read out before the relu, $w_y^\top h_t$, is negative. `gap` is the loss with the
    relu replaced by the identity over the loss as it is: 1 in an effectively linear network, large where clipping
    is what makes it work. Standard errors are over the same sampled trials.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    rate: Float[Values, " o"]
    rate_error: Float[Values, " o"]
    loss: float
    """Over that of silence."""
    linear_loss: float
    """The same without the relu."""
    gap: float
    gap_error: float
    trials: int


def clipping(
    network: Network,
    *,
    steps: int,
    delay: int,
    density: float,
    amplitude: AbstractAmplitude | None = None,
    importance: float | Float[Array, " o"] = 1.0,
    trials: int = 4096,
    key: PRNGKey,
) -> Clipping:
    """Clip rate and linearity gap in k-delay recall, from sampled trials that hold at least one feature.

    The network must be silent without input. Raises `InputError` on readouts that do not rectify.
    """
    readout = network.readout
    if not isinstance(readout, ActivatedReadout) or readout.phi != "relu":
        raise InputError("`network` needs an ActivatedReadout with a relu: any other readout clips nothing.")
    plain = eqx.tree_at(lambda net: net.readout, network, LinearReadout(readout.weight, readout.bias))
    options: dict[str, Any] = {
        "steps": steps,
        "delay": delay,
        "density": density,
        "amplitude": amplitude,
        "trials": trials,
    }
    clipped, linear = (sampled_loss(net, importance=importance, key=key, **options) for net in (network, plain))
    below = np.asarray(_below(plain, key, (trials, steps), jnp.asarray(density), amplitude or Uniform()), float)
    chance = float(some_feature(density, steps * network.system.input_size))
    gap = linear.loss / clipped.loss if clipped.loss > 0 else float("nan")
    # of a quotient of two means over the same trials, to first order
    one, other = np.asarray(linear.errors), np.asarray(clipped.errors)
    apart = np.std(one / one.mean() - other / other.mean(), ddof=1) if clipped.loss > 0 else float("nan")
    return Clipping(
        rate=chance * below.mean(0),
        rate_error=chance * below.std(0, ddof=1) / math.sqrt(trials),
        loss=clipped.normalised,
        linear_loss=linear.normalised,
        gap=gap,
        gap_error=float(gap * apart / math.sqrt(trials)),
        trials=trials,
    )


@eqx.filter_jit
def _below(
    plain: Network, key: PRNGKey, shape: tuple[int, int], density: Float[Array, ""], amplitude: AbstractAmplitude
) -> Float[Array, "trial o"]:
    """The share of the steps of each trial at which the outputs are negative."""
    trials, steps = shape
    x = gated(key, (trials, steps * plain.system.input_size), density, amplitude, float_dtype(plain))
    outputs = jnp.asarray(simulate(plain, x.reshape(trials, steps, -1)).outputs)
    return (outputs < 0).mean(1, dtype=outputs.dtype)
