r"""Many tiny networks that recall, side by side: their weights with the networks along the last axis, and responses.

A population is trained by `training.fit_population` on one of the losses in `recall_loss`. With the networks last,
every operation on the entries of small matrices runs over networks that lie next to each other in memory.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_choice, check_count, check_positive, check_shape
from recurvature._keys import PRNGKey, at_step, stream, streams
from recurvature._result import Values
from recurvature.lenses.superposition.models import PHI, Kind, Weights, check_delay, recall_network
from recurvature.lenses.superposition.models import tied as write_tied
from recurvature.systems.activations import activation
from recurvature.systems.base import Network

UNROLLED = 12
"""Up to so many terms the sums of a product of small matrices are written out, each over all networks."""


class Population(eqx.Module):
    r"""Networks of one `kind` (docs eq. S.1): $W_h$, $W_x$, $W_y^\top$ and the delay of each, networks last.

    Without a `readout` it is tied, $W_y = W_k$ (docs eq. S.3), and gradients flow through it. Inputs beyond those that
    a `readout` gives out are cues of the delay; `delay` is then the longest. A `bias` is added to what is read out,
    before the activation.
    """

    recurrent: Float[Array, "n n seed"]
    inputs: Float[Array, "n d seed"]
    readout: Float[Array, "o n seed"] | None
    delay: Int[Array, " seed"]
    bias: Float[Array, "o seed"] | None
    kind: Kind = eqx.field(static=True)
    longest: int = eqx.field(static=True)
    """No delay is longer than this."""

    def __init__(
        self,
        recurrent: Float[Array, "n n seed"],
        inputs: Float[Array, "n d seed"],
        readout: Float[Array, "o n seed"] | None,
        delay: Int[Values, " seed"],
        kind: Kind,
        bias: Float[Array, "o seed"] | None = None,
    ):
        check_choice("kind", kind, PHI)
        check_shape("recurrent", recurrent, (None, None, None))
        n, _, seeds = recurrent.shape
        check_shape("recurrent", recurrent, (n, n, seeds))
        check_shape("inputs", inputs, (n, None, seeds))
        check_shape("delay", delay, (seeds,))
        if readout is not None:
            check_shape("readout", readout, (None, n, seeds))
            if len(readout) > inputs.shape[1]:
                raise InputError(
                    f"`readout` has {len(readout)} outputs of {inputs.shape[1]} inputs: at most one of each."
                )
        for each in np.unique(delay):
            check_delay(int(each))
        self.recurrent, self.inputs, self.readout, self.bias = recurrent, inputs, readout, bias
        self.delay, self.kind, self.longest = jnp.asarray(delay, jnp.int32), kind, int(np.max(delay))
        if bias is not None:
            check_shape("bias", bias, (self.features, seeds))

    def __len__(self) -> int:
        """The number of networks."""
        return self.recurrent.shape[-1]

    @property
    def features(self) -> int:
        """Features of one step."""
        return self.inputs.shape[1] if self.readout is None else len(self.readout)

    @property
    def cues(self) -> int:
        """Inputs that tell the delay, after the features."""
        return self.inputs.shape[1] - self.features

    @property
    def hidden(self) -> str:
        """The activation of the recurrence."""
        return PHI[self.kind][0]

    @property
    def seen(self) -> str:
        """The activation of the readout."""
        return PHI[self.kind][1]

    def weights(self, index: int) -> Weights:
        """The matrices of one network, a tied readout written out; not its bias."""
        if not -len(self) <= index < len(self):
            raise InputError(f"`index` must lie in [-{len(self)}, {len(self)}); got {index}.")
        recurrent, inputs = self.recurrent[..., index], self.inputs[..., index]
        if self.readout is not None:
            return Weights(recurrent, inputs, self.readout[..., index])
        return write_tied(recurrent, inputs, delay=int(self.delay[index]), phi=self.hidden)

    def network(self, index: int) -> Network:
        """One network, with its bias."""
        bias = None if self.bias is None else self.bias[:, index]
        return recall_network(self.weights(index), kind=self.kind, bias=bias)

    def take(self, index: Sequence[int] | Int[Values, " k"]) -> "Population":
        """Some of the networks, by their places; as many of any delay share a compiled program."""
        return jax.tree.map(lambda part: part[..., np.asarray(index)], self)

    def joined(self, *others: "Population") -> "Population":
        """All networks of populations of one kind and size as one. Raises `InputError` where they do not fit."""
        everyone = (self, *others)
        alike = {(p.kind, p.inputs.shape[:2], p.features, p.readout is None, p.bias is None) for p in everyone}
        if len(alike) > 1:
            raise InputError(
                "only populations of one kind and size can be joined, all tied or none, all biased or none."
            )

        def along(name: str) -> Any:
            parts = [getattr(p, name) for p in everyone]
            return None if parts[0] is None else jnp.concatenate(parts, axis=-1)

        arrays = (along("recurrent"), along("inputs"), along("readout"), along("delay"))
        return Population(*arrays, self.kind, along("bias"))


def random_population(
    size: int = 2,
    *,
    delays: tuple[int, ...],
    seeds: int = 32,
    features: int = 1,
    kind: Kind = "ssm",
    tied: bool = True,
    gain: float = 0.8,
    cues: int = 0,
    bias: bool = False,
    key: PRNGKey,
) -> Population:
    r"""`seeds` random networks for every one of `delays`, delay by delay, in float32, ready to train.

    $W_h\sim\mathcal N(0, g^2/n)$, $W_x$ and an untied $W_y\sim\mathcal N(0, g^2)$ with g = `gain`. A seed starts from
    the same weights at every delay, and whatever the other seeds and delays are. A `bias` starts at 0.

    With `cues` there are as many further inputs, which tell the delay of a trial (`recall_loss`): those networks have
    one entry of `delays`, the longest, and an untied readout. Raises `InputError` where it is tied.
    """
    check_count(size=size, seeds=seeds, features=features)
    if cues < 0 or (cues and (tied or len(delays) > 1)):
        raise InputError(f"`cues` need an untied readout and one entry of `delays`, the longest; got {cues} cues.")
    check_positive(gain=gain)
    check_choice("kind", kind, PHI)
    if not delays:
        raise InputError("`delays` must hold one or more delays.")
    for delay in delays:
        check_delay(delay)

    shapes = {"recurrent": (size, size), "inputs": (size, features + cues), "readout": (features, size)}
    most = max(a * b for a, b in shapes.values())
    drawn = np.float32(gain) * np.asarray(_drawn(stream(key, "weights"), tuple(shapes), seeds, most))
    # a draw of fewer numbers is the beginning of one of more; the same for all delays
    recurrent, inputs, readout = (
        jnp.asarray(np.tile(row[:, : a * b].T.reshape(a, b, seeds), len(delays)))
        for row, (a, b) in zip(drawn, shapes.values(), strict=True)
    )
    recurrent = recurrent / jnp.sqrt(jnp.asarray(size, jnp.float32))
    which = np.repeat(np.asarray(delays, np.int32), seeds)
    start = jnp.zeros((features, len(which)), jnp.float32) if bias else None
    return Population(recurrent, inputs, None if tied else readout, which, kind, start)


@eqx.filter_jit
def _drawn(key: PRNGKey, names: tuple[str, ...], seeds: int, numbers: int) -> Float[Array, "name seed number"]:
    """Normal numbers by name for one seed after another, all in one draw: a program of a third of the size."""

    def draw(seed: Array) -> Float[Array, "name number"]:
        each = streams(at_step(key, seed), names)
        return jax.vmap(lambda own: jr.normal(own, (numbers,), jnp.float32))(each)

    return jax.vmap(draw, out_axes=1)(jnp.arange(seeds, dtype=jnp.int32))


def product(
    a: Float[Array, "*lead i j seed"], b: Float[Array, "*rows j k seed"], *, unrolled: int = UNROLLED
) -> Float[Array, "*both i k seed"]:
    """Matrix products network by network; leading axes go along with each other, or have length 1."""
    if a.shape[-2] > unrolled:
        return jnp.einsum("...ijs,...jks->...iks", a, b)
    terms = [a[..., :, j, None, :] * b[..., None, j, :, :] for j in range(a.shape[-2])]
    return sum(terms[1:], terms[0])


def pulses(population: Population, ages: int) -> Float[Array, "age n d seed"]:
    r"""Feature directions $W_s$, or under an activation the responses to pulses of 1 at rest (docs eq. S.2).

    For use inside a compiled program. Linear recurrences take $\log_2$ of `ages` products, by doubling.
    """
    recurrent, w = population.recurrent, population.inputs
    if population.hidden == "identity":
        found, power = w[None], recurrent
        while len(found) < ages:
            older = product(power[None], found[: ages - len(found)])
            found, power = jnp.concatenate([found, older]), product(power, power)
        return found
    phi = activation(population.hidden)
    return jax.lax.scan(lambda w, _: (product(recurrent, phi(w)), w), w, None, length=ages)[1]


def tied_readout(population: Population, directions: Float[Array, "age n d seed"]) -> Float[Array, "d n seed"]:
    """The directions of the age that each network is to recall, as readouts."""
    index = jnp.broadcast_to(population.delay[None, None, None, :], (1, *directions.shape[1:]))
    return jnp.swapaxes(jnp.take_along_axis(directions, index, axis=0)[0], 0, 1)


def readouts(population: Population, directions: Float[Array, "age n d seed"]) -> Float[Array, "o n seed"]:
    """The readouts, tied ones from the directions. More ages than the longest delay are needed."""
    return tied_readout(population, directions) if population.readout is None else population.readout


@eqx.filter_jit
def pulse_responses(
    population: Population, ages: int
) -> tuple[Float[Array, "age n d seed"], Float[Array, "age o d seed"]]:
    r"""Directions $W_s$ and projections $A_s$ of every network, ages 0 to `ages` - 1 (docs eq. S.2).

    The projections are those before the activation of the readout.
    """
    directions = pulses(population, ages)
    return directions, product(readouts(population, directions)[None], directions)
