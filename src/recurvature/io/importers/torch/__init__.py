"""The only door to PyTorch: state dicts, read with `weights_only=True`, and PyTorch's own outputs to compare with."""

import importlib.util
import io
import math
import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from recurvature._errors import InputError
from recurvature.io.importers.npz import check_directory
from recurvature.io.opening import check_names, content, decoding, one_line, read_bytes

_NESTS = ("state_dict", "model_state_dict", "model", "net", "network", "params")
_WAY_OUT = (
    "Where you trust the file, load it in PyTorch and save `model.state_dict()` (or a .safetensors file) instead."
)
_PLAIN = frozenset(
    (
        *("collections OrderedDict", "torch Size", "torch.storage UntypedStorage", "torch.nn.parameter Parameter"),
        *(f"torch._utils _rebuild_{what}" for what in ("tensor_v2", "parameter")),
    )
)
_STORAGE = re.compile(r"torch \w+Storage")
_MOST_SHARED = 8
"""Tied weights are stored once and named twice; eight times is more than any model has."""


def available() -> bool:
    """Whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def read_state_dict(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """The tensors of a PyTorch file by name, and notes on where in the file they were found.

    Nothing in the file is run: objects and code are refused with the way out. Only uncompressed archives (PyTorch 1.6
    and newer) are read, so that memory is bounded by the size of the file. Raises `InputError`.
    """
    data = read_bytes(path)
    members = _members(path, data)
    if not available():
        raise InputError(
            f"reading {path} needs PyTorch: `pip install 'recurvature[torch]'`, or save the tensors as .safetensors or "
            ".npz and pass that."
        )
    table, notes = _nested(path, _load(path, members))
    check_names(path, table)
    _check_sizes(path, table, len(data))
    return {name: _array(path, name, tensor) for name, tensor in table.items()}, notes


def _members(path: Path, data: bytes) -> dict[str, bytes]:
    """The members of the archive, once they are known to be plain tensors and what describes them."""
    if content(data) == "a pickle":
        raise InputError(f"{path} is a pickle (or a PyTorch file from before 1.6), which is never unpacked. {_WAY_OUT}")
    if not data.startswith(b"PK"):
        raise InputError(f"{path} holds {content(data)}, not a PyTorch file; give it the ending of what it is.")
    with decoding(path, "a PyTorch file"), zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        if any("/code/" in name or name.endswith("constants.pkl") for name in names):
            raise InputError(f"{path} is a TorchScript archive and carries code, which is never run. {_WAY_OUT}")
        if not any(name.endswith("/data.pkl") for name in names):
            kind = "an .npz file" if all(name.endswith(".npy") for name in names) else "a zip archive"
            raise InputError(f"{path} holds {kind}, not a PyTorch file; give it the ending of what it is.")
        check_directory(path, entries, len(data), most=1)
        members = {entry.filename: archive.read(entry) for entry in entries}
        for name, member in members.items():
            if name.endswith(".pkl"):
                _check_names_of_pickle(path, member)
        return members


def _check_names_of_pickle(path: Path, member: bytes) -> None:
    """Raise if a pickle asks for anything but tensors and dictionaries; its opcodes are listed, not followed."""
    for opcode, argument, _ in pickletools.genops(member):
        asked = str(argument) if opcode.name in ("GLOBAL", "INST") else ""
        if opcode.name == "STACK_GLOBAL" or (asked and asked not in _PLAIN and not _STORAGE.fullmatch(asked)):
            named = f" ({one_line(ValueError(asked.replace(' ', '.')), 80)})" if asked else ""
            raise InputError(f"{path} holds Python objects or code{named}, which are never run. {_WAY_OUT}")


def _load(path: Path, members: Mapping[str, bytes]) -> Any:
    """What PyTorch makes of the members, packed anew so that it sees what was checked and nothing else."""
    import torch

    with decoding(path, "a PyTorch file"):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, member in members.items():
                archive.writestr(name, member)
        stream.seek(0)
        return torch.load(stream, map_location="cpu", weights_only=True, mmap=False)


def _nested(path: Path, loaded: Any) -> tuple[dict[str, Any], list[str]]:
    import torch

    found = [name for name in _NESTS if isinstance(loaded, dict) and isinstance(loaded.get(name), dict)]
    table = loaded[found[0]] if found else loaded
    if isinstance(table, dict):
        tensors = {str(name): value for name, value in table.items() if isinstance(value, torch.Tensor)}
        left = sorted(str(name) for name in table if str(name) not in tensors)
        notes = [f"the tensors are those under {found[0]!r}; the rest of the file is left out"] if found else []
        if tensors:
            return tensors, notes + (
                [f"not a tensor, left out: {one_line(ValueError(', '.join(left)))}"] if left else []
            )
    raise InputError(f"{path} holds no table of tensors, but a {type(loaded).__name__}. Save `model.state_dict()`.")


def _check_sizes(path: Path, table: Mapping[str, Any], size: int) -> None:
    """Raise if tensors declare more than the file has: a view with strides of zero can, at no cost in the file."""
    for name, tensor in table.items():
        if tensor.numel() * tensor.element_size() > size:
            raise InputError(f"{path}: tensor {name!r} declares more values than the file has. Write it again.")
    if sum(tensor.numel() * tensor.element_size() for tensor in table.values()) > _MOST_SHARED * size:
        raise InputError(f"{path}: its tensors share their values more than {_MOST_SHARED} times. Write it again.")


def _array(path: Path, name: str, tensor: Any) -> np.ndarray:
    import torch

    with decoding(path, f"a file with a plain tensor {name!r}"):
        tensor = tensor.detach().resolve_conj().resolve_neg()
        if tensor.dtype == torch.bfloat16:
            return tensor.contiguous().view(torch.int16).numpy().view(jnp.bfloat16)
        return tensor.numpy()


def outputs(
    layout: str,
    options: Mapping[str, Any],
    roles: Mapping[str, np.ndarray],
    inputs: Float[np.ndarray, "trial time d"],
    dtype: str,
) -> Float[np.ndarray, "trial time o"]:
    """What PyTorch computes from the original tensors, which `roles` names, in the number type `dtype`."""
    import torch

    kind = getattr(torch, dtype)
    # through float64, which holds every type that was stored, because PyTorch does not take all of them
    tensors = {name: torch.tensor(array.astype(np.float64)).to(kind) for name, array in roles.items()}
    drive = torch.tensor(inputs).to(kind)
    with torch.no_grad():
        if layout == "low-rank":
            return _low_rank(tensors, options, drive).numpy()
        run = _leaky if layout.startswith("leaky") else _module
        return run(layout, tensors, options, drive).numpy()


def _module(layout: str, tensors: dict[str, Any], options: Mapping[str, Any], drive: Any) -> Any:
    """`torch.nn.RNN`, `GRU` or `LSTM` itself, and a linear readout."""
    import torch

    weights = {name: t for name, t in tensors.items() if name.startswith(("weight_", "bias_"))}
    layers = sum(name.startswith("weight_hh") for name in weights)
    size, channels = weights["weight_hh_l0"].shape[1], weights["weight_ih_l0"].shape[1]
    # the file may have biases on some layers only, a module cannot: a missing one is zero
    full = {
        f"bias_{p}_l{k}": drive.new_zeros(len(weights["weight_hh_l0"])) for p in ("ih", "hh") for k in range(layers)
    }
    extra = {"nonlinearity": options["phi"]} if layout == "torch-rnn" else {}
    kind = {"torch-rnn": torch.nn.RNN, "torch-gru": torch.nn.GRU, "torch-lstm": torch.nn.LSTM}[layout]
    module = kind(channels, size, layers, batch_first=True, dtype=drive.dtype, **extra)
    module.load_state_dict(full | weights)
    start = tensors["x0"].reshape(layers, 1, size).repeat(1, len(drive), 1) if "x0" in tensors else None
    hidden = module(drive, start)[0]
    if "readout.weight" not in tensors:
        return hidden
    return torch.nn.functional.linear(hidden, tensors["readout.weight"], tensors.get("readout.bias"))


def _low_rank(tensors: dict[str, Any], options: Mapping[str, Any], drive: Any) -> Any:
    """The published loop: the recurrence sees tanh(h + b), the readout tanh(h)."""
    import torch

    m, n, alpha = tensors["m"], tensors["n"], options["dt"] / options["tau"]
    size, one = len(m), drive.new_ones(1)
    w_in = tensors["wi"] * tensors.get("si", one.expand(len(tensors["wi"])))[:, None]
    w_out = tensors["wo"] * tensors.get("so", one)
    b, h = tensors.get("b", one.new_zeros(size)), tensors.get("h0", one.new_zeros(size)).expand(len(drive), size)
    r, out = torch.tanh(h + b), []
    for u in drive.unbind(1):
        h = h + alpha * (-h + r @ n @ m.T / size + u @ w_in)
        r = torch.tanh(h + b)
        out.append(torch.tanh(h) @ w_out / size)
    return torch.stack(out, 1)


def _leaky(layout: str, tensors: dict[str, Any], options: Mapping[str, Any], drive: Any) -> Any:
    """The textbook loop of a leaky network in either form."""
    import torch

    functional = torch.nn.functional
    phi = {
        "tanh": torch.tanh,
        "relu": torch.relu,
        "sigmoid": torch.sigmoid,
        "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
        "gelu": functional.gelu,
        "erf": lambda x: torch.erf(x * math.sqrt(math.pi) / 2),
        "identity": lambda x: x,
    }[options["phi"]]
    alpha, w_rec = options["dt"] / options["tau"], tensors["W_rec"]
    bias = tensors.get("b", 0) + tensors.get("b_in", 0)
    x = tensors.get("x0", w_rec.new_zeros(len(w_rec))).expand(len(drive), len(w_rec))
    out = []
    for u in drive.unbind(1):
        push = functional.linear(u, tensors["W_in"]) + bias
        if layout == "leaky-current":
            x = (1 - alpha) * x + alpha * (functional.linear(phi(x), w_rec) + push)
        else:
            x = (1 - alpha) * x + alpha * phi(functional.linear(x, w_rec) + push)
        out.append(phi(x) if layout == "leaky-current" else x)
    rates = torch.stack(out, 1)
    return functional.linear(rates, tensors["W_out"], tensors.get("b_out")) if "W_out" in tensors else rates
