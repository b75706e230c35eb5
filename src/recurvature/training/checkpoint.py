"""Everything a run needs to go on as if it had never stopped, as arrays by name."""

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from recurvature._errors import InputError
from recurvature.systems.base import Network
from recurvature.training.descent import Progression
from recurvature.training.spec import check_same

PARAMETERS, OPTIMISER, HISTORY = "parameters/", "optimiser/", "history/"
STEP, STATUS, SPEC = "step", "status", "spec"


@dataclasses.dataclass(frozen=True)
class TrainingState:
    """A run between two blocks. `arrays` is all of it; writing it somewhere is the caller's (see `io`).

    Names are `parameters/…` and `optimiser/…` by path, `history/…`, `step`, `status`, and `spec`: the bytes of a JSON
    text. An array that is written and read unchanged resumes bit for bit.
    """

    arrays: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        missing = {STEP, STATUS, SPEC} - self.arrays.keys()
        if missing:
            raise InputError(f"this is no training checkpoint: it lacks {', '.join(sorted(missing))}.")

    @property
    def step(self) -> int:
        """Training steps done, by the network that has done most."""
        return int(self.arrays[STEP].max())

    @property
    def spec(self) -> dict[str, Any]:
        """What the run was asked to do."""
        try:
            return json.loads(self.arrays[SPEC].tobytes())
        except ValueError as error:
            raise InputError("this checkpoint is damaged: its spec is not JSON.") from error


def pack(now: Progression, history: dict[str, np.ndarray], spec: dict[str, Any]) -> TrainingState:
    """The state of a run, in host memory."""
    arrays = {**_named(PARAMETERS, now.parameters), **_named(OPTIMISER, now.optimiser)}
    arrays |= {HISTORY + name: rows for name, rows in history.items()}
    text = np.frombuffer(json.dumps(spec, sort_keys=True).encode(), np.uint8)
    return TrainingState(arrays | {STEP: np.asarray(now.step), STATUS: np.asarray(now.status), SPEC: text})


def unpack(state: TrainingState, like: Progression, spec: dict[str, Any]) -> tuple[Progression, dict[str, np.ndarray]]:
    """The run that `pack` stored. Raises `InputError` unless it was asked to do what `spec` says."""
    check_same(state.spec, json.loads(json.dumps(spec)))
    now = Progression(
        _filled(state, PARAMETERS, like.parameters),
        _filled(state, OPTIMISER, like.optimiser),
        _array(state, STEP, like.step),
        _array(state, STATUS, like.status),
    )
    return now, _rows(state, np.shape(now.step))


def network_at(network: Network, state: TrainingState) -> Network:
    """`network` with the parameters that it had at `state`; what does not learn stays as it is.

    Raises `InputError` where `state` is of another network.
    """
    learnt = {name for name in state.arrays if name.startswith(PARAMETERS)}

    def fill(path: tuple[Any, ...], leaf: Any) -> Any:
        name = PARAMETERS + path_name(path)
        if name not in learnt:
            return leaf
        learnt.remove(name)
        return _array(state, name, leaf)

    filled = jax.tree_util.tree_map_with_path(fill, network)
    if learnt:
        raise InputError(f"this checkpoint is of another network: it has {min(learnt)}.")
    return filled


def _rows(state: TrainingState, lead: tuple[int, ...]) -> dict[str, np.ndarray]:
    rows = {k.removeprefix(HISTORY): v for k, v in state.arrays.items() if k.startswith(HISTORY)}
    for name, row in rows.items():
        if row.shape[: len(lead) + 1] != (*lead, state.step):
            raise InputError(f"this checkpoint is damaged: {HISTORY}{name} is {row.shape} after {state.step} steps.")
    return rows


def _named(prefix: str, tree: PyTree[Array]) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {prefix + path_name(path): np.asarray(leaf) for path, leaf in leaves}


def path_name(path: tuple[Any, ...]) -> str:
    """The name of a leaf, as in `system.flow.connectivity.weight`."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _filled(state: TrainingState, prefix: str, like: PyTree[Array]) -> PyTree[Array]:
    fill = lambda path, leaf: _array(state, prefix + path_name(path), leaf)  # noqa: E731
    return jax.tree_util.tree_map_with_path(fill, like)


def _array(state: TrainingState, name: str, like: Array) -> Array:
    array = state.arrays.get(name)
    if array is None or array.shape != like.shape or array.dtype != like.dtype:
        found = "missing" if array is None else f"{array.dtype} {array.shape}"
        raise InputError(f"this checkpoint is damaged: {name} is {found}, not {like.dtype} {like.shape}.")
    return jnp.asarray(array)
