"""Fixed points against closed forms, root finders of one variable, and what all of them must add up to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq, root
from tests.dynamics.conftest import STARTS, one_unit
from tests.tasks.test_shared_networks import load

import recurvature as rc
from recurvature._errors import InputError
from recurvature.dynamics import CERTIFICATES, STATUS, FixedPoints, fixed_points
from recurvature.dynamics.fixed_points import midpoints
from recurvature.systems import Dense, Euler, FunctionFlow, FunctionMap, LeakyCurrent, LeakyRate, LinearMap, LowRank

PROVED = CERTIFICATES.index("proved")


def named(points, name):
    return np.asarray(points.status) == STATUS.index(name)


@pytest.mark.oracle
@pytest.mark.parametrize("gain", [0.5, 1.7])
def test_one_unit_settles_where_a_bracketing_root_finder_says(gain):
    points = fixed_points(one_unit(gain), [0.0], starts=STARTS)
    upper = brentq(lambda r: np.tanh(gain * r) - r, 0.1, 1, xtol=1e-15) if gain > 1 else None
    wanted = [0.0] if upper is None else [-upper, upper, 0.0]  # stable ones first
    # both root finders go to rounding
    np.testing.assert_allclose(np.asarray(points.states)[:, 0], wanted, atol=2e-15)
    slopes = gain * (1 - np.square(wanted)) - 1
    # the slope repeats the rounding of its point
    np.testing.assert_allclose(points.eigenvalues[:, 0], slopes, atol=1e-14)
    assert points.types == (("stable",) if upper is None else ("stable", "stable", "repeller"))
    assert points.completeness == "consistent"
    assert points.proved.all()


def test_the_proof_contains_a_root_found_in_longer_numbers():
    points = fixed_points(one_unit(1.7), [0.0], starts=STARTS)
    r = np.longdouble(points.states[1, 0])
    for _ in range(5):
        r -= (np.tanh(np.longdouble(1.7) * r) - r) / (np.longdouble(1.7) * (1 - r * r) - 1)
    error = abs(float(r - np.longdouble(points.states[1, 0])))
    assert error <= points.error_bound[1] < 1e-13
    # the other two points are farther away than the proof says there is none
    assert points.alone_within[1] < points.states[1, 0]


@pytest.mark.oracle
def test_a_linear_map_has_the_one_point_of_linear_algebra(getkey):
    rng = np.random.default_rng(1)
    weights, entry = 0.4 * rng.standard_normal((5, 5)), rng.standard_normal((5, 2))
    system = LinearMap(Dense(jnp.asarray(weights)), jnp.asarray(entry))
    points = fixed_points(system, [1.0, -0.5], key=getkey(), count=8)
    # a well-conditioned solve of 5 equations
    np.testing.assert_allclose(points.states, [np.linalg.solve(np.eye(5) - weights, entry @ [1, -0.5])], rtol=1e-12)
    moduli = np.sort(np.abs(np.linalg.eigvals(weights)))[::-1]
    # eigenvalues of a random matrix are good to a few hundred roundings
    np.testing.assert_allclose(np.abs(points.eigenvalues[0]), moduli, rtol=1e-12)
    assert points.proved.all()
    assert np.isinf(points.alone_within).all()
    assert named(points, "fixed").all()


@pytest.mark.oracle
def test_a_rank_one_network_has_the_points_of_its_one_equation(rank_one, rank_one_points):
    m, n = (np.asarray(a)[:, 0] for a in (rank_one.connectivity.left, rank_one.connectivity.right))
    entry = np.asarray(rank_one.bias + 0.05 * rank_one.input_weights[:, 0])
    rate = lambda k: n @ np.tanh(m * k + entry) / 24 - k  # noqa: E731
    grid = np.linspace(-5, 5, 400)
    signs = np.flatnonzero(np.diff(np.sign([rate(k) for k in grid])))
    kappas = [brentq(rate, grid[i], grid[i + 1], xtol=1e-15) for i in signs]
    states = np.array([m * k + entry for k in kappas])
    assert len(states) == 3
    found = np.asarray(rank_one_points.states)
    # both solved to rounding, of states of order one
    np.testing.assert_allclose(found[np.argsort(found @ m)], states[np.argsort(states @ m)], atol=1e-13)
    assert rank_one_points.types == ("stable", "stable", "repeller")
    assert rank_one_points.completeness == "consistent"


@pytest.mark.oracle
def test_full_state_and_latent_variables_find_the_same_points_and_spectra(rank_one, rank_one_points, getkey):
    full = fixed_points(rank_one, [0.05], key=getkey(), count=32, latent=False)
    # both are polished to rounding
    np.testing.assert_allclose(full.states, rank_one_points.states, atol=1e-12)
    latent = np.hstack([rank_one_points.eigenvalues, np.full((3, rank_one_points.leak_copies), rank_one_points.leak)])
    # 23 equal eigenvalues of a matrix that is no multiple of one: good to half the digits at worst
    np.testing.assert_allclose(np.sort(full.eigenvalues.real, 1), np.sort(latent.real, 1), atol=1e-7)
    assert (full.unstable == rank_one_points.unstable).all()
    # in the full state the leak decays, so that what repels in the latent variable is a saddle
    assert full.types == ("stable", "stable", "saddle")
    assert full.proved.all()
    assert rank_one_points.proved.all()
    assert full.completeness == "consistent"


@pytest.mark.oracle
def test_the_rate_form_rests_where_the_current_form_does(rank_one, rank_one_points):
    rate = LeakyRate(rank_one.connectivity, rank_one.input_weights, rank_one.bias)
    points = fixed_points(rate, [0.05], starts=np.tanh(rank_one_points.states))
    # rates are the image of currents, both to rounding
    np.testing.assert_allclose(points.states, np.tanh(rank_one_points.states), atol=1e-13)
    # similar matrices
    np.testing.assert_allclose(points.eigenvalues, rank_one_points.eigenvalues, atol=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("file", "u", "count"),
    [("rdm_rank1_512.pt", [0.0], 3), ("rdm_rank1_512.pt", [0.5], 1), ("dms_rank2_512.pt", [0.0, 0.0], 9)],
)
def test_published_networks_rest_where_their_latent_equation_does(file, u, count, getkey):
    network = load(file)
    points = fixed_points(network, u, key=getkey(), count=128)
    flow = network.system.flow
    low = flow.connectivity
    left, right = (np.asarray(a, np.float64) for a in (low.left, low.right))
    entry = np.asarray(flow.input_weights, np.float64) @ u
    rate = lambda k: right.T @ np.tanh(left @ k + entry) / len(left) - k  # noqa: E731
    rng, edge = np.random.default_rng(0), np.abs(right).mean(0)
    solved = [root(rate, rng.uniform(-edge, edge), tol=1e-13) for _ in range(100)]
    roots = np.unique([np.round(s.x, 6) for s in solved if s.success and np.abs(rate(s.x)).max() < 1e-10], axis=0) + 0.0
    ours = np.asarray(points.states) - entry
    kappas = np.linalg.lstsq(left, ours.T, rcond=None)[0].T
    assert len(points.states) == count
    assert points.completeness == "consistent"
    assert points.proved.all()
    # the roots were rounded to six places to tell them apart
    np.testing.assert_allclose(
        kappas[np.lexsort(np.round(kappas, 5).T)], roots[np.lexsort(np.round(roots, 5).T)], atol=2e-6
    )
    # states lie in the span of the left vectors and the input
    np.testing.assert_allclose(ours, kappas @ left.T, atol=1e-10)


def test_three_independent_bits_have_27_points(getkey):
    # three groups of units, each a bistable latent variable of its own: three rest points to the third power
    left = np.kron(np.eye(3), np.array([[1.0], [1.5], [0.7], [1.2]]))
    flow = LeakyCurrent(LowRank(jnp.asarray(left), 6.0 * jnp.asarray(left)), jnp.zeros((12, 1)), jnp.zeros(12))
    points = fixed_points(flow, key=getkey())
    assert np.bincount(points.unstable).tolist() == [8, 12, 6, 1]
    assert [points.types.count(t) for t in ("stable", "saddle", "repeller")] == [8, 18, 1]
    assert (points.index_sum, points.completeness) == (1, "consistent")
    assert points.proved.all()
    assert named(points, "fixed").all()


def test_stability_of_a_map_and_of_its_flow_are_two_readings_of_one_spectrum(rank_one, rank_one_points):
    points = fixed_points(Euler(rank_one, 0.2), [0.05], starts=rank_one_points.states)
    # one multiplication and one addition
    np.testing.assert_allclose(points.eigenvalues, 1 + 0.2 * rank_one_points.eigenvalues, atol=1e-14)
    np.testing.assert_allclose([points.leak, rank_one_points.leak], [0.8, -1.0])
    assert (points.stability == rank_one_points.stability).all()


def test_the_order_of_starts_changes_nothing(rank_one, rank_one_points, getkey):
    starts = np.random.default_rng(2).standard_normal((32, 24))
    order = np.random.default_rng(3).permutation(32)
    one, other = (fixed_points(rank_one, [0.05], starts=s, latent=False) for s in (starts, starts[order]))
    # blocks hold other starts, so that products round differently
    np.testing.assert_allclose(one.states, other.states, atol=1e-13)
    assert (np.asarray(one.reached)[order] == other.reached).all()
    assert (np.asarray(one.status)[order] == other.status).all()


def test_missing_points_are_noticed(rank_one, rank_one_points):
    stable = fixed_points(rank_one, [0.05], starts=np.asarray(rank_one_points.states)[:2])
    assert (len(stable.states), stable.index_sum, stable.completeness) == (2, 2, "incomplete")


def test_what_lies_between_points_is_found_from_their_midpoints(rank_one, rank_one_points):
    sides = np.asarray(rank_one_points.states)[:2]
    found = fixed_points(rank_one, [0.05], starts=sides, between=1)
    # both Newton's last steps
    np.testing.assert_allclose(found.states, rank_one_points.states, atol=1e-12)
    assert (found.completeness, list(found.reached)) == ("consistent", [0, 1, 2])


def test_of_many_pairs_the_closest_are_searched_and_slow_points_make_none():
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    first = midpoints(corners, 2, np.empty((0, 2)), 0.1)
    assert first.tolist() == [[0.5, 0.0], [0.0, 1.5]]
    # sums of three roundings
    np.testing.assert_allclose(midpoints(corners + 0.01, 2, first, 0.1), [[0.51, 1.51]], rtol=1e-15)
    ghost = fixed_points(FunctionFlow(lambda x, u: x**2 + 1e-5, 1, 1), [0.0], starts=STARTS, between=2)
    assert len(ghost.slow_states) > 1
    assert len(ghost.status) == len(STARTS)


def test_without_a_fixed_point_nothing_is_returned_and_every_start_says_why():
    away = fixed_points(FunctionFlow(lambda x, u: x**2 + 1.0, 1, 1), [0.0], starts=STARTS)
    assert (away.states.shape, away.slow_states.shape) == ((0, 1), (0, 1))
    assert named(away, "fast").all()
    assert (np.asarray(away.reached) == -1).all()
    assert away.completeness == "unknown"
    read = FixedPoints.from_xarray(away.to_xarray())
    assert read.states.shape == (0, 1)


def test_slow_points_are_kept_apart():
    ghost = fixed_points(FunctionFlow(lambda x, u: x**2 + 1e-5, 1, 1), [0.0], starts=STARTS)
    assert ghost.states.shape == (0, 1)
    assert named(ghost, "slow").all()
    # least speed at 0; the search stops where the speed falls by less than a hundredth of the gap left
    assert np.abs(ghost.slow_states).min() < 1e-2
    assert (np.asarray(ghost.reached) >= 0).all()


def test_a_rate_that_overflows_is_told(getkey):
    broken = fixed_points(FunctionFlow(lambda x, u: jnp.log(x), 1, 1), [0.0], starts=np.array([[-1.0], [2.0]]))
    assert named(broken, "non_finite").tolist() == [True, False]
    # log x vanishes at 1
    np.testing.assert_allclose(broken.states, [[1.0]], atol=1e-14)


def test_a_step_function_is_searched_in_the_type_it_takes():
    weight = jnp.asarray([[0.3, -1.2], [1.2, 0.3]])
    system = FunctionMap(lambda x, u: jnp.tanh(weight @ x) + u, 2, 2)
    points = fixed_points(system, [0.0, 0.0], starts=np.array([[0.5, 0.2], [-0.1, 0.4]]))
    # zero is the fixed point, its multipliers 0.3 ± 1.2 i
    np.testing.assert_allclose(points.states, [[0.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose(points.eigenvalues, [[0.3 + 1.2j, 0.3 - 1.2j]], atol=1e-12)
    assert points.types == ("repeller",)
    assert (points.kind, CERTIFICATES[int(points.certificate[0])]) == ("map", "estimated")


def test_without_64_bit_numbers_points_are_polished_in_float32_and_say_so():
    with jax.enable_x64(False):
        system = rc.cast(one_unit(1.7), jnp.float32)
        points = fixed_points(system, [0.0], starts=STARTS.astype(np.float32))
    upper = brentq(lambda r: np.tanh(1.7 * r) - r, 0.1, 1)
    assert points.dtype == "float32"
    # rounding of float32
    np.testing.assert_allclose(np.asarray(points.states)[:, 0], [-upper, upper, 0.0], atol=5e-7)
    assert points.proved.all()
    assert (np.asarray(points.error_bound) >= np.abs(np.asarray(points.states)[:, 0] - [-upper, upper, 0.0])).all()


def test_at_a_pitchfork_nothing_is_proved():
    points = fixed_points(one_unit(1.0), [0.0], starts=np.zeros((1, 1)))
    assert points.types == ("marginal",)
    assert points.completeness == "unknown"
    assert not points.proved.any()


def test_states_a_network_visits_are_starts(rank_one, getkey):
    visited = np.random.default_rng(4).standard_normal((3, 7, 24))
    points = fixed_points(rank_one, [0.05], trajectory=visited, count=8, noise=0.1, key=getkey())
    assert points.status.shape == (8,)
    assert len(points.states) >= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "pass `key="),
        ({"starts": np.zeros((2, 3))}, r"`starts` must have shape \(any, 1\)"),
        ({"starts": STARTS, "trajectory": STARTS}, "not both"),
        ({"starts": STARTS, "tolerance": 0.1}, "must not exceed `slow`"),
        ({"starts": STARTS, "inputs": [0.0, 1.0]}, r"`inputs` must be one constant input of shape \(1,\)"),
        ({"starts": STARTS * np.nan}, "must be finite"),
    ],
)
def test_misuse_is_named(options, message):
    with pytest.raises(InputError, match=message):
        fixed_points(one_unit(0.5), **options)
