"""Reaching as it was recorded: decode velocity from real spike counts, and a manifold of reaches from their tuning."""

from typing import ClassVar, Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from recurvature._errors import InputError, check_positive, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature._result import Citation, Values
from recurvature.systems.inputs import FunctionInputs, circle, interval
from recurvature.systems.linear import state_space
from recurvature.tasks.base import AbstractTask, Phases, Recipe, Trials, numbered
from recurvature.tasks.draws import balanced
from recurvature.tasks.reaching import ends_near
from recurvature.tasks.tuning import Tuning, fit_tuning

DYER = Citation(
    "dyer2017",
    "Dyer et al. A cryptography-based approach for movement decoding. Nature Biomedical Engineering 2017.",
    "https://doi.org/10.1038/s41551-017-0169-7",
)


@runtime_checkable
class Recorded(Protocol):
    """Bins of activity and velocity, and where periods of movement begin: `recurvature.io.Recording` is one."""

    @property
    def activity(self) -> Float[np.ndarray, "time unit"]: ...  # noqa: D102

    @property
    def velocity(self) -> Float[np.ndarray, "time 2"]: ...  # noqa: D102

    @property
    def starts(self) -> Int[np.ndarray, " segment"]: ...  # noqa: D102


class TunedReaches(eqx.Module):
    """Inputs of a reach over time: expected counts by the tuning along the mean speed profile, over `spread`."""

    tuning: Tuning
    profile: Float[Values, " time"]
    mean: Float[Values, " unit"]
    spread: Float[Values, " unit"]
    dt: float = eqx.field(static=True)

    def __call__(self, time: Float[Array, ""], theta: Float[Array, "2"]) -> Float[Array, " unit"]:
        """The inputs at a time for a direction (rad) and a peak speed; the profile is straight between its bins."""
        bins = jnp.arange(len(self.profile), dtype=theta.dtype) * self.dt
        share = jnp.interp(time, bins, jnp.asarray(self.profile, theta.dtype))
        return (self.tuning(theta[0], theta[1] * share) - self.mean) / self.spread


class RecordedReaching(AbstractTask):
    r"""Inputs are recorded units, outputs the velocity $(v_x, v_y)$; a trial is a recorded period of movement.

    Inputs are spike counts a bin less their `mean`, over their `spread`, by unit; velocities are in units of `scale`.
    Periods shorter than the longest are filled up with zeros that weigh 0. `theta` holds the direction in which a
    period went as a whole (rad, in [0, 2π)) and its peak speed (in the units of the recording).

    The manifold $S^1\times\mathbb R^+$ is a model: the units' `tuning` along the mean speed `profile` of the periods,
    scaled to a peak speed. Between and beyond the recorded directions it says what cosine tuning says. Make it with
    `from_recording`; ask it of other bins of the same units with `on`. Data: Dyer et al., Nature Biomedical
    Engineering 2017.
    """

    name: ClassVar[str] = "recorded-reaching"
    reference: ClassVar[Citation] = DYER
    output_size: ClassVar[int] = 2
    """The velocity."""
    output_names: ClassVar[tuple[str, ...]] = ("velocity x", "velocity y")

    counts: Float[Values, "trial time unit"]
    velocity: Float[Values, "trial time 2"]
    weight: Float[Values, "trial time"]
    reach: Float[Values, "trial 2"]
    mean: Float[Values, " unit"]
    spread: Float[Values, " unit"]
    profile: Float[Values, " bin"]
    tuning: Tuning
    scale: float = eqx.field(static=True)
    speeds: tuple[float, float] = eqx.field(static=True)
    dt: float = eqx.field(static=True, default=1.0)
    input_noise: float = eqx.field(static=True, default=0.0)

    @property
    def input_size(self) -> int:
        """The units."""
        return self.counts.shape[2]

    @property
    def input_names(self) -> tuple[str, ...]:
        """The units, by number."""
        return numbered("unit", self.input_size)

    @property
    def steps(self) -> int:
        """Bins of the longest period."""
        return self.counts.shape[1]

    def draw(self, key: PRNGKey, n: int) -> Trials:
        """`n` periods, each as often as any other or once more."""
        return self._periods(balanced(stream(key, "period"), n, len(self.counts)))

    def everything(self) -> Trials:
        """Every period once, in the order of the recording, without `input_noise`."""
        return self._periods(jnp.arange(len(self.counts), dtype=jnp.int32))

    def _periods(self, index: Int[Array, " trial"]) -> Trials:
        pick = lambda array: jnp.asarray(array, jnp.float32)[index]  # noqa: E731
        mean, spread = jnp.asarray(self.mean, jnp.float32), jnp.asarray(self.spread, jnp.float32)
        weight = pick(self.weight)
        inputs = (pick(self.counts) - mean[None, None, :]) / spread[None, None, :] * weight[:, :, None]
        return Trials(inputs, pick(self.velocity) / self.scale, weight, pick(self.reach))

    def correct(self, outputs: Float[Array, "trial time o"], trials: Trials) -> Bool[Array, " trial"]:
        """Which periods end, by the decoded velocity, less than half their length away from where they end."""
        return ends_near(outputs, trials)

    def manifold(self) -> FunctionInputs:
        """Directions × peak speeds, the latter over the middle 80 % of the recorded ones."""
        domain = circle("direction") * interval("speed", *self.speeds)
        jumps: tuple[float, ...] = ()
        return FunctionInputs(domain, TunedReaches(self.tuning, self.profile, self.mean, self.spread, self.dt), jumps)

    def views(self) -> dict[str, dict[str, int]]:
        """The one manifold."""
        return {"reaches": {}}

    def phases(self) -> Phases:
        """The movement of usual length."""
        return {"movement": (0.0, len(self.profile) * self.dt)}

    def on(self, recording: Recorded) -> "RecordedReaching":
        """The same task, its scales and its tuning, on other bins of the same units: what was held out."""
        if recording.activity.shape[1:] != (self.input_size,):
            raise InputError(
                f"`recording` has {recording.activity.shape[1]} units and this task {self.input_size}; only the same "
                "units can be decoded by one network."
            )
        counts, velocity, weight, reach = _padded(recording)
        where = lambda t: (t.counts, t.velocity, t.weight, t.reach)  # noqa: E731
        return eqx.tree_at(where, self, (counts, velocity, weight, reach))

    def recipe(self) -> Recipe:
        """A state-space network of 16 modes under 16 gates, all periods in a batch, Adam at 1e-2 for 300 steps."""
        make = lambda key: state_space(16, inputs=self.input_size, outputs=2, key=key, dt=self.dt)  # noqa: E731
        return Recipe(make, {"steps": 300, "batch": len(self.counts), "learning_rate": 1e-2})


def from_recording(
    recording: Recorded, *, dt: float = 1.0, input_noise: float = 1.0, ridge: float = 1.0
) -> RecordedReaching:
    """The task that a recording sets, with its scales and the tuning of its units (`fit_tuning` with `ridge`).

    `dt` is the length of a bin in the unit of time that you want; files do not tell, so a bin is 1 unless you do.
    `input_noise`, in standard deviations of a unit's counts, keeps a network from learning few periods by heart;
    `RecordedReaching.everything` has none.
    Raises `InputError` on a recording without movement and on arrays that do not fit.
    """
    check_positive(dt=dt)
    check_shape("recording.velocity", recording.velocity, (len(recording.activity), 2))
    counts, velocity, weight, reach = _padded(recording)
    spread = recording.activity.std(0)
    lengths, peaks = weight.sum(1), reach[:, 1]
    tuning = fit_tuning(recording.activity, recording.velocity, ridge=ridge)
    usual = int(np.median(lengths))
    # a period without movement has no profile
    long = (lengths >= usual) & (peaks > 0)
    shape = (np.hypot(*np.moveaxis(velocity[long], -1, 0)) / peaks[long, None])[:, :usual].mean(0)
    low, high = np.percentile(peaks, [10, 90])
    if not low < high:
        raise InputError("the periods of `recording` must differ in peak speed to span a manifold of speeds.")
    return RecordedReaching(
        counts,
        velocity,
        weight,
        reach,
        mean=recording.activity.mean(0),
        # a silent unit stays silent
        spread=np.where(spread > 0, spread, 1.0),
        profile=shape / shape.max(),
        tuning=tuning,
        scale=tuning.scale,
        speeds=(float(low), float(high)),
        dt=dt,
        input_noise=input_noise,
    )


def _padded(
    recording: Recorded,
) -> tuple[
    Float[np.ndarray, "trial time unit"],
    Float[np.ndarray, "trial time 2"],
    Float[np.ndarray, "trial time"],
    Float[np.ndarray, "trial 2"],
]:
    """Counts, velocity, weight (1 on bins that are there) and reach (direction, peak speed) of every period."""
    edges = [*(int(s) for s in recording.starts), len(recording.activity)]
    lengths = np.diff(edges)
    if not len(lengths) or edges[0] != 0 or (lengths < 1).any():
        raise InputError(f"`recording.starts` must increase from 0 and end before the last bin; got {edges[:-1][:9]}.")
    weight = (np.arange(lengths.max())[None, :] < lengths[:, None]).astype(np.float64)
    counts = np.zeros((*weight.shape, recording.activity.shape[1]))
    velocity = np.zeros((*weight.shape, 2))
    counts[weight > 0], velocity[weight > 0] = recording.activity, recording.velocity
    way = velocity.sum(1)
    direction = np.mod(np.arctan2(way[:, 1], way[:, 0]), 2 * np.pi)
    return counts, velocity, weight, np.stack([direction, np.hypot(*np.moveaxis(velocity, -1, 0)).max(1)], axis=-1)
