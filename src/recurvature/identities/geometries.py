r"""One function, two geometries: linear networks that compute the same and hold it at other distances."""

from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import numpy as np
import scipy.linalg
from jaxtyping import Float

from recurvature._errors import InputError, check_shape
from recurvature._precision import require_float64
from recurvature._result import AbstractResult, Citation, Values
from recurvature.identities.agreement import difference, tolerance_of, verdict
from recurvature.identities.reduced import linear_overlaps, rewired, writing_gram
from recurvature.lenses.overlaps import Overlaps, stacked
from recurvature.lenses.overlaps.coordinates import OVERLAPS, check_overlaps
from recurvature.lenses.overlaps.layout import BIAS, START
from recurvature.lenses.warping import Metric, metric, sheet
from recurvature.lenses.warping.field import check_network
from recurvature.lenses.warping.metric import WARPING
from recurvature.systems.base import AbstractMap, Network
from recurvature.systems.inputs import AbstractInputManifold
from recurvature.systems.simulate import sample_inputs, simulate, simulate_flow


class TwoGeometries(AbstractResult):
    r"""Two networks over one manifold: their outputs, their metrics, and where their states lie (docs eq. I.4).

    `ratio` holds the eigenvalues of the second metric relative to the first, the largest first: the squared factors by
    which directions are longer. Where both networks have the same visible overlaps it lies between the two `bounds`,
    the extreme eigenvalues of their $S_{BB}$, at every time and point of every manifold; else bounds are NaN.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS, WARPING)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    theta: Float[Values, "point m"]
    outputs: Float[Values, "member time point o"]
    metric: Float[Values, "member time point i j"] = eqx.field(metadata={"units": "state²/coordinate²"})
    ratio: Float[Values, "time point k"]
    bounds: Float[Values, " bound"]
    position: Float[Values, "member point component"]
    """At the end, in principal components of each network's own states."""
    variance: Float[Values, "member component"] = eqx.field(metadata={"long_name": "share of variance"})
    members: tuple[str, str]
    coordinates: tuple[str, ...]
    units: tuple[str, ...]
    periodic: tuple[bool, ...]
    grid: tuple[int, ...]
    function_error: float
    """The largest difference of outputs over the largest output."""
    metric_difference: float
    """The same of the metrics."""
    tolerance: float
    status: int
    """`identities.STATUS` of: the outputs are the same, and the ratio keeps within its bounds."""


def twin(network: Network, changed: Mapping[str, float]) -> Network:
    r"""A network with the function of a linear low-rank one, and with other overlaps that its loss cannot see.

    `changed` names invisible overlaps and their new values: products of vectors that both write (`m·m`, `m·u`, `u·u`,
    which are seen by the metric) or both read (`z·z`, `z·v`, `v·v`). Of all networks with these overlaps it is the one
    with the nearest weights (docs eq. I.4). Raises `InputError` where an overlap is visible, no vectors have such
    overlaps, or the network's vectors are linearly dependent.
    """
    require_float64(x0=network.x0)
    overlaps = linear_overlaps(network)
    layout, wanted = overlaps.layout, np.array(overlaps.matrix, float)
    for name, value in changed.items():
        a, b = layout.position(name)
        if (a < layout.split) != (b < layout.split):
            raise InputError(f"`changed` names {name!r}, which the loss sees: the function would be another.")
        wanted[a, b] = wanted[b, a] = value
    check_overlaps(wanted, layout)
    return rewired(network, nearest_vectors(np.asarray(stacked(network).theta), wanted), layout)


def nearest_vectors(theta: Float[np.ndarray, "n a"], wanted: Float[np.ndarray, "a a"]) -> Float[np.ndarray, "n a"]:
    r"""The vectors nearest to $\Theta$ that have the overlaps wanted (docs eq. I.4)."""
    check_shape("wanted", wanted, (theta.shape[1],) * 2)
    root = _root(theta.T @ theta / len(theta))
    # beyond it, directions are made of rounding
    if not np.linalg.cond(root) < 1e6:
        raise InputError("the vectors of `network` are linearly dependent, or nearly: no other overlaps are in reach.")
    inverse = np.linalg.inv(root)
    return theta @ inverse @ _root(root @ wanted @ root) @ inverse


def _root(matrix: Float[np.ndarray, "a a"]) -> Float[np.ndarray, "a a"]:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def two_geometries(
    first: Network,
    second: Network,
    manifold: AbstractInputManifold,
    *,
    points: int | tuple[int, ...] | Float[Any, "point m"] = 9,
    duration: float,
    samples: int = 20,
    members: tuple[str, str] = ("first", "second"),
) -> TwoGeometries:
    """Hold the outputs and the metrics of two linear low-rank networks against each other over one manifold.

    Arguments as for `warping.metric`; `twin` makes a second network of a first. Raises `InputError` on networks that
    are not linear and low-rank or are not driven by this manifold, and `ValueError` unless in float64.
    """
    networks = (first, second)
    for network in networks:
        check_network(network, manifold)
        require_float64(x0=network.x0)
    options: dict[str, Any] = {"points": points, "duration": duration, "samples": samples}
    one = metric(first, manifold, **options, reference="coordinates")
    ratio, other = metric(second, manifold, **options, reference=one), metric(second, manifold, **options)
    bounds = geometry_bounds(*(linear_overlaps(network) for network in networks))
    outputs = np.stack([_outputs(network, manifold, one) for network in networks])
    ends = [sheet(n, manifold, times=(duration,), points=points, samples=samples) for n in networks]
    kept = min(end.position.shape[-1] for end in ends)
    tolerance = tolerance_of(first)
    error = difference(*outputs)
    squares = np.asarray(ratio.stretches) ** 2
    return TwoGeometries(
        time=one.time,
        theta=one.theta,
        outputs=outputs,
        metric=np.stack([np.asarray(one.metric), np.asarray(other.metric)]),
        ratio=squares,
        bounds=bounds,
        position=np.stack([np.asarray(end.position)[0, :, :kept] for end in ends]),
        variance=np.stack([np.asarray(end.variance)[:kept] for end in ends]),
        members=members,
        coordinates=one.coordinates,
        units=one.units,
        periodic=one.periodic,
        grid=one.grid,
        function_error=error,
        metric_difference=difference(one.metric, other.metric),
        tolerance=tolerance,
        status=verdict(max(error, _beyond(squares, bounds)), tolerance),
    )


def geometry_bounds(first: Overlaps, second: Overlaps) -> Float[np.ndarray, " bound"]:
    r"""The least and largest eigenvalue of the second $NS_{BB}$ relative to the first (docs eq. I.4).

    NaN where visible overlaps differ, to a part in 10⁹, and where the first $S_{BB}$ is singular. Columns of a bias and
    of a start do not count: no coordinate moves them.
    """
    if first.layout.columns != second.layout.columns:
        return np.full(2, np.nan)
    split, names = first.layout.split, first.layout.columns[first.layout.split :]
    # rounding of long products, as where overlaps of one function are compared
    if difference(*(np.asarray(s.matrix)[:split, split:] for s in (first, second))) > 1e-9:
        return np.full(2, np.nan)
    moving = [i for i, name in enumerate(names) if name not in (BIAS, START)]
    grams = [
        s.units * writing_gram(np.asarray(s.matrix, float), s.layout)[np.ix_(moving, moving)] for s in (first, second)
    ]
    if not np.linalg.cond(grams[0]) < 1e12:
        return np.full(2, np.nan)
    values = scipy.linalg.eigh(grams[1], grams[0], eigvals_only=True)
    return np.array([values[0], values[-1]])


def _beyond(ratio: Float[np.ndarray, "time point k"], bounds: Float[np.ndarray, " bound"]) -> float:
    """How far ratios lie outside of their bounds, relative to these; 0 where there are none."""
    known = ratio[np.isfinite(ratio)]
    if not np.isfinite(bounds).all() or not len(known):
        return 0.0
    return float(max(0.0, bounds[0] / known.min() - 1, known.max() / bounds[1] - 1))


def _outputs(network: Network, manifold: AbstractInputManifold, over: Metric) -> Float[np.ndarray, "time point o"]:
    """Outputs at the times and points of a metric."""
    theta = np.asarray(over.theta)
    if isinstance(network.system, AbstractMap):
        drive = sample_inputs(manifold, theta, dt=network.system.dt, steps=len(over.time))
        found = simulate(network, drive).outputs
    else:
        found = simulate_flow(network, manifold, theta, np.asarray(over.time), rtol=1e-8, atol=1e-10).outputs
    return np.asarray(found).swapaxes(0, 1)
