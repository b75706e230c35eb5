r"""Populations of units: a mixture of Gaussians instead of one, each with overlaps of its own."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_count, check_positive, check_shape
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.coordinates import OVERLAPS, check_overlaps
from recurvature.lenses.overlaps.layout import AbstractLaidOut
from recurvature.lenses.overlaps.losses import DataLoss
from recurvature.lenses.overlaps.response import completed
from recurvature.lenses.overlaps.status import NON_FINITE, OK
from recurvature.systems.gaussian import mean_slope


class MixtureLearning(AbstractLaidOut, AbstractResult):
    r"""Overlaps of every population along learning, and the matrices that move its weights (docs eq. O.49)."""

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    time: Float[Values, " step"] = eqx.field(metadata={"units": "rate times steps"})
    count: Int[Values, " step"] = eqx.field(metadata={"long_name": "steps taken"})
    matrix: Float[Values, "step population a b"]
    propagator: Float[Values, "step population a b"]
    loss: Float[Values, " step"]
    fraction: Float[Values, " population"]
    status: Int[Values, " step"]
    columns: tuple[str, ...]
    outputs: int
    rank: int
    inputs: int

    @property
    def mean(self) -> Float[np.ndarray, "step a b"]:
        """The overlaps of all units together."""
        return np.einsum("p,spij->sij", np.asarray(self.fraction), np.asarray(self.matrix))


def descend_mixture(
    loss: DataLoss,
    overlaps: Float[Any, "population a a"],
    fractions: Float[Any, " population"],
    rate: float,
    *,
    steps: int,
    every: int = 1,
) -> MixtureLearning:
    r"""Gradient descent of a network whose weights are a mixture of zero-mean Gaussians over units (docs eq. O.49).

    `overlaps` are those within each population, `fractions` its share of the units. Linear units know the mean overlaps
    alone. Of nonlinear ones several populations are what a single Gaussian cannot be: units of different gains. It is
    the closure of `descend` population by population, and may be trusted as little for long.
    """
    start, shares = np.asarray(overlaps), np.asarray(fractions)
    check_count(steps=steps, every=every)
    check_positive(rate=rate)
    check_shape("overlaps", start, (len(shares), loss.layout.size, loss.layout.size))
    # the rounding of a few numbers that should add up to one
    if (shares <= 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise InputError(f"`fractions` must be positive and add up to 1; got {shares.tolist()}.")
    if steps % every:
        raise InputError(f"`steps` must be a multiple of `every`; got {steps} and {every}.")
    for each in start:
        check_overlaps(each, loss.layout)
    turns, values = _descended(loss, jnp.asarray(start), jnp.asarray(shares, start.dtype), rate, steps // every, every)
    turned = np.asarray(turns)
    # weights that diverged overflow here: their status says so
    with np.errstate(over="ignore", invalid="ignore"):
        matrices = np.swapaxes(turned, -1, -2) @ start @ turned
    finite = np.isfinite(matrices).all((1, 2, 3)) & np.isfinite(values)
    count = np.arange(0, steps + 1, every)
    return MixtureLearning(
        time=(rate * count).astype(start.dtype),
        count=count,
        matrix=matrices,
        propagator=turned,
        loss=np.asarray(values),
        fraction=shares,
        status=np.where(finite, OK, NON_FINITE).astype(np.int8),
        columns=loss.layout.columns,
        outputs=loss.layout.outputs,
        rank=loss.layout.rank,
        inputs=loss.layout.inputs,
    )


@eqx.filter_jit
def _descended(
    loss: DataLoss,
    start: Float[Array, "population a a"],
    fractions: Float[Array, " population"],
    rate: float,
    records: int,
    every: int,
) -> tuple[Float[Array, "step population a a"], Float[Array, " step"]]:
    """The propagators of every population and the loss, before the first step and after every `every`."""

    def measured(turns: Array) -> tuple[Array, Array]:
        matrices = jnp.swapaxes(turns, 1, 2) @ start @ turns
        value, gradient = jax.value_and_grad(mixture_loss)(matrices, fractions, loss)
        return value, (gradient + jnp.swapaxes(gradient, 1, 2)) / 2

    def step(_: Any, turns: Array) -> Array:
        return turns - 2 * rate * turns @ measured(turns)[1] / fractions[:, None, None]

    def record(turns: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        after = jax.lax.fori_loop(0, every, step, turns)
        return after, (after, measured(after)[0])

    same = jnp.broadcast_to(jnp.eye(start.shape[1], dtype=start.dtype), start.shape)
    _, (turns, values) = jax.lax.scan(record, same, length=records)
    return jnp.concatenate([same[None], turns]), jnp.concatenate([measured(same)[0][None], values])


def mixture_loss(
    overlaps: Float[Array, "population a a"], fractions: Float[Array, " population"], loss: DataLoss
) -> Float[Array, ""]:
    r"""The loss of the effective network of several populations: drives add up, each with its slope (docs eq. O.48)."""
    slope, layout, dt = mean_slope(loss.phi), loss.layout, loss.dt
    k, writes = overlaps[:, : layout.split, layout.split :], overlaps[:, layout.split :, layout.split :]

    def read(state: Array) -> Array:
        gains = slope(jnp.einsum("i,pij,j->p", state, writes, state))
        return jnp.einsum("p,pij,j->i", fractions * gains, k, state)

    def answer(inputs: Array) -> Array:
        filled, start = completed(layout, inputs.astype(overlaps.dtype))

        def step(state: Array, x: Array) -> tuple[Array, Array]:
            after = (1 - dt) * state + dt * jnp.concatenate([x, read(state)[layout.v]])
            return after, read(after)[layout.z]

        return jax.lax.scan(step, start, filled)[1]

    squares = jnp.mean((jax.vmap(answer)(loss.inputs) - loss.targets.astype(overlaps.dtype)) ** 2, axis=-1)
    if loss.mask is None:
        return jnp.mean(squares)
    weights = loss.mask.astype(overlaps.dtype)
    return jnp.sum(squares * weights) / jnp.sum(weights)
