"""Where a search starts: states the caller has, states of a trajectory with noise, or a spread made for the system."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError, check_count
from recurvature._keys import PRNGKey, stream
from recurvature.dynamics.rate import AbstractLatentRate, Rate, drive, flow_of
from recurvature.systems.activations import activation
from recurvature.systems.leaky import LeakyCurrent, LeakyRate
from recurvature.systems.simulate import Trajectory

WIDTHS = (0.3, 1.0, 3.0)
"""Standard deviations, in units of `scale`, that a spread of starts takes in turn."""


@dataclasses.dataclass(frozen=True)
class Begin:
    """What a caller says of the starts: states, or visited states with noise, or only how many."""

    starts: Any = None
    trajectory: Any = None
    count: int = 256
    noise: float = 0.1
    key: PRNGKey | None = None

    @property
    def drawn(self) -> bool:
        """Whether the search makes its own."""
        return self.starts is None and self.trajectory is None

    def own_key(self) -> PRNGKey:
        """The key, which everything but given starts needs."""
        if self.key is None:
            raise InputError("without `starts`, a search draws its own: pass `key=recurvature.key(0)`, or `starts`.")
        return self.key


def starts_of(rate: Rate, begin: Begin, scale: float) -> Float[np.ndarray, "start n"]:
    """The starts of a search as rows, in the number type of the rate's inputs."""
    trajectory, count, noise = begin.trajectory, begin.count, begin.noise
    check_count(count=count)
    size, dtype = rate.system.state_size, rate.inputs.dtype
    if begin.starts is not None:
        if trajectory is not None:
            raise InputError("pass `starts` or `trajectory`, not both.")
        return _rows("starts", begin.starts, size, dtype)
    key = begin.own_key()
    if trajectory is None:
        return np.asarray(spread(rate, count, scale, key))
    if noise < 0:
        raise InputError(f"`noise` must be 0 or more; got {noise}.")
    states = trajectory.states if isinstance(trajectory, Trajectory) else trajectory
    rows = _rows("trajectory", np.asarray(states).reshape(-1, np.shape(states)[-1]), size, dtype)
    picked = generator(key, "visited").choice(rows, min(count, len(rows)), replace=False)
    return picked + (noise * generator(key, "noise").standard_normal(picked.shape)).astype(dtype)


def generator(key: PRNGKey, name: str) -> np.random.Generator:
    """NumPy's generator for a stream: starts have any shape, and each new shape would be a program to compile."""
    return np.random.default_rng(np.asarray(jr.key_data(stream(key, name))))


def _rows(name: str, values: Any, size: int, dtype: Any) -> Float[np.ndarray, "start n"]:
    rows = np.array(values, dtype)
    if rows.ndim != 2 or rows.shape[1] != size or not len(rows):
        raise InputError(f"`{name}` must have shape (any, {size}) with at least one row; got {rows.shape}.")
    if not np.isfinite(rows).all():
        raise InputError(f"`{name}` must be finite.")
    return rows


def spread(rate: Rate, count: int, scale: float, key: PRNGKey) -> Float[np.ndarray, "start n"]:
    """Random states of several widths; for a leaky network, states that such rates would hold it in.

    A fixed point of a leaky network is the image of rates under its weights, so that starts are made the same way.
    """
    size, dtype = rate.system.state_size, rate.inputs.dtype
    widths = scale * np.resize(WIDTHS, count)[:, None]
    states = (widths * generator(key, "starts").standard_normal((count, size))).astype(dtype)
    flow = flow_of(rate.system)
    if not isinstance(flow, LeakyCurrent | LeakyRate):
        return states
    phi, given = activation(flow.phi), drive(flow, rate.inputs)[None]
    currents = flow.connectivity(phi(jnp.asarray(states))) + given
    return np.asarray(currents if isinstance(flow, LeakyCurrent) else phi(currents))


def latent_starts(latent: AbstractLatentRate, count: int, scale: float, key: PRNGKey) -> Float[np.ndarray, "start k"]:
    r"""Latent variables in the box that holds all fixed points of a network with rates of `scale` at most.

    $|\kappa_k| \le s\sum_i|n_{ik}|\,a$, with $a$ the largest rate; the second half of the starts lies in a tenth
    of the box.
    """
    from scipy.stats import qmc  # a second to import

    edge = scale * latent.box
    # even cover of the box: a point that few starts lead to is missed by chance less often
    unit = 2 * qmc.Halton(len(edge), rng=generator(key, "latent")).random(count) - 1
    unit[count // 2 :] *= 0.1
    return (unit * edge).astype(edge.dtype)


def latent_of(
    latent: AbstractLatentRate, rate: Rate, starts: Float[np.ndarray, "start n"]
) -> Float[np.ndarray, "start k"]:
    r"""The latent variables that states would set: $\kappa = s\,n^\top r$ with the rates of the state."""
    rates = np.asarray(jax.vmap(rate.system.rates)(jnp.asarray(starts)))
    return rates @ np.asarray(latent.encoding()).T
