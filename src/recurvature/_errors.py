"""The messages that carry the cure, and the two kinds of failure a user meets."""

import difflib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np


class InputError(ValueError):
    """A file, a spec or an argument that cannot be used; the message is one line and says what to do."""


class NumericalError(ArithmeticError):
    """Numerical trouble at an entry point that raises on it; the result that holds it is in `result`."""

    def __init__(self, message: str, result: Any = None):
        super().__init__(message)
        self.result = result


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` with the nearest known word, else the list of known words."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else f" Known: {', '.join(known)}."


def unknown(kind: str, word: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a list."""
    return InputError(f"unknown {kind} {word!r}.{did_you_mean(word, known)}")


def check_positive(**values: float | int) -> None:
    """Raise unless every value is a finite number greater than zero."""
    for name, value in values.items():
        if not (isinstance(value, int | float | np.number) and math.isfinite(value) and value > 0):
            raise InputError(f"`{name}` must be a finite number greater than 0; got {value!r}.")


def check_not_negative(**values: float) -> None:
    """Raise unless every value is a finite number of at least 0."""
    for name, value in values.items():
        if not (isinstance(value, int | float | np.number) and math.isfinite(value) and value >= 0):
            raise InputError(f"`{name}` must be a finite number of at least 0; got {value!r}.")


def check_count(**values: int) -> None:
    """Raise unless every value is a whole number of at least 1."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise InputError(f"`{name}` must be a whole number of at least 1; got {value!r}.")


def check_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise unless `value` is one of `choices`."""
    choices = list(choices)
    if value not in choices:
        raise InputError(f"`{name}` must be one of {', '.join(map(str, choices))}; got {value!r}.")


def check_index(name: str, value: int, count: int) -> None:
    """Raise unless `value` is the number of one of `count` things, from 0."""
    if not 0 <= value < count:
        raise InputError(f"`{name}` must lie in 0…{count - 1}; got {value}.")


def check_kind(name: str, value: Any, kind: type | tuple[type, ...], cure: str) -> None:
    """Raise unless `value` is an instance of `kind`; `cure` says what to pass."""
    if not isinstance(value, kind):
        got = f"the class {value.__name__}" if isinstance(value, type) else f"{type(value).__name__}"
        raise InputError(f"`{name}` cannot be {got}: {cure}.")


def check_shape(name: str, array: Any, shape: tuple[int | None, ...]) -> None:
    """Raise unless `array` has `shape`, where None stands for any length."""
    got = tuple(np.shape(array))
    if len(got) != len(shape) or any(s is not None and s != g for s, g in zip(shape, got, strict=True)):
        wanted = "(" + ", ".join("any" if s is None else str(s) for s in shape) + ")"
        raise InputError(f"`{name}` must have shape {wanted}; got {got}.")
