r"""The latent variables of very many neurons, over time: the rates are eliminated, and no array of theirs is kept.

With one time constant, $\kappa_{t+1} = (1-\alpha)\kappa_t + \alpha\mathbf N\phi(M\kappa_t + W_\mathrm{in}u_t + b)$
holds exactly (docs eq. L.49). A step reads the weights once and writes K numbers: the time of a million neurons is that
of a million evaluations of $\phi$.
"""

import functools
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_choice
from recurvature._precision import float_dtype
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import AbstractUnit, LatentUnit
from recurvature.systems.activations import Activation, activation
from recurvature.systems.base import AbstractMap
from recurvature.systems.simulate import NON_FINITE, OK, STATUS

Accumulator = Literal["native", "float64"]


class LatentTrajectory(AbstractResult):
    r"""Latent variables over time: `kappa[:, k]` at `time[k]`, when `inputs[:, k]` has been consumed."""

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    kappa: Float[Values, "trial time k"]
    status: Int[Values, " trial"]
    neurons: int
    accumulator: str
    statuses: tuple[str, ...] = STATUS


class Columns(eqx.Module):
    """The weights of a unit with neurons last, so that every pass over them is contiguous."""

    embedding: Float[Array, "k n"]
    encoding: Float[Array, "k n"]
    input_weights: Float[Array, "d n"]
    bias: Float[Array, " n"]
    phi: str | Activation = eqx.field(static=True)


def rollout(
    unit: AbstractUnit,
    inputs: Float[Any, "trial time d"],
    start: Float[Any, "trial k"],
    *,
    accumulator: Accumulator = "native",
) -> LatentTrajectory:
    r"""Latent variables from `start` under given inputs, trial by trial, without the rates (docs eq. L.49).

    **Arguments**

    - `unit`: of the rate form or of several synapses, with a step `dt`; its number type is that of the computation.
    - `accumulator`: `native` sums in the unit's number type, in many partial sums as matrix products do; `float64` sums
      products in float64, which float32 weights need once the slowness exceeds about 1000: an error of the sum is
      $\beta$ times that of the rate.

    Raises `InputError` for other forms, shapes that do not fit, and `float64` without 64-bit numbers.
    """
    alpha = step_share(unit)
    check_choice("accumulator", accumulator, ("native", "float64"))
    if accumulator == "float64" and not jax.config.read("jax_enable_x64"):
        raise InputError("`accumulator` float64 needs 64-bit numbers: call recurvature.enable_float64() first.")
    dtype = float_dtype(unit.flow)
    given, kappa = jnp.asarray(inputs, dtype), jnp.asarray(start, dtype)
    rank, channels = unit.rank, unit.flow.input_size
    if given.ndim != 3 or given.shape[2] != channels or kappa.shape != (given.shape[0], rank):
        raise InputError(
            f"`inputs` must be (trial, time, {channels}) and `start` (trial, {rank}); got {given.shape}, {kappa.shape}."
        )
    if isinstance(unit, LatentUnit):
        found = np.asarray(_rollout(columns(unit), given, kappa, alpha, accumulator))
    else:
        check_choice("accumulator", accumulator, ("native",))
        system = unit.system
        assert isinstance(system, AbstractMap)
        found = np.asarray(_steps(system, given, kappa))
    status = np.where(np.isfinite(found).all((1, 2)), OK, NON_FINITE).astype(np.int8)
    time = (np.arange(given.shape[1]) + 1) * float(unit.dt or 0)
    return LatentTrajectory(time, found, status, unit.flow.state_size, accumulator)


def step_share(unit: AbstractUnit) -> float:
    r"""$\alpha = dt/\tau$ of a unit in the rate form with a step; `InputError` for any other."""
    if unit.form != "rate" or unit.dt is None:
        raise InputError("`unit` must have the rate form and a step: give its network one by Euler(flow, dt).")
    return unit.dt / unit.flow.tau


def columns(unit: LatentUnit) -> Columns:
    """The weights of a unit with neurons last; the 1/N is inside the encoding."""
    flow = unit.flow
    return Columns(unit.embedding.T, unit.encoding, flow.input_weights.T, flow.bias, flow.phi)


@functools.partial(jax.jit, static_argnames=("alpha", "accumulator"))
def _rollout(
    weights: Columns,
    inputs: Float[Array, "trial time d"],
    start: Float[Array, "trial k"],
    alpha: float,
    accumulator: Accumulator,
) -> Float[Array, "trial time k"]:
    blocks = in_lanes(weights)

    def one(trial: tuple[Array, Array]) -> Array:
        def step(kappa: Array, u: Array) -> tuple[Array, Array]:
            kappa = (1 - alpha) * kappa + alpha * encoded(blocks, kappa, u, accumulator)
            return kappa, kappa

        return jax.lax.scan(step, trial[1], trial[0])[1]

    return jax.lax.map(one, (inputs, start))


@eqx.filter_jit
def _steps(
    system: AbstractMap, inputs: Float[Array, "trial time d"], start: Float[Array, "trial k"]
) -> Float[Array, "trial time k"]:
    """The equation of the variables, as it stands."""

    def one(trial: tuple[Array, Array]) -> Array:
        step = lambda kappa, u: (system.step(kappa, u),) * 2  # noqa: E731
        return jax.lax.scan(step, trial[1], trial[0])[1]

    return jax.lax.map(one, (inputs, start))


LANES = 16_384
"""Neurons side by side in one block: their rates and partial sums stay in the cache of a core."""


class Lanes(eqx.Module):
    """The weights of `Columns` in blocks of neurons."""

    embedding: Float[Array, "block k n"]
    encoding: Float[Array, "block k n"]
    input_weights: Float[Array, "block d n"]
    bias: Float[Array, "block n"]
    phi: str | Activation = eqx.field(static=True)


def in_lanes(weights: Columns) -> Lanes:
    """The weights cut into blocks; the last is filled up with copies of the last neuron that encode nothing."""
    size = weights.bias.shape[0]
    length = min(size, LANES)

    def cut(rows: Array, mode: str) -> Array:
        filled = jnp.pad(rows, ((0, 0), (0, -size % length)), mode=mode)
        return filled.reshape(len(rows), filled.shape[1] // length, length).swapaxes(0, 1)

    copied = [cut(rows, "edge") for rows in (weights.embedding, weights.input_weights, weights.bias[None])]
    return Lanes(copied[0], cut(weights.encoding, "constant"), copied[1], copied[2][:, 0], weights.phi)


def encoded(
    weights: Lanes, kappa: Float[Array, " k"], u: Float[Array, " d"], accumulator: Accumulator
) -> Float[Array, " k"]:
    r"""$\mathbf N\phi(M\kappa + W_\mathrm{in}u + b)$: one pass over the weights, every lane with a sum of its own."""
    wide = kappa.dtype if accumulator == "native" else jnp.float64

    def add(sums: Array, block: Lanes) -> tuple[Array, None]:
        currents = block.bias
        for column, value in zip((*block.embedding, *block.input_weights), (*kappa, *u), strict=True):
            currents = currents + column * value
        rates = activation(weights.phi)(currents)
        return sums + block.encoding.astype(wide) * rates.astype(wide)[None], None

    sums = jax.lax.scan(add, jnp.zeros(weights.encoding.shape[1:], wide), weights)[0]
    # a product adds in many parts, a sum may add one after the other
    return (sums @ jnp.ones(sums.shape[1], wide)).astype(kappa.dtype)
