"""Run a network: maps by one scan, flows by diffrax with steps onto every declared jump of the input."""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int

from recurvature._errors import InputError, check_choice, check_count, check_positive, check_shape
from recurvature._keys import PRNGKey
from recurvature._precision import cast, float_dtype
from recurvature._result import AbstractResult, Values
from recurvature.systems.backward import rollout_for_gradient
from recurvature.systems.base import AbstractFlow, AbstractMap, Euler, Network
from recurvature.systems.inputs import AbstractInputManifold

OK, NON_FINITE, SOLVER_FAILED = 0, 1, 2
STATUS = ("ok", "non-finite", "solver-failed")
"""What the numbers in `Trajectory.status` mean."""


class Trajectory(AbstractResult):
    """States and outputs over time: `states[:, k]` at `time[k]`, when a map has consumed `inputs[:, k]`."""

    time: Float[Values, " time"] = eqx.field(metadata={"units": "tau"})
    inputs: Float[Values, "trial time d"]
    states: Float[Values, "trial time n"]
    outputs: Float[Values, "trial time o"]
    status: Int[Values, " trial"]


class Noise(eqx.Module):
    r"""Gaussian noise on the state.

    `convention="per_step"`: `std` times N(0, 1) is added at every step, whatever `dt`. `"diffusion"`: the stochastic
    equation $\tau\dot x = F + \sqrt{2\tau}\,\sigma\xi$, hence $\sigma\sqrt{2\,dt/\tau}$ a step.
    """

    std: float = eqx.field(static=True)
    convention: Literal["per_step", "diffusion"] = eqx.field(static=True, default="per_step")

    def __check_init__(self) -> None:
        check_choice("convention", self.convention, ("per_step", "diffusion"))
        if not 0 <= self.std < np.inf:
            raise InputError(f"`std` must be a finite number of at least 0; got {self.std!r}.")

    def step_std(self, dt: float, tau: float) -> float:
        """Standard deviation of what is added to the state in one step."""
        return self.std if self.convention == "per_step" else self.std * float(np.sqrt(2 * dt / tau))


def rollout(
    system: AbstractMap,
    x0: Float[Array, " n"],
    inputs: Float[Array, "time d"],
    kicks: Float[Array, "time n"] | None = None,
) -> Float[Array, "time n"]:
    """The states of one trial after each step; `kicks` are added to the state at the end of each step."""

    def body(x: Array, drive: tuple[Array, Array | None]) -> tuple[Array, Array]:
        u, kick = drive
        x = system.step(x, u)
        x = x if kick is None else x + kick
        return x, x

    return jax.lax.scan(body, x0, (inputs, kicks))[1]


def simulate(
    network: Network,
    inputs: Float[Array, "trial time d"],
    *,
    noise: Noise | None = None,
    key: PRNGKey | None = None,
) -> Trajectory:
    """Drive a network in discrete time with given inputs (cast to the number type of the network).

    Raises `InputError` where shapes do not fit, or `noise` comes without `key`.
    """
    system, inputs = network.system, jnp.asarray(inputs)
    if not isinstance(system, AbstractMap):
        raise InputError(
            "`network` has a flow, which array inputs do not determine between samples. "
            "Wrap it as Euler(flow, dt), or drive it with an input manifold through `simulate_flow`."
        )
    if inputs.ndim != 3 or inputs.shape[-1] != system.input_size:
        raise InputError(f"`inputs` must have shape (trial, time, {system.input_size}); got {tuple(inputs.shape)}.")
    if noise is not None and key is None:
        raise InputError("`noise` needs a `key`: pass key=recurvature.stream(key, 'noise').")
    return _simulate(network, inputs, noise, key)


@eqx.filter_jit
def _simulate(network: Network, inputs: Array, noise: Noise | None, key: PRNGKey | None) -> Trajectory:
    inputs = inputs.astype(float_dtype(network))
    states, outputs = run_trials(network, inputs, noise, key)
    time = jnp.asarray((np.arange(inputs.shape[1]) + 1) * _dt(network), inputs.dtype)
    return Trajectory(time, inputs, states, outputs, _finite(states, outputs))


def _finite(states: Float[Array, "trial time n"], outputs: Float[Array, "trial time o"]) -> Int[Array, " trial"]:
    """The status of each trial: OK where all its numbers are finite."""
    finite = jnp.isfinite(states).all((1, 2)) & jnp.isfinite(outputs).all((1, 2))
    return jnp.where(finite, OK, NON_FINITE)


def run_trials(
    network: Network,
    inputs: Float[Array, "trial time d"],
    noise: Noise | None,
    key: PRNGKey | None,
    *,
    recompute: bool = False,
) -> tuple[Float[Array, "trial time n"], Float[Array, "trial time o"]]:
    """States and outputs of a batch of trials, for use inside a compiled program."""
    system = network.system
    assert isinstance(system, AbstractMap)
    kicks = None
    if noise is not None and key is not None and noise.std > 0:
        tau = system.flow.tau if isinstance(system, Euler) else 1.0
        shape = (inputs.shape[1], inputs.shape[0], system.state_size)
        kicks = noise.step_std(system.dt, tau) * jr.normal(key, shape, inputs.dtype)
    # Time stays in front until the end, as the scan makes it: the copy is made only where the states are asked for.
    in_time = inputs.swapaxes(0, 1)
    if recompute:
        states = rollout_for_gradient(system, network.x0, in_time, kicks)
    else:
        batched = jax.vmap(rollout, in_axes=(None, None, 1, None if kicks is None else 1), out_axes=1)
        states = batched(system, network.x0, in_time, kicks)
    outputs = network.readout(jax.vmap(jax.vmap(system.rates))(states))
    return states.swapaxes(0, 1), outputs.swapaxes(0, 1)


def _dt(network: Network) -> float:
    assert isinstance(network.system, AbstractMap)
    return network.system.dt


def step_times(manifold: AbstractInputManifold, dt: float, steps: int) -> Float[np.ndarray, " time"]:
    r"""The times $k\,dt$ at which a map reads its input, set exactly on the declared jumps that they round to."""
    check_positive(dt=dt)
    check_count(steps=steps)
    times = np.arange(steps) * dt
    for jump in manifold.jump_times:
        # a thousandth of a millionth of a step is far above float64 rounding and far below anything meant
        times[np.abs(times - jump) <= 1e-9 * max(dt, abs(jump))] = jump
    return times


def unaligned_jumps(manifold: AbstractInputManifold, dt: float) -> tuple[float, ...]:
    """The declared jumps that do not fall on the step grid: a map sees each of them late, at its next step."""
    return tuple(t for t in manifold.jump_times if abs(t / dt - round(t / dt)) > 1e-6)


def steps_for(duration: float, dt: float) -> int:
    """The number of whole steps, at least 1, nearest to `duration`."""
    check_positive(duration=duration, dt=dt)
    return max(1, round(duration / dt))


def sample_inputs(
    manifold: AbstractInputManifold, theta: Float[Values, "trial m"], *, dt: float, steps: int
) -> Float[Array, "trial time d"]:
    """The input functions of a manifold at points `theta`, sampled as a map reads them."""
    check_shape("theta", theta, (None, manifold.dimension))
    theta = jnp.asarray(theta)
    theta = theta.astype(float_dtype(theta))
    times = jnp.asarray(step_times(manifold, dt, steps), theta.dtype)
    return jax.vmap(lambda point: jax.vmap(lambda t: manifold.inputs(t, point))(times))(theta)


def solve_flow(
    velocity: Callable[[Array, Array], Array],
    start: Array,
    times: Float[Array, " time"],
    jump_times: tuple[float, ...],
    *,
    rtol: float,
    atol: float,
) -> tuple[Array, Array]:
    r"""Solve $\dot z = $ `velocity(t, z)` from time 0, saved at `times`; also whether it succeeded.

    Steps end on every declared jump and no stage looks across one: a solver that does not know the jumps can be wrong
    by percents and still agree with finite differences of itself.
    """
    import diffrax as dfx

    controller: dfx.AbstractStepSizeController = dfx.PIDController(rtol=rtol, atol=atol)
    inside = [t for t in jump_times if t > 0]
    if inside:
        controller = dfx.ClipStepSizeController(controller, jump_ts=jnp.asarray(inside, times.dtype))
    solution = dfx.diffeqsolve(
        dfx.ODETerm(lambda t, z, args: velocity(jnp.asarray(t), z)),
        dfx.Tsit5(),
        t0=jnp.zeros((), times.dtype),
        t1=times[-1],
        dt0=None,
        y0=start,
        saveat=dfx.SaveAt(ts=times),
        stepsize_controller=controller,
        max_steps=100_000,
        throw=False,
    )
    states = solution.ys
    assert isinstance(states, jax.Array)
    return states, solution.result == dfx.RESULTS.successful


def simulate_flow(
    network: Network,
    manifold: AbstractInputManifold,
    theta: Float[Values, "trial m"],
    times: Float[Values, " time"],
    *,
    rtol: float = 1e-6,
    atol: float = 1e-9,
) -> Trajectory:
    """Drive a network in continuous time with the inputs at points `theta`, saved at increasing `times` > 0."""
    if not isinstance(network.system, AbstractFlow):
        raise InputError("`network` is a map: use `simulate` with sampled inputs (`sample_inputs`).")
    check_times(times)
    check_shape("theta", theta, (None, manifold.dimension))
    return _simulate_flow(network, manifold, jnp.asarray(theta), jnp.asarray(times), rtol, atol)


def check_times(times: Float[Values, " time"]) -> None:
    """Raise unless `times` are finite, positive and increasing."""
    values = np.asarray(times)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all() or values[0] <= 0:
        raise InputError(f"`times` must be a row of finite times greater than 0; got {values!r}.")
    if (np.diff(values) <= 0).any():
        raise InputError("`times` must increase.")


@eqx.filter_jit
def _simulate_flow(
    network: Network, manifold: AbstractInputManifold, theta: Array, times: Array, rtol: float, atol: float
) -> Trajectory:
    flow, dtype = network.system, float_dtype(network)
    assert isinstance(flow, AbstractFlow)
    manifold, theta, times = cast(manifold, dtype), theta.astype(dtype), times.astype(dtype)

    def one(point: Array) -> tuple[Array, Array]:
        velocity = lambda t, x: flow.velocity(x, manifold.inputs(t, point))  # noqa: E731
        return solve_flow(velocity, network.x0, times, manifold.jump_times, rtol=rtol, atol=atol)

    states, solved = jax.vmap(one)(theta)
    outputs = network.readout(jax.vmap(jax.vmap(flow.rates))(states))
    inputs = jax.vmap(lambda point: jax.vmap(lambda t: manifold.inputs(t, point))(times))(theta)
    # what a failed solver did not reach is infinite: the failure is the cause, so it is what the status says
    return Trajectory(times, inputs, states, outputs, jnp.where(solved, _finite(states, outputs), SOLVER_FAILED))
