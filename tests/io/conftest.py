"""What the tests of files share: a network of every kind, and one line from every refusal."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature._errors import InputError
from recurvature.systems import (
    ActivatedReadout,
    FilteredLatentFlow,
    LatentFlow,
    LinearReadout,
    MultiSynapseLatentFlow,
    Network,
)


def activated(network: Network) -> Network:
    """The same network, read out under an activation, with a bias."""
    readout = ActivatedReadout(network.readout.weight, jnp.ones(network.readout.output_size), "softplus")  # type: ignore[attr-defined]
    return Network(network.system, readout, network.x0)


def latent(constructor: str, latent_flow: Any) -> Callable[..., Network]:
    """The latent variables of a low-rank flow as a network of their own."""

    def make(size: int, **options: Any) -> Network:
        flow: Any = rc.systems.CONSTRUCTORS[constructor](size, rank=2, dt=None, **options).system
        system = latent_flow(flow)
        seen = jax.eval_shape(system.rates, jnp.zeros(system.state_size)).shape[0]
        return Network(system, LinearReadout(jnp.ones((1, seen))), jnp.zeros(system.state_size))

    return make


NETWORKS: dict[str, Callable[..., Network]] = {
    **rc.systems.CONSTRUCTORS,
    "leaky-current-low-rank": lambda size, **o: rc.systems.leaky_current(size, rank=2, phi="erf", tau=2.0, **o),
    "leaky-rate-flow": lambda size, **o: rc.systems.leaky_rate(size, dt=None, **o),
    "vanilla-stacked": lambda size, **o: rc.systems.vanilla(size, layers=3, phi="relu", **o),
    "lstm-stacked": lambda size, **o: rc.systems.lstm(size, layers=2, **o),
    "linear-activated-readout": lambda size, **o: activated(rc.systems.linear(size, **o)),
    "linear-low-rank": lambda size, **o: rc.systems.linear(size, rank=1, **o),
    "latent": latent("leaky-rate", LatentFlow),
    "latent-filtered": latent("leaky-current", lambda flow: FilteredLatentFlow(flow, jnp.arange(5.0))),
    "latent-of-synapses": latent("multi-synapse", MultiSynapseLatentFlow),
}


@functools.cache
def made(name: str) -> Network:
    """The network of that name with 5 units, 3 inputs and 2 outputs, started somewhere."""
    network = NETWORKS[name](5, inputs=3, outputs=2, key=rc.key(0))
    start = np.random.default_rng(0).standard_normal(network.x0.shape)
    return eqx.tree_at(lambda n: n.x0, network, jnp.asarray(start))


@pytest.fixture(params=sorted(NETWORKS))
def network(request: pytest.FixtureRequest) -> Network:
    """A network of each kind."""
    return made(request.param)


@pytest.fixture
def networks() -> list[Network]:
    """A network of every kind."""
    return [made(name) for name in sorted(NETWORKS)]


@pytest.fixture
def leaky() -> Network:
    """A leaky current network of 5 units."""
    return made("leaky-current")


@pytest.fixture
def shared_networks() -> Path:
    """The folder of trained networks beside the repository."""
    folder = Path(__file__).parents[2] / "../shared/data/networks"
    if not folder.is_dir():
        pytest.skip("the trained networks are not beside this repository")
    return folder


@pytest.fixture
def refused() -> Callable[[str], AbstractContextManager[None]]:
    """A block that must be refused in one line that holds the given words."""

    @contextlib.contextmanager
    def block(words: str) -> Iterator[None]:
        with pytest.raises(InputError) as caught:
            yield
        text = str(caught.value)
        assert "\n" not in text
        assert words in text

    return block


@pytest.fixture
def assert_same() -> Callable[[Any, Any], None]:
    """Checks that two trees have one structure (fields that are no arrays included) and the same bits."""

    def check(one: Any, two: Any) -> None:
        assert str(jax.tree.structure(one)) == str(jax.tree.structure(two))
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()

    return check
