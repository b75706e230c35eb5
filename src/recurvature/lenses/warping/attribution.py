r"""What warps: the rate of change of the metric, split into what the recurrence does and what the input does."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._progress import Report, silent
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping import triangular
from recurvature.lenses.warping.field import Course, check_network, points_of, stream
from recurvature.lenses.warping.metric import WARPING
from recurvature.systems.base import AbstractMap, Network
from recurvature.systems.inputs import AbstractInputManifold
from recurvature.systems.tangent import Drive, Frame, pairs, rate_of_change, tangents


class Attribution(AbstractResult):
    r"""$\dot G = $ `recurrent` + `input`, and the share of each in the log-stretch rate of every coordinate.

    For a flow $\dot G = 2\,\mathrm{sym}(V^\top F_xV + V^\top F_u\,\partial_\theta u)$. For a map the same with the
    tangent at the middle of the step, which makes the sum equal $(G_{k+1}-G_k)/dt$ exactly (docs eq. W.8).
    Log-stretch rates are $\dot G_{ii}/(2G_{ii})$, NaN where $G_{ii} = 0$; the recurrent part includes the leak.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    theta: Float[Values, "point m"]
    recurrent: Float[Values, "time point i j"] = eqx.field(metadata={"units": "space²/(coordinate² tau)"})
    input: Float[Values, "time point i j"] = eqx.field(metadata={"units": "space²/(coordinate² tau)"})
    recurrent_log_rate: Float[Values, "time point m"] = eqx.field(metadata={"units": "1/tau"})
    input_log_rate: Float[Values, "time point m"] = eqx.field(metadata={"units": "1/tau"})
    coordinates: tuple[str, ...]
    grid: tuple[int, ...]


class RateEmitter(eqx.Module):
    """Emits the Gram entries and their recurrent and input-driven rates of change."""

    def __call__(self, network: Network, frame: Frame) -> tuple[Array, Array, Array]:
        """Three blocks of packed entries, (b, entry)."""
        m, system = frame.drive.shape[0] - 1, network.system
        assert frame.rate is not None
        at_rest = frame.rows.at[1:].set(0)
        driven = tangents(rate_of_change(system, at_rest, Drive(frame.drive), m, 1), m)
        recurrent = tangents(frame.rate, m) - driven
        v = tangents(frame.rows, m)
        middle = v + 0.5 * system.dt * tangents(frame.rate, m) if isinstance(system, AbstractMap) else v
        return _cross(v, 0.5 * v), _cross(middle, recurrent), _cross(middle, driven)


def _cross(left: Float[Array, "m b n"], right: Float[Array, "m b n"]) -> Float[Array, "b entry"]:
    """Entries of left·rightᵀ + right·leftᵀ."""
    product = lambda i, j: (left[i] * right[j]).sum(-1)  # noqa: E731
    return jnp.stack([product(i, j) + product(j, i) for i, j in pairs(left.shape[0])], -1)


def attribution(
    network: Network,
    manifold: AbstractInputManifold,
    *,
    points: int | tuple[int, ...] | Float[Any, "point m"] = 11,
    duration: float,
    samples: int = 50,
    block: int | None = None,
    report: Report = silent,
) -> Attribution:
    """Attribute the warping of the state metric to recurrence and input (docs eq. W.7, W.8); arguments as `metric`."""
    check_network(network, manifold)
    grid = points_of(manifold, points)
    course = Course(duration, samples, block)
    time, values, _ = stream(
        network, manifold, grid.theta, RateEmitter(), course, report=report, task="attribution", rates=True
    )
    m = manifold.dimension
    gram, recurrent, driven = (triangular.symmetric(triangular.unpack(v, m)) for v in values)
    diagonal = lambda a: np.diagonal(a, axis1=-2, axis2=-1)  # noqa: E731
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.where(diagonal(gram) > 0, diagonal(gram), np.nan)
    rates = diagonal(recurrent) / (2 * moved), diagonal(driven) / (2 * moved)
    return Attribution(time, grid.theta, recurrent, driven, *rates, grid.names, grid.shape)
