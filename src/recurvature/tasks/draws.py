"""What trials are made of: balanced conditions, windows of time, pulses, and averages over a window."""

import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int

from recurvature._errors import InputError, check_positive, check_shape
from recurvature._keys import PRNGKey


def balanced(key: PRNGKey, n: int, conditions: int) -> Int[Array, " trial"]:
    """A condition for each of `n` trials: each one floor(n / conditions) times or once more, at random which."""
    order = jr.permutation(key, jnp.arange(conditions, dtype=jnp.int32))
    return order[jnp.arange(n) % conditions]


def window(start: Int[Array, " trial"], length: int, steps: int) -> Float[Array, "trial time"]:
    """1 on the `length` steps from `start` on, 0 elsewhere: the start may differ between trials."""
    since = jnp.arange(steps, dtype=start.dtype)[None, :] - start[:, None]
    return ((since >= 0) & (since < length)).astype(jnp.float32)


def fixed_window(start: int, length: int, *, n: int, steps: int) -> Float[Array, "trial time"]:
    """The same `window` for every one of `n` trials."""
    return window(jnp.full(n, start, jnp.int32), length, steps)


def pulsed(
    pulses: Float[Array, "trial pulse d"], on: tuple[Float[Array, "trial time"], ...]
) -> Float[Array, "trial time d"]:
    """Each pulse on in its own window: what `PulsedInputs` are, for windows that differ between trials."""
    # products with 0 and 1 and a sum: exact, where a matrix product on an accelerator may round
    parts = [when[:, :, None] * pulses[:, i, None, :] for i, when in enumerate(on)]
    return jnp.stack(parts).sum(0)


def window_mean(values: Float[Array, "trial time o"], weight: Float[Array, "trial time"]) -> Float[Array, "trial o"]:
    """The average of `values` over time under `weight`, in the number type of `values`."""
    check_shape("outputs", values, (*weight.shape, None))
    weight = weight.astype(values.dtype)
    return (weight[:, :, None] * values).sum(1) / weight.sum(1)[:, None]


def same_sign(
    outputs: Float[Array, "trial time o"], targets: Float[Array, "trial time o"], weight: Float[Array, "trial time"]
) -> Bool[Array, " trial"]:
    """Whether the average output under `weight` has the sign of the average target; never for NaN."""
    answer = jnp.sign(window_mean(outputs, weight))
    return (answer == jnp.sign(window_mean(targets, weight)).astype(answer.dtype)).all(-1)


def beats_silence(
    outputs: Float[Array, "trial time o"], targets: Float[Array, "trial time o"], mask: Float[Array, "trial time"]
) -> Bool[Array, " trial"]:
    """Whether at most a quarter of the square error is left that silence makes, under the weights; never for NaN."""
    targets = targets.astype(outputs.dtype)
    weight = mask.astype(outputs.dtype)[:, :, None]
    return (weight * (outputs - targets) ** 2).sum((1, 2)) <= 0.25 * (weight * targets**2).sum((1, 2))


def whole_steps(dt: float, **durations: float) -> tuple[int, ...]:
    """The durations in steps; raises `InputError` unless each is positive and a whole number of steps of `dt`."""
    check_positive(dt=dt, **durations)
    for name, duration in durations.items():
        # a millionth of a step is far above float64 rounding of a quotient and far below anything meant
        if round(duration / dt) < 1 or abs(duration / dt - round(duration / dt)) > 1e-6:
            raise InputError(f"`{name}` must be a whole number of steps of dt={dt}; got {duration!r}. Change either.")
    return tuple(round(duration / dt) for duration in durations.values())
