"""The experiments on warping: what their measurements give where the answer is known."""

from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import recurvature as rc
from recurvature import warping
from recurvature.systems import ConstantInputs, DiagonalMap, LinearReadout, Network, PulsedInputs, box, torus


@pytest.fixture
def theorems(part: Any) -> ModuleType:
    return part("warping", "theorems")


def test_the_adjoint_equation_gives_the_closed_form_of_a_leaky_state(theorems: ModuleType) -> None:
    # one real mode: x_k = scale * sum_j decay^j theta, so dx/dtheta is a geometric sum
    decay, scale, steps = 0.5, 0.3, 6
    system = DiagonalMap(
        log_decay=jnp.log(-jnp.log(jnp.asarray([decay]))),
        log_phase=jnp.asarray([-50.0]),
        log_scale=jnp.log(jnp.asarray([scale])),
        input_real=jnp.ones((1, 1)),
        input_imag=jnp.zeros((1, 1)),
        dt=1.0,
    )
    network = Network(system, LinearReadout(jnp.ones((1, 2))), jnp.zeros(2))
    manifold = ConstantInputs(box(level=(-1.0, 1.0)))
    metric = theorems.metric_by_adjoint(network, manifold, np.asarray([0.4]), steps)
    expected = (scale * (1 - decay**steps) / (1 - decay)) ** 2
    # a dozen products in float64
    np.testing.assert_allclose(metric, [[expected]], rtol=1e-13)


@pytest.mark.slow  # the closed form beside it is tested by default
def test_the_adjoint_equation_sees_pulses_that_come_late(theorems: ModuleType, getkey: Any) -> None:
    network = rc.cast(rc.systems.leaky_current(8, inputs=2, outputs=1, key=getkey(), dt=0.5), float)
    pulses = lambda angles: jnp.stack([jnp.cos(angles), jnp.sin(angles)], -1)  # noqa: E731
    manifold = PulsedInputs(torus("a", "b"), pulses, ((0.0, 1.0), (2.0, 3.0)))
    point = np.asarray([0.3, 2.0])
    late = np.asarray(warping.metric(network, manifold, points=point[None], duration=4.0).metric)[-1, 0]
    # the same product of matrices in another order: rounding
    np.testing.assert_allclose(theorems.metric_by_adjoint(network, manifold, point, 8), late, rtol=1e-12)
    early = theorems.metric_by_adjoint(network, manifold, point, 4)
    assert float(early[0, 0]) > 0
    assert float(early[1, 1]) == 0


@pytest.mark.parametrize("c", [0.5, 1.0, 7.0])
def test_an_affine_code_has_any_ratio_everywhere_and_decides_no_better(c: float) -> None:
    levels = rc.tasks.ContextDecision().evidence
    grid = np.stack([axis.ravel() for axis in np.meshgrid(levels, levels, indexing="ij")], -1)
    code = grid * np.sqrt([c, 1.0])
    tangents = np.diag(np.sqrt([c, 1.0]))
    metric = tangents.T @ tangents
    # a square root squared
    np.testing.assert_allclose(metric[0, 0] / metric[1, 1], c, rtol=1e-14)
    wanted = np.sign(grid[:, 0])
    design = np.concatenate([code, np.ones((len(code), 1))], 1)
    error = np.mean((wanted - design @ np.linalg.lstsq(design, wanted)[0]) ** 2)
    # docs eq. W.61, by least squares in place of its closed form: rounding
    np.testing.assert_allclose(error, 10 / 11 - (30 / 11) ** 2 / 10, rtol=1e-12)
