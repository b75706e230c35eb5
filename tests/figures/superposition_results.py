"""Small known results of the superposition lens to draw: of one feature and of several."""

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from recurvature import superposition


class Packed(NamedTuple):
    """What the figures of packed memories draw."""

    dense: superposition.Geometry
    sparse: superposition.Geometry
    several: superposition.Geometry
    recorded: superposition.Geometry
    directions: superposition.FeatureDirections
    terms: list[superposition.LossTerms]


def spiral(radius: float, degrees: float, delay: int) -> superposition.Weights:
    angle = np.deg2rad(degrees)
    recurrent = radius * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    older = np.linalg.matrix_power(recurrent, delay)[:, :1]
    return superposition.Weights(
        jnp.asarray(recurrent), jnp.asarray([[1.0], [0.0]]), jnp.asarray(older.T / (older**2).sum())
    )


def directions_of(geometry: superposition.Geometry) -> superposition.FeatureDirections:
    """What a linear recurrence answers to its past, about rest."""
    a, w = np.asarray(geometry.projection), np.asarray(geometry.direction)
    shape = (len(w), w.shape[2])
    return superposition.FeatureDirections(
        age=np.asarray(geometry.age),
        direction=w,
        projection=a,
        spread=np.zeros(shape),
        amplitude=np.ones(1),
        homogeneity=np.zeros((1, *shape)),
        pulse=a[None],
        additivity=np.zeros(1),
        histories=a[None],
        dt=1.0,
        dtype="float64",
    )


@functools.cache
def packed() -> Packed:
    rng = np.random.default_rng(0)
    recurrent, inputs = 0.3 * rng.normal(size=(5, 5)), rng.normal(size=(5, 3))
    wide = superposition.optimal_readout(jnp.asarray(recurrent), jnp.asarray(inputs), superposition.white(3), 2)
    # scaled so that features count as stored
    several = superposition.geometry(superposition.Weights(wide.recurrent, wide.inputs, 2 * wide.readout), 2)
    terms = [
        superposition.loss_terms(superposition.projections(spiral(radius, 29, 3), 12), superposition.sparse(0.3), 3)
        for radius in (0.5, 0.7, 0.8)
    ]
    return Packed(
        dense=superposition.geometry(spiral(0.79, 29, 3), 3),
        sparse=superposition.geometry(spiral(0.48, 85, 3), 3),
        several=several,
        recorded=superposition.geometry_of(several.projection, several.direction, 2),
        directions=directions_of(several),
        terms=terms,
    )
