"""What training is asked to keep small beside the loss: named, weighted functions of the network and its activity."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from recurvature._errors import InputError
from recurvature.systems.base import Network
from recurvature.tasks.base import Trials

PenaltyFunction = Callable[
    [Network, Trials, Float[Array, "trial time n"], Float[Array, "trial time o"]], Float[Array, ""]
]
"""`(network, trials, states, outputs) -> scalar`, differentiable."""


class Penalty(eqx.Module):
    """`weight` times `function(network, trials, states, outputs)`, added to the loss under the name `name`.

    `function` may be a module with arrays (a target, points): runs that differ in their numbers alone share one
    compiled program, and the spec and the history of a run describe it whole.
    """

    name: str = eqx.field(static=True)
    function: PenaltyFunction
    weight: float = eqx.field(static=True)

    def __check_init__(self) -> None:
        if not (0 <= self.weight < float("inf")):
            raise InputError(f"`weight` of penalty {self.name!r} must be finite and at least 0; got {self.weight!r}.")


def mean_square_rates(
    network: Network,
    trials: Trials,
    states: Float[Array, "trial time n"],
    outputs: Float[Array, "trial time o"],
) -> Float[Array, ""]:
    """Mean over trials, times and units of the squared rates."""
    del trials, outputs
    return jnp.mean(jax.vmap(jax.vmap(network.system.rates))(states) ** 2)


def sum_square_weights(
    network: Network,
    trials: Trials,
    states: Float[Array, "trial time n"],
    outputs: Float[Array, "trial time o"],
) -> Float[Array, ""]:
    """Sum of the squares of every weight matrix; vectors (biases, the initial state) are free."""
    del trials, states, outputs
    matrices = [leaf for leaf in jax.tree.leaves(network) if eqx.is_inexact_array(leaf) and leaf.ndim >= 2]
    return jnp.sum(jnp.stack([jnp.sum(jnp.abs(matrix) ** 2) for matrix in matrices]))


def l2_rates(weight: float) -> Penalty:
    """`weight` times the mean squared rate."""
    return Penalty("l2-rates", mean_square_rates, weight)


def l2_weights(weight: float) -> Penalty:
    """`weight` times the sum of all squared weights."""
    return Penalty("l2-weights", sum_square_weights, weight)
