"""Two-item working memory: two angles are shown in turn, kept over a delay, and reported in turn."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int

from recurvature._errors import InputError, check_count
from recurvature._keys import PRNGKey, stream
from recurvature._result import Citation
from recurvature.systems.inputs import TWO_PI, PulsedInputs, torus
from recurvature.tasks.base import AbstractTask, Phases, Trials
from recurvature.tasks.context import WARPING
from recurvature.tasks.draws import balanced, pulsed, whole_steps, window, window_mean


class WorkingMemory(AbstractTask):
    r"""Three inputs (cos, sin, go) and two outputs (cos, sin), on a torus of two remembered angles.

    With slot = `pulse` + `gap`: item $i = 1, 2$ is on for `pulse` from $(i - 1)$ slots on; after a delay, one of
    `delays`, go is on for `pulse` from 2 slots + delay on; item $i$ is to be reported for `pulse` from
    $(2 + i)$ slots + delay on; the trial ends with `quiet`, from 5 slots + delay on, in which, as before go, the output
    should be 0. Every trial has the length of the longest delay, 12.5; what is left of it at the end weighs 0.

    The weights make the loss of Pellegrino & Chadwick, NeurIPS 2025, the mean square error over the responses plus the
    mean square over the quiet times (halved, as an average under the weights): 1 in the responses, and the same total
    over the quiet times of the trial. Angles come from `angles` even ones per item, balanced over pairs and delays, and
    every trial is turned as a whole by a random angle. `theta` holds the two angles (rad, in [0, 2π)); the delay of a
    trial shows in its go input.

    Raises `InputError` unless durations are positive whole numbers of steps, and on fewer than 2 angles.
    """

    dt: float = eqx.field(static=True, default=0.1)
    pulse: float = eqx.field(static=True, default=0.5)
    gap: float = eqx.field(static=True, default=0.5)
    delays: tuple[float, ...] = eqx.field(static=True, default=(0.5, 1.5, 2.5, 3.5), converter=tuple)
    quiet: float = eqx.field(static=True, default=4.0)
    angles: int = eqx.field(static=True, default=6)
    input_noise: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        whole_steps(self.dt, pulse=self.pulse, gap=self.gap, quiet=self.quiet)
        check_count(angles=self.angles)
        if self.angles < 2:
            raise InputError(f"`angles` must be at least 2: one angle asks for no memory; got {self.angles}.")
        if not self.delays:
            raise InputError("`delays` must hold at least one delay; got none.")
        for delay in self.delays:
            whole_steps(self.dt, delays=delay)

    @property
    def name(self) -> str:
        """`working-memory`."""
        return "working-memory"

    @property
    def input_size(self) -> int:
        """(cos, sin) of the item that is on, and go."""
        return 3

    @property
    def output_size(self) -> int:
        """(cos, sin) of the item to report."""
        return 2

    @property
    def steps(self) -> int:
        """Steps of a trial with the longest delay."""
        slot, quiet, delay = whole_steps(self.dt, slot=self._slot, quiet=self.quiet, delays=max(self.delays))
        return 5 * slot + delay + quiet

    @property
    def reference(self) -> Citation:
        """Pellegrino & Chadwick, NeurIPS 2025."""
        return WARPING

    @property
    def _slot(self) -> float:
        return self.pulse + self.gap

    def pulses(self, angles: Float[Array, "2"]) -> Float[Array, "3 3"]:
        """Item 1, item 2 and go, one to a row."""
        zero = jnp.zeros_like(angles)
        items = jnp.stack([jnp.cos(angles), jnp.sin(angles), zero], axis=-1)
        go = jnp.asarray([[0, 0, 1]], angles.dtype)
        return jnp.concatenate([items, go])

    def _angles(self, key: PRNGKey, pair: Int[Array, "trial 2"]) -> Float[Array, "trial 2"]:
        turn = TWO_PI * jr.uniform(key, (len(pair), 1), jnp.float32)
        return jnp.mod(pair.astype(jnp.float32) * (TWO_PI / self.angles) + turn, TWO_PI)

    def draw(self, key: PRNGKey, n: int) -> Trials:
        """`n` trials without noise."""
        shape = (self.angles, self.angles, len(self.delays))
        index = balanced(stream(key, "condition"), n, math.prod(shape))
        first, second, which = jnp.unravel_index(index, shape)
        theta = self._angles(stream(key, "turn"), jnp.stack([first, second], axis=-1))
        pulse, slot, quiet = whole_steps(self.dt, pulse=self.pulse, slot=self._slot, quiet=self.quiet)
        go = 2 * slot + jnp.asarray([whole_steps(self.dt, delay=d)[0] for d in self.delays], jnp.int32)[which]

        def on(start: Int[Array, " trial"]) -> Float[Array, "trial time"]:
            return window(start, pulse, self.steps)

        pulses = jax.vmap(self.pulses)(theta)
        inputs = pulsed(pulses, (on(jnp.zeros_like(go)), on(jnp.full_like(go, slot)), on(go)))
        responses = (on(go + slot), on(go + 2 * slot))
        clock = jnp.arange(self.steps, dtype=jnp.int32)[None, :] - go[:, None]
        silent = ((clock < 0) | ((clock >= 3 * slot) & (clock < 3 * slot + quiet))).astype(jnp.float32)
        mask = responses[0] + responses[1] + silent * (2 * pulse / silent.sum(1))[:, None]
        return Trials(inputs, pulsed(pulses[:, :2, :2], responses), mask, theta)

    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which trials report both items to within half the spacing of the angles.

        The report of an item is the direction of the average output over its response window.
        """
        (pulse,) = whole_steps(self.dt, pulse=self.pulse)
        response = (trials.targets != 0).any(-1)
        count = jnp.cumsum(response, axis=1)
        return self._near(outputs, trials, response & (count <= pulse)) & self._near(
            outputs, trials, response & (count > pulse)
        )

    def _near(
        self, outputs: Float[Array, "trial time o"], trials: Trials, on: Bool[Array, "trial time"]
    ) -> Bool[Array, " trial"]:
        weight = on.astype(jnp.float32)
        answer = window_mean(outputs, weight)
        item = window_mean(trials.targets, weight).astype(answer.dtype)
        return (answer * item).sum(-1) > jnp.linalg.norm(answer, axis=-1) * math.cos(math.pi / self.angles)

    def manifold(self, *, delay: float | None = None) -> PulsedInputs:
        """The torus of the two angles, for one of the task's delays (none: the longest)."""
        phases = self.phases(delay=delay)
        windows = tuple(phases[name] for name in ("item 1", "item 2", "go"))
        return PulsedInputs(torus("item_1", "item_2"), self.pulses, windows)

    def views(self) -> dict[str, dict[str, float]]:
        """The longest and the shortest delay."""
        return {f"delay of {d} tau": {"delay": d} for d in (max(self.delays), min(self.delays))}

    def phases(self, *, delay: float | None = None) -> Phases:
        """Both items, delay, go, both responses, quiet, for one of the task's delays (none: the longest)."""
        delay = max(self.delays) if delay is None else delay
        if delay not in self.delays:
            raise InputError(f"`delay` must be one of the task's delays {self.delays}; got {delay!r}.")
        slot, go = self._slot, 2 * self._slot + delay
        starts = {"item 1": 0.0, "item 2": slot, "go": go, "response 1": go + slot, "response 2": go + 2 * slot}
        parts = {name: (start, start + self.pulse) for name, start in starts.items()}
        parts |= {"delay": (2 * slot, go), "quiet": (go + 3 * slot, go + 3 * slot + self.quiet)}
        return dict(sorted(parts.items(), key=lambda part: part[1]))
