r"""The vectors and overlaps of anyone's network: low-rank as trained, or dense after a singular value decomposition."""

import dataclasses
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_choice, check_count
from recurvature.lenses.overlaps.coordinates import Overlaps, describe
from recurvature.lenses.overlaps.layout import BIAS, START, Layout
from recurvature.lenses.overlaps.response import respond
from recurvature.systems.base import AbstractSystem, Euler, Network
from recurvature.systems.connectivity import AbstractConnectivity, LowRank
from recurvature.systems.leaky import LeakyCurrent, LeakyRate
from recurvature.systems.linear import LinearMap
from recurvature.systems.readout import LinearReadout
from recurvature.systems.simulate import simulate

Gauge = Literal["own", "balanced"]


class Stack(eqx.Module):
    r"""The vectors $\Theta$ (N, P) of a network, their layout, and what of the network they leave out."""

    theta: Float[Array, "n a"]
    layout: Layout
    singular_values: Float[np.ndarray, " k"]
    residual: float
    gauge: Gauge = eqx.field(static=True)
    phi: str = eqx.field(static=True)
    dt: float | None = eqx.field(static=True)


def extract(
    network: Network,
    inputs: Float[Any, "trial time d"] | None = None,
    *,
    gauge: Gauge = "own",
    rank: int | None = None,
) -> Overlaps:
    r"""The overlaps of a network (docs eq. O.3), and how well they stand for it.

    **Arguments**

    - `inputs`: your own (trial, time, d), of a network in steps. All units and the reduced model are run on them, and
      `output_error` says how far apart their outputs are (docs eq. O.58); NaN without.
    - `gauge`: `own` keeps the factors as trained, which is what further training starts from; `balanced` has
      $\sigma_{UU} = \sigma_{VV}$ diagonal, ordered by singular value, signs by $\sigma_{zu}\ge0$ (dense networks have
      no factors of their own and always get this one).
    - `rank`: how many singular values to keep; None keeps a low-rank network's own rank, and cuts a dense one at its
      largest gap. `residual` says what is lost.

    A bias and an initial state that do not vanish become columns of $M$ named `bias` and `start`. Raises `InputError`
    for systems that are not of the form $\dot h = -h + W\phi(h) + Mx$ with a linear readout.
    """
    stack = stacked(network, gauge=gauge, rank=rank)
    theta = np.asarray(stack.theta)
    bias = getattr(network.readout, "bias", None)
    found = describe(
        theta.T @ theta / theta.dtype.type(len(theta)),
        stack.layout,
        units=len(theta),
        phi=stack.phi,
        dt=stack.dt,
        gauge=stack.gauge,
        residual=stack.residual,
        singular_values=stack.singular_values,
        output_bias=None if bias is None else np.asarray(bias),
        vectors=theta,
    )
    return found if inputs is None else dataclasses.replace(found, output_error=_output_error(network, found, inputs))


def _output_error(network: Network, found: Overlaps, inputs: Float[Any, "trial time d"]) -> float:
    """Norm of the difference of outputs, all units and reduced model, over that of the outputs (docs eq. O.58)."""
    if found.dt is None:
        raise InputError("`inputs` are samples, and the network has a flow: wrap it as Euler(flow, dt), or leave them.")
    matrix, given = jnp.asarray(found.matrix), jnp.asarray(inputs)
    outputs = np.asarray(simulate(network, given).outputs) - found.output_bias
    said = respond(matrix, found.layout, given, found.dt or 1.0, found.phi)
    size = float(np.linalg.norm(outputs))
    return float(np.linalg.norm(np.asarray(said) - outputs)) / size if size > 0 else float("nan")


def stacked(network: Network, *, gauge: Gauge = "own", rank: int | None = None, keep: tuple[str, ...] = ()) -> Stack:
    r"""The vectors $\Theta = [Z|V|M|U]$ of a network (docs eq. O.2); arguments as for `extract`.

    `keep`: of `bias` and `start`, those that have a column even if they vanish, because they will learn.
    """
    check_choice("gauge", gauge, ("own", "balanced"))
    if rank is not None:
        check_count(rank=rank)
    if not isinstance(network.readout, LinearReadout):
        raise InputError(f"the readout must be linear; got {type(network.readout).__name__}.")
    connectivity, m, bias, phi, dt = _parts(network.system)
    z = np.asarray(network.readout.weight).T * connectivity.size
    if isinstance(connectivity, LowRank) and gauge == "own" and rank in (None, connectivity.rank):
        left, right, strengths, residual = _own(connectivity)
    else:
        gauge = "balanced"
        left, right, strengths, residual = _balanced(connectivity, rank, z)
    columns, names = _written(np.asarray(m), np.asarray(bias), np.asarray(network.x0), keep)
    layout = Layout(z.shape[1], left.shape[1], columns.shape[1], names)
    theta = jnp.asarray(np.concatenate([z, right, columns, left], axis=1))
    return Stack(theta, layout, strengths, residual, gauge, phi, dt)


def _parts(system: AbstractSystem) -> tuple[AbstractConnectivity, Array, Array, str, float | None]:
    """Recurrence, input weights, bias, nonlinearity and step (in units of the time constant)."""
    if isinstance(system, LinearMap):
        # a step without leak: the time constant is the step
        return (
            system.connectivity,
            system.input_weights,
            jnp.zeros(system.state_size, system.input_weights.dtype),
            "identity",
            1.0,
        )
    flow = system.flow if isinstance(system, Euler) else system
    inside = isinstance(flow, LeakyRate) and flow.phi == "identity"
    if not (isinstance(flow, LeakyCurrent) or inside):
        raise InputError(
            f"overlaps describe leaky-current networks, dh/dt = -h + W phi(h) + M x, and linear maps; got "
            f"{type(flow).__name__}. With phi outside the recurrence the theory does not hold."
        )
    assert isinstance(flow, LeakyCurrent | LeakyRate)
    phi = flow.phi if isinstance(flow.phi, str) else getattr(flow.phi, "__name__", "function")
    dt = system.dt / flow.tau if isinstance(system, Euler) else None
    return flow.connectivity, flow.input_weights, flow.bias, phi, dt


Factors = tuple[np.ndarray, np.ndarray, np.ndarray, float]
"""U, V, the singular values of the recurrence and what the rank leaves out."""


def _own(connectivity: LowRank) -> Factors:
    """The factors as they are, with $W = UV^T/N$ whatever the network's own normalisation."""
    scale = np.sqrt(connectivity.scale * connectivity.size)
    left, right = (np.asarray(f) * f.dtype.type(scale) for f in (connectivity.left, connectivity.right))
    return left, right, _thin_svd(left, right)[1], 0.0


def _balanced(connectivity: AbstractConnectivity, rank: int | None, z: Float[np.ndarray, "n o"]) -> Factors:
    """Factors of equal length from a singular value decomposition (docs eq. O.4)."""
    if isinstance(connectivity, LowRank):
        left, right, *_ = _own(connectivity)
        a, strengths, b = _thin_svd(left, right)
    else:
        a, strengths, b = np.linalg.svd(np.asarray(connectivity.dense()))
    kept = (len(strengths) if isinstance(connectivity, LowRank) else _gap(strengths)) if rank is None else rank
    if kept > len(strengths):
        raise InputError(f"`rank` must be at most {len(strengths)}; got {kept}.")
    total = np.linalg.norm(strengths)
    residual = float(np.linalg.norm(strengths[kept:]) / total) if total > 0 else 0.0
    a, b = a[:, :kept], b[:kept].T
    signs = np.where(z[:, 0] @ a < 0, -1, 1).astype(a.dtype)
    length = np.sqrt(connectivity.size * strengths[:kept]).astype(a.dtype) * signs
    return a * length, b * length, strengths[: kept + 1], residual


def _thin_svd(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular value decomposition of `left` `right`ᵀ/N, without the N × N matrix."""
    first, upper = np.linalg.qr(left)
    second, other = np.linalg.qr(right)
    a, strengths, b = np.linalg.svd(upper @ other.T / len(left))
    return first @ a, strengths, b @ second.T


def _gap(strengths: Float[np.ndarray, " k"]) -> int:
    """Where singular values fall by the largest factor, within the first half."""
    half = strengths[: max(2, len(strengths) // 2)]
    # what rounding leaves of a zero singular value
    floor = len(strengths) * np.finfo(strengths.dtype).eps * strengths[0]
    return int(np.argmax(half[:-1] / np.maximum(half[1:], floor))) + 1 if strengths[0] > 0 else 1


def _written(
    m: np.ndarray, bias: np.ndarray, start: np.ndarray, keep: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Input weights with the columns of a bias and of a start, where they do not vanish, and the names of all."""
    extra = {name: column for name, column in ((BIAS, bias), (START, start)) if column.any() or name in keep}
    if not extra:
        return m, ()
    channels = ("m",) if m.shape[1] == 1 else tuple(f"m{i + 1}" for i in range(m.shape[1]))
    return np.concatenate([m, *(c[:, None] for c in extra.values())], axis=1), (*channels, *extra)


def block_rates(network: Network, learning_rate: float) -> tuple[float, float, float, float]:
    r"""Rates of $Z, V, M, U$ at which the theory moves when a network's own arrays descend at `learning_rate`.

    The theory's rate $\eta$ means $\Theta\to\Theta-\eta N\nabla_\Theta L$. An array that is $c$ times the vectors
    (readout weights: $c = 1/N$; factors without the 1/N: $c = N^{-1/2}$) moves them at `learning_rate`/($Nc^2$)
    (docs eq. O.19). For low-rank networks in their own gauge.
    """
    connectivity = _parts(network.system)[0]
    if not isinstance(connectivity, LowRank):
        raise InputError(
            "a dense recurrence leaves its rank when it descends; only low-rank networks stay with theirs."
        )
    units = connectivity.size
    factors = learning_rate * connectivity.scale
    return (learning_rate * units, factors, learning_rate / units, factors)


def input_rows(overlaps: Overlaps, inputs: Float[Any, "*batch time d"]) -> Float[np.ndarray, "*batch later i"]:
    """Inputs with the channels that a bias (always 1) and a start (1/α, one step ahead of the rest) ask for.

    With a start there is one more step, the first; leave its output out. For networks in steps of time.
    """
    given = np.asarray(inputs)
    lead = BIAS in overlaps.columns, START in overlaps.columns
    if not any(lead):
        return given
    if lead[1]:
        if overlaps.dt is None:
            raise InputError("a start is an input of zero length in continuous time; give the network a step `dt`.")
        given = np.concatenate([np.zeros_like(given[..., :1, :]), given], axis=-2)
    channels = [given]
    if lead[0]:
        ones = np.ones_like(given[..., :1])
        ones[..., 0, 0] = 0 if lead[1] else 1
        channels.append(ones)
    if lead[1]:
        pulse = np.zeros_like(given[..., :1])
        pulse[..., 0, 0] = 1 / (overlaps.dt or 1.0)
        channels.append(pulse)
    return np.concatenate(channels, axis=-1)
