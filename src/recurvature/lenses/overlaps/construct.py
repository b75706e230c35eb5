r"""Networks with prescribed overlaps: any positive semi-definite matrix is that of some vectors."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature.lenses.overlaps.coordinates import check_overlaps
from recurvature.lenses.overlaps.layout import Layout
from recurvature.systems.activations import Activation
from recurvature.systems.base import Euler, Network
from recurvature.systems.connectivity import LowRank
from recurvature.systems.leaky import LeakyCurrent
from recurvature.systems.readout import LinearReadout


def vectors(overlaps: Float[Any, "a a"], layout: Layout, units: int, *, key: PRNGKey) -> Float[Array, "n a"]:
    r"""Random vectors $\Theta$ (N, P) whose overlaps $\Theta^\top\Theta/N$ are exactly those prescribed (docs eq. O.5).

    $\Theta = X\Lambda^{1/2}E^\top$ with $S = E\Lambda E^\top$ and $X^\top X = N$: a Gaussian draw made orthonormal, so
    that singular matrices need no jitter. Raises `InputError` where `overlaps` is not positive semi-definite or has
    more independent vectors than there are units.
    """
    check_count(units=units)
    check_overlaps(overlaps, layout)
    return shaped(overlaps, units, lambda columns, dtype: jr.normal(stream(key, "vectors"), (units, columns), dtype))


def shaped(
    overlaps: Float[Any, "a a"], units: int, draw: Callable[[int, Any], Float[Any, "n k"]]
) -> Float[Array, "n a"]:
    """The columns that `draw` gives for their number and type, made orthonormal and turned to have the overlaps."""
    values, axes = np.linalg.eigh(np.asarray(overlaps))
    # what rounding leaves of a zero eigenvalue
    kept = values > len(values) * np.finfo(values.dtype).eps * values.max()
    if kept.sum() > units:
        raise InputError(f"{units} units cannot hold {kept.sum()} independent vectors; take at least as many units.")
    columns = np.asarray(draw(int(kept.sum()), values.dtype))
    orthonormal = np.linalg.qr(columns)[0] * np.sqrt(units).astype(values.dtype)
    return jnp.asarray(orthonormal @ (axes[:, kept] * np.sqrt(values[kept])).T)


def assemble(
    theta: Float[Any, "n a"],
    layout: Layout,
    *,
    dt: float | None = 0.1,
    phi: str | Activation = "identity",
) -> Network:
    r"""The network of the vectors $\Theta = [Z|V|M|U]$: $\dot h = -h + UV^\top\phi(h)/N + Mx$, $y = Z^\top\phi(h)/N$.

    Time is in units of the time constant; `dt` is the Euler step, None leaves a flow. The network starts at zero.
    """
    check_shape("theta", theta, (None, layout.size))
    units, columns = theta.shape[0], np.asarray(theta)
    v, m, u = (jnp.asarray(columns[:, block]) for block in (layout.v, layout.m, layout.u))
    zero = jnp.asarray(np.zeros(units, columns.dtype))
    flow = LeakyCurrent(LowRank(u, v), m, zero, phi)
    readout = LinearReadout(jnp.asarray(columns[:, layout.z].T / columns.dtype.type(units)))
    return Network(flow if dt is None else Euler(flow, dt), readout, zero)


def network(
    overlaps: Float[Any, "a a"],
    layout: Layout,
    units: int,
    *,
    key: PRNGKey,
    dt: float | None = 0.1,
    phi: str | Activation = "identity",
) -> Network:
    """A random network of `units` units whose overlaps are exactly those prescribed; see `vectors`, `assemble`."""
    return assemble(vectors(overlaps, layout, units, key=key), layout, dt=dt, phi=phi)
