r"""The latent processing unit of a low-rank network: few variables, how they are read from units and sent back."""

import abc
from typing import Any, Literal, NoReturn

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_choice, check_positive, check_shape
from recurvature._precision import float_dtype
from recurvature.systems.activations import Activation, activation
from recurvature.systems.base import AbstractFlow, AbstractMap, AbstractSystem, Euler, Network
from recurvature.systems.connectivity import LowRank, Normalisation
from recurvature.systems.latent import FilteredLatentFlow, LatentFlow
from recurvature.systems.leaky import LeakyCurrent, LeakyRate
from recurvature.systems.multi_synapse import MultiSynapse, MultiSynapseLatentFlow

Form = Literal["rate", "current"]
FORMS: dict[str, type[LeakyRate] | type[LeakyCurrent]] = {"rate": LeakyRate, "current": LeakyCurrent}


class AbstractUnit(eqx.Module):
    r"""Few variables $\kappa$ that follow an equation of their own, and rates at rest that are a function of them."""

    flow: eqx.AbstractVar[LeakyRate | LeakyCurrent | MultiSynapse]
    """The network that they are those of."""
    dt: eqx.AbstractVar[float | None]
    """Its step; None: continuous time."""

    @property
    @abc.abstractmethod
    def variables(self) -> AbstractFlow:
        """Their equation in continuous time."""

    @property
    @abc.abstractmethod
    def rank(self) -> int:
        """How many variables there are, K."""

    @property
    @abc.abstractmethod
    def encoding(self) -> Float[Array, "k n"]:
        r"""$\mathbf N$: row k reads variable k from the rates."""

    @abc.abstractmethod
    def encode(self, rates: Float[Array, "*batch n"]) -> Float[Array, "*batch k"]:
        r"""$\kappa = \mathbf Nr$."""

    @abc.abstractmethod
    def rates(
        self, kappa: Float[Array, "*batch k"], u: Float[Array, "*batch d"] | Float[Array, " d"] | None = None
    ) -> Float[Array, "*batch n"]:
        r"""The rates at rest with these $\kappa$ under one input, or one for each $\kappa$ (None: zero)."""

    @property
    def form(self) -> Form:
        """Whether the states of the network are rates or currents."""
        return "current" if isinstance(self.flow, LeakyCurrent) else "rate"

    @property
    def system(self) -> AbstractFlow | AbstractMap:
        r"""The variables as a system: $\kappa$ (rate form), or $[\kappa; v]$ with the filtered input (current form)."""
        return self.variables if self.dt is None else Euler(self.variables, self.dt)

    def field(self, kappa: Float[Array, " k"], u: Float[Array, " d"]) -> Float[Array, " k"]:
        r"""$\dot\kappa$ under an input at rest; in the current form $v = u$."""
        return (self.encode(self.rates(kappa, u)) - kappa) / self.flow.tau

    @abc.abstractmethod
    def lift(
        self, kappa: Float[Array, "*batch k"], u: Float[Array, "*batch d"] | Float[Array, " d"] | None = None
    ) -> Float[Array, "*batch n"]:
        r"""The states at rest with these $\kappa$."""

    @abc.abstractmethod
    def project(self, states: Float[Array, "*batch n"]) -> Float[Array, "*batch k"]:
        """The variables of states."""


class LatentUnit(AbstractUnit):
    r"""K variables $\kappa$, encoded by $\mathbf N$ (K, N) and embedded by $M$ (N, K) (docs eq. L.1–L.7).

    `flow` is the low-rank network that they are those of, `dt` its step (None: continuous time). Both normalisations
    are one unit: `encoding` has the 1/N inside where `flow.connectivity.normalisation` is `"1/N"`.
    """

    flow: LeakyRate | LeakyCurrent
    dt: float | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if not isinstance(self.flow.connectivity, LowRank):
            raise InputError("`flow` must be low rank to have latent variables; reduce it with `latent.extract`.")
        if self.dt is not None:
            Euler(self.flow, self.dt)

    @property
    def connectivity(self) -> LowRank:
        """The factors, as the network has them."""
        assert isinstance(self.flow.connectivity, LowRank)
        return self.flow.connectivity

    @property
    def embedding(self) -> Float[Array, "n k"]:
        r"""$M$: row i is how unit i is driven by the latent variables."""
        return self.connectivity.left

    @property
    def encoding(self) -> Float[Array, "k n"]:
        r"""$\mathbf N$: row k reads variable k from the rates."""
        return self.connectivity.right.T * self.connectivity.scale

    @property
    def variables(self) -> AbstractFlow:
        r"""$\kappa$ (rate form), or $[\kappa; v]$ with the filtered input (current form)."""
        return LatentFlow(self.flow) if isinstance(self.flow, LeakyRate) else FilteredLatentFlow(self.flow)

    @property
    def rank(self) -> int:
        """Of the weights."""
        return self.connectivity.rank

    def encode(self, rates: Float[Array, "*batch n"]) -> Float[Array, "*batch k"]:
        r"""$\kappa = \mathbf Nr$."""
        return self.connectivity.encode(rates)

    def currents(
        self, kappa: Float[Array, "*batch k"], u: Float[Array, "*batch d"] | Float[Array, " d"] | None = None
    ) -> Float[Array, "*batch n"]:
        r"""$M\kappa + W_\mathrm{in}u + b$ under one input, or one for each $\kappa$ (None: zero)."""
        embedded = self.connectivity.embed(kappa)
        drive = self.flow.bias
        if u is not None:
            given = u @ self.flow.input_weights.T
            drive = given + jnp.broadcast_to(drive, given.shape)
        return embedded + jnp.broadcast_to(drive, embedded.shape)

    def lift(
        self, kappa: Float[Array, "*batch k"], u: Float[Array, "*batch d"] | Float[Array, " d"] | None = None
    ) -> Float[Array, "*batch n"]:
        r"""The states at rest with these $\kappa$: the rate of every unit, or its current."""
        return self.rates(kappa, u) if self.form == "rate" else self.currents(kappa, u)

    def rates(
        self, kappa: Float[Array, "*batch k"], u: Float[Array, "*batch d"] | Float[Array, " d"] | None = None
    ) -> Float[Array, "*batch n"]:
        r"""$\phi(M\kappa + W_\mathrm{in}u + b)$: the tuning of every unit (docs eq. L.5)."""
        return activation(self.flow.phi)(self.currents(kappa, u))

    def project(self, states: Float[Array, "*batch n"]) -> Float[Array, "*batch k"]:
        r"""$\kappa = \mathbf Nr$ (rate form), or $[\kappa; v] = [M\ W_\mathrm{in}]^+(x - b)$ (docs eq. L.8)."""
        if self.form == "rate":
            return self.connectivity.encode(states)
        planes = jnp.concatenate([self.embedding, self.flow.input_weights], axis=1)
        return (states - jnp.broadcast_to(self.flow.bias, states.shape)) @ jnp.linalg.pinv(planes).T


class SynapsesUnit(AbstractUnit):
    r"""$\kappa_l = \mathbf N_lr$ of every synapse, side by side; $r = f(M_1\kappa_1 + \ldots, \ldots)$ (docs eq. L.27).

    Rates depend on an embedding for each synapse and on what joins their currents. There is no single M, so that
    drift of M, changes of coordinates, copies of neurons and laws of sampling are refused.
    """

    flow: MultiSynapse
    dt: float | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        self.system  # noqa: B018

    @property
    def variables(self) -> MultiSynapseLatentFlow:
        """Their equation."""
        return MultiSynapseLatentFlow(self.flow)

    @property
    def ranks(self) -> tuple[int, ...]:
        """How many variables every synapse has."""
        return tuple(synapse.rank for synapse in self.variables.synapses)

    @property
    def rank(self) -> int:
        """All of them."""
        return sum(self.ranks)

    @property
    def connectivity(self) -> NoReturn:
        """Refused: there is one for each synapse."""
        raise InputError(
            f"a unit of {len(self.ranks)} synapses has no embedding of its own but one for each: this is for networks "
            "of one. Use `rates`, `encode`, `field`, `latent.rollout` or `latent.spectrum`, or perturb `flow` itself."
        )

    embedding = connectivity

    @property
    def encoding(self) -> Float[Array, "k n"]:
        r"""The rows $\mathbf N_l$ of all synapses."""
        return self.variables.encoding

    def encode(self, rates: Float[Array, "*batch n"]) -> Float[Array, "*batch k"]:
        r"""$\kappa_l = \mathbf N_lr$."""
        return self.variables.encode(rates)

    def rates(
        self, kappa: Float[Array, "*batch k"], u: Float[Array, "*batch d"] | Float[Array, " d"] | None = None
    ) -> Float[Array, "*batch n"]:
        r"""$f(M_1\kappa_1 + W_\mathrm{in,1}u + b_1, \ldots)$: the tuning of every unit."""
        given = jnp.zeros(self.flow.input_size, kappa.dtype) if u is None else u
        inputs = jnp.broadcast_to(given, (*kappa.shape[:-1], self.flow.input_size))
        return jnp.vectorize(self.variables.lift, signature="(k),(d)->(n)")(kappa, inputs)

    def lift(
        self, kappa: Float[Array, "*batch k"], u: Float[Array, "*batch d"] | Float[Array, " d"] | None = None
    ) -> Float[Array, "*batch n"]:
        """The rates."""
        return self.rates(kappa, u)

    def project(self, states: Float[Array, "*batch n"]) -> Float[Array, "*batch k"]:
        r"""$\kappa_l = \mathbf N_lr$."""
        return self.encode(states)


def unit(network: Network | AbstractSystem | AbstractUnit) -> LatentUnit | SynapsesUnit:
    r"""The latent unit of a low-rank leaky network or of one with several low-rank synapses, exactly as it stands.

    Raises `InputError` for dense networks (see `extract`) and for systems whose variables would not close on
    themselves: gates, units with time constants of their own, or anything that is not leaky (docs eq. L.9).
    """
    if isinstance(network, LatentUnit | SynapsesUnit):
        return network
    flow, dt = flow_and_step(network)
    if isinstance(flow, MultiSynapse):
        return SynapsesUnit(flow, dt)
    if not isinstance(flow.connectivity, LowRank):
        raise InputError("the network is dense: it has no latent unit of its own. Use `latent.extract`.")
    return LatentUnit(flow, dt)


def leaky_unit(network: Network | AbstractSystem | AbstractUnit) -> LatentUnit:
    """The same of a leaky network alone. Raises `InputError` for several synapses too."""
    found = unit(network)
    return found if isinstance(found, LatentUnit) else found.connectivity


def flow_and_step(network: Any) -> tuple[LeakyRate | LeakyCurrent | MultiSynapse, float | None]:
    """The leaky flow of a network or system, or that of several synapses, and its step. Raises `InputError`."""
    system = network.system if isinstance(network, Network) else network
    flow, dt = (system.flow, system.dt) if isinstance(system, Euler) else (system, None)
    if not isinstance(flow, LeakyRate | LeakyCurrent | MultiSynapse):
        raise InputError(
            f"latent units are those of leaky networks whose units share one time constant; got "
            f"{type(flow).__name__}. For other systems use `dynamics` and `measures`."
        )
    return flow, dt


def from_encoding(embedding: Float[Any, "n k"], encoding: Float[Any, "k n"], **options: Any) -> LatentUnit:
    r"""A unit of given $M$ (N, K) and $\mathbf N$ (K, N), $W = M\mathbf N$; options as for `from_mean_convention`."""
    return from_mean_convention(embedding, jnp.asarray(encoding).T, normalisation="1", **options)


def from_mean_convention(
    embedding: Float[Any, "n k"],
    vectors: Float[Any, "n k"],
    *,
    input_weights: Float[Any, "n d"] | None = None,
    bias: Float[Any, " n"] | None = None,
    form: Form = "rate",
    phi: str | Activation = "tanh",
    tau: float = 1.0,
    dt: float | None = None,
    normalisation: Normalisation = "1/N",
) -> LatentUnit:
    r"""A unit of vectors with entries of order one: $\kappa = \frac1N\sum_in_ir_i$, $W = M n^\top/N$ (docs eq. L.2).

    Keep this tag where units are resampled, tiled or left out: there the factor 1/N changes, and with it the dynamics.
    Without `input_weights` there are no inputs, without `bias` it is zero. `dt` is the Euler step (None: a flow).
    """
    check_choice("form", form, FORMS)
    check_positive(tau=tau)
    left, right = jnp.asarray(embedding), jnp.asarray(vectors)
    check_shape("embedding", left, (None, None))
    n = left.shape[0]
    driven = jnp.zeros((n, 0), left.dtype) if input_weights is None else jnp.asarray(input_weights)
    offset = jnp.zeros(n, left.dtype) if bias is None else jnp.asarray(bias)
    return LatentUnit(FORMS[form](LowRank(left, right, normalisation), driven, offset, phi, tau), dt)


def split(
    network: Network | AbstractSystem | AbstractUnit, rates: Float[Any, "*batch n"]
) -> tuple[Float[np.ndarray, "*batch n"], Float[np.ndarray, "*batch n"]]:
    r"""Rates as $Pr + (1-P)r$, $P = \mathbf N^+\mathbf N$: what the variables see and the rest (docs eq. L.10).

    The N × N projector is not formed. In a rate network a difference of two states outside fades as $e^{-t/\tau}$, by
    $1-\alpha$ in every step, and moves no latent variable (docs eq. L.11).
    """
    found = unit(network)
    values = np.asarray(rates)
    check_shape("rates", values, (*values.shape[:-1], found.flow.state_size))
    basis = row_space(found)
    inside = (values @ basis) @ basis.T
    return inside, values - inside


def at_rest(found: AbstractUnit, states: Float[Any, "*batch n"]) -> Float[Array, "*batch k"]:
    r"""$\kappa = \mathbf Nr$ of states at rest, whichever form they are of."""
    return found.encode(rates_of(found, states))


def rates_of(found: AbstractUnit, states: Float[Any, "*batch n"]) -> Float[Array, "*batch n"]:
    """The rates of states with any leading axes."""
    values = jnp.asarray(states, float_dtype(found.flow))
    return activation(found.flow.phi)(values) if isinstance(found.flow, LeakyCurrent) else values


def row_space(found: AbstractUnit) -> Float[np.ndarray, "n k"]:
    r"""Orthonormal columns that span the rows of $\mathbf N$, dependent rows counted once."""
    return spanned(np.asarray(found.encoding))


def spanned(rows: Float[np.ndarray, "k n"]) -> Float[np.ndarray, "n j"]:
    """Orthonormal columns that span rows, dependent ones counted once."""
    left, strengths, _ = np.linalg.svd(rows.T, full_matrices=False)
    # rounding of the singular values of an N × K matrix
    floor = strengths.max(initial=0) * max(rows.shape) * np.finfo(strengths.dtype).eps
    return left[:, strengths > floor]
