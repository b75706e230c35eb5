"""A network and one `.safetensors` file: tensors by their paths, and a JSON header that says what they are."""

import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from recurvature._errors import InputError
from recurvature.io.specs import Spec, decode, encode, json_table, parse
from recurvature.io.tensors import read_signed, write_signed
from recurvature.systems.base import Network

FORMAT = 1
"""Version of the layout in which networks are stored; files of other versions are refused."""


class Sizes(Spec):
    """How large a network is."""

    state: int
    inputs: int
    outputs: int
    parameters: int


class Header(Spec):
    """What stands beside the tensors of a network file."""

    format: Literal[1]
    kind: Literal["network"]
    sizes: Sizes
    spec: dict[str, Any]
    provenance: dict[str, Any]


def save_network(
    network: Network, path: Path, *, overwrite: bool = False, provenance: Mapping[str, Any] | None = None
) -> None:
    """Write a network in one step that either happens or does not.

    `provenance` is any JSON table (training spec, seed, source); the versions of this library and of JAX are added.
    Raises `InputError` on what could not be loaded again, on an existing file without `overwrite`, on a full disk.
    """
    spec, tensors = encode(network)
    _check(network, spec, tensors)
    source = _versions() | json_table("provenance", provenance or {})
    header = Header(format=1, kind="network", sizes=_sizes(network), spec=spec, provenance=source)
    write_signed(path, tensors, header.model_dump(mode="json"), overwrite=overwrite)


def load_network(path: Path) -> Network:
    """The network that `save_network` wrote, bit for bit."""
    return read_network_file(path)[0]


def read_network_file(path: Path) -> tuple[Network, Header, dict[str, np.ndarray]]:
    """The network in a file, its header and its tensors. Raises `InputError` where the file cannot be used."""
    tensors, table = read_signed(path)
    if table.get("kind") == "checkpoint":
        raise InputError(f"{path} is a checkpoint of a training run, not a network; resume the training from it.")
    if table.get("format") != FORMAT:
        raise InputError(
            f"{path} has format {table.get('format')!r}; this version reads {FORMAT}. Upgrade Recurvature to read it."
        )
    header = parse(Header, table, f"{path}, header")
    try:
        network = decode(header.spec, tensors)
    except (InputError, RecursionError) as error:
        raise InputError(f"{path}: {error}") from error
    if not isinstance(network, Network):
        raise InputError(f"{path} holds a {type(network).__name__}, not a network.")
    if header.sizes != _sizes(network):
        raise InputError(f"{path}: the sizes in the header are not those of the tensors. Write it again.")
    return network, header, tensors


def _check(network: Network, spec: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    try:
        decode(spec, tensors)
    except InputError as error:
        extra = network.x0.ndim - 1
        cure = " Save the networks of an ensemble one by one." if extra > 0 else ""
        raise InputError(f"`network` cannot be saved: {error}{cure}") from error


def _sizes(network: Network) -> Sizes:
    return Sizes(
        state=network.system.state_size,
        inputs=network.system.input_size,
        outputs=network.readout.output_size,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(network)),
    )


def _versions() -> dict[str, Any]:
    return {
        "recurvature": importlib.metadata.version("recurvature"),
        "jax": jax.__version__,
        "python": platform.python_version(),
    }
