r"""Train thousands of tiny networks as one program, with the networks along the last axis of every array.

Anything goes whose arrays end in one axis of networks: real arrays are trained, others belong to each network as they
are. Every network has its own Adam, its own clipped gradient and its own loss; the key of a step is the same for all,
so that all learn from the same sample.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from recurvature._errors import InputError, check_count, check_positive
from recurvature._keys import PRNGKey, at_step, stream
from recurvature._progress import Progress, Report, silent
from recurvature._result import AbstractResult, Values

P = TypeVar("P")
PopulationLoss = Callable[[P, PRNGKey], Float[Array, " seed"]]
"""The loss of every network, from a population and the key of a step."""

TRAINED, ZEROED, NON_FINITE = range(3)
STATUS = ("trained", "gradients zeroed", "non-finite")
"""What the numbers in `PopulationHistory.status` mean: gradients that are not finite count as zero for that step, and
a network is non-finite if its last loss or a parameter is."""


class PopulationHistory(AbstractResult):
    """How a population learned: mean losses over blocks of steps, and what had to be put right."""

    step: Int[Values, " step"]
    """The last step of each block, from 1 on."""
    loss: Float[Values, "step seed"]
    zeroed: Int[Values, " seed"]
    """Steps at which the gradient was not finite and was left out."""
    status: Int[Values, " seed"]
    statuses: tuple[str, ...] = STATUS


@dataclasses.dataclass(frozen=True)
class PopulationFit(Generic[P]):
    """A trained population and its history."""

    population: P
    history: PopulationHistory

    @property
    def failed(self) -> Bool[np.ndarray, " seed"]:
        """Which networks ended without finite numbers."""
        return np.asarray(np.asarray(self.history.status) == NON_FINITE)


class _Recipe(eqx.Module):
    """Numbers are arrays, so that runs that differ only in them share one compiled program."""

    loss: PopulationLoss
    rate: Float[Array, ""]
    last_rate: Float[Array, ""]
    clip_norm: Float[Array, ""]
    steps: Int[Array, ""]

    def rate_at(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """A cosine from `rate` to the share `last_rate` of it."""
        done = step.astype(jnp.float32) / self.steps.astype(jnp.float32)
        return self.rate * (self.last_rate + (1 - self.last_rate) * 0.5 * (1 + jnp.cos(jnp.pi * done)))


class _Now(eqx.Module):
    parameters: PyTree[Array]
    moments: PyTree[Array]
    step: Int[Array, ""]
    zeroed: Int[Array, " seed"]
    total: Float[Array, " seed"]


def fit_population(
    population: P,
    loss: PopulationLoss[P],
    *,
    steps: int,
    key: PRNGKey,
    learning_rate: float = 0.02,
    last_rate: float = 0.01,
    clip_norm: float = 1.0,
    chunk: int | None = None,
    block: int = 100,
    report: Report = silent,
) -> PopulationFit[P]:
    r"""Minimise `loss(population, key)` for every network of a population at once, by Adam.

    - `population`: a tree of arrays whose last axis runs over the networks; those of real numbers are trained.
    - `loss`: the loss of every network, from a population (any number of its networks) and a key. A module whose
      numbers are arrays: two such losses share one compiled program.
    - `learning_rate`: falls along a cosine to the share `last_rate` of it.
    - `clip_norm`: largest norm of the gradient of one network. Gradients that are not finite count as zero.
    - `chunk`: networks trained together (None: all); the rest wait their turn. It bounds the memory, and changes no
      numbers but by rounding: the keys of the steps are the same for every chunk.
    - `block`: steps between two reports, and in one row of the history.

    Raises `InputError` where the arrays do not share a last axis, or options make no sense.
    """
    check_count(steps=steps, block=block)
    check_positive(learning_rate=learning_rate, clip_norm=clip_norm)
    if not 0 <= last_rate <= 1:
        raise InputError(f"`last_rate` is a share of the rate, from 0 to 1; got {last_rate!r}.")
    count = _count(population)
    check_count(chunk=count if chunk is None else chunk)
    chunk = min(count, chunk or count)
    rate, last, clip = (jnp.asarray(n, jnp.float32) for n in (learning_rate, last_rate, clip_norm))
    recipe = _Recipe(loss, rate, last, clip, jnp.asarray(steps, jnp.int32))
    rows, done = [], []
    for start in range(0, count, chunk):
        # the last chunk takes networks of the one before along, so that all have one shape and one program
        first = min(start, count - chunk)
        part, history = _fit_chunk(_slice(population, first, first + chunk), recipe, key, block, report)
        kept = slice(start - first, None)
        done.append(_slice(part, start - first, chunk))
        rows.append({name: value[..., kept] for name, value in history.items()})
    trained = jax.tree.map(lambda *leaves: _joined(leaves), *done)
    found: dict[str, Any] = {name: np.concatenate([row[name] for row in rows], axis=-1) for name in rows[0]}
    ends = np.minimum(np.arange(block, steps + block, block), steps)
    return PopulationFit(trained, PopulationHistory(step=ends, **found))


def fit_along(
    population: P, losses: Iterable[PopulationLoss[P]], *, steps: int, key: PRNGKey, **options: Any
) -> Iterator[PopulationFit[P]]:
    """Train on one loss after another, each time from where the last one ended: branches of solutions, followed.

    The options are those of `fit_population`, for every loss. The keys of the steps are the same for all losses.
    """
    for loss in losses:
        fitted = fit_population(population, loss, steps=steps, key=key, **options)
        population = fitted.population
        yield fitted


def _count(population: Any) -> int:
    arrays = [leaf for leaf in jax.tree.leaves(population) if eqx.is_array(leaf)]
    ends = {leaf.shape[-1] if leaf.ndim else 0 for leaf in arrays}
    if len(ends) != 1 or 0 in ends:
        raise InputError(
            f"`population` must hold arrays whose last axis runs over the networks; got lengths {sorted(ends)}."
        )
    if not any(eqx.is_inexact_array(leaf) for leaf in arrays):
        raise InputError("`population` holds no array of real numbers: there is nothing to train.")
    return ends.pop()


def _slice(population: P, start: int, stop: int) -> P:
    return jax.tree.map(lambda leaf: leaf[..., start:stop] if eqx.is_array(leaf) else leaf, population)


def _joined(leaves: tuple[Any, ...]) -> Any:
    return jnp.concatenate(leaves, axis=-1) if eqx.is_array(leaves[0]) else leaves[0]


def _fit_chunk(
    population: P, recipe: _Recipe, key: PRNGKey, block: int, report: Report
) -> tuple[P, dict[str, np.ndarray]]:
    parameters, rest = eqx.partition(population, eqx.is_inexact_array)
    count, steps = _count(population), int(recipe.steps)
    zero = jnp.zeros(count, jnp.float32)
    now = _Now(parameters, _adam.init(parameters), jnp.zeros((), jnp.int32), jnp.zeros(count, jnp.int32), zero)
    losses, step = [], 0
    while step < steps:
        now = _train_block(recipe, rest, now, key, jnp.asarray(block, jnp.int32))
        losses.append(np.asarray(now.total) / (int(now.step) - step))
        step = int(now.step)
        finite = losses[-1][np.isfinite(losses[-1])]
        values = {"loss": float(np.median(finite))} if len(finite) else {}
        report(Progress("training", step, steps, values))
    trained = eqx.combine(now.parameters, rest)
    zeroed = np.asarray(now.zeroed)
    status = np.where(
        _finite_networks(now.parameters) & np.isfinite(losses[-1]), np.where(zeroed, ZEROED, TRAINED), NON_FINITE
    )
    return trained, {"loss": np.stack(losses), "zeroed": zeroed, "status": status}


def _finite_networks(parameters: PyTree[Array]) -> Bool[np.ndarray, " seed"]:
    each = [np.isfinite(np.asarray(leaf)) for leaf in jax.tree.leaves(parameters)]
    return np.logical_and.reduce([leaf.reshape(-1, leaf.shape[-1]).all(0) for leaf in each])


_adam = optax.scale_by_adam()


@eqx.filter_jit
def _train_block(recipe: _Recipe, rest: PyTree, now: _Now, key: PRNGKey, block: Int[Array, ""]) -> _Now:
    """Up to `block` more steps; `total` is the sum of their losses."""
    last = jnp.minimum(now.step + block, recipe.steps)
    now = eqx.tree_at(lambda n: n.total, now, jnp.zeros_like(now.total))
    # TF32 products on accelerators would lose three digits of every state
    with jax.default_matmul_precision("highest"):
        return jax.lax.while_loop(lambda n: n.step < last, lambda n: _step(recipe, rest, n, key), now)


def _step(recipe: _Recipe, rest: PyTree, now: _Now, key: PRNGKey) -> _Now:
    own = at_step(stream(key, "steps"), now.step)

    def summed(parameters: PyTree[Array]) -> tuple[Array, Array]:
        losses = recipe.loss(eqx.combine(parameters, rest), own)
        return losses.sum(), losses

    # no network touches the loss of another: the gradient of the sum holds that of each
    gradient, losses = jax.grad(summed, has_aux=True)(now.parameters)
    gradient, finite = _clipped(gradient, recipe.clip_norm)
    with jax.numpy_dtype_promotion("standard"):
        update, moments = _adam.update(gradient, now.moments)
    rate = recipe.rate_at(now.step)
    parameters = jax.tree.map(lambda p, u: p - rate.astype(p.dtype) * u, now.parameters, update)
    zeroed = now.zeroed + (~finite).astype(jnp.int32)
    return _Now(parameters, moments, now.step + 1, zeroed, now.total + losses.astype(jnp.float32))


def _clipped(gradient: PyTree[Array], most: Float[Array, ""]) -> tuple[PyTree[Array], Bool[Array, " seed"]]:
    """The gradient of each network, not longer than `most`, zero where it is not finite; and where it is finite."""
    squares = [(leaf**2).reshape(-1, leaf.shape[-1]).sum(0) for leaf in jax.tree.leaves(gradient)]
    norm = jnp.sqrt(sum(squares[1:], squares[0]))
    finite = jnp.isfinite(norm)
    scale = jnp.minimum(jnp.ones_like(norm), most.astype(norm.dtype) / jnp.maximum(norm, jnp.finfo(norm.dtype).tiny))

    def clip(leaf: Array) -> Array:
        shape = (1,) * (leaf.ndim - 1) + scale.shape
        scaled = leaf * scale.reshape(shape)
        return jnp.where(finite.reshape(shape), scaled, jnp.zeros((), leaf.dtype))

    return jax.tree.map(clip, gradient), finite
