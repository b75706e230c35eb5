"""Certificates: they certify what is right, and they see what is wrong."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from recurvature import io
from recurvature.io.importers import torch as door
from recurvature.systems import ACTIVATIONS, Network


@pytest.fixture
def torch() -> Any:
    module = pytest.importorskip("torch", reason="the oracle is PyTorch, which is an optional extra")
    module.manual_seed(0)
    return module


@pytest.mark.parametrize(
    ("kind", "options", "given"),
    [
        ("RNN", {}, {}),
        ("RNN", {"num_layers": 3, "nonlinearity": "relu"}, {"phi": "relu"}),
        ("RNN", {"bias": False}, {}),
        ("GRU", {}, {}),
        ("GRU", {"num_layers": 2, "bias": False}, {}),
        ("LSTM", {}, {}),
        ("LSTM", {"num_layers": 2}, {}),
    ],
)
def test_pytorch_modules_are_certified(
    tmp_path: Path, torch: Any, kind: str, options: dict[str, Any], given: dict[str, Any]
) -> None:
    module = torch.nn.ModuleDict({"rnn": getattr(torch.nn, kind)(3, 8, **options), "fc": torch.nn.Linear(8, 2)})
    torch.save(module.state_dict(), tmp_path / "net.pt")
    certificate = io.equivalence(io.read_network(tmp_path / "net.pt", options=given))
    assert certificate.status == "ok", certificate
    assert certificate.steps == 30
    assert certificate.difference["float64"] <= 1e-12
    assert certificate.difference["float32"] <= 1e-5
    # the arms are two programs: not every bit is the same
    assert certificate.difference["float32"] > 0


def test_a_module_without_readout_and_with_a_learnt_start_is_certified(tmp_path: Path, torch: Any) -> None:
    state = torch.nn.GRU(2, 4, num_layers=2).state_dict() | {"h0": torch.randn(2, 1, 4)}
    torch.save(state, tmp_path / "net.pt")
    certificate = io.equivalence(io.read_network(tmp_path / "net.pt"))
    assert certificate.status == "ok"


@pytest.mark.parametrize(
    ("form", "phi"), [*(("current", phi) for phi in ACTIVATIONS), ("rate", "tanh"), ("rate", "relu")]
)
def test_leaky_networks_are_certified(tmp_path: Path, torch: Any, form: str, phi: str) -> None:
    rng = np.random.default_rng(0)
    shapes = {"W_rec": (6, 6), "W_in": (6, 2), "W_out": (1, 6), "b": (6,), "b_in": (6,), "b_out": (1,), "x0": (6,)}
    arrays = {name: 0.4 * rng.standard_normal(shape) for name, shape in shapes.items()}
    np.savez(tmp_path / "net.npz", alpha=0.3, tau=2.0, **arrays)  # type: ignore[arg-type]
    certificate = io.equivalence(io.read_network(tmp_path / "net.npz", options={"form": form, "phi": phi}))
    assert certificate.status == "ok", certificate


@pytest.mark.parametrize("name", ["rdm_rank1_512", "dms_rank2_512"])
def test_the_shared_networks_are_certified(shared_networks: Path, torch: Any, name: str) -> None:
    certificate = io.equivalence(io.read_network(shared_networks / f"{name}.pt"))
    assert certificate.status == "ok", certificate
    assert certificate.steps == 30


def low_rank(**more: np.ndarray) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = {"wi": (2, 8), "m": (8, 1), "n": (8, 1), "wo": (8, 1)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()} | more


def test_a_bias_in_the_low_rank_layout_shows_in_the_certificate(tmp_path: Path, torch: Any) -> None:
    np.savez(tmp_path / "with.npz", **low_rank(b=np.ones(8)))
    np.savez(tmp_path / "without.npz", **low_rank(b=np.zeros(8), h0=np.ones(8)))
    different, same = (io.equivalence(io.read_network(tmp_path / f"{n}.npz")) for n in ("with", "without"))
    assert same.status == "ok"
    assert different.status == "differs"
    assert "see the notes" in different.reason
    # tanh(h + 1) for tanh(h): a difference of the size of the outputs, not of rounding
    assert different.difference["float64"] > 1e-2


def test_a_network_that_was_changed_is_seen(tmp_path: Path, torch: Any) -> None:
    torch.save(torch.nn.LSTM(2, 4).state_dict(), tmp_path / "net.pt")
    imported = io.read_network(tmp_path / "net.pt")

    def read_wrongly(dtype: str) -> Network:
        assert imported.read_as is not None
        return eqx.tree_at(lambda n: n.system.layers[0].bias_hh, imported.read_as(dtype), replace_fn=lambda b: b + 1e-4)

    certificate = io.equivalence(dataclasses.replace(imported, read_as=read_wrongly))
    assert certificate.status == "differs"


def test_nan_is_a_difference(tmp_path: Path, torch: Any) -> None:
    torch.save(torch.nn.GRU(2, 4).state_dict(), tmp_path / "net.pt")
    imported = io.read_network(tmp_path / "net.pt")

    def read_wrongly(dtype: str) -> Network:
        assert imported.read_as is not None
        return eqx.tree_at(lambda n: n.readout.weight, imported.read_as(dtype), replace_fn=lambda w: w * jnp.nan)

    certificate = io.equivalence(dataclasses.replace(imported, read_as=read_wrongly))
    assert certificate.status == "differs"


def test_chaos_is_no_difference(tmp_path: Path, torch: Any) -> None:
    rng = np.random.default_rng(0)
    # gain 8: far beyond the edge of chaos at gain 1
    arrays = {"weight_hh_l0": 8 * rng.standard_normal((50, 50)) / 50**0.5, "weight_ih_l0": rng.standard_normal((50, 1))}
    torch.save({name: torch.tensor(array) for name, array in arrays.items()}, tmp_path / "net.pt")
    certificate = io.equivalence(io.read_network(tmp_path / "net.pt"))
    assert certificate.status == "ok", certificate
    assert 1 <= certificate.steps < 30


def test_our_own_files_have_nothing_to_be_compared_with(tmp_path: Path, leaky: Network) -> None:
    io.save(leaky, tmp_path / "net.safetensors")
    certificate = io.equivalence(io.read_network(tmp_path / "net.safetensors"))
    assert certificate.status == "not-available"
    assert certificate.difference == {}
    assert certificate.to_dict()["status"] == "not-available"


def test_without_pytorch_there_is_no_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "net.npz", **low_rank())
    imported = io.read_network(tmp_path / "net.npz")
    monkeypatch.setattr(door, "available", lambda: False)
    certificate = io.equivalence(imported)
    assert (certificate.status, "pip install" in certificate.reason) == ("not-available", True)


SINGLE = """
import sys, jax, recurvature as rc
imported = rc.io.read_network(sys.argv[1])
print(imported.network.x0.dtype, rc.io.equivalence(imported).status, jax.config.jax_enable_x64, imported.reading.notes)
"""


def test_a_single_precision_process_certifies_in_double_and_stays_single(tmp_path: Path, torch: Any) -> None:
    np.savez(tmp_path / "net.npz", **low_rank())
    done = subprocess.run(
        [sys.executable, "-c", SINGLE, str(tmp_path / "net.npz")], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("float32 ok False")
    assert "float64 rounded to float32" in done.stdout


def test_counts_must_be_positive(tmp_path: Path, refused: Callable) -> None:
    np.savez(tmp_path / "net.npz", **low_rank())
    with refused("`steps` must be a whole number of at least 1; got 0"):
        io.equivalence(io.read_network(tmp_path / "net.npz"), steps=0)
