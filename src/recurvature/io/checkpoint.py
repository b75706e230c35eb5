"""Checkpoints of a training run: its arrays bit for bit, damaged files noticed."""

from pathlib import Path

from recurvature._errors import InputError
from recurvature.io.tensors import read_signed, write_signed
from recurvature.training.checkpoint import PARAMETERS, TrainingState

_HEADER = {"format": 1, "kind": "checkpoint"}
"""What marks the file; its `format` is the version of the layout."""


def save_checkpoint(state: TrainingState, path: str | Path) -> None:
    """Write the state of a run, replacing the checkpoint that was at `path` in one step.

    Killed at any moment, the process leaves the old checkpoint or the new one, whole.
    """
    write_signed(Path(path), state.arrays, _HEADER, overwrite=True)


def load_checkpoint(path: str | Path, like: TrainingState | None = None) -> TrainingState:
    """The state of a run that `save_checkpoint` wrote, bit for bit.

    Raises `InputError` where the file is damaged or no checkpoint, or (given `like`) has parameters of other names,
    shapes or number types.
    """
    arrays, header = read_signed(Path(path))
    if header != _HEADER:
        raise InputError(
            f"{path} is no checkpoint of this version, but {header.get('kind')!r} {header.get('format')!r}."
        )
    state = TrainingState({name: array.copy() for name, array in arrays.items()})
    if like is not None and _parameters(state) != _parameters(like):
        raise InputError(f"{path} is a checkpoint of another network. Start anew, or use the same sizes and system.")
    return state


def _parameters(state: TrainingState) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (str(a.dtype), a.shape) for name, a in state.arrays.items() if name.startswith(PARAMETERS)}
