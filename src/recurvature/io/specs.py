"""Names and classes: what TOML files decode into, and how a network becomes a JSON spec plus named tensors."""

import dataclasses
import inspect
import json
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pydantic
from jaxtyping import AbstractArray

from recurvature import systems
from recurvature._errors import InputError, did_you_mean, unknown
from recurvature.io.opening import decoding, one_line, read_bytes

S = TypeVar("S", bound="Spec")
C = TypeVar("C", bound=type[eqx.Module])


class Spec(pydantic.BaseModel):
    """A frozen table with known keys only: the form of every file header and of every TOML file."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Positive = typing.Annotated[float, pydantic.Field(gt=0)]
Count = typing.Annotated[int, pydantic.Field(ge=1, strict=True)]


class TrainSpec(Spec):
    """What `recurvature train` does: a task, a system, how long to train; as a TOML file or on the command line."""

    task: str
    system: str = "leaky-current"
    hidden: Count = 128
    rank: Count | None = None
    steps: Count = 1000
    seeds: Count = 1
    seed: typing.Annotated[int, pydantic.Field(ge=0, strict=True)] = 0
    batch: Count = 64
    learning_rate: Positive = 1e-3
    dt: Positive | None = None
    phi: str | None = None


Density = typing.Annotated[float, pydantic.Field(gt=0, le=1)]
Delay = typing.Annotated[int, pydantic.Field(ge=0, strict=True)]


class SweepSpec(Spec):
    """What `recurvature sweep recall` does: cells of density and delay, and how their networks are trained."""

    delays: typing.Annotated[tuple[Delay, ...], pydantic.Field(min_length=1)] = (2, 3, 4, 5, 6, 8)
    densities: typing.Annotated[tuple[Density, ...], pydantic.Field(min_length=2)] = tuple(
        round(10 ** (-2 + 2 * i / 19), 4) for i in range(20)
    )
    kind: Literal["linear", "ssm", "nonlinear", "tanh"] = "ssm"
    units: Count = 2
    tied: bool = True
    seeds: Count = 32
    steps: Count = 1500
    learning_rate: Positive = 0.02
    trials: Count = 2048
    window: Count = 40
    stationary: bool = True
    exact: bool = False
    samples: typing.Annotated[int, pydantic.Field(ge=2, strict=True)] = 100
    branch_steps: typing.Annotated[int, pydantic.Field(ge=0, strict=True)] = 600
    branch_ratio: typing.Annotated[float, pydantic.Field(gt=1)] = 1.1
    seed: typing.Annotated[int, pydantic.Field(ge=0, strict=True)] = 0

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> "SweepSpec":
        for name in ("delays", "densities"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"`{name}` must all be different")
        if max(self.delays) >= self.window:
            raise ValueError(f"`window` must exceed the longest delay, {max(self.delays)}")
        if self.exact and self.kind != "linear":
            raise ValueError("`exact` needs the kind `linear`: no other expected loss is known")
        return self


def parse(model: type[S], data: Mapping[str, Any], source: str) -> S:
    """`data` as a `model`. Raises `InputError` on an unknown key (with the nearest known one) or an unfit value."""
    try:
        return model.model_validate(dict(data))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        raise InputError(f"{source}: unknown key {key!r}.{did_you_mean(key, model.model_fields)}")
    if first["type"] == "missing":
        raise InputError(f"{source}: the key {key!r} is missing; add it.")
    wanted = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
    if not key:
        raise InputError(f"{source}: {wanted}.")
    raise InputError(f"{source}: {key!r} {wanted}; got {one_line(ValueError(repr(first['input'])), 60)}.")


def json_table(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """`table` as it comes back from JSON. Raises `InputError` where a value is none of JSON's."""
    try:
        return json.loads(json.dumps(dict(table), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"`{name}` must be a JSON table: {one_line(error)}.") from error


def read_toml(path: str | Path, model: type[S]) -> S:
    """The TOML file at `path` as a `model`. Raises `InputError` where the file or a key in it cannot be used."""
    return parse(model, toml_table(path), str(path))


def toml_table(path: str | Path) -> dict[str, Any]:
    """What the TOML file at `path` holds. Raises `InputError` where it cannot be read."""
    path = Path(path)
    data = read_bytes(path)
    with decoding(path, "a TOML file", "Correct that line."):
        return tomllib.loads(data.decode())


_ROOTS = (
    systems.AbstractSystem,
    systems.AbstractConnectivity,
    systems.AbstractCell,
    systems.AbstractReadout,
    systems.Network,
)
_HOLD_FUNCTIONS = (systems.FunctionMap, systems.FunctionFlow, systems.HostMap)
_REGISTERED: dict[str, type[eqx.Module]] = {}


def register(cls: C) -> C:
    """Make a class of your own known by its name, so that networks of it can be saved and loaded; also a decorator."""
    name = cls.__name__
    if not issubclass(cls, eqx.Module) or inspect.isabstract(cls):
        raise InputError(f"{name} must be a final `equinox.Module` to be saved.")
    if known_classes().get(name, cls) is not cls:
        raise InputError(f"a class called {name!r} is known already; give yours another name.")
    _REGISTERED[name] = cls
    return cls


def known_classes() -> dict[str, type[eqx.Module]]:
    """Every class that may stand in a network file, by its name."""
    own = [c for root in _ROOTS for c in _final(root) if c.__module__.startswith("recurvature.systems.")]
    return {c.__name__: c for c in own if c not in _HOLD_FUNCTIONS} | _REGISTERED


def _final(cls: type) -> list[type]:
    below: list[type] = []
    sub: type
    for sub in cls.__subclasses__():
        below += _final(sub)
    return below if inspect.isabstract(cls) else [cls, *below]


def encode(module: eqx.Module) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A module as a JSON spec and its arrays by their paths (`system.flow.bias`).

    Raises `InputError` on a class that is not known and on functions, which no file can hold safely.
    """
    tensors: dict[str, np.ndarray] = {}
    return _encode(module, "", tensors), tensors


def _encode(value: Any, path: str, tensors: dict[str, np.ndarray]) -> Any:
    if isinstance(value, eqx.Module):
        name = type(value).__name__
        if known_classes().get(name) is not type(value):
            raise _unsaveable(value, path)
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        return {"class": name} | {k: _encode(v, f"{path}.{k}".lstrip("."), tensors) for k, v in fields.items()}
    if isinstance(value, jax.Array | np.ndarray):
        tensors[path] = np.asarray(value)
        return {"tensor": str(value.dtype), "shape": list(value.shape)}
    if isinstance(value, tuple):
        return [_encode(item, f"{path}.{k}", tensors) for k, item in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise _unsaveable(value, path)


def _unsaveable(value: Any, path: str) -> InputError:
    if path.endswith("phi") and callable(value):
        names = ", ".join(systems.ACTIVATIONS)
        return InputError(f"`{path}` is a function of your own, which a file cannot hold; use one by name: {names}.")
    if isinstance(value, systems.HostMap):
        return InputError(
            f"`{path}` is a HostMap, computed by another library, which a file cannot hold. Save the model there "
            "(in PyTorch its `state_dict()`) and wrap it anew; results about it can be saved."
        )
    if isinstance(value, _HOLD_FUNCTIONS):
        return InputError(
            f"`{path}` is a {type(value).__name__}, whose Python function a file cannot hold. Write it as a class of "
            "your own with its arrays as fields and pass it to `recurvature.io.register`."
        )
    if isinstance(value, eqx.Module):
        name = type(value).__name__
        return InputError(f"{name} is not known by name; call `recurvature.io.register({name})` before save and load.")
    return InputError(f"`{path}` is {one_line(ValueError(repr(value)), 60)}, which a network file cannot hold.")


def decode(spec: Any, tensors: Mapping[str, np.ndarray]) -> eqx.Module:
    """The module that `encode` took apart, bit for bit.

    Raises `InputError` on unknown classes or keys (with the nearest known), and where tensors and spec do not fit.
    """
    left = dict(tensors)
    if not isinstance(spec, dict):
        raise InputError(f"the spec is a {type(spec).__name__}, not a table.")
    module = _decode(spec, "network", "", left)
    if left:
        raise InputError(f"tensor {min(left)!r} has no place in the spec.")
    return module


def _decode(spec: Any, label: str, path: str, left: dict[str, np.ndarray]) -> Any:
    if isinstance(spec, list):
        return tuple(_decode(item, f"{label}.{k}", f"{path}.{k}", left) for k, item in enumerate(spec))
    if not isinstance(spec, dict):
        return spec
    if set(spec) == {"tensor", "shape"}:
        return _tensor(spec, path, left)
    name = spec.get("class")
    known = known_classes()
    if not isinstance(name, str) or name not in known:
        raise unknown("class", str(name), known)
    return _build(known[name], spec, path, left)


def _tensor(spec: dict[str, Any], path: str, left: dict[str, np.ndarray]) -> jax.Array:
    if path not in left:
        raise InputError(f"tensor {path!r} is missing.{did_you_mean(path, left) if left else ''}")
    array = left.pop(path)
    if [str(array.dtype), list(array.shape)] != [spec["tensor"], spec["shape"]]:
        raise InputError(
            f"tensor {path!r} is {array.dtype} of shape {array.shape}; "
            f"the spec says {spec['tensor']} of shape {spec['shape']}."
        )
    if 0 in array.shape:
        raise InputError(f"tensor {path!r} has shape {array.shape}; every size must be at least 1.")
    if jnp.issubdtype(array.dtype, jnp.inexact) and not np.isfinite(array).all():
        raise InputError(f"tensor {path!r} has values that are NaN or infinite.")
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        raise InputError(f"tensor {path!r} is {array.dtype}; call `recurvature.enable_float64()` before loading.")
    return jnp.asarray(array)


def _build(cls: type[eqx.Module], spec: dict[str, Any], path: str, left: dict[str, np.ndarray]) -> eqx.Module:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    for key in spec.keys() - {"class"} - fields.keys():
        raise unknown(f"key of {cls.__name__}", str(key), fields)
    values = {}
    for name in fields:
        if name not in spec:
            raise InputError(f"{cls.__name__} needs {name!r}, which the spec lacks.")
        here = f"{path}.{name}".lstrip(".")
        values[name] = _decode(spec[name], here, here, left)
    hints = typing.get_type_hints(cls)
    # one scope for all fields of a class, so that a dimension of one name has one length; it ends with this function
    with jaxtyping.jaxtyped("context"):
        for name, value in values.items():
            fits = isinstance(value, _arrays(hints[name])) if eqx.is_array(value) else _fits(value, hints[name])
            if not fits:
                where = f"{path}.{name}".lstrip(".")
                raise InputError(f"`{where}` of {cls.__name__} cannot be {_show(value)}.")
    return cls(**values)


def _arrays(hint: Any) -> tuple[type, ...]:
    """The array types that an annotation allows."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    return tuple(o for o in options if isinstance(o, type) and issubclass(o, AbstractArray))


def _fits(value: Any, hint: Any) -> bool:
    """Whether a decoded value that is no array may stand where the annotation is `hint`."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        each = inner[:1] * len(value) if inner[1:] == (...,) and isinstance(value, tuple) else inner
        return (
            isinstance(value, tuple) and len(value) == len(each) and all(map(_fits, value, each))  # lengths are equal
        )
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is None:
        return value is None
    if isinstance(hint, type) and issubclass(hint, eqx.Module | str | bool | types.NoneType):
        return isinstance(value, hint)
    return False


def _show(value: Any) -> str:
    if isinstance(value, jax.Array):
        return f"{value.dtype} of shape {value.shape} (next to the other tensors)"
    return one_line(ValueError(repr(value)), 60)
