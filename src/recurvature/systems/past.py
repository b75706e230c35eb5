"""The manifold of past inputs: what is added to the last inputs of a given course is a coordinate each."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_positive, check_shape
from recurvature.systems.inputs import AbstractInputManifold, Box, Coordinate


class PastInputs(AbstractInputManifold):
    r"""$u(t;\theta)$: a given course of inputs with $\theta_{s,j}$ added to input $j$ of $s$ steps before its end.

    `history` holds one row for every step of length `dt`; the point $\theta = 0$ is the course as it was. Coordinates
    are ordered by age, the youngest first, then by input. Before the course inputs are those of its first step, after
    it zero. They jump at the end, at the edges of steps that coordinates are added to, and where rows differ.
    """

    history: Float[Array, "time d"]
    ages: int = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    jump_times: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, history: Float[Array, "time d"], ages: int, dt: float = 1.0) -> None:
        check_shape("history", history, (None, None))
        check_count(ages=ages)
        check_positive(dt=dt)
        steps = len(history)
        if ages > steps:
            raise InputError(f"`ages` must be at most the steps of `history`, {steps}; got {ages}.")
        jumps = np.append((np.diff(np.asarray(history), axis=0) != 0).any(1), True)
        jumps[max(steps - ages - 1, 0) :] = True
        self.history, self.ages, self.dt = history, ages, dt
        self.jump_times = tuple(float(k * dt) for k in np.flatnonzero(jumps) + 1)

    @property
    def domain(self) -> Box:
        """A box with a coordinate for every age and input."""
        features = self.history.shape[1]
        names = [f"age_{s}" + (f"_{j + 1}" if features > 1 else "") for s in range(self.ages) for j in range(features)]
        return Box(tuple(Coordinate(name, -1.0, 1.0) for name in names))

    @property
    def duration(self) -> float:
        """How long the course lasts."""
        return len(self.history) * self.dt

    def inputs(self, time: Float[Array, ""], theta: Float[Array, " m"]) -> Float[Array, " d"]:
        """The row of the step that is on, and what the coordinates add to it."""
        steps, features = self.history.shape
        edges = jnp.asarray(np.arange(1, steps + 1) * self.dt, time.dtype)
        step = jnp.searchsorted(edges, time, side="right")
        age = steps - 1 - step
        row = self.history[jnp.minimum(step, steps - 1)].astype(theta.dtype)
        added = theta.reshape(self.ages, features)[jnp.clip(age, 0, self.ages - 1)]
        return jnp.where(age < 0, 0, row + jnp.where(age < self.ages, added, 0))
