r"""Lyapunov exponents: how fast neighbouring trajectories part, in every direction, averaged along one of them."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_positive
from recurvature._result import AbstractResult, Citation, Values
from recurvature.dynamics.rate import Rate, euler_step, flow_of, kind_of, rate_of
from recurvature.systems.base import AbstractMap, AbstractSystem, Network

BENETTIN = Citation(
    "benettin1980lyapunov",
    "Benettin, Galgani, Giorgilli & Strelcyn (1980). Lyapunov characteristic exponents for smooth dynamical systems "
    "and for Hamiltonian systems; a method for computing all of them. Meccanica 15, 9-30.",
    "https://doi.org/10.1007/BF02128236",
)
ENGELKEN = Citation(
    "engelken2023lyapunov",
    "Engelken, Wolf & Abbott (2023). Lyapunov spectra of chaotic recurrent neural networks. "
    "Physical Review Research 5, 043044.",
    "https://doi.org/10.1103/PhysRevResearch.5.043044",
)
BATCHES = 20
"""Parts of the trajectory that are averaged apart, for the standard error."""


class LyapunovSpectrum(AbstractResult):
    r"""The largest Lyapunov exponents of a trajectory, the largest first (docs eq. D.13)."""

    citations: ClassVar[tuple[Citation, ...]] = (BENETTIN, ENGELKEN)

    exponents: Float[Values, " k"] = eqx.field(metadata={"units": "1/tau, or 1/step of a map without tau"})
    standard_error: Float[Values, " k"]
    """Of the mean over parts of the trajectory."""
    final_state: Float[Values, " n"]
    steps: int
    step: float
    """How long one step lasts, in the unit of the exponents."""
    status: str
    """`ok`, or `non_finite`: the state overflowed; no number is given."""

    @property
    def dimension(self) -> float:
        r"""Kaplan and Yorke's dimension of the attractor (NaN if more exponents are needed than were computed)."""
        values = np.asarray(self.exponents, float)
        sums = np.cumsum(values)
        if not np.isfinite(values).all():
            return float("nan")
        if values[0] < 0:
            return 0.0
        below = np.flatnonzero(sums < 0)
        if not len(below):
            return float(len(values)) if len(values) == len(self.final_state) else float("nan")
        k = int(below[0])
        return k + float(sums[k - 1]) / abs(float(values[k]))


def lyapunov_spectrum(
    network: Network | AbstractSystem,
    inputs: Any = None,
    *,
    state: Float[Any, " n"] | None = None,
    steps: int = 2000,
    transient: int = 500,
    count: int | None = None,
    dt: float = 0.05,
) -> LyapunovSpectrum:
    """The `count` largest exponents (None: all) along the trajectory from `state` under one constant input.

    Tangent vectors are carried by the derivative of every step and made orthogonal after it. The first `transient`
    steps let the state find its attractor and the vectors their directions, and are not counted. `state` is by default
    the network's `x0`, which may be a fixed point: zero is one of many networks. Flows are followed by the fourth-order
    Runge-Kutta map of step `dt`, in units of tau; maps by themselves. Cost: N² × count per step.
    """
    rate = rate_of(network, inputs)
    check_count(steps=steps)
    check_positive(dt=dt)
    if transient < 0:
        raise InputError(f"`transient` must be 0 or more; got {transient}.")
    n = rate.system.state_size
    if state is None and not isinstance(network, Network):
        raise InputError("a system has no initial state: pass `state=`, or a Network.")
    x = jnp.asarray(network.x0 if state is None else state, rate.inputs.dtype)  # type: ignore[union-attr]
    if x.shape != (n,):
        raise InputError(f"`state` must have shape ({n},); got {x.shape}.")
    k = n if count is None else count
    if not 1 <= k <= n:
        raise InputError(f"`count` must lie between 1 and {n}; got {count}.")
    lasts = dt if kind_of(rate.system) == "flow" else (euler_step(rate.system) or 1.0)
    x, logs = _stretches(rate, x, k, -(-steps // BATCHES) * BATCHES, transient, dt)
    means = np.asarray(logs).reshape(BATCHES, -1, k).mean(1) / lasts
    finite = not bool((np.isnan(means) | np.isposinf(means)).any())
    means = means if finite else np.full_like(means, np.nan)
    with np.errstate(invalid="ignore"):  # a direction that vanishes at once has the exponent -inf and no error
        error = means.std(0, ddof=1) / BATCHES**0.5
    order = np.argsort(-means.mean(0), kind="stable")
    return LyapunovSpectrum(
        exponents=means.mean(0)[order],
        standard_error=error[order],
        final_state=np.asarray(x),
        steps=-(-steps // BATCHES) * BATCHES,
        step=float(lasts),
        status="ok" if finite else "non_finite",
    )


@eqx.filter_jit
def _stretches(
    rate: Rate, x: Float[Array, " n"], k: int, steps: int, transient: int, dt: float
) -> tuple[Float[Array, " n"], Float[Array, "step k"]]:
    """The last state, and the logarithms of the stretches of every step."""
    advance = _advance(rate, dt)

    def step(
        carry: tuple[Float[Array, " n"], Float[Array, "n k"]], _: None
    ) -> tuple[tuple[Float[Array, " n"], Float[Array, "n k"]], Float[Array, " k"]]:
        x, basis = carry
        after, tangent = jax.linearize(advance, x)
        basis, factor = jnp.linalg.qr(jax.vmap(tangent, 1, 1)(basis))
        return (after, basis), jnp.log(jnp.abs(jnp.diagonal(factor)))

    start = (x, jnp.eye(len(x), k, dtype=x.dtype))
    carry, _ = jax.lax.scan(lambda c, _: (step(c, None)[0], None), start, length=transient)
    (x, _), logs = jax.lax.scan(step, carry, length=steps)
    return x, logs


def _advance(rate: Rate, dt: float) -> Callable[[Float[Array, " n"]], Float[Array, " n"]]:
    """One step of the map, or of the Runge-Kutta map of the flow."""
    system = rate.system
    if isinstance(system, AbstractMap):
        return lambda x: system.step(x, rate.inputs)
    assert flow_of(system) is not None

    def runge_kutta(x: Float[Array, " n"]) -> Float[Array, " n"]:
        one = rate(x)
        two = rate(x + 0.5 * dt * one)
        three = rate(x + 0.5 * dt * two)
        return x + dt / 6 * (one + 2 * two + 2 * three + rate(x + dt * three))

    return runge_kutta
