r"""Descent of all $N$ units, for optimisers that the overlaps cannot follow and for checks of those that they can."""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_count, check_positive, check_shape
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.coordinates import OVERLAPS
from recurvature.lenses.overlaps.descent import Loss
from recurvature.lenses.overlaps.extract import stacked
from recurvature.lenses.overlaps.layout import BIAS, START, AbstractCourse, Layout
from recurvature.lenses.overlaps.span import share_outside
from recurvature.lenses.overlaps.status import NON_FINITE, OK
from recurvature.systems.base import Network

BLOCKS = ("z", "v", "m", "u")


class UnitLearning(AbstractCourse, AbstractResult):
    r"""Every weight of a network along its own descent, and the overlaps that result.

    `outside` says how much the overlaps can have known of it: the share (in norm) of $\Theta_k-\Theta_0$ outside the
    span of the columns of $\Theta_0$, 0 for every rule that closes; `step_outside` the same of the way since the last
    record.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    count: Int[Values, " step"] = eqx.field(metadata={"long_name": "steps taken"})
    vectors: Float[Values, "step n a"]
    matrix: Float[Values, "step a b"]
    loss: Float[Values, " step"]
    outside: Float[Values, " step"]
    step_outside: Float[Values, " step"]
    status: Int[Values, " step"]
    columns: tuple[str, ...]
    outputs: int
    rank: int
    inputs: int
    dtype: str


def descend_units(
    loss: Any,
    theta: Float[Any, "n a"],
    optimiser: optax.GradientTransformation | float,
    *,
    steps: int,
    layout: Layout,
    data: Any = None,
    every: int = 1,
) -> UnitLearning:
    r"""Train all units: any optimiser, any nonlinearity, at the price of N.

    **Arguments**

    - `loss`: one of the losses of this lens. Those that know units (`DataLoss`, `BatchLoss`, `TaskLoss`,
      `NoisyTargets`) are run unit by unit. Any other is a function of the overlaps, of linear units, and taken at
      $\Theta^\top\Theta/N$.
    - `theta`: vectors (N, P), in the order of `layout`.
    - `optimiser`: an optax transformation of the gradients $N\nabla_\Theta L$ of the four tensors `z`, `v`, `m`, `u`,
      such as `optax.adam(1e-3)`; a number is the rate of plain descent.
    - `data`, `every`: as for `descend`.

    Divergence is reported in `status`, not raised.
    """
    check_shape("theta", theta, (None, layout.size))
    check_count(steps=steps, every=every)
    if steps % every:
        raise InputError(f"`steps` must be a multiple of `every`; got {steps} and {every}.")
    for leaf in jax.tree.leaves(data):
        check_shape("data", leaf, (steps, *(None,) * (np.ndim(leaf) - 1)))
    if isinstance(optimiser, int | float):
        check_positive(optimiser=optimiser)
        optimiser = _plain(float(optimiser))
    path, values = _descended(loss, jnp.asarray(theta), optimiser, layout, steps // every, every, data)
    count = np.arange(len(path)) * every
    return _recorded(np.asarray(path), np.asarray(values), layout, count)


def watched(networks: Sequence[Network], *, count: Int[Any, " step"], loss: Float[Any, " step"]) -> UnitLearning:
    """The overlaps of one network along its own training, whatever trained it: one network to each record.

    `count` says after how many steps each was recorded, `loss` what its loss was then. A bias or a start that comes
    into being has its column from the first record on. Raises `InputError` on networks that overlaps do not describe,
    that have no factors of their own, and on sizes that change.
    """
    if not networks:
        raise InputError("`networks` must hold one or more networks of one training.")
    first = [stacked(network) for network in networks]
    if any(stack.gauge != "own" for stack in first):
        raise InputError("`networks` must be of low rank: a dense recurrence leaves the span of a few vectors.")
    found = {name for stack in first for name in stack.layout.input_names}
    keep = tuple(name for name in (BIAS, START) if name in found)
    stacks = [stacked(network, keep=keep) for network in networks] if keep else first
    layout = stacks[0].layout
    if any(stack.layout.columns != layout.columns for stack in stacks):
        raise InputError("`networks` must share their inputs, outputs and rank: they are records of one training.")
    steps = np.asarray(count)
    check_shape("count", steps, (len(stacks),))
    check_shape("loss", np.asarray(loss), (len(stacks),))
    path = np.stack([np.asarray(stack.theta) for stack in stacks])
    return _recorded(path, np.asarray(loss, path.dtype), layout, steps)


# an optimiser made anew would be another program to compile
_plain = functools.lru_cache(optax.sgd)


def loss_of_units(loss: Any) -> Loss:
    """The loss as a function of vectors: unit by unit where it can be, else that of their overlaps (linear units)."""
    if hasattr(loss, "of_units"):
        return loss.of_units
    return lambda theta, *data: loss(theta.T @ theta / jnp.asarray(theta.shape[0], theta.dtype), *data)


def split(theta: Float[Array, "n a"], layout: Layout) -> dict[str, Float[Array, "n b"]]:
    """The four tensors of the vectors, by name."""
    return {name: theta[:, block] for name, block in zip(BLOCKS, _slices(layout), strict=True)}


def _slices(layout: Layout) -> tuple[slice, slice, slice, slice]:
    return layout.z, layout.v, layout.m, layout.u


@eqx.filter_jit
def _descended(
    loss: Any,
    theta: Float[Array, "n a"],
    optimiser: optax.GradientTransformation,
    layout: Layout,
    records: int,
    every: int,
    data: Any,
) -> tuple[Float[Array, "step n a"], Float[Array, " step"]]:
    """The vectors and their loss before the first step and after every `every` steps."""
    measured, last = loss_of_units(loss), records * every - 1
    per_step = () if data is None else (data,)

    def at_step(k: Array) -> tuple:
        return jax.tree.map(lambda x: x[jnp.minimum(k, last)], per_step)

    def step(k: Array, carry: tuple[Array, Any]) -> tuple[Array, Any]:
        at, state = carry
        gradient = jnp.asarray(at.shape[0], at.dtype) * jax.grad(measured)(at, *at_step(k))
        # optax mixes Python numbers and integer counters with arrays
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            updates, state = optimiser.update(split(gradient, layout), state, split(at, layout))
        moved = jnp.concatenate([updates[name] for name in BLOCKS], axis=1)
        return at + moved.astype(at.dtype), state

    def record(carry: tuple[Array, Any], k: Array) -> tuple[tuple[Array, Any], tuple[Array, Array]]:
        after = jax.lax.fori_loop(k, k + every, step, carry)
        return after, (after[0], measured(after[0], *at_step(k + every)))

    start = (theta, optimiser.init(split(theta, layout)))
    _, (path, values) = jax.lax.scan(record, start, jnp.arange(records) * every)
    first = measured(theta, *at_step(jnp.asarray(0)))
    return jnp.concatenate([theta[None], path]), jnp.concatenate([first[None], values])


def _recorded(
    path: Float[np.ndarray, "step n a"],
    values: Float[np.ndarray, " step"],
    layout: Layout,
    count: Int[np.ndarray, " step"],
) -> UnitLearning:
    # weights that diverged overflow here: their status says so
    with np.errstate(over="ignore", invalid="ignore"):
        matrices = np.swapaxes(path, -1, -2) @ path / path.dtype.type(path.shape[1])
        moved = path - path[0]
        since = np.concatenate([np.zeros_like(path[:1]), np.diff(path, axis=0)])
        outside, step_outside = (share_outside(x, path[0]) for x in (moved, since))
    finite = np.isfinite(matrices).all((-1, -2)) & np.isfinite(values)
    return UnitLearning(
        count=count,
        vectors=path,
        matrix=matrices,
        loss=values,
        outside=outside,
        step_outside=step_outside,
        status=np.where(finite, OK, NON_FINITE).astype(np.int8),
        columns=layout.columns,
        outputs=layout.outputs,
        rank=layout.rank,
        inputs=layout.inputs,
        dtype=str(path.dtype),
    )
