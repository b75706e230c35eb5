"""Activity that a rate network is fitted to, step by step: what each unit was, and what must have driven it."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_positive, check_shape
from recurvature._precision import float_dtype
from recurvature._result import Values
from recurvature.systems.base import Euler, Network
from recurvature.systems.leaky import LeakyRate
from recurvature.systems.simulate import simulate

EDGE = 1e-6
"""How near to ±1 a target may come: the inverse of tanh is infinite there."""


@dataclasses.dataclass(frozen=True)
class Activity:
    r"""Rates of units over time, recorded or simulated, with the inputs that drove them.

    - `rates` (trial, time, unit) and `inputs` (trial, time, input): as in `Trajectory`, `rates[:, k]` is when
      `inputs[:, k]` has been consumed. Without inputs pass None: one silent channel.
    - `alpha`: the length of a step in time constants, $\Delta t/\tau$ in (0, 1]. It must be known, or be scanned
      (`scan_alpha`).
    - `start`: the rates before the first step, of all trials (unit,) or of each (trial, unit); None if unknown, and
      then the first sample serves as such.
    - `tau`: sets the unit of time of the network that comes of it.

    Raises `InputError` on shapes that do not fit, on fewer than two samples in time, and on what is not finite.
    """

    rates: Float[Values, "trial time n"]
    inputs: Float[Values, "trial time d"] | None
    alpha: float
    start: Float[Values, " n"] | Float[Values, "trial n"] | None = None
    tau: float = 1.0

    def __post_init__(self) -> None:
        check_shape("rates", self.rates, (None, None, None))
        trials, time, units = np.shape(self.rates)
        if self.inputs is not None:
            check_shape("inputs", self.inputs, (trials, time, None))
        if self.start is not None and np.shape(self.start) not in ((units,), (trials, units)):
            raise InputError(f"`start` must have shape ({units},) or ({trials}, {units}); got {np.shape(self.start)}.")
        if not trials or time + (self.start is not None) < 2:
            raise InputError(f"`rates` must hold a step: at least 2 samples of a trial; got {time} of {trials} trials.")
        check_positive(alpha=self.alpha, tau=self.tau)
        if self.alpha > 1:
            raise InputError(f"`alpha` must lie in (0, 1]: a step is at most one time constant; got {self.alpha}.")
        for name in ("rates", "inputs", "start"):
            values = getattr(self, name)
            if values is not None and not np.isfinite(np.asarray(values)).all():
                raise InputError(f"`{name}` has values that are NaN or infinite: leave those trials or units out.")

    @property
    def units(self) -> int:
        """Number of units."""
        return np.shape(self.rates)[2]

    @property
    def input_size(self) -> int:
        """Number of inputs; 1, silent, where there are none."""
        return 1 if self.inputs is None else np.shape(self.inputs)[2]

    @property
    def initial(self) -> Float[np.ndarray, " n"]:
        """Where a network starts that takes the place of the units: the mean over trials of the first rates known."""
        first = np.asarray(self.rates)[:, 0] if self.start is None else np.asarray(self.start)
        return first if first.ndim == 1 else first.mean(0)


class Steps(NamedTuple):
    """Every step of every trial, one to a row."""

    before: Float[Array, "sample n"]
    inputs: Float[Array, "sample d"]
    targets: Float[Array, "sample n"]
    r"""$d = (r_{k+1} - (1 - \alpha)r_k)/\alpha$, what tanh must give, clipped to the open interval (docs eq. L.70)."""
    clipped: Float[Array, " n"]
    """Share of the targets of each unit that were clipped."""


def steps_of(activity: Activity, scale: float = 1.0) -> Steps:
    """The steps of `activity`, its rates divided by `scale`."""
    dtype = float_dtype(jnp.asarray(activity.rates))
    rates = jnp.asarray(activity.rates, dtype) / scale
    trials, time, units = rates.shape
    inputs = jnp.zeros((trials, time, 1), dtype) if activity.inputs is None else jnp.asarray(activity.inputs, dtype)
    if activity.start is not None:
        first = jnp.broadcast_to(jnp.asarray(activity.start, dtype) / scale, (trials, units))
        rates = jnp.concatenate([first[:, None], rates], axis=1)
    else:
        inputs = inputs[:, 1:]
    before, after = rates[:, :-1].reshape(-1, units), rates[:, 1:].reshape(-1, units)
    wanted = (after - (1 - activity.alpha) * before) / activity.alpha
    edge = 1 - EDGE
    clipped = (jnp.abs(wanted) > edge).mean(0).astype(dtype)
    return Steps(before, inputs.reshape(-1, inputs.shape[-1]), jnp.clip(wanted, -edge, edge), clipped)


def rate_flow(network: Network) -> LeakyRate:
    """The flow of a network that is an Euler map of a tanh rate network; raises `InputError` on any other."""
    system = network.system
    flow = system.flow if isinstance(system, Euler) else system
    if not isinstance(system, Euler) or not isinstance(flow, LeakyRate) or flow.phi != "tanh":
        raise InputError(
            f"one-step fits need an Euler map of a tanh rate network (systems.leaky_rate); got {type(flow).__name__}."
        )
    return flow


def sample_activity(network: Network, inputs: Float[Values, "trial time d"]) -> Activity:
    """What a rate network does under `inputs`, from its initial state on.

    Raises `InputError` unless it is an Euler map of a `LeakyRate` with tanh.
    """
    flow, system = rate_flow(network), network.system
    assert isinstance(system, Euler)
    run = simulate(network, jnp.asarray(inputs))
    return Activity(run.states, run.inputs, system.dt / flow.tau, network.x0, flow.tau)
