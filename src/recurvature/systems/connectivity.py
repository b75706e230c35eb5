"""How units talk to each other: a dense matrix, or a low-rank product that is never multiplied out."""

import abc
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from recurvature._errors import check_choice, check_count, check_shape
from recurvature._keys import PRNGKey, stream

Normalisation = Literal["1/N", "1"]


class AbstractConnectivity(eqx.Module):
    """A linear map of rates to recurrent input, weights post × pre."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Number of units."""

    @abc.abstractmethod
    def __call__(self, rates: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
        """$W r$ for rates with any leading axes."""

    @abc.abstractmethod
    def dense(self) -> Float[Array, "n n"]:
        """The full matrix (N × N: for small networks and tests)."""


class Dense(AbstractConnectivity):
    """A full N × N matrix."""

    weight: Float[Array, "n n"]

    def __check_init__(self) -> None:
        check_shape("weight", self.weight, (None, None))
        check_shape("weight", self.weight, (self.weight.shape[0],) * 2)

    @property
    def size(self) -> int:
        """Number of units."""
        return self.weight.shape[0]

    def __call__(self, rates: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
        """$W r$."""
        return rates @ self.weight.T

    def dense(self) -> Float[Array, "n n"]:
        """The matrix itself."""
        return self.weight


class LowRank(AbstractConnectivity):
    """$W = $ `left` @ `right.T` / N, or without the 1/N when `normalisation` is `"1"`; 4NK operations, never N²."""

    left: Float[Array, "n k"]
    right: Float[Array, "n k"]
    normalisation: Normalisation = eqx.field(static=True, default="1/N")

    def __check_init__(self) -> None:
        check_choice("normalisation", self.normalisation, ("1/N", "1"))
        check_shape("left", self.left, (None, None))
        check_shape("right", self.right, tuple(self.left.shape))

    @property
    def size(self) -> int:
        """Number of units."""
        return self.left.shape[0]

    @property
    def rank(self) -> int:
        """Number of columns of `left`."""
        return self.left.shape[1]

    @property
    def scale(self) -> float:
        """The factor in front of `left @ right.T`."""
        return 1.0 / self.size if self.normalisation == "1/N" else 1.0

    def encode(self, rates: Float[Array, "*batch n"]) -> Float[Array, "*batch k"]:
        r"""The latent variables $\kappa$ of rates: `right.T @ r`, over N where the normalisation says so."""
        return rates @ self.right * self.scale

    def embed(self, latent: Float[Array, "*batch k"]) -> Float[Array, "*batch n"]:
        r"""`left` @ $\kappa$: what every unit receives of the latent variables."""
        return latent @ self.left.T

    def __call__(self, rates: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
        """$W r$ through the latent variables."""
        return self.embed(self.encode(rates))

    def dense(self) -> Float[Array, "n n"]:
        """The matrix, multiplied out."""
        return self.left @ self.right.T * self.scale


def random_connectivity(size: int, *, rank: int | None, gain: float, key: PRNGKey) -> Dense | LowRank:
    r"""Dense Gaussian weights of variance `gain`²/N, or (with `rank`) standard normal factors under 1/N.

    Low-rank factors start with independent `left` and `right`, hence overlaps of order $1/\sqrt N$.
    """
    check_count(size=size)
    if rank is None:
        return Dense(gain * jr.normal(stream(key, "recurrent"), (size, size)) / jnp.sqrt(size))
    check_count(rank=rank)
    left = jr.normal(stream(key, "left"), (size, rank))
    return LowRank(left, gain * jr.normal(stream(key, "right"), (size, rank)))
