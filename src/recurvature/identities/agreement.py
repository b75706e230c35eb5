"""How two routes to one quantity are compared, and what the verdict is called."""

from typing import Any

import numpy as np

from recurvature.systems.base import AbstractMap, Network

HOLDS, FAILS, NON_FINITE, NOT_APPLICABLE, SINGULAR = range(5)
STATUS = ("holds", "fails", "non_finite", "not_applicable", "singular")
"""What the numbers in a `status` mean.

- `holds`: both sides agree to `tolerance`.
- `fails`: they do not: a network that is not what it is taken for, or numbers too ill-conditioned for this test.
- `non_finite`: a side is not finite: the network explodes, or a solver failed.
- `not_applicable`: the identity is one of other networks.
- `singular`: a side does not exist: noise does not reach every direction of the state, to rounding.
"""

LIMIT = 1e-10
"""Largest relative difference of two exact routes in float64.

Sums of some hundred products, pushed through some hundred steps, each rounded to 2e-16: about 1e-12, and two digits
for matrices that are not perfectly conditioned.
"""

LOOSEST = 1e-4
"""Largest tolerance of any verdict: what rounding leaves fewer than four digits of, no agreement can confirm."""

SOLVER_LIMIT = 1e-6
"""The same where a flow is solved twice: a hundred times the relative tolerance of a step (`systems.tangent.RTOL`)."""


def tolerance_of(network: Network) -> float:
    """The limit for two routes through a network: of a map they are exact, of a flow solved."""
    return LIMIT if isinstance(network.system, AbstractMap) else SOLVER_LIMIT


def difference(left: Any, right: Any) -> float:
    """The largest difference of two arrays over the largest entry of either; 0 where all is 0, NaN if not finite."""
    one, other = np.asarray(left), np.asarray(right)
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return float("nan")
    scale = max(np.abs(one).max(initial=0), np.abs(other).max(initial=0))
    return float(np.abs(one - other).max(initial=0) / scale) if scale > 0 else 0.0


def verdict(error: float, tolerance: float) -> int:
    """`HOLDS`, `FAILS` or `NON_FINITE`."""
    return NON_FINITE if not np.isfinite(error) else HOLDS if error <= tolerance else FAILS
