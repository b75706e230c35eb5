"""Leaky networks as labs store them: `W_rec`, `W_in`, `W_out` and their usual other names."""

import re

import jax.numpy as jnp
import numpy as np

from recurvature._errors import InputError
from recurvature.io.layouts.ledger import Ledger
from recurvature.systems import (
    Dense,
    Euler,
    LeakyCurrent,
    LeakyRate,
    LinearReadout,
    Network,
    activation,
)

ALIASES: dict[str, tuple[str, ...]] = {
    "W_rec": ("wrec", "j", "w", "whh", "wrecurrent", "recurrentweights", "recurrentweight", "h2hweight", "recweight"),
    "W_in": ("win", "wi", "wih", "winput", "inputweights", "inputweight", "input2hweight", "i2hweight", "inweight"),
    "W_out": (
        *("wout", "wo", "woutput", "outputweights", "outputweight", "outweight", "readoutweight", "readoutweights"),
        *("fcweight", "h2oweight", "decoderweight"),
    ),
    "b": ("b", "brec", "bias", "bh", "bhh", "h2hbias", "recbias", "recurrentbias"),
    "b_in": ("bin", "bi", "bih", "input2hbias", "i2hbias", "inputbias", "inbias"),
    "b_out": ("bout", "bo", "fcbias", "outputbias", "outbias", "readoutbias", "h2obias", "decoderbias"),
    "x0": ("x0", "h0", "r0", "initialstate"),
    "tau": ("tau", "timeconstant"),
    "dt": ("dt", "deltat", "timestep"),
    "alpha": ("alpha",),
}
"""Role -> names it goes by, in small letters without punctuation, with any module before them."""

_DEFAULT_DT = 0.2


def fits(names: set[str]) -> bool:
    """Whether recurrent and input weights are among the names."""
    roles = {role for name in names for role in [role_of(name)] if role}
    return {"W_rec", "W_in"} <= roles


def role_of(name: str) -> str | None:
    """The role of a tensor of that name, or None."""
    parts = name.split(".")
    for start in range(len(parts)):
        plain = re.sub(r"[^a-z0-9]", "", "".join(parts[start:]).lower())
        for role, names in ALIASES.items():
            if plain in names:
                return role
    return None


def read(ledger: Ledger) -> tuple[Network, str]:
    """The network and the name of its layout. Raises `InputError` where an axis cannot be told from the shapes."""
    names = _names(ledger)
    size = _size(ledger, names["W_rec"])
    flip = _flipped(ledger, names, size)
    recurrent = _recurrent(ledger, names["W_rec"], size, flip)
    weights = _matrix(ledger, names["W_in"], "W_in", "input weights (units, inputs)", size, 0, flip)
    bias = _bias(ledger, names, size)
    flow = _form(ledger)(Dense(jnp.asarray(recurrent)), jnp.asarray(weights), bias, _phi(ledger), _tau(ledger, names))
    system = Euler(flow, _dt(ledger, names, flow.tau))
    readout = _readout(ledger, names, size, flip)
    start = np.zeros(size, ledger.dtype)
    if "x0" in names:
        start = _vector(ledger, names["x0"], "x0", "initial state", size)
    return Network(system, readout, jnp.asarray(start)), f"leaky-{ledger.options.form}"


def _names(ledger: Ledger) -> dict[str, str]:
    """Tensor name by role; each role once."""
    names: dict[str, str] = {}
    for name in ledger.tensors:
        role = role_of(name)
        if role in names:
            raise InputError(
                f"`{names[role]}` and `{name}` could both be {role}; say which with a mapping {{{role!r}: '…'}}."
            )
        if role:
            names[role] = name
    return names


def _size(ledger: Ledger, name: str) -> int:
    shape = ledger.shape(name)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise InputError(f"`{name}` (recurrent weights) must be square; got shape {shape}.")
    return shape[0]


def _flipped(ledger: Ledger, names: dict[str, str], size: int) -> bool:
    """Whether weights are stored pre × post. The shapes must say post × pre, or the option must say what they are."""
    stated = ledger.options.orientation
    if stated is not None:
        ledger.settings |= {"orientation": stated}
        return stated == "pre-post"
    told = False
    for role, axis in (("W_in", 0), ("W_out", 1)):
        shape = ledger.shape(names[role]) if role in names else ()
        if len(shape) != 2 or size not in shape:
            continue
        if shape[0] == shape[1]:
            raise InputError(
                f"`{names[role]}` has shape {shape}: which axis is the units cannot be told. "
                "Say so with the option orientation='post-pre' (W @ r) or 'pre-post' (r @ W)."
            )
        if shape[axis] != size:
            raise InputError(
                f"`{names[role]}` has shape {shape}, so the weights seem to be pre × post (r @ W). If all are, pass "
                f"orientation='pre-post'; if only this one is, pass a mapping {{{role!r}: '{names[role]}.T'}}."
            )
        told = True
    because = ", as the other weights are" if told else "; nothing in the file tells"
    ledger.note(f"recurrent weights are square: post × pre (W @ r) was taken{because}")
    ledger.settings |= {"orientation": "post-pre"}
    return False


def _recurrent(ledger: Ledger, name: str, size: int, flip: bool) -> np.ndarray:
    raw = ledger.tensors[name]
    meaning = "recurrent weights" + (", transposed to post × pre" if flip else ", post × pre")
    return ledger.enter(name, "W_rec", meaning, raw.T if flip else raw)


def _matrix(ledger: Ledger, name: str, role: str, meaning: str, size: int, axis: int, flip: bool) -> np.ndarray:
    """A weight matrix with the units along `axis` once it is post × pre; one channel may be stored as a vector."""
    raw = ledger.tensors[name]
    if raw.shape == (size,):
        ledger.note(f"`{name}` is a vector: one channel")
        raw = np.expand_dims(raw, 1 - axis)
    elif flip and raw.ndim == 2:
        raw = raw.T
        meaning += ", transposed"
    if raw.ndim != 2 or raw.shape[axis] != size:
        raise InputError(f"`{name}` ({meaning}) must have one axis of {size} units; got {ledger.shape(name)}.")
    return ledger.enter(name, role, meaning, raw)


def _vector(ledger: Ledger, name: str, role: str, meaning: str, size: int) -> np.ndarray:
    raw = ledger.tensors[name]
    if raw.size != size or max(raw.shape, default=0) != size:
        raise InputError(f"`{name}` ({meaning}) must have shape ({size},); got {raw.shape}.")
    return ledger.enter(name, role, meaning, raw.reshape(size))


def _bias(ledger: Ledger, names: dict[str, str], size: int) -> jnp.ndarray:
    bias = np.zeros(size, ledger.dtype)
    for role, meaning in (("b", "bias"), ("b_in", "bias beside the input weights, added to the other")):
        if role in names:
            bias = bias + _vector(ledger, names[role], role, meaning, size)
    return jnp.asarray(bias)


def _readout(ledger: Ledger, names: dict[str, str], size: int, flip: bool) -> LinearReadout:
    if "W_out" not in names:
        ledger.note("no readout in the file: the outputs are the rates of all units")
        return LinearReadout(jnp.eye(size, dtype=ledger.dtype))
    weight = _matrix(ledger, names["W_out"], "W_out", "output weights (outputs, units)", size, 1, flip)
    if "b_out" not in names:
        return LinearReadout(jnp.asarray(weight))
    bias = _vector(ledger, names["b_out"], "b_out", "output bias", weight.shape[0])
    return LinearReadout(jnp.asarray(weight), jnp.asarray(bias))


def _form(ledger: Ledger) -> type[LeakyCurrent] | type[LeakyRate]:
    form = ledger.options.form
    if "form" not in ledger.options.model_fields_set:
        ledger.note("form not in the file: leaky current, τẋ = −x + W φ(x), was taken; pass form='rate' if it was that")
    ledger.settings |= {"form": form}
    return LeakyCurrent if form == "current" else LeakyRate


def _phi(ledger: Ledger) -> str:
    phi = ledger.options.phi or "tanh"
    activation(phi)
    if ledger.options.phi is None:
        ledger.note("nonlinearity not in the file: tanh was taken; pass phi to change it")
    ledger.settings |= {"phi": phi}
    return phi


def _tau(ledger: Ledger, names: dict[str, str]) -> float:
    stored = ledger.scalar(names["tau"], "tau", "time constant") if "tau" in names else None
    tau = ledger.options.tau or stored or 1.0
    if ledger.options.tau and stored and stored != ledger.options.tau:
        ledger.note(f"tau = {tau} as given; the file says {stored}")
    ledger.settings |= {"tau": tau}
    return tau


def _dt(ledger: Ledger, names: dict[str, str], tau: float) -> float:
    stored = ledger.scalar(names["dt"], "dt", "time step") if "dt" in names else None
    if "alpha" in names:
        alpha = ledger.scalar(names["alpha"], "alpha", "dt/tau")
        if stored is None:
            stored = alpha * tau
        elif abs(stored - alpha * tau) > 1e-6 * stored:
            ledger.note(f"alpha = {alpha} does not equal dt/tau = {stored / tau}; dt was used")
    dt = ledger.options.dt or stored
    if ledger.options.dt and stored and stored != ledger.options.dt:
        ledger.note(f"dt = {dt} as given; the file says {stored}")
    if dt is None:
        dt = _DEFAULT_DT * tau
        ledger.note(f"time step not in the file: dt/tau = {_DEFAULT_DT} was taken; pass dt to change it")
    ledger.settings |= {"dt": dt}
    return dt
