r"""Does a network's few variables follow an equation of their own? They are run alone, beside the network."""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_kind
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.readout import readout_equivalence
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import LatentUnit, SynapsesUnit, rates_of, split, unit
from recurvature.systems.base import AbstractFlow, AbstractMap, Euler, Network
from recurvature.systems.latent import FilteredLatentFlow
from recurvature.systems.readout import ActivatedReadout, LinearReadout
from recurvature.systems.simulate import simulate


class LatentClosure(AbstractResult):
    r"""Latent variables of a network, read from its units and run alone (docs eq. L.4, L.7).

    `outside` is the share of the rates' mean square that the encoding does not see, $(1-P)r$: it moves no latent
    variable, though a readout may see it.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    read: Float[Values, "trial time k"]
    r"""From the states of all units."""
    alone: Float[Values, "trial time k"]
    """By their own equation."""
    outside: Float[Values, "trial time"]
    error: float
    """The largest difference."""
    relative_error: float
    """It over the largest variable."""


def closure(network: Network, inputs: Float[Any, "trial time d"]) -> LatentClosure:
    """Run a low-rank network and, apart from it, its latent variables from the same start.

    The network is leaky, or has several low-rank synapses (docs eq. L.27): those variables stand side by side. Raises
    `InputError` on networks without a latent unit and on flows (wrap them in `Euler`).
    """
    found = unit(network)
    driven = jnp.asarray(inputs, network.x0.dtype)
    full = simulate(network, driven)
    system, start = latent_system(found, network.x0)
    run = _run(system, start, driven)
    states = np.asarray(full.states)
    read = _read(found, states, run, system)
    rates = np.asarray(rates_of(found, states))
    return _compared(np.asarray(full.time), read, run[..., : found.rank], rates, split(found, rates)[1])


def _run(system: AbstractFlow | AbstractMap, start: Float[Array, " k"], inputs: Float[Array, "trial time d"]) -> Any:
    seen = jnp.eye(jnp.shape(system.rates(start))[0], dtype=start.dtype)
    return np.asarray(simulate(Network(system, LinearReadout(seen), start), inputs).states)


def _compared(time: Any, read: Any, alone: Any, rates: Any, left_over: Any) -> LatentClosure:
    error = float(np.abs(read - alone).max())
    return LatentClosure(
        time=time,
        read=read,
        alone=alone,
        outside=(left_over**2).sum(-1) / np.maximum((rates**2).sum(-1), np.finfo(rates.dtype).tiny),
        error=error,
        relative_error=error / float(np.abs(alone).max() or 1),
    )


def latent_system(
    found: LatentUnit | SynapsesUnit, x0: Float[Array, " n"]
) -> tuple[AbstractFlow | AbstractMap, Float[Array, " k"]]:
    r"""The latent variables as a system that starts where a network starts, exactly (docs eq. L.8)."""
    if isinstance(found, SynapsesUnit) or found.form == "rate":
        return found.system, found.project(x0)
    inner = found.flow
    driven = found.project(x0)
    rest = x0 - found.currents(driven[: found.connectivity.rank], driven[found.connectivity.rank :])
    # rounding of the projection
    if float(jnp.abs(rest).max()) <= 1e3 * jnp.finfo(x0.dtype).eps * float(jnp.abs(x0).max() + 1):
        return found.system, driven
    flow = FilteredLatentFlow(inner, rest)  # type: ignore[arg-type]
    system = flow if found.dt is None else Euler(flow, found.dt)
    return system, jnp.append(driven, jnp.ones((), x0.dtype))


def _read(
    found: LatentUnit | SynapsesUnit, states: np.ndarray, run: np.ndarray, system: AbstractFlow | AbstractMap
) -> np.ndarray:
    if isinstance(found, SynapsesUnit) or found.form == "rate":
        return np.asarray(found.project(jnp.asarray(states)))
    inner = system.flow if isinstance(system, Euler) else system
    assert isinstance(inner, FilteredLatentFlow)
    rank, end = found.connectivity.rank, found.connectivity.rank + found.flow.input_size
    made = np.asarray(found.currents(jnp.asarray(run[..., :rank]), jnp.asarray(run[..., rank:end])))
    made = made if inner.rest is None else made + run[..., end:] * np.asarray(inner.rest)
    # by the difference: where inputs enter along the embedding, a state does not say what is kappa and what is v
    apart = np.asarray(found.project(jnp.asarray(states - made) + jnp.broadcast_to(found.flow.bias, states.shape)))
    return run[..., :rank] + apart[..., :rank]


def latent_network(network: Network) -> Network:
    r"""A network of the latent variables alone, with the outputs of the network (docs eq. L.7, L.20).

    Of a current network exactly, with any readout: its rates are functions of $\kappa$, $v$ and the fading start. Of a
    rate network only if the readout sees no rates outside the encoding ($CP = C$): raises `InputError` otherwise, as
    for readouts that are not linear under an elementwise function.
    """
    found = unit(network)
    system, start = latent_system(found, network.x0)
    if found.form == "current":
        return Network(system, network.readout, start)
    readout = network.readout
    check_kind("network.readout", readout, (LinearReadout, ActivatedReadout), "rate networks need a linear readout")
    assert isinstance(readout, LinearReadout | ActivatedReadout)
    same = readout_equivalence(found, readout.weight)
    if not same.equivalent:
        raise InputError(
            f"the readout sees {float(np.max(np.asarray(same.outside))):.2g} of its weights outside the encoding, "
            "which the latent variables do not fix: make it one of them with `latent.extend`."
        )
    weight = jnp.asarray(same.latent_weight, readout.weight.dtype)
    return Network(system, eqx.tree_at(lambda r: r.weight, readout, weight), start)
