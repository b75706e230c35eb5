r"""How what gradient flow keeps moves under everything else: finite steps, noise, decay, momentum."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.coordinates import OVERLAPS
from recurvature.lenses.overlaps.descent import symmetric_gradient
from recurvature.lenses.overlaps.invariants import expected_drift, weights_of
from recurvature.lenses.overlaps.layout import Layout
from recurvature.lenses.overlaps.losses import DataLoss
from recurvature.lenses.overlaps.record import Learning
from recurvature.lenses.overlaps.response import respond


class Conserved(AbstractResult):
    r"""The N × N matrix $C = \Theta J\Lambda^{-1}\Theta^\top/N$ along learning, by its norms (docs eq. O.40).

    Gradient flow of linear units keeps all of it. `decayed` is the factor by which weight decay alone would shrink it;
    `change` is the Frobenius norm of $C_k$ less `decayed` times $C_0$: what steps, noise or momentum have done.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    time: Float[Values, " step"] = eqx.field(metadata={"units": "rate times steps"})
    norm: Float[Values, " step"]
    change: Float[Values, " step"]
    decayed: Float[Values, " step"]


def conserved(learning: Learning) -> Conserved:
    r"""How much of the matrix $AA^\top-BB^\top$ of all units survives learning, from its propagators alone.

    Since $\Theta_k = \Theta_0\mathcal K_k$, $C_k-aC_0 = \Theta_0X\Theta_0^\top/N$ with $X = \mathcal
    KJ\Lambda^{-1}\mathcal K^\top-aJ\Lambda^{-1}$, whose norm is $(\mathrm{tr}\,XS_0XS_0)^{1/2}$ (docs eq. O.40). Raises
    `InputError` for the control, for noise on weights, and where a block is frozen.
    """
    if learning.method.startswith("control") or learning.rule.get("noise") is not None:
        raise InputError("the propagators of this learning do not carry the weights; there is no matrix to follow.")
    layout, start = learning.layout, np.asarray(learning.matrix)[0]
    weights = weights_of(learning.rule.get("blocks"), layout)
    if not np.isfinite(weights).all():
        raise InputError(
            "a block that is frozen has no weighted invariant; look at the blocks that learn by themselves."
        )
    middle = np.diag(layout.signature * weights).astype(start.dtype)
    k = np.asarray(learning.propagator)
    shrunk = _decay(learning)
    # weights that diverged overflow here: their status says so
    with np.errstate(over="ignore", invalid="ignore"):
        carried = k @ middle @ np.swapaxes(k, -1, -2)
        changed = carried - shrunk[:, None, None] * middle
        norms = [
            np.sqrt(np.maximum(np.trace(x @ start @ x @ start, axis1=-1, axis2=-2), 0)) for x in (carried, changed)
        ]
    return Conserved(time=np.asarray(learning.time), norm=norms[0], change=norms[1], decayed=shrunk)


def _decay(learning: Learning) -> Float[np.ndarray, " step"]:
    r"""$(1-\eta w)^{2k}$: what weight decay does to products of weights under plain descent."""
    decay = float(learning.rule.get("weight_decay", 0.0))
    if not decay:
        return np.ones(len(learning.time), np.asarray(learning.matrix).dtype)
    blocks = set(learning.rule["blocks"])
    changing = learning.rule["slower_below"] is not None
    if learning.rule["momentum"] or learning.rule["name"] != "gradient" or len(blocks) > 1 or changing:
        raise InputError("weight decay shrinks the matrix as a whole under plain descent with equal rates alone.")
    base = 1 - float(learning.rule["rate"]) * blocks.pop() * decay
    return (base ** (2 * np.asarray(learning.count))).astype(np.asarray(learning.matrix).dtype)


def conserved_step(
    gamma: Float[Any, "a a"], layout: Layout, rate: float, *, weight_decay: float = 0.0
) -> Float[np.ndarray, "a a"]:
    r"""$X$ with $C' - C = \Theta X\Theta^\top/N$ for one step of gradient descent: exact (docs eq. O.39).

    Without decay $X = -4\eta^2J\Gamma^2$ for linear units: of second order, negative on what reads and positive on what
    writes.
    """
    signs = np.diag(layout.signature).astype(np.asarray(gamma).dtype)
    turn = (1 - rate * weight_decay) * np.eye(layout.size, dtype=signs.dtype) - 2 * rate * np.asarray(gamma)
    return turn @ signs @ turn.T - signs


def noise_drift(
    loss: DataLoss, overlaps: Float[Any, "a a"], std: float, rate: float
) -> tuple[float, Float[np.ndarray, "i j"]]:
    r"""The mean drift of $\mathrm{tr}\,JS$ and of the charge in one step with noise of `std` on every target.

    That of `expected_drift` at the mean gradient, plus what the noise adds: with $Y_n$ the symmetric gradient of one
    output and $w_n$ its weight in the loss, $\langle\Gamma S\Gamma\rangle$ grows by $4\varsigma^2\sum_nw_n^2Y_nSY_n$
    (docs eq. O.41). Exact.
    """
    layout, s = loss.layout, jnp.asarray(overlaps)
    trace, charge = expected_drift(s, symmetric_gradient(loss, s), layout, rate)
    extra = 4 * std**2 * np.asarray(_summed(loss, s))
    gained = 4 * rate**2 * extra
    more = gained[layout.u, layout.u] - gained[layout.v, layout.v]
    return trace + float((layout.signature * np.diag(gained)).sum()), charge + more


@eqx.filter_jit
def _summed(loss: DataLoss, s: Float[Array, "a a"]) -> Float[Array, "a a"]:
    r"""$\sum_nw_n^2Y_nSY_n$ over all outputs."""

    def outputs(matrix: Array) -> Array:
        return respond(matrix, loss.layout, loss.inputs, loss.dt, loss.phi)

    mask = jnp.ones(loss.inputs.shape[:2], s.dtype) if loss.mask is None else loss.mask.astype(s.dtype)
    weights = mask / jnp.sum(mask) / float(loss.layout.outputs)
    gradients = jax.jacfwd(outputs)(s)
    y = (gradients + jnp.swapaxes(gradients, -1, -2)) / 2
    return jnp.einsum("bt,btoij,jk,btokl->il", weights**2, y, s, y)
