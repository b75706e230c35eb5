"""Curvature of a leaky network on a torus: the whole pass against the metric's, and one time against geomstats.

Both passes give their results at every step, in blocks of the same size, post-processing included. geomstats' pullback
metric differentiates an immersion of its own: it is given the state of the same network after `STEPS` steps. In version
2.8 with PyTorch its Riemann tensor is wrong (scalar curvature 0 on the unit sphere), so that its second fundamental
form is taken, which is right, and Gauss' equation. It is for development only; without it the arm is missing.
"""

import os
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from benchmarks.harness import Arm, Built, Case, Goal, Work

import recurvature as rc
from recurvature.lenses.warping import curvature, immersion, local_geometry, metric
from recurvature.systems import ConstantInputs, Euler, LeakyCurrent, Network, torus

DT, BLOCK = 0.1, 64
SIZES = {"ci": [(128, 50, 16)], "std": [(128, 50, 16), (128, 200, 16)], "full": [(128, 200, 16), (128, 200, 64)]}
STEPS, POINTS = 10, 4
"""Of the comparison with geomstats: steps of the network, and points."""


def cases(size: str) -> Iterable[Case]:
    """One case for each (N, T, points along each angle), and one against geomstats."""
    for n, steps, side in SIZES[size]:
        yield passes(n, steps, side)
    yield against_geomstats(16)


def passes(n: int, steps: int, side: int) -> Case:
    """Curvature against the metric: the arms answer different questions, so that nothing is compared but time."""
    network = rc.cast(rc.systems.leaky_current(n, inputs=4, outputs=1, key=rc.key(0), dt=DT), jnp.float32)
    manifold = ConstantInputs(torus("a", "b"))
    options: dict[str, Any] = {"points": side, "duration": steps * DT, "block": BLOCK}
    return Case(
        "curvature",
        {"N": n, "T": steps, "points": f"{side}x{side}"},
        [
            Arm("metric", lambda: Built(lambda: metric(network, manifold, **options).metric), group=None),
            Arm("curvature", lambda: Built(lambda: curvature(network, manifold, **options).scalar), group=None),
        ],
        [Goal("curvature", "metric", at_most=2.5)],
        Work(flop=6 * 2 * n * n * steps * side**2, tanh=n * steps * side**2, seq_steps=steps),
    )


def against_geomstats(n: int) -> Case:
    """Scalar curvature at a few points of one time: ours for 256 points, theirs for `POINTS`, per point."""
    rc.enable_float64()
    network = rc.cast(rc.systems.leaky_current(n, inputs=4, outputs=1, key=rc.key(0), dt=DT), jnp.float64)
    manifold = ConstantInputs(torus("a", "b"))
    at, theta = immersion(network, manifold, time=STEPS * DT), manifold.grid(16)
    return Case(
        "curvature",
        {"N": n, "T": STEPS, "points": "per point"},
        [
            Arm("ours", lambda: Built(lambda: local_geometry(at, theta).scalar[:POINTS]), units=len(theta)),
            Arm("geomstats", lambda: geomstats_scalar(network, theta[:POINTS]), units=POINTS),
        ],
        [Goal("geomstats", "ours", at_least=100)],
        dtype="float64",
        # second differences of forward derivatives would not agree this well
        rtol=1e-8,
    )


def geomstats_scalar(network: Network, theta: np.ndarray) -> Built:
    """geomstats on its PyTorch backend, the one that differentiates: an immersion and its pullback metric."""
    os.environ["GEOMSTATS_BACKEND"] = "pytorch"
    import torch

    if not hasattr(np, "trapz"):
        setattr(np, "trapz", np.trapezoid)  # noqa: B010  geomstats 2.8 still imports the old name
    from geomstats.geometry.base import ImmersedSet
    from geomstats.geometry.euclidean import Euclidean
    from geomstats.geometry.pullback_metric import PullbackMetric

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    assert isinstance(network.system, Euler)
    flow = network.system.flow
    assert isinstance(flow, LeakyCurrent)
    weight, gain = (torch.tensor(np.asarray(a)) for a in (flow.connectivity.dense(), flow.input_weights))

    class States(ImmersedSet):
        def __init__(self) -> None:
            super().__init__(dim=2)

        def _define_embedding_space(self) -> Any:
            return Euclidean(dim=len(weight))

        def immersion(self, point: Any) -> Any:
            inputs = torch.stack([torch.cos(point), torch.sin(point)], -1).reshape(*point.shape[:-1], 4)
            drive, x = inputs @ gain.T, torch.zeros(*point.shape[:-1], len(weight))
            for _ in range(STEPS):
                x = x + DT * (-x + torch.tanh(x) @ weight.T + drive)
            return x

    space = States()
    space.equip_with_metric(PullbackMetric)
    points = torch.tensor(theta)

    def scalar() -> np.ndarray:
        out = []
        for point in points:
            form, metric_matrix = space.metric.second_fundamental_form(point), space.metric.metric_matrix(point)
            products = torch.einsum("nij,nkl->ijkl", form, form)
            out.append(2 * (products[0, 0, 1, 1] - products[0, 1, 0, 1]) / torch.linalg.det(metric_matrix))
        return torch.stack(out).numpy()

    return Built(scalar)
