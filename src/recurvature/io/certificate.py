"""Equivalence certificates: the network that was read against PyTorch run on the tensors as they were."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recurvature._errors import check_count
from recurvature.io.importers import torch as torch_door
from recurvature.io.layouts import Reading
from recurvature.io.network_files import Imported
from recurvature.systems.simulate import simulate

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
"""Largest difference of outputs, relative to the largest output (or 1): some ten roundings of each type a step."""


_PERTURBATION, _MOST_GROWTH = 1e-9, 30.0
"""Steps at which inputs changed by 1e-9 have moved the outputs thirty times as far are left out: chaos is no fault."""


@dataclasses.dataclass(frozen=True)
class Certificate:
    """Largest difference between the outputs of PyTorch and of the network here, on random input sequences."""

    status: Literal["ok", "differs", "not-available"]
    reason: str
    difference: dict[str, float]
    """By number type, relative to the largest output of PyTorch (or to 1, if that is larger)."""
    tolerance: dict[str, float]
    sequences: int
    steps: int
    """Steps compared: as many as asked for, or as many as roundings do not outgrow."""

    def to_dict(self) -> dict[str, Any]:
        """The certificate as a JSON table."""
        return dataclasses.asdict(self)


def equivalence(imported: Imported, *, sequences: int = 8, steps: int = 30, seed: int = 0) -> Certificate:
    """Run PyTorch on the original tensors, and the network here, on standard normal inputs, and compare outputs.

    PyTorch runs `nn.RNN`, `nn.GRU` or `nn.LSTM` itself, or a loop of the published formula of a leaky layout, both in
    float64 and in float32. The status says "not-available" without PyTorch, and for files of this library's own.
    """
    check_count(sequences=sequences, steps=steps)
    reason = _unavailable(imported.reading)
    if reason:
        return Certificate("not-available", reason, {}, TOLERANCE, sequences, 0)
    inputs = np.random.default_rng(seed).standard_normal((2, sequences, steps, imported.network.system.input_size))
    steps = _steps(imported, *inputs)
    difference = {dtype: _difference(imported, inputs[0, :, :steps], dtype) for dtype in TOLERANCE}
    # written so that a NaN counts as a difference
    equal = all(difference[dtype] <= TOLERANCE[dtype] for dtype in TOLERANCE)
    reason = "" if equal else "the outputs differ; see the notes of the reading"
    return Certificate("ok" if equal else "differs", reason, difference, TOLERANCE, sequences, steps)


def _unavailable(reading: Reading) -> str:
    if reading.layout == "recurvature":
        return "the file was written by this library: there is no other program to compare with"
    if not torch_door.available():
        return "PyTorch is not installed: `pip install 'recurvature[torch]'`"
    return ""


def _steps(
    imported: Imported, inputs: Float[np.ndarray, "trial time d"], change: Float[np.ndarray, "trial time d"]
) -> int:
    """How many steps (at least one) can be compared before the network itself blows roundings up."""
    apart = _ours(imported, inputs + _PERTURBATION * change, "float64") - _ours(imported, inputs, "float64")
    grown = np.flatnonzero(np.abs(apart).max((0, 2)) > _MOST_GROWTH * _PERTURBATION)
    return max(1, int(grown[0])) if len(grown) else inputs.shape[1]


def _difference(imported: Imported, inputs: Float[np.ndarray, "trial time d"], dtype: str) -> float:
    theirs = torch_door.outputs(imported.reading.layout, imported.reading.options, imported.roles, inputs, dtype)
    return float(np.abs(_ours(imported, inputs, dtype) - theirs).max() / max(1.0, np.abs(theirs).max()))


def _ours(
    imported: Imported, inputs: Float[np.ndarray, "trial time d"], dtype: str
) -> Float[np.ndarray, "trial time o"]:
    """The outputs of the network, read again from the original tensors in the number type asked for."""
    assert imported.read_as is not None
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        return np.asarray(simulate(imported.read_as(dtype), jnp.asarray(inputs.astype(dtype))).outputs)
