r"""Learning as a perturbation: networks with one function, told apart by how they learn."""

from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from recurvature._errors import InputError
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.conditions import Conditions, memory_conditions
from recurvature.lenses.overlaps.coordinates import (
    OVERLAPS,
    check_overlaps,
    function_relevant,
    gauge_with_charge,
    regauge,
)
from recurvature.lenses.overlaps.descent import Loss, Rule, symmetric_gradient
from recurvature.lenses.overlaps.diagnostics import LOOKS, check_looks, judge, leg_of, marked
from recurvature.lenses.overlaps.layout import AbstractLaidOut, Layout, Regime
from recurvature.lenses.overlaps.learning import descend
from recurvature.lenses.overlaps.status import Diagnostics

# combinations of overlaps that agree to this share of the largest are the same function; rounding of their products
SAME = 1e-9


class Perturbation(AbstractLaidOut, AbstractResult):
    r"""Learning curves of networks that begin with the same function.

    `slope` is $d\ell/ds = -4\,\mathrm{tr}\,\Gamma S\Gamma$ of plain flow at the start (docs eq. O.51), the first place
    where the networks differ. `half` is the number of steps after which half the initial loss is gone, −1 where it
    never is.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    count: Int[Values, " step"] = eqx.field(metadata={"long_name": "steps taken"})
    loss: Float[Values, "member step"]
    matrix: Float[Values, "member step a b"]
    slope: Float[Values, " member"] = eqx.field(metadata={"units": "loss per rate times steps"})
    half: Int[Values, " member"]
    status: Int[Values, "member step"]
    members: tuple[str, ...]
    columns: tuple[str, ...]
    outputs: int
    rank: int
    inputs: int
    closure: str
    """Whether Gaussian weights were assumed, and tested: one of `status.CLOSURE`."""
    diagnostics: dict[str, Diagnostics]
    """Of every member."""
    conditions: dict[str, Conditions]
    """Of every member."""

    @property
    def gap(self) -> float:
        """The largest difference between two learning curves at one step, as a share of the initial loss."""
        loss = np.asarray(self.loss)
        return float((loss.max(0) - loss.min(0)).max() / loss[0, 0])


def perturb(
    loss: Loss,
    networks: Mapping[str, Float[Any, "a a"]],
    rule: Rule | float,
    *,
    steps: int,
    layout: Layout,
    every: int = 1,
    charge: float | None = None,
    looks: int = LOOKS,
    regime: Regime = "linear",
    data: Any = None,
    dt: float | None = None,
) -> Perturbation:
    r"""Train networks of one function on the same task, and compare.

    `networks` holds overlap matrices by name. With `charge` one more is added to rank 1: the first network in the
    gauge in which $\sigma_{UU}-\sigma_{VV}$ has that value, whose recurrent weights are the same matrix and which
    learns differently all the same. `looks`: see `descend`. Raises `InputError` where the functions differ.
    """
    check_looks(looks)
    if not networks:
        raise InputError("`networks` must hold one or more overlap matrices.")
    chosen = {name: np.asarray(matrix) for name, matrix in networks.items()}
    first = next(iter(chosen))
    if charge is not None:
        turned = regauge(chosen[first], layout, gauge_with_charge(chosen[first], layout, charge))
        chosen[f"{first}, other gauge"] = turned
    for name, matrix in chosen.items():
        check_overlaps(matrix, layout)
        _check_same_function(name, matrix, chosen[first], layout, regime)
    runs = [
        descend(loss, matrix, rule, steps=steps, layout=layout, every=every, data=data, looks=0, dt=dt)
        for matrix in chosen.values()
    ]
    judgements = [judge([leg_of(run, loss, data, rule)], looks=looks, regime=regime) for run in runs]
    datum = None if data is None else jax.tree.map(lambda leaf: leaf[0], data)
    losses = np.stack([np.asarray(run.loss) for run in runs])
    below = losses <= losses[:, :1] / 2
    count = np.asarray(runs[0].count)
    return Perturbation(
        count=count,
        loss=losses,
        matrix=np.stack([np.asarray(run.matrix) for run in runs]),
        slope=np.array([_slope(loss, matrix, datum) for matrix in chosen.values()]),
        half=np.where(below.any(1), count[below.argmax(1)], -1),
        members=tuple(chosen),
        columns=layout.columns,
        outputs=layout.outputs,
        rank=layout.rank,
        inputs=layout.inputs,
        status=marked(np.stack([run.status for run in runs]), np.stack([said.lost for said in judgements])),
        closure=judgements[0].closure,
        diagnostics={name: said.diagnostics for name, said in zip(chosen, judgements, strict=True)},
        conditions={
            name: memory_conditions(
                loss, matrix, run.matrix[-1], layout, regime=regime, data=datum, final_loss=np.asarray(run.loss)[-1:]
            )
            for (name, matrix), run in zip(chosen.items(), runs, strict=True)
        },
    )


def _slope(loss: Loss, matrix: Float[np.ndarray, "a a"], datum: Any) -> float:
    per_step = () if datum is None else (datum,)
    gamma = np.asarray(symmetric_gradient(loss, jnp.asarray(matrix), *per_step))
    return -4 * float(np.trace(gamma @ matrix @ gamma))


def _check_same_function(
    name: str, matrix: Float[np.ndarray, "a a"], first: Float[np.ndarray, "a a"], layout: Layout, regime: Regime
) -> None:
    mine, wanted = (function_relevant(s, layout, regime) for s in (matrix, first))
    for key, value in wanted.items():
        off = np.abs(np.asarray(mine[key]) - np.asarray(value)).max()
        if off > SAME * max(1.0, np.abs(np.asarray(value)).max()):
            raise InputError(
                f"network {name!r} has another function: {key} is off by {off:.3g}. Change invisible overlaps or the "
                "gauge only."
            )
