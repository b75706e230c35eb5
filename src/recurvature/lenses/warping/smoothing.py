r"""Networks with ReLU made smooth, and what their curvature becomes as the corners get sharper."""

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_positive
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.warping.curvature import curvature
from recurvature.lenses.warping.metric import WARPING
from recurvature.systems.activations import relu
from recurvature.systems.base import Network
from recurvature.systems.inputs import AbstractInputManifold


@dataclasses.dataclass(frozen=True)
class SoftRelu:
    r"""$\log(1 + e^{\beta x})/\beta$: ReLU with a corner of width $1/\beta$, off by at most $\log 2/\beta$."""

    sharpness: float

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The value, elementwise."""
        return jax.nn.softplus(self.sharpness * x) / self.sharpness


class SmoothingSweep(AbstractResult):
    r"""Scalar curvature of a ReLU network whose corners are replaced by softplus(βx)/β, for several sharpnesses β.

    Away from the kinks of the piecewise network `scalar` approaches `pieces`, the curvature of its smooth pieces, as β
    grows. Near them it grows like β: the curvature of the kinks, in ever narrower strips.
    """

    citations: ClassVar[tuple[Citation, ...]] = (WARPING,)

    sharpness: Float[Values, " sharpness"]
    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    theta: Float[Values, "point m"]
    scalar: Float[Values, "sharpness time point"] = eqx.field(metadata={"units": "1/space²"})
    pieces: Float[Values, "time point"] = eqx.field(metadata={"units": "1/space²"})
    status: Int[Values, "sharpness time point"]
    coordinates: tuple[str, ...]
    periodic: tuple[bool, ...]
    grid: tuple[int, ...]
    space: str


def smoothed(network: Network, sharpness: float) -> Network:
    """The network with softplus of a sharpness in place of every ReLU that is a `phi`.

    Raises `InputError` where there is none: kinks inside of other functions are the business of who wrote them.
    """
    check_positive(sharpness=sharpness)
    out = _replaced(network, SoftRelu(float(sharpness)))
    if out is network:
        raise InputError("`network` has no `phi` that is ReLU; only ReLU can be smoothed.")
    return out


def smoothing_sweep(
    network: Network,
    manifold: AbstractInputManifold,
    *,
    sharpness: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0),
    **options: Any,
) -> SmoothingSweep:
    """Scalar curvature of the smoothed networks, and of the pieces of the network itself; `options` as `curvature`."""
    if not len(sharpness):
        raise InputError("`sharpness` must name one or more positive numbers.")
    networks = [smoothed(network, beta) for beta in sharpness]
    soft = [curvature(each, manifold, **options) for each in networks]
    hard = curvature(network, manifold, **{**options, "allow_piecewise": True})
    return SmoothingSweep(
        sharpness=np.asarray(sharpness, float),
        time=hard.time,
        theta=hard.theta,
        scalar=np.stack([np.asarray(each.scalar) for each in soft]),
        pieces=hard.scalar,
        status=np.stack([np.asarray(each.status) for each in soft]),
        coordinates=hard.coordinates,
        periodic=hard.periodic,
        grid=hard.grid,
        space=hard.space,
    )


def _replaced(node: Any, phi: SoftRelu) -> Any:
    """The tree of modules with `phi` for every ReLU; the node itself where there is none."""
    if isinstance(node, tuple):
        parts = [_replaced(part, phi) for part in node]
        return tuple(parts) if any(new is not old for new, old in zip(parts, node, strict=True)) else node
    if not isinstance(node, eqx.Module):
        return node
    changes = {}
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        soft = field.name == "phi" and value in ("relu", relu, jax.nn.relu)
        new = phi if soft else _replaced(value, phi)
        if new is not value:
            changes[field.name] = new
    return dataclasses.replace(node, **changes) if changes else node
