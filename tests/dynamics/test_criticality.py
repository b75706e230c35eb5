"""First Lyapunov coefficients against closed forms of planar flows and against how slowly oscillations fade."""

import jax.numpy as jnp
import numpy as np
import pytest

from recurvature import dynamics
from recurvature.systems import Euler, FunctionFlow, LeakyRate, LowRank

POWERS = ((2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))


def planar(x, u):
    """Growth u0, frequency u1, then seven coefficients of each component."""
    terms = jnp.stack([x[0] ** i * x[1] ** j for i, j in POWERS])
    turn = jnp.stack([u[0] * x[0] - u[1] * x[1], u[1] * x[0] + u[0] * x[1]])
    return turn + jnp.stack([u[2:9] @ terms, u[9:] @ terms])


PLANAR = FunctionFlow(planar, 2, 16)
SWUNG = Euler(PLANAR, 0.3)


def coefficients(seed):
    rng = np.random.default_rng(seed)
    return 0.8 + 0.4 * rng.random(), 0.5 * rng.normal(size=7), 0.5 * rng.normal(size=7)


def special(system, omega, f, g):
    """The point at which the origin starts to swing: its value, kind and coefficient; how fast it swings there."""
    inputs = np.concatenate([[0.0, omega], f, g])
    branches = dynamics.continuation(system, np.zeros(2), (-0.6, 0.4), channel=0, inputs=inputs, start=-0.5)
    (at,) = branches.special_points
    # |1 + h(s + iω)| = 1 in steps of h, s = 0 without
    h = getattr(system, "dt", 0.0)
    turned = np.arcsin(h * omega)
    value = ((1 - (h * omega) ** 2) ** 0.5 - 1) / h if h else 0.0
    # critical equations are regular where the rate alone is singular: both are good to some roundings
    assert branches.value[at] == pytest.approx(value, abs=1e-12)
    assert branches.frequency[at] == pytest.approx(turned if h else omega, abs=1e-12)
    assert branches.refined.all()
    trunk = branches.special < 0
    assert (branches.unstable[trunk] == 2 * (branches.value[trunk] > value)).all()
    return float(branches.value[at]), branches.special_names[0], float(branches.first_lyapunov[at])


@pytest.mark.parametrize("seed", range(4))
def test_a_planar_flow_has_the_coefficient_of_its_closed_form(seed):
    """Guckenheimer and Holmes (1983), eq. 3.4.11: dr/dt = a r³ by derivatives of the two components."""
    omega, f, g = coefficients(seed)
    # derivatives: x² stands for half of f_xx, x³ for a sixth of f_xxx
    (fxx, fxy, fyy), (gxx, gxy, gyy) = ((2 * c[0], c[1], 2 * c[2]) for c in (f, g))
    cubic = 6 * f[3] + 2 * f[5] + 2 * g[4] + 6 * g[6]
    square = fxy * (fxx + fyy) - gxy * (gxx + gyy) - fxx * gxx + fyy * gyy
    a = (cubic + square / omega) / 16
    value, name, found = special(PLANAR, omega, f, g)
    assert value == pytest.approx(0, abs=1e-12)
    # the eigenvector (1, -i)/√2 makes r² = 2|z|²; the point is solved to some 1e-12, its derivatives are exact
    assert found == pytest.approx(2 * a / omega, rel=1e-9)
    assert name == ("hopf, subcritical" if a > 0 else "hopf, supercritical")


def slope(steps, z):
    r"""$d$ from $1/|z_n|^2 = 1/|z_0|^2 - 2dn$ on the point of $|z| \leftarrow |z| + d|z|^3$."""
    return -np.polyfit(np.arange(steps), 1 / np.abs(z) ** 2, 1)[0] / 2


@pytest.mark.parametrize("seed", range(2))
def test_a_map_loses_amplitude_as_its_coefficient_says(seed):
    omega, f, g = coefficients(seed)
    growth, name, found = special(SWUNG, omega, f, g)
    f, g, x, steps = f[:, None], g[:, None], 0.01 * np.array([1.0, 0.2]), 4000
    seen = np.empty((steps, 2))
    for n in range(steps):
        seen[n] = x
        terms = np.array([x[0] ** i * x[1] ** j for i, j in POWERS])
        turn = np.array([growth * x[0] - omega * x[1], omega * x[0] + growth * x[1]])
        x = x + SWUNG.dt * (turn + np.array([terms @ f[:, 0], terms @ g[:, 0]]))
    z = (seen[:, 0] + 1j * seen[:, 1]) / 2**0.5
    # second-order terms make 1/|z|² swing by |z| of itself, 1 %, in each of hundreds of turns
    assert slope(steps, z) == pytest.approx(found, rel=0.02)
    assert name == ("neimark-sacker, subcritical" if found > 0 else "neimark-sacker, supercritical")


def rank_two(gain, left, right, bias):
    return Euler(LeakyRate(LowRank(left, gain * right), jnp.zeros((len(left), 1)), bias), 0.5)


@pytest.mark.slow  # coefficients with closed forms are tested by default
def test_a_low_rank_network_starts_to_swing_softly():
    """Its own units, stepped in NumPy at the special point: the oscillation that they are left in fades as 1/√n."""
    rng = np.random.default_rng(3)
    left = rng.standard_normal((40, 2))
    right = left @ np.array([[1.0, 1.0], [-1.0, 1.0]]) + 0.3 * rng.standard_normal((40, 2))
    bias = 0.5 * rng.standard_normal(40)
    family = lambda s: rank_two(s, *map(jnp.asarray, (left, right, bias)))  # noqa: E731
    start = np.zeros(40)
    for _ in range(200):
        start = 0.5 * start + 0.5 * np.tanh(left @ (0.2 * right.T @ start / 40) + bias)
    branches = dynamics.continuation(family, start, (0.2, 2.0))
    assert branches.special_names[0] == "neimark-sacker, supercritical"
    at = branches.special_points[0]
    gain, rest = float(branches.value[at]), np.asarray(branches.states)[at]
    read = gain * right.T / 40
    jacobian = 0.5 * np.eye(2) + 0.5 * read @ ((1 - rest**2)[:, None] * left)
    values, vectors = np.linalg.eig(jacobian)
    q = vectors[:, values.imag.argmax()]
    duals, adjoints = np.linalg.eig(jacobian.T)
    p = adjoints[:, duals.imag.argmin()]
    p = p / np.conj(np.vdot(p, q))
    r, steps = rest + 0.03 * rng.standard_normal(40), 6000
    z = np.empty(steps, complex)
    for n in range(steps):
        z[n] = np.vdot(p, read @ (r - rest))
        r = 0.5 * r + 0.5 * np.tanh(left @ (read @ r) + bias)
    # from step 500 on, when all that is no oscillation has gone; the rest as above
    assert slope(steps - 500, z[500:]) == pytest.approx(branches.first_lyapunov[at], rel=0.03)


@pytest.mark.slow
def test_the_lorenz_flow_swings_abruptly():
    """Three variables, so that the coefficient has a part of the direction that decays; subcritical for σ = 10."""

    def lorenz(x, u):
        return jnp.stack([10 * (x[1] - x[0]), u[0] * x[0] - x[1] - x[0] * x[2], x[0] * x[1] - 8 / 3 * x[2]])

    z = 19.0
    rest = np.array([(8 / 3 * z) ** 0.5, (8 / 3 * z) ** 0.5, z])
    flow = FunctionFlow(lorenz, 3, 1)
    branches = dynamics.continuation(flow, rest, (18.0, 28.0), channel=0, inputs=[20.0], scale=10.0)
    (at,) = branches.special_points
    # σ(σ + b + 3)/(σ - b - 1)
    assert branches.value[at] == pytest.approx(470 / 19, abs=1e-9)
    assert branches.special_names == ("hopf, subcritical",)


def test_without_bends_nothing_is_said():
    value, name, found = special(PLANAR, 1.0, np.zeros(7), np.zeros(7))
    assert (name, found) == ("hopf", 0.0)
    assert value == pytest.approx(0, abs=1e-12)


def test_strong_resonances_have_no_such_form():
    """A map that turns by a quarter has terms that its rotation does not average out."""
    # 1 + h (s + iω) = ihω for s = -1/h
    turn = 1 / SWUNG.dt
    inputs = np.concatenate([[-turn, turn - 0.2], 0.1 * np.ones(14)])
    branches = dynamics.continuation(SWUNG, np.zeros(2), (turn - 0.3, turn + 0.1), channel=1, inputs=inputs)
    (at,) = branches.special_points
    assert branches.frequency[at] == pytest.approx(np.pi / 2, abs=1e-12)
    assert branches.special_names == ("neimark-sacker",)
    assert np.isnan(branches.first_lyapunov).all()
