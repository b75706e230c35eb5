r"""Coding and redundant neurons on a background of random weights (paper's figure 3; docs eqs. L.65, L.66).

Redundant neurons follow the latent variables and are not read: $W = [M; M_\mathrm{red}][\mathbf N, 0]$. Without a
background nothing done to them reaches the variables, exactly. Random weights $\sigma\Xi$ break that, and the closure.
"""

import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float

from recurvature._errors import InputError, check_count, check_not_negative, check_positive, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature._precision import float_dtype
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.rollout import step_share
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import LatentUnit, from_encoding
from recurvature.systems.activations import Activation, activation
from recurvature.systems.base import Euler, Network
from recurvature.systems.connectivity import Dense
from recurvature.systems.leaky import LeakyRate
from recurvature.systems.readout import LinearReadout


class BackgroundSweep(AbstractResult):
    r"""A memory on random weights of growing strength, with and without a pulse of current to some neurons.

    `ratio` is the standard deviation of the random weights over that of the structured ones. `kept` says whether all
    bits have their signs at the end of the run without a pulse, `kept_after` of that with it; `effect` is the largest
    difference of the latent variables between both. `residual` is the root mean square of the random currents at the
    encoding neurons over that of $M\kappa$, at the end: how far the unit is from being closed.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    ratio: Float[Values, " ratio"]
    kept: Bool[Values, "ratio draw"]
    kept_after: Bool[Values, "ratio draw"]
    effect: Float[Values, "ratio draw"]
    residual: Float[Values, "ratio draw"]
    spectral_radius: Float[Values, "ratio draw"]
    """Of the random weights."""
    neurons: int
    pulse_steps: int
    steps: int


def redundant_population(
    unit: LatentUnit, count: int, *, key: PRNGKey, weight: float = 0.8, share: float = 0.1
) -> LatentUnit:
    r"""The unit with `count` more neurons behind its own, not read: $[M; M_\mathrm{red}]$ and $[\mathbf N, 0]$.

    Entries of $M_\mathrm{red}$ are $\pm$`weight` with the chance `share` each, else 0. They have no inputs and no bias.
    """
    check_count(count=count)
    check_positive(weight=weight, share=share)
    if share > 0.5:
        raise InputError(f"`share` must be at most 0.5, one half for each sign; got {share!r}.")
    flow, dtype = unit.flow, float_dtype(unit.flow)
    chance = jr.uniform(stream(key, "redundant"), (count, unit.connectivity.rank), dtype)
    more = weight * ((chance < share).astype(dtype) - (chance > 1 - share).astype(dtype))
    zero = lambda width: jnp.zeros((count, width), dtype)  # noqa: E731
    return from_encoding(
        jnp.concatenate([unit.embedding, more]),
        jnp.concatenate([unit.encoding, zero(unit.connectivity.rank).T], axis=1),
        input_weights=jnp.concatenate([flow.input_weights, zero(flow.input_size)]),
        bias=jnp.concatenate([flow.bias, jnp.zeros(count, dtype)]),
        form=unit.form,
        phi=flow.phi,
        tau=flow.tau,
        dt=unit.dt,
    )


def on_background(unit: LatentUnit, ratio: float, *, key: PRNGKey) -> Network:
    r"""The dense network $W = M\mathbf N + \sigma\Xi$ of a unit, $\sigma$ = `ratio` times the s.d. of $M\mathbf N$.

    N × N, for the few hundred neurons of such an experiment. It reads the latent variables, $y = \mathbf Nr$.
    """
    check_not_negative(ratio=ratio)
    alpha = step_share(unit)
    structured, noise = _weights(unit, key)
    flow = LeakyRate(
        Dense(structured + ratio * noise), unit.flow.input_weights, unit.flow.bias, unit.flow.phi, unit.flow.tau
    )
    start = jnp.zeros(unit.connectivity.size, structured.dtype)
    return Network(Euler(flow, alpha * flow.tau), LinearReadout(unit.encoding), start)


def background_sweep(
    unit: LatentUnit,
    ratios: Float[Any, " ratio"],
    *,
    key: PRNGKey,
    state: Float[Any, " k"],
    pulse: Float[Any, " n"],
    pulse_steps: int = 20,
    before: int = 100,
    after: int = 200,
    draws: int = 12,
) -> BackgroundSweep:
    r"""Whether a memory lasts on random weights, and what a pulse of current does to it.

    **Arguments**

    - `state`: latent variables of the memory; the run starts from its rates, and signs are compared with its own.
    - `pulse`: current to every neuron (inside the activation) for `pulse_steps` steps, `before` steps into the run,
      which goes on for `after` more.
    - `draws`: of the random weights; the same ones for every ratio, only larger.
    """
    alpha = step_share(unit)
    check_count(pulse_steps=pulse_steps, before=before, after=after, draws=draws)
    strong, dtype = np.atleast_1d(np.asarray(ratios, np.float64)), float_dtype(unit.flow)
    if not (np.isfinite(strong) & (strong >= 0)).all():
        raise InputError(f"`ratios` must be finite numbers of at least 0; got {strong.tolist()}.")
    corner, current = jnp.asarray(state, dtype), jnp.asarray(pulse, dtype)
    check_shape("state", corner, (unit.connectivity.rank,))
    check_shape("pulse", current, (unit.connectivity.size,))
    times = np.arange(before + pulse_steps + after)
    on = jnp.asarray((times >= before) & (times < before + pulse_steps), dtype)
    encoding = unit.encoding
    reading = np.abs(np.asarray(encoding)).sum(0) > 0
    rows, radii = [], []
    for draw in range(draws):
        structured, noise = _weights(unit, stream(key, f"background {draw}"))
        radii.append(strong * np.abs(np.linalg.eigvals(np.asarray(noise))).max())
        tables = _run(
            structured, noise, jnp.asarray(strong, dtype), unit.lift(corner), current, on, unit.flow.bias,
            encoding, alpha, unit.flow.phi,
        )  # fmt: skip
        path, currents = (np.asarray(table) for table in tables)
        rows.append(_judge(path, currents, np.asarray(corner), np.asarray(unit.embedding), reading))
    kept, kept_after, effect, residual = (np.stack([row[k] for row in rows], axis=1) for k in range(4))
    return BackgroundSweep(
        strong,
        kept,
        kept_after,
        effect,
        residual,
        np.stack(radii, axis=1),
        unit.connectivity.size,
        pulse_steps,
        len(times),
    )


def _weights(unit: LatentUnit, key: PRNGKey) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """Structured weights, and random ones of the same standard deviation."""
    structured = unit.connectivity.dense()
    noise = jr.normal(stream(key, "random weights"), structured.shape, structured.dtype)
    return structured, noise * jnp.std(structured)


@functools.partial(jax.jit, static_argnames=("alpha", "phi"))
def _run(
    structured: Float[Array, "n n"],
    noise: Float[Array, "n n"],
    ratios: Float[Array, " ratio"],
    start: Float[Array, " n"],
    pulse: Float[Array, " n"],
    on: Float[Array, " time"],
    bias: Float[Array, " n"],
    encoding: Float[Array, "k n"],
    alpha: float,
    phi: str | Activation,
) -> tuple[Float[Array, "ratio time 2 k"], Float[Array, "ratio n"]]:
    """Latent variables without and with the pulse, and the random currents at the end of the run without."""

    def one(ratio: Array) -> tuple[Array, Array]:
        weights = structured + ratio * noise

        def step(rates: Array, now: Array) -> tuple[Array, Array]:
            given = jnp.stack([jnp.zeros_like(pulse), pulse * now])
            target = activation(phi)(rates @ weights.T + given + bias[None, :])
            rates = (1 - alpha) * rates + alpha * target
            return rates, rates @ encoding.T

        last, path = jax.lax.scan(step, jnp.stack([start, start]), on)
        return path, ratio * (noise @ last[0])

    return jax.lax.map(one, ratios)


def _judge(
    path: Float[np.ndarray, "ratio time 2 k"],
    currents: Float[np.ndarray, "ratio n"],
    corner: Float[np.ndarray, " k"],
    embedding: Float[np.ndarray, "n k"],
    reading: Bool[np.ndarray, " n"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    right = (np.sign(path[:, -1]) == np.sign(corner)).all(-1)
    effect = np.abs(path[:, :, 1] - path[:, :, 0]).max((1, 2))
    structured = path[:, -1, 0] @ embedding[reading].T
    residual = np.sqrt((currents[:, reading] ** 2).mean(-1) / np.maximum((structured**2).mean(-1), 1e-300))
    return right[:, 0], right[:, 1], effect, residual
