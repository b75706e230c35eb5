r"""The phase diagram of recall in density and delay: what the best networks do, and two branches held side by side.

Both are made from censuses, one for each density: of populations trained from random weights (`phase_diagram`), and
of populations that follow a dense and a sparse solution from density to density (`branches`).
"""

from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from recurvature._errors import InputError
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.superposition.census import NEAR, Census, error_of_mean
from recurvature.lenses.superposition.geometry import DENSE, SPARSE
from recurvature.tasks.recall import SUPERPOSITION

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
    def susceptibility(self) -> Float[np.ndarray, "density delay"]:
        r"""$\chi = n\,\mathrm{Var}\,\psi$ over the n seeds with finite numbers (docs eq. S.43)."""
        psi = np.asarray(self.order_parameter)
        return np.isfinite(psi).sum(2) * np.nanvar(psi, axis=2)

    @property
    def steepness(self) -> Float[np.ndarray, "density delay"]:
        r"""$|d\langle\psi\rangle/d\log p|$ of the mean over seeds."""
        mean = np.nanmean(np.asarray(self.order_parameter), axis=2)
        return np.abs(np.gradient(mean, np.log(np.asarray(self.density)), axis=0))


def phase_diagram(density: Sequence[float], censuses: Sequence[Census]) -> PhaseDiagram:
    """The phase diagram from one census for each density (any order), all of the same delays and numbers of seeds.

    Raises `InputError` where censuses do not fit each other, or hold several features.
    """
    densities, censuses = _sorted(density, censuses)
    delays = _common_delays(censuses)
    each = [[_cell(one, int(delay)) for delay in delays] for one in censuses]
    rows = {name: np.array([[cell[name] for cell in row] for row in each]) for name in each[0][0]}
    return PhaseDiagram(density=densities, delay=delays, **rows)


def _sorted(density: Sequence[float], censuses: Sequence[Census]) -> tuple[np.ndarray, list[Census]]:
    values = np.asarray(density, float)
    if len(values) != len(censuses) or len(values) < 2 or len(np.unique(values)) < len(values):
        raise InputError(f"two or more different densities need a census each; got {len(values)} and {len(censuses)}.")
    if not ((values > 0) & (values <= 1)).all():
        raise InputError(f"`density` must lie in (0, 1]; got {values.tolist()}.")
    if any(np.asarray(one.stored).shape[0] != 1 for one in censuses):
        raise InputError(
            "a phase diagram is of networks with one feature; censuses of several tell more than one cell."
        )
    order = np.argsort(values)
    return values[order], [censuses[i] for i in order]


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
    r"""A dense and a sparse solution followed over densities, on the same samples (docs eq. S.45).

    `branch` 0 is dense, 1 is sparse. NaN where no followed network is in the regime of its branch any more: there the
    branch is lost. `excess` is the loss of the dense one less that of the sparse one.
    """

    citations: ClassVar[tuple[Citation, ...]] = (SUPERPOSITION,)

    density: Float[Values, " density"]
    delay: Int[Values, " delay"] = eqx.field(metadata={"units": "steps"})
    loss: Float[Values, "branch density delay"]
    modulus: Float[Values, "branch density delay"]
    k_theta: Float[Values, "branch density delay"] = eqx.field(metadata={"units": "deg"})
    order_parameter: Float[Values, "branch density delay"]
    excess: Float[Values, "density delay"]
    excess_error: Float[Values, "density delay"]
    """The standard error of `excess`, from differences sample by sample."""

    @property
    def coexistence(self) -> Float[np.ndarray, "delay bound"]:
        """The least and the greatest density at which both branches were found; NaN where there is none."""
        both = np.isfinite(np.asarray(self.excess))
        spans = [np.asarray(self.density)[column] for column in both.T]
        return np.array([[span.min(), span.max()] if len(span) else [np.nan, np.nan] for span in spans])


def branches(density: Sequence[float], dense: Sequence[Census], sparse: Sequence[Census]) -> Branches:
    """The two branches from a census of each at every density (any order, the same for both).

    Of each delay, the network of least loss among those in the regime of the branch counts. The censuses of one density
    must come from one key, so that both branches saw the same samples.
    """
    densities, first = _sorted(density, dense)
    _, second = _sorted(density, sparse)
    delays = _common_delays(first)
    if not np.array_equal(delays, _common_delays(second)):
        raise InputError("both branches must hold the same delays.")
    rows = [[_pair(a, b, int(delay)) for delay in delays] for a, b in zip(first, second, strict=True)]
    table = np.array(rows)
    both = {name: np.moveaxis(table[:, :, i : i + 2], 2, 0) for i, name in zip((0, 2, 4, 6), _FOLLOWED, strict=True)}
    return Branches(density=densities, delay=delays, excess=table[:, :, 8], excess_error=table[:, :, 9], **both)


_FOLLOWED = ("loss", "modulus", "k_theta", "order_parameter")


def _pair(dense: Census, sparse: Census, delay: int) -> list[float]:
    """The numbers of both branches one after the other, their difference and its error."""
    found = [(one, _least(one, delay, regime)) for one, regime in ((dense, DENSE), (sparse, SPARSE))]
    rows = [
        [np.nan] * 4
        if place is None
        else [float(np.asarray(getattr(one, name)).reshape(-1)[place]) for name in _FOLLOWED]
        for one, place in found
    ]
    excess = error = np.nan
    if found[0][1] is not None and found[1][1] is not None:
        difference = np.subtract(*(np.asarray(one.losses)[:, place] for one, place in found))
        excess, error = float(difference.mean()), float(error_of_mean(difference))
    return [value for pair in zip(*rows, strict=True) for value in pair] + [excess, error]


def _least(one: Census, delay: int, regime: int) -> int | None:
    """The place of the network of least loss of one delay among those in a regime."""
    places = one.places(delay)
    inside: Bool[np.ndarray, " k"] = np.asarray(one.regime)[0, places] == regime
    loss = np.where(inside, one.loss[places], np.inf)
    return int(places[loss.argmin()]) if np.isfinite(loss).any() else None
