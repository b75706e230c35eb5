r"""How much drift a memory takes: many strengths of several kinds at once, on the same trials and with the same noise.

All strengths share one direction, $M_\delta = M + \delta D$, and noise is drawn once a step for all of them: what
differs between two strengths is the strength. Neurons go through in blocks; no array of rates is kept (docs eq. L.58).
"""

import functools
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_choice, check_count, check_not_negative, check_shape
from recurvature._keys import PRNGKey, at_step, stream
from recurvature._precision import float_dtype
from recurvature._progress import Progress, Report, silent
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.drift import KINDS, Kind, drift_direction
from recurvature.lenses.latent.rollout import columns, step_share
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.tiling import partial_encoding
from recurvature.lenses.latent.unit import LatentUnit
from recurvature.systems.activations import Activation, activation
from recurvature.tasks.base import Trials

BLOCK = 80_000
"""Currents of one block, conditions times neurons: they stay in the cache of a core."""


class DriftSweep(AbstractResult):
    r"""The share of scored steps at which all bits are right, by kind and strength of drift, for every restart.

    `strength[0]` is 0: the baseline. `observed_accuracy` is that of $\hat\kappa$ from the first `observed` neurons
    scaled up, `regressed_accuracy` that of $\hat\kappa$ mapped to $\kappa$ by least squares at strength 0.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    strength: Float[Values, " strength"]
    accuracy: Float[Values, "kind strength restart"]
    observed_accuracy: Float[Values, "kind strength restart"] | None
    regressed_accuracy: Float[Values, "kind strength restart"] | None
    kinds: tuple[str, ...]
    neurons: int
    bits: int
    observed: int | None
    noise: float
    """Standard deviation of the noise inside the activation, in every neuron and step."""


class Blocks(eqx.Module):
    """Weights in blocks of neurons, filled up with neurons that encode nothing."""

    drive: Float[Array, "block column n"]
    """Rows of $M^T$, $D^T$, $W_{in}^T$ and $b$."""
    read: Float[Array, "block probe n"]
    phi: str | Activation = eqx.field(static=True)


def drift_sweep(
    unit: LatentUnit,
    trials: Trials,
    strengths: Float[Any, " strength"],
    *,
    key: PRNGKey,
    kinds: tuple[Kind, ...] = ("random", "orthogonal", "tangential"),
    restarts: int = 3,
    noise: float = 0.1,
    observed: int | None = None,
    states: Float[Any, "point k"] | None = None,
    start: Float[Any, "trial k"] | None = None,
    report: Report = silent,
) -> DriftSweep:
    r"""Accuracy of a memory under drift, for every kind, strength and restart (paper's figure 4; docs eq. L.58).

    **Arguments**

    - `unit`: of the rate form with a step `dt`; float32 is right for accuracies. `tile` makes it larger.
    - `trials`: of a flip-flop with a bit to every variable. Scored are steps with `mask` and the bits with a target.
    - `strengths`: positive; 0 is added in front. Each column of the drift has this root mean square.
    - `restarts`: draws of the drift and of the noise; trials are the same. Within one, all kinds and strengths share
      the noise, and so do the trials.
    - `observed`: how many neurons $\hat\kappa$ is read from, besides all of them.
    - `states`: what `jacobian-orthogonal` drift is to leave alone.
    - `start`: latent variables at the start of every trial; zeros unless given.
    """
    alpha, dtype = step_share(unit), float_dtype(unit.flow)
    strong = np.asarray(strengths, np.float64)
    _check(unit, trials, strong, kinds, noise)
    check_count(restarts=restarts)
    scale = jnp.asarray(np.concatenate([[0.0], strong]), dtype)
    inputs = jnp.asarray(trials.inputs, dtype)
    kappa = _started(start, len(inputs), unit.connectivity.rank).astype(dtype)
    partial = None if observed is None else partial_encoding(unit, observed)
    scores = []
    for kind in kinds:
        for restart in range(restarts):
            report(Progress(f"{kind} drift", restart, restarts))
            here = stream(key, f"restart {restart}")
            direction = drift_direction(unit, kind, key=here, states=states)
            blocks = in_blocks(unit, direction, len(scale) * len(inputs), partial)
            path = follow(blocks, inputs, kappa, scale, alpha, float(noise), stream(here, "noise"))
            scores.append(_scores(np.asarray(path), trials, unit.connectivity.rank))
    found = np.moveaxis(np.array(scores).reshape(len(kinds), restarts, 3, len(scale)), (2, 3, 1), (0, 2, 3))
    return DriftSweep(
        np.asarray(scale, np.float64),
        found[0],
        None if observed is None else found[1],
        None if observed is None else found[2],
        tuple(kinds),
        unit.connectivity.size,
        unit.connectivity.rank,
        observed,
        float(noise),
    )


def _started(start: Float[Any, "trial k"] | None, trials: int, rank: int) -> Float[Array, "trial k"]:
    given = jnp.zeros((trials, rank)) if start is None else jnp.asarray(start)
    check_shape("start", given, (trials, rank))
    if not np.isfinite(np.asarray(given)).all():
        raise InputError("`start` must be finite numbers; it has others.")
    return given


def in_blocks(
    unit: LatentUnit, direction: Float[Array, "n k"], conditions: int, partial: Float[Array, "k n"] | None = None
) -> Blocks:
    """The weights of a unit and of its drift in blocks that suit a number of conditions."""
    weights = columns(unit)
    length = max(128, min(unit.connectivity.size, BLOCK // conditions))
    drive = jnp.concatenate([weights.embedding, direction.T, weights.input_weights, weights.bias[None, :]])
    read = weights.encoding if partial is None else jnp.concatenate([weights.encoding, partial])

    def cut(rows: Array) -> Array:
        filled = jnp.pad(rows, ((0, 0), (0, -rows.shape[1] % length)))
        return filled.reshape(len(rows), -1, length).swapaxes(0, 1)

    return Blocks(cut(drive), cut(read), weights.phi)


@functools.partial(jax.jit, static_argnames=("alpha", "noise"))
def follow(
    blocks: Blocks,
    inputs: Float[Array, "trial time d"],
    start: Float[Array, "trial k"],
    strength: Float[Array, " strength"],
    alpha: float,
    noise: float,
    key: PRNGKey,
) -> Float[Array, "time strength trial probe"]:
    r"""All probes of the rates after each step, by strength and trial; the first K of them are $\kappa$."""
    rank, count = start.shape[1], len(strength)
    drives = jnp.tile(inputs.swapaxes(0, 1), (1, count, 1))
    factor = jnp.repeat(strength, len(start))[:, None]
    probes, shape = blocks.read.shape[1], (blocks.drive.shape[0], blocks.drive.shape[2])
    # whatever else is read begins at zero: it has no rates of its own to begin with
    first = jnp.concatenate([jnp.tile(start, (count, 1)), jnp.zeros((len(factor), probes - rank), start.dtype)], axis=1)

    def step(seen: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        u, index = now
        kappa = seen[:, :rank]
        rows = jnp.concatenate([kappa, factor * kappa, u, jnp.ones_like(factor)], axis=1)
        currents = noise * jr.normal(at_step(key, index), shape, rows.dtype) if noise else None
        seen = (1 - alpha) * seen + alpha * read_out(blocks, rows, currents)
        return seen, seen

    steps = jnp.arange(inputs.shape[1])
    return jax.lax.scan(step, first, (drives, steps))[1].reshape(len(steps), count, len(start), probes)


def read_out(
    blocks: Blocks, rows: Float[Array, "condition column"], noise: Float[Array, "block n"] | None
) -> Float[Array, "condition probe"]:
    r"""$\mathbf N\phi(\cdot + \epsilon)$ for all conditions, block by block, with one noise for all (None: without)."""

    def add(total: Array, block: tuple[Array, Array, Array | None]) -> tuple[Array, None]:
        drive, read, given = block
        currents = rows @ drive
        currents = currents if given is None else currents + given[None, :]
        return total + activation(blocks.phi)(currents) @ read.T, None

    zero = jnp.zeros((len(rows), blocks.read.shape[1]), rows.dtype)
    return jax.lax.scan(add, zero, (blocks.drive, blocks.read, noise))[0]


def _scores(
    path: Float[np.ndarray, "time strength trial probe"], trials: Trials, rank: int
) -> Float[np.ndarray, "3 strength"]:
    """Accuracies of κ, of the partial readout and of its regression, by strength."""
    scored = np.asarray(trials.mask) > 0
    own = path[..., :rank]
    seen = path[..., rank:]
    if not seen.shape[-1]:
        own_score = _share_right(own, trials)
        return np.stack([own_score, own_score, own_score])
    one, other = (np.asarray(values[:, 0].swapaxes(0, 1)[scored], np.float64) for values in (seen, own))
    onto = np.linalg.lstsq(one, other, rcond=None)[0]
    return np.stack([_share_right(own, trials), _share_right(seen, trials), _share_right(seen @ onto, trials)])


def _share_right(values: Float[np.ndarray, "time strength trial k"], trials: Trials) -> Float[np.ndarray, " strength"]:
    wanted = np.sign(np.asarray(trials.targets)).swapaxes(0, 1)[:, None]
    right = ((wanted == 0) | (np.sign(values) == wanted)).all(-1)
    weight = (np.asarray(trials.mask) > 0).T[:, None]
    return (right & weight).sum((0, 2)) / weight.sum()


def _check(
    unit: LatentUnit, trials: Trials, strengths: Float[np.ndarray, " s"], kinds: tuple[Kind, ...], noise: float
) -> None:
    rank = unit.connectivity.rank
    check_shape("trials.inputs", trials.inputs, (None, None, unit.flow.input_size))
    check_shape("trials.targets", trials.targets, (*tuple(trials.inputs.shape[:2]), rank))
    if not kinds:
        raise InputError(f"`kinds` must name one kind of drift or more, of {', '.join(KINDS)}; got none.")
    for kind in kinds:
        check_choice("kinds", kind, KINDS)
    if strengths.ndim != 1 or not len(strengths) or not (np.diff(strengths, prepend=0.0) > 0).all():
        raise InputError(f"`strengths` must be positive and increase; got {strengths.tolist()}.")
    check_not_negative(noise=noise)
    if not (np.asarray(trials.mask) > 0).any():
        raise InputError("`trials` score no step: their mask is zero. Draw longer trials.")
