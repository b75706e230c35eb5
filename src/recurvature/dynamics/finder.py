"""Fixed points for code written for the JAX tutorial of 2020: the same call, the same answer, another search.

The tutorial's finder (github.com/google-research/computation-thru-dynamics) descends by Adam and needs a part of JAX
that no longer exists. Old calls run here unchanged, on `fixed_points`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from recurvature._errors import InputError, unknown
from recurvature._keys import PRNGKey
from recurvature.dynamics.fixed_points import FIXED, FixedPoints, fixed_points
from recurvature.dynamics.starts import generator
from recurvature.systems.base import FunctionMap

USED = {"noise_var": 0.0, "fp_tol": np.inf, "unique_tol": 0.0, "outlier_tol": np.inf}
"""The options that have a meaning here, and what they are where they are not given."""
OF_THE_DESCENT = (
    "num_batches",
    "step_size",
    "decay_steps",
    "decay_factor",
    "adam_b1",
    "adam_b2",
    "adam_eps",
    "opt_print_every",
    "fp_opt_stop_tol",
)
"""Options of the tutorial's descent, which is not run: `details["unused"]` names those that were given."""

Found = tuple[Float[np.ndarray, "point n"], Float[np.ndarray, " point"], Int[np.ndarray, " point"], dict[str, Any]]


class _OfTheState(eqx.Module):
    """A step that takes no input, as one that does."""

    function: Callable

    def __call__(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        return self.function(x)


def find_fixed_points(
    rnn_fun: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    candidates: Float[Any, "start n"],
    hps: Mapping[str, int | float] | None = None,
    do_print: bool = False,
    *,
    key: PRNGKey | None = None,
) -> Found:
    r"""Fixed and slow points of a step `rnn_fun(h)`, by the call of the JAX tutorial of 2020.

    Returns the points (point, n), their losses $\frac1N\lVert h-F(h)\rVert^2$ in rising order, for each the index of
    a candidate that led to it, and details: `details["result"]` is the `FixedPoints`, with types, spectra and proofs.

    `hps` may hold `fp_tol` (largest loss kept: with a large one, slow points come along), `unique_tol` (2-norm),
    `outlier_tol` (points whose nearest neighbour is farther are left out) and `noise_var` (of noise on the candidates;
    needs a `key`). Options of the descent are accepted and named in `details["unused"]`; any other raises
    `InputError`. `do_print` is there for old calls; nothing is printed.
    """
    options = _options(hps or {})
    starts = np.asarray(candidates)
    if starts.ndim != 2:
        raise InputError(f"`candidates` must have shape (points, state); got {starts.shape}.")
    if options["noise_var"] > 0:
        if key is None:
            raise InputError("`noise_var` above 0 draws noise: pass `key=recurvature.key(0)`.")
        noise = generator(key, "noise").standard_normal(starts.shape)
        starts = starts + (options["noise_var"] ** 0.5 * noise).astype(starts.dtype)
    size = starts.shape[1]
    result = fixed_points(
        FunctionMap(_OfTheState(rnn_fun), size, 1),
        starts=starts,
        # a loss below `fp_tol` is a relative speed below its root
        slow=min(max(options["fp_tol"], 1e-12) ** 0.5, 1e6),
        unique=max(options["unique_tol"] / size**0.5, float(np.finfo(np.float32).tiny)),
        reach=1e12,
    )
    points, losses, first = _joined(result)
    kept = np.flatnonzero(losses < options["fp_tol"])
    kept = kept[_in_company(points[kept], options["outlier_tol"])]
    kept = kept[np.argsort(losses[kept], kind="stable")]
    unused = sorted(set(hps or {}) & set(OF_THE_DESCENT))
    return points[kept], losses[kept], first[kept], {"result": result, "unused": unused}


def _options(hps: Mapping[str, int | float]) -> dict[str, float]:
    for name in hps:
        if name not in USED and name not in OF_THE_DESCENT:
            raise unknown("option in `hps`", name, [*USED, *OF_THE_DESCENT])
    return {name: float(hps.get(name, default)) for name, default in USED.items()}


def _joined(
    result: FixedPoints,
) -> tuple[Float[np.ndarray, "point n"], Float[np.ndarray, " point"], Int[np.ndarray, " point"]]:
    """Fixed and slow points together, their losses, and the first candidate that led to each."""
    points = np.concatenate([result.states, result.slow_states])
    size = result.scale * points.shape[1] ** 0.5 + np.linalg.norm(points, axis=1)
    speed = np.concatenate([result.relative_speed, result.slow_speed]) * size
    fixed = np.asarray(result.status) == FIXED
    order = np.where(fixed, result.reached, np.asarray(result.reached) + len(result.states))
    order = np.where(np.asarray(result.reached) < 0, -1, order)
    first = np.array([int(np.flatnonzero(order == point)[0]) for point in range(len(points))], int)
    return points, speed**2 / points.shape[1], first


def _in_company(points: Float[np.ndarray, "point n"], distance: float) -> Bool[np.ndarray, " point"]:
    """Which points have another within `distance`; all of them if there is no limit, or but one point."""
    if np.isinf(distance) or len(points) < 2:
        return np.ones(len(points), bool)
    apart = np.linalg.norm(points[:, None] - points[None], axis=2) + np.diag(np.full(len(points), np.inf))
    return apart.min(1) < distance
