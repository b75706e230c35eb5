"""One search for fixed points: the rate in full and as searched, and what is kept of what the starts came to."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import check_count
from recurvature._precision import cast, float_dtype
from recurvature.dynamics.certificate import Bound, certify, lifted
from recurvature.dynamics.rate import (
    AbstractLatentRate,
    AbstractRate,
    Rate,
    kind_of,
    latent_rate,
    lift,
    own_spectrum,
    rate_of,
    system_of,
)
from recurvature.dynamics.search import Searched, distinct, polish
from recurvature.dynamics.stability import unstable_first
from recurvature.dynamics.starts import Begin, latent_of, latent_starts, starts_of


class Problem(NamedTuple):
    """The rate of the full state, and the rate that is searched in the number types of the two phases."""

    full: Rate
    fine: AbstractRate
    coarse: AbstractRate
    scale: float

    @property
    def dtype(self) -> np.dtype:
        """The number type of the polish."""
        return np.dtype(self.full.inputs.dtype)

    @property
    def coarse_dtype(self) -> np.dtype:
        """The number type of the search."""
        return np.dtype(float_dtype(self.coarse))

    @property
    def space(self) -> str:
        """In which variables the search runs."""
        return "latent variables" if isinstance(self.fine, AbstractLatentRate) else "full state"

    @property
    def points_size(self) -> int:
        """How many variables those are."""
        return self.fine.size if isinstance(self.fine, AbstractLatentRate) else self.full.system.state_size

    def starts(self, begin: Begin) -> Float[np.ndarray, "start k"]:
        """The starts of the search in those variables."""
        if not isinstance(self.fine, AbstractLatentRate):
            return starts_of(self.full, begin, self.scale).astype(self.coarse_dtype)
        if begin.drawn:
            check_count(count=begin.count)
            return latent_starts(self.fine, begin.count, self.scale, begin.own_key()).astype(self.coarse_dtype)
        return latent_of(self.fine, self.full, starts_of(self.full, begin, self.scale)).astype(self.coarse_dtype)

    def states(self, points: Float[np.ndarray, "point k"]) -> Float[np.ndarray, "point n"]:
        """States of the system for points of the search."""
        if isinstance(self.fine, AbstractLatentRate):
            return np.asarray(lift(self.full, self.fine, jnp.asarray(points, self.dtype)))
        return points


def prepare(network: Any, inputs: Any, scale: float, latent: bool, starts: Any) -> Problem:
    """The problem in float64 and float32, where 64-bit numbers are on and the system has arrays that can be cast.

    A bare function takes the number type of the starts, if they have one.
    """
    system = system_of(network)
    castable = any(eqx.is_inexact_array(leaf) for leaf in jax.tree.leaves(system))
    dtype = jnp.float64 if castable and jnp.result_type(float) == jnp.float64 else float_dtype(system)
    if not castable and starts is not None and np.issubdtype(np.asarray(starts).dtype, np.floating):
        dtype = jnp.result_type(np.asarray(starts).dtype)
    full = rate_of(cast(system, dtype), inputs, dtype)
    fine = (latent_rate(full) if latent else None) or full
    return Problem(full, fine, cast(fine, jnp.float32) if castable else fine, scale)


class Candidates(NamedTuple):
    """The distinct points that were found, fixed and slow, the slowest first."""

    points: Float[np.ndarray, "point k"]
    states: Float[np.ndarray, "point n"]
    speed: Float[np.ndarray, " point"]
    relative_speed: Float[np.ndarray, " point"]
    came: Int[np.ndarray, " start"]
    """The point that every start came to, -1 for none."""
    searched: Searched


def candidates(problem: Problem, found: Searched, slow: float, distance: float) -> Candidates:
    """What the starts came to: made distinct, polished, made distinct again (docs eq. D.4, D.5)."""
    hopeful = np.flatnonzero(found.speed <= slow)  # false for NaN
    came = np.full(len(found.speed), -1)
    points = found.states[hopeful].astype(problem.dtype)
    states = problem.states(points)
    first = distinct(states, found.speed[hopeful], distance)
    points, speed = polish(problem.fine, points[first], problem.scale)
    polished = problem.states(points)
    second = distinct(polished, speed, distance)
    if len(hopeful):
        came[hopeful] = _nearest(polished, polished[second])[_nearest(states, states[first])]
    kept = polished[second]
    speeds = np.array([np.linalg.norm(_value(problem.full, x)) for x in kept])
    relative = speeds / (problem.scale * kept.shape[1] ** 0.5 + np.linalg.norm(kept, axis=1))
    return Candidates(points[second], kept, speeds, relative, came, found)


def _nearest(states: Float[np.ndarray, "start n"], among: Float[np.ndarray, "point n"]) -> Int[np.ndarray, " start"]:
    return np.array([int(np.linalg.norm(among - x, axis=1).argmin()) for x in states], int)


@eqx.filter_jit
def _value(rate: Rate, x: Float[Any, " n"]) -> Float[Array, " n"]:
    return rate(jnp.asarray(x))


@eqx.filter_jit
def value_and_jacobian(rate: AbstractRate, x: Float[Any, " n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """The rate and its Jacobian at a state."""
    return rate(jnp.asarray(x)), rate.jacobian(jnp.asarray(x))


class Description(NamedTuple):
    """What is known of one fixed point."""

    eigenvalues: np.ndarray
    sign: int
    """Of det(-J)."""
    bound: Bound


def describe(problem: Problem, point: Float[np.ndarray, " k"]) -> Description:
    """Spectrum, index and certificate of one fixed point."""
    value, jacobian = (np.asarray(a) for a in value_and_jacobian(problem.fine, point))
    system, fine = problem.full.system, problem.fine
    values = own_spectrum(system, np.linalg.eigvals(jacobian)).astype(complex)
    bound, sign = certify(fine, point, value, jacobian)
    if isinstance(fine, AbstractLatentRate):
        bound = lifted(bound, problem.full, fine)
    return Description(unstable_first(values, kind_of(system)), sign, bound)
