r"""The vectors of a unit side by side: how embedding, encoding, inputs and readout go together over neurons."""

from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from recurvature._errors import check_shape
from recurvature._result import AbstractResult, Citation, Values
from recurvature.lenses.latent.gauge import regauge
from recurvature.lenses.latent.source import DINC
from recurvature.lenses.latent.unit import LatentUnit, leaky_unit
from recurvature.systems.base import AbstractSystem, Network
from recurvature.systems.readout import LinearReadout


class UnitVectors(AbstractResult):
    r"""One number for every neuron and vector, in the mean convention: $n = N\mathbf N^\top$ has entries of order one.

    Names are `m 1`, `n 1` and so on for variables, `w 1` for inputs, `z 1` for the rows of a linear readout times N.
    """

    citations: ClassVar[tuple[Citation, ...]] = (DINC,)

    vectors: Float[Values, "n vector"]
    correlation: Float[Values, "i j"]
    """Over neurons, about the mean; NaN with a vector that does not vary."""
    names: tuple[str, ...]

    def of(self, name: str) -> Float[np.ndarray, " n"]:
        """The vector called `name`."""
        return np.asarray(self.vectors)[:, self.names.index(name)]

    def correlated(self, one: str, other: str) -> float:
        """The correlation of two vectors."""
        return float(np.asarray(self.correlation)[self.names.index(one), self.names.index(other)])


def unit_vectors(
    network: Network | AbstractSystem | LatentUnit, *, turn: Float[Any, "i j"] | None = None
) -> UnitVectors:
    r"""The vectors of a low-rank network and their correlations over neurons.

    They depend on coordinates: `turn` (K, K) is a change of variables to look at them in, $\kappa\to A\kappa$ (None: as
    they stand). Align a unit to its outputs first (`align`) to compare variables with inputs and readouts.
    """
    found = leaky_unit(network)
    if turn is not None:
        check_shape("turn", turn, (found.connectivity.rank,) * 2)
        found = regauge(found, turn)
    size = found.connectivity.size
    blocks: dict[str, Any] = {
        "m": found.embedding,
        "n": np.asarray(found.encoding).T * size,
        "w": found.flow.input_weights,
    }
    readout = network.readout if isinstance(network, Network) else None
    if isinstance(readout, LinearReadout):
        blocks["z"] = np.asarray(readout.weight).T * size
    vectors = np.concatenate([np.asarray(block, float) for block in blocks.values()], axis=1)
    names = tuple(f"{name} {i + 1}" for name, block in blocks.items() for i in range(block.shape[1]))
    centred = vectors - vectors.mean(0)
    length = np.linalg.norm(centred, axis=0)
    scaled = centred / np.where(length > 0, length, np.nan)
    return UnitVectors(vectors, scaled.T @ scaled, names)
