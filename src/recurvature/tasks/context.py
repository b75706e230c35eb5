"""Context-dependent decision: of two constant evidences, report the sign of the one that the context points at."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from recurvature._errors import InputError, check_choice, check_count, check_positive
from recurvature._keys import PRNGKey, stream
from recurvature._result import Citation
from recurvature.systems.inputs import ConstantInputs, box
from recurvature.tasks.base import AbstractTask, Phases, Trials
from recurvature.tasks.draws import balanced, fixed_window, window_mean

WARPING = Citation(
    "pellegrino2025",
    "Pellegrino & Chadwick. RNNs perform task computations by dynamically warping neural representations. "
    "NeurIPS 2025.",
    "https://arxiv.org/abs/2512.04310",
)


class _Stimulus(eqx.Module):
    """Two evidences, then the one-hot context."""

    context: int = eqx.field(static=True)

    def __call__(self, evidence: Float[Array, "2"]) -> Float[Array, "4"]:
        cue = (jnp.arange(2) == self.context).astype(evidence.dtype)
        return jnp.concatenate([evidence, cue])


class ContextDecision(AbstractTask):
    r"""Four inputs, constant over the trial: two evidences $e_1, e_2$ and a one-hot context $c$; one output.

    The target is $\mathrm{sign}(e_c)$, 0 at $e_c = 0$, and only the last step counts in the loss. Evidence takes
    `levels` even values in [-`limit`, `limit`]; trials are balanced over the `levels`² × 2 conditions (242). `theta`
    holds $(e_1, e_2)$; the context of a trial stands in its inputs.

    Sizes and levels as in the public code of Pellegrino & Chadwick, NeurIPS 2025 (T = 10 tau); steps of 0.2 and noise
    of 0.05 at every step are this library's choice. Raises `InputError` on sizes that are not positive, or fewer than
    2 levels.
    """

    name: ClassVar[str] = "context-decision"
    reference: ClassVar[Citation] = WARPING
    input_size: ClassVar[int] = 4
    """Two evidences and two contexts."""
    output_size: ClassVar[int] = 1
    """The decision."""
    input_names: ClassVar[tuple[str, ...]] = ("evidence 1", "evidence 2", "context 1 cue", "context 2 cue")
    output_names: ClassVar[tuple[str, ...]] = ("decision",)

    dt: float = eqx.field(static=True, default=0.2)
    steps: int = eqx.field(static=True, default=50)
    levels: int = eqx.field(static=True, default=11)
    limit: float = eqx.field(static=True, default=0.2)
    input_noise: float = eqx.field(static=True, default=0.05)

    def __check_init__(self) -> None:
        check_count(steps=self.steps, levels=self.levels)
        check_positive(limit=self.limit)
        if self.levels < 2:
            raise InputError(f"`levels` must be at least 2: one level holds no decision; got {self.levels}.")

    @property
    def evidence(self) -> Float[np.ndarray, " level"]:
        """The values that evidence takes; an odd number of them has exactly 0 in its middle."""
        return self.limit * (2 * np.arange(self.levels) - (self.levels - 1)) / (self.levels - 1)

    def draw(self, key: PRNGKey, n: int) -> Trials:
        """`n` trials without noise."""
        shape = (self.levels, self.levels, 2)
        index = balanced(stream(key, "condition"), n, 2 * self.levels**2)
        first, second, context = jnp.unravel_index(index, shape)
        theta = jnp.asarray(self.evidence, jnp.float32)[jnp.stack([first, second], axis=-1)]
        inputs = jnp.where((context == 0)[:, None], jax.vmap(_Stimulus(0))(theta), jax.vmap(_Stimulus(1))(theta))
        target = jnp.sign(jnp.where(context == 0, theta[:, 0], theta[:, 1]))
        return Trials(
            inputs=jnp.broadcast_to(inputs[:, None, :], (n, self.steps, 4)),
            targets=jnp.broadcast_to(target[:, None, None], (n, self.steps, 1)),
            mask=fixed_window(self.steps - 1, 1, n=n, steps=self.steps),
            theta=theta,
        )

    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which trials end on the right side: the sign of the last output is that of the evidence in context.

        Evidence of exactly 0 has no side: such a trial is right when its last output is nearer to 0 than to ±1, and
        `accuracy` leaves it out.
        """
        answer = window_mean(outputs, trials.mask)[:, 0]
        wanted = window_mean(trials.targets, trials.mask)[:, 0].astype(answer.dtype)
        return jnp.where(wanted == 0, jnp.abs(answer) < 0.5, jnp.sign(answer) == wanted)

    def manifold(self, *, context: int = 0) -> ConstantInputs:
        """The box of the two evidences in one context: 0 makes `evidence_1` count, 1 `evidence_2`."""
        check_choice("context", context, (0, 1))
        span = (-self.limit, self.limit)
        return ConstantInputs(box(evidence_1=span, evidence_2=span), _Stimulus(int(context)))

    def views(self) -> dict[str, dict[str, int]]:
        """Either context."""
        return {"evidence 1 counts": {"context": 0}, "evidence 2 counts": {"context": 1}}

    def phases(self, *, context: int = 0) -> Phases:
        """The stimulus lasts through the trial; the response is its last step."""
        check_choice("context", context, (0, 1))
        return {"stimulus": (0.0, self.duration), "response": ((self.steps - 1) * self.dt, self.duration)}
