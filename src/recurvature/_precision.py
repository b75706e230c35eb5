"""One path for number types: importing changes no flag, theory asks for float64, training casts to float32."""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

T = TypeVar("T")


def enable_float64() -> None:
    """Switch JAX to 64-bit numbers for this process; matrix products on accelerators use full precision."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "highest")


def cast(tree: T, dtype: Any) -> T:
    """`tree` with every real floating-point array in `dtype` and every complex one in the matching complex type."""
    complex_dtype = jnp.complex128 if jnp.result_type(dtype) == jnp.float64 else jnp.complex64

    def convert(leaf: Any) -> Any:
        if not eqx.is_array_like(leaf) or not eqx.is_inexact_array(leaf):
            return leaf
        return jnp.asarray(leaf, complex_dtype if jnp.iscomplexobj(leaf) else dtype)

    return jax.tree.map(convert, tree)


def require_float64(**arrays: Any) -> None:
    """Raise unless every array is float64; the names of the arguments appear in the message."""
    for name, array in arrays.items():
        if jnp.asarray(array).dtype != jnp.float64:
            raise ValueError(
                f"`{name}` is {jnp.asarray(array).dtype}, and this theory needs float64. "
                "Call `recurvature.enable_float64()` before making arrays, then `recurvature.cast(network, float)`."
            )


def float_dtype(tree: Any) -> Any:
    """The real floating-point type that the arrays of `tree` share (the widest, if they differ)."""
    dtypes = {jnp.finfo(leaf.dtype).dtype for leaf in jax.tree.leaves(tree) if eqx.is_inexact_array(leaf)}
    return max(dtypes, key=lambda dtype: dtype.itemsize, default=jnp.result_type(float))
