"""Static classification on a circle: no dynamics, one step of a network from rest, which is a feedforward one."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from recurvature._errors import InputError, check_count
from recurvature._keys import PRNGKey, stream
from recurvature._result import Citation
from recurvature.systems.inputs import TWO_PI, ConstantInputs, circle
from recurvature.systems.vanilla import vanilla
from recurvature.tasks.base import AbstractTask, Phases, Recipe, Trials
from recurvature.tasks.context import WARPING
from recurvature.tasks.draws import balanced, same_sign


class StaticCircle(AbstractTask):
    r"""Two inputs $(\cos\theta, \sin\theta)$ for a single step; one output, ±1 by the arc in which $\theta$ lies.

    The circle has 2 · `output_regions` equal arcs from $\theta = 0$ on, +1 and -1 in turn: with one region the target
    is +1 on $[0, \pi)$. Angles are `angles` even ones; a batch of that many holds each of them once (full batch).
    `theta` holds the angle (rad, in [0, 2π)).

    One step of a `vanilla` network from the state 0 is a feedforward network with one hidden layer. Sizes as in the
    public code of Pellegrino & Chadwick, NeurIPS 2025. Raises `InputError` unless every arc holds an angle.
    """

    name: ClassVar[str] = "static-circle"
    reference: ClassVar[Citation] = WARPING
    input_size: ClassVar[int] = 2
    """(cos, sin) of the angle."""
    output_size: ClassVar[int] = 1
    """The class, ±1."""
    input_names: ClassVar[tuple[str, ...]] = ("cosine", "sine")
    output_names: ClassVar[tuple[str, ...]] = ("class",)

    dt: float = eqx.field(static=True, default=1.0)
    angles: int = eqx.field(static=True, default=240)
    output_regions: int = eqx.field(static=True, default=1)
    input_noise: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        check_count(angles=self.angles, output_regions=self.output_regions)
        if self.angles < 2 * self.output_regions:
            raise InputError(
                f"`angles` must be at least twice `output_regions`, one to each arc; got {self.angles} for "
                f"{self.output_regions} region(s)."
            )

    @property
    def steps(self) -> int:
        """One."""
        return 1

    def draw(self, key: PRNGKey, n: int) -> Trials:
        """`n` trials without noise."""
        index = balanced(stream(key, "condition"), n, self.angles)
        theta = (index.astype(jnp.float32) * (TWO_PI / self.angles))[:, None]
        # whole numbers, so that no rounding moves an angle across the edge of its arc
        arc = (2 * self.output_regions * index) // self.angles
        target = (1 - 2 * (arc % 2)).astype(jnp.float32)
        inputs = jax.vmap(circle().embed)(theta)
        return Trials(inputs[:, None, :], target[:, None, None], jnp.ones((n, 1), jnp.float32), theta)

    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which trials have an output of the sign of their target."""
        return same_sign(outputs, trials.targets, trials.mask)

    def manifold(self) -> ConstantInputs:
        """The circle of angles."""
        return ConstantInputs(circle())

    def views(self) -> dict[str, dict[str, int]]:
        """The one manifold."""
        return {"circle": {}}

    def phases(self) -> Phases:
        """The stimulus is all there is."""
        return {"stimulus": (0.0, self.duration)}

    def recipe(self) -> Recipe:
        """Three hidden tanh units, full batches, Adam at 1e-2 (Pellegrino & Chadwick; the number of steps is ours)."""
        network = lambda key: vanilla(3, inputs=2, outputs=1, key=key, dt=self.dt)  # noqa: E731
        return Recipe(network, {"steps": 1000, "batch": self.angles, "learning_rate": 1e-2, "clip_norm": None})
