r"""What a network does, from its overlaps alone: reduced dynamics, transfer function, impulse response."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Complex, Float

from recurvature._errors import InputError, check_count, check_shape
from recurvature.lenses.overlaps.layout import BIAS, START, Layout
from recurvature.systems.gaussian import mean_slope


class StateSpace(eqx.Module):
    r"""$\dot\kappa = F\kappa + Gx$ (or $\kappa_{t+1} = F\kappa_t + Gx_t$), $y = C\kappa$."""

    transition: Float[Array, "k k"]
    input: Float[Array, "k d"]
    output: Float[Array, "o k"]

    def __check_init__(self) -> None:
        size = self.transition.shape[0]
        check_shape("transition", self.transition, (size, size))
        check_shape("input", self.input, (size, None))
        check_shape("output", self.output, (None, size))


def exponential(amplitude: float, rate: float) -> StateSpace:
    r"""The filter $k^*(t) = ae^{-ct}$, in continuous time."""
    return StateSpace(jnp.array([[-rate]], float), jnp.ones((1, 1)), jnp.array([[amplitude]], float))


def damped_oscillator(damping: float, frequency: float) -> StateSpace:
    r"""The filter $k^*(t) = e^{-\gamma t}\cos\omega t$, in continuous time."""
    transition = jnp.array([[-damping, -frequency], [frequency, -damping]], float)
    return StateSpace(transition, jnp.array([[1.0], [0.0]]), jnp.array([[1.0, 0.0]]))


@eqx.filter_jit
def state_space(overlaps: Float[Array, "a a"], layout: Layout, dt: float | None = None) -> StateSpace:
    r"""The reduced dynamics of the latent variables $\kappa = (\kappa^m, \kappa^u)$, exact for linear units.

    Continuous (docs eq. O.9), or for Euler steps of `dt` = $\alpha$ time constants; then the output is read after the
    step, $y_t = C\kappa_{t+1}$ (docs eq. O.10).
    """
    s, p = overlaps, layout.inputs
    drive = jnp.concatenate([s[layout.v, layout.m], s[layout.v, layout.u]], axis=1)
    size = p + layout.rank
    identity = jnp.eye(size, dtype=s.dtype)
    flow = jnp.concatenate([jnp.zeros((p, size), s.dtype), drive]) - identity
    output = jnp.concatenate([s[layout.z, layout.m], s[layout.z, layout.u]], axis=1)
    if dt is None:
        return StateSpace(flow, identity[:, :p], output)
    return StateSpace(identity + dt * flow, dt * identity[:, :p], output)


@eqx.filter_jit
def transfer(
    overlaps: Float[Array, "a a"],
    layout: Layout,
    frequencies: Complex[Array, " frequency"],
    dt: float | None = None,
) -> Complex[Array, "frequency o d"]:
    r"""The transfer function $H$ at complex `frequencies` (docs eq. O.11).

    Continuous: $H(s) = C(s - F)^{-1}G$, $s$ per time constant. In steps: $H(\zeta) = \sum_n\zeta^{-n}CF^nG$.
    """
    return transfer_of(state_space(overlaps, layout, dt), frequencies, dt)


def transfer_of(
    system: StateSpace, frequencies: Complex[Array, " frequency"], dt: float | None = None
) -> Complex[Array, "frequency o d"]:
    """The transfer function of any state space; arguments as for `transfer`."""
    identity = jnp.eye(system.transition.shape[0], dtype=frequencies.dtype)
    f, g, c = (part.astype(frequencies.dtype) for part in (system.transition, system.input, system.output))

    def at(s: Complex[Array, ""]) -> Complex[Array, "o d"]:
        resolvent = s * identity - f if dt is None else identity - f / s
        return c @ jnp.linalg.solve(resolvent, g)

    return jax.vmap(at)(frequencies)


def kernel(
    overlaps: Float[Array, "a a"],
    layout: Layout,
    times: Float[Array, " time"] | int,
    dt: float | None = None,
) -> Float[Array, "time o d"]:
    r"""The impulse response (docs eq. O.12): $Ce^{Ft}G$ at `times`, or $CF^nG/dt$ for the first `times` steps."""
    return response_of(state_space(overlaps, layout, dt), times, dt)


@eqx.filter_jit
def response_of(
    system: StateSpace, times: Float[Array, " time"] | int, dt: float | None = None
) -> Float[Array, "time o d"]:
    """The impulse response of any state space; arguments as for `kernel`."""
    if dt is None:
        if isinstance(times, int):
            raise InputError("in continuous time `times` is an array of times; for a number of steps pass `dt`.")
        return jax.vmap(lambda t: system.output @ jax.scipy.linalg.expm(system.transition * t) @ system.input)(times)
    if not isinstance(times, int):
        raise InputError("with `dt`, `times` is a number of steps.")
    check_count(times=times)

    def step(state: Array, _: None) -> tuple[Array, Array]:
        return system.transition @ state, system.output @ state

    return jax.lax.scan(step, system.input / dt, length=times)[1]


@eqx.filter_jit
def respond(
    overlaps: Float[Array, "a a"],
    layout: Layout,
    inputs: Float[Array, "time i"],
    dt: float,
    phi: str = "identity",
) -> Float[Array, "time o"]:
    r"""The outputs of the network to `inputs`: $O(T(p+R)^2)$ work, whatever the number of units.

    Exact for linear units (docs eq. O.10). With another `phi` the effective network of units whose weights are jointly
    Gaussian, every drive times the mean slope $g(\Delta)$ (docs eq. O.29): how far that holds, `closure` says.

    `inputs` has a column for every column of $M$, or for the channels alone where $M$ has a bias or a start: the bias
    is then held at 1 and the state begins at the start. It begins at zero otherwise.
    """
    inputs, start = completed(layout, inputs.astype(overlaps.dtype))
    s, p = overlaps, layout.inputs
    v, m, u = layout.v, layout.m, layout.u
    # the latent variables of the inputs do not depend on overlaps: only those of the recurrence are stepped with them
    driven = _filtered(inputs, start[:p], dt)
    drive = driven @ s[v, m].T
    if phi == "identity":
        latent = _stepped(lambda x, at: at[0] + _product(s[v, u], x), (drive[:-1],), start[p:], dt)
        return driven[1:] @ s[layout.z, m].T + latent @ s[layout.z, u].T
    slope = mean_slope(phi)
    square, cross = jnp.sum((driven @ s[m, m]) * driven, axis=1), 2 * driven @ s[m, u]

    def variance(x: Array, square: Array, cross: Array) -> Array:
        return square + jnp.sum(x * (cross + _product(s[u, u], x)))

    def recurrent(x: Array, at: tuple[Array, ...]) -> Array:
        return slope(variance(x, at[1], at[2])) * (at[0] + _product(s[v, u], x))

    latent = _stepped(recurrent, (drive[:-1], square[:-1], cross[:-1]), start[p:], dt)
    gain = slope(jax.vmap(variance)(latent, square[1:], cross[1:]))
    return gain[:, None] * (driven[1:] @ s[layout.z, m].T + latent @ s[layout.z, u].T)


def _filtered(inputs: Float[Array, "time i"], start: Float[Array, " i"], dt: float) -> Float[Array, "later i"]:
    r"""$\kappa^m$: the inputs through the leak of one unit, with the start in front."""
    return jnp.concatenate([start[None], _stepped(lambda _, x: x[0], (inputs,), start, dt)])


def _stepped(
    velocity: Callable[[Array, tuple[Array, ...]], Array],
    along: tuple[Array, ...],
    start: Float[Array, " k"],
    dt: float,
) -> Float[Array, "time k"]:
    """The states of $x + dt(v(x) - x)$ after every step, where the velocity sees its own row of `along`."""

    def step(x: Array, at: tuple[Array, ...]) -> tuple[Array, Array]:
        after = (1 - dt) * x + dt * velocity(x, at)
        return after, after

    return jax.lax.scan(step, start, along)[1]


def _product(matrix: Float[Array, "j k"], x: Float[Array, " k"]) -> Float[Array, " j"]:
    """A product with a matrix so small that a call of BLAS costs more than it does."""
    return jnp.sum(matrix * x[None], axis=1)


def completed(layout: Layout, inputs: Float[Array, "time d"]) -> tuple[Float[Array, "time i"], Float[Array, " k"]]:
    r"""Inputs with a column for every column of $M$, and the latent variables at the start."""
    columns, given = layout.columns[layout.m], inputs.shape[1]
    own = given == layout.channels < layout.inputs
    check_shape("inputs", inputs, (None, layout.channels if own else layout.inputs))
    start = [1.0 if own and name == START else 0.0 for name in columns] + [0.0] * layout.rank
    for name in columns[given:]:
        held = jnp.full((inputs.shape[0], 1), 1.0 if name == BIAS else 0.0, inputs.dtype)
        inputs = jnp.concatenate([inputs, held], axis=1)
    return inputs, jnp.asarray(start, inputs.dtype)


def sampled(target: StateSpace, dt: float) -> StateSpace:
    r"""A target in continuous time as one in steps, whose kernel is exactly $k^*(n\,dt)$: transition $e^{F^*dt}$."""
    transition = scipy.linalg.expm(np.asarray(target.transition) * dt).astype(target.transition.dtype)
    return StateSpace(jnp.asarray(transition), target.input * dt, target.output)


def difference(network: StateSpace, target: StateSpace) -> StateSpace:
    """The state space whose output is that of the network minus that of the target."""
    if network.input.shape[1] != target.input.shape[1] or network.output.shape[0] != target.output.shape[0]:
        raise InputError(
            f"the target has {target.input.shape[1]} inputs and {target.output.shape[0]} outputs, the network "
            f"{network.input.shape[1]} and {network.output.shape[0]}."
        )
    dtype: Any = network.transition.dtype
    transition = jax.scipy.linalg.block_diag(network.transition, target.transition.astype(dtype))
    inputs = jnp.concatenate([network.input, target.input.astype(dtype)])
    return StateSpace(transition, inputs, jnp.concatenate([network.output, -target.output.astype(dtype)], axis=1))


def coloured(system: StateSpace, correlation: float, dt: float | None) -> StateSpace:
    r"""`system` behind one more pole, which makes correlated noise of white noise (docs eq. O.59).

    $\dot\xi = (x-\xi)/\tau_c$ in front of the inputs, $\tau_c$ = `correlation`; in steps
    $\xi_t = \rho\xi_{t-1}+(1-\rho)x_t$ with $\rho = e^{-dt/\tau_c}$. Slow inputs pass as they are.
    """
    f, g, c = system.transition, system.input, system.output
    one, zero = jnp.eye(g.shape[1], dtype=f.dtype), jnp.zeros((g.shape[1], f.shape[0]), f.dtype)
    kept = -1 / correlation if dt is None else float(np.exp(-dt / correlation))
    # in steps the input of a step has passed the pole before it arrives
    arrives, enters, passes = (1.0, 1 / correlation, 0.0) if dt is None else (kept, 1 - kept, 1 - kept)
    return StateSpace(
        jnp.block([[f, arrives * g], [zero, kept * one]]),
        jnp.concatenate([passes * g, enters * one]),
        jnp.concatenate([c, jnp.zeros((c.shape[0], g.shape[1]), f.dtype)], axis=1),
    )
