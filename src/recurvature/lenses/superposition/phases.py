r"""The phase diagram of recall in density and delay: what the best networks do, and two branches held side by side.

Both are made from censuses, one for each density: of populations trained from random weights (`phase_diagram`), and
of populations that follow a dense and a sparse solution from density to density (`branches`).
"""

from collections.abc import Mapping
from typing import ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from recurvature._errors import InputError
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.census import NEAR, Census, error_of_mean
from recurvature.lenses.superposition.geometry import DENSE, SPARSE
from recurvature.tasks.recall import SUPERPOSITION

YOUNGER = 2
"""Younger ages that a packing needs: with fewer there are no two ways to place them."""
_OF_SEEDS = ("order_parameter", "k_theta", "cumulative_angle", "regime")


class PhaseDiagram(AbstractResult):
    r"""Every network of every cell (density, delay): its normalised loss and its packing (docs eq. S.42-S.44).

    Of one feature. `best` is the seed of least loss on samples other than those of `loss`.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    density: Float[Values, " density"]
    delay: Int[Values, " delay"] = eqx.field(metadata={"units": "steps"})
    loss: Float[Values, "density delay seed"]
    standard_error: Float[Values, "density delay seed"]
    order_parameter: Float[Values, "density delay seed"]
    k_theta: Float[Values, "density delay seed"] = eqx.field(metadata={"units": "deg"})
    cumulative_angle: Float[Values, "density delay seed"] = eqx.field(metadata={"units": "deg"})
    modulus: Float[Values, "density delay seed"]
    regime: Int[Values, "density delay seed"]
    """Places in `REGIMES`, whether features are stored or not."""
    status: Int[Values, "density delay seed"]
    """Places in the `STATUS` of a census."""
    best: Int[Values, "density delay"]

    def of_best(self, name: str) -> np.ndarray:
        """A field of the best network of every cell, (density, delay)."""
        values = np.asarray(getattr(self, name))
        return np.take_along_axis(values, np.asarray(self.best)[:, :, None], axis=2)[:, :, 0]

    @property
    def near_best(self) -> Float[np.ndarray, "density delay"]:
        """The share of seeds whose loss is within 1 % of that of the best: how hard the best is to find."""
        return (np.asarray(self.loss) <= (1 + NEAR) * self.of_best("loss")[:, :, None]).mean(2)

    @property
    def reached(self) -> Float[np.ndarray, "density delay"]:
        """The share of seeds that reach the regime of the best; NaN where there are no two regimes (`packs`)."""
        same = (np.asarray(self.regime) == self.of_best("regime")[:, :, None]).mean(2)
        return np.where(self.packs, same, np.nan)

    @property
    def packs(self) -> Bool[np.ndarray, " delay"]:
        r"""Where packing has two phases to tell apart: from two younger ages on.

        Of a single one $\psi$ is 0 or 1 by the sign of one projection, which the best network may keep at zero.
        """
        return np.asarray(self.delay) >= YOUNGER

    @property
    def susceptibility(self) -> Float[np.ndarray, "density delay"]:
        r"""$\chi = n\,\mathrm{Var}\,\psi$ over the n seeds with finite numbers (docs eq. S.43)."""
        psi, mean = np.asarray(self.order_parameter), self._mean_order
        # n times the variance is the sum of squares
        squares = np.where(np.isfinite(psi), psi - mean[:, :, None], 0) ** 2
        return np.where(np.isfinite(mean), squares.sum(2), np.nan)

    @property
    def steepness(self) -> Float[np.ndarray, "density delay"]:
        r"""$|d\langle\psi\rangle/d\log p|$ of the mean over seeds."""
        return np.abs(np.gradient(self._mean_order, np.log(np.asarray(self.density)), axis=0))

    @property
    def _mean_order(self) -> Float[np.ndarray, "density delay"]:
        r"""The mean of $\psi$ over seeds that have one; NaN where none has, as at a delay of 0."""
        psi = np.asarray(self.order_parameter)
        there = np.isfinite(psi)
        count = there.sum(2)
        return np.where(count > 0, np.where(there, psi, 0).sum(2) / np.maximum(count, 1), np.nan)


def phase_diagram(cells: Mapping[float, Census]) -> PhaseDiagram:
    """The phase diagram from one census for each density, all of the same delays and numbers of seeds.

    Raises `InputError` where censuses do not fit each other, or hold several features.
    """
    densities, censuses = _sorted(cells)
    delays = _common_delays(censuses)
    each = [[_cell(one, int(delay)) for delay in delays] for one in censuses]
    rows = {name: np.array([[cell[name] for cell in row] for row in each]) for name in each[0][0]}
    return PhaseDiagram(density=densities, delay=delays, **rows)


def _sorted(cells: Mapping[float, Census]) -> tuple[Float[np.ndarray, " density"], list[Census]]:
    densities = sorted(cells)
    if len(densities) < 2 or not 0 < densities[0] <= densities[-1] <= 1:
        raise InputError(f"a phase diagram needs two or more densities in (0, 1]; got {densities}.")
    censuses = [cells[density] for density in densities]
    if any(np.asarray(one.stored).shape[0] != 1 for one in censuses):
        raise InputError("a phase diagram is of networks with one feature: with more, each has a packing of its own.")
    return np.array(densities), censuses


def _common_delays(censuses: list[Census]) -> Int[np.ndarray, " delay"]:
    delays, counts = np.unique(np.asarray(censuses[0].delay), return_counts=True)
    same = all(np.array_equal(np.sort(one.delay), np.sort(censuses[0].delay)) for one in censuses)
    if not same or len(np.unique(counts)) != 1:
        raise InputError("every census must hold the same delays, and the same number of seeds of each.")
    return delays


def _cell(one: Census, delay: int) -> dict[str, np.ndarray]:
    places = one.places(delay)
    row = {name: np.asarray(getattr(one, name))[0, places] for name in _OF_SEEDS}
    row |= {name: getattr(one, name)[places] for name in ("loss", "standard_error")}
    row |= {name: np.asarray(getattr(one, name))[places] for name in ("modulus", "status")}
    return row | {"best": np.searchsorted(places, one.best(delay))}


class Branches(AbstractResult):
    r"""A dense and a sparse solution of one delay followed over densities, on the same samples (docs eq. S.45).

    `branch` 0 is dense, 1 is sparse. NaN where a branch was not followed, or no followed network is in its regime any
    more: there it is lost. `excess` is the loss of the dense one less that of the sparse one.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    density: Float[Values, " density"]
    loss: Float[Values, "branch density"]
    modulus: Float[Values, "branch density"]
    k_theta: Float[Values, "branch density"] = eqx.field(metadata={"units": "deg"})
    order_parameter: Float[Values, "branch density"]
    excess: Float[Values, " density"]
    excess_error: Float[Values, " density"]
    """The standard error of `excess`, from differences sample by sample."""
    delay: int

    @property
    def coexistence(self) -> tuple[float, float]:
        """The least and the greatest density at which both branches were found; NaN where there is none."""
        both = np.asarray(self.density)[np.isfinite(np.asarray(self.excess))]
        return (float(both.min()), float(both.max())) if len(both) else (np.nan, np.nan)


def branches(dense: Mapping[float, Census], sparse: Mapping[float, Census], delay: int) -> Branches:
    """The two branches of a delay from censuses by density; a branch need not have one at every density of the other.

    The network of least loss among those in the regime of the branch counts. Where both have a census, it must come
    from one key and one loss, so that both saw the same samples.
    """
    densities = sorted({*dense, *sparse})
    if not densities or not 0 < densities[0] <= densities[-1] <= 1:
        raise InputError(f"branches need censuses at densities in (0, 1]; got {densities}.")
    rows = {name: np.full((2, len(densities)), np.nan) for name in _FOLLOWED}
    excess, error = np.full((2, len(densities)), np.nan)
    for i, density in enumerate(densities):
        losses = []
        for branch, (followed, regime) in enumerate(((dense, DENSE), (sparse, SPARSE))):
            one = followed.get(density)
            place = None if one is None else _least(one, delay, regime)
            if one is None or place is None:
                continue
            losses.append(np.asarray(one.losses)[:, place])
            for name, row in rows.items():
                row[branch, i] = np.asarray(getattr(one, name)).reshape(-1)[place]
        if len(losses) == 2:
            difference = losses[0] - losses[1]
            excess[i], error[i] = difference.mean(), error_of_mean(difference)
    return Branches(density=np.array(densities), excess=excess, excess_error=error, delay=delay, **rows)


_FOLLOWED = ("loss", "modulus", "k_theta", "order_parameter")


def _least(one: Census, delay: int, regime: int) -> int | None:
    """The place of the network of least loss of one delay among those in a regime, all of one feature."""
    places = one.in_regime(delay, regime)
    return int(places[0]) if len(places) else None
