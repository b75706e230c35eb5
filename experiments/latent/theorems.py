"""The theorems on latent units, each by a route that the library does not take."""

from typing import Any

import jax.numpy as jnp
import numpy as np

import recurvature as rc
from recurvature import latent
from recurvature.app.claims import Measured
from recurvature.systems import Euler, LinearReadout, Network, simulate

from .settings import Lab

STEP = 0.5
"""The step of the paper's simulations, in time constants."""


def random_unit(lab: Lab, rank: int, *, inputs: int = 2, name: str = "unit") -> latent.LatentUnit:
    """A rate unit of Gaussian vectors whose encoding is strong enough to keep it active."""
    rng = generator(lab, name)
    n = lab.settings.theorems.units
    draw = lambda *shape: rng.normal(size=shape)  # noqa: E731
    return latent.from_mean_convention(
        draw(n, rank), 2 * draw(n, rank), input_weights=draw(n, inputs), bias=draw(n), dt=STEP
    )


def generator(lab: Lab, name: str) -> np.random.Generator:
    """Numbers of NumPy from the laboratory's key."""
    import jax

    return np.random.default_rng(np.asarray(jax.random.key_data(rc.stream(lab.key, name))))


def network_of(unit: latent.LatentUnit, start: Any = None) -> Network:
    """The units themselves, all of them read out."""
    n = unit.connectivity.size
    assert unit.dt is not None
    x0 = jnp.zeros(n) if start is None else jnp.asarray(start)
    return Network(Euler(unit.flow, unit.dt), LinearReadout(jnp.eye(n)), x0)


def variables_close(lab: Lab) -> Measured:
    """Variables read from a network of all units, beside a recursion of the variables alone."""
    sizes = lab.settings.theorems
    unit, rng = random_unit(lab, 3), generator(lab, "closure")
    start, inputs = rng.normal(size=sizes.units), rng.normal(size=(sizes.steps, 2))
    states = np.asarray(simulate(network_of(unit, start), jnp.asarray(inputs[None])).states)[0]
    m, n, w, b = (np.asarray(a) for a in (unit.embedding, unit.encoding, unit.flow.input_weights, unit.flow.bias))
    kappa, differences = n @ start, []
    for state, u in zip(states, inputs, strict=True):
        kappa = (1 - STEP) * kappa + STEP * n @ np.tanh(m @ kappa + w @ u + b)
        differences.append(float(np.abs(kappa - n @ state).max()))
    return Measured({"largest_difference": max(differences)}, {"smallest_final": float(np.abs(kappa).min())})
