r"""Linear recurrences: $x_{k+1} = Ax_k + Bu_k$ with a full, low-rank or diagonal complex $A$."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Complex, Float

from recurvature._errors import InputError, check_count, check_positive, check_shape
from recurvature._keys import PRNGKey, stream
from recurvature.systems.activations import Activation
from recurvature.systems.base import AbstractMap, Network
from recurvature.systems.connectivity import AbstractConnectivity, random_connectivity
from recurvature.systems.readout import random_gated_readout, random_readout


class LinearMap(AbstractMap):
    """$x_{k+1} = Ax_k + Bu_k$: $A$ is `connectivity`, $B$ is `input_weights` (N, inputs). The rates are the state."""

    connectivity: AbstractConnectivity
    input_weights: Float[Array, "n d"]
    dt: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        check_shape("input_weights", self.input_weights, (self.connectivity.size, None))
        check_positive(dt=self.dt)

    @property
    def state_size(self) -> int:
        """Number of units."""
        return self.connectivity.size

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.input_weights.shape[1]

    def rates(self, x: Float[Array, " n"]) -> Float[Array, " r"]:
        """The state."""
        return x

    def step(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        """$Ax + Bu$."""
        return self.connectivity(x) + u @ self.input_weights.T


class DiagonalMap(AbstractMap):
    r"""The linear recurrent unit: $z_{k+1} = \lambda\odot z_k + \gamma\odot(Bu_k)$ with complex $z$ in N modes.

    $\lambda = \exp(-e^\nu + ie^\vartheta)$, so $|\lambda| < 1$ whatever the weights, with $\nu$ = `log_decay`,
    $\vartheta$ = `log_phase`, $\gamma = e^{\text{log_scale}}$ and $B$ = `input_real` + i `input_imag` (N, inputs)
    (Orvieto et al. 2023, arXiv 2303.06349, sections 3.2-3.4).

    The state is real, $[\mathrm{Re}\,z; \mathrm{Im}\,z]$ of length 2N, and so are the rates: a readout
    $\mathrm{Re}(Cz)$ has the weights $[\mathrm{Re}\,C, -\mathrm{Im}\,C]$.
    """

    log_decay: Float[Array, " n"]
    log_phase: Float[Array, " n"]
    log_scale: Float[Array, " n"]
    input_real: Float[Array, "n d"]
    input_imag: Float[Array, "n d"]
    dt: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        check_shape("log_decay", self.log_decay, (None,))
        modes = self.log_decay.shape[0]
        check_shape("log_phase", self.log_phase, (modes,))
        check_shape("log_scale", self.log_scale, (modes,))
        check_shape("input_real", self.input_real, (modes, None))
        check_shape("input_imag", self.input_imag, tuple(self.input_real.shape))
        check_positive(dt=self.dt)

    @property
    def state_size(self) -> int:
        """Two numbers for each mode."""
        return 2 * self.log_decay.shape[0]

    @property
    def input_size(self) -> int:
        """Number of inputs."""
        return self.input_real.shape[1]

    @property
    def eigenvalues(self) -> Complex[Array, " n"]:
        r"""$\lambda$, one for each mode; as a real map the system has these and their conjugates."""
        modulus, phase = jnp.exp(-jnp.exp(self.log_decay)), jnp.exp(self.log_phase)
        return jax.lax.complex(modulus * jnp.cos(phase), modulus * jnp.sin(phase))

    def rates(self, x: Float[Array, " two_n"]) -> Float[Array, " r"]:
        """The real state."""
        return x

    def step(self, x: Float[Array, " two_n"], u: Float[Array, " d"]) -> Float[Array, " two_n"]:
        """Each mode turned, shrunk and driven."""
        real, imag = jnp.split(x, 2)
        modulus, phase, scale = jnp.exp(-jnp.exp(self.log_decay)), jnp.exp(self.log_phase), jnp.exp(self.log_scale)
        cos, sin = modulus * jnp.cos(phase), modulus * jnp.sin(phase)
        next_real = cos * real - sin * imag + scale * (u @ self.input_real.T)
        next_imag = sin * real + cos * imag + scale * (u @ self.input_imag.T)
        return jnp.concatenate([next_real, next_imag])


def linear(
    size: int,
    *,
    inputs: int,
    outputs: int,
    key: PRNGKey,
    dt: float = 1.0,
    rank: int | None = None,
    gain: float = 0.9,
) -> Network:
    r"""A random linear network, ready to train: $A\sim g\,\mathcal N(0,1/N)$ or low rank, $B\sim\mathcal N(0,1/d)$.

    A full $A$ has spectral radius `gain` (large N). The readout is $\mathcal N(0,1/N)$; the network starts at zero.
    """
    check_count(size=size, inputs=inputs, outputs=outputs)
    input_weights = jr.normal(stream(key, "input"), (size, inputs)) / jnp.sqrt(inputs)
    system = LinearMap(random_connectivity(size, rank=rank, gain=gain, key=key), input_weights, dt)
    return Network(system, random_readout(outputs, size, key=key), jnp.zeros(size))


def diagonal(
    size: int,
    *,
    inputs: int,
    outputs: int,
    key: PRNGKey,
    dt: float = 1.0,
    moduli: tuple[float, float] = (0.5, 0.99),
    max_phase: float = jnp.pi / 5,
) -> Network:
    r"""A random linear recurrent unit of `size` complex modes (a real state of twice that), ready to train.

    $|\lambda|^2$ is uniform between the squares of `moduli` (eigenvalues uniform on a ring), the phase uniform up to
    `max_phase` radians a step, $\gamma = \sqrt{1-|\lambda|^2}$ so that white input gives every mode the same variance
    (Orvieto et al. 2023, arXiv 2303.06349, sections 3.2-3.4; they take rings from 0 to 1 and phases up to 2π or π/10).
    """
    check_count(size=size, inputs=inputs, outputs=outputs)
    low, high = moduli
    if not 0 < low < high < 1:
        raise InputError(f"`moduli` must be two numbers with 0 < low < high < 1; got {moduli}.")
    check_positive(max_phase=max_phase)
    squared = jr.uniform(stream(key, "modulus"), (size,), minval=low**2, maxval=high**2)
    # the least positive phase keeps its logarithm finite
    phase = max_phase * jr.uniform(stream(key, "phase"), (size,), minval=jnp.finfo(squared.dtype).eps)
    real, imag = jr.normal(stream(key, "input"), (2, size, inputs)) / jnp.sqrt(2 * inputs)
    log_decay = jnp.log(-0.5 * jnp.log(squared))
    system = DiagonalMap(log_decay, jnp.log(phase), 0.5 * jnp.log1p(-squared), real, imag, dt)
    return Network(system, random_readout(outputs, 2 * size, key=key), jnp.zeros(2 * size))


def state_space(
    size: int,
    *,
    inputs: int,
    outputs: int,
    key: PRNGKey,
    dt: float = 1.0,
    gates: int | None = None,
    phi: str | Activation = "sigmoid",
    **ring: Any,
) -> Network:
    """A random state-space network, ready to train: a linear recurrent unit of `size` modes under a gated readout.

    `gates` is the width of the readout's gated layer (None: `size`), `phi` its gate; `ring` goes to `diagonal`.
    """
    network = diagonal(size, inputs=inputs, outputs=outputs, key=key, dt=dt, **ring)
    width = size if gates is None else gates
    readout = random_gated_readout(outputs, network.system.state_size, hidden=width, key=key, phi=phi)
    return Network(network.system, readout, network.x0)


def zero_order_hold(
    rates: Complex[Array, " n"], drive: Complex[Array, "n d"], *, interval: float | Float[Array, " n"], dt: float = 1.0
) -> DiagonalMap:
    r"""Modes in continuous time, $\dot z = Az + Bu$, under inputs that are constant over every step.

    With $A$ = diag(`rates`), $B$ = `drive` and $\Delta$ = `interval`, one for all modes or one for each:
    $\lambda = e^{\Delta A}$ and input weights $A^{-1}(e^{\Delta A} - 1)B$ (Gu et al. 2022, arXiv 2206.11893).
    Raises `InputError` unless modes decay, $\mathrm{Re}A < 0$, and turn forwards, $\mathrm{Im}A > 0$: of a conjugate
    pair the one mode that a real readout $\mathrm{Re}(Cz)$ needs.
    """
    if not (bool((rates.real < 0).all()) and bool((rates.imag > 0).all())):
        raise InputError("`rates` need negative real and positive imaginary parts: modes that decay and turn forwards.")
    held = jnp.broadcast_to(jnp.asarray(interval, rates.real.dtype), rates.shape)
    if not bool((held > 0).all()):
        raise InputError("`interval` must be greater than 0.")
    turned = jax.lax.complex(held, jnp.zeros_like(held)) * rates
    weights = (jnp.expm1(turned) / rates)[:, None] * drive
    phase = jnp.log(held * rates.imag)
    return DiagonalMap(jnp.log(-held * rates.real), phase, jnp.zeros_like(held), weights.real, weights.imag, dt)


def s4d(
    size: int,
    *,
    inputs: int,
    outputs: int,
    key: PRNGKey,
    dt: float = 1.0,
    intervals: tuple[float, float] = (0.05, 0.5),
) -> Network:
    r"""A diagonal state-space model held over its steps, ready to train: `size` complex modes shared among the inputs.

    Every input drives modes of its own, $A_n = -\tfrac12 + i\pi(n+\tfrac12)$ for its n-th, with $B = 1$ and a step
    $\Delta$ of its own, log-uniform between `intervals` (after S4D-Lin of Gu et al. 2022, arXiv 2206.11893). Weights
    from the other inputs start at 0. Readout $\mathcal N(0,1/2N)$ of the real state of 2N; the network starts at zero.
    """
    check_count(size=size, inputs=inputs, outputs=outputs)
    low, high = intervals
    if not 0 < low <= high:
        raise InputError(f"`intervals` must be two numbers with 0 < low <= high; got {intervals}.")
    span = jr.uniform(stream(key, "interval"), (inputs,), minval=jnp.log(low), maxval=jnp.log(high))
    mode = jnp.arange(size)
    channel, place = mode % inputs, (mode // inputs).astype(span.dtype)
    rates = jax.lax.complex(jnp.full(size, -0.5, span.dtype), jnp.pi * (place + 0.5))
    own = (channel[:, None] == jnp.arange(inputs)[None, :]).astype(span.dtype)
    drive = jax.lax.complex(own, jnp.zeros_like(own))
    system = zero_order_hold(rates, drive, interval=jnp.exp(span)[channel], dt=dt)
    return Network(system, random_readout(outputs, 2 * size, key=key), jnp.zeros(2 * size))
