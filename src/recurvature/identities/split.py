r"""The warping metric of a low-rank network in two parts: what its latent unit carries, and what fades beside it."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._precision import require_float64
from recurvature._progress import Report, silent
from recurvature._result import AbstractResult, Citation, Values
from recurvature.identities.agreement import LIMIT, SOLVER_LIMIT, difference, verdict
from recurvature.identities.where import Where
from recurvature.lenses.latent.closure import latent_system
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import LatentUnit, leaky_unit, row_space
from recurvature.lenses.warping.field import Course, Initial, check_network, points_of, stream
from recurvature.lenses.warping.metric import WARPING
from recurvature.systems.base import Network
from recurvature.systems.inputs import AbstractInputManifold
from recurvature.systems.readout import LinearReadout
from recurvature.systems.tangent import Frame


class MetricSplit(AbstractResult):
    r"""$G = G_\parallel + G_\perp$ of a low-rank network, and the metric of its latent unit (docs eq. I.8, I.10).

    In the rate form `parallel` is what the encoding sees, $V^\top PV$ with $P = \mathbf N^+\mathbf N$; in the current
    form what the embedding and the input weights span. `latent` is $J^\top J$, the metric of the latent unit run
    alone; `lifted` is $J^\top\mathcal G J$ with the Gram matrix $\mathcal G$ by which a motion of the latent unit is
    one of the state: $(\mathbf N\mathbf N^\top)^+$ in the rate form, that of the columns $[M\ W_\mathrm{in}]$ in the
    current form. It must equal `parallel`. `fading` is what is left of the tangents that the initial state brought
    outside of that space: $(1-\alpha)^{2t}$, in continuous time $e^{-2t/\tau}$, times their metric at the start. In
    the current form `orthogonal` is `fading`; in the rate form it is fed by the unit as well.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING, DINC)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    theta: Float[Values, "point m"]
    metric: Float[Values, "time point i j"] = eqx.field(metadata={"units": "state²/coordinate²"})
    parallel: Float[Values, "time point i j"]
    orthogonal: Float[Values, "time point i j"]
    fading: Float[Values, "time point i j"]
    latent: Float[Values, "time point i j"]
    lifted: Float[Values, "time point i j"]
    coordinates: tuple[str, ...]
    grid: tuple[int, ...]
    form: str
    """`rate` or `current`."""
    closed: bool
    """Whether `latent` and `lifted` are those of the unit run alone; else they are read from the units."""
    sum_error: float
    """Of `parallel` + `orthogonal` against `metric`."""
    lifted_error: float
    """Of `lifted` against `parallel`."""
    fading_error: float
    """Of `fading` against `orthogonal`; NaN in the rate form, where they are not the same."""
    tolerance: float
    status: int
    """`identities.STATUS`."""

    @property
    def error(self) -> float:
        """The largest of the errors that there are."""
        errors = [self.sum_error, self.lifted_error]
        return float(np.max([*errors, self.fading_error] if self.form == "current" else errors))


class SplitEmitter(eqx.Module):
    """Emits metrics of a state: inside and outside of a space, of what is read from it, and of that lifted back."""

    basis: Float[Array, "n k"]
    """Orthonormal columns of the space."""
    read: Float[Array, "q n"]
    gram: Float[Array, "q q"]
    """The inner product under which what is read has the length that it has in state space."""

    def __call__(self, network: Network, frame: Frame) -> tuple[Array, Array, Array, Array]:
        """Four metrics, (b, m, m) each."""
        tangents = frame.rows[1:]
        inside = tangents @ self.basis
        outside = tangents - inside @ self.basis.T
        latent = tangents @ self.read.T
        product = lambda left, right: jnp.einsum("ibn,jbn->bij", left, right)  # noqa: E731
        pairs = ((inside, inside), (outside, outside), (latent, latent), (latent @ self.gram, latent))
        return tuple(product(*pair) for pair in pairs)  # type: ignore[return-value]


def metric_split(
    network: Network,
    manifold: AbstractInputManifold,
    *,
    points: int | tuple[int, ...] | Float[Any, "point m"] = 5,
    duration: float,
    samples: int = 10,
    initial: Initial | None = None,
    report: Report = silent,
) -> MetricSplit:
    r"""The split of the state metric of a low-rank leaky network, current or rate; arguments as for `warping.metric`.

    `initial` lets the start depend on the coordinates. In the current form the latent unit then no longer closes on
    itself (what fades of each start drives it), and `latent` is read from the units. Raises `InputError` on networks
    without a latent unit, and `ValueError` unless in float64.
    """
    check_network(network, manifold)
    require_float64(x0=network.x0)
    found, grid = leaky_unit(network), points_of(manifold, points)
    where = Where(manifold, grid.theta, duration, samples, initial)
    closed = initial is None or found.form == "rate"
    basis = carrying_space(found)
    emitter = SplitEmitter(*(jnp.asarray(part) for part in (basis, reading(found), lifting_gram(found))))
    course = Course(duration, samples, None, initial)
    emitted = stream(network, manifold, grid.theta, emitter, course, report=report, task="split of the metric")
    parallel, orthogonal, latent, lifted = (np.asarray(part) for part in emitted.values)
    if closed:
        latent, lifted = _of_the_unit(network, found, where)
    whole = where.metric_of(network, initial=initial)
    fading = _fading(found, basis, where, emitted.time)
    errors = [difference(parallel + orthogonal, whole), difference(lifted, parallel)]
    # as a share of the whole: of an orthogonal part that is zero there is only rounding to compare
    apart = difference(whole - orthogonal + fading, whole) if found.form == "current" else np.nan
    tolerance = SOLVER_LIMIT if found.dt is None else LIMIT
    return MetricSplit(
        time=emitted.time,
        theta=grid.theta,
        metric=whole,
        parallel=parallel,
        orthogonal=orthogonal,
        fading=fading,
        latent=latent,
        lifted=lifted,
        coordinates=grid.names,
        grid=grid.shape,
        form=found.form,
        closed=closed,
        sum_error=errors[0],
        lifted_error=errors[1],
        fading_error=float(apart),
        tolerance=tolerance,
        status=verdict(float(np.max([*errors, apart if found.form == "current" else 0.0])), tolerance),
    )


def carrying_space(found: LatentUnit) -> Float[np.ndarray, "n k"]:
    r"""Orthonormal columns: of the rows of $\mathbf N$ (rate form), or of the columns of $[M\ W_\mathrm{in}]$."""
    if found.form == "rate":
        return row_space(found)
    left, strengths, _ = np.linalg.svd(planes(found), full_matrices=False)
    # rounding of the singular values: dependent columns count once
    floor = len(left) * np.finfo(strengths.dtype).eps * strengths.max(initial=0)
    return left[:, strengths > floor]


def planes(found: LatentUnit) -> Float[np.ndarray, "n k"]:
    r"""$[M\ W_\mathrm{in}]$: the vectors by which a current network's latent variables and filtered inputs act."""
    return np.concatenate([np.asarray(found.embedding), np.asarray(found.flow.input_weights)], axis=1)


def reading(found: LatentUnit) -> Float[np.ndarray, "q n"]:
    r"""How latent variables are read from a state: $\mathbf N$ (rate form), or $[M\ W_\mathrm{in}]^+$."""
    return np.asarray(found.encoding) if found.form == "rate" else np.linalg.pinv(planes(found))


def lifting_gram(found: LatentUnit) -> Float[np.ndarray, "q q"]:
    r"""$\mathcal G$: the squared length in state space of a motion of the latent variables."""
    if found.form == "rate":
        encoding = np.asarray(found.encoding)
        return np.linalg.pinv(encoding @ encoding.T, hermitian=True)
    return planes(found).T @ planes(found)


def _of_the_unit(
    network: Network, found: LatentUnit, where: Where
) -> tuple[Float[np.ndarray, "time point i j"], Float[np.ndarray, "time point i j"]]:
    r"""The metric of the latent unit run alone, and the same under the inner product $\mathcal G$."""
    system, start = latent_system(found, network.x0)
    size, gram = start.shape[0], lifting_gram(found)
    seen = jnp.shape(system.rates(start))[0]
    alone = Network(system, LinearReadout(jnp.zeros((1, seen), start.dtype)), start)
    begin = None if where.initial is None else _Encoded(where.initial, found)
    # of a current unit there may be one variable more, how much of the start is left: no coordinate moves it
    padded = np.pad(gram, (0, size - len(gram)))
    euclidean, lifted = (where.metric_of(alone, inner=inner, initial=begin) for inner in (np.eye(size), padded))
    return euclidean, lifted


class _Encoded(eqx.Module):
    r"""The latent variables $\mathbf Nr$ of an initial state that depends on the coordinates."""

    initial: Callable
    found: LatentUnit

    def __call__(self, theta: Float[Array, " m"]) -> Float[Array, " k"]:
        return self.found.project(self.initial(theta))


def _fading(
    found: LatentUnit, basis: Float[np.ndarray, "n k"], where: Where, time: Float[np.ndarray, " time"]
) -> Float[np.ndarray, "time point i j"]:
    """The metric that the start brings outside of the carrying space, as the leak alone would leave it."""
    count, m = where.theta.shape
    if where.initial is None:
        return np.zeros((len(time), count, m, m))
    frames = np.asarray(jax.vmap(jax.jacfwd(where.initial))(jnp.asarray(where.theta)))
    outside = frames - np.einsum("nk,lk,plm->pnm", basis, basis, frames)
    start = np.einsum("pni,pnj->pij", outside, outside)
    tau = found.flow.tau
    left = np.exp(-time / tau) if found.dt is None else (1 - found.dt / tau) ** np.round(time / found.dt)
    return left[:, None, None, None] ** 2 * start[None]
