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
from recurvature.lenses.overlaps.descent import Rule
from recurvature.lenses.overlaps.diagnostics import LOOKS, Leg, check_looks, judge, marked
from recurvature.lenses.overlaps.layout import AbstractLaidOut
from recurvature.lenses.overlaps.losses import DataLoss
from recurvature.lenses.overlaps.status import NON_FINITE, OK, Diagnostics


class MixtureLearning(AbstractLaidOut, AbstractResult):
    r"""Overlaps of every population along learning, and the matrices that move its weights (docs eq. O.49).

    `gradient_norm` is $\sqrt N\lVert\nabla_\Theta L\rVert$. `closure` and `diagnostics` are those of `Learning`: units
    are drawn for every population, and rows are to stay Gaussian within each.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    time: Float[Values, " step"] = eqx.field(metadata={"units": "rate times steps"})
    count: Int[Values, " step"] = eqx.field(metadata={"long_name": "steps taken"})
    matrix: Float[Values, "step population a b"]
    propagator: Float[Values, "step population a b"]
    loss: Float[Values, " step"]
    gradient_norm: Float[Values, " step"]
    fraction: Float[Values, " population"]
    status: Int[Values, " step"]
    columns: tuple[str, ...]
    outputs: int
    rank: int
    inputs: int
    closure: str
    diagnostics: Diagnostics

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
    looks: int = LOOKS,
) -> MixtureLearning:
    r"""Gradient descent of a network whose weights are a mixture of zero-mean Gaussians over units (docs eq. O.49).

    `overlaps` are those within each population, `fractions` its share of the units. Linear units know the mean overlaps
    alone. Of nonlinear ones several populations are what a single Gaussian cannot be: units of different gains. It is
    the closure of `descend` population by population, may be trusted as little for long, and is tested as that is, on
    drawn units at `looks` of the records (`closure(theta, loss, populations=…)` tests those of a network).
    """
    start, shares = np.asarray(overlaps), np.asarray(fractions)
    check_count(steps=steps, every=every)
    check_looks(looks)
    check_positive(rate=rate)
    check_shape("overlaps", start, (len(shares), loss.layout.size, loss.layout.size))
    # the rounding of a few numbers that should add up to one
    if (shares <= 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise InputError(f"`fractions` must be positive and add up to 1; got {shares.tolist()}.")
    if steps % every:
        raise InputError(f"`steps` must be a multiple of `every`; got {steps} and {every}.")
    for each in start:
        check_overlaps(each, loss.layout)
    found = _descended(loss, jnp.asarray(start), jnp.asarray(shares, start.dtype), rate, steps // every, every)
    turned, values, norm = (np.asarray(x) for x in found)
    # weights that diverged overflow here: their status says so
    with np.errstate(over="ignore", invalid="ignore"):
        matrices = np.swapaxes(turned, -1, -2) @ start @ turned
    finite = np.isfinite(matrices).all((1, 2, 3)) & np.isfinite(values)
    count = np.arange(0, steps + 1, every)
    leg = Leg(loss, None, Rule(rate), count, rate * count, matrices, turned, norm)
    judgement = judge([leg], looks=looks, fractions=shares)
    return MixtureLearning(
        time=(rate * count).astype(start.dtype),
        count=count,
        matrix=matrices,
        propagator=turned,
        loss=values,
        gradient_norm=norm,
        fraction=shares,
        status=marked(np.where(finite, OK, NON_FINITE).astype(np.int8), judgement.lost),
        columns=loss.layout.columns,
        outputs=loss.layout.outputs,
        rank=loss.layout.rank,
        inputs=loss.layout.inputs,
        closure=judgement.closure,
        diagnostics=judgement.diagnostics,
    )


@eqx.filter_jit
def _descended(
    loss: DataLoss,
    start: Float[Array, "population a a"],
    fractions: Float[Array, " population"],
    rate: float,
    records: int,
    every: int,
) -> tuple[Float[Array, "step population a a"], Float[Array, " step"], Float[Array, " step"]]:
    """The propagators of every population, the loss and its gradient's norm, at the start and after every `every`."""

    def measured(turns: Array) -> tuple[Array, Array, Array]:
        matrices = jnp.swapaxes(turns, 1, 2) @ start @ turns
        value, gradient = jax.value_and_grad(loss.of_populations)(matrices, fractions)
        gamma = (gradient + jnp.swapaxes(gradient, 1, 2)) / 2
        energy = jnp.sum(gamma * jnp.swapaxes(matrices @ gamma, 1, 2) / fractions[:, None, None])
        return value, gamma, 2 * jnp.sqrt(jnp.maximum(energy, 0))

    def step(_: Any, turns: Array) -> Array:
        return turns - 2 * rate * turns @ measured(turns)[1] / fractions[:, None, None]

    def record(turns: Array, _: None) -> tuple[Array, tuple[Array, Array, Array]]:
        value, _gamma, norm = measured(turns)
        return jax.lax.fori_loop(0, every, step, turns), (turns, value, norm)

    same = jnp.broadcast_to(jnp.eye(start.shape[1], dtype=start.dtype), start.shape)
    # the last record is followed by steps that nobody sees
    return jax.lax.scan(record, same, length=records + 1)[1]
