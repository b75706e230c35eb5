"""What evolves: flows, maps and the network made of one of them, a readout and an initial state."""

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING

import equinox as eqx
import jax
from jaxtyping import Array, Float

from recurvature._errors import InputError, check_count, check_positive, check_shape
from recurvature.systems.readout import AbstractReadout


class AbstractSystem(eqx.Module):
    """Something with a state that an input drives. The state is one flat real vector."""

    # A field or a property of the final class; type checkers are told the read-only half of that.
    if TYPE_CHECKING:

        @property
        def state_size(self) -> int: ...  # noqa: D102

        @property
        def input_size(self) -> int: ...  # noqa: D102

    else:
        state_size: eqx.AbstractVar[int]
        input_size: eqx.AbstractVar[int]

    @abc.abstractmethod
    def rates(self, x: Float[Array, " n"]) -> Float[Array, " r"]:
        """What a readout sees of the state: firing rates, or the state itself."""


class AbstractFlow(AbstractSystem):
    r"""A system in continuous time, $\dot x = $ `velocity(x, u)`."""

    # A field or a property of the final class; type checkers are told the read-only half of that.
    if TYPE_CHECKING:

        @property
        def tau(self) -> float: ...  # noqa: D102

    else:
        tau: eqx.AbstractVar[float]

    @abc.abstractmethod
    def velocity(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        """The time derivative of the state, per unit of time (the unit in which `tau` is given)."""


class AbstractMap(AbstractSystem):
    """A system in discrete time, $x_{k+1} = $ `step(x_k, u_k)`; one step lasts `dt`."""

    # A field or a property of the final class; type checkers are told the read-only half of that.
    if TYPE_CHECKING:

        @property
        def dt(self) -> float: ...  # noqa: D102

    else:
        dt: eqx.AbstractVar[float]

    @abc.abstractmethod
    def step(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        """The state one step later."""


class Euler(AbstractMap):
    r"""The map $x + dt\,F(x, u)$ of a flow: the form in which most task networks are trained."""

    flow: AbstractFlow
    dt: float = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_positive(dt=self.dt)
        if self.dt > self.flow.tau:
            raise InputError(
                f"`dt` must lie in (0, tau]; got dt={self.dt}, tau={self.flow.tau}. Pass dt <= tau/10, or use the flow."
            )

    @property
    def state_size(self) -> int:
        """Length of the state."""
        return self.flow.state_size

    @property
    def input_size(self) -> int:
        """Length of the input."""
        return self.flow.input_size

    def rates(self, x: Float[Array, " n"]) -> Float[Array, " r"]:
        """The rates of the flow."""
        return self.flow.rates(x)

    def step(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        """One Euler step."""
        return x + self.dt * self.flow.velocity(x, u)


def _identity(x: Array) -> Array:
    return x


class FunctionMap(AbstractMap):
    """Any JAX function `step(x, u)` as a map."""

    function: Callable
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    dt: float = eqx.field(static=True, default=1.0)
    rate_function: Callable = _identity

    def __check_init__(self) -> None:
        check_count(state_size=self.state_size, input_size=self.input_size)
        check_positive(dt=self.dt)

    def rates(self, x: Float[Array, " n"]) -> Float[Array, " r"]:
        """`rate_function(x)`."""
        return self.rate_function(x)

    def step(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        """`function(x, u)`."""
        return self.function(x, u)


class FunctionFlow(AbstractFlow):
    """Any JAX function `velocity(x, u)` as a flow."""

    function: Callable
    state_size: int = eqx.field(static=True)
    input_size: int = eqx.field(static=True)
    tau: float = eqx.field(static=True, default=1.0)
    rate_function: Callable = _identity

    def __check_init__(self) -> None:
        check_count(state_size=self.state_size, input_size=self.input_size)
        check_positive(tau=self.tau)

    def rates(self, x: Float[Array, " n"]) -> Float[Array, " r"]:
        """`rate_function(x)`."""
        return self.rate_function(x)

    def velocity(self, x: Float[Array, " n"], u: Float[Array, " d"]) -> Float[Array, " n"]:
        """`function(x, u)`."""
        return self.function(x, u)


class Network(eqx.Module):
    """A system, what reads it out, and where it starts: what gets trained, saved and imported."""

    system: AbstractSystem
    readout: AbstractReadout
    x0: Float[Array, " n"]

    def __check_init__(self) -> None:
        check_shape("x0", self.x0, (self.system.state_size,))
        seen = jax.eval_shape(self.system.rates, self.x0).shape
        if seen != (self.readout.rate_size,):
            raise InputError(
                f"`readout` reads {self.readout.rate_size} rates, but the system gives rates of shape {seen}: "
                "the weights of a readout have shape (outputs, rates)."
            )

    def outputs(self, x: Float[Array, " n"]) -> Float[Array, " o"]:
        """$y = $ readout(rates(x)) for one state."""
        return self.readout(self.system.rates(x))
