"""Units and networks that the tests of the latent lens share, and the published low-rank networks."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature.systems import Dense, Euler, LeakyCurrent, LinearReadout, Network

FOLDER = Path(__file__).parents[3] / "../shared/data/networks"
N, K, INPUTS, DT = 40, 3, 2, 0.3


def random_unit(form="rate", normalisation="1/N", seed=0):
    """A unit of rank 3 on 40 units with inputs and biases."""
    draw = np.random.default_rng(seed).normal
    scale = N if normalisation == "1" else 1
    left, right = draw(size=(N, K)), 2 * draw(size=(N, K)) / scale
    return rc.latent.from_mean_convention(
        left,
        right,
        input_weights=draw(size=(N, INPUTS)),
        bias=draw(size=N),
        form=form,
        dt=DT,
        normalisation=normalisation,
    )


def network_of(unit, seed=1, outputs=1):
    """A network of a unit with a random readout and start."""
    draw = np.random.default_rng(seed).normal
    readout = LinearReadout(jnp.asarray(draw(size=(outputs, N)) / np.sqrt(N)))
    return Network(Euler(unit.flow, unit.dt), readout, jnp.asarray(draw(size=N)))


def dense_network(form=LeakyCurrent, seed=2, gain=1.5, size=30):
    """A dense network, active by itself."""
    draw = np.random.default_rng(seed).normal
    flow = form(
        Dense(jnp.asarray(gain * draw(size=(size, size)) / np.sqrt(size))),
        jnp.asarray(draw(size=(size, INPUTS))),
        jnp.zeros(size),
    )
    return Network(Euler(flow, DT), LinearReadout(jnp.asarray(draw(size=(1, size)) / size)), jnp.zeros(size))


@pytest.fixture(scope="session")
def drive():
    """Inputs (trial, time, d)."""
    return np.random.default_rng(5).normal(size=(2, 40, INPUTS))


def published(file):
    """A network of the public release of Valente et al. 2022."""
    pytest.importorskip("torch", reason="needs torch to read the published networks")
    path = FOLDER / file
    if not path.is_file():
        pytest.skip("needs ../shared/data/networks beside the repository")
    return rc.cast(rc.io.read_network(path).network, float)
