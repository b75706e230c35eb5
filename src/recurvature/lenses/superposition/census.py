r"""What became of a population: the loss of every network on a sample of its own, its packing, and the dead ones."""

from typing import Any, ClassVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_count
from recurvature._keys import PRNGKey, at_step, stream
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.geometry import eigenparts, packing_regimes, ratio, silent_share, turn_of
from recurvature.lenses.superposition.models import Kind
from recurvature.lenses.superposition.population import Population, pulse_responses, readouts
from recurvature.lenses.superposition.recall_loss import ExpectedLoss, RecallLoss, Sample
from recurvature.tasks.recall import SUPERPOSITION

FINE, DEAD, NON_FINITE = range(3)
STATUS = ("fine", "dead", "non-finite")
"""What the numbers in `Census.status` mean. A dead network gave no output on any trial of the sample."""

NEAR = 0.01
"""A network is near the best if its loss is greater by at most this share."""


class Census(AbstractResult):
    r"""Every network of a population: its normalised loss, and how it packs (docs eq. S.21-S.26, S.42).

    `losses` are those of `repeat` samples that all networks share, so that two networks can be compared by the mean and
    the spread of their difference. The best is chosen by `selection`, the loss on other samples.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    delay: Int[Values, " seed"]
    losses: Float[Values, "repeat seed"]
    selection: Float[Values, " seed"]
    stored: Float[Values, "o seed"]
    """$A_k[i,i]$."""
    order_parameter: Float[Values, "o seed"]
    r"""$\psi$."""
    k_theta: Float[Values, "o seed"] = eqx.field(metadata={"units": "deg"})
    r"""$k\bar\theta$; NaN where the recurrence is not linear."""
    cumulative_angle: Float[Values, "o seed"] = eqx.field(metadata={"units": "deg"})
    modulus: Float[Values, " seed"]
    r"""$\rho$, the largest modulus of an eigenvalue of $W_h$."""
    regime: Int[Values, "o seed"]
    status: Int[Values, " seed"]
    recurrent: Float[Values, "i j seed"]
    inputs: Float[Values, "i d seed"]
    readout: Float[Values, "o i seed"]
    kind: str
    tied: bool
    bias: Float[Values, "o seed"] | None = None
    statuses: tuple[str, ...] = STATUS

    @property
    def loss(self) -> Float[np.ndarray, " seed"]:
        """The mean of `losses`."""
        return np.asarray(self.losses).mean(0)

    @property
    def standard_error(self) -> Float[np.ndarray, " seed"]:
        """That of `loss`; 0 where it is exact."""
        return error_of_mean(np.asarray(self.losses))

    @property
    def population(self) -> Population:
        """The networks."""
        readout = None if self.tied else jnp.asarray(self.readout)
        arrays = (jnp.asarray(self.recurrent), jnp.asarray(self.inputs), readout)
        bias = None if self.bias is None else jnp.asarray(self.bias)
        return Population(*arrays, np.asarray(self.delay), cast(Kind, self.kind), bias)

    def places(self, delay: int) -> Int[np.ndarray, " k"]:
        """Where the networks of one delay are."""
        found = np.flatnonzero(np.asarray(self.delay) == delay)
        if not len(found):
            raise InputError(f"`delay` must be one of {np.unique(self.delay).tolist()}; got {delay}.")
        return found

    def best(self, delay: int) -> int:
        """The place of the network of one delay with the least `selection`."""
        places = self.places(delay)
        chosen = np.asarray(self.selection)[places]
        if not np.isfinite(chosen).any():
            raise InputError(f"no network of delay {delay} has a finite loss.")
        return int(places[np.nanargmin(chosen)])

    def near_best(self, delay: int) -> float:
        """The share of the networks of one delay whose loss is within 1 % of that of the best."""
        return float((self.loss[self.places(delay)] <= (1 + NEAR) * self.loss[self.best(delay)]).mean())

    def in_regime(self, delay: int, regime: int) -> Int[np.ndarray, " k"]:
        """Where the networks of one delay are whose features all are in a regime (a place in `REGIMES`), best first."""
        places = self.places(delay)
        inside = (np.asarray(self.regime)[:, places] == regime).all(0) & np.isfinite(self.loss[places])
        return places[inside][np.argsort(self.loss[places[inside]], kind="stable")]

    def reached(self, delay: int, regime: int) -> float:
        """The share of the networks of one delay that are in a regime, all features of them."""
        return len(self.in_regime(delay, regime)) / len(self.places(delay))


def error_of_mean(losses: Float[np.ndarray, "repeat *seed"]) -> Float[np.ndarray, "*seed"]:
    """The standard error of the mean over samples; 0 where there is one, which is exact."""
    count = len(losses)
    return np.asarray(losses.std(0, ddof=1) / np.sqrt(count)) if count > 1 else np.zeros(losses.shape[1:])


def census(population: Population, loss: RecallLoss | ExpectedLoss, *, key: PRNGKey, repeats: int = 100) -> Census:
    """Hold every network of a population against `loss` on `repeats` samples, and look at its geometry.

    As many samples again choose the best. Other keys than those of training make the samples independent of it; an
    `ExpectedLoss` needs no samples. Networks go through in portions that fit into `MEMORY` bytes.
    """
    check_count(repeats=repeats)
    if repeats < 2 and isinstance(loss, RecallLoss):
        raise InputError("`repeats` must be at least 2: one sample does not say how well it knows a loss.")
    losses, selection, power = _judged(population, loss, key, repeats)
    directions, projections = (np.asarray(part, float) for part in pulse_responses(population, population.longest + 2))
    readout = np.asarray(_readout_matrices(population))
    modulus, packing = _packing(population, directions, projections)
    finite = np.isfinite(losses).all(0) & np.isfinite(projections).all((0, 1, 2))
    status = np.where(finite, np.where(power == 0, DEAD, FINE), NON_FINITE)
    return Census(
        delay=np.asarray(population.delay),
        losses=losses,
        selection=selection,
        modulus=modulus,
        status=status,
        recurrent=np.asarray(population.recurrent),
        inputs=np.asarray(population.inputs),
        readout=readout,
        kind=population.kind,
        tied=population.readout is None,
        bias=None if population.bias is None else np.asarray(population.bias),
        **packing,
    )


@eqx.filter_jit
def _readout_matrices(population: Population) -> Float[Array, "o n seed"]:
    return readouts(population, pulse_responses(population, population.longest + 1)[0])


def _judged(
    population: Population, loss: RecallLoss | ExpectedLoss, key: PRNGKey, repeats: int
) -> tuple[Float[np.ndarray, "repeat seed"], Float[np.ndarray, " seed"], Float[np.ndarray, " seed"]]:
    """Losses sample by sample, mean losses on other samples, and the mean power of the outputs."""
    count = len(population)
    if isinstance(loss, ExpectedLoss):
        exact = np.asarray(_exact(loss, population), float)
        return exact[None], exact, np.ones(count)
    chunk, parts = min(count, loss.fits(population)), []
    for start in range(0, count, chunk):
        first = min(start, count - chunk)
        part = population.take(np.arange(first, first + chunk))
        chosen, seen = (_samples(loss, part, stream(key, name), repeats) for name in ("selection", "evaluation"))
        rows = (np.asarray(seen.loss), np.asarray(chosen.loss).mean(0), np.asarray(seen.power).mean(0))
        parts.append([row[..., start - first :] for row in rows])
    losses, selection, power = (np.concatenate(rows, axis=-1).astype(float) for rows in zip(*parts, strict=True))
    return losses, selection, power


_exact = eqx.filter_jit(lambda loss, population: loss(population))


@eqx.filter_jit
def _samples(loss: RecallLoss, population: Population, key: PRNGKey, repeats: int) -> Sample:
    with jax.default_matmul_precision("highest"):
        return jax.lax.map(lambda i: loss.sample(population, at_step(key, i)), jnp.arange(repeats, dtype=jnp.int32))


def _packing(
    population: Population,
    directions: Float[np.ndarray, "age n d seed"],
    projections: Float[np.ndarray, "age o d seed"],
) -> tuple[Float[np.ndarray, " seed"], dict[str, Any]]:
    """The largest modulus of every network, and the fields of a census that follow from responses."""
    features, delays = projections.shape[1], np.asarray(population.delay)
    own = np.moveaxis(np.diagonal(projections, axis1=1, axis2=2), -1, 1)
    shape = (features, len(population))
    rows = {
        name: np.full(shape, np.nan) for name in ("stored", "order_parameter", "k_theta", "cumulative_angle", "regime")
    }
    modulus, angle = _eigenvalues(population)
    for delay in np.unique(delays):
        here = np.flatnonzero(delays == delay)
        a = own[:, :, here].reshape(len(own), -1)
        psi = silent_share(a, int(delay))
        turned = angle[:, here].reshape(-1)
        steps = directions[: delay + 1, :, :features][..., here].reshape(delay + 1, directions.shape[1], -1)
        found = {
            "stored": a[delay],
            "order_parameter": psi,
            "k_theta": delay * turned,
            "cumulative_angle": turn_of(steps),
            "regime": packing_regimes(a, int(delay), psi, turned),
        }
        for name, row in found.items():
            rows[name][:, here] = row.reshape(features, -1)
    return modulus, rows | {"regime": rows["regime"].astype(int)}


def _eigenvalues(population: Population) -> tuple[Float[np.ndarray, " seed"], Float[np.ndarray, "o seed"]]:
    r"""The largest modulus of every network, and $\bar\theta$ of its features in degrees (docs eq. S.23)."""
    recurrent = np.moveaxis(np.asarray(population.recurrent, float), -1, 0)
    inputs, readout = np.asarray(population.inputs, float), np.asarray(_readout_matrices(population), float)
    count, delays = len(population), np.asarray(population.delay)
    modulus, angle = np.full(count, np.nan), np.full((population.features, count), np.nan)
    finite = np.isfinite(recurrent).all((1, 2)) & np.isfinite(inputs).all((0, 1)) & np.isfinite(readout).all((0, 1))
    for i in np.flatnonzero(finite):
        if population.hidden != "identity":
            modulus[i] = np.abs(np.linalg.eigvals(recurrent[i])).max()
            continue
        values, parts = eigenparts(recurrent[i], inputs[..., i], readout[..., i], int(delays[i]))
        modulus[i], weight = np.abs(values[0]), np.abs(parts)
        angle[:, i] = np.rad2deg(ratio(weight @ np.abs(np.angle(values)), weight.sum(1)))
    return modulus, angle
