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
from recurvature.lenses.superposition.rectified import drawn, sampled_loss
from recurvature.lenses.superposition.statistics import AbstractAmplitude, Uniform
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
    """Clip rate and linearity gap in k-delay recall, from sampled trials. Raises `InputError` on other readouts."""
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
    d, dtype = network.system.input_size, float_dtype(network)
    x = drawn(key, (trials, steps * d), jnp.asarray(density), amplitude or Uniform(), dtype).reshape(trials, steps, d)
    below, unasked = (np.asarray(_below(plain, each), float) for each in (x, jnp.zeros((1, steps, d), dtype)))
    chance = 1 - clipped.empty
    gap = linear.loss / clipped.loss if clipped.loss > 0 else float("nan")
    # of a quotient of two means over the same trials, to first order
    one, other = (chance * np.asarray(part.errors) for part in (linear, clipped))
    apart = np.std(one / linear.loss - other / clipped.loss, ddof=1) if clipped.loss > 0 else float("nan")
    return Clipping(
        rate=chance * below.mean(0) + clipped.empty * unasked[0],
        rate_error=chance * below.std(0, ddof=1) / math.sqrt(trials),
        loss=clipped.normalised,
        linear_loss=linear.normalised,
        gap=gap,
        gap_error=float(gap * apart / math.sqrt(trials)),
        trials=trials,
    )


@eqx.filter_jit
def _below(plain: Network, x: Float[Array, "trial time d"]) -> Float[Array, "trial o"]:
    """The share of the steps of each trial at which the outputs are negative."""
    outputs = jnp.asarray(simulate(plain, x).outputs)
    return (outputs < 0).mean(1, dtype=outputs.dtype)
