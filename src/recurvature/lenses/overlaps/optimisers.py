r"""One network, one task, several optimisers: what each keeps of what flow keeps, and whether the overlaps close."""

from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import Float, Int

from recurvature._errors import InputError
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.conditions import Conditions, memory_conditions
from recurvature.lenses.overlaps.coordinates import OVERLAPS
from recurvature.lenses.overlaps.full import UnitLearning, descend_units
from recurvature.lenses.overlaps.invariants import signed_spectrum
from recurvature.lenses.overlaps.layout import AbstractLaidOut, Layout, Regime


class Optimisers(AbstractLaidOut, AbstractResult):
    r"""All units of a network, trained by several optimisers on the same trials.

    `charge` is $\sigma_{UU}-\sigma_{VV}$, `spectrum` that of $JS$ (docs eq. O.24 and O.25): flow keeps the first, and
    of linear units both. `outside` is the share of the way from the start that left the span of the first vectors: 0
    where the overlaps close.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    count: Int[Values, " step"] = eqx.field(metadata={"long_name": "steps taken"})
    loss: Float[Values, "member step"]
    matrix: Float[Values, "member step a b"]
    charge: Float[Values, "member step i j"]
    spectrum: Float[Values, "member step k"]
    outside: Float[Values, "member step"]
    status: Int[Values, "member step"]
    vectors: Float[Values, "member n a"] = eqx.field(metadata={"long_name": "vectors at the end"})
    members: tuple[str, ...]
    columns: tuple[str, ...]
    outputs: int
    rank: int
    inputs: int
    conditions: dict[str, Conditions]
    """Of every optimiser that stayed finite."""

    @property
    def drift(self) -> Float[np.ndarray, " member"]:
        """The largest change of any charge."""
        charge = np.asarray(self.charge)
        return np.abs(charge - charge[:, :1]).max((1, 2, 3))


def compare_optimisers(
    loss: Any,
    theta: Float[Any, "n a"],
    optimisers: Mapping[str, optax.GradientTransformation | float],
    *,
    steps: int,
    layout: Layout,
    data: Any = None,
    every: int = 1,
    regime: Regime = "linear",
) -> Optimisers:
    """Train the network of the vectors `theta` by each of `optimisers`; arguments as for `descend_units`.

    A number is the rate of plain descent. The same data go to all of them. `regime` is that of the memory conditions.
    """
    if not optimisers:
        raise InputError("`optimisers` must hold one or more, by name: {'descent': 0.01, 'Adam': optax.adam(1e-3)}.")
    options: dict[str, Any] = {"steps": steps, "layout": layout, "data": data, "every": every}
    runs = {name: descend_units(loss, theta, rule, **options) for name, rule in optimisers.items()}
    matrix = np.stack([np.asarray(run.matrix) for run in runs.values()])
    datum = None if data is None else jax.tree.map(lambda leaf: leaf[-1], data)
    finite = [name for name, run in runs.items() if np.isfinite(run.matrix[-1]).all()]
    return Optimisers(
        count=np.asarray(next(iter(runs.values())).count),
        loss=_stacked(runs, "loss"),
        matrix=matrix,
        charge=matrix[..., layout.u, layout.u] - matrix[..., layout.v, layout.v],
        spectrum=signed_spectrum(matrix, layout),
        outside=_stacked(runs, "outside"),
        status=_stacked(runs, "status"),
        vectors=np.stack([np.asarray(run.vectors)[-1] for run in runs.values()]),
        members=tuple(runs),
        columns=layout.columns,
        outputs=layout.outputs,
        rank=layout.rank,
        inputs=layout.inputs,
        conditions={
            name: memory_conditions(
                loss,
                runs[name].matrix[0],
                runs[name].matrix[-1],
                layout,
                regime=regime,
                data=datum,
                final_loss=np.asarray(runs[name].loss)[-1:],
            )
            for name in finite
        },
    )


def _stacked(runs: dict[str, UnitLearning], name: str) -> Any:
    return np.stack([np.asarray(getattr(run, name)) for run in runs.values()])
