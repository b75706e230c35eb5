"""Surfaces that are known, shared by the tests of geometry: one program for those of each kind."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature.lenses.warping import Immersion
from recurvature.systems import Coordinate, box, torus

COUNT, RADIUS = 20, 1.5
TERMS = ("a", "b", "aa", "bb", "cosa", "sina", "cosb", "sinb", "cosacosb", "sinacosb", "cosasinb", "sinasinb")


class Combination(eqx.Module):
    """Weighted sums of `TERMS`: the weights are data, so that surfaces share what they compile."""

    weights: Array

    def __call__(self, t: Array) -> Array:
        a, b = t
        ca, sa, cb, sb = jnp.cos(a), jnp.sin(a), jnp.cos(b), jnp.sin(b)
        terms = jnp.stack([a, b, a * a, b * b, ca, sa, cb, sb, ca * cb, sa * cb, ca * sb, sa * sb])
        return self.weights.astype(t.dtype) @ terms


def combination(*rows: dict[str, float]) -> Combination:
    return Combination(jnp.asarray([[row.get(term, 0.0) for term in TERMS] for row in [*rows, {}][:4]]))


class Surface(NamedTuple):
    """An immersion with its Gaussian curvature, its mean curvature, and a box of good points."""

    function: Combination
    gaussian: Callable[[np.ndarray], np.ndarray]
    mean: Callable[[np.ndarray], np.ndarray]
    low: tuple[float, float]
    high: tuple[float, float]

    @property
    def immersion(self) -> Immersion:
        return Immersion(self.function, torus("a", "b").coordinates)

    def points(self) -> np.ndarray:
        return np.random.default_rng(0).uniform(self.low, self.high, (COUNT, 2))


def _saddle_mean(t: np.ndarray) -> np.ndarray:
    x, y = t.T
    return np.abs(4 * y**2 - 4 * x**2) / (1 + 4 * x**2 + 4 * y**2) ** 1.5


SURFACES = {
    "sphere": Surface(
        combination({"sinacosb": RADIUS}, {"sinasinb": RADIUS}, {"cosa": RADIUS}),
        lambda t: np.full(len(t), RADIUS**-2),
        lambda t: np.full(len(t), 1 / RADIUS),
        (0.3, 0.0),
        (2.8, 6.2),
    ),
    "ring": Surface(
        combination({"cosa": 2, "cosacosb": 1}, {"sina": 2, "sinacosb": 1}, {"sinb": 1}),
        lambda t: np.cos(t[:, 1]) / (2 + np.cos(t[:, 1])),
        lambda t: np.abs(1 + np.cos(t[:, 1]) / (2 + np.cos(t[:, 1]))) / 2,
        (0.0, 0.0),
        (6.2, 6.2),
    ),
    "clifford": Surface(
        combination({"cosa": 1}, {"sina": 1}, {"cosb": 1}, {"sinb": 1}),
        lambda t: np.zeros(len(t)),
        lambda t: np.full(len(t), 0.5**0.5),
        (0.0, 0.0),
        (6.2, 6.2),
    ),
    "saddle": Surface(
        combination({"a": 1}, {"b": 1}, {"aa": 1, "bb": -1}),
        lambda t: -4 / (1 + 4 * (t**2).sum(1)) ** 2,
        _saddle_mean,
        (-1.0, -1.0),
        (1.0, 1.0),
    ),
}


ANGLES = torus("a", "b").coordinates


class Revolution(eqx.Module):
    """Surfaces that share one compiled program: a torus of revolution (radius 0: the sphere), a flat torus, a plane."""

    weights: Float[Array, "3"]
    radius: Float[Array, ""]

    def __call__(self, theta: Float[Array, " 2"]) -> Float[Array, " 9"]:
        a, b = theta
        w = self.radius + jnp.cos(b)
        parts = [jnp.stack([w * jnp.cos(a), w * jnp.sin(a), jnp.sin(b)])]
        parts += [jnp.stack([jnp.cos(a), jnp.sin(a), jnp.cos(b), jnp.sin(b)]), theta]
        return jnp.concatenate([part * self.weights[k] for k, part in enumerate(parts)])


def revolution(kind: int, radius: float = 2.0, coordinates: tuple[Coordinate, ...] = ANGLES) -> Immersion:
    return Immersion(Revolution(jnp.eye(3)[kind], jnp.asarray(radius)), coordinates)


RING, SPHERE, CLIFFORD = revolution(0), revolution(0, 0.0), revolution(1)
PLANE = revolution(2, coordinates=box(a=(-2.0, 2.0), b=(-2.0, 2.0)).coordinates)
