"""Over which part of an input manifold a metric is asked for, and how long inputs last."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from recurvature._precision import require_float64
from recurvature.lenses.warping import metric
from recurvature.lenses.warping.field import Grid, Initial, check_network, points_of
from recurvature.systems.base import Network
from recurvature.systems.inputs import AbstractInputManifold


class Where(NamedTuple):
    """Over which part of a manifold, and for how long."""

    manifold: AbstractInputManifold
    theta: Float[np.ndarray, "point m"]
    duration: float
    samples: int
    initial: Initial | None = None

    def metric_of(self, network: Network, **options: Any) -> Float[np.ndarray, "time point i j"]:
        """The metric there, by the warping lens."""
        found = metric(
            network,
            self.manifold,
            points=self.theta,
            duration=self.duration,
            samples=self.samples,
            reference="coordinates",
            **options,
        )
        return np.asarray(found.metric)


def looked_at(
    network: Network,
    manifold: AbstractInputManifold,
    points: int | tuple[int, ...] | Float[Any, "point m"],
    duration: float,
    samples: int,
) -> tuple[Grid, Where]:
    """The points and where a metric is asked for. Raises unless the manifold drives the network, in float64."""
    check_network(network, manifold)
    require_float64(x0=network.x0)
    grid = points_of(manifold, points)
    return grid, Where(manifold, grid.theta, duration, samples)
