"""Layouts, overlap matrices and full networks written out unit by unit, to hold the lens against."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from recurvature.lenses.overlaps import FilterLoss, Layout, exponential

RANK1 = Layout(1, 1, 1)
RANK2 = Layout(1, 2, 1)
WIDE = Layout(2, 3, 2)
DT, STEPS = 0.1, 32
FILTER = FilterLoss(exponential(1.0, 0.2), RANK1, DT, STEPS * DT)
"""A filter to imitate. Tests that descend record six times, so that they share one compiled program."""


def some_overlaps(layout: Layout, seed: int = 0) -> np.ndarray:
    """A generic, well-conditioned overlap matrix whose recurrence is stable."""
    draw = np.random.default_rng(seed).normal(size=(layout.size, 3 * layout.size))
    return 0.6 * np.eye(layout.size) + 0.4 * draw @ draw.T / (3 * layout.size)


def some_vectors(layout: Layout, units: int, seed: int = 0) -> Array:
    """Vectors (N, P) whose overlaps are `some_overlaps(layout)`, made without the lens."""
    orthonormal = np.linalg.qr(np.random.default_rng(seed).normal(size=(units, layout.size)))[0] * np.sqrt(units)
    return jnp.asarray(orthonormal @ np.linalg.cholesky(some_overlaps(layout)).T)


def simulate(theta: Array, layout: Layout, inputs: Array, dt: float = DT) -> Array:
    """Outputs (time, o) of the linear network, all N units of it, with the N × N matrix multiplied out."""
    units = theta.shape[0]
    z, v, m, u = (theta[:, block] for block in (layout.z, layout.v, layout.m, layout.u))
    weight = u @ v.T / units

    def step(h: Array, x: Array) -> tuple[Array, Array]:
        after = (1 - dt) * h + dt * (weight @ h + m @ x)
        return after, z.T @ after / units

    return jax.lax.scan(step, jnp.zeros(units, theta.dtype), inputs)[1]


def simulate_factors(theta: Array, layout: Layout, inputs: Array, dt: float = DT) -> Array:
    """`simulate` of many units: the same N rates, with the matrix left in its two factors."""
    units = theta.shape[0]
    z, v, m, u = (theta[:, block] for block in (layout.z, layout.v, layout.m, layout.u))

    def step(h: Array, x: Array) -> tuple[Array, Array]:
        after = (1 - dt) * h + dt * (u @ (v.T @ h) / units + m @ x)
        return after, z.T @ after / units

    return jax.lax.scan(step, jnp.zeros(units, theta.dtype), inputs)[1]


def impulses(layout: Layout, steps: int, dt: float = DT) -> np.ndarray:
    """An impulse of area 1 in each input, one trial each (trial, time, d)."""
    result = np.zeros((layout.inputs, steps, layout.inputs))
    result[np.arange(layout.inputs), 0, np.arange(layout.inputs)] = 1 / dt
    return result


def full_descent(
    loss: Callable[..., Array], theta: Array, steps: int, rate: float, data: Array | None = None, **rule: float | Array
) -> Array:
    """Vectors (step, N, P) of gradient descent on all weights, as optimisers of deep-learning libraries define it."""
    units = theta.shape[0]
    momentum, decay, clip = rule.get("momentum", 0.0), rule.get("weight_decay", 0.0), rule.get("clip", jnp.inf)
    factors = jnp.broadcast_to(jnp.asarray(rule.get("factors", 1.0)), theta.shape)

    def step(carry: tuple[Array, Array], datum: Array | None) -> tuple[tuple[Array, Array], Array]:
        at, velocity = carry
        gradient = units * jax.grad(loss)(at, *(() if datum is None else (datum,)))
        norm = jnp.sqrt(jnp.sum(jnp.where(factors > 0, gradient, 0) ** 2) / units)
        gradient = gradient * jnp.minimum(1.0, clip / norm) + decay * at
        velocity = momentum * velocity + gradient
        taken = gradient + momentum * velocity if rule.get("nesterov") else velocity
        return (at - rate * factors * taken, velocity), at

    (last, _), path = jax.jit(lambda x: jax.lax.scan(step, (x, jnp.zeros_like(x)), data, length=steps))(theta)
    return jnp.concatenate([path, last[None]])


def overlaps_along(path: Array) -> np.ndarray:
    """The overlap matrices (step, P, P) of vectors (step, N, P)."""
    return np.einsum("sni,snj->sij", path, path) / path.shape[1]


def run(network: Any, inputs: np.ndarray) -> np.ndarray:
    """Outputs (time, o) of a linear leaky network in steps, from the arrays it holds."""
    flow, dt = network.system.flow, network.system.dt
    weight, m, bias, z = (
        np.asarray(a) for a in (flow.connectivity.dense(), flow.input_weights, flow.bias, network.readout.weight)
    )
    h, outputs = np.asarray(network.x0), []
    for x in inputs:
        h = h + dt / flow.tau * (weight @ h + m @ x + bias - h)
        outputs.append(z @ h)
    return np.array(outputs)
