r"""The overlaps of a network as data: a matrix whose rows have names, and what of it the function can show."""

from typing import Any, ClassVar, Literal

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from recurvature._errors import InputError, check_choice, check_shape
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.layout import REGIMES, AbstractLaidOut, Layout, Regime, to_pairs
from recurvature.lenses.overlaps.status import classify

OVERLAPS = Citation(
    "ger2026overlaps",
    "Ger & Barak (2026). Learning reveals invisible structure in low-rank RNNs.",
    "https://arxiv.org/abs/2605.04115",
)


class Overlaps(AbstractLaidOut, AbstractResult):
    r"""The overlap matrix $S = \Theta^\top\Theta/N$ of a network, and how well it stands for the network.

    Times are in units of the network's time constant: `dt` is $\alpha$. `status` indexes `overlaps.STATUS`. Linear
    units make the description exact; `regime="gaussian"` holds as far as weights are jointly Gaussian over units.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    matrix: Float[Values, "a b"]
    singular_values: Float[Values, " k"] = eqx.field(metadata={"long_name": "singular values of the recurrence"})
    output_bias: Float[Values, " o"] = eqx.field(metadata={"long_name": "constant added to the outputs"})
    columns: tuple[str, ...]
    outputs: int
    rank: int
    inputs: int
    units: int
    """Number of units of the network."""
    regime: str
    phi: str
    dt: float | None
    """Step in units of the time constant; None in continuous time."""
    gauge: str
    """How U and V share the recurrence: `own` (as trained), `balanced`, or `given`."""
    residual: float
    r"""$\lVert W - UV^\top/N\rVert/\lVert W\rVert$: what the rank leaves out."""
    degenerate: tuple[int, ...]
    """Positions k where singular values k and k+1 agree so closely that their vectors are not determined."""
    smallest_eigenvalue: float
    margin: float
    """Distance from instability of the linear (or linearised) recurrence; negative where unstable."""
    dtype: str
    status: int
    output_error: float = float("nan")
    """How far the reduced model's outputs are from the network's own on given inputs, of their norm (docs eq. O.58)."""
    vectors: Float[Values, "n a"] | None = None
    """Those of the network, for tests on its units; None where overlaps are all that is known."""

    @property
    def names(self) -> tuple[str, ...]:
        """`z·m` and so on, one for each unordered pair."""
        return self.layout.names

    @property
    def values(self) -> Float[np.ndarray, " pair"]:
        """The overlaps in the order of `names`."""
        return to_pairs(np.asarray(self.matrix), self.layout)

    @property
    def visible(self) -> Bool[np.ndarray, " pair"]:
        """Which of `names` the loss can depend on."""
        return self.layout.visible(_regime(self.regime))

    def __getitem__(self, name: str) -> float:
        """The overlap called `name`, in either order of its two vectors."""
        return float(self.matrix[self.layout.position(name)])


def _regime(name: str) -> Regime:
    check_choice("regime", name, REGIMES)
    return "linear" if name == "linear" else "gaussian"


def describe(
    overlaps: Float[Any, "a a"],
    layout: Layout,
    *,
    units: int,
    phi: str = "identity",
    dt: float | None = None,
    gauge: Literal["own", "balanced", "given"] = "given",
    residual: float = 0.0,
    singular_values: Float[Any, " k"] | None = None,
    output_bias: Float[Any, " o"] | None = None,
    vectors: Float[Any, "n a"] | None = None,
) -> Overlaps:
    """An overlap matrix with everything that is said about it: eigenvalues, stability, status.

    Raises `InputError` where the matrix is not symmetric, has an eigenvalue below zero, or does not fit the layout.
    """
    values = np.asarray(overlaps)
    check_overlaps(values, layout)
    strengths = strengths_of(values, layout) if singular_values is None else np.asarray(singular_values)
    smallest = float(np.linalg.eigvalsh(values.astype(float))[0])
    margin = stability_margin(values, layout, dt)
    regime = "linear" if phi == "identity" else "gaussian"
    return Overlaps(
        matrix=values,
        singular_values=strengths,
        output_bias=np.zeros(layout.outputs, values.dtype) if output_bias is None else np.asarray(output_bias),
        columns=layout.columns,
        outputs=layout.outputs,
        rank=layout.rank,
        inputs=layout.inputs,
        units=units,
        regime=regime,
        phi=phi,
        dt=dt,
        gauge=gauge,
        residual=residual,
        degenerate=_degenerate(strengths),
        smallest_eigenvalue=smallest,
        margin=margin,
        dtype=str(values.dtype),
        status=classify(values, smallest, margin, residual, regime),
        vectors=None if vectors is None else np.asarray(vectors),
    )


def check_overlaps(overlaps: Any, layout: Layout) -> None:
    """Raise unless `overlaps` is a finite, symmetric, positive semi-definite matrix of the layout's size."""
    values = np.asarray(overlaps)
    check_shape("overlaps", values, (layout.size, layout.size))
    # the rounding of a Gram matrix, with room for a long product
    slack = 1e3 * np.finfo(values.dtype).eps * np.abs(values).max(initial=0)
    if not np.isfinite(values).all() or np.abs(values - values.T).max() > slack:
        raise InputError("`overlaps` must be a finite symmetric matrix; use `overlaps.matrix` to prescribe one.")
    smallest = np.linalg.eigvalsh(values.astype(float))[0]
    if smallest < -slack:
        raise InputError(
            f"`overlaps` must be positive semi-definite, as scalar products of vectors are; its smallest eigenvalue "
            f"is {smallest:.3g}. Make the squared norms larger or the other overlaps smaller."
        )


def strengths_of(overlaps: Float[np.ndarray, "a a"], layout: Layout) -> Float[np.ndarray, " k"]:
    r"""Singular values of $UV^\top/N$ from the overlaps alone: those of $S_{UU}^{1/2}S_{VV}^{1/2}$."""
    left, right = (_root(overlaps[block, block]) for block in (layout.u, layout.v))
    return np.linalg.svd(left @ right, compute_uv=False)


def _root(gram: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"]:
    values, vectors = np.linalg.eigh(gram)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def stability_margin(overlaps: Float[Any, "*step a b"], layout: Layout, dt: float | None) -> Any:
    r"""How far the recurrence is from instability; negative beyond it.

    $1-\max|1-\alpha+\alpha\,\mathrm{eig}(\sigma_{VU})|$ for steps of `dt` = $\alpha$, $1-\max\mathrm{Re\,eig}$ for a
    flow (docs eq. O.9). For nonlinear units that of the linearisation at zero. NaN where the overlaps are not finite.
    """
    coupling = np.asarray(overlaps)[..., layout.v, layout.u].astype(float)
    finite = np.isfinite(coupling).all((-1, -2))
    values = np.linalg.eigvals(np.where(finite[..., None, None], coupling, 0.0))
    growth = values.real.max(-1) if dt is None else np.abs(1 - dt + dt * values).max(-1)
    margin = np.where(finite, 1 - growth, np.nan)
    return float(margin) if margin.ndim == 0 else margin


def _degenerate(strengths: Float[np.ndarray, " k"]) -> tuple[int, ...]:
    # vectors of singular values this close are mixed by perturbations of relative size 1e-6
    gaps = np.abs(np.diff(strengths)) <= 1e-6 * strengths.max(initial=0)
    return tuple(int(k) for k in np.flatnonzero(gaps))


def function_relevant(
    overlaps: Float[Any, "a a"], layout: Layout, regime: Regime = "linear"
) -> dict[str, Float[Any, "..."]]:
    r"""What the function depends on, the same in every gauge $U\to Ug$, $V\to Vg^{-\top}$ (docs eq. O.8).

    Linear: $\sigma_{ZM}$ and the Markov parameters $\sigma_{ZU}\sigma_{VU}^k\sigma_{VM}$, $k<2R$, which fix the
    transfer function. With nonlinear units also what $S_{BB}$ adds: with $Y_k = \sigma_{VU}^k\sigma_{VM}$ (how the
    inputs drive the recurrence), $\sigma_{MM}$, $\sigma_{MU}Y_k$ and $Y_j^\top\sigma_{UU}Y_k$.
    """
    check_choice("regime", regime, REGIMES)
    s = overlaps
    z, v, m, u = layout.z, layout.v, layout.m, layout.u
    drive = [s[v, m]]
    for _ in range(2 * layout.rank - 1):
        drive.append(s[v, u] @ drive[-1])
    result = {"z·m": s[z, m]}
    result |= {f"z·u (v·u)^{k} v·m": s[z, u] @ y for k, y in enumerate(drive)}
    if regime == "gaussian":
        result |= {"m·m": s[m, m]}
        result |= {f"m·u (v·u)^{k} v·m": s[m, u] @ y for k, y in enumerate(drive)}
        result |= {
            f"m·v (u·v)^{j} u·u (v·u)^{k} v·m": drive[j].T @ s[u, u] @ drive[k]
            for j in range(len(drive))
            for k in range(j, len(drive))
        }
    return result


def regauge(overlaps: Float[Any, "a a"], layout: Layout, g: Float[Any, "k k"]) -> Float[np.ndarray, "a a"]:
    r"""The overlaps after $U\to Ug$, $V\to Vg^{-\top}$: the same recurrence, written differently (docs eq. O.7)."""
    turn = gauge_matrix(layout, g)
    return turn.T @ np.asarray(overlaps) @ turn


def gauge_matrix(layout: Layout, g: Float[Any, "k k"]) -> Float[np.ndarray, "a a"]:
    r"""What $\Theta$ is multiplied by from the right when $U\to Ug$, $V\to Vg^{-\top}$."""
    check_shape("g", g, (layout.rank, layout.rank))
    change = np.asarray(g)
    if np.linalg.matrix_rank(change) < layout.rank:
        raise InputError("`g` must be invertible: it turns U into U g and V into V g^-T.")
    turn = np.eye(layout.size, dtype=change.dtype)
    turn[layout.u, layout.u] = change
    turn[layout.v, layout.v] = np.linalg.inv(change).T
    return turn


def gauge_with_charge(overlaps: Float[Any, "a a"], layout: Layout, charge: float) -> Float[np.ndarray, "k k"]:
    r"""The gauge of rank 1 in which $\sigma_{UU}-\sigma_{VV}$ equals `charge`; 0 is the balanced one."""
    if layout.rank != 1:
        raise InputError(f"a gauge of prescribed charge is offered for rank 1; the rank is {layout.rank}.")
    s = np.asarray(overlaps)
    uu, vv = s[layout.u, layout.u][0, 0], s[layout.v, layout.v][0, 0]
    if not (uu > 0 and vv > 0):
        raise InputError(f"the vectors of the recurrence must not vanish; got u·u = {uu:.3g}, v·v = {vv:.3g}.")
    # the root that does not cancel, whichever sign the charge has
    root = np.sqrt(charge**2 + 4 * uu * vv)
    square = (charge + root) / (2 * uu) if charge >= 0 else 2 * vv / (root - charge)
    return np.array([[np.sqrt(square)]], s.dtype)
