"""PyTorch as an oracle, where it is installed: it is an optional extra, so the tests that ask it skip without it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature.systems import AbstractCell, LinearReadout, Network, Stack


@pytest.fixture
def draw() -> Callable[..., jax.Array]:
    """Normal numbers of the given shape, fresh ones each time, the same in every run; NumPy compiles nothing."""
    generator = np.random.default_rng(0)
    return lambda *shape: jnp.asarray(generator.normal(size=shape))


@pytest.fixture
def torch() -> Any:
    module = pytest.importorskip("torch", reason="the oracle is PyTorch, which is an optional extra")
    module.manual_seed(0)
    return module


@pytest.fixture
def assert_equals_torch(torch: Any, draw: Callable) -> Callable[..., None]:
    """Checks that our cells with a torch module's weights give its outputs and its last states."""

    def check(module: Any, cell: type[AbstractCell], dtype: str, tolerance: float, **options: Any) -> None:
        module = module.to(getattr(torch, dtype))
        cells = tuple(cell(*_weights(module, k), **options) for k in range(module.num_layers))
        inputs = draw(4, 50, module.input_size).astype(dtype)
        starts = np.asarray(draw(cell.vectors, module.num_layers, module.hidden_size).astype(dtype))
        hidden = [torch.tensor(s)[:, None].expand(-1, 4, -1).contiguous() for s in starts]
        with torch.no_grad():
            outputs, last = module(torch.tensor(np.asarray(inputs)), hidden[0] if len(hidden) == 1 else tuple(hidden))
        last = torch.stack([last] if len(hidden) == 1 else list(last))

        flat = jnp.asarray(np.moveaxis(starts, 1, 0).reshape(-1))
        network = Network(Stack(cells), LinearReadout(jnp.eye(module.hidden_size, dtype=dtype)), flat)
        trajectory = rc.systems.simulate(network, inputs)
        assert trajectory.outputs.dtype == dtype
        np.testing.assert_allclose(trajectory.outputs, outputs, rtol=0, atol=tolerance)
        # torch: (vector, layer, trial, unit); ours: one row per trial, layers joined, vectors joined within a layer
        joined = np.moveaxis(last.numpy(), 2, 0).swapaxes(1, 2).reshape(4, -1)
        np.testing.assert_allclose(trajectory.states[:, -1], joined, rtol=0, atol=tolerance)

    return check


def _weights(module: Any, layer: int) -> list[jax.Array]:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [jnp.asarray(getattr(module, f"{name}_l{layer}").detach().numpy()) for name in names]
