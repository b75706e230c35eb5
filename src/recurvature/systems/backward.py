"""Rollouts made for a backward pass: what it keeps of the forward pass, and how it multiplies."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from recurvature.systems.activations import activation
from recurvature.systems.base import AbstractMap, Euler
from recurvature.systems.connectivity import Dense
from recurvature.systems.leaky import AbstractLeaky

Batch = Float[Array, "trial n"]

_POLICY = jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.dots_saveable, jax.checkpoint_policies.save_only_these_names("product")
)


def rollout_for_gradient(
    system: AbstractMap,
    x0: Float[Array, " n"],
    inputs: Float[Array, "time trial d"],
    kicks: Float[Array, "time trial n"] | None,
) -> Float[Array, "time trial n"]:
    """The states that `rollout` gives, of all trials at once, to be differentiated in reverse.

    Storing less is faster: the memory traffic of saved arrays costs more than what is elementwise in a step, which a
    backward pass therefore redoes; it keeps only matrix products.
    """
    step, external = _stepper(system, inputs)
    advance = eqx.filter_checkpoint(step, prevent_cse=False, policy=_POLICY)

    def body(x: Batch, drive: tuple[Array, Array | None]) -> tuple[Batch, Batch]:
        u, kick = drive
        x = advance(x, u)
        x = x if kick is None else x + kick
        return x, x

    start = jnp.broadcast_to(x0[None], (inputs.shape[1], x0.shape[0]))
    return jax.lax.scan(body, start, (external, kicks))[1]


def _stepper(
    system: AbstractMap, inputs: Float[Array, "time trial d"]
) -> tuple[Callable[[Batch, Float[Array, "trial e"]], Batch], Float[Array, "time trial e"]]:
    """One step of a batch, and what it wants from outside at every time."""
    if isinstance(system, Euler) and isinstance(flow := system.flow, AbstractLeaky):
        weights = flow.connectivity
        if isinstance(weights, Dense):
            joined = jnp.concatenate([weights.weight.T, flow.input_weights.T, flow.bias[None]])
            external = jnp.concatenate([inputs, jnp.ones((*inputs.shape[:2], 1), inputs.dtype)], -1)
            return DenseLeakyStep(flow, weights.weight, joined, system.dt), external
    return AnyStep(system), inputs


class AnyStep(eqx.Module):
    """The step of any map, for a batch."""

    system: AbstractMap

    def __call__(self, x: Batch, u: Float[Array, "trial d"]) -> Batch:
        """The states one step later."""
        return jax.vmap(self.system.step)(x, u)


class DenseLeakyStep(eqx.Module):
    """An Euler step of a leaky network that multiplies rates, inputs and a one by all weights and the bias at once."""

    flow: AbstractLeaky
    weight: Float[Array, "n n"]
    joined: Float[Array, "k n"]
    dt: float = eqx.field(static=True)

    def __call__(self, x: Batch, external: Float[Array, "trial e"]) -> Batch:
        """The states one step later."""
        flow = eqx.tree_at(lambda f: f.connectivity, self.flow, _Drawn(self.weight, self.joined, external))
        return x + self.dt * flow.field(x, jnp.zeros_like(x), activation(flow.phi))


class _Drawn(eqx.Module):
    """Stands for dense weights in the field of a flow, and brings the external drive with the recurrent one."""

    weight: Float[Array, "n n"]
    joined: Float[Array, "k n"]
    external: Float[Array, "trial e"]

    def __call__(self, rates: Batch) -> Batch:
        weight = jax.lax.stop_gradient(self.weight)
        return checkpoint_name(_product(rates, self.external, self.joined, weight), "product")


@jax.custom_vjp
def _product(
    rates: Batch, external: Float[Array, "trial e"], joined: Float[Array, "k n"], weight: Float[Array, "n n"]
) -> Batch:
    r"""[rates, external] @ `joined`, whose first n rows are the transposed `weight`.

    Rows are read in order in the forward product, in the backward product (through `weight`, which takes no
    derivative) and in that of the weights.
    """
    del weight
    return jnp.concatenate([rates, external], 1) @ joined


def _forward(rates: Batch, external: Array, joined: Array, weight: Array) -> tuple[Batch, tuple[Array, Array, Array]]:
    both = jnp.concatenate([rates, external], 1)
    return both @ joined, (both, joined, weight)


def _backward(kept: tuple[Array, Array, Array], cotangent: Batch) -> tuple[Array, Array, Array, Array]:
    both, joined, weight = kept
    external = cotangent @ joined[len(weight) :].T
    return cotangent @ weight, external, both.T @ cotangent, jnp.zeros_like(weight)


_product.defvjp(_forward, _backward)
