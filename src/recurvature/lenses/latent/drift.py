r"""Representational drift: the tuning of neurons wanders, $M\to M + \Delta M$, and who reads them stays as they were.

Four kinds of drift, what each does to first order, and what it leaves exactly alone (docs eqs. L.54-L.59).
"""

from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_choice, check_not_negative, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature._precision import float_dtype, require_float64
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.rollout import step_share
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import LatentUnit, row_space
from recurvature.systems.activations import activation
from recurvature.systems.connectivity import LowRank

Kind = Literal["random", "orthogonal", "tangential", "jacobian-orthogonal"]
KINDS: tuple[Kind, ...] = ("random", "orthogonal", "tangential", "jacobian-orthogonal")


class DriftDeviation(AbstractResult):
    r"""What drift does to a path of the latent variables: exactly, and to first order (docs eqs. L.55, L.56).

    `exact` is $\tilde\kappa-\kappa$ of two runs; `first_order` is the recursion that the `source`
    $\mathbf ND_\phi\Delta M\kappa$ drives. Their difference is of second order in the drift.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    kappa: Float[Values, "time k"]
    exact: Float[Values, "time k"]
    first_order: Float[Values, "time k"]
    source: Float[Values, "time k"]


def drift_direction(
    unit: LatentUnit,
    kind: Kind,
    *,
    key: PRNGKey,
    states: Float[Any, "point k"] | None = None,
    inputs: Float[Any, "point d"] | None = None,
) -> Float[Array, "n k"]:
    r"""A drift $D$ of one kind whose every column has mean square 1: strength $\delta$ is $\Delta M = \delta D$.

    - `random`: independent normal entries.
    - `orthogonal`: those without their part in the row space of $\mathbf N$, so that $\mathbf ND = 0$.
    - `tangential`: their part in that row space alone.
    - `jacobian-orthogonal`: orthogonal to $n_j\circ\phi'(M\kappa_s + W_\mathrm{in}u_s + b)$ for all variables $j$ and
      the stored `states` $\kappa_s$ (point, K), with `inputs` $u_s$ (None: zero). Only this one leaves those states
      alone to first order (docs eq. L.57).

    The N × N projector is not formed. Raises `InputError` on an unknown kind, on `states` that are missing, or on as
    many of them as leave no direction.
    """
    check_choice("kind", kind, KINDS)
    generator = np.random.default_rng(np.asarray(jr.key_data(stream(key, f"{kind} drift"))))
    noise = generator.standard_normal(unit.embedding.shape)
    if kind != "random":
        basis = _weighted_space(unit, states, inputs) if kind == KINDS[3] else row_space(unit)
        inside = basis @ (basis.T @ noise)
        noise = inside if kind == "tangential" else noise - inside
        if kind != "tangential":
            # once more: what rounding left inside is as small as the rounding of what is outside
            noise = noise - basis @ (basis.T @ noise)
    size = np.sqrt(np.mean(noise**2, axis=0, keepdims=True))
    # what rounding leaves of normal numbers is no direction
    if not (size > 1e-10).all():
        raise InputError(f"`unit` leaves no direction of {kind} drift: its encoding is zero, or reads every direction.")
    return jnp.asarray(noise / size, float_dtype(unit.flow))


def _weighted_space(unit: LatentUnit, states: Any, inputs: Any) -> Float[np.ndarray, "n b"]:
    """Orthonormal columns that span the encoding vectors weighted by the gains at every stored state."""
    if states is None:
        raise InputError("`states` must hold the latent states that drift is to leave alone, (point, k).")
    size, rank = unit.embedding.shape
    kappa = jnp.asarray(states, float_dtype(unit.flow))
    check_shape("states", kappa, (None, rank))
    if rank * len(kappa) >= size:
        raise InputError(f"`states` are {len(kappa)}, which with {rank} variables leaves {size} neurons no direction.")
    rows = gains(unit, kappa, inputs)[:, None, :] * unit.encoding[None]
    return np.linalg.qr(np.asarray(rows).reshape(-1, size).T)[0]


def gains(
    unit: LatentUnit, kappa: Float[Array, "*batch k"], u: Float[Any, "*batch d"] | None = None
) -> Float[Array, "*batch n"]:
    r"""$\phi'(M\kappa + W_\mathrm{in}u + b)$ of every neuron."""
    currents = unit.currents(kappa, None if u is None else jnp.asarray(u, kappa.dtype))
    slope = jax.grad(activation(unit.flow.phi))
    return jax.vmap(slope)(currents.reshape(-1)).reshape(currents.shape)


def drifted(unit: LatentUnit, direction: Float[Any, "n k"], strength: float) -> LatentUnit:
    r"""The unit with embedding $M + \delta D$; encoding, inputs and biases stay as they are."""
    low = unit.connectivity
    given = jnp.asarray(direction, low.left.dtype)
    check_shape("direction", given, tuple(low.left.shape))
    if not isinstance(given, jax.core.Tracer) and not np.isfinite(np.asarray(given)).all():
        raise InputError("`direction` must be finite numbers; it has others.")
    moved = LowRank(low.left + strength * given, low.right, low.normalisation)
    return eqx.tree_at(lambda u: u.flow.connectivity, unit, moved)


def drift_source(
    unit: LatentUnit,
    change: Float[Any, "n k"],
    kappa: Float[Any, "*batch k"],
    u: Float[Any, "*batch d"] | None = None,
) -> Float[Array, "*batch k"]:
    r"""$s = \mathbf ND_\phi(\kappa)\,\Delta M\kappa$: what drift does to first order (docs eq. L.55).

    $\mathbf N\Delta M = 0$ does not make it vanish, except at $\kappa = 0$ or where all gains are the same.
    """
    values = jnp.asarray(kappa, float_dtype(unit.flow))
    moved = values @ jnp.asarray(change, values.dtype).T
    return unit.connectivity.encode(gains(unit, values, u) * moved)


def drift_deviation(
    unit: LatentUnit,
    change: Float[Any, "n k"],
    inputs: Float[Any, "time d"],
    start: Float[Any, " k"],
) -> DriftDeviation:
    r"""The path of the latent variables beside that under the drift `change` $= \Delta M$, from the same `start`.

    To first order $\delta_{t+1} = \delta_t + \alpha\{[-1 + \mathbf ND_\phi M]\delta_t + s_t\}$ (docs eq. L.56).
    Needs float64: the two paths differ by little. For a unit in the rate form with a step.
    """
    alpha = step_share(unit)
    kappa, drive = jnp.asarray(start), jnp.asarray(inputs)
    require_float64(unit=unit.embedding, start=kappa, inputs=drive)
    check_shape("start", kappa, (unit.connectivity.rank,))
    check_shape("inputs", drive, (None, unit.flow.input_size))
    path, exact, first, source = _deviation(unit, drifted(unit, change, 1.0), drive, kappa, alpha)
    time = (np.arange(len(drive)) + 1) * float(unit.dt or 0)
    return DriftDeviation(time, path, exact, first, source)


@eqx.filter_jit
def _deviation(
    unit: LatentUnit, moved: LatentUnit, inputs: Array, start: Array, alpha: float
) -> tuple[Array, Array, Array, Array]:
    change = moved.embedding - unit.embedding

    def step(carry: tuple[Array, Array, Array], u: Array) -> tuple[tuple[Array, Array, Array], tuple[Array, ...]]:
        kappa, other, delta = carry
        source = drift_source(unit, change, kappa, u)
        linear = unit.connectivity.encode(gains(unit, kappa, u) * (unit.embedding @ delta))
        delta = delta + alpha * (linear - delta + source)
        tau = unit.flow.tau
        kappa = kappa + alpha * tau * unit.field(kappa, u)
        other = other + alpha * tau * moved.field(other, u)
        return (kappa, other, delta), (kappa, other - kappa, delta, source)

    path, exact, first, source = jax.lax.scan(step, (start, start, jnp.zeros_like(start)), inputs)[1]
    return path, exact, first, source


def coding_groups(unit: LatentUnit, *, threshold: float = 0.3) -> Float[np.ndarray, " n"]:
    r"""The coding group of every neuron: bit $k$ is set where $|m_{ik}| >$ `threshold` (docs eq. L.61)."""
    check_not_negative(threshold=threshold)
    large = np.abs(np.asarray(unit.embedding)) > threshold
    return (large * 2.0 ** np.arange(large.shape[1])).sum(1)


def groups_kept(
    unit: LatentUnit, direction: Float[Any, "n k"], strengths: Float[Any, " strength"], *, threshold: float = 0.3
) -> Float[np.ndarray, " strength"]:
    """The share of neurons whose coding group is the same after drift of every strength."""
    before = coding_groups(unit, threshold=threshold)
    after = [coding_groups(drifted(unit, direction, float(s)), threshold=threshold) for s in np.asarray(strengths)]
    return np.array([np.mean(before == groups) for groups in after])


def drift_robust_decoder(unit: LatentUnit, decoder: Float[Any, "o n"]) -> Float[Array, "o n"]:
    r"""$CP = C\mathbf N^+\mathbf N$: the decoder that reads the latent variables as $C$ does, and nothing else.

    What it gives deviates by $C\mathbf N^+\delta$, so it is as robust to drift as the latent variables (docs eq. L.60).
    """
    given = jnp.asarray(decoder, float_dtype(unit.flow))
    check_shape("decoder", given, (None, unit.connectivity.size))
    basis = jnp.asarray(row_space(unit))
    return (given @ basis) @ basis.T
