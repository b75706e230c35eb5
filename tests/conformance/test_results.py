"""Every kind of result, made up from its own annotations, comes back from a data set as it was."""

import dataclasses
import types
import typing
from typing import Any

import numpy as np
from tests.test_docs import results


def made(hint: Any) -> Any:
    """A value of the type that an annotation asks for, other than any default."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hasattr(hint, "dim_str"):
        # dimensions of one name have one length, and those of two names seldom do
        shape = [2 + sum(map(ord, name)) % 5 for name in hint.dim_str.split()]
        # floating point, unless the annotation knows no such numbers
        kind = float if "float64" in hint.dtypes else bool if "bool" in hint.dtypes else int
        return np.asarray(np.arange(1.0, 1 + np.prod(shape)).reshape(shape) % 7, kind)
    if origin in (typing.Union, types.UnionType):
        return made(next(option for option in inner if option is not type(None)))
    if origin is tuple:
        return tuple(made(part) for part in (inner[:1] * 2 if inner[1:] == (...,) else inner))
    if origin is dict:
        return {made(inner[0]): made(inner[1])}
    if origin is typing.Literal:
        return inner[-1]
    return {str: "seven", int: 7, float: 7.5, bool: True, Any: 7}[hint]


def test_every_result_comes_back_from_a_data_set_as_it_was() -> None:
    for kind in results():
        hints = typing.get_type_hints(kind)
        result = kind(**{field.name: made(hints[field.name]) for field in dataclasses.fields(kind)})
        again = kind.from_xarray(result.to_xarray())
        for field in dataclasses.fields(kind):
            one, other = getattr(result, field.name), getattr(again, field.name)
            assert type(one) is type(other), (kind, field.name)
            np.testing.assert_array_equal(one, other, err_msg=f"{kind} {field.name}")
