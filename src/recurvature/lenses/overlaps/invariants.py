r"""What gradient flow keeps: the spectrum of $JS$ for linear networks, the gauge charges for all."""

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_choice, check_count
from recurvature._precision import require_float64
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.coordinates import OVERLAPS, Overlaps, function_relevant
from recurvature.lenses.overlaps.descent import Rule
from recurvature.lenses.overlaps.full import UnitLearning
from recurvature.lenses.overlaps.layout import REGIMES, Layout, Regime, to_pairs
from recurvature.lenses.overlaps.record import Learning


class Invariants(AbstractResult):
    r"""The conserved quantities of overlaps, or of each recorded step of learning (docs eq. O.24 and O.25).

    `spectrum` is that of $JS$: the P eigenvalues of $(AA^\top-BB^\top)/N$ that can differ from zero, real, the largest
    first. `charge` is $\sigma_{UU}-\sigma_{VV}$. Gradient flow keeps both for linear units, `charge` alone for
    nonlinear ones. Where vectors learn at rates $\Lambda$ that differ, it keeps the same of $J\Lambda^{-1}S$ and
    $\sigma_{UU}/\lambda_U-\sigma_{VV}/\lambda_V$ instead, and these are given; NaN where they need the rate of a frozen
    block (docs eq. O.42).
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    time: Float[Values, " step"] = eqx.field(metadata={"units": "rate times steps"})
    spectrum: Float[Values, "step k"]
    charge: Float[Values, "step i j"]
    columns: tuple[str, ...]

    @property
    def traces(self) -> Float[np.ndarray, "step k"]:
        r"""$I_k = \mathrm{tr}(JS)^k$, $k = 1\dots P$."""
        spectrum = np.asarray(self.spectrum)
        return np.stack([(spectrum**k).sum(-1) for k in range(1, spectrum.shape[-1] + 1)], axis=-1)

    @property
    def drift(self) -> Float[np.ndarray, " step"]:
        """The largest change since the first step of any eigenvalue and any charge."""
        return largest_change(np.asarray(self.spectrum), np.asarray(self.charge))


def invariants(source: Overlaps | Learning | UnitLearning) -> Invariants:
    """The conserved quantities of a network's overlaps (one step), or along learning."""
    s = np.asarray(source.matrix)
    s, layout = s[None] if s.ndim == 2 else s, source.layout
    time = np.zeros(1, s.dtype)
    if isinstance(source, UnitLearning):
        time = np.asarray(source.count).astype(s.dtype)
    elif isinstance(source, Learning):
        time = np.asarray(source.time)
    blocks = source.rule.get("blocks") if isinstance(source, Learning) else None
    spectrum, charge = kept_by(s, layout, blocks)
    return Invariants(time=time, spectrum=spectrum, charge=charge, columns=layout.columns)


def kept_by(
    overlaps: Float[np.ndarray, "step a a"], layout: Layout, blocks: Sequence[float] | None
) -> tuple[Float[np.ndarray, "step a"], Float[np.ndarray, "step i j"]]:
    """`spectrum` and `charge` of `Invariants` for vectors that learn at the rates of `blocks`."""
    weights = weights_of(blocks, layout)
    u, v = layout.u, layout.v
    # a frozen block has an infinite weight: 0 * inf where its overlaps vanish
    with np.errstate(invalid="ignore"):
        scaled = overlaps * np.sqrt(weights[:, None] * weights[None, :])
        charge = overlaps[:, u, u] * weights[u][:, None] - overlaps[:, v, v] * weights[v][:, None]
    return (
        signed_spectrum(scaled.astype(overlaps.dtype), layout),
        np.where(np.isfinite(charge), charge, np.nan).astype(overlaps.dtype),
    )


def largest_change(*courses: Float[np.ndarray, "step ..."]) -> Float[np.ndarray, " step"]:
    """How far any entry of any of `courses` has gone from the first step; NaN where one of them is."""
    return np.max([np.abs(x - x[:1]).reshape(len(x), -1).max(-1) for x in courses], axis=0)


def weights_of(blocks: Sequence[float] | None, layout: Layout) -> Float[np.ndarray, " a"]:
    r"""The diagonal of $\Lambda^{-1}$ for the blocks of a `Rule`: infinite where frozen, 1 where there are none."""
    if blocks is None:
        return np.ones(layout.size)
    factors = np.asarray(Rule(1.0, tuple(map(float, blocks))).factors(layout, float))
    return np.where(factors > 0, 1 / np.where(factors > 0, factors, 1), np.inf)


def signed_spectrum(overlaps: Float[np.ndarray, "*step a a"], layout: Layout) -> Float[np.ndarray, "*step a"]:
    r"""Eigenvalues of $JS$, by the symmetric $S^{1/2}JS^{1/2}$ that has the same; NaN where not finite."""
    finite = np.isfinite(overlaps).all((-1, -2))
    values, axes = np.linalg.eigh(np.where(finite[..., None, None], overlaps, 0))
    half = axes * np.sqrt(np.clip(values, 0, None))[..., None, :]
    signs = layout.signature.astype(overlaps.dtype)
    spectrum = np.linalg.eigvalsh(np.swapaxes(half, -1, -2) @ (signs[:, None] * half))[..., ::-1]
    return np.where(finite[..., None], spectrum, np.nan)


def expected_drift(
    overlaps: Float[Any, "a a"], gamma: Float[Any, "a a"], layout: Layout, rate: float
) -> tuple[float, Float[np.ndarray, "i j"]]:
    r"""How far one step of gradient descent moves $\mathrm{tr}\,JS$ and the charge: exact, of order $\eta^2$.

    $4\eta^2\,\mathrm{tr}(J\Gamma S\Gamma)$ (for linear units, where $\Gamma J = -J\Gamma$) and
    $4\eta^2[(\Gamma S\Gamma)_{UU}-(\Gamma S\Gamma)_{VV}]$ (docs eq. O.26).
    """
    gained = 4 * rate**2 * (np.asarray(gamma) @ np.asarray(overlaps) @ np.asarray(gamma))
    trace = float((layout.signature * np.diag(gained)).sum())
    return trace, gained[layout.u, layout.u] - gained[layout.v, layout.v]


class Reach(AbstractResult):
    r"""How many dimensions learning can reach from a point of overlap space, whatever the tasks (docs eq. O.27).

    `leaf` is the rank of the Lie algebra of the gradient fields up to brackets of `depth`; `invariants` = overlaps −
    leaf; `hidden` = leaf − function: directions in which learning leaves a trace that the function does not show.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    singular_values: Float[Values, " k"]
    leaf: int
    function: int
    overlaps: int
    depth: int
    columns: tuple[str, ...]

    @property
    def invariants(self) -> int:
        """Number of independent conserved quantities near the point."""
        return self.overlaps - self.leaf

    @property
    def hidden(self) -> int:
        """Dimensions of memory that the function does not show."""
        return self.leaf - self.function


def reach(
    overlaps: Overlaps | Float[Any, "a a"],
    *,
    layout: Layout | None = None,
    regime: Regime = "linear",
    depth: int = 3,
    tolerance: float = 1e-9,
) -> Reach:
    r"""The dimension that any sequence of tasks can reach from `overlaps`, by brackets of gradient fields.

    Fields are $X_i = -2(\Gamma_iS + S\Gamma_i)$ for a basis $f_i$ of functions of the function-relevant combinations;
    brackets are exact derivatives, left-normed up to `depth`. Singular values above `tolerance` of the largest count.
    A leaf that still grows from `depth` − 1 to `depth` is a lower bound: raise `depth`.
    """
    check_choice("regime", regime, REGIMES)
    check_count(depth=depth)
    if isinstance(overlaps, Overlaps):
        return reach(overlaps.matrix, layout=overlaps.layout, regime=regime, depth=depth, tolerance=tolerance)
    if layout is None:
        raise InputError("a bare matrix of overlaps needs its `layout`.")
    # of overlaps in float32 rounding would count as dimensions
    at = jnp.asarray(np.asarray(overlaps, float))
    require_float64(overlaps=at)
    fields, vectors = _brackets(at, layout, regime, depth)
    rows = to_pairs(np.asarray(vectors), layout)
    # brackets differ in size by powers of the overlaps: only their directions count
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    strengths = np.linalg.svd(rows / np.where(lengths > 1e-12, lengths, np.inf), compute_uv=False)
    first = np.linalg.svd(rows[: len(fields)], compute_uv=False)
    return Reach(
        singular_values=strengths,
        leaf=int((strengths > tolerance * strengths[0]).sum()),
        function=int((first > tolerance * first[0]).sum()),
        overlaps=len(layout.names),
        depth=depth,
        columns=layout.columns,
    )


def _fields(layout: Layout, regime: Regime) -> Any:
    """The gradient fields as one function: overlaps ↦ (field, P, P)."""

    def parameters(s: Array) -> Array:
        return jnp.concatenate([x.reshape(-1) for x in function_relevant(s, layout, regime).values()])

    def fields(s: Array) -> Array:
        gradients = jax.jacrev(parameters)(s)
        gamma = (gradients + jnp.swapaxes(gradients, 1, 2)) / 2
        return -2 * (gamma @ s + s @ gamma)

    return fields


@eqx.filter_jit
def _brackets(s: Float[Array, "a a"], layout: Layout, regime: Regime, depth: int) -> tuple[Array, Array]:
    """The gradient fields at a point, and with them all their left-normed brackets up to `depth`."""
    fields = _fields(layout, regime)

    def pairwise(x: Array) -> Array:
        first = fields(x)
        along = jax.vmap(lambda t: jax.jvp(fields, (x,), (t,))[1])(first)
        i, j = np.triu_indices(first.shape[0], 1)
        return along[i, j] - along[j, i]

    levels = [fields, pairwise][:depth]
    for _ in range(depth - 2):
        levels.append(_bracketed(fields, levels[-1]))
    found = [level(s) for level in levels]
    return found[0], jnp.concatenate(found)


def _bracketed(fields: Any, previous: Any) -> Any:
    """The brackets of every field with every one of `previous`, as a function of the point."""

    def bracketed(x: Array) -> Array:
        first, second = fields(x), previous(x)
        along_first = jax.vmap(lambda t: jax.jvp(previous, (x,), (t,))[1])(first)
        along_second = jax.vmap(lambda t: jax.jvp(fields, (x,), (t,))[1])(second)
        found = along_first - jnp.swapaxes(along_second, 0, 1)
        return found.reshape(-1, *x.shape)

    return bracketed
