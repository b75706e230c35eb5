r"""The deterministic recurrent switching linear dynamical system: a latent unit that is linear in each region."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_positive, check_shape
from recurvature.systems.base import AbstractFlow


class SwitchingFlow(AbstractFlow):
    r"""$\tau\dot\kappa = -\kappa + A_z\kappa + b_z + Bu$ in the region $z$ where $g_z\cdot\kappa + h_z$ is largest.

    Without noise the model of Linderman et al. (2017) is a latent unit whose embedding $r = C\kappa + d$ is flat (docs
    eq. L.28; arXiv 2502.14337, eq. M22–M26). Shapes: `matrices` (region, K, K), `offsets` (region, K), `borders`
    (region, K), `levels` (region,), `input_weights` (K, inputs), `embedding` $C$ (N, K), `baseline` $d$ (N,). The rates
    are those of the N units.
    """

    matrices: Float[Array, "z k j"]
    offsets: Float[Array, "z k"]
    borders: Float[Array, "z k"]
    levels: Float[Array, " z"]
    input_weights: Float[Array, "k d"]
    embedding: Float[Array, "n k"]
    baseline: Float[Array, " n"]
    tau: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        check_positive(tau=self.tau)
        regions, rank = np.shape(self.offsets)
        check_shape("matrices", self.matrices, (regions, rank, rank))
        check_shape("borders", self.borders, (regions, rank))
        check_shape("levels", self.levels, (regions,))
        check_shape("input_weights", self.input_weights, (rank, None))
        check_shape("embedding", self.embedding, (None, rank))
        check_shape("baseline", self.baseline, (len(self.embedding),))

    @property
    def state_size(self) -> int:
        """Number of latent variables."""
        return self.offsets.shape[1]

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.input_weights.shape[1]

    def rates(self, x: Float[Array, " k"]) -> Float[Array, " n"]:
        r"""$C\kappa + d$."""
        return self.embedding @ x + self.baseline

    def target(self, x: Float[Array, " k"], u: Float[Array, " d"]) -> Float[Array, " k"]:
        r"""$A_z\kappa + b_z + Bu$."""
        region = jnp.argmax(self.borders @ x + self.levels)
        return self.matrices[region] @ x + self.offsets[region] + self.input_weights @ u

    def velocity(self, x: Float[Array, " k"], u: Float[Array, " d"]) -> Float[Array, " k"]:
        """The time derivative of the variables."""
        return (self.target(x, u) - x) / self.tau


class SwitchingNetwork(AbstractFlow):
    r"""The same as a network of N units: $\tau\dot r = -r + d + C(A_z\kappa + b_z + Bu)$, $\kappa = C^+(r - d)$.

    Its states keep to the plane $C\kappa + d$, and what is off it fades with the leak (docs eq. L.29; eq. M26–M28).
    """

    latent: SwitchingFlow

    def __check_init__(self) -> None:
        embedding = np.asarray(self.latent.embedding)
        if np.linalg.matrix_rank(embedding) < embedding.shape[1]:
            raise InputError("`latent.embedding` must have independent columns: else rates do not fix the variables.")

    @property
    def tau(self) -> float:
        """That of the variables."""
        return self.latent.tau

    @property
    def state_size(self) -> int:
        """Number of units."""
        return self.latent.embedding.shape[0]

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.latent.input_size

    def rates(self, x: Float[Array, " n"]) -> Float[Array, " n"]:
        """The state."""
        return x

    def encode(self, rates: Float[Array, "*batch n"]) -> Float[Array, "*batch k"]:
        r"""$\kappa = C^+(r - d)$."""
        latent = self.latent
        return (rates - jnp.broadcast_to(latent.baseline, rates.shape)) @ jnp.linalg.pinv(latent.embedding).T

    def velocity(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        """The time derivative of the rates."""
        return (self.latent.rates(self.latent.target(self.encode(x), u)) - x) / self.tau


def switching_unit(
    matrices: Float[Any, "z k j"],
    offsets: Float[Any, "z k"],
    borders: Float[Any, "z k"],
    levels: Float[Any, " z"],
    *,
    embedding: Float[Any, "n k"],
    baseline: Float[Any, " n"] | None = None,
    input_weights: Float[Any, "k d"] | None = None,
    dt: float,
    tau: float = 1.0,
) -> SwitchingFlow:
    r"""The flow whose Euler map with steps `dt` is $\kappa\leftarrow A_z\kappa + b_z + Bu$, as such models are fitted.

    With $\alpha$ = dt/tau, $A = 1 + \frac1\alpha(A_\mathrm{step} - 1)$ and $b = b_\mathrm{step}/\alpha$.
    """
    check_positive(dt=dt, tau=tau)
    share, a, b = dt / tau, np.asarray(matrices, float), np.asarray(offsets, float)
    check_shape("offsets", b, (None, None))
    check_shape("embedding", embedding, (None, None))
    units, rank = np.shape(embedding)
    driven = np.zeros((rank, 0)) if input_weights is None else np.asarray(input_weights, float) / share
    offset = np.zeros(units) if baseline is None else np.asarray(baseline, float)
    relaxed = np.eye(rank) + (a - np.eye(rank)) / share
    parts: dict[str, Any] = {
        "matrices": relaxed,
        "offsets": b / share,
        "borders": borders,
        "levels": levels,
        "input_weights": driven,
        "embedding": embedding,
        "baseline": offset,
    }
    return SwitchingFlow(**{name: jnp.asarray(np.asarray(part, float)) for name, part in parts.items()}, tau=tau)
