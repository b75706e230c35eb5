r"""Coordinates of latent variables in which they are what is read out, or what an animal did."""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError, check_shape
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.gauge import regauge
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import LatentUnit


class Alignment(AbstractResult):
    r"""$A$ of the least $\langle\lVert y - A\kappa\rVert^2\rangle$, without an intercept (docs eq. L.19).

    An intercept would break $\kappa = \mathbf Nr$. Where there are fewer outputs than variables, the rows of A are the
    first of the new variables, and the others are orthonormal to them.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    transform: Float[Values, "o k"]
    completed: Float[Values, "i j"]
    """The square change of coordinates; empty where there are more outputs than variables."""
    r2: Float[Values, " o"]
    """1 - error / spread about the mean, output by output: what a missing intercept costs counts as error."""
    condition: float
    """Of `transform`; above 10³ the aligned variables magnify errors."""
    samples: int


def align(
    kappa: Float[Any, "*batch k"], targets: Float[Any, "*batch o"], *, mask: Float[Any, "*batch"] | None = None
) -> Alignment:
    """Fit targets by latent variables at the same moments, where `mask` (None: everywhere) is not zero.

    Use the mask of a task: before the first pulse of a flip-flop there is no target. Raises `InputError` on fewer
    samples than variables.
    """
    first, second = np.asarray(kappa, float), np.asarray(targets, float)
    if first.shape[:-1] != second.shape[:-1]:
        raise InputError(f"`kappa` and `targets` must share all axes but the last; got {first.shape}, {second.shape}.")
    weight = np.ones(first.shape[:-1]) if mask is None else np.asarray(mask, float)
    check_shape("mask", weight, first.shape[:-1])
    k, y = first[weight != 0], second[weight != 0]
    rank, outputs = first.shape[-1], second.shape[-1]
    if len(k) < rank or not (np.isfinite(k).all() and np.isfinite(y).all()):
        raise InputError(f"alignment needs at least {rank} samples, all finite; got {len(k)}.")
    root = np.sqrt(weight[weight != 0])[:, None]
    transform = np.linalg.lstsq(root * k, root * y, rcond=None)[0].T
    error, spread = ((y - k @ transform.T) ** 2).sum(0), ((y - y.mean(0)) ** 2).sum(0)
    strengths = np.linalg.svd(transform, compute_uv=False)
    least = strengths[-1]
    return Alignment(
        transform=transform,
        completed=_completed(transform) if outputs <= rank else np.zeros((0, 0)),
        r2=1 - error / np.where(spread > 0, spread, np.nan),
        condition=float(strengths[0] / least) if least > 0 else float("inf"),
        samples=len(k),
    )


def _completed(transform: Float[np.ndarray, "o k"]) -> Float[np.ndarray, "k k"]:
    outputs, rank = transform.shape
    rest = np.linalg.svd(transform)[2][outputs:]
    return np.concatenate([transform, rest]) if outputs < rank else transform


def aligned_unit(unit: LatentUnit, alignment: Alignment) -> LatentUnit:
    """The same unit in aligned coordinates. Raises `InputError` where A has no inverse."""
    turn = np.asarray(alignment.completed)
    if not len(turn):
        outputs, rank = np.shape(alignment.transform)
        raise InputError(f"{outputs} outputs cannot be coordinates of {rank} variables: extend the unit instead.")
    if not np.linalg.cond(turn) < 1 / np.finfo(turn.dtype).eps:
        raise InputError("the alignment has no inverse: some output depends on no variable, or two on the same.")
    return regauge(unit, jnp.asarray(turn))
