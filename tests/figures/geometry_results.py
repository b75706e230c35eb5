"""Results of the local and global geometry to draw: small and known, so that what is drawn can be compared."""

import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
from tests.figures.results import network_for

import recurvature as rc
from recurvature.lenses import warping
from recurvature.lenses.warping.status import PIECEWISE
from recurvature.measures import Persistence
from recurvature.systems.inputs import box, torus

TIMES = (0.75, 1.25, 2.5)
CHART: dict[str, Any] = {"coordinates": ("item_1", "item_2"), "units": ("rad", "rad"), "periodic": (True, True)}


@functools.cache
def memory() -> tuple[warping.Curvature, warping.Metric, warping.Sheet]:
    """Curvature, metric and positions of an untrained network; the second item comes after 1."""
    task = rc.tasks.WorkingMemory(dt=0.25)
    network, manifold = network_for(3, 2), task.manifold()
    curved = warping.curvature(network, manifold, points=(6, 5), duration=2.5, times=TIMES)
    metric = warping.metric(network, manifold, points=(6, 5), duration=2.5)
    return curved, metric, warping.sheet(network, manifold, points=(6, 5), times=TIMES)


def flat() -> warping.Curvature:
    """The same with nothing but rounding in place of curvature."""
    curved = memory()[0]
    noise = np.where(np.isfinite(curved.scalar), 1e-16 * (-1.0) ** np.arange(30), np.nan)
    error = np.where(np.isfinite(curved.scalar), 1e-15, np.nan)
    return dataclasses.replace(curved, scalar=noise, scalar_error=error)


def piecewise() -> warping.Curvature:
    """The same of a network with kinks."""
    curved = memory()[0]
    status = np.where(np.asarray(curved.status) == 0, PIECEWISE, curved.status)
    return dataclasses.replace(curved, status=status, kinks=("relu",))


def geodesic(problem: str, *, status: list[int] | None = None) -> warping.Geodesic:
    """Four curves on a torus: a fan, or one pair in four classes."""
    shots = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    share = np.linspace(0, 1, 9)[:, None]
    ends = 2 * np.pi * shots + np.array([1.0, 2.0])
    bent = 0.4 * np.sin(np.pi * share) * np.array([[1.0, -1.0]])
    theta = 1.0 + share * ends[:, None] + (bent if problem == "boundary value" else 0)
    length = np.array([2.0, 3.0, 3.5, 4.0])
    return warping.Geodesic(
        time=share[:, 0],
        theta=theta,
        velocity=np.gradient(theta, share[:, 0], axis=1),
        length=length,
        length_error=np.full(4, 1e-6),
        polygon=length,
        chord=length / 2,
        drift=np.zeros(4),
        pair=np.zeros(4, int),
        winding=shots.astype(int),
        shortest=np.arange(4) == 0,
        status=np.array(status or [0] * 4, np.int8),
        **CHART,
        problem=problem,
        method="by hand",
        dtype="float64",
    )


@functools.cache
def distances(periodic: bool = True) -> warping.GeodesicDistances:
    """Within a flat torus, or a box that two coordinates stretch differently."""
    if periodic:
        around = torus("item_1", "item_2")
        embed = lambda t: jnp.concatenate([jnp.cos(t), jnp.sin(t)])  # noqa: E731
        return warping.geodesic_distances(warping.Immersion(embed, around.coordinates), points=(6, 5), neighbours=8)
    plane = box(evidence_1=(-0.2, 0.2), evidence_2=(-0.2, 0.2))
    return warping.geodesic_distances(warping.Immersion(lambda t: 3 * t, plane.coordinates), points=4, neighbours=8)


def bars() -> Persistence:
    """One piece, two loops and a void that count, among noise."""
    birth = np.array([0.0, 0.0, 0.0, 0.4, 0.5, 0.5, 0.6, 1.4])
    death = np.array([np.inf, 0.4, 0.3, 2.0, 1.9, 0.7, 0.8, 2.6])
    return Persistence(
        birth=birth,
        death=death,
        bar_degree=np.array([0, 0, 0, 1, 1, 1, 1, 2]),
        significant=np.array([1, 0, 0, 1, 1, 0, 0, 1], np.int8),
        betti=np.array([1, 2, 1]),
        floor=np.array([0.4, 0.9, 0.9]),
        margin=np.array([3.0, 7.0, 1.3]),
        status=np.zeros(3, int),
        landmark=np.arange(4),
        covering_radius=0.3,
        connection_scale=0.4,
        diameter=3.0,
        noise=0.0,
        factor=3.0,
        points=30,
    )


def compared(seeds: int = 2) -> warping.Comparison:
    """Two groups of `seeds`; one more network of the second has not learned. Differences are numbers of the pairs."""
    group_of = ("tanh",) * seeds + ("softplus",) * (seeds + 1)
    names = ("geodesic raw mean", "geodesic raw max", "geodesic rank", "metric shape mean")
    size = len(group_of)
    first, second = np.triu_indices(size, 1)
    table = np.zeros((len(names), size, size))
    table[:, first, second] = np.outer(10.0 ** -np.arange(len(names)), 1.0 + np.arange(len(first)))
    table += np.swapaxes(table, 1, 2)
    groups = 2
    return warping.Comparison(
        theta=np.zeros((4, 2)),
        difference=table,
        within=np.zeros((len(names), groups)),
        between=np.zeros((len(names), groups, groups)),
        ratio=np.zeros((len(names), groups, groups)),
        learned=np.array([1] * (size - 1) + [0], np.int8),
        size=np.ones(size),
        singular=np.zeros(size, int),
        quantities=names,
        groups=("tanh", "softplus"),
        group_of=group_of,
        learned_given=True,
        grid=(2, 2),
        neighbours=16,
        dtype="float64",
    )


def sweep() -> warping.SmoothingSweep:
    """Curvature that grows like the sharpness at one of four points, and is masked at another."""
    sharpness = np.array([1.0, 4.0, 16.0, 64.0])
    scalar = np.stack([np.array([[-0.5, 0.2, beta, np.nan]]) for beta in sharpness])
    return warping.SmoothingSweep(
        sharpness=sharpness,
        time=np.array([2.0]),
        theta=np.zeros((4, 2)),
        scalar=scalar,
        pieces=np.array([[-0.4, 0.1, 0.3, np.nan]]),
        status=np.broadcast_to(np.array([0, 0, 0, 3], np.int8), (4, 1, 4)),
        coordinates=("item_1", "item_2"),
        periodic=(True, True),
        grid=(2, 2),
        space="state",
    )


def total(shift: float, *, masked: int = 0, kinks: tuple[str, ...] = ()) -> warping.GaussBonnet:
    """A torus whose total curvature is off by `shift`."""
    return warping.GaussBonnet(
        theta=np.zeros((4, 2)),
        gaussian=np.zeros(4),
        element=np.ones(4),
        total_curvature=float("nan") if masked else shift,
        absolute_curvature=float("nan") if masked else abs(shift) + 3.0,
        area=4.0,
        euler_characteristic=0,
        quadrature_error=0.01,
        masked=masked,
        points=(2, 2),
        kinks=kinks,
    )
