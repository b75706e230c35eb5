"""A run in words and digests: what must be equal for a resumed run to be the same run."""

import dataclasses
import functools
import hashlib
from types import CodeType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from recurvature._errors import InputError


def describe(value: Any) -> Any:
    """`value` as plain JSON, the same in every process; arrays and code enter by a digest of their contents."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return _describe_array(value)
    if isinstance(value, dict):
        return {str(k): describe(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [describe(v) for v in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__qualname__, **fields}
    if isinstance(value, functools.partial):
        return {"kind": "partial", "of": describe(value.func), "args": describe([value.args, value.keywords])}
    if callable(value):
        return _describe_function(value)
    raise InputError(
        f"a {type(value).__qualname__} cannot be part of a training spec; pass numbers, arrays or modules."
    )


def digest(*arrays: Any) -> str:
    """Sixteen hexadecimal digits of the SHA-256 of shapes, types and contents."""
    total = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        total.update(f"{array.dtype} {array.shape} ".encode() + array.tobytes())
    return total.hexdigest()[:16]


def _describe_array(value: Any) -> Any:
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return {"key": str(jax.random.key_impl(value)), "data": np.asarray(jax.random.key_data(value)).tolist()}
    array = np.asarray(value)
    return array.item() if array.ndim == 0 else {"shape": list(array.shape), "digest": digest(array)}


def _describe_function(value: Any) -> Any:
    """The name, and for what has no name of its own (closures, lambdas) also its code and what it captured.

    Two schedules made by one factory differ in what they captured.
    """
    value = getattr(value, "__wrapped__", value)
    name = f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    if "<" not in name or not isinstance(code := getattr(value, "__code__", None), CodeType):
        return name
    cells = [cell.cell_contents for cell in value.__closure__ or ()]
    captured = [describe(c) for c in (*cells, *(value.__defaults__ or ())) if c is not value]
    return {"function": name, "code": _code_digest(code), **({"captured": captured} if captured else {})}


def _code_digest(code: CodeType) -> str:
    constants = [_code_digest(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return hashlib.sha256(code.co_code + repr((constants, code.co_names)).encode()).hexdigest()[:16]


def check_same(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise `InputError` naming what differs between the spec of a checkpoint and the one of this run."""
    changed = [k for k in sorted(before.keys() | now.keys()) if before.get(k) != now.get(k)]
    if changed:
        pairs = "; ".join(f"{k} was {_short(before.get(k))} and is {_short(now.get(k))}" for k in changed)
        raise InputError(
            f"`resume` comes from a different run: {pairs}. Pass the options of that run, or start anew without resume."
        )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
