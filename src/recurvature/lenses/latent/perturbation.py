r"""Kicks to the rates along directions that an experimenter could choose: what they do to the latent variables, and for
how long. A kick $\Delta r$ moves $\kappa$ by $\mathbf N\Delta r$ at once; the rest of it fades (docs eq. L.64).
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature._precision import float_dtype
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.drift import gains
from recurvature.lenses.latent.rollout import step_share
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import LatentUnit, row_space


class PerturbationResponse(AbstractResult):
    r"""What kicks at time 0 do, beside the same run without one; sample 0 is right after the kick (docs eq. L.64).

    `predicted` is $\mathbf N\Delta r$, `shift` the simulated difference of the latent variables, `outside` the length
    of what is left of the kick outside the encoding's row space, `output` the difference of the outputs.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    predicted: Float[Values, "direction k"]
    shift: Float[Values, "direction time k"]
    outside: Float[Values, "direction time"]
    output: Float[Values, "direction time o"]
    names: tuple[str, ...]
    size: float
    """Length of every kick."""

    @property
    def persistence(self) -> Float[np.ndarray, " direction"]:
        """Length of the shift at the end over the length of the kick."""
        return np.linalg.norm(np.asarray(self.shift)[:, -1], axis=-1) / self.size


def perturbation_directions(
    unit: LatentUnit,
    *,
    key: PRNGKey,
    kappa: Float[Any, " k"] | None = None,
    decoder: Float[Any, "o n"] | None = None,
) -> dict[str, Float[Array, " n"]]:
    r"""Directions of length 1 in the space of rates, by name (paper's successor, figure 5).

    `encoding k` is row $k$ of $\mathbf N$, `embedding k` column $k$ of $M$, `tuning k` the tangent
    $\phi'(M\kappa+b)\circ m^{(k)}$ of the tuning curves at `kappa` (zero unless given), `readout j` row $j$ of
    `decoder`, `random` a normal vector, `orthogonal` what of it lies outside the row space of $\mathbf N$.
    """
    dtype, (size, rank) = float_dtype(unit.flow), unit.embedding.shape
    point = jnp.zeros(rank, dtype) if kappa is None else jnp.asarray(kappa, dtype)
    check_shape("kappa", point, (rank,))
    tangents = gains(unit, point)[:, None] * unit.embedding
    noise = jr.normal(stream(key, "random direction"), (size,), dtype)
    basis = jnp.asarray(row_space(unit))
    outside = noise - basis @ (basis.T @ noise)
    found = {f"encoding {k + 1}": row for k, row in enumerate(unit.encoding)}
    found |= {f"embedding {k + 1}": column for k, column in enumerate(unit.embedding.T)}
    found |= {f"tuning {k + 1}": column for k, column in enumerate(tangents.T)}
    if decoder is not None:
        rows = jnp.asarray(decoder, dtype)
        check_shape("decoder", rows, (None, size))
        found |= {f"readout {j + 1}": row for j, row in enumerate(rows)}
    # once more: the rounding of the first pass is taken out by the second
    found |= {"random": noise, "orthogonal": outside - basis @ (basis.T @ outside)}
    return {name: vector / jnp.linalg.norm(vector) for name, vector in found.items()}


def perturb(
    unit: LatentUnit,
    directions: Mapping[str, Float[Any, " n"]],
    *,
    rates: Float[Any, " n"],
    inputs: Float[Any, "time d"],
    size: float = 1.0,
    decoder: Float[Any, "o n"] | None = None,
) -> PerturbationResponse:
    r"""Kick the rates by `size` along every direction, and run all neurons of the unit with and without it.

    **Arguments**

    - `directions`: vectors by name; each is used at length 1 (`perturbation_directions` makes the usual ones).
    - `rates`: the state at time 0; `unit.lift(kappa)` where it is at rest.
    - `decoder`: outputs are `decoder` times rates; the latent variables unless given.

    All N rates are simulated: nothing here uses that the latent variables close. Raises `InputError` on shapes that do
    not fit, and on a direction of length zero.
    """
    alpha, dtype = step_share(unit), float_dtype(unit.flow)
    start, drive = jnp.asarray(rates, dtype), jnp.asarray(inputs, dtype)
    count = unit.connectivity.size
    check_shape("rates", start, (count,))
    check_shape("inputs", drive, (None, unit.flow.input_size))
    read = unit.encoding if decoder is None else jnp.asarray(decoder, dtype)
    check_shape("decoder", read, (None, count))
    if not directions:
        raise InputError("`directions` must hold one vector or more; got none.")
    kicks = jnp.stack([_unit_length(name, vector, count, dtype) for name, vector in directions.items()]) * size
    shift, outside, output = _respond(unit, kicks, start, drive, read, jnp.asarray(row_space(unit)), alpha)
    time = np.arange(len(drive) + 1) * float(unit.dt or 0)
    return PerturbationResponse(
        time, unit.connectivity.encode(kicks), shift, outside, output, tuple(directions), float(size)
    )


def _unit_length(name: str, vector: Any, count: int, dtype: Any) -> Float[Array, " n"]:
    given = jnp.asarray(vector, dtype)
    check_shape(name, given, (count,))
    length = float(jnp.linalg.norm(given))
    if not (np.isfinite(length) and length > 0):
        raise InputError(f"direction {name!r} has length {length}; leave it out.")
    return given / length


@eqx.filter_jit
def _respond(
    unit: LatentUnit,
    kicks: Float[Array, "direction n"],
    start: Float[Array, " n"],
    inputs: Float[Array, "time d"],
    decoder: Float[Array, "o n"],
    basis: Float[Array, "n b"],
    alpha: float,
) -> tuple[Array, Array, Array]:
    """Differences to the run without a kick: latent variables, length outside, outputs."""
    flow = unit.flow

    def step(states: Array, u: Array) -> tuple[Array, Array]:
        moved = jax.vmap(lambda r: r + alpha * flow.tau * flow.velocity(r, u))(states)
        return moved, moved - moved[:1]

    states = start[None, :] + jnp.concatenate([jnp.zeros_like(kicks[:1]), kicks])
    later = jax.lax.scan(step, states, inputs)[1]
    differences = jnp.concatenate([(states - states[:1])[None], later])[:, 1:].swapaxes(0, 1)
    outside = differences - (differences @ basis) @ basis.T
    return differences @ unit.encoding.T, jnp.linalg.norm(outside, axis=-1), differences @ decoder.T
