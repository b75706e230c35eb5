r"""What a network's training has left behind in overlaps that its function does not show."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float

from recurvature._errors import InputError
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.overlaps.coordinates import OVERLAPS, Overlaps
from recurvature.lenses.overlaps.extract import extract
from recurvature.lenses.overlaps.invariants import invariants, reach, weights_of
from recurvature.lenses.overlaps.layout import Layout, layout_of, to_pairs
from recurvature.systems.base import Network


class Traces(AbstractResult):
    r"""Invisible overlaps, conserved quantities and dimensions of memory of one network (docs eq. O.45).

    `overlaps` and `visible` are in the order of `names`. `balanced` are the overlaps of the network with the same
    visible overlaps and nothing conserved, $AA^\top = BB^\top$, which remembers nothing: their difference is what
    history has added. NaN where units are nonlinear, whose visible overlaps leave no such choice. `leaf`, `function`
    and `hidden` count dimensions as `Reach` does, by brackets up to `depth`.
    """

    citations: ClassVar[tuple[Citation, ...]] = (OVERLAPS,)

    overlaps: Float[Values, " pair"]
    balanced: Float[Values, " pair"]
    visible: Bool[Values, " pair"]
    spectrum: Float[Values, " k"]
    charge: Float[Values, "i j"]
    leaf: int
    function: int
    depth: int
    regime: str
    columns: tuple[str, ...]
    outputs: int
    rank: int
    inputs: int

    @property
    def names(self) -> tuple[str, ...]:
        """`z·m` and so on."""
        return layout_of(self.columns, self.outputs, self.rank, self.inputs).names

    @property
    def invisible(self) -> dict[str, float]:
        """The overlaps that the loss cannot depend on, by name."""
        seen = zip(self.names, np.asarray(self.overlaps), np.asarray(self.visible), strict=True)
        return {name: float(value) for name, value, shown in seen if not shown}

    @property
    def hidden(self) -> int:
        """Dimensions that training reaches and the function does not show."""
        return self.leaf - self.function

    @property
    def imbalance(self) -> float:
        r"""$\lVert AA^\top-BB^\top\rVert_F/N$: without it a linear network has no memory."""
        return float(np.sqrt((np.asarray(self.spectrum) ** 2).sum()))


def traces(source: Network | Overlaps, *, depth: int | None = None) -> Traces:
    r"""What the training of a network left behind: a network with the same function may have other futures.

    `depth` is that of the brackets which count dimensions; None takes 2 for linear units of rank 1 with one input
    and output, and 3 otherwise, which costs more and is where the count stops to grow for rank 2 and nonlinear units.
    """
    found = source if isinstance(source, Overlaps) else extract(source)
    layout, matrix = found.layout, np.asarray(found.matrix, float)
    linear = found.regime == "linear"
    depth = (2 if linear and layout.size == 4 else 3) if depth is None else depth
    around, kept = (
        reach(matrix, layout=layout, regime="linear" if linear else "gaussian", depth=depth),
        invariants(found),
    )
    twin = balanced(matrix, layout) if linear else np.full_like(matrix, np.nan)
    return Traces(
        overlaps=found.values,
        balanced=to_pairs(twin, layout),
        visible=found.visible,
        spectrum=np.asarray(kept.spectrum)[0],
        charge=np.asarray(kept.charge)[0],
        leaf=around.leaf,
        function=around.function,
        depth=depth,
        regime=found.regime,
        columns=layout.columns,
        outputs=layout.outputs,
        rank=layout.rank,
        inputs=layout.inputs,
    )


def balanced(
    overlaps: Float[Any, "a a"], layout: Layout, *, blocks: Sequence[float] | None = None
) -> Float[np.ndarray, "a a"]:
    r"""The overlaps with the same $K$ and $AA^\top = BB^\top$: $S_{AA} = (KK^\top)^{1/2}$, $S_{BB} = (K^\top K)^{1/2}$.

    Of linear units: the same function, and no memory in invisible overlaps (docs eq. O.44). Of rank R > 1 there are
    R(R-1)/2 hidden dimensions left, along the gauge. Where vectors learn at
    the rates `blocks` that differ, what is balanced is $A\Lambda_A^{-1}A^\top = B\Lambda_B^{-1}B^\top$. Raises
    `InputError` for frozen blocks.
    """
    weights = weights_of(blocks, layout)
    if not np.isfinite(weights).all():
        raise InputError("a frozen block cannot be balanced: what it holds does not move.")
    root, split = np.sqrt(weights), layout.split
    k = root[:split, None] * np.asarray(overlaps, float)[:split, split:] * root[None, split:]
    left, strengths, right = np.linalg.svd(k, full_matrices=False)
    result = np.block([[(left * strengths) @ left.T, k], [k.T, (right.T * strengths) @ right]])
    return result / (root[:, None] * root[None, :])
