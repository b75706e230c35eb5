r"""Full and latent spectra: K eigenvalues of the few variables, N - K copies of the leak, and one sum of indices."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int
from scipy.optimize import linear_sum_assignment

from recurvature._errors import InputError, check_shape
from recurvature._precision import require_float64
from recurvature._result import AbstractResult, Citation, Values
from recurvature.dynamics.rate import Rate, rate_of
from recurvature.dynamics.stability import unstable_first
from recurvature.identities.agreement import LIMIT, difference, verdict
from recurvature.lenses.latent import spectrum
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import at_rest, leaky_unit
from recurvature.systems.base import Network


class SpectraAgreement(AbstractResult):
    r"""Eigenvalues of a low-rank network and of its latent unit, per tau, at given states (docs eq. I.11, I.12).

    `growth` and `rotation` are those of the K latent variables, `full_growth` and `full_rotation` those of all N
    units, from the Jacobian of the network by automatic differentiation. `error` compares the sums of powers of
    $\lambda+1$, $j\le2K$, in which the copies of the leak are 0: rounding leaves them alone where eigenvalues
    themselves are ill-conditioned. `apart` is the largest distance between the eigenvalues of both, matched.
    `unstable` and `latent_unstable` count those that grow.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    state: Float[Values, "point n"]
    growth: Float[Values, "point k"] = eqx.field(metadata={"units": "1/tau"})
    rotation: Float[Values, "point k"] = eqx.field(metadata={"units": "1/tau"})
    full_growth: Float[Values, "point n"] = eqx.field(metadata={"units": "1/tau"})
    full_rotation: Float[Values, "point n"] = eqx.field(metadata={"units": "1/tau"})
    apart: Float[Values, " point"] = eqx.field(metadata={"units": "1/tau"})
    unstable: Int[Values, " point"]
    latent_unstable: Int[Values, " point"]
    leak_copies: int
    error: float
    tolerance: float
    status: int
    """`identities.STATUS`."""

    @property
    def index_sum(self) -> int:
        r"""$\sum(-1)^{\text{unstable}}$: 1 where the states are all fixed points of a bounded network."""
        return int(((-1) ** np.asarray(self.unstable)).sum())

    @property
    def latent_index_sum(self) -> int:
        """The same from the latent eigenvalues: copies of the leak do not grow, so they change no sign."""
        return int(((-1) ** np.asarray(self.latent_unstable)).sum())


def spectra(network: Network, states: Float[Any, "point n"], inputs: Any = None) -> SpectraAgreement:
    r"""Hold the eigenvalues of the network at `states` against those of its latent unit, under a constant input.

    States are fixed points (`dynamics.fixed_points(...).states`), or any. A state of a current network is taken to
    $M\kappa+W_\mathrm{in}u+b$ with its own $\kappa=\mathbf N\phi(x)$ first, which leaves fixed points where they are.
    The N × N Jacobian is formed: this is a check, not a way to compute spectra (`latent.spectrum`).

    Raises `InputError` on networks without a latent unit, and `ValueError` unless in float64.
    """
    require_float64(x0=network.x0)
    found = leaky_unit(network)
    check_shape("states", states, (None, found.connectivity.size))
    if not len(states):
        raise InputError("`states` must be one state at least; got none.")
    rate, points = rate_of(network, inputs), np.asarray(states, float)
    kappa = at_rest(found, points)
    if found.form == "current":
        points = np.asarray(found.currents(kappa, rate.inputs))
    latent = np.stack([spectrum(found, at, inputs).eigenvalues for at in np.asarray(kappa)])
    jacobians = np.asarray(_jacobians(rate, jnp.asarray(points)))
    full = np.stack([unstable_first(np.linalg.eigvals(jacobian).astype(complex), "flow") for jacobian in jacobians])
    differences = [_power_difference(jacobian, values) for jacobian, values in zip(jacobians, latent, strict=True)]
    error = float(np.max(differences))
    return SpectraAgreement(
        state=points,
        growth=latent.real,
        rotation=latent.imag,
        full_growth=full.real,
        full_rotation=full.imag,
        apart=np.array([_distance(*pair) for pair in zip(full, latent, strict=True)]),
        unstable=(full.real > 0).sum(1),
        latent_unstable=(latent.real > 0).sum(1),
        leak_copies=found.connectivity.size - found.connectivity.rank,
        error=error,
        tolerance=LIMIT,
        status=verdict(error, LIMIT),
    )


@eqx.filter_jit
def _jacobians(rate: Rate, states: Float[Array, "point n"]) -> Float[Array, "point n n"]:
    """Jacobians by differentiation of the rate, not by its closed form."""
    return jax.lax.map(jax.jacfwd(rate.__call__), states)


def _power_difference(jacobian: Float[np.ndarray, "n n"], latent: Complex[np.ndarray, " k"]) -> float:
    r"""$\mathrm{tr}(1+\partial F)^j$ against $\sum_k(1+\lambda_k)^j$, each over the j-th power of the norm."""
    moved = jacobian + np.eye(len(jacobian))
    size = np.linalg.norm(moved) or 1.0
    scaled, power = moved / size, np.eye(len(jacobian))
    sums, wanted = [], []
    for j in range(1, 2 * len(latent) + 1):
        power = power @ scaled
        sums.append(np.trace(power))
        wanted.append((((1 + latent) / size) ** j).sum().real)
    return difference(np.append(sums, 1.0), np.append(wanted, 1.0))


def _distance(full: Complex[np.ndarray, " n"], latent: Complex[np.ndarray, " k"]) -> float:
    """The largest distance between the N eigenvalues and the K with N - K times -1, matched for the least sum."""
    wanted = np.concatenate([latent, -np.ones(len(full) - len(latent))])
    apart = np.abs(full[:, None] - wanted[None])
    return float(apart[linear_sum_assignment(apart)].max())
