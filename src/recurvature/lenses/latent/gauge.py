r"""What of a latent unit is a matter of coordinates, and what is not: two units compared by their invariants."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError, check_shape
from recurvature._result import AbstractResult, Citation, Values
from recurvature.dynamics import FixedPoints
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.spectrum import spectrum
from recurvature.lenses.latent.unit import LatentUnit, at_rest, row_space
from recurvature.measures.determination import r_squared
from recurvature.systems.connectivity import LowRank


def regauge(unit: LatentUnit, matrix: Float[Any, "i j"]) -> LatentUnit:
    r"""The unit of $A\kappa$: $\mathbf N\to A\mathbf N$, $M\to MA^{-1}$; weights and rates stay (docs eq. L.17).

    Raises `InputError` where $A$ (K, K) has no inverse.
    """
    low = unit.connectivity
    turn = np.asarray(matrix, low.left.dtype)
    check_shape("matrix", turn, (low.rank, low.rank))
    if np.linalg.matrix_rank(turn) < low.rank:
        raise InputError("`matrix` must be invertible: it is a change of coordinates of the latent variables.")
    left = np.linalg.solve(turn.T, np.asarray(low.left).T).T
    turned = LowRank(jnp.asarray(left), low.right @ jnp.asarray(turn).T, low.normalisation)
    return with_connectivity(unit, turned)


def with_connectivity(unit: LatentUnit, connectivity: LowRank) -> LatentUnit:
    """The unit with other factors, everything else as it was."""
    flow = unit.flow
    return LatentUnit(type(flow)(connectivity, flow.input_weights, flow.bias, flow.phi, flow.tau), unit.dt)


class UnitComparison(AbstractResult):
    r"""Two latent units by what no choice of coordinates changes (docs eq. L.18).

    `transform` is the $A$ of $\kappa_2\approx A\kappa_1$ by least squares without an intercept. Angles are principal
    angles between the spans of the rows of $\mathbf N$, and of the columns of $M$, NaN for units of different sizes.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    transform: Float[Values, "i j"]
    encoding_angles: Float[Values, " k"]
    embedding_angles: Float[Values, " k"]
    matched: Int[Values, " point"]
    """The fixed point of the second unit that is nearest to each of the first, after alignment."""
    distance: Float[Values, " point"]
    eigenvalue_difference: Float[Values, " point"]
    """The largest difference of their K eigenvalues, sorted, in 1/tau."""
    kappa_r2: float
    flow_error: float
    r"""$\lVert AG_1(\kappa) - G_2(A\kappa)\rVert / \lVert G_2\rVert$, root mean squares over the samples."""
    condition: float
    """Of the transform: large where the samples do not fix it."""


def compare_units(
    one: LatentUnit,
    other: LatentUnit,
    kappas: tuple[Float[Any, "sample k"], Float[Any, "sample k"]],
    *,
    inputs: Float[Any, "sample d"] | None = None,
    points: tuple[FixedPoints, FixedPoints] | None = None,
) -> UnitComparison:
    """Compare two units of one rank by the variables that they have at the same moments of the same trials.

    **Arguments**

    - `kappas`: of the first and of the second unit, row by row at the same moment.
    - `inputs`: at those moments (None: zero), for the comparison of flows.
    - `points`: the fixed points of both networks under one input, for the comparison of their spectra.

    Raises `InputError` where ranks differ.
    """
    first, second = (np.asarray(k, float) for k in kappas)
    rank = one.connectivity.rank
    if other.connectivity.rank != rank:
        raise InputError(f"the units must be of one rank; got {rank} and {other.connectivity.rank}.")
    check_shape("kappas[0]", first, (None, rank))
    check_shape("kappas[1]", second, first.shape)
    turn = np.linalg.lstsq(first, second, rcond=None)[0].T
    flows = [_flow(unit, k, inputs) for unit, k in ((one, first), (other, first @ turn.T))]
    matched, distance, difference = _spectra(one, other, turn, points)
    same = one.connectivity.size == other.connectivity.size
    nothing = np.full(rank, np.nan)
    return UnitComparison(
        transform=turn,
        encoding_angles=angles(row_space(one), row_space(other), rank) if same else nothing,
        embedding_angles=angles(_span(one.embedding), _span(other.embedding), rank) if same else nothing,
        matched=matched,
        distance=distance,
        eigenvalue_difference=difference,
        kappa_r2=r_squared(second, first @ turn.T),
        flow_error=float(np.linalg.norm(flows[0] @ turn.T - flows[1]) / np.linalg.norm(flows[1])),
        condition=float(np.linalg.cond(turn)),
    )


def _flow(unit: LatentUnit, kappa: np.ndarray, inputs: Any) -> np.ndarray:
    dtype, size = unit.embedding.dtype, (len(kappa), unit.flow.input_size)
    drive = np.zeros(size) if inputs is None else np.asarray(inputs, float)
    check_shape("inputs", drive, size)
    return np.asarray(jax.vmap(unit.field)(jnp.asarray(kappa, dtype), jnp.asarray(drive, dtype)), float)


def _span(matrix: Any) -> Float[np.ndarray, "n k"]:
    return np.linalg.qr(np.asarray(matrix, float))[0]


def angles(one: Float[np.ndarray, "n i"], other: Float[np.ndarray, "n j"], count: int) -> Float[np.ndarray, " k"]:
    """Principal angles of two spans of orthonormal columns, the smallest first; right angles where one is short."""
    from scipy.linalg import subspace_angles

    found = np.sort(subspace_angles(one.astype(float), other.astype(float)))
    return np.concatenate([found, np.full(count - len(found), np.pi / 2)])


def _spectra(
    one: LatentUnit, other: LatentUnit, turn: np.ndarray, points: tuple[FixedPoints, FixedPoints] | None
) -> tuple[Int[np.ndarray, " point"], Float[np.ndarray, " point"], Float[np.ndarray, " point"]]:
    if points is None or not len(points[0].states) or not len(points[1].states):
        return np.zeros(0, int), np.zeros(0), np.zeros(0)
    here, there = (np.asarray(at_rest(u, p.states), float) for u, p in zip((one, other), points, strict=True))
    apart = np.linalg.norm((here @ turn.T)[:, None] - there[None], axis=2)
    matched = apart.argmin(1)
    pairs = [
        [np.sort_complex(spectrum(u, k, p.inputs).eigenvalues) for u, k, p in each]
        for each in (((one, here[i], points[0]), (other, there[j], points[1])) for i, j in enumerate(matched))
    ]
    return matched, apart.min(1), np.array([np.abs(a - b).max() for a, b in pairs])
