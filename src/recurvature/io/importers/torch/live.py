"""Live modules: a PyTorch cell stepped and differentiated by PyTorch itself, inside any program of JAX."""

import copy
import dataclasses
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError, check_count, check_shape
from recurvature._result import Values
from recurvature.io.importers.torch import available
from recurvature.io.opening import one_line
from recurvature.systems.base import Network
from recurvature.systems.host import AbstractHostFunction, HostMap
from recurvature.systems.readout import LinearReadout

if TYPE_CHECKING:
    import torch

Step = Callable[[Any, "torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""From a module, states (batch, n) and inputs (batch, d) to the next states (batch, n)."""

_ONE_AT_A_TIME = threading.RLock()
"""PyTorch counts the levels of forward derivatives in one place for all threads."""
_SPACING, _AGREEMENT = 1e-6, 1e-4
"""Central differences at this spacing have errors of about its square and of rounding over it: far below the other."""
_EQUAL = 1e-9
"""Orders of summation differ with the size of a batch, by rounding; what is not the same differs by far more."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Held:
    """A private copy of a module, and how it steps. Equal to itself only."""

    module: Any
    step: Step
    state_size: int
    input_size: int

    def __call__(self, joined: "torch.Tensor") -> "torch.Tensor":
        """The step, of state and input joined."""
        return self.step(self.module, joined[:, : self.state_size], joined[:, self.state_size :])


@dataclasses.dataclass(frozen=True)
class _TorchFunction(AbstractHostFunction):
    """The step of a module, or the derivative (`push`) or its transpose (`pull`) `of` another such function."""

    held: _Held
    kind: Literal["step", "push", "pull"] = "step"
    of: "_TorchFunction | None" = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Lengths of the arguments."""
        if self.of is None:
            return (self.held.state_size + self.held.input_size,)
        return (*self.of.sizes, sum(self.of.sizes) if self.kind == "push" else self.of.size)

    @property
    def size(self) -> int:
        """Length of the value."""
        if self.of is None:
            return self.held.state_size
        return self.of.size if self.kind == "push" else sum(self.of.sizes)

    @property
    def transpose(self) -> "_TorchFunction | None":
        """`pull` of `push`, `push` of `pull`."""
        return (
            None if self.of is None else _TorchFunction(self.held, "pull" if self.kind == "push" else "push", self.of)
        )

    @property
    def push(self) -> "_TorchFunction":
        """The derivative of this function."""
        return _TorchFunction(self.held, "push", self)

    @property
    def tensors(self) -> Callable[..., "torch.Tensor"]:
        """The function of tensors."""
        import torch

        if self.of is None:
            return self.held
        inner, sizes = self.of.tensors, self.of.sizes

        def pushed(*arguments: "torch.Tensor") -> "torch.Tensor":
            tangents = arguments[-1].split(sizes, -1)
            return torch.func.jvp(inner, arguments[:-1], tangents)[1]

        def pulled(*arguments: "torch.Tensor") -> "torch.Tensor":
            return torch.cat(torch.func.vjp(inner, *arguments[:-1])[1](arguments[-1]), -1)

        return pushed if self.kind == "push" else pulled

    def __call__(self, *arguments: Float[np.ndarray, "row _"]) -> Float[np.ndarray, "row out"]:
        """The values in float64, one thread at a time."""
        import torch

        with _ONE_AT_A_TIME:
            # torch takes no memory that it may not write to, and a step may write to what it is given
            given = [torch.from_numpy(np.array(a)) for a in arguments]
            value: np.ndarray = self.tensors(*given).detach().numpy()
            return value


def wrap_torch(
    module: "torch.nn.Module",
    *,
    step: Step | None = None,
    state_size: int | None = None,
    input_size: int | None = None,
    rates: int | None = None,
    readout: "torch.nn.Linear | torch.Tensor | Float[Values, 'o r'] | None" = None,
    x0: "torch.Tensor | Float[Values, ' n'] | None" = None,
    dt: float = 1.0,
) -> Network:
    """A PyTorch module as a network, stepped and differentiated by PyTorch in this process.

    - `module`: `nn.RNNCell`, `nn.GRUCell` or `nn.LSTMCell`, of which all else is known (an LSTM's state joins
      `[h; c]`, and h is what a readout sees); or a module of your own with the three following.
    - `step(module, state, inputs)`: from states (batch, n) and inputs (batch, d) to the next states (batch, n).
    - `state_size`, `input_size`: n and d.
    - `rates`: how many of the first numbers of the state a readout sees; all of them unless said.
    - `readout`: a `nn.Linear`, weights (outputs, rates), or None for the rates themselves.
    - `x0`: where the network starts; zeros unless said. `dt`: how long one step is said to last.

    A copy of the module is taken, in float64, in evaluation mode, without gradients of its parameters; yours stays as
    it is. Derivatives of any order are PyTorch's own (`torch.func`). Every program that runs the network goes through
    Python at each step: where weights can be converted (`read_network`), that is many times faster.

    Raises `InputError` where PyTorch is missing, sizes do not fit, or a step is not a differentiable function of state
    and input alone: if it is random, keeps something from one call to the next, mixes the rows of a batch, or has
    derivatives that are not its own (surrogate gradients, detached tensors).
    """
    if not available():
        raise InputError("a live module needs PyTorch: `pip install 'recurvature[torch]'`.")
    function, seen = _function(module, step, state_size, input_size, rates)
    _check(function)
    n = function.size
    system = HostMap(function, seen, dt)
    start = np.zeros(n) if x0 is None else _numbers(x0)
    check_shape("x0", start, (n,))
    return Network(system, _readout(readout, seen), jnp.asarray(start, float))


def _function(
    module: Any, step: Step | None, state_size: int | None, input_size: int | None, rates: int | None
) -> tuple[_TorchFunction, int]:
    """The step of a private copy of the module, and how much of the state a readout sees."""
    import torch

    if not isinstance(module, torch.nn.Module):
        raise InputError(f"`module` must be a torch.nn.Module; got {type(module).__name__}. For JAX: FunctionMap.")
    if isinstance(module, torch.nn.RNNCellBase) and step is None:
        joined = isinstance(module, torch.nn.LSTMCell)
        step = _lstm_step if joined else _cell_step
        known = module.hidden_size * (2 if joined else 1), module.input_size
        for name, given, size in zip(("state_size", "input_size"), (state_size, input_size), known, strict=True):
            if given is not None and given != size:
                raise InputError(f"`{name}` of this {type(module).__name__} is {size}; got {given}. Leave it out.")
        state_size, input_size = known
        rates = module.hidden_size if rates is None else rates
    if step is None or state_size is None or input_size is None:
        raise InputError(
            f"`step`, `state_size` and `input_size` are needed for a {type(module).__name__}: pass "
            "`step=lambda module, state, inputs: ...` that gives the next states (batch, n)."
        )
    rates = state_size if rates is None else rates
    check_count(state_size=state_size, input_size=input_size, rates=rates)
    if rates > state_size:
        raise InputError(f"`rates` must be at most the length of the state, {state_size}; got {rates}.")
    try:
        own = copy.deepcopy(module).to("cpu", torch.float64).eval().requires_grad_(False)
    except Exception as error:
        raise InputError(f"`module` cannot be copied: {one_line(error)}. Detach what it holds first.") from error
    return _TorchFunction(_Held(own, step, int(state_size), int(input_size))), int(rates)


def _cell_step(module: Any, state: "torch.Tensor", inputs: "torch.Tensor") -> "torch.Tensor":
    new: torch.Tensor = module(inputs, state)
    return new


def _lstm_step(module: Any, state: "torch.Tensor", inputs: "torch.Tensor") -> "torch.Tensor":
    import torch

    return torch.cat(module(inputs, state.chunk(2, -1)), -1)


def _readout(readout: Any, seen: int) -> LinearReadout:
    import torch

    if readout is None:
        return LinearReadout(jnp.eye(seen, dtype=float))
    if not isinstance(readout, torch.nn.Module):
        return LinearReadout(jnp.asarray(_numbers(readout), float))
    if not isinstance(readout, torch.nn.Linear):
        raise InputError(f"`readout` must be a torch.nn.Linear or a matrix; got {type(readout).__name__}.")
    weight, bias = (None if t is None else jnp.asarray(_numbers(t), float) for t in (readout.weight, readout.bias))
    return LinearReadout(weight, bias)


def _numbers(values: Any) -> np.ndarray:
    """A copy in float64, of a tensor of any device and kind too."""
    import torch

    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    return np.array(values, np.float64)


def _check(function: _TorchFunction) -> None:
    """Raise unless the step is a function of state and input alone, row by row, with derivatives of its own."""
    import torch

    rng = np.random.default_rng(0)
    point, along = rng.standard_normal((2, 3, *function.sizes))
    before = {name: buffer.clone() for name, buffer in function.held.module.named_buffers()}
    with torch.random.fork_rng(devices=[]):
        # of the CPU, where the copy is: `torch.manual_seed` would seed the generators of other devices for good
        torch.default_generator.manual_seed(1)
        first = _tried(function, point)
        torch.default_generator.manual_seed(2)
        again = _tried(function, point)
    after = dict(function.held.module.named_buffers())
    changed = [name for name, buffer in before.items() if not torch.equal(buffer, after[name])]
    if changed:
        raise InputError(
            f"`module` changes its buffer {changed[0]!r} when called: make what it keeps part of the state."
        )
    if not np.array_equal(first, again):
        raise InputError("`module` answers the same call differently: it is random, or keeps something of its own.")
    alone = np.concatenate([_tried(function, row[None]) for row in point])
    if not np.allclose(first, alone, rtol=_EQUAL, atol=_EQUAL):
        raise InputError("`step` mixes the rows of a batch, which must be states of their own.")
    _check_derivatives(function, point, along)


def _tried(function: _TorchFunction, *arguments: np.ndarray) -> np.ndarray:
    rows = len(arguments[0])
    try:
        value = function(*arguments)
    except Exception as error:
        raise InputError(
            f"`step` fails on states ({rows}, {function.held.state_size}) and inputs "
            f"({rows}, {function.held.input_size}) in float64: {one_line(error)}."
        ) from error
    if value.shape != (rows, function.size) or value.dtype != np.float64 or not np.isfinite(value).all():
        raise InputError(
            f"`step` must give finite float64 states of shape ({rows}, {function.size}); "
            f"got {value.dtype} of shape {value.shape}{'' if np.isfinite(value).all() else ' with NaN or infinity'}."
        )
    return value


def _check_derivatives(function: _TorchFunction, point: np.ndarray, along: np.ndarray) -> None:
    """Forward against central differences, then reverse against forward."""
    try:
        with warnings.catch_warnings():
            # PyTorch says it of itself, when it first makes a forward derivative
            warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
            pushed = function.push(point, along)
        pulled = function.push.transpose(point, pushed)  # type: ignore[misc]
    except Exception as error:
        raise InputError(f"`step` cannot be differentiated by torch.func: {one_line(error)}.") from error
    differences = (function(point + _SPACING * along) - function(point - _SPACING * along)) / (2 * _SPACING)
    size = max(float(np.abs(differences).max()), 1.0)
    if not np.abs(pushed - differences).max() <= _AGREEMENT * size:
        raise InputError(
            "`step` has derivatives that are not its own (a surrogate gradient, a detached tensor?): they differ from "
            f"differences of the step by {np.abs(pushed - differences).max() / size:.1e}."
        )
    forward, reverse = (pushed * pushed).sum(-1), (pulled * along).sum(-1)
    if not np.allclose(forward, reverse, rtol=_EQUAL, atol=_EQUAL * size**2):
        raise InputError("`step` has a reverse derivative that is not the transpose of the forward one.")
