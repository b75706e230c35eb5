"""How far the outputs are from what the task asks."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from recurvature.tasks.base import Trials


def mean_squared_error(outputs: Float[Array, "trial time o"], trials: Trials) -> Float[Array, ""]:
    r"""$\sum_{btk} m_{bt}(y_{btk}-\hat y_{btk})^2 \big/ \bigl(o\sum_{bt}m_{bt}\bigr)$.

    The window over which a task counts is its `mask`; where that is 0 the outputs are free.
    """
    squares = (outputs - trials.targets) ** 2
    return jnp.sum(trials.mask[..., None] * squares) / (outputs.shape[-1] * jnp.sum(trials.mask))


def no_task(outputs: Float[Array, "trial time o"], trials: Trials) -> Float[Array, ""]:
    """0, whatever the outputs: the task is not trained, only the penalties are.

    No gradient reaches the readout, unless a penalty reads it: fit it afterwards (`refit_readout`).
    """
    del trials
    return jnp.zeros((), outputs.dtype)
