"""Surfaces whose curvature is known, shared by the tests of local geometry."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from recurvature.lenses.warping import Immersion
from recurvature.systems import torus


class Surface(NamedTuple):
    """An immersion with its Gaussian curvature, its mean curvature, and a box of good points."""

    function: Callable[[Array], Array]
    gaussian: Callable[[np.ndarray], np.ndarray]
    mean: Callable[[np.ndarray], np.ndarray]
    low: tuple[float, float]
    high: tuple[float, float]

    @property
    def immersion(self) -> Immersion:
        return Immersion(self.function, torus("a", "b").coordinates)

    def points(self, count: int = 20) -> np.ndarray:
        return np.random.default_rng(0).uniform(self.low, self.high, (count, 2))


RADIUS = 1.5


def sphere(t: Array) -> Array:
    sine = jnp.sin(t[0])
    return RADIUS * jnp.stack([sine * jnp.cos(t[1]), sine * jnp.sin(t[1]), jnp.cos(t[0])])


def ring(t: Array) -> Array:
    far = 2 + jnp.cos(t[1])
    return jnp.stack([far * jnp.cos(t[0]), far * jnp.sin(t[0]), jnp.sin(t[1])])


def clifford(t: Array) -> Array:
    return jnp.stack([jnp.cos(t[0]), jnp.sin(t[0]), jnp.cos(t[1]), jnp.sin(t[1])])


def saddle(t: Array) -> Array:
    return jnp.stack([t[0], t[1], t[0] ** 2 - t[1] ** 2])


def _saddle_mean(t: np.ndarray) -> np.ndarray:
    x, y = t.T
    return np.abs(4 * y**2 - 4 * x**2) / (1 + 4 * x**2 + 4 * y**2) ** 1.5


SURFACES = {
    "sphere": Surface(
        sphere, lambda t: np.full(len(t), RADIUS**-2), lambda t: np.full(len(t), 1 / RADIUS), (0.3, 0.0), (2.8, 6.2)
    ),
    "ring": Surface(
        ring,
        lambda t: np.cos(t[:, 1]) / (2 + np.cos(t[:, 1])),
        lambda t: np.abs(1 + np.cos(t[:, 1]) / (2 + np.cos(t[:, 1]))) / 2,
        (0.0, 0.0),
        (6.2, 6.2),
    ),
    "clifford": Surface(
        clifford, lambda t: np.zeros(len(t)), lambda t: np.full(len(t), 0.5**0.5), (0.0, 0.0), (6.2, 6.2)
    ),
    "saddle": Surface(saddle, lambda t: -4 / (1 + 4 * (t**2).sum(1)) ** 2, _saddle_mean, (-1.0, -1.0), (1.0, 1.0)),
}
