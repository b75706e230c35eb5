"""The metric field of a leaky network on a torus: streamed tangents against differentiated trajectories.

All arms give the packed Gram entries of all times and points. Memory is that of one block's program plus the entries,
against `(1 + m) b N + P T m(m + 1)/2` floats, the least that a streaming computation keeps.
"""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks.harness import Arm, Built, Case, Goal, Work, temp_bytes

import recurvature as rc
from recurvature._progress import silent
from recurvature.lenses.warping import triangular
from recurvature.lenses.warping.field import Course, _block, _block_size, stream
from recurvature.lenses.warping.metric import FactorEmitter
from recurvature.systems import ConstantInputs, Euler, LeakyCurrent, Network, torus
from recurvature.systems.simulate import rollout

DT = 0.1
SIZES = {
    "ci": [(128, 50, 16)],
    "std": [(128, 200, 16), (512, 20, 32)],
    "full": [(128, 200, 16), (512, 20, 32), (128, 200, 64), (512, 200, 64)],
}
GOALS = {("JAX vmap(jacfwd)", 128): 1.5, ("JAX vmap(jacfwd)", 512): 1.2, ("torch vmap(jacfwd)", 128): 15}
"""Ratios to reach, by peer and N."""
SMALL = 3_000_000_000
"""Largest trajectory Jacobian, in bytes, that the arms which store it are given."""


def cases(size: str) -> Iterable[Case]:
    """One case for each (N, T, points along each angle)."""
    for n, steps, side in SIZES[size]:
        # one peer at a time: the trajectory Jacobians of two would empty the caches of what they are compared with
        yield case(n, steps, side, "JAX vmap(jacfwd)")
        if n <= 128:
            yield case(n, steps, side, "torch vmap(jacfwd)")


def case(n: int, steps: int, side: int, peer: str) -> Case:
    """Streamed against forward mode over the whole trajectory, in JAX or in PyTorch."""
    network = rc.cast(rc.systems.leaky_current(n, inputs=4, outputs=1, key=rc.key(0), dt=DT), jnp.float32)
    manifold = ConstantInputs(torus("a", "b"))
    theta = manifold.grid(side).astype(np.float32)
    arms = [Arm("streamed", lambda: streamed(network, manifold, theta, steps))]
    goals = []
    if len(theta) * steps * n * 2 * 4 <= SMALL:
        jacfwd = jax_jacfwd if peer.startswith("JAX") else torch_jacfwd
        arms.append(Arm(peer, lambda: jacfwd(network, manifold, theta, steps)))
        goals.append(Goal(peer, "streamed", at_least=GOALS[peer, n]))
    flop, tanh = 3 * 2 * n * n * steps * len(theta), n * steps * len(theta)
    return Case(
        "metric",
        {"N": n, "T": steps, "points": f"{side}x{side}"},
        arms,
        goals,
        Work(flop=flop, tanh=tanh, seq_steps=steps),
        # float32 tangents agree to 4e-7, their squares to twice that, over 200 steps
        rtol=1e-5,
        limits={"memory over formula, 64x64, T=200": (memory_ratio(network, manifold), 1.3)},
    )


def _gram(factor: Any) -> Any:
    return triangular.gram(triangular.unpack(factor, 2))


def streamed(network: Network, manifold: ConstantInputs, theta: np.ndarray, steps: int) -> Built:
    """Blocks of points, Gram factors emitted inside the scan."""
    emitter, course = FactorEmitter("state", None), Course(steps * DT)
    return Built(lambda: _gram(stream(network, manifold, theta, emitter, course, report=silent).values))


def memory_ratio(network: Network, manifold: ConstantInputs) -> float:
    """Bytes of the streamed computation over bytes by the formula, for 64 × 64 points and 200 steps."""
    n, points, steps = network.x0.size, 64 * 64, 200
    block = _block_size(3 * 4 * n)
    theta = jnp.asarray(manifold.grid(64)[:block], jnp.float32)
    times = jnp.arange(steps + 1, dtype=jnp.float32) * DT
    lowered = _block.lower(network, manifold, theta, times, FactorEmitter("state", None), None)  # type: ignore[attr-defined]
    temporary = temp_bytes(lowered.compile().compiled)
    assert temporary is not None
    entries = 4 * points * steps * 3
    return (temporary + 4 * block * steps * 3 + entries) / (4 * 3 * block * n + entries)


def jax_jacfwd(network: Network, manifold: ConstantInputs, theta: np.ndarray, steps: int) -> Built:
    """The Jacobian of the trajectory, then its Gram matrices."""
    system = network.system
    assert isinstance(system, Euler)

    def trajectory(point: jax.Array) -> jax.Array:
        inputs = jnp.broadcast_to(manifold.inputs(jnp.zeros(()), point), (steps, 4))
        return rollout(system, network.x0, inputs)

    def field(points: jax.Array) -> jax.Array:
        jacobian = jax.vmap(jax.jacfwd(trajectory))(points)
        return jnp.einsum("ptni,ptnj->tpij", jacobian, jacobian)

    points = jnp.asarray(theta)
    compiled = jax.jit(field).lower(points).compile()
    return Built(lambda: compiled(points), temp_bytes(compiled))


def torch_jacfwd(network: Network, manifold: ConstantInputs, theta: np.ndarray, steps: int) -> Built:
    """The same with PyTorch's function transforms over a Python loop; the torus is written out."""
    import torch

    torch.set_num_threads(1)
    system = network.system
    assert isinstance(system, Euler)
    flow = system.flow
    assert isinstance(flow, LeakyCurrent)
    weight = torch.tensor(np.asarray(flow.connectivity.dense()))
    gain = torch.tensor(np.asarray(flow.input_weights))
    points = torch.tensor(theta)

    def trajectory(point: Any) -> Any:
        inputs = torch.stack([torch.cos(point), torch.sin(point)], -1).reshape(-1)
        x, states = torch.zeros(len(weight)), []
        for _ in range(steps):
            x = x + DT * (-x + weight @ torch.tanh(x) + gain @ inputs)
            states.append(x)
        return torch.stack(states)

    def field() -> Any:
        jacobian = torch.func.vmap(torch.func.jacfwd(trajectory))(points)
        return torch.einsum("ptni,ptnj->tpij", jacobian, jacobian).numpy()

    return Built(field)
