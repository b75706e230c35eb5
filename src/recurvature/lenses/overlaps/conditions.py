r"""Whether learning can leave a trace that the function does not show: six things to know, read off beside any run."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recurvature.lenses.overlaps.descent import Loss, symmetric_gradient
from recurvature.lenses.overlaps.invariants import reach, signed_spectrum
from recurvature.lenses.overlaps.layout import Layout, Regime

Conditions = dict[str, Any]
"""See `memory_conditions`."""

# eigenvalues of a Hessian below this share of the largest are those of directions that the task leaves free
FREE = 1e-6
# differences over 1e-4 are off by its square times third derivatives, and by rounding of 1e-16 over 1e-4
STEP = 1e-4


def memory_conditions(
    loss: Loss,
    start: Float[Any, "a a"],
    end: Float[Any, "a a"],
    layout: Layout,
    *,
    regime: Regime = "linear",
    data: Any = None,
    final_loss: Float[Any, " phase"] | None = None,
    displacement: float | None = None,
    noise: tuple[float, ...] = (0.0,),
) -> Conditions:
    r"""What decides about memory in invisible overlaps, from where learning began and where it ended (docs eq. O.52).

    **Keys**

    - `loss`: at the end of every phase; memory is a statement about converged functions.
    - `function`: how many combinations of overlaps make up the function; `function_fixed`: how many of them the last
      task fixes, the rank of $\nabla^2\ell$ at `end`, where eigenvalues below 1e-6 of the largest count as zero. Short
      of a minimum that rank has directions besides, from curvature that the rest of the gradient multiplies: no more
      than `function` are counted, and of an unfinished phase it may be too many. None where learning diverged.
    - `imbalance`: $\lVert\Theta J\Theta^\top/N\rVert_F$ at `start` (docs eq. O.24), 0 where no memory can be;
      `charge`: $\lVert\sigma_{UU}-\sigma_{VV}\rVert_F$; `spectrum`: that of $JS$.
    - `leaf`, `hidden`: dimensions that any training reaches from `start`, and those of them the function does not show.
    - `displacement`: the largest overlap left behind by a closed sequence of tasks, at steps of size 0; None where the
      sequence was not closed.
    - `noise`: the standard deviation of noise on targets, phase by phase.

    `data` is what the loss takes besides overlaps, of one step.
    """
    function = layout.function_dimension(regime)
    fixed = None
    if np.isfinite(np.asarray(end)).all():
        strengths = np.abs(np.linalg.eigvalsh(_hessian(loss, np.asarray(end, float), layout, data)))
        fixed = min(int((strengths > FREE * strengths.max()).sum()), function)
    spectrum = signed_spectrum(np.asarray(start, float), layout)
    charge = np.asarray(start)[layout.u, layout.u] - np.asarray(start)[layout.v, layout.v]
    around = reach(start, layout=layout, regime=regime)
    return {
        "loss": [] if final_loss is None else np.asarray(final_loss, float).tolist(),
        "function_fixed": fixed,
        "function": function,
        "imbalance": float(np.sqrt((spectrum**2).sum())),
        "charge": float(np.linalg.norm(charge)),
        "spectrum": spectrum.tolist(),
        "leaf": around.leaf,
        "hidden": around.hidden,
        "displacement": displacement,
        "noise": list(noise),
    }


def _hessian(loss: Loss, at: Float[np.ndarray, "a a"], layout: Layout, data: Any) -> Float[np.ndarray, "pair pair"]:
    """Second derivatives by overlaps, as differences of gradients: no program beyond that of learning is compiled."""
    per_step = () if data is None else (data,)
    a, b = layout.pairs.T
    # of an overlap counted once
    twice = np.where(a == b, 1.0, 2.0)

    def gradient(matrix: Float[np.ndarray, "a a"]) -> Float[np.ndarray, " pair"]:
        return np.asarray(symmetric_gradient(loss, jnp.asarray(matrix), *per_step))[a, b] * twice

    rows = []
    for i, j in layout.pairs:
        step = np.zeros_like(at)
        step[i, j] = step[j, i] = STEP
        rows.append((gradient(at + step) - gradient(at - step)) / (2 * STEP))
    hessian = np.stack(rows)
    return (hessian + hessian.T) / 2


def in_words(conditions: Conditions) -> tuple[str, ...]:
    """The six conditions as sentences, in the order of docs eq. O.52."""
    losses = ", ".join(f"{value:.3g}" for value in conditions["loss"]) or "not given"
    moved, noise = conditions["displacement"], max(conditions["noise"])
    return (
        f"(i) loss at the end of each phase: {losses}.",
        "(ii) the last phase diverged."
        if conditions["function_fixed"] is None
        else f"(ii) the last task fixes {conditions['function_fixed']} of the {conditions['function']} parameters of "
        "the function.",
        f"(iii) conserved at the start: imbalance {conditions['imbalance']:.3g}, charge {conditions['charge']:.3g}.",
        f"(iv) training reaches {conditions['leaf']} dimensions, {conditions['hidden']} of them hidden from the "
        f"function.",
        "(v) left behind by the closed sequence at steps of size 0: "
        + ("the sequence is not closed." if moved is None else f"{moved:.3g}."),
        "(vi) targets are exact." if noise == 0 else f"(vi) noise on targets: standard deviation {noise:.3g}.",
    )
