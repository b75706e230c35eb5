r"""Eigenvalues of the latent field beside those of the whole network, and the tuning of its units."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_shape
from recurvature._precision import float_dtype
from recurvature._result import AbstractResult, Citation, Values
from recurvature.dynamics.rate import LatentRate, SynapsesRate, latent_rate, rate_of, slope
from recurvature.dynamics.stability import unstable_first
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import AbstractUnit
from recurvature.systems.multi_synapse import MultiSynapseLatentFlow


class Spectrum(AbstractResult):
    r"""Growth rates of a unit about one $\kappa$: K of its own, and N - K copies of the leak (docs eq. L.16)."""

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    growth: Float[Values, " k"] = eqx.field(metadata={"units": "1/tau"})
    rotation: Float[Values, " k"] = eqx.field(metadata={"units": "1/tau"})
    full_growth: Float[Values, " n"] = eqx.field(metadata={"units": "1/tau"})
    """Of all N units, from the N × N Jacobian; empty unless asked for."""
    full_rotation: Float[Values, " n"] = eqx.field(metadata={"units": "1/tau"})
    kappa: Float[Values, " j"]
    inputs: Float[Values, " d"]
    leak: float
    leak_copies: int

    @property
    def eigenvalues(self) -> np.ndarray:
        """`growth` + i `rotation`, the fastest growing first."""
        return np.asarray(self.growth) + 1j * np.asarray(self.rotation)

    @property
    def full_eigenvalues(self) -> np.ndarray:
        """The N eigenvalues of the network, if they were asked for."""
        return np.asarray(self.full_growth) + 1j * np.asarray(self.full_rotation)


def spectrum(
    unit: AbstractUnit | MultiSynapseLatentFlow, kappa: Float[Any, " k"], inputs: Any = None, *, full: bool = False
) -> Spectrum:
    r"""Eigenvalues of $\tau\,\partial\dot\kappa$ at any $\kappa$ under an input (None: zero), per tau for maps too.

    `unit` may be the variables of several synapses, whose ranks add up to N at most. `full` adds the N eigenvalues of
    the network from its N × N Jacobian, an independent route for small networks.
    """
    flow = unit.network if isinstance(unit, MultiSynapseLatentFlow) else unit.flow
    rate = rate_of(flow, inputs)
    here = jnp.asarray(kappa, rate.inputs.dtype)
    latent = latent_rate(rate)
    if latent is None:
        raise InputError("the ranks of all synapses of `unit` must add up to no more than its units.")
    check_shape("kappa", here, (latent.size,))
    own = unstable_first(np.linalg.eigvals(np.asarray(latent.jacobian(here))).astype(complex), "flow")
    everything = np.zeros(0, complex)
    if full:
        jacobian = _full_jacobian(latent, here)
        everything = unstable_first(np.linalg.eigvals(jacobian).astype(complex), "flow")
    return Spectrum(
        growth=own.real,
        rotation=own.imag,
        full_growth=everything.real,
        full_rotation=everything.imag,
        kappa=np.asarray(here),
        inputs=np.asarray(rate.inputs),
        leak=-1.0,
        leak_copies=flow.state_size - latent.size,
    )


def _full_jacobian(latent: LatentRate | SynapsesRate, kappa: Float[Array, " k"]) -> Float[np.ndarray, "n m"]:
    """That of the currents of a leaky network, and of the rates of one with several synapses."""
    if isinstance(latent, SynapsesRate):
        moved = jax.jacfwd(latent.flow.lift)(kappa, latent.inputs)
        return np.asarray(moved @ latent.encoding()) - np.eye(len(moved))
    gain = np.asarray(slope(latent.phi, latent.current(kappa)))
    return np.asarray(latent.left @ latent.encoding()) * gain - np.eye(len(gain))


class TuningCurves(AbstractResult):
    r"""Rates of all units at rest along one latent variable, the others held (docs eq. L.5)."""

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    value: Float[Values, " value"]
    """Of the variable that moves."""
    rates: Float[Values, "value n"]
    at: Float[Values, " k"]
    """Where the other variables are held."""
    inputs: Float[Values, " d"]
    variable: int


def tuning_curves(
    unit: AbstractUnit,
    *,
    variable: int = 0,
    extent: tuple[float | int, float | int] = (-1.0, 1.0),
    points: int = 101,
    at: Float[Any, " k"] | None = None,
    inputs: Float[Any, " d"] | None = None,
) -> TuningCurves:
    r"""$r_i(\kappa) = \phi(m_i\cdot\kappa + \ldots)$ along one variable: it depends on embeddings alone.

    Drift of an embedding changes tuning curves; drift of the encoding does not. `at` (None: zero) holds the others.
    """
    rank, dtype = unit.rank, float_dtype(unit.flow)
    if not 0 <= variable < rank:
        raise InputError(f"`variable` must be one of 0…{rank - 1}; got {variable!r}.")
    if not (points >= 2 and extent[0] < extent[1]):
        raise InputError(f"`extent` must increase and `points` be at least 2; got {extent} and {points}.")
    held = np.zeros(rank) if at is None else np.asarray(at, float)
    check_shape("at", held, (rank,))
    u = np.zeros(unit.flow.input_size) if inputs is None else np.asarray(inputs, float)
    check_shape("inputs", u, (unit.flow.input_size,))
    value = np.linspace(*extent, points)
    kappa = np.tile(held, (points, 1))
    kappa[:, variable] = value
    rates = unit.rates(jnp.asarray(kappa, dtype), jnp.asarray(u, dtype))
    return TuningCurves(value, np.asarray(rates), held, u, variable)
