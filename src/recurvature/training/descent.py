"""A block of training steps as one compiled program: trials, gradient, clipping, update, and what is recorded."""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from recurvature._keys import PRNGKey, at_step, stream
from recurvature.systems.base import Network
from recurvature.systems.simulate import Noise, run_trials
from recurvature.tasks.base import AbstractTask, Trials
from recurvature.training.history import NON_FINITE, RUNNING
from recurvature.training.penalty import PenaltyFunction

LossFunction = Callable[[Float[Array, "trial time o"], Trials], Float[Array, ""]]
Optimiser = Callable[[Any], optax.GradientTransformation]
"""An optax factory: learning rate -> gradient transformation, such as `optax.adam`."""
Schedule = Callable[[Any], Any]
"""Step -> learning rate, such as `optax.cosine_decay_schedule(1e-3, 1000)`."""
Batching = Literal["map", "vmap"]
Keys = Key[Array, "*seed"]
"""One key, or one for each seed."""


class Recipe(eqx.Module):
    """How one step is made. Numbers are arrays, so that runs that differ only in them share one compiled program."""

    task: AbstractTask
    noise: Noise | None
    learning_rate: Float[Array, ""]
    clip_norm: Float[Array, ""]
    penalty_weights: Float[Array, " penalty"]
    penalty_functions: tuple[PenaltyFunction, ...]
    schedule: Schedule | None = eqx.field(static=True)
    loss: LossFunction = eqx.field(static=True)
    optimiser: Optimiser = eqx.field(static=True)
    batch: int = eqx.field(static=True)
    block: int = eqx.field(static=True)

    def rate(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """The learning rate of a step."""
        if self.schedule is None:
            return self.learning_rate
        with jax.numpy_dtype_promotion("standard"):
            return jnp.asarray(self.schedule(step), jnp.float32)


class Progression(eqx.Module):
    """What changes from step to step; of an ensemble, every array has a leading seed axis."""

    parameters: PyTree[Array]
    optimiser: PyTree[Array]
    step: Int[Array, "*seed"]
    status: Int[Array, "*seed"]


class Records(eqx.Module):
    """The rows of `History`, one per step of a block; NaN where no step was made."""

    loss: Float[Array, "*row"]
    gradient_norm: Float[Array, "*row"]
    learning_rate: Float[Array, "*row"]
    penalties: Float[Array, "*row penalty"]


def start(recipe: Recipe, parameters: PyTree[Array]) -> Progression:
    """Before the first step."""
    with jax.numpy_dtype_promotion("standard"):
        optimiser = recipe.optimiser(recipe.learning_rate).init(parameters)
    return Progression(parameters, optimiser, jnp.zeros((), jnp.int32), jnp.full((), RUNNING, jnp.int32))


@eqx.filter_jit
def train_block(
    recipe: Recipe,
    skeleton: PyTree,
    fixed: PyTree[Array],
    now: Progression,
    key: Keys,
    steps: Int[Array, ""],
    batching: Batching | None,
) -> tuple[Progression, Records]:
    """Up to `recipe.block` steps, and none beyond step number `steps`; a network that is not running is left alone.

    A network is `now.parameters` with its `fixed` arrays and its `skeleton`, which has none. The number of steps is a
    run-time bound of one loop, so a shorter last block needs no second compilation. With `batching`, `fixed`, `now`
    and `key` have a leading seed axis.
    """
    # TF32 products on accelerators would lose three digits of every state
    with jax.default_matmul_precision("highest"):
        one = lambda each: _block(recipe, eqx.combine(each[0], skeleton), each[1], each[2], steps)  # noqa: E731
        if batching is None:
            return one((fixed, now, key))
        return jax.lax.map(one, (fixed, now, key)) if batching == "map" else jax.vmap(one)((fixed, now, key))


def _block(
    recipe: Recipe, static: PyTree, now: Progression, key: PRNGKey, steps: Int[Array, ""]
) -> tuple[Progression, Records]:
    last = jnp.minimum(now.step + recipe.block, steps)
    row = jnp.full(recipe.block, jnp.nan, jnp.float32)
    rows = Records(row, row, row, jnp.full((recipe.block, len(recipe.penalty_functions)), jnp.nan, jnp.float32))
    first = now.step

    def unfinished(carry: tuple[Progression, Records]) -> Array:
        return (carry[0].step < last) & (carry[0].status == RUNNING)

    def body(carry: tuple[Progression, Records]) -> tuple[Progression, Records]:
        now, rows = carry
        after, record = _step(recipe, static, now, key)
        return after, jax.tree.map(lambda a, r: a.at[now.step - first].set(r), rows, record)

    return jax.lax.while_loop(unfinished, body, (now, rows))


def _step(recipe: Recipe, static: PyTree, now: Progression, key: PRNGKey) -> tuple[Progression, Records]:
    trials = recipe.task.trials(at_step(stream(key, "trials"), now.step), recipe.batch)
    noise_key = at_step(stream(key, "noise"), now.step)
    gradient = jax.value_and_grad(_objective, argnums=2, has_aux=True)
    (total, (loss, penalties)), grads = gradient(recipe, static, now.parameters, trials, noise_key)
    norm, rate = _global_norm(grads), recipe.rate(now.step)
    parameters, optimiser = _update(recipe, now, grads, norm, rate)
    fine = jnp.isfinite(total) & jnp.isfinite(norm) & _all_finite(parameters)
    keep = lambda new, old: jnp.where(fine, new, old)  # noqa: E731
    after = Progression(
        jax.tree.map(keep, parameters, now.parameters),
        jax.tree.map(keep, optimiser, now.optimiser),
        now.step + 1,
        jnp.where(fine, now.status, NON_FINITE),
    )
    return after, Records(loss, norm, rate, penalties)


def _objective(
    recipe: Recipe, static: PyTree, parameters: PyTree[Array], trials: Trials, noise_key: PRNGKey
) -> tuple[Array, tuple[Array, Array]]:
    """The loss plus the weighted penalties; also both apart."""
    network: Network = eqx.combine(parameters, static)
    states, outputs = run_trials(network, trials.inputs, recipe.noise, noise_key, recompute=True)
    loss = recipe.loss(outputs, trials)
    values = [function(network, trials, states, outputs) for function in recipe.penalty_functions]
    penalties = recipe.penalty_weights * (jnp.stack(values) if values else jnp.zeros(0, jnp.float32))
    return loss + jnp.sum(penalties), (loss, penalties)


def _update(
    recipe: Recipe, now: Progression, grads: PyTree[Array], norm: Array, rate: Array
) -> tuple[PyTree[Array], PyTree[Array]]:
    """Clipped and applied. JAX's complex gradients are conjugated into the direction of steepest ascent."""
    shrink = jnp.minimum(1, recipe.clip_norm / norm)
    grads = jax.tree.map(lambda g: shrink * jnp.conj(g), grads)
    # optax mixes Python numbers, float32 and integer counters
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        updates, optimiser = recipe.optimiser(rate).update(grads, now.optimiser, now.parameters)
        parameters = optax.apply_updates(now.parameters, updates)
    like = lambda new, old: jnp.asarray(new, old.dtype)  # noqa: E731
    return jax.tree.map(like, parameters, now.parameters), jax.tree.map(like, optimiser, now.optimiser)


def _global_norm(tree: PyTree[Array]) -> Float[Array, ""]:
    return jnp.sqrt(sum((jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(tree)), jnp.zeros((), jnp.float32)))


def _all_finite(tree: PyTree[Array]) -> Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()
