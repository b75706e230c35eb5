"""Which layout a table of tensors has: by its names, by the user's word, or after the user's own mapping."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from recurvature._errors import InputError, did_you_mean, unknown
from recurvature.io.layouts import low_rank, plain, stacked
from recurvature.io.layouts.ledger import ImportOptions, Ledger, Reading, show
from recurvature.systems.base import Network

LAYOUTS = {
    "torch": stacked,
    "low-rank": low_rank,
    "plain": plain,
}
"""Modules with `fits(names)` and `read(ledger)`, in the order in which they are tried."""

_TORCH_ROLE = re.compile(r"(weight|bias)_(ih|hh)_l\d+|readout\.(weight|bias)")
_ROLES = (*plain.ALIASES, "wi", "si", "m", "n", "wo", "so", "h0")


def interpret(
    tensors: Mapping[str, np.ndarray],
    source: str,
    *,
    layout: str | None = None,
    mapping: Mapping[str, str] | None = None,
    options: ImportOptions | None = None,
    notes: tuple[str, ...] = (),
    dtype: Any = None,
) -> tuple[Network, Reading, dict[str, np.ndarray]]:
    """The network in a table of tensors, how each was understood, and the used ones by role, as they were.

    `mapping` names the tensors by role (`{"W_rec": "cell.J", "W_in": "cell.B.T"}`; `.T` transposes); only those are
    read then. Raises `InputError` where names, shapes, number types or values do not make a network.
    """
    if not tensors:
        raise InputError(f"{source} holds no tensors.")
    if layout is not None and layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    table = dict(tensors) if mapping is None else _mapped(tensors, mapping)
    if layout is not None and not LAYOUTS[layout].fits(set(table)):
        raise InputError(f"{source}: the tensors {show(sorted(table))} are not of layout {layout!r}; use a mapping.")
    ledger = Ledger(table, options or ImportOptions(), dtype)
    ledger.notes[:0] = notes
    network, name = LAYOUTS[layout or _recognise(set(table), source)].read(ledger)
    if mapping is not None:
        ledger.note("tensors named by a mapping: " + show([f"{role} = {name}" for role, name in mapping.items()]))
        others = sorted(tensors.keys() - {*mapping.values(), *(name.removesuffix(".T") for name in mapping.values())})
        if others:
            ledger.note(f"left out by the mapping: {show(others)}")
    return network, ledger.reading(source, name), ledger.roles


def _recognise(names: set[str], source: str) -> str:
    for layout, module in LAYOUTS.items():
        if module.fits(names):
            return layout
    raise InputError(
        f"{source}: the tensors {show(sorted(names))} are of no known layout ({', '.join(LAYOUTS)}). "
        "Say what they are with a mapping such as {'W_rec': '…', 'W_in': '…', 'W_out': '…'}; on the command line, in a "
        'TOML file with `[mapping]` and lines like `W_rec = "…"`, named by --mapping.'
    )


def _mapped(tensors: Mapping[str, np.ndarray], mapping: Mapping[str, str]) -> dict[str, np.ndarray]:
    table = {}
    for role, name in mapping.items():
        if role not in _ROLES and not _TORCH_ROLE.fullmatch(role):
            raise InputError(f"mapping: unknown role {role!r}.{did_you_mean(role, _ROLES)}")
        turned = name not in tensors and name.endswith(".T")
        stored = name.removesuffix(".T") if turned else name
        if stored not in tensors:
            raise InputError(f"mapping: {role} is {name!r}, but no tensor has that name.{did_you_mean(name, tensors)}")
        table[role] = tensors[stored].T if turned else tensors[stored]
    return table
