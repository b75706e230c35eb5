r"""Linear low-rank networks by their overlaps: reduced to the few variables that these move, or rewired to others."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError
from recurvature.lenses.overlaps import Layout, Overlaps, extract
from recurvature.lenses.overlaps.layout import BIAS, START
from recurvature.systems.base import AbstractMap, Euler, Network
from recurvature.systems.connectivity import Dense, LowRank
from recurvature.systems.leaky import AbstractLeaky, LeakyCurrent
from recurvature.systems.linear import LinearMap
from recurvature.systems.readout import LinearReadout


def linear_overlaps(network: Network) -> Overlaps:
    """The overlaps of a network in its own gauge. Raises `InputError` unless they are all of it: linear, low rank."""
    found = extract(network)
    if found.regime != "linear":
        raise InputError(
            f"units with phi = {found.phi!r} have no metric that overlaps fix; see `metric_split` for what they have."
        )
    # a dense recurrence is cut to its leading singular values
    if found.gauge != "own":
        raise InputError("the recurrence is dense: its overlaps leave a part of it out. Give it low-rank weights.")
    return found


def writing_gram(overlaps: Float[Any, "a a"], layout: Layout) -> Float[Any, "k k"]:
    r"""$S_{BB}$: the overlaps of the vectors that write, $B = [M|U]$."""
    return overlaps[layout.split :, layout.split :]


def reduced(overlaps: Float[Any, "a a"], layout: Layout, *, dt: float | None = None, tau: float = 1.0) -> Network:
    r"""The latent variables $\kappa = (\kappa^m,\kappa^u)$ of a linear network as a network of $p+R$ units (eq. O.9).

    It has the outputs of every network with these overlaps. Under the inner product $NS_{BB}$ it has its metric too
    (docs eq. I.2). `dt` is the Euler step in the unit of `tau` (None: a flow).
    """
    s, p = np.asarray(overlaps), layout.inputs
    size, names = p + layout.rank, layout.columns[layout.m]
    recurrence, identity = np.zeros((size, size), s.dtype), np.eye(size, dtype=s.dtype)
    recurrence[p:] = np.concatenate([s[layout.v, layout.m], s[layout.v, layout.u]], axis=1)
    held = {name: identity[names.index(name)] for name in (BIAS, START) if name in names}
    nothing = np.zeros(size, s.dtype)
    weights, driven, bias, start = (
        jnp.asarray(part)
        for part in (recurrence, identity[:, : layout.channels], held.get(BIAS, nothing), held.get(START, nothing))
    )
    flow = LeakyCurrent(Dense(weights), driven, bias, "identity", tau)
    seen = np.concatenate([s[layout.z, layout.m], s[layout.z, layout.u]], axis=1)
    return Network(flow if dt is None else Euler(flow, dt), LinearReadout(jnp.asarray(seen)), start)


def stand_in(
    network: Network, overlaps: Overlaps, matrix: Float[np.ndarray, "a a"]
) -> tuple[Network, Float[np.ndarray, "k k"]]:
    r"""The reduced network with overlaps `matrix` in place of `overlaps`, and the inner product that gives its metric.

    That is $NS_{BB}$; its step and time constant are those of `network`.
    """
    system = network.system
    step = system.dt if isinstance(system, AbstractMap) else None
    inner = system.flow if isinstance(system, Euler) else system
    assert isinstance(inner, AbstractLeaky | LinearMap)
    # a map without a leak has its step for a unit of time
    tau = inner.dt if isinstance(inner, LinearMap) else inner.tau
    small = reduced(matrix, overlaps.layout, dt=step, tau=tau)
    return small, overlaps.units * writing_gram(matrix, overlaps.layout)


def rewired(network: Network, theta: Float[Any, "n a"], layout: Layout) -> Network:
    r"""The low-rank network with the vectors $\Theta$ in place of its own; its output bias stays."""
    vectors, system = jnp.asarray(theta), network.system
    inner = system.flow if isinstance(system, Euler) else system
    written, names = vectors[:, layout.m], layout.columns[layout.m]
    factors = LowRank(vectors[:, layout.u], vectors[:, layout.v])
    changed = eqx.tree_at(lambda f: (f.connectivity, f.input_weights), inner, (factors, written[:, : layout.channels]))
    if BIAS in names:
        changed = eqx.tree_at(lambda f: f.bias, changed, written[:, names.index(BIAS)])
    start = written[:, names.index(START)] if START in names else network.x0
    readout = eqx.tree_at(lambda r: r.weight, network.readout, vectors[:, layout.z].T / len(vectors))
    return Network(Euler(changed, system.dt) if isinstance(system, Euler) else changed, readout, start)
