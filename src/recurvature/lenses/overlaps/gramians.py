r"""Sums and integrals of $F^nX(F^n)^\top$: what quadratic losses are made of, over finite and infinite times."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Square = Float[Array, "k k"]


def lyapunov_discrete(f: Square, x: Square) -> Square:
    r"""The solution of $P = FPF^\top + X$ (docs eq. O.15): $\sum_n F^nX(F^n)^\top$ where $F$ is stable."""
    return _solve_linear(jnp.eye(f.shape[0] ** 2, dtype=f.dtype) - jnp.kron(f, f), x)


def lyapunov_continuous(f: Square, x: Square) -> Square:
    r"""The solution of $FP + PF^\top + X = 0$: $\int e^{Ft}Xe^{F^\top t}dt$ where $F$ is stable."""
    identity = jnp.eye(f.shape[0], dtype=f.dtype)
    return _solve_linear(-jnp.kron(f, identity) - jnp.kron(identity, f), x)


def _solve_linear(operator: Array, x: Square) -> Square:
    solution = jnp.linalg.solve(operator, x.reshape(-1)).reshape(x.shape)
    return (solution + solution.T) / 2


def finite_sums(f: Square, x: Square, steps: int, *, taper: bool) -> Square:
    r"""$\sum_{n<T}F^nX(F^n)^\top$, with `taper` the same with factors $1-n/T$: by doubling, $O(\log T)$ products.

    No inverse: eigenvalues may coincide, and $F$ need not be stable (docs eq. O.14).
    """
    total, moment, power, done = jnp.zeros_like(x), jnp.zeros_like(x), jnp.eye(f.shape[0], dtype=f.dtype), 0
    for bit in f"{steps:b}":
        moment = moment + power @ (moment + done * total) @ power.T if taper else moment
        total = total + power @ total @ power.T
        power, done = power @ power, 2 * done
        if bit == "1":
            moment = f @ (moment + total) @ f.T if taper else moment
            total = x + f @ total @ f.T
            power, done = power @ f, done + 1
    return total - moment / steps if taper else total


# with 24 terms the series of an exponential whose exponent is up to 2 in norm is summed to rounding
_SHORT, _TERMS = 1 / 16, 24


def finite_integrals(f: Square, x: Square, duration: float, *, taper: bool) -> Square:
    r"""$\int_0^Te^{Ft}Xe^{F^\top t}dt$, with `taper` times $1-t/T$: a short interval in series, then doubling.

    With $\mathcal LY = FY + YF^\top$ the integrand is $\sum_kt^k\mathcal L^kX/k!$ (docs eq. O.14). Rounding only for
    $\lVert F\rVert$ up to 16, in units of the time constant.
    """
    doublings = max(0, math.ceil(math.log2(duration / _SHORT)))
    length = duration / 2**doublings

    def term(carry: Any, k: Array) -> tuple[Any, None]:
        total, moment, power, y, z = carry
        # y = h^k L^k X / k!, z = (hF)^k / k!
        total, moment = total + y * (length / (k + 1)), moment + y * (length**2 / (k + 2))
        following = (f @ y + y @ f.T) * (length / (k + 1)), f @ z * (length / (k + 1))
        return (total, moment, power + z, *following), None

    zero = jnp.zeros_like(x)
    start = (zero, zero, zero, x, jnp.eye(f.shape[0], dtype=f.dtype))
    (total, moment, power, *_), _ = jax.lax.scan(term, start, jnp.arange(_TERMS, dtype=f.dtype))
    for _ in range(doublings):
        moment = moment + power @ (moment + length * total) @ power.T if taper else moment
        total = total + power @ total @ power.T
        power, length = power @ power, 2 * length
    return total - moment / duration if taper else total
