"""`nn.RNN`, `nn.GRU` and `nn.LSTM` of PyTorch, single or stacked, and what reads them out."""

import re

import jax.numpy as jnp
import numpy as np

from recurvature._errors import InputError, check_choice
from recurvature.io.layouts.ledger import Ledger, show
from recurvature.systems import GRUCell, LinearReadout, LSTMCell, Network, Stack, VanillaCell

KINDS = {1: "torch-rnn", 3: "torch-gru", 4: "torch-lstm"}
"""Layout by number of gates."""

_NAME = re.compile(r"(?P<prefix>.*?)(?P<part>(?:weight|bias)_(?:ih|hh|hr))(?:_l(?P<layer>\d+))?(?P<reverse>_reverse)?")
_START = ("h0", "x0", "hidden0", "initial_state")


def fits(names: set[str]) -> bool:
    """Whether the names are those of a PyTorch recurrent module, under any prefix."""
    return any(match and match["part"] == "weight_hh" for match in map(_NAME.fullmatch, names))


def read(ledger: Ledger) -> tuple[Network, str]:
    """The network and the name of its layout. Raises `InputError` on what no stack of cells can be."""
    found = _parts(ledger)
    layers = _layers(found)
    rows, size = _sizes(ledger, found["weight_hh", 0])
    gates = rows // size
    if rows % size or gates not in KINDS:
        raise InputError(
            f"`{found['weight_hh', 0]}` has shape ({rows}, {size}); the rows must be 1, 3 or 4 times the columns "
            "(RNN, GRU, LSTM)."
        )
    phi = _phi(ledger, gates)
    cells = tuple(_cell(ledger, found, layer, gates, size, phi) for layer in range(layers))
    dt = ledger.options.dt or 1.0
    ledger.settings |= {"dt": dt}
    system = Stack(cells, dt)
    readout = _readout(ledger, size)
    return Network(system, readout, jnp.asarray(_start(ledger, system.state_size, gates))), KINDS[gates]


def _parts(ledger: Ledger) -> dict[tuple[str, int], str]:
    """Tensor names by part and layer."""
    matches = {name: match for name in ledger.tensors if (match := _NAME.fullmatch(name))}
    prefixes = sorted({match["prefix"] for match in matches.values()})
    if len(prefixes) > 1:
        raise InputError(
            f"the file holds {len(prefixes)} recurrent modules ({show(prefixes)}); "
            "name the tensors of one of them with a mapping."
        )
    for name, match in matches.items():
        if match["reverse"]:
            raise InputError(f"`{name}`: a bidirectional network has no state that runs forward; it cannot be read.")
        if match["part"] in ("weight_hr", "bias_hr"):
            raise InputError(f"`{name}`: an LSTM with projections (proj_size > 0) is not among the systems here.")
    found: dict[tuple[str, int], str] = {}
    for name, match in matches.items():
        place = match["part"], int((match["layer"] or "0")[:9])
        if place in found:
            raise InputError(f"`{name}` and `{found[place]}` are the same part of the same layer; remove one.")
        found[place] = name
    return found


def _layers(found: dict[tuple[str, int], str]) -> int:
    numbers = sorted({layer for _, layer in found})
    for layer, number in enumerate(numbers):
        has = {part for part, k in found if k == number}
        biases = has & {"bias_ih", "bias_hh"}
        if number != layer or not {"weight_ih", "weight_hh"} <= has or len(biases) == 1:
            raise InputError(
                f"layer {layer} is not complete: it needs weight_ih_l{layer} and weight_hh_l{layer}, and both or none "
                f"of bias_ih_l{layer} and bias_hh_l{layer}."
            )
    return len(numbers)


def _sizes(ledger: Ledger, name: str) -> tuple[int, int]:
    shape = ledger.shape(name)
    if len(shape) != 2 or min(shape) < 1:
        raise InputError(f"`{name}` must be a matrix (gates × units, units); got shape {shape}.")
    return shape[0], shape[1]


def _phi(ledger: Ledger, gates: int) -> str:
    if gates > 1:
        if ledger.options.phi is not None:
            raise InputError("`phi` has no place in a GRU or an LSTM, whose gates are fixed; leave it out.")
        return ""
    phi = ledger.options.phi or "tanh"
    check_choice("phi", phi, ("tanh", "relu"))
    if ledger.options.phi is None:
        ledger.note("nonlinearity not in the file: tanh, PyTorch's default, was taken; pass phi='relu' if it was that")
    ledger.settings |= {"phi": phi}
    return phi


def _cell(
    ledger: Ledger, found: dict[tuple[str, int], str], layer: int, gates: int, size: int, phi: str
) -> VanillaCell | GRUCell | LSTMCell:
    rows = gates * size

    def take(part: str, meaning: str, shape: tuple[int | None, ...]) -> np.ndarray:
        name = found.get((part, layer))
        if name is None:
            return np.zeros(rows, ledger.dtype)
        return ledger.take(name, f"{part}_l{layer}", f"{meaning}, layer {layer}", shape)

    order = {1: "", 3: " (gates: reset, update, candidate)", 4: " (gates: input, forget, cell, output)"}[gates]
    parts = (
        jnp.asarray(take("weight_ih", f"input weights{order}", (rows, size if layer else None))),
        jnp.asarray(take("weight_hh", f"recurrent weights{order}", (rows, size))),
        jnp.asarray(take("bias_ih", "bias beside the input", (rows,))),
        jnp.asarray(take("bias_hh", "bias beside the recurrence", (rows,))),
    )
    if ("bias_ih", layer) not in found:
        ledger.note(f"layer {layer} has no biases: zeros")
    if gates == 1:
        return VanillaCell(*parts, phi)
    return GRUCell(*parts) if gates == 3 else LSTMCell(*parts)


def _readout(ledger: Ledger, size: int) -> LinearReadout:
    """The one remaining `*.weight` with a column for each unit; without one, the units themselves."""
    wanted = ledger.options.readout
    endings = {"weight"} if wanted is None else {wanted, f"{wanted}.weight"}
    names = [n for n in ledger.left() if n in endings or (wanted is None and n.endswith(".weight"))]
    names = [n for n in names if len(ledger.shape(n)) == 2 and ledger.shape(n)[1] == size]
    if len(names) > 1:
        raise InputError(f"several tensors could be the readout: {show(names)}; name it with the option `readout`.")
    if not names:
        if wanted is not None:
            raise InputError(f"`readout` names {wanted!r}, but no weight (outputs, {size}) of that name is there.")
        ledger.note("no readout in the file: the outputs are the units of the top layer")
        return LinearReadout(jnp.eye(size, dtype=ledger.dtype))
    weight = jnp.asarray(ledger.take(names[0], "readout.weight", "readout weights", (None, size)))
    bias = names[0].removesuffix("weight") + "bias"
    if bias not in ledger.left():
        return LinearReadout(weight)
    return LinearReadout(weight, jnp.asarray(ledger.take(bias, "readout.bias", "readout bias", (weight.shape[0],))))


def _start(ledger: Ledger, size: int, gates: int) -> np.ndarray:
    """A learnt initial state where the file has one, else zeros."""
    names = [name for name in ledger.left() if name.rpartition(".")[2] in _START]
    if gates == 4 or len(names) != 1 or ledger.tensors[names[0]].size != size:
        return np.zeros(size, ledger.dtype)
    ledger.note(f"`{names[0]}` is taken as the initial state")
    return ledger.enter(names[0], "x0", "initial state", ledger.tensors[names[0]].reshape(size))
