"""The manifold of past inputs: what is added to the last inputs of a given course is a coordinate each."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_positive, check_shape
from recurvature.systems.inputs import AbstractInputManifold, Box, Coordinate


class PastInputs(AbstractInputManifold):
    r"""$u(t;\theta)$: a given course of inputs with $\theta_{s,j}$ added to input $j$ of $s$ steps before its end.

    `history` holds one row for every step of length `dt`; the point $\theta = 0$ is the course as it was. Coordinates
    are ordered by age, the youngest first, then by input. Outside of the course inputs are zero.
    """

    history: Float[Array, "time d"]
    ages: int = eqx.field(static=True)
    dt: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        check_shape("history", self.history, (None, None))
        check_count(ages=self.ages)
        check_positive(dt=self.dt)
        if self.ages > len(self.history):
            raise InputError(f"`ages` must be at most the steps of `history`, {len(self.history)}; got {self.ages}.")

    @property
    def domain(self) -> Box:
        """A box with a coordinate for every age and input."""
        features = self.history.shape[1]
        names = [f"age_{s}" + (f"_{j + 1}" if features > 1 else "") for s in range(self.ages) for j in range(features)]
        return Box(tuple(Coordinate(name, -1.0, 1.0) for name in names))

    @property
    def jump_times(self) -> tuple[float, ...]:
        """The edges of all steps."""
        return tuple(k * self.dt for k in range(len(self.history) + 1))

    @property
    def duration(self) -> float:
        """How long the course lasts."""
        return len(self.history) * self.dt

    def inputs(self, time: Float[Array, ""], theta: Float[Array, " m"]) -> Float[Array, " d"]:
        """The row of the step that is on, and what the coordinates add to it."""
        steps, features = self.history.shape
        step = jnp.searchsorted(jnp.asarray(self.jump_times, time.dtype), time, side="right") - 1
        age = steps - 1 - step
        added = theta.reshape(self.ages, features).astype(self.history.dtype)
        row = self.history[jnp.clip(step, 0, steps - 1)]
        changed = row + jnp.where(age < self.ages, added[jnp.clip(age, 0, self.ages - 1)], 0)
        return jnp.where((step >= 0) & (age >= 0), changed, 0)
