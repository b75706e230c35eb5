"""Weights, and the losses of all input sequences written out one by one."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from recurvature.lenses.superposition import Weights
from recurvature.systems import DiagonalMap, LinearReadout, Network


def random_weights(seed: int, n: int, d: int, radius: float = 0.8) -> Weights:
    generator = np.random.default_rng(seed)
    recurrent = generator.normal(size=(n, n))
    recurrent *= radius / np.abs(np.linalg.eigvals(recurrent)).max()
    return Weights(jnp.asarray(recurrent), *(jnp.asarray(generator.normal(size=s)) for s in ((n, d), (d, n))))


def diagonal(modes: int) -> Network:
    """A diagonal network of one input and one output, whose moduli all differ."""
    generator = np.random.default_rng(modes)
    parts = [generator.normal(size=shape) for shape in ((modes,), (modes,), (modes, 1), (modes, 1), (1, 2 * modes))]
    phase, scale, real, imag, readout = (jnp.asarray(part) for part in parts)
    decay = jnp.linspace(-3.0, -1.0, modes)
    return Network(DiagonalMap(decay, phase - 1, scale, real, imag), LinearReadout(readout), jnp.zeros(2 * modes))


def spiral(radius: float, degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return radius * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def every_sequence(steps: int, d: int, density: float, values: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """All sequences (sequence, time, d) of gated levels with equal chances, and the chance of each."""
    options = [(0.0, 1 - density), *((value, density / len(values)) for value in values)]
    rows = list(itertools.product(options, repeat=steps * d))
    x = np.array([[value for value, _ in row] for row in rows]).reshape(-1, steps, d)
    return x, np.array([np.prod([chance for _, chance in row]) for row in rows])


def run(weights: Weights, x: np.ndarray, hidden=lambda h: h, seen=lambda z: z) -> np.ndarray:
    """The outputs, by the recurrence itself in NumPy."""
    recurrent, inputs, readout = (np.asarray(w) for w in (weights.recurrent, weights.inputs, weights.readout))
    h, out = np.zeros((len(x), len(recurrent))), []
    for t in range(x.shape[1]):
        h = x[:, t] @ inputs.T + hidden(h) @ recurrent.T
        out.append(seen(h @ readout.T))
    return np.stack(out, axis=1)


def square_errors(x: np.ndarray, outputs: np.ndarray, delay: int, importance=1.0) -> np.ndarray:
    """The loss of each sequence."""
    y = np.zeros_like(x)
    y[:, delay:] = x[:, : x.shape[1] - delay]
    return (importance * (y - outputs) ** 2).sum((1, 2))


@pytest.fixture(scope="session")
def planar() -> Weights:
    """A tied spiral of two units for one feature: radius 0.8, 74.5 degrees a step, delay 2."""
    recurrent, inputs = spiral(0.8, 74.5), np.array([[1.0], [0.0]])
    return Weights(
        jnp.asarray(recurrent), jnp.asarray(inputs), jnp.asarray((recurrent @ recurrent @ inputs).T / 0.8**4)
    )
