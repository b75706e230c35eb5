r"""Proof that a zero of the rate lies near a computed one: the theorem of Newton and Kantorovich (docs eq. D.6)."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.linalg import norm
from scipy.linalg import get_lapack_funcs

from recurvature.dynamics.rate import AbstractLatentRate, AbstractRate, LatentRate, Rate, SynapsesRate, drive, flow_of
from recurvature.dynamics.stability import BOUNDED
from recurvature.systems.activations import Activation, activation
from recurvature.systems.leaky import LeakyCurrent, LeakyRate
from recurvature.systems.linear import DiagonalMap, LinearMap
from recurvature.systems.multi_synapse import MultiSynapse, MultiSynapseLatentFlow
from recurvature.systems.preactivation import PreactivationMap

NONE, ESTIMATED, PROVED = range(3)
CERTIFICATES = ("none", "estimated", "proved")
"""What stands behind an `error_bound`.

- `proved`: the theorem holds with a bound on the second derivative that is derived, and with the rounding of the rate.
- `estimated`: the theorem holds with a second derivative that was measured at the point, times `SAFETY`.
- `none`: its condition is not met (a nearly singular Jacobian), or the system has kinks.
"""

BENDS = {
    "identity": 0.0,
    "tanh": 4 / (3 * 3**0.5),
    "sigmoid": 1 / (6 * 3**0.5),
    "softplus": 0.25,
    "erf": (np.pi / 2) ** 0.5 * np.exp(-0.5),
    "gelu": 2 / (2 * np.pi) ** 0.5,
}
r"""The largest $|\phi''|$ of each smooth activation."""

SLOPES = {"identity": 1.0, "tanh": 1.0, "sigmoid": 0.25, "softplus": 1.0, "erf": 1.0, "gelu": 1.13, "relu": 1.0}
r"""A bound on $|\phi'|$ of each activation."""

SAFETY, PROBES = 4.0, 2
MOST_SINGULAR = 1e-3
"""Largest condition number, in units of 1 / rounding, of a Jacobian whose computed inverse is believed."""


class Bound(NamedTuple):
    """What is known of the zero next to a computed one, in the 2-norm."""

    error: float
    """It lies within this distance (NaN: nothing known)."""
    alone: float
    """It is the only one within this distance."""
    certificate: int


def certify(
    rate: AbstractRate, x: Float[np.ndarray, " n"], value: Float[np.ndarray, " n"], jacobian: Float[np.ndarray, "n n"]
) -> tuple[Bound, int]:
    r"""Newton–Kantorovich at a point, given the rate and its Jacobian there (docs eq. D.6, D.7); the index too.

    $h = \eta K \le 1/2$ gives the error $2\eta/(1+\sqrt{1-2h})$. The index is the sign of $\det(-J)$.
    """
    inverse, sign = _factorised(jacobian)
    nothing = Bound(np.nan, np.nan, NONE), sign
    if _phi(rate) == "relu" or not sign:
        return nothing
    size, kind = longest(inverse), PROVED
    if not float(norm(jacobian)) * size * np.finfo(x.dtype).eps < MOST_SINGULAR:  # NaN too
        return nothing
    rounding, bend = _bounds(rate, x, inverse)
    step = float(norm(inverse @ value)) + rounding * size
    if np.isnan(bend):
        kind, bend = ESTIMATED, SAFETY * _probed(rate, x, inverse)
    h = step * float(bend)
    if not h <= 0.5:  # NaN too
        return nothing
    root = (1 - 2 * h) ** 0.5
    return Bound(2 * step / (1 + root), (1 + root) / float(bend) if bend else np.inf, kind), sign


def longest(matrix: Float[np.ndarray, "i j"]) -> float:
    r"""A bound on the 2-norm, by products: $\lVert(A^\top A)^2\rVert_F^{1/4}$, at most $n^{1/8}$ times too large."""
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    scale = float(norm(tall)) or 1.0  # so that no power overflows
    gram = (tall / scale).T @ (tall / scale)
    return scale * float(norm(gram @ gram)) ** 0.25


def _factorised(jacobian: Float[np.ndarray, "n n"]) -> tuple[Float[np.ndarray, "n n"], int]:
    """The inverse, and the sign of det(-J), from one factorisation; 0 where J is singular."""
    factorise, invert = get_lapack_funcs(("getrf", "getri"), (jacobian,))
    lu, swaps, singular = factorise(jacobian)
    if singular or not np.isfinite(lu).all():
        return jacobian, 0
    negative = (np.diag(lu) > 0).sum() + (swaps != np.arange(len(swaps))).sum()
    return invert(lu, swaps, lwork=64 * len(lu))[0], 1 - 2 * int(negative % 2)


def lifted(bound: Bound, rate: Rate, latent: AbstractLatentRate) -> Bound:
    r"""The bound for the state of a low-rank network, given that for its latent variables (docs eq. D.8, D.20)."""
    if isinstance(latent, SynapsesRate):
        back = longest(np.asarray(latent.encoding()))
        return Bound(_steepest(latent.flow) * bound.error, bound.alone / back, bound.certificate)
    assert isinstance(latent, LatentRate)
    steepest = SLOPES.get(latent.phi, np.nan) if isinstance(latent.phi, str) else np.nan
    left = longest(np.asarray(latent.left))
    right = latent.scale * longest(np.asarray(latent.right))
    out, back = (steepest, 1.0) if isinstance(flow_of(rate.system), LeakyRate) else (1.0, steepest)
    return Bound(out * left * bound.error, bound.alone / (back * right), bound.certificate)


def _steepest(flow: MultiSynapseLatentFlow) -> float:
    """How much farther rates at rest move than their latent variables, at most (NaN: not known)."""
    phis = flow.network.phis
    slopes = [SLOPES.get(phi, np.nan) if isinstance(phi, str) else np.nan for phi in phis]
    if flow.network.combine == "product" and len(phis) > 1 and not all(phi in BOUNDED for phi in phis):
        return np.nan  # the slope of one is multiplied by the value of another
    parts = [s * longest(np.asarray(synapse.left)) for s, synapse in zip(slopes, flow.synapses, strict=True)]
    return float(norm(parts))


def _entering(rate: SynapsesRate, x: Float[np.ndarray, " k"]) -> Float[np.ndarray, " n"]:
    """The sizes of what enters a unit through all synapses, whose rounding no slope or factor above 1 enlarges."""
    network, synapses = rate.flow.network, rate.flow.synapses
    parts = np.split(abs(x), np.cumsum([synapse.rank for synapse in synapses])[:-1])
    recurrent = [abs(np.asarray(s.left)) @ part for s, part in zip(synapses, parts, strict=True)]
    given = np.asarray(network.input_weights @ rate.inputs + network.bias)
    return np.sum(recurrent, 0) + abs(given).sum(0)


def _phi(rate: AbstractRate) -> object:
    if isinstance(rate, LatentRate):
        return rate.phi
    several: object = rate.flow.network if isinstance(rate, SynapsesRate) else None
    if isinstance(rate, Rate):
        several = flow_of(rate.system)
    if isinstance(several, MultiSynapse):
        return "relu" if "relu" in several.phis else None
    if not isinstance(rate, Rate):
        return None
    system = flow_of(rate.system) or rate.system
    return system.phi if isinstance(system, LeakyCurrent | LeakyRate | PreactivationMap) else None


def _bounds(rate: AbstractRate, x: Float[np.ndarray, " n"], inverse: Float[np.ndarray, "n n"]) -> tuple[float, float]:
    r"""The rounding of the rate at x, and $K \ge \lVert J^{-1}D^2g\rVert$ (NaN: not derived)."""
    phi = _phi(rate)
    bend = BENDS.get(phi, np.nan) if isinstance(phi, str) else np.nan
    if isinstance(rate, LatentRate):
        left, right, given = (np.asarray(a) for a in (rate.left, rate.scale * rate.right, rate.drive))
        entering = abs(left) @ abs(x) + abs(given)
        terms = abs(x) + abs(right).T @ (abs(_value(rate.phi, left @ x + given)) + entering)
        bend *= longest(inverse @ right.T) * norm(left, axis=1).max() * longest(left)
        return _unit(x, len(right)) * float(norm(terms)), float(bend)
    if isinstance(rate, SynapsesRate):
        encoding, rates = np.asarray(rate.encoding()), np.asarray(rate.flow.lift(jnp.asarray(x), rate.inputs))
        terms = abs(x) + abs(encoding) @ (abs(rates) + _entering(rate, x))
        return _unit(x, len(rates)) * float(norm(terms)), np.nan
    assert isinstance(rate, Rate)
    flow = flow_of(rate.system)
    if not isinstance(flow, LeakyCurrent | LeakyRate):
        linear = isinstance(rate.system, LinearMap | DiagonalMap)
        terms = abs(x) + norm(rate.inputs)
        return _unit(x, len(x)) * float(norm(terms)), 0.0 if linear else np.nan
    weight, given = np.asarray(flow.connectivity.dense()), np.asarray(drive(flow, rate.inputs))
    if isinstance(flow, LeakyCurrent):
        terms = abs(x) + abs(weight) @ abs(_value(flow.phi, x)) + abs(given)
        bend *= longest(inverse @ weight)
    else:
        terms = 2 * abs(x) + abs(weight) @ abs(x) + abs(given)
        bend *= longest(inverse) * norm(weight, axis=1).max() * longest(weight)
    return _unit(x, len(x)) * float(norm(terms)), float(bend)


def _value(phi: str | Activation, x: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return np.asarray(activation(phi)(jnp.asarray(x)))


def _unit(x: Float[np.ndarray, " n"], terms: int) -> float:
    """The relative rounding of a sum of products, with room for a few operations more."""
    return (terms + 10) * float(np.finfo(x.dtype).eps)


def _probed(rate: AbstractRate, x: Float[np.ndarray, " n"], inverse: Float[np.ndarray, "n n"]) -> float:
    r"""The largest $\lVert J^{-1}D^2g(x)[v]\rVert_F$ over some unit vectors $v$: cosines of different frequencies.

    The norm is that of the mean square of $J^{-1}D^2g(x)[v, z]$ over some vectors of signs $z$.
    """
    index = np.arange(len(x))
    waves = [np.cos((1 + 0.7 * k) * (k + 1) * index + k) for k in range(2 * PROBES)]
    along = np.array([wave / norm(wave) for wave in waves[:PROBES]], x.dtype)
    signs = np.where(np.array(waves[PROBES:]) < 0, -1, 1).astype(x.dtype)
    found = np.asarray(_bends(rate, x, along, signs)) @ inverse.T
    return float(np.sqrt((found**2).sum(-1).mean(1)).max())


@eqx.filter_jit
def _bends(
    rate: AbstractRate, x: Float[Any, " n"], along: Float[Any, "probe n"], across: Float[Any, "probe n"]
) -> Float[Array, "probe probe n"]:
    """Second derivatives along every pair."""
    slopes = lambda y, v: jax.jvp(rate, (y,), (v,))[1]  # noqa: E731
    bend = lambda v, z: jax.jvp(lambda y: slopes(y, v), (jnp.asarray(x),), (z,))[1]  # noqa: E731
    return jax.vmap(lambda v: jax.vmap(lambda z: bend(v, z))(jnp.asarray(across)))(jnp.asarray(along))
