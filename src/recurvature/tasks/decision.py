"""Random-dots decision: is the motion, weak or strong, to the right or to the left?"""

from collections.abc import Sequence
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from recurvature._errors import InputError, check_count, check_kind, check_positive
from recurvature._keys import PRNGKey, stream
from recurvature._result import Citation
from recurvature.systems.inputs import PulsedInputs, interval
from recurvature.tasks.base import AbstractTask, Phases, Trials
from recurvature.tasks.draws import balanced, fixed_window, pulsed, same_sign

LOW_RANK = Citation(
    "valente2022",
    "Valente, Pillow & Ostojic. Extracting computational mechanisms from neural data using low-rank RNNs. "
    "NeurIPS 2022.",
    "https://nips.cc/virtual/2022/poster/54761",
)


def _row(coherences: Sequence[float]) -> tuple[float, ...]:
    check_kind("coherences", coherences, Sequence, "pass a list or tuple of percents")
    return tuple(coherences)


class RandomDots(AbstractTask):
    r"""One input: a stimulus of constant strength `strength` · coherence / 100, after fixation; one output, ±1.

    The target is the sign of the coherence in the response window, which comes after a delay and alone counts in the
    loss. Coherence in percent is one of ± `coherences`, balanced over trials. `theta` holds the signed coherence.

    Lengths are in steps of `dt` tau (0.2: 20 ms at tau = 100 ms). Timing, strength and noise as in the public release
    of Valente, Pillow & Ostojic, NeurIPS 2022. Raises `InputError` on lengths that are not positive.
    """

    name: ClassVar[str] = "random-dots"
    reference: ClassVar[Citation] = LOW_RANK
    input_size: ClassVar[int] = 1
    """The motion."""
    output_size: ClassVar[int] = 1
    """The decision."""
    input_names: ClassVar[tuple[str, ...]] = ("motion",)
    output_names: ClassVar[tuple[str, ...]] = ("decision",)

    dt: float = eqx.field(static=True, default=0.2)
    fixation_steps: int = eqx.field(static=True, default=5)
    stimulus_steps: int = eqx.field(static=True, default=40)
    delay_steps: int = eqx.field(static=True, default=15)
    response_steps: int = eqx.field(static=True, default=15)
    coherences: tuple[float, ...] = eqx.field(static=True, default=(1.0, 2.0, 4.0, 8.0, 16.0), converter=_row)
    strength: float = eqx.field(static=True, default=3.2)
    input_noise: float = eqx.field(static=True, default=0.03)

    def __check_init__(self) -> None:
        check_count(fixation_steps=self.fixation_steps, stimulus_steps=self.stimulus_steps)
        check_count(delay_steps=self.delay_steps, response_steps=self.response_steps)
        check_positive(strength=self.strength)
        if not self.coherences:
            raise InputError("`coherences` must hold at least one coherence in percent; got none.")
        for coherence in self.coherences:
            check_positive(coherences=coherence)

    @property
    def steps(self) -> int:
        """Fixation, stimulus, delay and response together."""
        return self._response_start + self.response_steps

    @property
    def _response_start(self) -> int:
        return self.fixation_steps + self.stimulus_steps + self.delay_steps

    def pulses(self, coherence: Float[Array, "1"]) -> Float[Array, "1 1"]:
        """The one pulse of a trial, from its coherence in percent."""
        return coherence[None, :] * (self.strength / 100)

    def draw(self, key: PRNGKey, n: int) -> Trials:
        """`n` trials without noise."""
        signed = jnp.asarray([sign * c for c in self.coherences for sign in (1, -1)], jnp.float32)
        theta = signed[balanced(stream(key, "condition"), n, len(signed))][:, None]
        on = fixed_window(self.fixation_steps, self.stimulus_steps, n=n, steps=self.steps)
        mask = fixed_window(self._response_start, self.response_steps, n=n, steps=self.steps)
        inputs = pulsed(jax.vmap(self.pulses)(theta), (on,))
        return Trials(inputs, jnp.sign(theta)[:, None, :] * mask[:, :, None], mask, theta)

    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which trials have an average output over the response window of the sign of the coherence."""
        return same_sign(outputs, trials.targets, trials.mask)

    def manifold(self) -> PulsedInputs:
        """The interval of signed coherence, in percent."""
        largest = max(self.coherences)
        domain = interval("coherence", -largest, largest, units="%")
        return PulsedInputs(domain, self.pulses, (self.phases()["stimulus"],))

    def views(self) -> dict[str, dict[str, int]]:
        """The one manifold."""
        return {"coherence": {}}

    def phases(self) -> Phases:
        """Fixation, stimulus, delay, response."""
        edges = [0, self.fixation_steps, self.fixation_steps + self.stimulus_steps, self._response_start, self.steps]
        names = ("fixation", "stimulus", "delay", "response")
        return {name: (a * self.dt, b * self.dt) for name, a, b in zip(names, edges[:-1], edges[1:], strict=True)}
