"""What a network is and how its file was read: as blocks of a report, and as lines on a terminal."""

from typing import Any

import jax

from recurvature.app.page import THIN, Block, Fact, Facts, Heading, Notice, Points, Section, Table, Text, number
from recurvature.io import Certificate, Reading
from recurvature.systems.base import AbstractMap, Euler, Network
from recurvature.systems.connectivity import LowRank
from recurvature.systems.leaky import AbstractLeaky, LeakyCurrent
from recurvature.systems.preactivation import PreactivationMap
from recurvature.systems.readout import ActivatedReadout, GatedReadout
from recurvature.systems.stack import Stack

_EQUATIONS = {
    "LeakyCurrent": "τẋ = −x + Wφ(x) + Wᵢₙu + b, rates r = φ(x)",
    "LeakyRate": "τṙ = −r + φ(Wr + Wᵢₙu + b)",
    "VanillaCell": "h′ = φ(Wᵢₕu + bᵢₕ + Wₕₕh + bₕₕ), the plain network of PyTorch",
    "GRUCell": "the gated recurrent unit of PyTorch",
    "LSTMCell": "the long short-term memory of PyTorch; the state joins h and c",
    "PreactivationMap": "h′ = Wφ(h) + Wᵢₙu, rates r = h",
    "LinearMap": "x′ = Wx + Wᵢₙu + b",
    "DiagonalMap": "x′ = Λx + Wᵢₙu with a diagonal complex Λ",
    "FunctionMap": "x′ = f(x, u), a function of its own in JAX",
    "FunctionFlow": "ẋ = f(x, u), a function of its own in JAX",
    "HostMap": "x′ = f(x, u), computed by another library, whose parameters are not counted here",
}
_NAMES = {
    "LeakyCurrent": "leaky current",
    "LeakyRate": "leaky rate",
    "VanillaCell": "plain recurrent",
    "GRUCell": "GRU",
    "LSTMCell": "LSTM",
    "PreactivationMap": "pre-activation",
    "LinearMap": "linear",
    "DiagonalMap": "diagonal linear",
    "FunctionMap": "custom",
    "FunctionFlow": "custom",
    "HostMap": "live",
}


def kind(network: Network) -> str:
    """The class that says how the network computes: its flow, its cell, or its map."""
    system: Any = network.system.flow if isinstance(network.system, Euler) else network.system
    return type(system.layers[0] if isinstance(system, Stack) else system).__name__


def kind_in_words(network: Network) -> str:
    """What sort of network it is."""
    return _NAMES.get(kind(network), kind(network))


def units(network: Network) -> int:
    """Units that the readout sees."""
    return network.readout.rate_size


def _rank(network: Network) -> str:
    flow = network.system.flow if isinstance(network.system, Euler) else network.system
    if not isinstance(flow, AbstractLeaky | PreactivationMap):
        return ""
    if isinstance(flow.connectivity, LowRank):
        return f"rank {flow.connectivity.left.shape[1]}"
    return "full rank"


def network_numbers(network: Network) -> dict[str, Any]:
    """Sizes of a network, for run.json."""
    system = network.system
    return {
        "system": kind(network),
        "units": units(network),
        "state": system.state_size,
        "inputs": system.input_size,
        "outputs": network.readout.output_size,
        "rank": _rank(network) or None,
        "dt": system.dt if isinstance(system, AbstractMap) else None,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(network) if hasattr(leaf, "size")),
    }


def network_section(network: Network, read: Reading | None) -> Section:
    """What the network is, and how its file was read."""
    sizes = network_numbers(network)
    facts = [
        Fact(
            "units", f"{sizes['units']:,}", "" if sizes["state"] == sizes["units"] else f"state of {sizes['state']:,}"
        ),
        Fact("inputs", str(sizes["inputs"])),
        Fact("outputs", str(sizes["outputs"])),
        Fact("parameters", f"{sizes['parameters']:,}"),
    ]
    if sizes["rank"]:
        facts.insert(1, Fact("recurrent weights", sizes["rank"]))
    if sizes["dt"] is not None:
        facts.append(
            Fact("one step", f"{number(sizes['dt'])} τ" if isinstance(network.system, Euler) else number(sizes["dt"]))
        )
    blocks: list[Block] = [Facts(tuple(facts)), Text(_how_it_moves(network))]
    if read is not None:
        blocks += reading_blocks(read)
    return Section("network", "What the network is", tuple(blocks), _in_short(network))


def _in_short(network: Network) -> str:
    rank = _rank(network)
    weights = f" with recurrent weights of {rank}" if rank else ""
    return f"A {kind_in_words(network)} network of {units(network):,} units{weights}."


def _how_it_moves(network: Network) -> str:
    system = network.system
    flow = system.flow if isinstance(system, Euler) else system
    text = f"{_EQUATIONS.get(kind(network), kind(network))}"
    if isinstance(flow, AbstractLeaky | PreactivationMap):
        text += f", with φ = {flow.phi if isinstance(flow.phi, str) else 'a function of its own'}"
    if isinstance(system, Euler):
        text += f"; stepped by Euler with dt = {number(system.dt)} at τ = {number(system.flow.tau)}"
    seen = "rates" if isinstance(flow, LeakyCurrent) else "state"
    sort = {GatedReadout: "gated", ActivatedReadout: "nonlinear"}.get(type(network.readout), "linear")
    return f"The state follows {text}. The output is a {sort} readout of the {seen}."


def reading_blocks(read: Reading) -> list[Block]:
    """How a file was understood, tensor by tensor."""
    rows = tuple(
        (t.name, f"{THIN}×{THIN}".join(map(str, t.shape)) or "scalar", t.dtype, t.meaning) for t in read.tensors
    )
    caption = f"How each tensor of {read.source} was understood (layout: {read.layout})"
    blocks: list[Block] = [Table(("tensor", "shape", "type", "read as"), rows, caption)]
    notes = [f"{name} = {value}" for name, value in read.options.items() if value is not None]
    if notes:
        blocks.append(Text(f"Values used: {', '.join(notes)}."))
    if read.notes:
        blocks += [
            Heading("Please confirm" if read.layout != "recurvature" else "Provenance in the file"),
            Points(tuple(("", note) for note in read.notes)),
        ]
    if read.unused:
        blocks.append(Notice("Not used:", ", ".join(read.unused) + ". If the model used them, this is not all of it."))
    return blocks


def certificate_blocks(certificate: Certificate | None) -> list[Block]:
    """How nearly the network that was read equals the original."""
    if certificate is None:
        return []
    if certificate.status == "not-available":
        return [Text(f"No equivalence certificate: {certificate.reason}.")]
    good = certificate.status == "ok"
    return [Notice("Certificate:" if good else "The outputs differ:", certificate_text(certificate), good)]


def certificate_text(certificate: Certificate) -> str:
    """A certificate in one sentence."""
    if certificate.status == "not-available":
        return certificate.reason
    parts = [
        f"{number(difference, 2)} in {name} (allowed: {number(certificate.tolerance[name], 2)})"
        for name, difference in certificate.difference.items()
    ]
    return (
        f"on {certificate.sequences} random sequences of {certificate.steps} steps, PyTorch running the tensors of the "
        f"file and this network differ by at most {' and '.join(parts)}, relative to the largest output."
    )


def inspection_lines(network: Network, read: Reading, certificate: Certificate) -> list[str]:
    """What `inspect` prints."""
    sizes = network_numbers(network)
    facts = ", ".join(f"{name} {value}" for name, value in sizes.items() if value is not None)
    width = max((len(t.name) for t in read.tensors), default=0)
    lines = [f"{read.source}: {kind_in_words(network)} network ({facts})", f"layout: {read.layout}"]
    for tensor in read.tensors:
        shape = " x ".join(map(str, tensor.shape)) or "scalar"
        lines.append(f"  {tensor.name:<{width}}  {shape:>12}  {tensor.dtype:<8}  {tensor.meaning}")
    lines += [f"value used: {name} = {value}" for name, value in read.options.items() if value is not None]
    lines += [f"note: {note}" for note in read.notes]
    if read.unused:
        lines.append(f"not used: {', '.join(read.unused)}; if the model used them, this is not all of it")
    return [*lines, f"certificate: {certificate.status}; {certificate_text(certificate)}"]
