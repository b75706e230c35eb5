r"""Maps that another library computes on the host, with that library's own derivatives, to any order and either way.

JAX sees one primitive: a function $f$ of a few vectors. Its derivative $(z, t)\mapsto Df(z)\,t$ and the transpose
$(z, c)\mapsto Df(z)^\top c$ are functions of the same kind, so higher derivatives of either sort need no other rule.
"""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_positive
from recurvature.systems.base import AbstractMap


class AbstractHostFunction(abc.ABC):
    """A smooth function of a few vectors to one vector, computed outside JAX for many rows at once.

    Equal functions share their compiled programs, so subclasses compare by what they compute.
    """

    @property
    @abc.abstractmethod
    def sizes(self) -> tuple[int, ...]:
        """Lengths of the arguments."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Length of the value."""

    @property
    @abc.abstractmethod
    def transpose(self) -> "AbstractHostFunction | None":
        """Its transpose in the last argument, if it is linear in that; it takes a cotangent in the same place."""

    @property
    @abc.abstractmethod
    def push(self) -> "AbstractHostFunction":
        """Its derivative: it takes the arguments, then one tangent of all of them joined, and is linear in that."""

    @abc.abstractmethod
    def __call__(self, *arguments: Float[np.ndarray, "row _"]) -> Float[np.ndarray, "row out"]:
        """The values, row by row, in float64. It may be called from any thread, and must not call JAX."""


_host_p = Primitive("host_function")


def host_call(function: AbstractHostFunction, *arguments: Float[Array, "*#batch _"]) -> Float[Array, "*#batch out"]:
    """The value of a function of the host inside any program of JAX, in the number type of the first argument.

    Leading axes are a batch; an argument that does not vary along one of them has length 1 there.
    """
    value: Array = _host_p.bind(*arguments, function=function)
    return value


def _batch(arguments: Any) -> tuple[int, ...]:
    return np.broadcast_shapes(*(a.shape[:-1] for a in arguments))


def _compute(function: AbstractHostFunction, *arguments: Any) -> np.ndarray:
    """All rows in one call, without a call of JAX."""
    batch = _batch(arguments)
    rows = [np.broadcast_to(np.asarray(a), (*batch, a.shape[-1])).reshape(-1, a.shape[-1]) for a in arguments]
    values = function(*(np.asarray(row, np.float64) for row in rows))
    return np.asarray(values.reshape(*batch, function.size), arguments[0].dtype)


@_host_p.def_impl
def _eager(*arguments: Any, function: AbstractHostFunction) -> Array:
    return jnp.asarray(_compute(function, *arguments))


@_host_p.def_abstract_eval
def _abstract(*arguments: Any, function: AbstractHostFunction) -> ShapedArray:
    return ShapedArray((*_batch(arguments), function.size), arguments[0].dtype)


def _compiled(context: Any, *operands: Any, function: AbstractHostFunction) -> Any:
    """The call inside a compiled program.

    It is given NumPy arrays. `jax.pure_callback` would first hand them to a device, which waits for a thread of the
    pool in which this call runs: on few cores and large batches, for ever.
    """
    call = lambda *arguments: (_compute(function, *arguments),)  # noqa: E731
    shapes = context.avals_in, context.avals_out
    return mlir.emit_python_callback(context, call, None, list(operands), *shapes, has_side_effect=False)[0]


def _batched(arguments: Any, axes: Any, *, function: AbstractHostFunction) -> tuple[Array, int]:
    front = [a[None] if axis is None else jnp.moveaxis(a, axis, 0) for a, axis in zip(arguments, axes, strict=True)]
    return host_call(function, *front), 0


def _pushed(primals: Any, tangents: Any, *, function: AbstractHostFunction) -> tuple[Array, Array]:
    """The value and its derivative along the tangents."""
    batch = _batch(primals)
    along = [jnp.broadcast_to(t, (*batch, t.shape[-1])) for t in map(ad.instantiate_zeros, tangents)]
    joined = jnp.concatenate(along, axis=-1).astype(primals[0].dtype)
    return host_call(function, *primals), host_call(function.push, *primals, joined)


def _pulled(cotangent: Any, *arguments: Any, function: AbstractHostFunction) -> list[Array | None]:
    """The cotangent of the last argument, summed over the batch axes along which that does not vary."""
    *known, last = arguments
    assert function.transpose is not None
    whole = host_call(function.transpose, *known, ad.instantiate_zeros(cotangent))
    repeated = tuple(i for i, (n, m) in enumerate(zip(whole.shape, last.aval.shape, strict=True)) if n != m)
    return [None] * len(known) + [whole.sum(repeated, keepdims=True).astype(last.aval.dtype)]


mlir.register_lowering(_host_p, _compiled)
batching.primitive_batchers[_host_p] = _batched
ad.primitive_jvps[_host_p] = _pushed
ad.primitive_transposes[_host_p] = _pulled


class HostMap(AbstractMap):
    """A map whose step another library computes; a readout sees the first `rate_size` numbers of the state.

    `function` takes state and input joined. The map has no parameters that JAX knows: it is driven and looked at like
    any other, its readout can be trained, but neither can it be trained itself nor saved.
    """

    function: AbstractHostFunction = eqx.field(static=True)
    rate_size: int = eqx.field(static=True)
    dt: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        check_count(rate_size=self.rate_size)
        check_positive(dt=self.dt)
        if self.rate_size > self.state_size:
            raise InputError(
                f"`rate_size` must be at most the length of the state, {self.state_size}; got {self.rate_size}."
            )
        if self.input_size < 1:
            raise InputError("`function` must take state and input joined; its argument is no longer than its value.")

    @property
    def state_size(self) -> int:
        """Length of the state."""
        return self.function.size

    @property
    def input_size(self) -> int:
        """Length of the input."""
        return self.function.sizes[0] - self.function.size

    def rates(self, x: Float[Array, " n"]) -> Float[Array, " r"]:
        """The first `rate_size` numbers of the state."""
        return x[: self.rate_size]

    def step(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        """The state one step later."""
        return host_call(self.function, jnp.concatenate([x, u]))
