"""Modes of known matrices; lines and rings built to be ones, and a point that is none."""

import jax.numpy as jnp
import numpy as np
import pytest

from recurvature._errors import InputError
from recurvature.dynamics import attractor_test, linearise
from recurvature.systems import Dense, Euler, FunctionFlow, LeakyRate, LinearMap

ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
RING = np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1)


def ring_flow(x, u):
    """Every point of the unit circle rests; the radius decays at rate 2."""
    return x * (1 - x @ x)


def line_flow(x, u):
    """Every point of the parabola y = x² rests; the distance from it decays."""
    return jnp.stack([jnp.zeros(()), 3 * (x[0] ** 2 - x[1])])


def test_modes_of_a_map_are_those_of_its_matrix():
    weights = np.array([[0.9, 0.3], [0.0, 0.5]])
    found = linearise(LinearMap(Dense(jnp.asarray(weights)), jnp.zeros((2, 1))), np.zeros(2))
    # a triangular matrix has its eigenvalues on the diagonal; rounding
    np.testing.assert_allclose(found.eigenvalues, [0.9, 0.5], atol=1e-15)
    np.testing.assert_allclose(found.time_constants, [-1 / np.log(0.9), -1 / np.log(0.5)], rtol=1e-14)
    np.testing.assert_allclose(found.left @ found.right.T, np.eye(2), atol=1e-14)
    rebuilt = found.right.T @ np.diag(found.eigenvalues) @ found.left
    np.testing.assert_allclose(rebuilt, weights, atol=1e-14)
    assert found.speed == 0


@pytest.mark.parametrize("dt", [0.1, 0.2])
def test_time_constants_are_in_units_of_tau_for_a_flow_and_its_euler_map(dt):
    flow = LeakyRate(Dense(jnp.diag(jnp.asarray([0.9, 0.0]))), jnp.zeros((2, 1)), jnp.zeros(2), tau=3.0)
    smooth = linearise(flow, np.zeros(2))
    # growth rates -1 + 0.9 and -1 per tau
    np.testing.assert_allclose(smooth.time_constants, [10.0, 1.0], rtol=1e-13)
    stepped = linearise(Euler(flow, 3.0 * dt), np.zeros(2))
    # (1 - h/10) per step of h tau
    np.testing.assert_allclose(stepped.time_constants[0], -dt / np.log(1 - dt / 10), rtol=1e-12)


def test_a_ring_a_line_and_a_point_are_told_apart():
    ring = attractor_test(FunctionFlow(ring_flow, 2, 1), RING)
    assert ring.kind == "ring"
    # neutral along the circle, decay at rate 2 across
    np.testing.assert_allclose(ring.time_constants[:, 1], 0.5, rtol=1e-12)
    # the mode is a tangent, and so is the chord through evenly spaced neighbours
    np.testing.assert_allclose(ring.along, 1, atol=1e-7)
    x = np.linspace(-1, 1, 15)[np.random.default_rng(0).permutation(15)]
    line = attractor_test(FunctionFlow(line_flow, 2, 1), np.stack([x, x**2], 1))
    assert line.kind == "line"
    assert (np.diff(x[line.order]) > 0).all() or (np.diff(x[line.order]) < 0).all()
    still = FunctionFlow(lambda x, u: -x, 2, 1)
    assert attractor_test(still, RING).kind == "point"
    idle = FunctionFlow(lambda x, u: -0.001 * x, 2, 1)
    assert attractor_test(idle, RING).kind == "plane"


def test_a_slow_direction_across_the_set_is_no_line():
    across = FunctionFlow(lambda x, u: x * jnp.asarray([-1.0, -0.001]), 2, 1)
    row = np.stack([np.linspace(-1, 1, 9), np.zeros(9)], 1)
    assert attractor_test(across, row).kind == "unclear"


def test_misuse_is_named():
    defective = LinearMap(Dense(jnp.asarray([[1.0, 1.0], [0.0, 1.0]])), jnp.zeros((2, 1)))
    with pytest.raises(InputError, match="no basis of eigenvectors"):
        linearise(defective, np.zeros(2))
    with pytest.raises(InputError, match=r"`state` must have shape \(2,\)"):
        linearise(defective, np.zeros(3))
