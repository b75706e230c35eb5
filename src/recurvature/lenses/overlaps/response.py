r"""What a network does, from its overlaps alone: reduced dynamics, transfer function, impulse response."""

import functools
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
from recurvature.systems.gaussian import Slope, mean_slope


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
    overlaps: Float[Array, "*population a a"],
    layout: Layout,
    inputs: Float[Array, "*trial time i"],
    dt: float,
    phi: str = "identity",
    *,
    fractions: Float[Array, " population"] | None = None,
) -> Float[Array, "*trial time o"]:
    r"""The outputs of the network to `inputs`: $O(T(p+R)^2)$ work a trial, whatever the number of units.

    Exact for linear units (docs eq. O.10). With another `phi` the effective network of units whose weights are jointly
    Gaussian, every drive times the mean slope $g(\Delta)$ (docs eq. O.29): how far that holds, `closure` says. With
    `fractions` that of several populations, each with overlaps of its own (docs eq. O.48).

    `inputs` has a column for every column of $M$, or for the channels alone where $M$ has a bias or a start: the bias
    is then held at 1 and the state begins at the start. It begins at zero otherwise.
    """
    inputs, start = completed(layout, inputs.astype(overlaps.dtype))
    # time first and trials last: a step is one sweep over all trials
    along = jnp.moveaxis(inputs.reshape(-1, *inputs.shape[-2:]), 0, 2)
    begin = jnp.broadcast_to(start[:, None], (len(start), along.shape[2]))
    driven = _filtered(along, begin[: layout.inputs], dt)
    several = overlaps[None] if fractions is None else overlaps
    share = jnp.ones((1, 1, 1), overlaps.dtype) if fractions is None else fractions[:, None, None]
    _, outputs = jax.lax.scan(
        _stepped(several, share, layout, dt, mean_slope(phi), along.shape[2]), begin[layout.inputs :], driven
    )
    # what is read at the start is no output
    return jnp.moveaxis(outputs[1:], 2, 0).reshape(*inputs.shape[:-1], layout.outputs)


def _filtered(inputs: Float[Array, "time i trial"], start: Float[Array, "i trial"], dt: float) -> Float[Array, "..."]:
    r"""$\kappa^m$: the inputs through the leak of one unit, with the start in front. No overlap enters."""

    def step(x: Array, u: Array) -> tuple[Array, Array]:
        after = (1 - dt) * x + dt * u
        return after, after

    return jnp.concatenate([start[None], jax.lax.scan(step, start, inputs)[1]])


def _stepped(
    overlaps: Float[Array, "population a a"],
    share: Float[Array, "population 1 1"],
    layout: Layout,
    dt: float,
    slope: Slope,
    trials: int,
) -> Callable[[Array, Array], tuple[Array, Array]]:
    r"""From $\kappa^u$ and $\kappa^m$ of all trials: $\kappa^u$ a step later, and what is read now.

    Every trial has a copy of the overlaps, so that their gradients add up in sweeps as well. What a step has computed
    is computed again on the way back: that is cheaper than to keep it.
    """
    s, z, v, m, u = overlaps, layout.z, layout.v, layout.m, layout.u
    blocks = s[:, z, m], s[:, z, u], s[:, v, m], s[:, v, u], s[:, m, m], 2 * s[:, u, m], s[:, u, u]
    copies = tuple(jnp.broadcast_to(block[..., None], (*block.shape, trials)) for block in blocks)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def step(x: Array, driven: Array, copies: tuple[Array, ...]) -> tuple[Array, Array]:
        zm, zu, vm, vu, mm, um, uu = copies
        variance = jnp.sum(driven[None] * _product(mm, driven), axis=1)
        variance = variance + jnp.sum(x[None] * (_product(um, driven) + _product(uu, x)), axis=1)
        gain = share * slope(variance)[:, None]
        drive = jnp.sum(gain * (_product(vm, driven) + _product(vu, x)), axis=0)
        return (1 - dt) * x + dt * drive, jnp.sum(gain * (_product(zm, driven) + _product(zu, x)), axis=0)

    return lambda x, driven: step(x, driven, copies)


def _product(matrix: Float[Array, "population j k trial"], x: Float[Array, "k trial"]) -> Float[Array, "..."]:
    """Products with matrices so small that a call of BLAS costs more than they do, trial by trial."""
    return jnp.sum(matrix * x[None, None], axis=2)


def completed(
    layout: Layout, inputs: Float[Array, "*trial time d"]
) -> tuple[Float[Array, "*trial time i"], Float[Array, " k"]]:
    r"""Inputs with a column for every column of $M$, and the latent variables at the start."""
    columns, given = layout.columns[layout.m], inputs.shape[-1]
    own = given == layout.channels < layout.inputs
    check_shape("inputs", inputs, (*inputs.shape[:-1], layout.channels if own else layout.inputs))
    start = [1.0 if own and name == START else 0.0 for name in columns] + [0.0] * layout.rank
    for name in columns[given:]:
        held = jnp.full((*inputs.shape[:-1], 1), 1.0 if name == BIAS else 0.0, inputs.dtype)
        inputs = jnp.concatenate([inputs, held], axis=-1)
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
