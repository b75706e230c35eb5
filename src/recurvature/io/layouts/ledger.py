"""The book in which every tensor of a foreign file is entered: what it was understood to be, and what was guessed."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from recurvature._errors import InputError, check_shape
from recurvature.io.opening import one_line
from recurvature.io.specs import Positive, Spec


class ImportOptions(Spec):
    """What a file of tensors does not say. What is None is taken from the file, else from the layout's default."""

    form: Literal["current", "rate"] = "current"
    """Leaky networks: the state is the current x, or the rate r."""
    phi: str | None = None
    """Name of the nonlinearity; default tanh."""
    dt: Positive | None = None
    """Time of one step, in the unit of `tau`; default 0.2 for leaky networks, 1 for PyTorch's."""
    tau: Positive | None = None
    """Time constant; default 1."""
    orientation: Literal["post-pre", "pre-post"] | None = None
    """Axes of plain weight matrices: `W @ r` (post-pre) or `r @ W` (pre-post)."""
    readout: str | None = None
    """PyTorch layouts: name of the readout module, where several could be it."""


@dataclasses.dataclass(frozen=True)
class TensorReading:
    """One tensor of the file and how it was understood."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    meaning: str


@dataclasses.dataclass(frozen=True)
class Reading:
    """What a file was understood to hold."""

    source: str
    layout: str
    tensors: tuple[TensorReading, ...]
    options: dict[str, Any]
    """The values that were used, whether given, in the file, or default."""
    notes: tuple[str, ...]
    """Guesses, defaults, conversions: whatever a reader should confirm."""
    unused: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The reading as a JSON table."""
        return dataclasses.asdict(self)


class Ledger:
    """The tensors of one file, each handed out once under its role and ticked off with a meaning."""

    def __init__(self, tensors: Mapping[str, np.ndarray], options: ImportOptions, dtype: Any = None):
        self.tensors = dict(tensors)
        self.options = options
        self.roles: dict[str, np.ndarray] = {}
        """The tensors that were used, by role, in the number type of the file."""
        self.used: dict[str, str] = {}
        self.settings: dict[str, Any] = {}
        self.notes: list[str] = []
        self.dtype = np.dtype(dtype) if dtype is not None else self._common_dtype()

    def _common_dtype(self) -> np.dtype:
        floats = [a.dtype for a in self.tensors.values() if a.ndim and jnp.issubdtype(a.dtype, jnp.floating)]
        stored = {str(dtype) for dtype in floats}
        wide = any(dtype.itemsize > 4 for dtype in floats)
        chosen = np.dtype(jax.dtypes.canonicalize_dtype(np.float64 if wide else np.float32))
        if wide and chosen == np.float32:
            self.notes.append("float64 rounded to float32; call recurvature.enable_float64() first to keep it")
        elif stored - {chosen.name}:
            self.notes.append(f"{', '.join(sorted(stored - {chosen.name}))} widened to {chosen}")
        return chosen

    def note(self, text: str) -> None:
        """Enter what was guessed or assumed."""
        self.notes.append(text)

    def left(self) -> list[str]:
        """Names not yet understood."""
        return sorted(self.tensors.keys() - self.used.keys())

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor."""
        return tuple(self.tensors[name].shape)

    def take(self, name: str, role: str, meaning: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """The tensor `name` in the number type of the network, checked: its shape, floating point, finite."""
        raw = self.tensors[name]
        check_shape(name, raw, shape)
        return self.enter(name, role, meaning, raw)

    def enter(self, name: str, role: str, meaning: str, raw: np.ndarray) -> np.ndarray:
        """Like `take`, for `raw`: the tensor `name` already brought into the shape of its role."""
        if 0 in raw.shape:
            raise InputError(f"tensor {name!r} has shape {raw.shape}; every size must be at least 1.")
        if not jnp.issubdtype(raw.dtype, jnp.floating):
            raise InputError(f"tensor {name!r} has number type {raw.dtype}; weights must be floating point.")
        array = raw.astype(self.dtype)
        if not np.isfinite(array).all():
            bad = int(array.size - np.isfinite(array).sum())
            raise InputError(f"tensor {name!r} has {bad} values that are NaN or infinite; use an earlier checkpoint.")
        self.used[name] = meaning
        self.roles[role] = raw
        return array

    def scalar(self, name: str, role: str, meaning: str) -> float:
        """The only number in the tensor `name`, of any real type."""
        raw = self.tensors[name]
        if raw.size != 1 or raw.dtype.kind == "c":
            raise InputError(
                f"tensor {name!r} ({role}) has shape {raw.shape}; one number for all units is read here. "
                "Leave it out with a mapping and pass the value as an option."
            )
        value = float(raw.reshape(()).astype(np.float64))
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"tensor {name!r} ({role}) must be a finite number greater than 0; got {value!r}.")
        self.used[name] = meaning
        return value

    def reading(self, source: str, layout: str) -> Reading:
        """The book, closed."""
        left = self.left()
        if left:
            self.note("unused tensors do nothing here; if the model used them, the network is not the whole model")
        tensors = tuple(
            TensorReading(name, self.shape(name), str(array.dtype), self.used.get(name, "not used"))
            for name, array in self.tensors.items()
        )
        return Reading(source, layout, tensors, dict(self.settings), tuple(self.notes), tuple(left))


def show(names: list[str]) -> str:
    """Names in one line of bounded length, for messages."""
    return one_line(ValueError(", ".join(names)), 120)
