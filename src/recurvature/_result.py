"""What every analysis returns: a frozen record whose annotations name the dimensions, also on disk."""

import dataclasses
import importlib.metadata
import json
import typing
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import numpy as np

from recurvature._errors import InputError

Values = jax.Array | np.ndarray
"""What the array fields of a result may hold."""

SCHEMA = 1
"""Version of the layout in which results are stored."""


@dataclasses.dataclass(frozen=True)
class Citation:
    """A paper that a result stands on."""

    key: str
    text: str
    url: str = ""


R = TypeVar("R", bound="AbstractResult")


class AbstractResult(eqx.Module):
    """A frozen record of arrays with named dimensions, plain options, a status and its citations.

    Array fields are annotated with jaxtyping; the names in the annotation are the dimensions in `to_xarray`. A field
    whose only dimension is its own name is a coordinate. Units stand in the field's metadata. Every other field must
    be JSON-able: a number, a string, None, or lists, tuples and dictionaries of them.
    """

    citations: ClassVar[tuple[Citation, ...]] = ()

    def to_xarray(self) -> Any:
        """The result as an `xarray.Dataset`, ready for zarr or netCDF."""
        import xarray as xr

        hints = _hints(type(self))
        variables: dict[str, Any] = {}
        options: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, jax.Array | np.ndarray):
                meta = {k: v for k, v in field.metadata.items() if k in ("units", "long_name")}
                variables[field.name] = (_dims(hints[field.name], field.name, value.ndim), np.asarray(value), meta)
            else:
                options[field.name] = value
        coords = {name: variables.pop(name) for name in list(variables) if variables[name][0] == [name]}
        attrs = {
            "result": type(self).__qualname__,
            "schema": SCHEMA,
            "options": json.dumps(options),
            "citations": json.dumps([dataclasses.asdict(c) for c in self.citations]),
            "recurvature": importlib.metadata.version("recurvature"),
            "jax": jax.__version__,
        }
        return xr.Dataset(variables, coords, attrs)

    @classmethod
    def from_xarray(cls: type[R], dataset: Any) -> R:
        """The result that `to_xarray` wrote, with NumPy arrays."""
        kind, schema = dataset.attrs.get("result"), dataset.attrs.get("schema")
        if kind != cls.__qualname__:
            raise InputError(f"`dataset` holds {kind!r}, not {cls.__qualname__!r}.")
        if schema != SCHEMA:
            raise InputError(f"`dataset` has schema {schema!r}; this version reads {SCHEMA}.")
        options = json.loads(dataset.attrs["options"])
        hints = _hints(cls)
        values = {}
        for field in dataclasses.fields(cls):
            if field.name in dataset.variables:
                values[field.name] = dataset[field.name].values
            elif field.name in options:
                values[field.name] = _restore(hints[field.name], options[field.name])
            else:
                raise InputError(f"`dataset` lacks {field.name!r}, which {cls.__qualname__} needs.")
        return cls(**values)


def cite(result: AbstractResult) -> str:
    """The papers that `result` stands on, one to a line."""
    return "\n".join(f"{c.text} {c.url}".strip() for c in result.citations)


def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _dims(hint: Any, name: str, ndim: int) -> list[str]:
    """The dimensions that the annotation names; of a union, those of the member with `ndim` dimensions."""
    for candidate in (hint, *typing.get_args(hint)):
        if hasattr(candidate, "dim_str") and len(dims := candidate.dim_str.split()) == ndim:
            return dims
    raise TypeError(f"field `{name}` holds an array but its annotation names no {ndim} dimensions.")


def _restore(hint: Any, value: Any) -> Any:
    """JSON has no tuples: give them back where the annotation asks for them."""
    origin = typing.get_origin(hint) or hint
    if isinstance(value, list) and origin is tuple:
        inner = typing.get_args(hint)[:1]
        return tuple(_restore(inner[0], item) if inner else item for item in value)
    return value
